"""Every method of the menu acts: the deployed file differs from the one without it."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from automl.evaluation import evaluate
from automl.evaluation.files import XZ, nominal_file
from automl.models.packing import read_model, unpack
from automl.outcome import Infeasible, Measured
from tests.models.architectures import candidate

DENSE = ("conv_3x3", "skip_connect") * 4
PLAIN = candidate(epochs=1, cells=3, operations=DENSE)
PRUNED = candidate(kept=(4, 8, 16), epochs=1, cells=3, operations=DENSE)
INTEGER = candidate(epochs=1, cells=3, operations=DENSE, bits=(8, 8))
STORED = candidate(epochs=1, cells=3, operations=DENSE, bits=(4, 32))


def with_pruning(subject, **values):
    return replace(subject, pruning=replace(subject.pruning, **values)).canonical()


def with_quantization(subject, **values):
    return replace(subject, quantization=replace(subject.quantization, **values)).canonical()


METHODS = {
    **{
        criterion: (PRUNED, with_pruning(PRUNED, criterion=criterion))
        for criterion in ("taylor", "sensitivity", "bn_scale", "geometric_median", "learned", "random")
    },
    **{
        schedule: (PRUNED, with_pruning(PRUNED, schedule=schedule))
        for schedule in ("at_start", "iterative", "gradual", "adaptive")
    },
    "drop": (PLAIN, with_pruning(PLAIN, dropped=("normal.1_1", "reduction.1_1"))),
    "sparsity": (PLAIN, with_pruning(PLAIN, sparsity=0.8)),
    "rank": (candidate(epochs=1, cells=3, width=16, kept=(16, 32, 64)), None),
    "separable": (PLAIN, with_pruning(PLAIN, separable=True)),
    "codebook": (STORED, with_quantization(STORED, weights="codebook")),
    "power_of_two": (STORED, with_quantization(STORED, weights="power_of_two")),
    "tensor scales": (INTEGER, with_quantization(INTEGER, scales="tensor")),
    "percentile": (INTEGER, with_quantization(INTEGER, calibration="percentile")),
    "mse": (INTEGER, with_quantization(INTEGER, calibration="mse")),
    "qat": (INTEGER, with_quantization(INTEGER, training="qat")),
    "lsq": (INTEGER, with_quantization(INTEGER, training="lsq")),
}
METHODS["rank"] = (METHODS["rank"][0], with_pruning(METHODS["rank"][0], rank=0.25))


@pytest.fixture(scope="module")
def deployed(shared_context):
    """Return a function to the outcome of a candidate, evaluated once, and the model in its deployed file."""
    outcomes = {}

    def evaluated(subject):
        if subject not in outcomes:
            outcomes[subject] = evaluate(subject, shared_context)
        outcome = outcomes[subject]
        assert isinstance(outcome, Measured), outcome
        return outcome, onnx.load_from_string(read_model(shared_context.runs / outcome.artefact.path))

    return evaluated


@pytest.mark.parametrize("name", METHODS)
def test_method_changes_the_deployed_file(deployed, name):
    without, with_it = METHODS[name]
    plain, _ = deployed(without)
    changed, _ = deployed(with_it)
    assert plain.artefact.sha256 != changed.artefact.sha256


@pytest.mark.parametrize("name", ["drop", "separable"])
def test_structural_methods_leave_fewer_multiply_adds(deployed, name):
    plain, _ = deployed(PLAIN)
    changed, _ = deployed(METHODS[name][1])
    assert changed.value("macs") < plain.value("macs") == changed.value("twin_macs")


@pytest.mark.parametrize("name", ["drop", "rank", "separable", "codebook", "lsq", "iterative", "sparsity"])
def test_untrained_file_has_the_graph_of_the_trained_one(deployed, shared_context, name):
    _, trained = deployed(METHODS[name][1])
    untrained = onnx.load_from_string(unpacked(nominal_file(METHODS[name][1], shared_context)))
    assert [node.op_type for node in untrained.graph.node] == [node.op_type for node in trained.graph.node]
    shapes = [[tuple(value.dims) for value in model.graph.initializer] for model in (untrained, trained)]
    assert shapes[0] == shapes[1]


def unpacked(content):
    return unpack(content) if content.startswith(XZ) else content


def test_packed_file_is_smaller_and_its_twin_is_packed_as_well(deployed):
    sparse, _ = deployed(METHODS["sparsity"][1])
    plain, _ = deployed(PLAIN)
    assert sparse.artefact.path.endswith(".onnx.xz")
    assert sparse.value("size_bytes") < sparse.value("twin_size_bytes") < plain.value("size_bytes")
    assert sparse.value("nonzero_parameters") < 0.3 * sparse.value("parameters")


def test_operation_that_cannot_be_spared_is_infeasible_before_training(shared_context):
    outcome = evaluate(with_pruning(PLAIN, dropped=("normal.1_0", "normal.1_1")), shared_context)
    assert isinstance(outcome, Infeasible)
    assert "pruning.drop" in outcome.reason
