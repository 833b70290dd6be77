from __future__ import annotations

from dataclasses import replace

import pytest

from automl.candidate import UserModel
from automl.combinations import RULES, TargetFacts, combination_rows, legal, objections
from tests.models.architectures import candidate

PAIRS = [(32, 32), (16, 16), (8, 8), (8, 32), (4, 32)]
CPU = TargetFacts(frozenset((runtime, *pair) for runtime in ("onnxruntime", "openvino") for pair in PAIRS))
INTEGER = candidate(bits=(8, 8))
STORED = candidate(bits=(4, 32))
OPAQUE = replace(candidate(bits=(8, 8)), genotype=UserModel("net", "0" * 16, (), (8, 16, 32), (0, 1, 2), 3, "opaque"))
FILE = replace(OPAQUE, genotype=replace(OPAQUE.genotype, kind="onnx"))


def with_quantization(subject, **values):
    return replace(subject, quantization=replace(subject.quantization, **values))


def with_pruning(subject, **values):
    return replace(subject, pruning=replace(subject.pruning, **values))


BROKEN = {
    "the runtime and the bits": candidate(bits=(16, 8)),
    "coded weights (codebook": with_quantization(INTEGER, weights="codebook"),
    "2:4 sparsity": with_pruning(candidate(), sparsity=0.5, pattern="2:4"),
    "sixteen-bit activations in some": replace(
        candidate(),
        quantization=replace(candidate().quantization, weight_bits=(16, 32, 32), activation_bits=(16, 32, 32)),
    ),
    "ranges in OpenVINO": replace(with_quantization(OPAQUE, activations="dynamic"), runtime="openvino"),
    "dynamic activation ranges in a network": with_quantization(INTEGER, activations="dynamic"),
    "training of a model whose graph": with_quantization(OPAQUE, training="qat"),
    "training without integer": with_quantization(STORED, training="lsq"),
    "coded weights in a model whose": with_quantization(replace(STORED, genotype=OPAQUE.genotype), weights="codebook"),
    "scales for blocks of weights in": with_quantization(STORED, block=32),
    "scales for blocks of weights with static": with_quantization(OPAQUE, block=32),
    "2:4 sparsity of another": with_pruning(candidate(), sparsity=0.8, pattern="2:4"),
    "channel statistics": with_pruning(OPAQUE, criterion="bn_scale"),
    "pruning or distilling a file": with_pruning(FILE, kept_widths=(8, 8, 8)),
}


SPARSE = replace(CPU, has_sparse_kernel=True)


@pytest.mark.parametrize("what", BROKEN)
def test_objections_say_which_rule_and_why(what):
    (fault,) = objections(BROKEN[what], SPARSE if what.startswith("2:4 sparsity of") else CPU, "asked")
    assert what in fault.expected
    assert fault.remedy.endswith(".")


@pytest.mark.parametrize("what", BROKEN)
def test_legal_takes_a_broken_candidate_to_one_without_objections(what):
    mended = legal(BROKEN[what], CPU)
    assert mended != BROKEN[what]
    assert objections(mended, CPU, "asked") == []


def test_every_rule_has_a_broken_example():
    assert all(any(rule.is_broken(subject, CPU) for subject in BROKEN.values()) for rule in RULES)
    assert len(combination_rows()) == len(RULES)


@pytest.mark.parametrize("subject", [INTEGER, STORED, candidate(), with_quantization(INTEGER, training="lsq")])
def test_legal_leaves_what_combines_alone(subject):
    assert legal(subject, CPU) == subject


def test_legal_raises_bits_to_the_nearest_pair_of_the_runtime():
    assert legal(candidate(bits=(4, 8)), CPU).quantization.pairs() == ((8, 8),) * 3
