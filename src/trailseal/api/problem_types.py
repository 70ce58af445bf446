"""Every kind of problem by its code: its title, its HTTP status, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem.

    Attributes:
        code: stable name; the last part of a problem's ``type``.
        title: in words; stable too.
        status: the HTTP status, or None where it only ever concerns one event of several or a dead letter.
        advice: what to do.
    """

    code: str
    title: str
    status: int | None
    advice: str


_EVENT = (
    ("missing-field", "A required field is missing", "Send timestamp, actor and action with every event."),
    ("unknown-field", "The event has a field that does not exist", "Free fields belong into metadata."),
    ("wrong-type", "A field has the wrong JSON type", "See the event reference for its type."),
    ("invalid-value", "A value is not among the allowed ones", "The detail lists the allowed ones."),
    ("empty-field", "A field is empty", "Give it a value, or leave it out where it is optional."),
    ("illegal-character", "A name holds a character it may not", "Tenants and resource types hold no slash."),
    ("reserved-tenant", "The tenant is Trailseal's own", "Choose another tenant id."),
    ("reserved-action", "Actions trailseal.* are Trailseal's own", "Choose another name for the action."),
    ("reserved-header", "A header is Trailseal's own", "Only genuine admin records carry it."),
    ("unreadable-headers", "A record's headers have names that are not UTF-8", "Name headers in UTF-8."),
    ("repeated-header", "A header of ours stands twice in a record", "Send each of them at most once."),
    ("too-long", "A text is longer than allowed", "tenant_id and id share 500 bytes; a tenant has at most 256."),
    ("too-large", "An event or a body has too many bytes", "64 KiB an event; split the request or slim the event."),
    ("too-deep", "Free JSON is nested too deeply", "metadata has at most 5 levels."),
    ("too-many-keys", "metadata has too many keys", "At most 100, nested ones included."),
    ("too-many-changes", "changes has too many elements", "At most 100; split the event."),
    ("invalid-timestamp", "timestamp is no RFC 3339 time with a zone", "For example 2026-03-01T12:00:00Z."),
    ("time-out-of-range", "timestamp lies too far back or ahead", "From 2000 to one day after now."),
    ("invalid-address", "Not an IP address or network", "In an event, other sources go to context.source."),
    ("integer-out-of-range", "An integer loses digits in many readers", "Send integers beyond 2^53 as strings."),
    ("number-out-of-range", "A number does not fit a double", "Send it as a string."),
    ("malformed-json", "Not valid JSON", "The detail says where; one event a line needs application/x-ndjson."),
    ("invalid-utf8", "Not UTF-8", "Encode the text as UTF-8."),
    ("duplicate-key", "An object has a key twice", "Readers disagree which one counts: keep one."),
    ("nul-character", "A text holds the character NUL", "Remove it."),
    ("lone-surrogate", "A text holds half a surrogate pair", "It is no character: remove it."),
    ("unsupported-version", "The envelope has a version we do not know", "CloudEvents: specversion 1.0."),
    ("null-value", "A record has no value", "Only records with an event in them are taken."),
    ("unknown-format", "There is no such wire format", "The detail lists the known ones."),
)
_QUERY = (
    ("unknown-parameter", "There is no such parameter", "The detail lists the known ones."),
    ("repeated-parameter", "A parameter stands twice", "Only filters may repeat (any of them)."),
    ("missing-parameter", "A parameter is missing", "The detail names it."),
    ("empty-value", "A parameter has no value", "Give one, or leave it out; NAME=* finds what has the field."),
    ("value-too-long", "A value is too long", "At most 8,192 characters."),
    ("too-many-parameters", "Too many parameters", "At most 200; ask several questions."),
    ("invalid-encoding", "The query string is not UTF-8", "Percent-encode UTF-8."),
    ("invalid-time", "Not a time", "RFC 3339 with a zone, a UTC date, or relative such as -24h."),
    ("empty-window", "time_from is not before time_to", "time_from is inclusive, time_to exclusive."),
    ("star-inside", "A star stands inside a value", "A star may only end a value; \\* is a star itself."),
    ("invalid-metadata-key", "metadata.KEY without a proper key", "For example metadata.request.path=/login."),
    ("nothing-to-search", "q holds no word", "Give at least one letter or digit."),
    ("too-many-words", "q holds too many words", "At most 64."),
    ("invalid-cursor", "Not a cursor of this server", "Take next_cursor as it is, or start without one."),
    ("cursor-mismatch", "The cursor belongs to another question", "Repeat the filters of the page it came from."),
    ("ambiguous-id", "Several events have this id", "Add tenant_id or timestamp."),
)
_OTHERS = (
    ("empty-body", "The body holds no event", 400, "Send one event, an array, or one event a line."),
    ("damaged-gzip", "The body is no whole gzip stream", 400, "Compress it once and send all of it."),
    ("not-authenticated", "No valid API key", 401, "Send Authorization: Bearer ts_…."),
    ("not-allowed", "The API key does not reach that far", 403, "Use a key with that scope and tenant."),
    ("tenant-not-allowed", "The API key does not hold the event's tenant", 403, "Name a tenant it holds."),
    ("host-not-loopback", "A keyless server answers only this machine", 403, "Use localhost, or make an API key."),
    ("forwarded-without-keys", "A keyless server answers no proxy", 403, "Make an API key first."),
    (
        "not-found",
        "Nothing there",
        404,
        "Check id and tenant; a new event shows up one refresh after it was taken.",
    ),
    ("no-such-route", "No such route", 404, "/docs lists the routes."),
    ("method-not-allowed", "The route does not know the method", 405, "The header Allow lists those it knows."),
    ("too-many-events", "Too many events in one request", 413, "At most 10,000; send several requests."),
    ("unsupported-media-type", "Not a JSON media type", 415, "application/json or application/x-ndjson."),
    ("unsupported-encoding", "Not a known Content-Encoding", 415, "gzip, or none."),
    ("bad-request", "The request cannot be understood", 400, "The detail says why."),
    ("internal-error", "The server failed on its own account", 500, "Look for the request_id in its log."),
    ("integrity-violation", "What is stored is not what was sealed", 500, "`trailseal verify` names what changed."),
    ("unavailable", "An engine does not answer", 503, "Try again after Retry-After seconds."),
    ("overloaded", "Too much at once", 503, "Slow down; try again after Retry-After seconds."),
    ("rebuilding", "The index is being rebuilt", 503, "Events are still accepted; /readyz shows how far it is."),
)
_BODY = {"too-large": 413}

PROBLEM_TYPES: dict[str, ProblemType] = {
    kind.code: kind
    for kind in (
        *(ProblemType(code, title, _BODY.get(code, 400), advice) for code, title, advice in (*_EVENT, *_QUERY)),
        *(ProblemType(*row) for row in _OTHERS),
    )
}
"""All of them, in the order of the errors reference."""


def title_of(code: str) -> str:
    """The title of a kind of problem; a code without an entry (an unusual HTTP status) is its own title."""
    kind = PROBLEM_TYPES.get(code)
    return code.replace("-", " ").capitalize() if kind is None else kind.title
