"""The examples of the operator's pages, run as they stand there, one page after the other, on the real servers."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from servers.deployment import COMMAND, PATIENCE_S, Deployment, deployment, free_port
from servers.load import record
from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually
from trailseal.settings import PREFIX, setting_names

PAGES = Path(__file__).resolve().parents[2] / "docs" / "howto"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STAYS = re.compile(r"^(TRAILSEAL_PORT=\d+ )?trailseal (consume|serve)\b")
"""A command that runs until it is stopped."""
PORT = re.compile(r"\b80\d\d\b")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl: apt-get install curl"),
]


class Operator:
    """Runs what a page says, in a folder with the settings of a deployment."""

    def __init__(self, cluster: Deployment) -> None:
        self._folder = cluster.folder / "operator"
        self._folder.mkdir()
        settings = {name.removeprefix(PREFIX).lower(): value for name, value in cluster.environment.items()}
        lines = [f'{name} = "{value}"\n' for name, value in settings.items() if not value.isdigit()]
        lines += [f"{name} = {value}\n" for name, value in settings.items() if value.isdigit()]
        (self._folder / "trailseal.toml").write_text("".join(lines))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = kept | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
        self._ports: dict[str, int] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def follow(self, page: str, before: dict[str, Callable[[], None]]) -> None:
        """Run the page's examples; ``before`` makes the trouble that an example with this first word is for."""
        for block in BLOCK.findall((PAGES / page).read_text("utf-8")):
            for first, trouble in before.items():
                if block.startswith(first):
                    trouble()
            commands: list[str] = []
            for line in block.splitlines():
                if STAYS.match(line):
                    self._run(page, commands)
                    commands = []
                    self._start(line)
                else:
                    commands.append(line)
            self._run(page, commands)
        self.stop()

    def _here(self, text: str) -> str:
        return PORT.sub(lambda found: str(self._ports.setdefault(found[0], free_port())), text)

    def _run(self, page: str, commands: list[str]) -> None:
        script = 'curl() { command curl --fail-with-body --silent --show-error "$@"; }\n' + "\n".join(commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(script)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{page}:\n{script}\n\n{done.stdout}\n{done.stderr}"

    def _start(self, line: str) -> None:
        log = self._folder / "processes.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", self._here(line)],
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running.append(process)
        (port,) = PORT.findall(line)
        eventually(lambda: _ready(self._ports[port]) or process.poll() is not None, PATIENCE_S)
        assert process.poll() is None, f"{line}\n{log.read_text('utf-8')}"

    def consumer_ends(self) -> int:
        """Wait until the consumer, which was started first, ends by itself; its exit status."""
        return self._running.pop(0).wait(PATIENCE_S)

    def stop(self) -> None:
        """End what runs, as a supervisor does."""
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_S)
        self._running.clear()


def _ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(
        kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=2, elasticsearch_replicas="0"
    ) as made:
        yield made


def test_an_operator_gets_through_the_pages_word_by_word(cluster: Deployment, raw: RawElasticsearch) -> None:
    ids = [f"e{number}" for number in range(50)]
    cluster.append([record(event_id, timestamp="2026-11-04T05:06:07Z") for event_id in ids])

    def lose_a_month() -> None:
        cluster.wait_until_taken_in()
        assert raw("DELETE", f"/{cluster.topic}-audit-2026.11-v1-000001") == {"acknowledged": True}
        cluster.append([record("late", timestamp="2026-11-04T05:06:07Z")])
        assert operator.consumer_ends() == 2

    def lose_the_topic() -> None:
        operator.stop()
        cluster.delete_topic()
        cluster.make_topic()
        cluster.forget_engines()

    operator = Operator(cluster)
    try:
        operator.follow("operate.md", {"trailseal rebuild": lose_a_month})
        operator.follow("months.md", {})
        operator.follow("kafka.md", {"trailseal epoch new": lose_the_topic})
    finally:
        operator.stop()
    cluster.append([record("after")])
    assert cluster.consume().alive
    cluster.wait_until_taken_in()
    found = cluster.indexed()
    assert [found[event_id] for event_id in [*ids, "late", "after"]] == [1] * 52
    assert len(found) == 53  # and what the operator sent
    cluster.check_books()


def test_the_settings_that_the_page_shows_are_settings() -> None:
    (text,) = re.findall(
        r"^```toml\n(.*?)^```$", (PAGES / "operate.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert set(tomllib.loads(text)) <= set(setting_names())
