"""What is published: the dependencies are those that the package imports, and what stands in two files is the same in both."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

import mfbench

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~!; ]", one)[0].lower() for one in requirements}


def imported() -> dict[str, set[str]]:
    """The modules that the package imports, inside functions too, and the distributions that each may come from."""
    modules: set[str] = set()
    for path in (ROOT / "mfbench").rglob("*.py"):
        if path.parent.name == "adapters":  # these run in the environments of peers
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    there = packages_distributions()
    theirs = modules - sys.stdlib_module_names - {"mfbench"}
    return {module: {distribution.lower() for distribution in there.get(module, [])} for module in theirs}


def test_the_dependencies_are_what_the_package_imports() -> None:
    needed, extras = named(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    optional = named([one for name, extra in extras.items() if name != "dev" for one in extra])
    found = imported()
    assert needed - set().union(*found.values()) == set(), "declared, and imported nowhere"
    assert {module for module, origins in found.items() if not origins & (needed | optional)} == set(), "not declared"


def test_a_commit_is_checked_by_what_make_check_runs() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0].splitlines()[1:]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [line.strip() for line in recipe]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}


def test_the_version_and_the_licence_are_the_same_wherever_they_stand() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (mfbench.__version__, PROJECT["license"])
    assert f"\n## [{mfbench.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert PROJECT["license"] in (ROOT / "LICENSE").read_text().splitlines()[0]
