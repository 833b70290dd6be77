"""What is said of a candidate's methods: nothing where they are plain, and what changes the size only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from automl.candidate import Candidate, DistillationPlan, PruningPlan, QuantizationPlan, UserModel
from automl.export.card import _size_only
from automl.export.drawing import describe_stages, draw_cells
from automl.export.methods import SIZE_ONLY, architecture_words, distillation_words, method_words, stage_summaries
from tests.export.conftest import fake_candidate

MODEL = UserModel("mine", "0" * 16, ("conv1", "layer1.conv", "layer1.other"), (64, 64, 128), (0, 1, 1), 3)


def candidate_with(**changes: Any) -> Candidate:
    plain = fake_candidate()
    pruning = {key: changes.pop(key) for key in list(changes) if key in PruningPlan.__dataclass_fields__}
    runtime = changes.pop("runtime", "onnxruntime")
    return replace(
        plain,
        pruning=replace(plain.pruning, **pruning),
        quantization=replace(plain.quantization, **changes),
        runtime=runtime,
    )


def users_candidate() -> Candidate:
    plan = QuantizationPlan((32, 8, 8), (32, 8, 8))
    return replace(fake_candidate(), genotype=MODEL, pruning=PruningPlan((64, 32, 96)), quantization=plan)


def test_method_words_say_nothing_of_what_is_plain() -> None:
    assert method_words(fake_candidate()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"criterion": "taylor"}, "channels by first-order Taylor"),
        ({"schedule": "gradual"}, "gradually while training (cubic)"),
        ({"dropped": ("normal.2_1",)}, "without normal.2_1"),
        ({"rank": 0.5}, "factorised to 50% of the rank"),
        ({"separable": True}, "depthwise separable in place of dense"),
        ({"scales": "tensor"}, "one scale a tensor"),
        ({"block": 32}, "a scale for each 32 weights"),
        ({"activations": "dynamic"}, "dynamic ranges"),
        ({"calibration": "mse"}, "calibrated by mean squared error"),
        ({"training": "lsq"}, "quantization-aware training, learned step sizes"),
        ({"runtime": "openvino"}, "served by OpenVINO"),
        ({"sparsity": 0.5, "pattern": "2:4"}, "50% of the weights zero, 2:4"),
        ({"sparsity": 0.8}, f"80% of the weights zero, unstructured ({SIZE_ONLY})"),
        ({"weights": "codebook"}, f"k-means codebook weights ({SIZE_ONLY})"),
        ({"weights": "power_of_two"}, f"power-of-two weights ({SIZE_ONLY})"),
    ],
)
def test_method_words_name_each_method(changes: dict[str, Any], words: str) -> None:
    assert method_words(candidate_with(**changes)) == [words]


def test_distillation_words_name_the_method() -> None:
    taught = replace(fake_candidate(), distillation=DistillationPlan(0.5, 2.0, "feature"))
    assert distillation_words(taught) == "distilled, alpha 0.5, temperature 2, features of the stages"


def test_stage_summaries_of_a_users_model_add_up_its_groups() -> None:
    stages = [(stage.full, stage.kept, stage.groups) for stage in stage_summaries(users_candidate())]
    assert stages == [(64, 64, 1), (192, 128, 2), (0, 0, 0)]


def test_users_model_is_described_and_drawn_by_its_groups() -> None:
    candidate = users_candidate()
    assert architecture_words(candidate) == "mine, 3 groups of channels"
    assert describe_stages(candidate).startswith("mine; stages: 64 channels w32a32, 128 of 192 channels w8a8")
    drawing = draw_cells(candidate)
    assert "layer1.other" in drawing
    assert "96 of 128" in drawing


def test_card_says_that_a_coded_file_is_not_faster() -> None:
    assert _size_only(fake_candidate()) == []
    assert "not faster" in _size_only(candidate_with(sparsity=0.8))[0]
