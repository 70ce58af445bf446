"""A command without a process of its own, where hundreds are run: an error that is none of ours is raised."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from trailseal.cli import main


def ended(*words: str) -> tuple[int, str]:
    """Exit status and standard error of ``trailseal`` with these words."""
    with (
        patch("sys.argv", ["trailseal", *words]),
        redirect_stdout(io.TextIOWrapper(io.BytesIO())),
        redirect_stderr(io.StringIO()) as told,
    ):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), told.getvalue()
    return 0, told.getvalue()
