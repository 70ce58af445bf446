"""Which topic this is: Kafka's own id of it, another one whenever a topic of that name is made anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from trailseal.adapters.logs.kafka_connection import ANSWER_S, KafkaOptions, shown_id, translated, wrong_property
from trailseal.errors import PipelineFault, TrailsealError

_FRESH_S: Final = 5.0
_SETTINGS_FRESH_S: Final = 60.0
_FOREVER_MS: Final = -1
_CHECKED_EVERY_S: Final = 900.0
"""How often a broker looks for segments to delete, thrice Kafka's default."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it was described.

    Attributes:
        base: ``kafka/CLUSTER ID/TOPIC ID``: what an epoch is added to for the log's origin.
        partitions: its partitions, ascending.
        epoch: of the log, 1 for the first.
    """

    base: str
    partitions: tuple[int, ...]
    epoch: int

    @property
    def origin(self) -> str:
        """The log's identity."""
        return f"{self.base}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the topic keeps a record; None = for ever.

    Attributes:
        kept_s: at least so many seconds.
        gone_s: after so many seconds no byte is left: the segment was rolled, its newest record became old enough,
            a broker looked, and the file was deleted.
    """

    kept_s: float | None
    gone_s: float | None


class Identity:
    """Asks the cluster which topic stands behind the name. Any thread.

    A client follows a topic's name: when the topic is deleted and made anew, librdkafka goes on with the new one
    at the old offsets and says nothing. So whoever hands records out asks again after they were fetched.

    Args:
        options: where.
        epoch: the epoch of a log, by its `Topic.base`.
    """

    def __init__(self, options: KafkaOptions, epoch: Callable[[str], int]) -> None:
        self._options, self._epoch = options, epoch
        try:
            self._admin = AdminClient(options.properties())
        except KafkaException as error:
            raise wrong_property(error) from error
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._cluster: str | None = None
        self._known: Topic | None = None
        self._known_at = float("-inf")
        self._retention: tuple[float, Retention] = (float("-inf"), Retention(None, None))

    def topic(self) -> Topic:
        """The topic, asked anew every few seconds.

        Raises:
            Unavailable: it cannot be asked, or there is none.
        """
        known = self._known
        if known is not None and time.monotonic() - self._known_at < _FRESH_S:
            return known
        return self.ask()

    def ask(self) -> Topic:
        """The topic as it is now.

        The epoch of a topic that we knew is asked for beside the call: appending must not wait for the ledger.

        Raises:
            Unavailable: it cannot be asked, or there is none.
        """
        at = time.monotonic()
        base, partitions = self._describe()
        known = self._known
        if known is not None and known.base == base:
            topic = replace(known, partitions=partitions)
            self._ask_epoch_beside(base)
        else:
            topic = Topic(base, partitions, self._epoch(base))
        with self._lock:
            self._known, self._known_at = topic, at
        return topic

    def _ask_epoch_beside(self, base: str) -> None:
        if not self._asking.acquire(blocking=False):
            return

        def ask() -> None:
            try:
                epoch = self._epoch(base)
                with self._lock:
                    if self._known is not None and self._known.base == base:
                        self._known = replace(self._known, epoch=epoch)
            except TrailsealError:
                pass  # the one we knew holds until the ledger answers
            finally:
                self._asking.release()

        threading.Thread(target=ask, name="kafka-epoch", daemon=True).start()

    def _describe(self) -> tuple[str, tuple[int, ...]]:
        """What `Topic.base` says, and the partitions."""
        options = self._options
        with translated(options, "be asked for its topic"):
            future: Any = self._admin.describe_topics(TopicCollection([options.topic]), request_timeout=ANSWER_S)
            described = self._answer(future[options.topic])
            cluster = self._cluster or self._ask_cluster()
        partitions = tuple(sorted(partition.id for partition in described.partitions))
        return f"kafka/{cluster}/{shown_id(described.topic_id)}", partitions

    def check(self, expected: Topic) -> None:
        """Make sure that the name still stands for the topic we knew.

        Raises:
            Unavailable: it cannot be asked, or there is none now.
            PipelineFault: it was made anew.
        """
        now, _ = self._describe()
        if now != expected.base:
            raise PipelineFault(
                f"The topic {self._options.topic} was made anew: it is {now} now and was {expected.base}. What"
                " the old one held and was not taken in is gone. If that was meant, run `trailseal epoch new"
                " --reason …`, then start again."
            )

    def retention(self) -> Retention:
        """How long records are kept; asked anew every minute.

        Raises:
            Unavailable: it cannot be asked.
        """
        asked_at, known = self._retention
        if time.monotonic() - asked_at < _SETTINGS_FRESH_S:
            return known
        resource = ConfigResource(ResourceType.TOPIC, self._options.topic)
        with translated(self._options, "be asked for its retention"):
            future: Any = self._admin.describe_configs([resource], request_timeout=ANSWER_S)
            entries = self._answer(future[resource])
        kept_ms = int(entries["retention.ms"].value or _FOREVER_MS)
        found = Retention(None, None)
        if kept_ms != _FOREVER_MS:
            rolled_ms = sum(int(entries[name].value or 0) for name in ("segment.ms", "file.delete.delay.ms"))
            found = Retention(kept_ms / 1000, (kept_ms + rolled_ms) / 1000 + _CHECKED_EVERY_S)
        self._retention = (time.monotonic(), found)
        return found

    def _ask_cluster(self) -> str:
        future: Any = self._admin.describe_cluster(request_timeout=ANSWER_S)
        self._cluster = str(self._answer(future).cluster_id)
        return self._cluster

    def _answer(self, future: Any) -> Any:
        try:
            return future.result(ANSWER_S + 1)
        except (KafkaException, TimeoutError):
            self._admin.poll(0)  # hands over what connections suffered from, which says more than that time passed
            raise
