"""The cluster profile: Kafka, Elasticsearch and Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from trailseal.adapters.caches.redis import RedisCache
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.elasticsearch.bulk import BulkLimits
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, IndexOptions, set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_topic_plan import plan_from
from trailseal.adapters.logs.kafka_topics import ensure_topic
from trailseal.bootstrap.engines import Engines, Role
from trailseal.bootstrap.folder import cursor_secret, make_folder, make_secret
from trailseal.bootstrap.links import elasticsearch_options, kafka_options, redis_options
from trailseal.bootstrap.numbering import number_at_the_door
from trailseal.bootstrap.profiles import Urls, urls
from trailseal.event_consumer.epochs import epoch_of
from trailseal.event_consumer.keeping import KeptRecords
from trailseal.ports.erasure import Erasable
from trailseal.settings import Settings

_NO_LOG = 0
"""The number of a topic that no ledger takes in."""


def open_cluster(settings: Settings, chosen: Urls, role: Role) -> Engines:
    """Open the clients; no server is asked, so a process starts while they are down, and says so."""
    read_only = role == "read"
    ledger = ElasticsearchLedger(elasticsearch_options(settings, chosen.ledger), read_only=read_only)
    index = ElasticsearchIndex(
        elasticsearch_options(settings, chosen.index),
        ledger,
        IndexOptions(
            refresh_interval_s=settings.refresh_interval,
            bulk=BulkLimits(2 * settings.bulk_bytes, settings.bulk_records, settings.bulks_in_flight),
        ),
    )
    options = kafka_options(settings, chosen.log)
    log = KafkaLog(
        options,
        log_number=lambda origin: number_at_the_door(ledger, origin, role),
        epoch=lambda base: epoch_of(ledger, base),
        read_only=read_only,
    )
    dead_letter_log = None
    if settings.dead_letter_topic and role != "serve":
        dead_letter_log = KafkaLog(replace(options, topic=settings.dead_letter_topic), log_number=lambda _: _NO_LOG)
    return Engines(
        log,
        index,
        ledger,
        RedisCache(redis_options(settings, chosen.cache)),
        SystemClock(),
        cursor_secret(settings, read_only=role != "serve"),
        "cluster",
        dead_letter_log,
        months=index.upkeep(SystemClock()),
        keeper=index,
        erasable=Erasable(KeptRecords(log, index), index, ledger, None),
    )


def set_up_cluster(settings: Settings) -> Iterator[str]:
    """Make what a cluster needs before its processes start: topic, indices, shared secret, seal keys. Idempotent.

    Yields:
        A sentence for each thing: what was done, or that it was there.

    Raises:
        SettingsError: the settings contradict a cluster that is there.
        PipelineFault: something under our names is not ours.
        Unavailable: a server does not answer.
    """
    chosen = urls(settings)
    options = kafka_options(settings, chosen.log)
    report = ensure_topic(options.properties(), plan_from(os.environ, topic=options.topic))
    done = "created" if report.created else "is there"
    yield f"topic {report.name}: {done}, {report.state.partitions} partitions"
    yield from (*report.changes, *report.worries)
    yield from set_up_index(
        elasticsearch_options(settings, chosen.index),
        shards=settings.elasticsearch_shards,
        replicas=settings.elasticsearch_replicas,
        refresh_interval_s=settings.refresh_interval,
    )
    yield from set_up_ledger(
        elasticsearch_options(settings, chosen.ledger), replicas=settings.elasticsearch_replicas
    )
    make_folder(settings.data)
    path = settings.secret_file or settings.data / "secret"
    made = not path.exists()
    make_secret(path)
    yield f"cursor secret {path}: {'made; every API process needs the same' if made else 'is there'}"
