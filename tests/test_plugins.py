"""Parts that users bring: found lazily, refused with the reason, and used from a wheel that is built and installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl import plugins
from automl.commands.joining import enqueued, join
from automl.compression.criteria import CRITERIA, channel_importance
from automl.data.dataset import SOURCES, load_dataset
from automl.errors import InputError
from automl.search.samplers import METHODS
from automl.storage import open_store
from automl.study_spec import OURS, parse_study_spec
from automl.targets import open_target
from search_spaces.joint import SPACES
from tests.compression.small_networks import Perceptron, evidence
from tests.installed_parts import install_parts

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = {"name": "tiny", "data": {"source": "digits"}, "budget": {"trials": 1}}
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install packages of one module into a folder of this test's own path."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install_here(module: str = "", package: str = "parts", **places: str) -> None:
        groups = {f"automl.{kind}": {"mine": place} for kind, place in places.items()}
        install_parts(tmp_path, package, groups, module)
        plugins.entry_points.cache_clear()

    yield install_here
    plugins.entry_points.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_names_imports_nothing(install: Install) -> None:
    install("raise RuntimeError('imported')", samplers="{module}:walk")
    assert plugins.names(plugins.SAMPLERS, ("nsga2",)) == ("mine",)
    assert "parts" not in sys.modules


def test_names_are_not_looked_up_where_a_study_has_parts_of_ours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: pytest.fail("looked up"))
    spec = parse_study_spec({**SMALLEST, "search": {"method": "tpe"}}, "a.yaml")
    assert join(spec).space.name == "darts_cells" and spec.foreign_parts() == ()


@pytest.mark.parametrize(
    ("group", "table"), [(plugins.DATASETS, SOURCES), (plugins.CRITERIA, CRITERIA), (plugins.SPACES, SPACES)]
)
def test_names_that_no_plugin_may_have_are_all_of_ours(group: str, table: Any) -> None:
    assert set(OURS[group]) == set(table)


def test_every_sampler_of_ours_may_be_named_in_a_study() -> None:
    assert set(METHODS) <= set(OURS[plugins.SAMPLERS])


@pytest.mark.parametrize(
    ("module", "place", "message"),
    [
        ("", "absent:walk", r"plugin mine of parts 1.2 \(automl.samplers: absent:walk\) must be a part that can be "
         r"imported, but got ModuleNotFoundError: No module named 'absent'. Mend or uninstall parts 1.2."),
        ("", "{module}:walk", "but got AttributeError: module 'parts' has no attribute 'walk'"),
        ("raise RuntimeError('no licence')", "{module}:walk", "but got RuntimeError: no licence"),
        ("walk = 5", "{module}:walk", r"must be a function \(plan, view, number\) .* but got a value of type int"),
        ("def walk(plan): ...", "{module}:walk", r"must be a function .* but got walk\(plan\). Mend or uninstall"),
    ],
)  # fmt: skip
def test_load_refuses_and_names_the_package(install: Install, module: str, place: str, message: str) -> None:
    install(module, samplers=place)
    with pytest.raises(InputError, match=message):
        plugins.load(plugins.SAMPLERS, "mine", ("nsga2",))


def test_load_names_ours_and_the_plugins_where_a_name_is_unknown(install: Install) -> None:
    install(samplers="{module}:walk")
    with pytest.raises(InputError, match=r"search\.method must be one of nsga2, tpe, mine, but got 'wlak'"):
        plugins.load(plugins.SAMPLERS, "wlak", ("nsga2", "tpe"))


def test_names_refuse_one_of_ours(install: Install) -> None:
    install(samplers="{module}:walk")
    message = "plugin mine of parts 1.2 .* named like no other, but got the name of a built-in one. Uninstall parts"
    with pytest.raises(InputError, match=message):
        plugins.names(plugins.SAMPLERS, ("mine",))


def test_names_refuse_one_of_another_package(install: Install) -> None:
    install(samplers="{module}:walk")
    install(package="steps", samplers="{module}:walk")
    with pytest.raises(InputError, match=r"plugin mine of steps 1\.2 .* got the name of plugin mine of parts 1.2"):
        plugins.load(plugins.SAMPLERS, "mine", ())


def test_names_refuse_what_reads_like_a_place(install: Install, tmp_path: Path) -> None:
    install_parts(tmp_path, "odd", {"automl.spaces": {"a:b": "odd:SPACE"}}, "")
    with pytest.raises(InputError, match=r"plugin a:b of odd 1\.2 .* named by letters, digits, dots and dashes"):
        plugins.names(plugins.SPACES, ())


# what a study says


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("samplers", {"search": {"method": "mine"}}),
        ("criteria", {"pruning": {"criteria": ["l1", "mine"]}}),
        ("datasets", {"data": {"source": "mine", "resize": 32}}),
    ],
)
def test_study_accepts_the_name_of_a_plugin_and_imports_nothing(
    install: Install, kind: str, part: dict[str, Any]
) -> None:
    install("raise RuntimeError('imported')", **{kind: "{module}:thing"})
    spec = parse_study_spec({**SMALLEST, **part}, "a.yaml")
    assert spec.foreign_parts() == ((f"automl.{kind}", "mine"),)
    assert plugins.versions(spec.foreign_parts()) == {"parts": "1.2"}


def test_study_refuses_an_unknown_name_and_lists_the_plugins(install: Install) -> None:
    install(criteria="{module}:thing")
    message = "a.yaml: pruning.criteria.0 must be 'l1', 'l2', .* 'random' or 'mine', but got 'fisher'"
    with pytest.raises(InputError, match=message):
        parse_study_spec({**SMALLEST, "pruning": {"criteria": ["fisher"]}}, "a.yaml")


def test_join_refuses_a_plugin_that_cannot_be_used(install: Install) -> None:
    install("def thing(network): ...", criteria="{module}:thing")
    spec = parse_study_spec({**SMALLEST, "pruning": {"criteria": ["mine"]}}, "a.yaml")
    with pytest.raises(InputError, match=r"plugin mine of parts 1.2 .* but got thing\(network\)"):
        join(spec)


# criteria, data sets and targets


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{}", "criterion mine must give a finite score for each channel of hidden"),
        ("{'hidden': torch.zeros(3)}", "a finite score"),
        ("{'hidden': torch.full((8,), float('nan'))}", "a finite score"),
    ],
)
def test_criterion_of_a_plugin_is_held_against_the_network(install: Install, answer: str, message: str) -> None:
    install(f"import torch\ndef score(network, evidence, widths): return {answer}", criteria="{module}:score")
    network = Perceptron()
    with pytest.raises(ValueError, match=message):
        channel_importance(network, {"hidden": 4}, "mine", evidence(network, 8))


def test_criterion_of_a_plugin_scores(install: Install) -> None:
    answer = "{'hidden': torch.arange(8.0) * len(evidence.labels)}"
    install(f"import torch\ndef score(network, evidence, widths): return {answer}", criteria="{module}:score")
    network = Perceptron()
    scores = channel_importance(network, {"hidden": 4}, "mine", evidence(network, 8))
    assert torch.equal(scores["hidden"], torch.arange(8.0) * 8)


def loaded(**settings: Any) -> Any:
    return load_dataset("mine", None, seed=0, validation_share=0.2, test_share=0.2, **settings)


IMAGES = "rng = np.random.default_rng(0)\nx = rng.integers(0, 255, (60, 8, 8))\ny = np.arange(60) % 3\n"


def test_dataset_of_a_plugin_is_split_like_ours(install: Install) -> None:
    answer = "{'x_train': x[:, :resize, :resize], 'y_train': y}"
    install(f"import numpy as np\n{IMAGES}def read(path, resize): return {answer}", datasets="{module}:read")
    dataset = loaded(resize=6)
    assert (dataset.name, dataset.input_shape, dataset.classes) == ("mine", (6, 6), ("0", "1", "2"))
    assert len(dataset.test) == 12 and dataset.train.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("None", "data.source mine must be a mapping of arrays with x_train and y_train, but got a NoneType"),
        ("{'x_train': x}", "must be arrays with x_train, y_train .* but got no y_train among x_train"),
        ("{'x_train': x, 'y_train': list(y)}", "data.source mine: y_train must be a NumPy array, but got a list"),
        (
            "{'x_train': x / 255, 'y_train': y}",
            "data.source mine: x_train must be integers from 0 to 255, but got float",
        ),
        ("1 / 0", "data.source mine must be a part that answers, but got ZeroDivisionError: division by zero"),
    ],
)
def test_dataset_of_a_plugin_is_checked(install: Install, answer: str, message: str) -> None:
    install(f"import numpy as np\n{IMAGES}def read(path, resize): return {answer}", datasets="{module}:read")
    with pytest.raises(InputError, match=message):
        loaded()


BOARD = """
from dataclasses import replace
from automl.targets import open_target
def board(argument, **settings):
    return replace(open_target("cpu", **settings), name=f"mine:{argument}")
