"""Elasticsearch's security from its published jars: two more modules beside the bare server's.

The SAML realm is left out, since its libraries are not published; the index that holds native users cannot be made
either, since it wants an analyser of a module that is not published. Users and roles come from files.
"""

import shutil
import tempfile
import zipfile
from pathlib import Path

import packages
from errors import ServersError

FOLDER = packages.HERE / "elasticsearch" / "security"
PLUGINS = {
    "x-pack-core": ("org.elasticsearch.xpack.core.XPackPlugin", ""),
    "x-pack-security": ("org.elasticsearch.xpack.security.SecurityWithoutSaml", "x-pack-core"),
}
# Extensions that want the plugin's class to be exactly Security; neither has to do with who may do what.
_WANT_SECURITY_ITSELF = (
    "META-INF/services/org.elasticsearch.index.ActionLoggingFieldsProvider",
    "META-INF/services/org.elasticsearch.reservedstate.ReservedStateHandlerProvider",
)


def modules(base: Path) -> Path:
    """Return a folder of modules, those of the bare server among them, making it the first time.

    Args:
        base: what `packages.elasticsearch_home` returned.
    """
    sources = [
        FOLDER / "pom.xml",
        FOLDER / "SecurityWithoutSaml.java",
        Path(__file__),
        base / "launcher" / "StartNode.class",
    ]
    version = packages.ELASTICSEARCH_VERSION
    return packages.built("elasticsearch-security", sources, lambda target: _build(base, target), version)


def _build(base: Path, target: Path) -> None:
    version = packages.ELASTICSEARCH_VERSION
    with tempfile.TemporaryDirectory() as work:
        jars = Path(work) / "jars"
        packages.maven_jars(FOLDER / "pom.xml", jars, f"-Delasticsearch.version={version}")
        shutil.copytree(base / "modules", target)
        for name, (plugin, extended) in PLUGINS.items():
            (target / name).mkdir()
            packages.describe_module(target / name, plugin, extended)
        security = jars / f"x-pack-security-{version}.jar"
        ours = Path(work) / "ours"
        packages.compile_java(FOLDER / "SecurityWithoutSaml.java", jars.glob("*.jar"), ours)
        _without_extensions(security, ours, target / "x-pack-security" / security.name)
        shared = {path.name for path in (base / "lib").glob("*.jar")} | {security.name}
        for jar in jars.glob("*.jar"):
            if jar.name not in shared:
                shutil.copy(jar, target / "x-pack-core")


def _without_extensions(jar: Path, classes: Path, target: Path) -> None:
    """Copy a jar, less those extensions, with our classes."""
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(target, "w") as new:
        names = set(old.namelist())
        if not names.issuperset(_WANT_SECURITY_ITSELF):
            raise ServersError(
                f"{jar.name} is built otherwise than this script knows: look at {Path(__file__).name}"
            )
        for item in old.infolist():
            if item.filename not in _WANT_SECURITY_ITSELF:
                new.writestr(item, old.read(item))
        for path in classes.rglob("*.class"):
            new.write(path, path.relative_to(classes))


def provide(config: Path) -> None:
    """Switch security on in a node's configuration; the account `operator` has the password `operator`."""
    with (config / "elasticsearch.yml").open("a") as settings:
        settings.write((FOLDER / "elasticsearch.yml").read_text())
    for name in ("users", "users_roles"):
        if not (config / name).exists():
            shutil.copy(FOLDER / name, config)
