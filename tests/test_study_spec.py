from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.errors import InputError
from automl.study_spec import (
    is_factory,
    load_study_spec,
    open_dataset,
    parse_override,
    parse_study_spec,
    shipped_studies,
)
from search_spaces.joint import describe_space, space_from_spec
from tests.data.tiny_images import arrays, with_test, write_folder, write_npz

SHIPPED = ("digits", "fashion_mnist", "folder")  # of cells
MODELS = ("banking77", "cifar10_distil", "mobilenet_v2", "resnet18", "resnet50")  # of one model each
FORMATS = ((32, 32), (8, 8), (4, 32))
SMALLEST = {"name": "tiny", "data": {"source": "digits"}, "budget": {"trials": 1}}


def written(folder: Path, text: str) -> str:
    path = folder / "study.yaml"
    path.write_text(text)
    return str(path)


def faults_of(document: dict[str, Any]) -> dict[str, str]:
    """Return the faults of a document by dotted key."""
    with pytest.raises(InputError) as caught:
        parse_study_spec(document, "a.yaml")
    return {fault.where.removeprefix("a.yaml: "): str(fault) for fault in caught.value.faults}


def test_shipped_studies_are_all_known() -> None:
    assert tuple(shipped_studies()) == tuple(sorted((*SHIPPED, *MODELS)))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_study_parses_by_name_into_its_space(name: str) -> None:
    spec = load_study_spec(name, {})
    space = space_from_spec(spec.to_json(), FORMATS)
    assert spec.name == name
    assert describe_space(space, spec.target.channel_multiple).prunable_share() >= 0.75
    assert {dimension.group for dimension in space.dimensions} == {
        "architecture", "pruning", "quantization", "distillation", "training",
    }  # fmt: skip


def test_shipped_study_opens_its_data(tmp_path: Path) -> None:
    assert open_dataset(load_study_spec("digits", {}).data).classes == tuple("0123456789")
    npz = load_study_spec("fashion_mnist", {"data.path": write_npz(tmp_path, with_test())})
    assert len(open_dataset(npz.data).test) == 12
    images = write_folder(tmp_path / "images", {"cat": 6, "dog": 6}, size=(9, 7))
    folder = load_study_spec("folder", {"data.path": images})
    assert open_dataset(folder.data).input_shape == (64, 64, 3)


@pytest.mark.parametrize("name", ["fashion_mnist", "folder"])
def test_shipped_study_without_its_data_names_both_ways(name: str) -> None:
    with pytest.raises(InputError, match=r"data.path must be .* Give `--data PATH` .* AUTOML_DATA"):
        open_dataset(load_study_spec(name, {}).data)


@pytest.mark.parametrize("name", SHIPPED)
def test_study_spec_survives_json_and_yaml(name: str, tmp_path: Path) -> None:
    spec = load_study_spec(name, {})
    assert parse_study_spec(spec.to_json(), "record") == spec
    assert load_study_spec(written(tmp_path, spec.to_yaml()), {}) == spec


def test_smallest_study_gets_the_defaults() -> None:
    spec = parse_study_spec(SMALLEST, "a.yaml")
    assert spec.objectives == ("accuracy", "latency_ms", "size_bytes")
    assert (spec.search.method, spec.search.workers, spec.limits.bounds()) == ("nsga2", "auto", {})


def test_limits_give_the_bounds_that_are_there() -> None:
    spec = parse_study_spec({**SMALLEST, "limits": {"latency_ms": 2}}, "a.yaml")
    assert spec.limits.bounds() == {"latency_ms": 2.0}


def test_training_entry_is_a_value_a_list_or_a_range() -> None:
    training = {"epochs": 3, "batch_size": [32, 64], "learning_rate": {"low": "1e-3", "high": 1e-2, "log": True}}
    spec = parse_study_spec({**SMALLEST, "training": training}, "a.yaml")
    dimensions = {entry.name: entry.choices for entry in space_from_spec(spec.to_json(), FORMATS).dimensions}
    assert dimensions["batch_size"] == (32, 64)
    assert len(dimensions["learning_rate"]) == 5
    assert "epochs" not in dimensions


