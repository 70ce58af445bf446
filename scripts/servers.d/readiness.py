"""Does a server answer? Asked in its own protocol, since an open port is not yet a working server."""

import http.client
import json
import socket
import struct

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
    # Not urllib: it would ask a proxy named in the environment for a server on loopback.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        # With security the account of elasticsearch/security/users; without, nobody looks at it.
        operator = {"authorization": "Basic b3BlcmF0b3I6b3BlcmF0b3I="}
        connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s", headers=operator)
        health = json.load(connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return health.get("status") in {"yellow", "green"}


def redis_is_ready(port: int) -> bool:
    """Tell whether Redis answers a PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
