from __future__ import annotations

import pickle

import pytest

from automl.combinations import TargetFacts
from automl.errors import InputError
from search_spaces.compression import SETTINGS, compression_settings
from search_spaces.genotypes import enqueue_point
from search_spaces.joint import space_from_spec
from tests.search_spaces.joint_spaces import FORMATS, plain_spec

FACTS = TargetFacts(
    frozenset((runtime, *pair) for runtime in ("onnxruntime", "openvino") for pair in (*FORMATS, (8, 32)))
)
MENU = {
    "pruning": {
        "criteria": ["l1", "taylor"], "schedules": ["one_shot", "gradual"], "sparsities": [0.5, 0.0],
        "drop": ["", "normal.0_0"], "patterns": ["unstructured"], "ranks": [1.0, 0.5],
        "separable": [False, True],
    },
    "quantization": {
        "weights": ["uniform", "codebook"], "scales": ["channel", "tensor"], "calibrations": ["min_max", "mse"],
        "training": ["none", "qat", "lsq"],
    },
    "distillation": {"methods": ["response", "relation"]},
    "target": {"runtimes": ["onnxruntime", "openvino"]},
}  # fmt: skip


def space_with(menu, **more):
    spec = plain_spec()
    for section, values in menu.items():
        spec[section] = {**spec.get(section, {}), **values}
    return space_from_spec({**spec, **more}, FORMATS, FACTS)


def decoded(**said):
    space = space_with(MENU)
    return space.decode(enqueue_point(space, {"genotype": "darts_v2", "prune_*": 0.5, "bits_*": "w8a8", **said}))


def test_settings_with_more_than_one_choice_are_dimensions():
    names = set(space_with(MENU).names())
    assert {name for name in SETTINGS if name in names} == set(SETTINGS) - {"pattern", "activations", "block"}
    assert not set(SETTINGS) & set(space_with({}).names())


@pytest.mark.parametrize(
    ("said", "part", "name", "value"),
    [
        ({"criterion": "taylor"}, "pruning", "criterion", "taylor"),
        ({"schedule": "gradual"}, "pruning", "schedule", "gradual"),
        ({"sparsity": 0.5}, "pruning", "sparsity", 0.5),
        ({"drop": "normal.0_0"}, "pruning", "dropped", ("normal.0_0",)),
        ({"rank": 0.5}, "pruning", "rank", 0.5),
        ({"separable": 1}, "pruning", "separable", True),
        ({"bits_*": "w4a32", "weights": "codebook"}, "quantization", "weights", "codebook"),
        ({"scales": "tensor"}, "quantization", "scales", "tensor"),
        ({"calibration": "mse"}, "quantization", "calibration", "mse"),
        ({"quantization_training": "lsq"}, "quantization", "training", "lsq"),
        ({"alpha": 0.4, "distillation_method": "relation"}, "distillation", "method", "relation"),
    ],
)
def test_decoded_candidate_has_the_chosen_setting(said, part, name, value):
    assert getattr(getattr(decoded(**said), part), name) == value
    assert getattr(getattr(decoded(), part), name) != value


def test_decoded_candidate_has_the_chosen_runtime():
    assert (decoded().runtime, decoded(runtime="openvino").runtime) == ("onnxruntime", "openvino")


def test_illegal_combination_decodes_to_a_legal_one():
    plan = decoded(weights="codebook").quantization
    assert (plan.weights, set(plan.activation_bits)) == ("codebook", {32})


def test_enqueue_refuses_an_illegal_combination_and_says_why():
    entry = {"genotype": "darts_v2", "bits_*": "w8a8", "weights": "codebook"}
    with pytest.raises(InputError, match="Integer kernels multiply evenly spaced codes"):
        space_with(MENU, search={"enqueue": [entry]})


@pytest.mark.parametrize(
    ("menu", "why"),
    [
        ({"quantization": {"activations": ["dynamic"]}}, "dynamic kernels for linear and recurrent layers only"),
        ({"pruning": {"sparsities": [0.5], "patterns": ["2:4"]}}, "no kernel for it"),
        ({"quantization": {"blocks": [32]}}, "for linear layers only"),
    ],
)
def test_space_refuses_a_method_that_no_candidate_can_use(menu, why):
    with pytest.raises(InputError, match=why):
        space_with(menu)


def test_compression_settings_of_an_older_study_are_none():
    assert compression_settings({"target": {"name": "cpu"}, "distillation": {"alphas": [1.0]}}) == {}


def test_space_with_settings_can_be_sent_to_another_process():
    space = space_with(MENU)
    point = enqueue_point(space, "darts_v2")
    assert pickle.loads(pickle.dumps(space)).decode(point) == space.decode(point)
