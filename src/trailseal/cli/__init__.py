"""The command `trailseal`. Exit status: 0 done, 1 the answer is no, 2 called wrongly, 3 an engine is away."""

from __future__ import annotations

import os
import sys

from trailseal.errors import IntegrityViolation, SettingsError, TrailsealError, Unavailable, UsageError

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; every error of ours ends as one sentence, never as a traceback."""
    from trailseal.cli.app import app  # noqa: PLC0415 - completion and errors start fast without the commands

    try:
        app(standalone_mode=True)
    except TrailsealError as error:
        sys.stderr.write(f"trailseal: {error}\n")
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.stderr.write("trailseal: interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_NO)


def _status(error: TrailsealError) -> int:
    if isinstance(error, SettingsError | UsageError):
        return EXIT_USAGE
    if isinstance(error, Unavailable):
        return EXIT_UNAVAILABLE
    return EXIT_NO if isinstance(error, IntegrityViolation) else EXIT_USAGE
