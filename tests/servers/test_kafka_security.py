"""TLS and SASL on a real broker: the settings that the consumer and the topic's set-up share."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from servers.certificates import Authority
from servers.deployment import PATIENCE_S, deployment, free_port
from servers.load import record
from servers.waiting import eventually
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.adapters.logs.kafka_topic_plan import TopicPlan
from trailseal.adapters.logs.kafka_topics import connection, ensure_topic
from trailseal.bootstrap.links import kafka_options
from trailseal.errors import Unavailable
from trailseal.model.record import NewRecord, Record
from trailseal.ports.log import Assigned
from trailseal.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "canary and a half"  # noqa: S105 - of a broker that lives for one test
pytestmark = pytest.mark.timeout(240)

LOGIN = "org.apache.kafka.common.security.{module} required"
EXTRA = """
listeners=PLAINTEXT://127.0.0.1:${{port}},CONTROLLER://127.0.0.1:${{controller_port}},{more}
advertised.listeners=PLAINTEXT://127.0.0.1:${{port}},{more}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} user_audit="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram};
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """A broker with a listener for SASL over TLS and one for client certificates."""

    plain: str
    sasl: str
    tls: str
    folder: Path
    servers: Callable[..., str]


@pytest.fixture(scope="module")
def secured(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    assert kafka_servers  # without real servers this is skipped like the rest
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder)
    certificate, key = authority.sign("broker")
    authority.sign("client")
    keystore = folder / "keystore.pem"
    keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "wrong").write_text("not it")
    sasl, tls = free_port(), free_port()
    extra = folder / "extra.properties"
    extra.write_text(
        EXTRA.format(
            more=f"SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{tls}",
            keystore=keystore,
            ca=authority.path,
            password=PASSWORD,
            plain=LOGIN.format(module="plain.PlainLoginModule"),
            scram=LOGIN.format(module="scram.ScramLoginModule"),
        )
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAILSEAL_")} | {
        "TRAILSEAL_SERVERS_DIR": str(folder / "servers"),
        "TRAILSEAL_SERVERS_KAFKA_PORT": "0",
        "TRAILSEAL_SERVERS_KAFKA_EXTRA": str(extra),
        "TRAILSEAL_SERVERS_KAFKA_JAVA_OPTIONS": "-Xmx256m",
    }

    def servers(*arguments: str) -> str:
        done = subprocess.run(
            [ROOT / "scripts" / "servers", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        servers("up", "kafka")
        plain = servers("env", "kafka").strip().partition("=")[2]
        admin = AdminClient({"bootstrap.servers": plain})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion("audit", scram, PASSWORD.encode())
        admin.alter_user_scram_credentials([wanted])["audit"].result(30)
        yield Secured(plain, f"127.0.0.1:{sasl}", f"127.0.0.1:{tls}", folder, servers)
    finally:
        servers("down", "--wipe")


def links(secured: Secured, kind: str) -> tuple[str, dict[str, str]]:
    """The brokers and the settings of a kind of link."""
    ca = {"kafka_ca_file": str(secured.folder / "ca.pem")}
    if kind == "certificate":
        files = {"cert": "client.pem", "key": "client.key"}
        return secured.tls, ca | {f"kafka_{name}_file": str(secured.folder / file) for name, file in files.items()}
    password = {"kafka_username": "audit", "kafka_password_file": str(secured.folder / "password")}
    return secured.sasl, ca | password | ({"kafka_sasl_mechanism": "PLAIN"} if kind == "plain" else {})


@pytest.mark.parametrize("kind", ["scram", "plain", "certificate"])
def test_the_same_settings_make_the_topic_and_use_it(secured: Secured, kind: str) -> None:
    brokers, given = links(secured, kind)
    url = f"kafka://{brokers}/t-{secrets.token_hex(6)}"
    environment = {f"TRAILSEAL_{name.upper()}": value for name, value in given.items()}
    made = subprocess.run(
        [ROOT / "scripts" / "setup_kafka.sh"],
        env={"PATH": os.environ["PATH"], "TRAILSEAL_LOG": url, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert PASSWORD not in made.stdout + made.stderr
    with closing(KafkaLog(kafka_options(Settings(**given), url), log_number=lambda _: 1)) as log:
        (at,) = log.append([NewRecord(b"value", b"key")])
        assert [item.position for item in log.read(at.partition, 0, 10, 1 << 20)] == [at]
        subscription = log.subscribe("group")
        assert isinstance(subscription.poll(1, 60.0), Assigned)


def test_a_wrong_password_is_said_and_waited_out(secured: Secured) -> None:
    brokers, given = links(secured, "scram")
    settings = Settings(**(given | {"kafka_password_file": str(secured.folder / "wrong")}))
    with closing(KafkaLog(kafka_options(settings, f"kafka://{brokers}/t"), log_number=lambda _: 1)) as log:
        with pytest.raises(Unavailable, match="refused our credentials") as refusal:
            log.append([NewRecord(b"value", b"key")])
        assert "not it" not in str(refusal.value)
    client = given | {"kafka_password_file": str(secured.folder / "wrong")}
    found, _ = connection(
        {f"TRAILSEAL_{name.upper()}": value for name, value in client.items()}
        | {"TRAILSEAL_LOG": f"kafka://{brokers}/t"}
    )
    with pytest.raises(Unavailable, match="refused our credentials"):
        ensure_topic(found, TopicPlan("t"), wait_s=3)


def test_a_consumer_with_a_wrong_password_waits_and_the_right_one_loses_nothing(
    secured: Secured, elasticsearch_url: str, redis_url: str, tmp_path: Path
) -> None:
    brokers, given = links(secured, "scram")
    password = tmp_path / "kafka.password"
    password.write_text("canary-wrong")
    given |= {"kafka_password_file": str(password)}
    with deployment(secured.plain, elasticsearch_url, redis_url, tmp_path, partitions=1) as cluster:
        given |= {"log": f"kafka://{brokers}/{cluster.topic}"}
        cluster.append([record(f"e{number}") for number in range(100)])
        refused = cluster.consume(**given)
        eventually(lambda: "refused our credentials" in refused.said() or not refused.alive, PATIENCE_S)
        assert refused.readiness()["status"] == "degraded"
        assert cluster.pending() == 100
        assert "canary" not in refused.said()
        assert refused.stop() == 0
        password.write_text(PASSWORD)
        cluster.consume(**given)
        cluster.wait_until_taken_in()
        assert cluster.indexed() == {f"e{number}": 1 for number in range(100)}
        cluster.check_books()


def test_what_a_broker_that_stands_still_does_not_acknowledge_in_time_is_not_said_to_be_durable(
    secured: Secured,
) -> None:
    options = KafkaOptions(secured.plain, f"t-{secrets.token_hex(6)}", delivery_timeout_s=2.0)
    ensure_topic({"bootstrap.servers": secured.plain}, TopicPlan(options.topic, partitions=1))
    with closing(KafkaLog(options, log_number=lambda _: 1)) as log:
        log.append([NewRecord(b"before", b"key")])
        secured.servers("pause", "kafka")
        try:
            with pytest.raises(Unavailable):
                log.append([NewRecord(b"during", b"key")])
        finally:
            secured.servers("resume", "kafka")
        log.append([NewRecord(b"after", b"key")])
        found = [item.value for item in log.read(0, 0, 10, 1 << 20) if isinstance(item, Record)]
    assert [value for value in found if value != b"during"] == [b"before", b"after"]
    assert found.count(b"during") <= 1
