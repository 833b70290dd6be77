"""The walls: imports point down, heavy libraries stay at home, only the command line reads the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("automl", "search_spaces", "dashboard")
LAYERS: tuple[tuple[str, ...], ...] = (
    ("automl.errors", "automl.candidate", "automl.outcome"),
    ("automl.space", "automl.pareto", "automl.combinations", "automl.plugins", "search_spaces"),
    ("automl.data", "automl.models", "automl.training", "automl.compression", "automl.targets"),
    ("automl.study_spec", "automl.evaluation"),
    ("automl.storage", "automl.search", "automl.tracking"),
    ("automl.views", "automl.export"),
    ("automl.estimator", "automl.cli", "automl.commands", "automl.__main__", "dashboard"),
)
COMMAND_LINE = ("automl.cli", "automl.commands")
HOMES: Mapping[str, tuple[str, ...]] = {
    "ray": ("automl.search.ray_",),
    "optuna": ("automl.search",),
    "optuna_dashboard": ("dashboard",),
    "sqlalchemy": ("automl.storage",),
    "alembic": ("automl.storage",),
    "plotly": ("automl.views", "dashboard"),
    "dash": ("dashboard",),
    "pydantic": ("automl.study_spec",),
    "yaml": ("automl.study_spec",),
    "typer": COMMAND_LINE,
    "rich": COMMAND_LINE,
    "search_spaces": ("search_spaces", "dashboard", *COMMAND_LINE),
    "prometheus_client": ("automl.tracking",),
    "tensorboard": ("automl.tracking.tensorboard_",),
    "mlflow": ("automl.tracking.mlflow_",),
    "wandb": ("automl.tracking.wandb_",),
}
HEAVY = (
    "optuna",
    "ray",
    "sqlalchemy",
    "alembic",
    "plotly",
    "pydantic",
    "yaml",
    "sklearn",
    "onnx",
    "onnxruntime",
    "openvino",
    "PIL",
    "dash",
    "transformers",
    "tokenizers",
    "torch_pruning",
    "nncf",
    "prometheus_client",
    "tensorboard",
    "mlflow",
    "wandb",
)
READERS_OF_THE_ENVIRONMENT = (  # Ray, and what loggers report, are configured through the environment only
    *COMMAND_LINE,
    "automl.search.ray_",
    "automl.tracking.privacy",
)

Imports = Mapping[str, set[str]]  # module -> the modules that it names, lazily or not


def within(module: str, prefixes: Iterable[str]) -> bool:
    return any(
        module == prefix or module.startswith(prefix if prefix.endswith("_") else prefix + ".") for prefix in prefixes
    )


def layer_of(module: str) -> int | None:
    return next((level for level, names in enumerate(LAYERS) if within(module, names)), None)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, ast.Module]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {module_name(path): ast.parse(path.read_text(), str(path)) for path in paths}


def imported_names(tree: ast.Module, known: Iterable[str]) -> set[str]:
    """Return the full names of what the module imports anywhere; `from a import b` is a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            nested = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in nested}
    return found


def imports_of_the_tree() -> dict[str, set[str]]:
    trees = modules()
    return {name: imported_names(tree, trees.keys()) for name, tree in trees.items()}


def upward_arrows(imports: Imports) -> list[str]:
    arrows = [(module, name) for module, names in imports.items() for name in sorted(names)]
    levels = [(module, name, layer_of(module), layer_of(name)) for module, name in arrows]
    return [
        f"{module} -> {name}"
        for module, name, low, high in levels
        if low is not None and high is not None and high > low
    ]


def circle(imports: Imports) -> list[str] | None:
    """Return the modules of one circle of imports, None where there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        for name in sorted(imports.get(module, ())):
            found = visit(name, [*path, module]) if name != module else None
            if found is not None:
                return found
        done.add(module)
        return None

    return next((found for module in imports if (found := visit(module, [])) is not None), None)


def strangers(imports: Imports) -> list[str]:
    """Return each import of a heavy library outside its home."""
    return [
        f"{module} imports {name}"
        for module, names in imports.items()
        for name in sorted(names)
        for library, homes in HOMES.items()
        if within(name, [library]) and not within(module, homes)
    ]


def reads_environment(tree: ast.Module) -> bool:
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return bool(names & {"environ", "environb", "getenv"})


def test_layers_place_every_module() -> None:
    assert [name for name in modules() if name != "automl" and layer_of(name) is None] == []


def test_imports_point_down() -> None:
    assert upward_arrows(imports_of_the_tree()) == []


def test_imports_make_no_circle() -> None:
    assert circle(imports_of_the_tree()) is None


def test_heavy_libraries_stay_at_home() -> None:
    assert strangers(imports_of_the_tree()) == []


def test_environment_is_read_by_the_command_line_only() -> None:
    assert [
        name
        for name, tree in modules().items()
        if reads_environment(tree) and not within(name, READERS_OF_THE_ENVIRONMENT)
    ] == []


@pytest.mark.parametrize(
    ("module", "name", "points_up"),
    [
        ("automl.errors", "automl.cli", True),
        ("automl.targets.cpu", "automl.study_spec", True),
        ("automl.cli", "automl.errors", False),
        ("automl.storage.store", "automl.search.front", False),
        ("automl.space", "numpy", False),
    ],
)
def test_upward_arrows_finds_them(module: str, name: str, points_up: bool) -> None:
    assert bool(upward_arrows({module: {name}})) is points_up


def test_circle_finds_one() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_strangers_names_a_library_outside_its_home() -> None:
    imports = {
        "automl.search.driver": {"ray.util"},
        "automl.search.ray_pool": {"ray"},
        "automl.views.page": {"plotly.io"},
    }
    assert strangers(imports) == ["automl.search.driver imports ray.util"]


@pytest.mark.parametrize("text", ["import os\nos.environ['A']", "from os import getenv", "import os\nos.getenv('A')"])
def test_reads_environment_sees_every_spelling(text: str) -> None:
    assert reads_environment(ast.parse(text))


def run_python(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)


BLOCKER = """
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
for name in {names!r}:
    importlib.import_module(name)
"""


def test_modules_below_the_study_spec_import_with_numpy_and_torch_alone() -> None:
    names = [name for name in modules() if (level := layer_of(name)) is not None and level <= 2]
    result = run_python(BLOCKER.format(blocked=HEAVY, names=names))
    assert result.returncode == 0, result.stderr


def test_blocker_blocks() -> None:
    result = run_python(BLOCKER.format(blocked=HEAVY, names=["optuna"]))
    assert "No module named 'optuna' (blocked)" in result.stderr


@pytest.mark.parametrize("name", ["automl", "automl.cli", "search_spaces"])
def test_import_loads_no_heavy_library(name: str) -> None:
    result = run_python(f"import sys, {name}\nprint(sorted(set(sys.modules) & {{*{HEAVY!r}, 'torch'}}))")
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
