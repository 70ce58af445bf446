"""Elasticsearch's own security, switched on: the roles of docs/reference/elasticsearch-layout.md are enough.

The node is started by `scripts/servers` with security from its published jars; accounts and roles come from files.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from confluent_kafka.admin import AdminClient

from servers.deployment import COMMAND, Deployment
from servers.entries import entry
from servers.waiting import eventually
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, set_up_index
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.errors import Unavailable
from trailseal.model.query import Query
from trailseal.ports.index import Retry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "elasticsearch-layout.md"
PASSWORD = "operator"  # noqa: S105 - every account of the test has it
ROLES: dict[str, Any] = json.loads(
    re.findall(r"```json\n(\{\s*\"setup\".*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
)
EVENT = {"id": "e1", "timestamp": "2026-03-04T05:06:07Z", "actor": "alice", "action": "document.read"}
WAIT_S = 90.0
pytestmark = [
    pytest.mark.timeout(600),  # the first test waits for the node too
    pytest.mark.skipif(
        os.environ.get("TRAILSEAL_TEST_ELASTICSEARCH_SECURITY") != "true",
        reason="TRAILSEAL_TEST_ELASTICSEARCH_SECURITY=true starts a second node, with Elasticsearch's own security",
    ),
]


@dataclass
class Node:
    """The secured node and the files that its accounts and roles come from."""

    url: str
    config: Path

    def ask(self, method: str, path: str, account: str = "operator") -> int:
        """The status of a request."""
        token = base64.b64encode(f"{account}:{PASSWORD}".encode()).decode()
        request = Request(self.url + path, method=method, headers={"authorization": f"Basic {token}"})  # noqa: S310
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - the test's own server
                return int(answer.status)
        except OSError as error:
            return int(getattr(error, "code", 0))

    def give(self, roles: Mapping[str, Any]) -> None:
        """Make roles and an account of each one's name, beside the operator; returns once the node knows them."""
        hashed = (self.config / "users").read_text().partition("\n")[0].partition(":")[2]
        accounts = ["operator", *roles]
        # JSON is YAML; Elasticsearch reads role by role, and a role begins at a line's start.
        (self.config / "roles.yml").write_text(
            "".join(f"{name}: {json.dumps(role)}\n" for name, role in roles.items())
        )
        (self.config / "users_roles").write_text(
            "superuser:operator\n" + "".join(f"{name}:{name}\n" for name in roles)
        )
        (self.config / "users").write_text("".join(f"{name}:{hashed}\n" for name in accounts))
        probes = {name: f"/{role['indices'][0]['names'][0]}/_search?size=0" for name, role in roles.items()}
        eventually(lambda: all(self.ask("GET", path, name) == 200 for name, path in probes.items()), WAIT_S)

    def options(self, account: str, prefix: str) -> ElasticsearchOptions:
        return options_from_url(f"{self.url}?prefix={prefix}", username=account, password=PASSWORD)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("secured")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRAILSEAL_SERVERS_")} | {
        "TRAILSEAL_SERVERS_DIR": str(folder),
        "TRAILSEAL_SERVERS_ELASTICSEARCH_PORT": "0",
        "TRAILSEAL_SERVERS_ELASTICSEARCH_SECURITY": "true",
        "TRAILSEAL_SERVERS_ELASTICSEARCH_JAVA_OPTIONS": "-Xms512m -Xmx512m",
        "TRAILSEAL_SERVERS_WAIT": "400",
    }

    def script(*arguments: str) -> str:
        done = subprocess.run(
            [ROOT / "scripts" / "servers", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = script("up", "elasticsearch")
    try:
        url = re.findall(r"TRAILSEAL_TEST_ELASTICSEARCH=(\S+)", printed)[0]
        yield Node(url, folder / "elasticsearch" / "home" / "config")
    finally:
        script("down", "--wipe", "elasticsearch")


def prefixed(role: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The documented role for names that begin so."""
    indices = [{**grant, "names": [prefix + name for name in grant["names"]]} for grant in role["indices"]]
    return {"cluster": role["cluster"], "indices": indices}


def less(role: Mapping[str, Any], privilege: str) -> dict[str, Any]:
    """The role without a privilege that it has."""
    assert privilege in json.dumps(role)
    indices = [
        {**grant, "privileges": [name for name in grant["privileges"] if name != privilege]}
        for grant in role["indices"]
    ]
    return {"cluster": [name for name in role["cluster"] if name != privilege], "indices": indices}


def test_each_process_does_all_its_work_with_the_documented_role_of_its_own(
    node: Node, kafka_servers: str, redis_url: str, tmp_path: Path
) -> None:
    name = f"t{secrets.token_hex(5)}"
    accounts = {role: f"{name}-{role}" for role in ROLES}
    node.give({accounts[role]: prefixed(granted, f"{name}-") for role, granted in ROLES.items()})
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    at = node.url.removeprefix("http://")
    environment = {
        "TRAILSEAL_LOG": f"kafka://{kafka_servers}/{name}",
        "TRAILSEAL_INDEX": f"elasticsearch://{at}?prefix={name}-",
        "TRAILSEAL_LEDGER": f"elasticsearch://{at}?prefix={name}-",
        "TRAILSEAL_CACHE": f"{redis_url}?prefix={name}",
        "TRAILSEAL_DATA": str(tmp_path),
        "TRAILSEAL_CONSUMER_GROUP": name,
        "TRAILSEAL_ELASTICSEARCH_REPLICAS": "0",
        "TRAILSEAL_KAFKA_PARTITIONS": "1",
        "TRAILSEAL_ELASTICSEARCH_PASSWORD_FILE": str(password),
    }
    cluster = Deployment(environment, tmp_path, name, 1)

    def run(role: str, *arguments: str) -> str:
        cluster.environment["TRAILSEAL_ELASTICSEARCH_USERNAME"] = accounts[role]
        done = cluster.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        key = run("setup", "setup").strip()
        assert run("setup", "setup") == ""
        consumer = cluster.consume(elasticsearch_username=accounts["consumer"])
        api = cluster.start(str(COMMAND), "serve", wait=True, elasticsearch_username=accounts["api"])

        def ask(path: str, body: Any = None) -> Any:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body).encode()
            request = Request(f"http://127.0.0.1:{api.port}{path}", data, headers)
            with urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.loads(answer.read())

        assert ask("/events", [EVENT, EVENT, EVENT | {"id": "e2"}])["accepted"] == 3
        eventually(lambda: len(ask("/events?actor=alice")["events"]) == 2, WAIT_S)
        run("api", "api-keys", "create", "--tenant", "acme", "--scope", "events:read")
        run("operator", "reproject", "--all")
        run("operator", "reconcile")
        run("auditor", "verify")
        why = ("--reason", "ticket 7", "--requested-by", "dpo", "--yes")
        run("operator", "erase", "--tenant", "default", "--event-id", "e2", *why)
        run("auditor", "verify")
        run("operator", "expire", "--before", "2026-04", *why)
        run("operator", "reconcile")
        run("auditor", "verify")
        assert [process.stop() for process in (consumer, api)] == [0, 0]
    finally:
        cluster.close()
        admin = AdminClient({"bootstrap.servers": kafka_servers})
        admin.delete_topics([name])[name].result(30)


@pytest.mark.parametrize(
    ("role", "privilege", "said"),
    [
        ("setup", "monitor", "cluster privilege monitor"),
        ("setup", "manage_index_templates", "cluster privilege manage_index_templates"),
        ("setup", "manage", "index privilege .*manage"),
        ("consumer", "monitor", "cluster privilege .*monitor"),
        ("consumer", "manage", "index privilege .*manage"),
        ("api", "read", "index privilege read"),
        ("auditor", "monitor", "cluster privilege .*monitor"),
        ("auditor", "view_index_metadata", "index privilege .*view_index_metadata"),
        ("auditor", "maintenance", "index privilege .*maintenance"),
    ],
)
def test_a_role_that_lacks_something_is_told_what(node: Node, role: str, privilege: str, said: str) -> None:
    prefix = f"t{secrets.token_hex(5)}-"
    poor = less(prefixed(ROLES[role], prefix), privilege)
    probe = {"names": [f"{prefix}probe*"], "privileges": ["read"]}
    account = f"{prefix}{role}"
    node.give({account: poor | {"indices": [probe, *(grant for grant in poor["indices"] if grant["privileges"])]}})
    if role != "setup":
        set_up_index(node.options("operator", prefix), replicas=0)
        set_up_ledger(node.options("operator", prefix), replicas=0)
    if role == "auditor":
        _work("consumer", node.options("operator", prefix))

    with pytest.raises(Unavailable, match=f"denies us .*: our role needs the {said}"):
        _work(role, node.options(account, prefix))


def _work(role: str, options: ElasticsearchOptions) -> None:
    if role == "setup":
        set_up_index(options, replicas=0)
        set_up_ledger(options, replicas=0)
        return
    ledger = ElasticsearchLedger(options)
    index = ElasticsearchIndex(options, ledger)
    try:
        if role == "consumer":
            index.put([entry(0)])
            index.refresh()
        elif role == "auditor":
            index.refresh()
            index.alterations()
        else:
            index.search(Query(), None, 10)
    finally:
        index.close()
        ledger.close()


def test_a_consumer_that_may_not_write_events_is_told_where_and_keeps_them(node: Node) -> None:
    prefix = f"t{secrets.token_hex(5)}-"
    nowhere, elsewhere = f"{prefix}nowhere", f"{prefix}elsewhere"
    poor = less(prefixed(ROLES["consumer"], prefix), "write")
    other = {"names": [f"{prefix}other"], "privileges": ["write"]}
    node.give({nowhere: poor, elsewhere: poor | {"indices": [*poor["indices"], other]}})
    set_up_index(node.options("operator", prefix), replicas=0)
    set_up_ledger(node.options("operator", prefix), replicas=0)
    needed = r"our role needs the index privilege .*\bindex\b"
    with closing(ElasticsearchLedger(node.options("operator", prefix))) as ledger:
        with (
            closing(ElasticsearchIndex(node.options(nowhere, prefix), ledger)) as index,
            pytest.raises(Unavailable, match=f"a bulk request to {prefix}audit-2026.11 .*{needed}"),
        ):
            index.put([entry(0)])
        with closing(ElasticsearchIndex(node.options(elsewhere, prefix), ledger)) as index:
            (verdict,) = index.put([entry(0)])
        assert isinstance(verdict, Retry)
        assert re.fullmatch(f"403 security_exception: {needed}.* on {prefix}audit-2026.11", verdict.why)