def test_unknown_keys_name_the_closest_known_one() -> None:
    faults = faults_of({**SMALLEST, "serch": {}, "trials": 3, "qqq": 1, "target": {"chanel_multiple": 8}})
    assert faults["serch"].endswith("must be a known key, but got an unknown one. Did you mean search?")
    assert faults["trials"].endswith("Did you mean budget.trials?")
    assert faults["target.chanel_multiple"].endswith("Did you mean target.channel_multiple?")
    assert "must be one of name, data, task" in faults["qqq"]


def test_all_faults_are_named_at_once_with_file_key_expected_and_got() -> None:
    faults = faults_of(
        {
            "name": "a/b",
            "data": {"source": "mnist", "validation": 1.5},
            "space": {"widths": [16, True]},
            "training": {"epochs": 2.5, "dropout": [0.1, 1.5], "learning_rate": {"low": 1, "hihg": 2}},
            "objectives": ["accuracy", "accuracy"],
            "limits": {"latency_ms": math.nan},
            "budget": {"trials": 0},
            "search": {"workers": 0},
        }
    )
    assert set(faults) == {
        "name", "data.source", "data.validation", "space.widths.1", "training.epochs", "training.dropout",
        "training.learning_rate.high", "training.learning_rate.hihg", "objectives", "limits.latency_ms",
        "budget.trials", "search.workers",
    }  # fmt: skip
    assert faults["budget.trials"] == "a.yaml: budget.trials must be at least 1, but got 0"


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("budget", {}, "budget must be given at least one of trials, trained and seconds"),
        ("budget", 5, "budget must be a mapping of keys, but got 5"),
        ("data", {"source": "npz", "validation": 0.6, "test": 0.5}, "validation [+] test are below 1"),
        ("data", {"source": "npz", "resize": 32}, "without resize where source is not folder"),
        ("data", {}, "data.source must be given, but got nothing"),
        ("teacher", {"source": "none"}, r"teacher must be there .* unless distillation.alphas is \[1.0\]"),
        ("training", {"learning_rate": {"low": 2, "high": 1}}, "learning_rate must be a range with low below high"),
        ("training", {"learning_rate": {"low": 0, "high": 1, "log": True}}, "low above 0 where log is true"),
        ("training", {"learning_rate": 0}, "learning_rate must be above 0, but got 0"),
        ("training", {"batch_size": {"low": 1.5, "high": 4}}, "batch_size must be a whole number of at least 1"),
        ("training", {"batch_size": []}, "batch_size must be a list of at least one value"),
        ("training", {"optimizer": "lion"}, "optimizer must be 'adamw' or 'sgd', but got 'lion'"),
        ("search", {"method": "grid"}, "search.method must be 'nsga2', 'tpe', 'random', .* but got 'grid'"),
        ("objectives", ["speed"], "objectives must be different ones of accuracy, .* but got .'speed'."),
        ("space", {"cells": [1]}, "space.cells.0 must be at least 2, but got 1"),
        ("data", None, "data must be a mapping of keys, but got null"),
    ],
)
def test_parse_study_spec_refuses(part: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_study_spec({**SMALLEST, part: value}, "a.yaml")


def test_study_without_a_teacher_needs_no_distillation() -> None:
    document = {**SMALLEST, "teacher": {"source": "none"}, "distillation": {"alphas": [1]}}
    assert parse_study_spec(document, "a.yaml").teacher.source == "none"


def test_load_study_spec_refuses_a_missing_file_and_names_the_shipped_ones() -> None:
    with pytest.raises(
        InputError, match=r"absent.yaml must be a study file, or one of .*: banking77, .*digits, fashion_mnist"
    ):
        load_study_spec("absent.yaml", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "must be YAML, but got .*line 1"),
        ("- 1\n- 2", "must be a mapping of keys such as name, data and budget"),
        ("", "must be a mapping of keys .* but got null"),
        ("budget: {trials: 1}\nbudget: {trials: 2}", "budget must be given once, but got it again in line 2"),
        ("search: {seed: 1, seed: 2}", "search.seed must be given once"),
    ],
)
def test_load_study_spec_refuses_what_is_no_study(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study_spec(written(tmp_path, text), {})


def test_load_study_spec_refuses_a_folder_and_bytes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a readable text file"):
        load_study_spec(str(tmp_path), {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a readable text file"):
        load_study_spec(str(tmp_path / "binary.yaml"), {})


def test_overrides_are_laid_over_the_file() -> None:
    overrides = {"budget.trials": 7, "budget.seconds": None, "search.method": "random", "limits.latency_ms": 1.5}
    spec = load_study_spec("digits", overrides)
    assert (spec.budget.trials, spec.budget.seconds, spec.search.method) == (7, None, "random")
    assert spec.limits.bounds()["latency_ms"] == 1.5
    assert spec.limits.size_bytes == load_study_spec("digits", {}).limits.size_bytes


def test_overrides_are_checked_like_the_file() -> None:
    with pytest.raises(InputError, match=r"budget.trails must be a known key.*\n?.*Did you mean budget.trials"):
        load_study_spec("digits", {"budget.trails": 7})


def test_paths_are_meant_from_the_file_or_for_overrides_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "name: a\ndata: {source: npz, path: b.npz}\nbudget: {trials: 1}\nteacher: {source: ../t}\n"
    (tmp_path / "here").mkdir()
    path = written(tmp_path, text)
    monkeypatch.chdir(tmp_path / "here")
    assert load_study_spec(path, {}).data.path == tmp_path / "b.npz"
    assert load_study_spec(path, {}).teacher.source == str(tmp_path.parent / "t")
    assert load_study_spec(path, {"data.path": "b.npz"}).data.path == tmp_path / "here" / "b.npz"
    recorded = load_study_spec(path, {"target.name": "recorded:t.json"})
    assert recorded.target.name == f"recorded:{tmp_path / 'here' / 't.json'}"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("budget.trials=20", ("budget.trials", 20)),
        ("space.widths=[16, 32]", ("space.widths", [16, 32])),
        ("budget.seconds=null", ("budget.seconds", None)),
        ("name=a=b", ("name", "a=b")),
    ],
)
def test_parse_override_reads_a_key_and_a_yaml_value(text: str, parsed: tuple[str, object]) -> None:
    assert parse_override(text) == parsed


@pytest.mark.parametrize("text", ["budget.trials", "=3", "a=[1"])
def test_parse_override_refuses(text: str) -> None:
    with pytest.raises(InputError, match=r"KEY=VALUE|a YAML value"):
        parse_override(text)


@pytest.mark.parametrize(
    "overrides",
    [{"budget.trials": 99}, {"search.workers": 3}, {"search.executor": "inline"}, {"storage": "sqlite:///a.db"}],
)
def test_digest_ignores_what_may_change_when_a_study_goes_on(overrides: dict[str, Any]) -> None:
    assert load_study_spec("digits", overrides).digest() == load_study_spec("digits", {}).digest()


@pytest.mark.parametrize(
    "overrides",
    [{"search.seed": 1}, {"space.widths": [16]}, {"training.epochs": 9}, {"data.seed": 1}, {"limits.latency_ms": 9}],
)
def test_digest_sees_what_decides_results(overrides: dict[str, Any]) -> None:
    assert load_study_spec("digits", overrides).digest() != load_study_spec("digits", {}).digest()


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers())))
def test_parse_study_spec_raises_nothing_but_input_errors(document: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        parse_study_spec(document, "a.yaml")


def test_dataset_of_a_study_follows_its_seed(tmp_path: Path) -> None:
    path = write_npz(tmp_path, arrays())
    document = {**SMALLEST, "data": {"source": "npz", "path": str(path), "seed": 5}}
    one = open_dataset(parse_study_spec(document, "a.yaml").data)
    other = open_dataset(parse_study_spec({**document, "data": {"source": "npz", "path": str(path)}}, "a").data)
    assert one.split_digest != other.split_digest


@pytest.mark.parametrize("name", MODELS)
def test_shipped_study_of_a_model_parses_by_name(name: str) -> None:
    spec = load_study_spec(name, {})
    assert spec.name == name
    assert spec.model is not None
    assert is_factory(spec.model.source)


@pytest.mark.parametrize("name", SHIPPED)
def test_digest_leaves_out_what_older_studies_do_not_know(name: str) -> None:
    spec = load_study_spec(name, {})
    assert set(spec.decisive()) & {"model", "pruning", "quantization"} == set()
    changed = load_study_spec(name, {"pruning.criteria": ["l2"]})
    assert changed.decisive()["pruning"]["criteria"] == ["l2"]
    assert changed.digest() != spec.digest()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pruning.ratios", [1.0], "pruning.ratios"),
        ("pruning.criteria", ["fisher"], "pruning.criteria"),
        ("quantization.weights", [], "at least one choice"),
        ("distillation.methods", ["response", "response"], "each once"),
        ("pruning.ranks", [0.0], "pruning.ranks"),
    ],
)
def test_spec_refuses_what_no_method_can_be(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study_spec("digits", {key: value})


def test_spec_refuses_size_methods_where_size_is_no_objective() -> None:
    with pytest.raises(InputError, match="change the size only"):
        load_study_spec("digits", {"pruning.sparsities": [0.0, 0.5], "objectives": ["accuracy", "latency_ms"]})


@pytest.mark.parametrize("address", ["auto", "10.0.0.5:6379", "head.cluster-a.example:6379", "[fd00::5]:6379"])
def test_ray_address_is_auto_or_a_host_and_a_port(address: str) -> None:
    assert load_study_spec("digits", {"search.ray.address": address}).search.ray.address == address


@pytest.mark.parametrize(
    "address", ["", "head", "head:", ":6379", "head:0", "head:65536", "head:port", "ray://head:10001", "a b:1", "-a:1"]
)
def test_ray_address_refuses_anything_else(address: str) -> None:
    message = "search.ray.address must be auto, or HOST:PORT such as 10.0.0.5:6379, the port from 1 to 65535, but got"
    with pytest.raises(InputError, match=message):
        load_study_spec("digits", {"search.ray.address": address})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"search.executor": "inline", "search.ray.address": "auto"},
            "search must be without ray.address where executor",
        ),
        ({"search.ray.lane": "board"}, "search.ray must be with an address where it has a lane"),
        ({"search.ray.gpus": 1.5}, "search.ray.gpus must be a share of one GPU, or whole GPUs"),
        ({"search.ray.cpus": 0}, "search.ray.cpus must be greater than 0"),
        ({"search.executor": "dask"}, "search.executor must be 'ray', 'inline' or 'tune', but got 'dask'"),
    ],
)
def test_search_refuses_what_cannot_run(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study_spec("digits", overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"search.executor": "inline", "search.stopping.method": "halving"},
        {"search.executor": "tune", "search.ray.address": "auto", "search.ray.lane": "board"},
        {"search.ray.gpus": 0.25, "target.name": "cpu"},
        {"search.ray.gpus": 2},
    ],
)
def test_search_accepts_what_can_run(overrides: dict[str, Any]) -> None:
    assert load_study_spec("digits", overrides).name == "digits"


