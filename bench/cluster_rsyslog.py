"""Row: Kafka to index, everything on, against rsyslog from `imkafka` to `omelasticsearch` with the same events.

rsyslog stores each event as it is, as a plain document under the id that we would give it. Both start with a full
topic.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.cluster_ingest import EVENTS, PLAIN, ROUNDS, Cost, best, consume, fill, settings_of, timed
from bench.cluster_servers import Elasticsearch, Servers, corner, servers
from bench.row import Row
from trailseal.bootstrap import open_engines

_CONFIGURATION = """
module(load="imkafka")
module(load="omelasticsearch")
global(workDirectory="{folder}")
template(name="whole" type="string" string="%msg%")
template(name="id" type="string"
  string="%msg:R,ERE,1,FIELD:\\"tenant_id\\":\\"([^\\"]*)\\"--end%/%msg:R,ERE,1,FIELD:\\"id\\":\\"([^\\"]*)\\"--end%")
ruleset(name="store" queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="5000"
        queue.workerThreads="2" queue.workerThreadMinimumMessages="5000") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" searchIndex="{index}" searchType=""
         esversion.major="8" bulkmode="on" maxbytes="20m" template="whole" bulkid="id" dynbulkid="on"
         writeoperation="create" action.resumeRetryCount="-1")
}}
input(type="imkafka" topic="{topic}" broker="{broker}" consumergroup="{index}" ruleset="store"
      confParam=["auto.offset.reset=earliest", "fetch.wait.max.ms=100"])
"""


def measure(size: float) -> list[Row]:
    """Events a second and processor time of node and feeder together."""
    daemon = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if daemon is None:
        raise SystemExit("this row needs Debian's packages rsyslog, rsyslog-kafka and rsyslog-elasticsearch")
    running, count = servers(), int(EVENTS * size)
    pairs = [(consume(running, count), _rsyslog(running, daemon, count)) for _ in range(ROUNDS)]
    mine, other = best([pair[0] for pair in pairs]), best([pair[1] for pair in pairs])
    what = f"Kafka to index against rsyslog, {count:,} events"
    return [
        Row(f"{what}: events a second", str(mine), str(other), mine.per_second / other.per_second, 1.5),
        Row(f"{what}: processor time", f"{mine.us:.1f} us", f"{other.us:.1f} us", other.us / mine.us, 1.5),
    ]


def _rsyslog(running: Servers, daemon: str, count: int) -> Cost:
    node = Elasticsearch(running.elasticsearch)
    with corner(running) as environment, tempfile.TemporaryDirectory() as folder:
        engines = open_engines(settings_of(environment), "import")
        try:
            fill(engines.log.append, count)
        finally:
            engines.close()
        name = f"{urlsplit(environment['TRAILSEAL_LOG']).path.strip('/')}-plain"
        body = {"settings": {"number_of_replicas": 0, "refresh_interval": "1s"}, "mappings": PLAIN}
        node("PUT", f"/{name}", json.dumps(body).encode())
        with (
            _started(daemon, Path(folder), running, environment, name) as process,
            timed(running, process.pid, count) as whole,
        ):
            first = _until_more(node, name, 0, process)
            with timed(running, process.pid, count - first) as steady:
                _until_more(node, name, count - 1, process)
    return Cost(steady.cost.per_second, whole.cost.node_us, whole.cost.ours_us)


@contextmanager
def _started(
    daemon: str, folder: Path, running: Servers, environment: dict[str, str], index: str
) -> Iterator[subprocess.Popen[bytes]]:
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder,
            port=urlsplit(running.elasticsearch).port,
            index=index,
            topic=urlsplit(environment["TRAILSEAL_LOG"]).path.strip("/"),
            broker=running.kafka,
        ),
        "utf-8",
    )
    command = [daemon, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _until_more(node: Elasticsearch, index: str, than: int, process: subprocess.Popen[bytes]) -> int:
    """How many documents the index holds once they are more than that."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"rsyslog ended with status {process.returncode}")
        shown = json.loads(node("GET", f"/{index}/_stats/docs?filter_path=_all.primaries.docs.count"))
        found = int(shown.get("_all", {}).get("primaries", {}).get("docs", {}).get("count", 0))
        if found > than:
            return found
        time.sleep(0.05)
