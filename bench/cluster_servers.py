"""The real servers for the cluster rows: where they are, what processor time they took, and a corner of our own."""

from __future__ import annotations

import http.client
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.servers import ROOT, free_port

COMMAND = str(Path(sys.executable).parent / "trailseal")
_TICKS = os.sysconf("SC_CLK_TCK")
_STATUS = re.compile(r"^(Kafka|Elasticsearch|Redis)\b.*?\bpid (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses and process ids of `scripts/servers`."""

    kafka: str
    elasticsearch: str
    redis: str
    pids: dict[str, int]

    def processor_s(self, server: str) -> float:
        """Seconds of processor time that the server has used since its start, user and system."""
        return processor_s(self.pids[server])


def processor_s(pid: int) -> float:
    """Seconds of processor time a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def servers() -> Servers:
    """The servers that run.

    Raises:
        SystemExit: they do not, or their addresses are not in the environment.
    """
    names = ("TRAILSEAL_TEST_KAFKA", "TRAILSEAL_TEST_ELASTICSEARCH", "TRAILSEAL_TEST_REDIS")
    if not all(os.environ.get(name) for name in names):
        raise SystemExit('the cluster rows need the servers: scripts/servers up && eval "$(scripts/servers env)"')
    shown = subprocess.run([str(ROOT / "scripts/servers"), "status"], capture_output=True, text=True, check=False)
    pids = {name: int(pid) for name, pid in _STATUS.findall(shown.stdout + shown.stderr)}
    kafka, elasticsearch, redis = (os.environ[name] for name in names)
    return Servers(kafka, elasticsearch, redis, pids)


class Elasticsearch:
    """Plain requests to the node on one kept connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=120)

    def __call__(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """The answer's body; an error ends the measurement."""
        self._connection.request(method, path, body, {"content-type": kind})
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status >= http.client.BAD_REQUEST and method != "DELETE":
            raise RuntimeError(f"{method} {path}: {answer.status} {found[:300]!r}")
        return found


@contextmanager
def corner(running: Servers, partitions: int = 2) -> Iterator[dict[str, str]]:
    """The environment of a deployment of its own, with everything set up; it goes when the block is left."""
    from trailseal.adapters.elasticsearch.options import options_from_url  # noqa: PLC0415 - peers need none of it
    from trailseal.adapters.indexes.elasticsearch import set_up_index  # noqa: PLC0415 - the same
    from trailseal.adapters.ledgers.elasticsearch import set_up_ledger  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.kafka_topic_plan import TopicPlan  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.kafka_topics import ensure_topic  # noqa: PLC0415 - the same

    name = f"bench{secrets.token_hex(4)}"
    at = urlsplit(running.elasticsearch).netloc
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "TRAILSEAL_LOG": f"kafka://{running.kafka}/{name}",
            "TRAILSEAL_INDEX": f"elasticsearch://{at}?prefix={name}-",
            "TRAILSEAL_LEDGER": f"elasticsearch://{at}?prefix={name}-",
            "TRAILSEAL_CACHE": f"{running.redis}?prefix={name}",
            "TRAILSEAL_DATA": folder,
            "TRAILSEAL_SEAL_KEY_FILE": f"{folder}/seal.key",
            "TRAILSEAL_SECRET_FILE": f"{folder}/secret",
            "TRAILSEAL_CONSUMER_GROUP": name,
            "TRAILSEAL_PORT": str(free_port()),
            "TRAILSEAL_LOG_LEVEL": "error",
        }
        (Path(folder) / "secret").write_bytes(secrets.token_bytes(32))
        options = options_from_url(environment["TRAILSEAL_INDEX"])
        set_up_index(options, replicas=0)
        set_up_ledger(options, replicas=0)
        ensure_topic({"bootstrap.servers": running.kafka}, TopicPlan(name, partitions=partitions))
        subprocess.run([COMMAND, "keys", "make"], env=os.environ | environment, check=True, capture_output=True)
        try:
            yield environment
        finally:
            forget(Elasticsearch(running.elasticsearch), f"{name}-")
            _forget_topic(running.kafka, name)


def forget(node: Elasticsearch, prefix: str) -> None:
    """Delete the indices and the template that begin so."""
    found = re.findall(
        rb'"([^"]+)":\{"settings"', node("GET", f"/{prefix}*/_settings?filter_path=*.settings.index.uuid")
    )
    for index in found:
        node("DELETE", f"/{index.decode()}")
    node("DELETE", f"/_index_template/{prefix}audit-v1")


def _forget_topic(brokers: str, topic: str) -> None:
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same

    admin = AdminClient({"bootstrap.servers": brokers})
    admin.delete_topics([topic])[topic].result(30)