def test_override_to_run_inline_leaves_the_cluster_of_the_file(tmp_path: Path) -> None:
    text = (
        "name: a\ndata: {source: digits}\nbudget: {trials: 1}\nsearch: {ray: {address: auto, lane: board, cpus: 2}}\n"
    )
    ray = load_study_spec(written(tmp_path, text), {"search.executor": "inline"}).search.ray
    assert (ray.address, ray.lane, ray.cpus) == (None, None, 2.0)


DIGESTS = {  # a recorded study goes on under its digest only: none of these may change
    "banking77": "32fa35342447ffa4",
    "cifar10_distil": "dcc57a662c3e1f51",
    "digits": "63ac2c1e4f2c9852",
    "fashion_mnist": "eed005fc7278ebbb",
    "folder": "3ba64ba92c87a230",
    "mobilenet_v2": "bd606dfd21e35c3f",
    "resnet18": "00f860b243122885",
    "resnet50": "757da5f65ba4d44b",
}


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_digest_of_a_shipped_study_stays_what_it_was(name: str) -> None:
    assert load_study_spec(name, {}).digest() == DIGESTS[name]


def test_space_may_be_named_alone() -> None:
    spec = parse_study_spec({**SMALLEST, "space": "my_package.spaces:SPACE"}, "a.yaml")
    assert spec.space.name == "my_package.spaces:SPACE"
    assert spec.foreign_parts() == (("automl.spaces", "my_package.spaces:SPACE"),)
    assert parse_study_spec(spec.to_json(), "record") == spec
