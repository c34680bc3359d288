"""Laws of the repository: where things are, what the locks pin, and that nothing in it is one machine's."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("schemas", "stream", "connectors")
LOCKS = ("production", "demo", "dev")
#: All that `dev` brings in.
EXTRAS = ("demo", "parquet", "plot", "dev")

#: The fixed top level. Whatever is new has its place below it.
TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "connectors",
    "deploy",
    "docs",
    "pyproject.toml",
    "requirements",
    "schemas",
    "stream",
    "tests",
}

#: Where the homes of people and the trees of build machines are.
MACHINE_PATH = re.compile(r"(?<![\w.:/}-])/(?:home|Users|root|work)/\w")
#: `[text](target)` and `![text](target)`.
MARKDOWN_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def ignored() -> set[str]:
    """The names in .gitignore, which has names only."""
    return {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()} | {".git"}


def files() -> Iterator[Path]:
    """Every file that git would take."""
    skipped = ignored()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in skipped and not name.endswith(".egg-info")]
        yield from (Path(folder) / name for name in names if name not in skipped)


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file, by its path in the repository."""
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path.relative_to(ROOT), content.decode()


def locked(name: str) -> dict[str, str]:
    """What a lock pins: distribution to version."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def required(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, itself left out."""
    project = PYPROJECT["project"]
    asked = [*project["dependencies"]]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    found = map(Requirement, asked)
    return [requirement for requirement in found if requirement.name != project["name"]]


def imported(path: Path) -> Iterator[str]:
    """The top-level modules that a source file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_the_top_level_is_the_fixed_one() -> None:
    """A new reader meets the same dozen names as the design."""
    assert {path.relative_to(ROOT).parts[0] for path in files()} == TOP_LEVEL


def test_no_file_names_a_path_of_one_machine() -> None:
    """What is in the repository is true on every machine."""
    here = {f"{ROOT}/", f"{Path.home()}/"} - {"/", "//"}
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or any(place in line for place in here)
    ]
    assert found == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_by_name_version_and_hash_only(name: str) -> None:
    """No host, no index, no file: the installer's own configuration says where packages come from."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pin = re.compile(r"[a-z0-9-]+==[\w.!+]+( ; [\w\s.<>=!'()]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)] == []
    assert all(after.startswith("    --hash=") for line, after in pairwise(lines) if "==" in line)


def test_the_locks_agree() -> None:
    """What is tested is what is shown and what is deployed."""
    production, demo, dev = map(locked, LOCKS)
    assert production.items() <= demo.items() <= dev.items()


@pytest.mark.parametrize(("name", "extras"), [("production", []), ("demo", ["demo"]), ("dev", list(EXTRAS))])
def test_a_lock_satisfies_the_project(name: str, extras: list[str]) -> None:
    """A dependency that was added or raised without `make lock` is found here, without a network."""
    pins = locked(name)
    for requirement in required(*extras):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in requirements/{name}.txt: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} != {version}: run `make lock`"


def test_the_demo_lock_can_build_the_project() -> None:
    """The project is built without isolation, so by what the lock has."""
    backend = {Requirement(each).name for each in PYPROJECT["build-system"]["requires"]}
    group = {Requirement(each).name for each in PYPROJECT["dependency-groups"]["build"]}
    assert backend <= group <= set(locked("demo"))


def test_production_installs_neither_broker_nor_redis_server() -> None:
    """The embedded servers are an extra, for demo and tests."""
    servers = {
        canonicalize_name(Requirement(each).name) for each in PYPROJECT["project"]["optional-dependencies"]["demo"]
    }
    assert servers and not servers & set(locked("production"))


def test_what_is_imported_is_declared() -> None:
    """A package that is there only because another one wants it may leave with that one."""
    declared = {canonicalize_name(requirement.name) for requirement in required(*EXTRAS)}
    missing = {module for module, names in third_party().items() if not names & declared}
    assert missing == set()


def test_what_is_declared_is_imported() -> None:
    """Production installs nothing that it does not use."""
    declared = {canonicalize_name(requirement.name) for requirement in required()}
    assert declared <= set().union(*third_party().values())


def third_party() -> dict[str, set[str]]:
    """Each module from elsewhere that the packages import, with the distributions that have it."""
    distributions = packages_distributions()
    return {
        module: {canonicalize_name(name) for name in distributions.get(module, [])}
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for module in imported(path)
        if module not in sys.stdlib_module_names and module not in PACKAGES
    }


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    """Links inside the repository name files that are there, and headings that the file has."""
    broken = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        for target in MARKDOWN_LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            aim = (ROOT / path.parent / name) if name else ROOT / path
            if not aim.exists() or (anchor and anchor not in headings(aim)):
                broken.append(f"{path}: {target}")
    assert broken == []


def headings(path: Path) -> set[str]:
    """The anchors of a Markdown file, formed as GitHub does."""
    titles = re.findall(r"^#+ +(.+?) *$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_target_of_the_makefile_is_described() -> None:
    """Bare `make` prints them all."""
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):.*? ## \S", makefile, re.MULTILINE))


def test_the_license_is_whole() -> None:
    """Apache-2.0, as pyproject.toml says."""
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
