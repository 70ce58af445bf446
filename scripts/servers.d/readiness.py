"""Does a server answer? Asked in its own protocol, since an open port is not yet a working server."""

import json
import socket
import struct
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 2.0
KAFKA_METADATA = 3


def kafka_is_ready(port: int) -> bool:
    """Tell whether the broker lists itself as alive (Metadata request, version 1, no topics)."""
    # Kafka protocol, request header version 1: key, version, correlation id, client id.
    head = struct.pack(">hhih", KAFKA_METADATA, 1, 1, 5) + b"ready"
    request = head + struct.pack(">i", 0)
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                _size, _correlation, brokers = struct.unpack(">iii", answer.read(12))
    except (OSError, struct.error):
        return False
    return bool(brokers > 0)


def elasticsearch_is_ready(port: int) -> bool:
    """Tell whether the node has a master and all primary shards it knows."""
    url = f"http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=1s"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)["status"] in {"yellow", "green"}
    except (OSError, urllib.error.URLError, ValueError):
        return False


def redis_is_ready(port: int) -> bool:
    """Tell whether Redis answers a PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
