"""Every example of README, quickstart and how-tos is run, as it stands there, against a running system."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.test_http_up import environment, free_port, up

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = {"scripts/run", "scripts/test", "scripts/check && scripts/test"}
"""What sets up this machine itself: CI and `tests/flow/test_http_up.py` run it."""
WITH_SERVERS = {f"docs/howto/{name}.md" for name in ("servers", "operate", "kafka", "months")}
"""Pages whose examples need servers: `tests/servers/test_documented_operations.py` runs those of an operator."""
DOCUMENTS = [
    name
    for path in [ROOT / "README.md", ROOT / "docs/quickstart.md", *sorted((ROOT / "docs/howto").glob("*.md"))]
    if (name := str(path.relative_to(ROOT))) not in WITH_SERVERS
]
BEFOREHAND = {"docs/howto/expire.md": "trailseal import old-events.ndjson"}
"""What a page takes to be there besides the demo events, which are of the last thirty days."""
EXAMPLE_S = 60

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl: apt-get install curl"),
]


def examples(document: str) -> list[str]:
    blocks = (block.strip() for block in BLOCK.findall((ROOT / document).read_text("utf-8")))
    return [block for block in blocks if block not in ELSEWHERE]


def cloudtrail(number: int) -> dict[str, object]:
    return {
        "eventVersion": "1.08",
        "eventID": f"00000000-0000-0000-0000-{number:012d}",
        "eventTime": "2026-10-01T08:00:00Z",
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": ("StopLogging", "DeleteTrail", "LookupEvents")[number % 3],
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.9",
        "userIdentity": {"type": "IAMUser", "userName": "mallory", "arn": "arn:aws:iam::1:user/mallory"},
    }


def fill(folder: Path) -> None:
    """What a reader has at hand: a checkout, and files to import."""
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/trailseal").symlink_to(Path(sys.executable).parent / "trailseal")
    native = {"timestamp": "2026-10-02T09:00:00Z", "actor": "alice", "action": "invoice.approved"}
    (folder / "my-events.ndjson").write_text("".join(json.dumps(native | {"id": f"m{n}"}) + "\n" for n in range(9)))
    old = {"timestamp": "2024-12-02T09:00:00Z", "actor": "alice", "action": "invoice.approved", "id": "old"}
    (folder / "old-events.ndjson").write_text(json.dumps(old) + "\n")
    for name in ("cloudtrail", "cloudtrail-folder"):
        (folder / name).mkdir()
        body = json.dumps({"Records": [cloudtrail(number) for number in range(6)]}).encode()
        (folder / name / "one.json.gz").write_bytes(gzip.compress(body))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    fill(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    port = free_port()
    with up(tmp_path / "data", port, "--demo"):
        yield tmp_path, port


def run(example: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    script = 'curl() { command curl --fail-with-body --silent --show-error "$@"; }\n' + example
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
        cwd=folder,
        env=environment() | {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=EXAMPLE_S,
        check=False,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_a_page_run_one_after_the_other(document: str, place: tuple[Path, int]) -> None:
    folder, port = place
    beforehand = [BEFOREHAND[document]] if document in BEFOREHAND else []
    for example in (*beforehand, *examples(document)):
        done = run(example, folder, port)
        assert done.returncode == 0, f"{document}:\n{example}\n\n{done.stdout}\n{done.stderr}"


def test_pages_with_examples_are_found() -> None:
    assert all(examples(document) for document in ("README.md", "docs/quickstart.md"))
