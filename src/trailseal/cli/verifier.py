"""`trailseal verifier`: the verifier that an auditor runs without installing us."""

from __future__ import annotations

from importlib.resources import files

import typer


def verifier() -> None:
    """Print the standalone verifier: one Python file for auditors, with `cryptography` its only need.

    It shares no code with Trailseal, is short enough to be read before it is run, and checks receipts, exports with
    proofs, and whole trees from their tiles.
    """
    typer.echo(files("trailseal.verification").joinpath("standalone.py").read_text("utf-8"), nl=False)
