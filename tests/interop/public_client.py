"""The Go program of this folder, built once and run as an auditor would, and a server that lies to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
BUILD_S = 280
RUN_S = 60


class PublicClient:
    """What `main.go` tells."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Exit status, summary and complaint."""
        done = subprocess.run(
            [self._program, *words], capture_output=True, text=True, timeout=RUN_S, check=False, cwd=HERE
        )
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def summary(self, *words: str) -> dict[str, Any]:
        """The summary of what has to hold."""
        status, summary, complaint = self.run(*words)
        assert status == 0, complaint
        return summary


def built(folder: Path) -> PublicClient:
    """Build it; the test is skipped where this machine cannot, unless CI has Go and has to."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed, so other people's clients are not tried")
    downloaded = _go(go, "mod", "download")
    if downloaded.returncode:
        why = f"other people's clients cannot be downloaded: {downloaded.stderr}"
        if os.environ.get("CI") == "true":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    program = folder / "interop"
    done = _go(go, "build", "-buildvcs=false", "-mod=readonly", "-o", str(program), ".")
    assert done.returncode == 0, done.stderr
    return PublicClient(program)


def _go(go: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([go, *words], cwd=HERE, capture_output=True, text=True, timeout=BUILD_S, check=False)


def fetch(url: str) -> bytes:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=RUN_S) as answer:  # noqa: S310 - our own servers
        body: bytes = answer.read()
    return body


@contextmanager
def lying(server: str, lie: Callable[[str, bytes], bytes]) -> Iterator[str]:
    """A server that answers as that one does, but for what `lie` makes of a path and its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = lie(self.path, fetch(server + self.path))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    liar = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=liar.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{liar.server_port}"
    finally:
        liar.shutdown()
        thread.join()
        liar.server_close()
