"""What Trailseal says about itself: one list of metrics, one way to log. Event contents go into neither."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

LogFormat = Literal["auto", "console", "json"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 50_000)

EVENTS_ACCEPTED = Counter("trailseal_events_accepted", "Events made durable at the HTTP door.")
EVENTS_REJECTED = Counter("trailseal_events_rejected", "Events refused at the HTTP door.", ["code"])
RECORDS_TAKEN_IN = Counter("trailseal_records_taken_in", "Records the head moved past.", ["partition"])
OUTCOMES = Counter("trailseal_outcomes", "Records that are not simply indexed.", ["kind"])
DEAD_LETTERS = Counter("trailseal_dead_letters", "Records the consumer could not take in.", ["code"])
PENDING = Gauge("trailseal_pending_records", "End of the log minus head.", ["partition"])
HEAD_AGE = Gauge(
    "trailseal_head_age_seconds", "Age of the oldest record not yet taken in; 0 with none.", ["partition"]
)
RETENTION_LEFT = Gauge(
    "trailseal_retention_left_seconds",
    "Time until the log's retention reaches the oldest record not yet taken in.",
    ["partition"],
)
PUT_SECONDS = Histogram("trailseal_index_put_seconds", "Time of one put into the index.", buckets=_SECONDS)
PUT_RECORDS = Histogram("trailseal_index_put_records", "Entries of one put into the index.", buckets=_RECORDS)
FLUSH_SECONDS = Histogram("trailseal_index_flush_seconds", "Time to make puts durable.", buckets=_SECONDS)
RETRIES = Counter("trailseal_retries", "Attempts repeated because an engine did not answer.", ["engine"])
CACHE_REQUESTS = Counter("trailseal_cache_requests", "Questions by what the cache had.", ["result"])
API_KEYS_AGE = Gauge(
    "trailseal_api_keys_age_seconds",
    "Time since the API keys were read; of several workers the longest.",
    multiprocess_mode="livemax",
)
HTTP_REQUESTS = Counter("trailseal_http_requests", "Requests answered.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "trailseal_http_request_seconds", "Time to answer a request.", ["method", "route"], buckets=_SECONDS
)
SEALED_LEAVES = Counter("trailseal_sealed_leaves", "Leaves added to the Merkle tree.", ["partition"])
CHECKPOINT_AGE = Gauge(
    "trailseal_checkpoint_age_seconds", "Time since the log was last found signed up to its head.", ["partition"]
)
COSIGNED_AGE = Gauge(
    "trailseal_cosigned_checkpoint_age_seconds",
    "Age of the newest checkpoint that a witness cosigned, or of the log before the first: what was sealed since"
    " could still be forked unseen.",
    ["partition"],
)
WITNESS_ANSWERS = Counter(
    "trailseal_witness_answers", "Answers of witnesses by status; 0 where none came.", ["witness", "status"]
)
REBUILD_RECORDS = Gauge("trailseal_rebuild_records", "Records put back and to put back.", ["state"])


def set_up_logging(level: str = "info", log_format: LogFormat = "auto") -> None:
    """Send our log lines to standard error: readable on a terminal, one JSON object a line elsewhere.

    Args:
        level: debug, info, warning or error.
        log_format: ``auto`` picks by whether standard error is a terminal.
    """
    as_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if as_console else structlog.processors.JSONRenderer(sort_keys=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def place_of(error: BaseException) -> str:
    """Where an error was raised, line by line, without its own text, which may quote an event."""
    return "".join(traceback.format_tb(error.__traceback__))


def logger(part: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names the part of the system that speaks."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=part)
    return bound
