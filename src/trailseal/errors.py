"""Every error Trailseal raises, named by what the caller does next.

TrailsealError
├── InvalidEvent         the event breaks a rule: fix it (HTTP 400; from the log: a dead letter)
├── InvalidQuery         the question breaks a rule: fix the named parameter (HTTP 400)
├── NotAuthenticated     no credential, or not a valid one: present one (HTTP 401)
├── NotAllowed           the credential does not reach that far: use another (HTTP 403)
├── NotFound             nothing here under that name (HTTP 404)
├── Unavailable          an engine cannot answer now: try again later (HTTP 503)
│   ├── Overloaded       too much at once: slow down, then try again (HTTP 503)
│   └── Rebuilding       the index is being rebuilt: try again later (HTTP 503)
├── Fenced               another process owns this partition now: stop, read the head, start anew
├── PipelineFault        our own set-up is broken: the consumer stops, an operator acts
├── IntegrityViolation   what is stored is not what was sealed: stop, alarm
├── UsageError           a command was called in a way that cannot work: read its message
└── SettingsError        a setting is unknown or wrong: fix it, start again
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule, in a form that serves HTTP, dead letters and terminals alike.

    Attributes:
        code: a stable kebab-case name from the errors reference, for example ``missing-field``.
        detail: one sentence: what is wrong and what to do.
        field: the dotted path of the offending field (``actor.id``, ``changes[2].path``), or None.
        parameter: the query parameter at fault, or None.
    """

    code: str
    detail: str
    field: str | None = None
    parameter: str | None = None


class TrailsealError(Exception):
    """The root of the tree. Its text is a sentence for the person who has to act."""


class InvalidEvent(TrailsealError):
    """An event that breaks a rule. ``problem`` names the field and the rule."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class InvalidQuery(TrailsealError):
    """A question that breaks a rule. ``problem`` names the parameter and the rule."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class NotAuthenticated(TrailsealError):
    """No credential was given, or it is unknown, revoked or expired."""


class NotAllowed(TrailsealError):
    """The credential is valid but does not reach that tenant, scope or route."""


class NotFound(TrailsealError):
    """Nothing is stored under that name, as far as this caller may know."""


class Unavailable(TrailsealError):
    """An engine cannot answer now; the same call may succeed later.

    Attributes:
        retry_after_s: seconds after which trying again makes sense.
    """

    def __init__(self, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """More was asked at once than may be held in memory; nothing of it was taken."""


class Rebuilding(Unavailable):
    """The index is being rebuilt from the log; events are still accepted."""


class Fenced(TrailsealError):
    """The head moved under us: another process owns the partition, and nothing of ours was written."""


class PipelineFault(TrailsealError):
    """Something we ourselves set up is broken; going on would risk events, so the consumer stops."""


class IntegrityViolation(TrailsealError):
    """What is stored is not what was sealed."""


class UsageError(TrailsealError):
    """A command was called in a way that cannot work; the text says which way does."""


class SettingsError(TrailsealError):
    """A setting is unknown, malformed or contradicts another; the text names it and its source."""
