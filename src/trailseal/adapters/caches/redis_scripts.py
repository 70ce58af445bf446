"""Scripts on kept connections to Redis: one round trip each, without what the client does around a command.

Connecting, TLS, credentials and the protocol are the client's own; its pool, retries and instrumentation, which
cost several times what a look into the cache does, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as OutOfTime


class Script:
    """A Lua script and the name Redis has for it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = sha1(text.encode(), usedforsecurity=False).hexdigest()


class ScriptRunner:
    """Runs scripts. Safe to use from many threads; a connection is one thread's at a time.

    Args:
        pool: makes the connections.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._make: Any = pool.make_connection
        self._idle: list[Any] = []

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """The script's answer. A connection that was closed while it was idle is made anew once.

        Raises:
            RedisError: Redis cannot be asked, or refuses.
            OSError: the network's own errors.
        """
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._run(self._make(), script, keys, arguments)
        try:
            return self._run(kept, script, keys, arguments)
        except OutOfTime:
            raise
        except (Broken, OSError):
            self.close()
            return self._run(self._make(), script, keys, arguments)

    def _run(
        self, connection: Any, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Any:
        rest = (len(keys), *keys, *arguments)
        try:
            try:
                answer = _exchange(connection, "EVALSHA", script.name, *rest)
            except NoScriptError:
                answer = _exchange(connection, "EVAL", script.text, *rest)
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().disconnect()


def _exchange(connection: Any, *command: str | int | bytes) -> Any:
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    return connection.read_response()