"""


def test_target_of_a_plugin_gets_what_follows_its_name(install: Install) -> None:
    install(BOARD, targets="{module}:board")
    assert open_target("mine:10.0.0.7:99", batch=1, channel_multiple=8).name == "mine:10.0.0.7:99"


def test_target_of_a_plugin_must_be_one(install: Install) -> None:
    install("def board(argument, **settings): return argument", targets="{module}:board")
    with pytest.raises(
        InputError, match=r"target\.name mine must be a plugin that returns a Target, but got a str without"
    ):
        open_target("mine", batch=1, channel_multiple=8)


def test_unknown_target_is_named_with_the_plugins(install: Install) -> None:
    install("", targets="{module}:board")
    with pytest.raises(InputError, match="one of cpu, cuda, recorded:FILE, mine, but got 'toaster:1'"):
        open_target("toaster:1", batch=1, channel_multiple=8)


# spaces

EXAMPLE = (ROOT / "tests/plugin_package/automl_example_parts/space.py").read_text()
OWN_SPACE = (
    f"{EXAMPLE}\n\nNUMBER = 5\nLAMBDA = SearchSpace('l', (Dimension('a', 'pruning', (1,), True),), lambda c: c)\n"
)


def joined_place(place: str, **changes: Any) -> Any:
    return join(parse_study_spec({**SMALLEST, "space": place, **changes}, "a.yaml"))


@pytest.fixture
def own_module(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "own_space.py").write_text(OWN_SPACE)
    monkeypatch.chdir(tmp_path / "folder")


def test_space_is_found_by_its_place_in_the_working_directory(own_module: None) -> None:
    joined = joined_place("own_space:plain_cells")
    assert joined.space.names() == ("operation", "depth", "ratio", "bits")
    assert joined.space.decode(dict.fromkeys(joined.space.names(), 0)).genotype.cells == 2
    assert plugins.versions(joined.spec.foreign_parts())["own_space"].startswith("SHA-256 ")


def test_space_of_a_plugin_is_found_by_its_name(install: Install) -> None:
    install(EXAMPLE, spaces="{module}:plain_cells")
    assert joined_place("mine").space.name == "plain_cells"


def test_space_of_a_user_is_narrowed_and_queued(own_module: None) -> None:
    space = {"name": "own_space:plain_cells", "fix": {"depth": 3}, "allow": {"operation": ["conv_3x3", "skip_connect"]}}
    queue = ["uncompressed", {"ratio": 0.5, "bits": 8}]
    joined = join(parse_study_spec({**SMALLEST, "space": space, "search": {"enqueue": queue}}, "a.yaml"))
    assert joined.space.size() == 8
    first, second = (joined.space.decode(point) for point in enqueued(joined))
    assert not first.is_compressed() and second.quantization.weight_bits == (8, 8, 8)
    assert second.genotype.cells == 3


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent_module:SPACE", "space.name absent_module:SPACE must be a part that can be imported, but got Module"),
        ("own_space:SPACE", "must be a name in own_space, but got nothing of that name. It has .*plain_cells"),
        ("own_space:NUMBER", "must be a SearchSpace, or a function .* but got a value of type int"),
        ("own_space:dataclass", r"must be a SearchSpace, or a function \(spec, formats, facts\)"),
        ("own_space:LAMBDA", "must be a space that can be sent to a worker, .* no lambda, nothing nested"),
        ("resnets", "space.name must be one of darts_cells, package.module:SPACE, but got 'resnets'"),
    ],
)
def test_space_of_a_user_is_refused_with_the_reason(own_module: None, place: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        joined_place(place)


def test_space_of_a_user_is_refused_beside_a_model(own_module: None) -> None:
    with pytest.raises(InputError, match=r"space\.name must be left out where there is a model"):
        joined_place("own_space:plain_cells", model={"source": "a.module:build"})


def test_short_form_of_a_space_bears_overrides(own_module: None, tmp_path: Path) -> None:
    from automl.study_spec import load_study_spec

    path = tmp_path / "a.yaml"
    path.write_text("name: a\ndata: {source: digits}\nspace: own_space:plain_cells\nbudget: {trials: 1}\n")
    spec = load_study_spec(str(path), {"space.fix": {"depth": 2}})
    assert (spec.space.name, spec.space.fix) == ("own_space:plain_cells", {"depth": 2})


# a wheel of its own

STUDY = """
name: mine
data: {source: bars, train_limit: 48}
target: {name: "quick_cpu:0.05"}
space: plain_cells
pruning: {criteria: [half_norm]}
training: {epochs: 1}
distillation: {alphas: [1.0]}
teacher: {source: none}
budget: {trials: 2}
search: {method: hill_climb, executor: inline, enqueue: [{ratio: 0.5, depth: 2, operation: conv_3x3}]}
finalists: {count: 1, epochs: 1}
"""


def run(folder: Path, *arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True,
        text=True, check=False, timeout=100,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def with_wheel(tmp_path: Path) -> dict[str, str]:
    """Build the example into a wheel, install it into a folder, and return the environment in which it is there."""
    source, site, lanes = tmp_path / "source", tmp_path / "site", tmp_path / "lanes"
    shutil.copytree(ROOT / "tests/plugin_package", source)
    lanes.mkdir()
    run(source, "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", "wheels", ".")
    (wheel,) = (source / "wheels").glob("*.whl")
    run(source, "pip", "install", "-q", "--target", str(site), "--no-deps", "--no-index", str(wheel))
    return {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "TMPDIR": str(lanes)}  # its lane is no other test's


def test_parts_of_a_wheel_are_searched_with(tmp_path: Path, with_wheel: dict[str, str]) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY)
    space = json.loads(run(tmp_path, "automl", "space", "mine.yaml", "--json", **with_wheel))
    assert (space["name"], space["size"]) == ("plain_cells", 24)
    found = json.loads(run(tmp_path, "automl", "search", "mine.yaml", "--json", **with_wheel))
    assert found["delivery"]["verified"] is True
    with open_store(f"sqlite:///{tmp_path / 'runs/automl.db'}") as store:
        study = store.studies()[0]
        trials = store.trials(study.id)
    assert [trial.state for trial in trials] == ["measured", "measured"]
    assert trials[0].candidate.pruning.criterion == "half_norm" and trials[0].candidate.loses_channels()
    assert "climbed" in trials[1].sampler_state
    assert "one sitting of 0.05 s" in study.device
    assert study.versions["automl-example-parts"] == "0.3.0"


@pytest.mark.parametrize("name", ["space", "sampler", "criterion", "target", "data"])
def test_documentation_shows_the_example_as_it_is_tested(name: str) -> None:
    source = (ROOT / f"tests/plugin_package/automl_example_parts/{name}.py").read_text()
    assert f"```python\n{source.rstrip()}\n```" in (ROOT / "docs/plugins.md").read_text()


@pytest.mark.parametrize("group", sorted(plugins.KINDS))
def test_documentation_says_how_each_kind_is_called(group: str) -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    assert f"`{group}`" in text and f"`({', '.join(plugins.KINDS[group].arguments)}" in text
