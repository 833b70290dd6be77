"""An ablation sets one group back to plain and leaves the others."""

from __future__ import annotations

from dataclasses import replace

from automl.candidate import (
    Candidate,
    DistillationPlan,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
    UserModel,
)
from automl.search.ablation import GROUPS, variants
from search_spaces.genotypes import KNOWN


def genotype(name: str) -> Genotype:
    return Genotype(*KNOWN[name], 4, 16)


def chosen() -> Candidate:
    return Candidate(
        genotype("darts_v2"),
        PruningPlan((16, 16, 32), criterion="taylor"),
        QuantizationPlan((8, 8, 8), (8, 8, 8), calibration="mse"),
        DistillationPlan(0.7, 4.0),
        TrainingPlan("adamw", 2e-3, 5e-4, 64, 10, 0.0, 0.0, 5.0),
        runtime="openvino",
    ).canonical()


def test_variants_set_back_one_group_each() -> None:
    candidate = chosen()
    cells, unpruned, floating, untaught = (
        one.candidate for one in variants(candidate, genotype("residual"), "openvino")
    )
    assert cells == replace(candidate, genotype=genotype("residual")).canonical()
    assert unpruned is not None
    assert unpruned == replace(candidate, pruning=PruningPlan((16, 32, 64)))
    assert floating == replace(candidate, quantization=QuantizationPlan((32,) * 3, (32,) * 3))
    assert untaught == replace(candidate, distillation=DistillationPlan(1.0, 1.0))


def test_variants_serve_floating_point_in_its_fastest_runtime() -> None:
    floating = variants(chosen(), None, "onnxruntime")[2].candidate
    assert floating is not None
    assert floating.runtime == "onnxruntime"


def test_variants_say_why_there_is_nothing_to_set_back() -> None:
    plain = replace(chosen().twin(), distillation=DistillationPlan(1.0, 1.0)).canonical()
    found = variants(plain, genotype("darts_v2"), "onnxruntime")
    assert [one.group for one in found] == list(GROUPS)
    assert [one.reason for one in found] == [
        "it has the reference cells already", "it is not pruned", "it is not quantized", "it has no teacher",
    ]  # fmt: skip
    assert {one.candidate for one in found} == {None}


def test_variants_of_a_users_model_keep_its_architecture() -> None:
    model = UserModel("mine", "0" * 16, ("conv1",), (64,), (0,), 1)
    plan = QuantizationPlan((8,), (8,))
    candidate = replace(chosen(), genotype=model, pruning=PruningPlan((32,)), quantization=plan)
    found = variants(candidate.canonical(), None, "onnxruntime")
    assert found[0].reason == "the architecture is the user's own model"
    assert [one.candidate is not None for one in found] == [False, True, True, True]
