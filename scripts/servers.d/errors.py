"""What ends a command with one line instead of a traceback."""


class ServersError(Exception):
    """A sentence for the operator: what is missing or wrong, and what to do about it."""
