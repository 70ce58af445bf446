"""The three servers: their ports, files and command lines."""

import base64
import os
import shlex
import string
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import packages
import readiness
import security
from errors import ServersError


@dataclass(frozen=True, slots=True)
class Port:
    """A port: the setting that names it, and its default, for a second port as a distance from the first."""

    name: str
    variable: str
    default: int


@dataclass(frozen=True, slots=True)
class Engine:
    """How one server is configured and asked."""

    name: str
    title: str
    ports: tuple[Port, ...]
    prepare: Callable[[Path, dict[str, int]], list[str]]
    is_ready: Callable[[int], bool]
    exports: Callable[[Path, int], dict[str, str]]


def _fill(template: str, target: Path, values: dict[str, object]) -> None:
    """Write a configuration file from its template, and after it the operator's own lines, if any."""
    text = (packages.HERE / template).read_text()
    extra = os.environ.get(f"TRAILSEAL_SERVERS_{template.partition('/')[0].upper()}_EXTRA")
    if extra:
        try:
            text += "\n" + Path(extra).read_text()
        except OSError as error:
            raise ServersError(f"cannot read the extra settings {extra}: {error.strerror}") from error
    try:
        target.write_text(string.Template(text).substitute(values))
    except (KeyError, ValueError) as error:
        raise ServersError(f"{extra or template}: unknown name in braces: {error}") from error


def _java_options(engine: str, flags: list[str]) -> list[str]:
    options = os.environ.get(f"TRAILSEAL_SERVERS_{engine.upper()}_JAVA_OPTIONS")
    return [*(shlex.split(options) if options is not None else flags), "-XX:+ExitOnOutOfMemoryError"]


def _prepare_kafka(folder: Path, ports: dict[str, int]) -> list[str]:
    java, _ = packages.find_java()
    jars = packages.kafka_jars()
    data = folder / "data"
    data.mkdir(exist_ok=True)
    properties = folder / "server.properties"
    values = {"port": ports["port"], "controller_port": ports["controller"], "data": data, "folder": folder}
    _fill("kafka/server.properties", properties, values)
    logging = packages.HERE / "kafka" / "log4j2.properties"
    base = [java, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
    if not (data / "meta.properties").exists():
        # A version 4 UUID in URL-safe base64 starts with any letter; Kafka refuses a dash there.
        cluster = "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(properties)]
        done = subprocess.run([*base, *tool], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServersError(f"Kafka could not format {data}: {(done.stdout + done.stderr).strip()}")
    options = _java_options("kafka", ["-Xmx512m"])
    return [java, *options, *base[1:], "kafka.Kafka", str(properties)]


def _prepare_elasticsearch(folder: Path, ports: dict[str, int]) -> list[str]:
    java, vector = packages.find_java()
    made = packages.elasticsearch_home()
    home = folder / "home"
    (home / "config").mkdir(parents=True, exist_ok=True)
    modules = home / "modules"
    modules.unlink(missing_ok=True)
    secured = os.environ.get("TRAILSEAL_SERVERS_ELASTICSEARCH_SECURITY") == "true"
    modules.symlink_to(security.modules(made) if secured else made / "modules")
    for name in ("data", "logs", "repo"):
        (folder / name).mkdir(exist_ok=True)
    values = {"port": ports["port"], "transport_port": ports["transport"], "folder": folder}
    values |= {name: folder / name for name in ("data", "logs", "repo")}
    _fill("elasticsearch/elasticsearch.yml", home / "config" / "elasticsearch.yml", values)
    if secured:
        security.provide(home / "config")
    logging = (packages.HERE / "elasticsearch" / "log4j2.properties").read_text()
    (home / "config" / "log4j2.properties").write_text(logging)
    options = _java_options("elasticsearch", ["-Xms1g", "-Xmx1g"])
    flags = ["--enable-native-access=ALL-UNNAMED", *vector]
    return [java, *options, *flags, "-cp", f"{made}/launcher:{made}/lib/*", "StartNode", str(home)]


def _prepare_redis(folder: Path, ports: dict[str, int]) -> list[str]:
    server = packages.find_redis()
    data = folder / "data"
    data.mkdir(exist_ok=True)
    _fill("redis/redis.conf", folder / "redis.conf", {"port": ports["port"], "data": data, "folder": folder})
    return [server, str(folder / "redis.conf")]


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "kafka",
            "Kafka 4.1.1",
            (
                Port("port", "TRAILSEAL_SERVERS_KAFKA_PORT", 19092),
                Port("controller", "TRAILSEAL_SERVERS_KAFKA_CONTROLLER_PORT", 1),
            ),
            _prepare_kafka,
            readiness.kafka_is_ready,
            lambda _folder, port: {"TRAILSEAL_TEST_KAFKA": f"127.0.0.1:{port}"},
        ),
        Engine(
            "elasticsearch",
            f"Elasticsearch {packages.ELASTICSEARCH_VERSION}",
            (
                Port("port", "TRAILSEAL_SERVERS_ELASTICSEARCH_PORT", 19200),
                Port("transport", "TRAILSEAL_SERVERS_ELASTICSEARCH_TRANSPORT_PORT", 100),
            ),
            _prepare_elasticsearch,
            readiness.elasticsearch_is_ready,
            lambda folder, port: {
                "TRAILSEAL_TEST_ELASTICSEARCH": f"http://127.0.0.1:{port}",
                "TRAILSEAL_TEST_ELASTICSEARCH_REPO": str(folder / "repo"),
            },
        ),
        Engine(
            "redis",
            "Redis",
            (Port("port", "TRAILSEAL_SERVERS_REDIS_PORT", 16379),),
            _prepare_redis,
            readiness.redis_is_ready,
            lambda _folder, port: {"TRAILSEAL_TEST_REDIS": f"redis://127.0.0.1:{port}"},
        ),
    )
}
