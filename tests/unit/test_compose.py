"""What `docker-compose.yml` and `Dockerfile` promise, read from the files: no Docker engine is needed."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from trailseal.adapters.logs.kafka_topic_plan import plan_from
from trailseal.settings import PREFIX, setting_names

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
OURS = {"setup": "setup", "api": "serve", "event_consumer": "consume"}
ONE_SHOTS = {"setup", "snapshot_folder"}
LASTING = sorted(SERVICES.keys() - ONE_SHOTS)


def test_every_server_of_the_cluster_profile_and_all_of_our_processes_are_there() -> None:
    assert set(SERVICES) == {"kafka", "elasticsearch", "redis", *OURS, "snapshot_folder"}


def test_zookeeper_is_gone() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    settings = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "zookeeper" not in settings.lower()
    assert SERVICES["kafka"]["environment"]["KAFKA_PROCESS_ROLES"] == "broker,controller"


@pytest.mark.parametrize("name", SERVICES)
def test_every_published_port_is_bound_to_loopback(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_servers_without_passwords_are_not_published() -> None:
    assert {name for name in SERVICES if SERVICES[name].get("ports")} == {"api", "kafka"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_full_version(name: str) -> None:
    assert re.search(r":\d+\.\d+\.\d+(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_memory_limit_and_gains_no_privileges(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@pytest.mark.parametrize(("name", "variable"), [("kafka", "KAFKA_HEAP_OPTS"), ("elasticsearch", "ES_JAVA_OPTS")])
def test_a_heap_leaves_half_of_the_limit_to_the_page_cache(name: str, variable: str) -> None:
    heap = re.search(r"-Xmx(\d+)([mg])", SERVICES[name]["environment"][variable])
    limit = re.fullmatch(r"(\d+)([mg])", SERVICES[name]["mem_limit"])
    assert heap
    assert limit
    assert 2 * _mib(*heap.groups()) <= _mib(*limit.groups())


def _mib(number: str, unit: str) -> int:
    return int(number) * (1024 if unit == "g" else 1)


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_checked_and_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    health = SERVICES[name]["healthcheck"]
    assert health["test"][0] in {"CMD", "CMD-SHELL"}
    assert set(health) == {"test", "interval", "timeout", "retries", "start_period"}


@pytest.mark.parametrize("name", sorted(ONE_SHOTS))
def test_what_ends_by_itself_is_not_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


def test_setup_waits_for_healthy_servers_and_the_rest_for_a_completed_setup() -> None:
    healthy = {key: {"condition": "service_healthy"} for key in ("kafka", "elasticsearch", "redis")}
    assert SERVICES["setup"]["depends_on"] == healthy
    for name in ("api", "event_consumer"):
        assert SERVICES[name]["depends_on"] == healthy | {"setup": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize(("name", "command"), OURS.items())
def test_our_processes_run_one_image_with_nothing_writable_but_their_state(name: str, command: str) -> None:
    service = SERVICES[name]
    assert service["command"][0] == command
    assert service["image"] == SERVICES["api"]["image"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert {volume.split(":")[0] for volume in service["volumes"]} <= {"trailseal_state", "seal_keys"}


def test_only_the_setup_writes_keys_and_secrets() -> None:
    writers = {name for name in OURS for volume in SERVICES[name]["volumes"] if not volume.endswith(":ro")}
    assert writers == {"setup"}


def test_the_process_that_faces_the_clients_cannot_read_the_keys_that_sign_checkpoints() -> None:
    folder = str(PurePosixPath(SERVICES["api"]["environment"]["TRAILSEAL_SEAL_KEY_FILE"]).parent)
    mounted = {name: [volume.split(":")[1] for volume in SERVICES[name]["volumes"]] for name in OURS}
    assert {name for name, folders in mounted.items() if folder in folders} == {"setup", "event_consumer"}
    assert f"-m 0700 /var/lib/trailseal {folder}\n" in DOCKERFILE, (
        "a new volume takes owner and mode from the image"
    )
    assert not PurePosixPath(folder).is_relative_to("/var/lib/trailseal")


def test_the_image_is_named_after_the_version_it_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert SERVICES["api"]["image"] == f"trailseal:{project['version']}"


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting_that_exists(name: str) -> None:
    environment = SERVICES[name]["environment"]
    known = {PREFIX + setting.upper() for setting in setting_names()}
    assert {v for v in environment if not v.startswith("TRAILSEAL_KAFKA_")} <= known
    plan_from(environment)


@pytest.mark.parametrize("name", OURS)
def test_every_url_leads_to_a_service_of_this_file_on_a_port_it_listens_on(name: str) -> None:
    environment = SERVICES[name]["environment"]
    urls = [urlsplit(environment[f"TRAILSEAL_{engine}"]) for engine in ("LOG", "INDEX", "LEDGER", "CACHE")]
    assert [(url.scheme, url.hostname, url.port) for url in urls] == [
        ("kafka", "kafka", 9092),
        ("elasticsearch", "elasticsearch", 9200),
        ("elasticsearch", "elasticsearch", 9200),
        ("redis", "redis", 6379),
    ]


def test_host_and_services_each_get_an_address_of_kafka_that_works_for_them() -> None:
    kafka = SERVICES["kafka"]
    advertised = dict(entry.split("://") for entry in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["PLAINTEXT"] == "kafka:9092"
    assert kafka["ports"] == [f"{advertised['HOST']}:9094"]


def test_kafka_accepts_the_cluster_id() -> None:
    assert len(base64.urlsafe_b64decode(SERVICES["kafka"]["environment"]["CLUSTER_ID"] + "==")) == 16


def test_every_volume_in_use_is_declared_and_every_declared_one_is_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", stage) for stage in stages)
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert 'ENTRYPOINT ["trailseal"]' in final


def test_the_image_installs_only_hashed_versions() -> None:
    installs = re.findall(r"pip .*?install (.*)", DOCKERFILE)
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-deps" in installs[1]


def test_the_image_and_the_compose_file_ask_the_same_of_a_healthy_process() -> None:
    asked = re.search(r'CMD (\["python", "-c", .*\])', DOCKERFILE)
    assert asked
    for name in ("api", "event_consumer"):
        assert yaml.safe_load(asked[1]) == SERVICES[name]["healthcheck"]["test"][1:]


def test_everything_the_image_copies_reaches_the_build() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for line in copied for name in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="apt-get install docker-compose")
def test_compose_itself_accepts_the_file() -> None:
    command = ["docker-compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
