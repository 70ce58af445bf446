"""What Kafka's protocol forbids and its Python client cannot write, produced with the C library itself."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

_TOPIC, _PARTITION, _VALUE, _FLAGS, _HEADERS, _END = 1, 3, 4, 7, 10, 0
_COPY = 2


def produce_with_header_name(brokers: str, topic: str, value: bytes, name: bytes) -> None:
    """One record to partition 0 with one header whose name may be any bytes."""
    (path,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, function).restype = ctypes.c_void_p
    why = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"bootstrap.servers", brokers.encode(), why, ctypes.c_size_t(512))
    producer = ctypes.c_void_p(library.rd_kafka_new(0, settings, why, ctypes.c_size_t(512)))
    headers = ctypes.c_void_p(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
    library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), b"x", ctypes.c_ssize_t(1))
    failed = library.rd_kafka_producev(
        producer,
        ctypes.c_int(_TOPIC),
        ctypes.c_char_p(topic.encode()),
        ctypes.c_int(_PARTITION),
        ctypes.c_int32(0),
        ctypes.c_int(_VALUE),
        ctypes.c_char_p(value),
        ctypes.c_size_t(len(value)),
        ctypes.c_int(_FLAGS),
        ctypes.c_int(_COPY),
        ctypes.c_int(_HEADERS),
        headers,
        ctypes.c_int(_END),
    )
    assert not failed
    assert not library.rd_kafka_flush(producer, 30_000)
    library.rd_kafka_destroy(producer)
