"""What pyproject.toml promises: every import is declared, every declared package is pinned, the studies are shipped."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from automl import __version__
from automl.study_spec import shipped_studies

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"automl", "search_spaces", "dashboard", "studies", "tests"}
BROUGHT_BY = {"werkzeug": "dash"}  # an import that comes with a declared package


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: list[str]) -> set[str]:
    return {normalized(re.split(r"[\[<>=!~ ]", requirement)[0]) for requirement in requirements}


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {normalized(line.split("==")[0]) for line in lines if line and not line.startswith("#")}


def imported(folder: str) -> set[str]:
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module.split(".")[0])
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    return found - OURS - scripts - set(sys.stdlib_module_names) - {"_typeshed"}


def every_extra() -> list[str]:
    return [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]


def undeclared(folder: str, declared: set[str]) -> list[str]:
    packages = metadata.packages_distributions()
    missing = []
    for name in imported(folder):
        providers = {normalized(one) for one in packages.get(BROUGHT_BY.get(name, name), [name])}
        if not providers & declared:
            missing.append(name)
    return sorted(missing)


@pytest.mark.parametrize("folder", ["automl", "search_spaces", "dashboard"])
def test_every_import_is_a_declared_dependency(folder: str) -> None:
    declared = names_of([*PROJECT["dependencies"], *every_extra()])
    assert undeclared(folder, declared) == []


def test_extras_are_imported_inside_functions_only() -> None:
    extras = names_of(every_extra()) - names_of(PROJECT["dependencies"]) - {"automl"}
    found = [
        (path.name, node.lineno)
        for path in (ROOT / "automl").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom) and top_of(node) & extras
    ]
    assert found == []


def top_of(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return {normalized(name.split(".")[0]) for name in names}


def test_every_import_of_the_tests_is_declared() -> None:
    declared = names_of([*PROJECT["dependencies"], *every_extra()])
    assert undeclared("tests", declared) == []


def test_undeclared_finds_one() -> None:
    assert "numpy" in undeclared("automl", set())


def test_every_declared_package_is_pinned() -> None:
    declared = names_of([*PROJECT["dependencies"], *every_extra()]) - {"automl"}  # its own extras
    assert declared - pinned() == set()


def test_the_users_packages_are_declared() -> None:
    wanted = {"optuna", "torch", "ray", "sqlalchemy", "plotly", "scikit-learn"}
    assert wanted <= names_of(PROJECT["dependencies"])
    assert any(requirement.startswith("ray[tune]") for requirement in PROJECT["dependencies"])


def test_torch_is_pinned_for_the_cpu_and_the_cuda_build() -> None:
    line = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert "+" not in line


def test_version_is_that_of_the_project() -> None:
    assert PROJECT["version"] == __version__


def test_studies_are_shipped() -> None:
    assert {"digits", "fashion_mnist", "folder"} <= set(shipped_studies())
    assert {path.stem for path in (ROOT / "studies").glob("*.yaml")} == set(shipped_studies())
