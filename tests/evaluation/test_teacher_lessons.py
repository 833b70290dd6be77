"""Teachers without a training: what they say is computed once, together, by an assistant, or refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from automl.errors import InputError
from automl.evaluation import named_teacher
from automl.evaluation.context import EvaluationContext, Teacher, task_of
from automl.evaluation.files import keep_file
from automl.evaluation.lessons import (
    FOLDER,
    combine_logits,
    soft_targets_of,
    soft_targets_on_demand,
    stage_features_of,
)
from automl.evaluation.teacher import GAP, assistant_candidate, join_teachers, train_assistant, who_teaches
from automl.models.network import Network, build_network
from automl.outcome import Measurement
from automl.training.loop import predict_logits
from automl.training.stages import stage_features
from automl.training.views import augmented_views
from tests.models.architectures import candidate

OPERATIONS = ("conv_3x3", "skip_connect", "max_pool_3x3", "skip_connect") * 2
ROWS = np.array([3, 1, 2])
SMALL = candidate(width=4, kept=(4, 8, 16), cells=2, operations=OPERATIONS)


def untrained(context: EvaluationContext, classes: int = 10, seed: int = 0) -> tuple[Network, bytes]:
    torch.manual_seed(seed)
    network = build_network(SMALL, replace(task_of(context.dataset), classes=classes), pruned=True).eval()
    return network, network.write(SMALL.quantization, codes=None, largest_code=64, batch=1)


@pytest.fixture
def views(context) -> np.ndarray:
    return augmented_views(context.dataset.train.pixels[:40], "shift", 0)


@pytest.fixture
def teacher(context, views) -> Teacher:
    """A network of the space as the study keeps it."""
    network, content = untrained(context)
    artefact = keep_file(content, context.runs)
    np.savez(context.runs / "weights.npz", **{name: value.numpy() for name, value in network.state_dict().items()})
    logits = np.stack([predict_logits(network, view) for view in views])
    macs = Measurement("macs", 8000.0, "measured", "counted", 8000.0, 8000.0, 1, "table", artefact.sha256)
    return Teacher(artefact.sha256, artefact.path, "weights.npz", SMALL, logits, (macs,), 0.0)


@pytest.fixture
def other(context, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(untrained(context, seed=1)[1])
    return path


def test_soft_targets_are_computed_once_and_then_read(teacher, views, context, monkeypatch):
    first = soft_targets_of(teacher, views, context)(1, ROWS)
    np.testing.assert_allclose(first, teacher.logits[1][ROWS], atol=1e-5)
    monkeypatch.setattr("automl.evaluation.lessons.kept_network", None)  # would fail if called
    assert np.array_equal(soft_targets_of(teacher, views.copy(), context)(1, ROWS), first)


def test_soft_targets_of_other_views_are_computed_anew(teacher, views, context):
    first = soft_targets_of(teacher, views, context)(0, ROWS)
    second = soft_targets_of(teacher, augmented_views(views[1], "shift", 1), context)(0, ROWS)
    assert not np.array_equal(first, second)
    assert len(list((context.runs / FOLDER).glob("*.logits.npy"))) == 2


def test_stage_features_are_computed_once_and_are_those_of_the_network(teacher, views, context, monkeypatch):
    first = stage_features_of(teacher, views, context)(2, ROWS)
    expected = stage_features(untrained(context)[0], views[2])
    assert all(np.allclose(got, stage[ROWS], atol=1e-2) for got, stage in zip(first, expected, strict=True))
    monkeypatch.setattr("automl.evaluation.lessons.kept_network", None)
    again = stage_features_of(teacher, views, context)(2, ROWS)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))


@pytest.mark.parametrize(("most", "side"), [(2**28, 4), (100_000, 2), (1, 1)])
def test_stage_features_keep_to_their_bytes(teacher, views, context, monkeypatch, most, side):
    monkeypatch.setattr("automl.evaluation.lessons.STAGE_BYTES", most)
    stages = stage_features_of(teacher, views, context)(0, ROWS)
    assert stages[0].shape[2:] == (side, side)
    files = list((context.runs / FOLDER).glob("*.stages.*.npy"))
    assert side == 1 or sum(np.load(file).nbytes for file in files) <= most


def test_stages_of_a_file_are_refused(other, views, context):
    with pytest.raises(InputError, match="a file that does not show its stages, but got a method that compares stages"):
        stage_features_of(named_teacher(other, context), views, context)


def test_named_teacher_is_asked_once(other, context, monkeypatch):
    first = named_teacher(other, context)
    monkeypatch.setattr("automl.evaluation.lessons._answers", None)
    assert np.array_equal(named_teacher(other, context).logits, first.logits)


def test_combine_logits_is_the_weighted_mean():
    parts = [np.array([[[1.0, 0.0]]], np.float32), np.array([[[0.0, 4.0]]], np.float32)]
    assert combine_logits(parts, [1.0, 3.0]).tolist() == [[[0.25, 3.0]]]


def test_join_teachers_speak_together_on_any_images(teacher, other, views, context):
    alone = named_teacher(other, context)
    joined = join_teachers(teacher, [(other, 3.0)], context)
    assert joined.logits.shape == alone.logits.shape
    expected = 0.25 * soft_targets_of(teacher, views, context)(1, ROWS)
    expected = expected + 0.75 * soft_targets_of(alone, views, context)(1, ROWS)
    np.testing.assert_allclose(soft_targets_of(joined, views, context)(1, ROWS), expected, atol=1e-4)


def test_join_teachers_refuses_every_fault_at_once(teacher, context, tmp_path):
    path = tmp_path / "seven.onnx"
    path.write_bytes(untrained(context, classes=7)[1])
    with pytest.raises(InputError) as caught:
        join_teachers(teacher, [(path, 1.0), (tmp_path / "nothing.onnx", -1.0)], context)
    assert [fault.where for fault in caught.value.faults] == [
        "teacher.others[0].source", "teacher.others[1].weight", "teacher.others[1].source",
    ]  # fmt: skip
    assert "a network of 10 classes, but got 7" in str(caught.value)


def test_named_teacher_of_other_classes_is_refused(context, tmp_path):
    path = tmp_path / "seven.onnx"
    path.write_bytes(untrained(context, classes=7)[1])
    with pytest.raises(InputError, match=r"teacher.source must be a network of 10 classes, but got 7 in"):
        named_teacher(path, context)


def test_assistant_candidate_lies_between_teacher_and_smallest():
    large = candidate(width=32, kept=(32, 64, 128), cells=5)
    middle = assistant_candidate(large, 8, 3, 4)
    assert (middle.genotype.width, middle.genotype.cells) == (16, 4)
    assert middle.pruning.kept_widths == (16, 32, 64)
    assert assistant_candidate(large, 32, 5, 4) is None


@pytest.mark.parametrize(("macs", "helped"), [(8000 / GAP - 1, True), (8000 / GAP, False), (9000, False)])
def test_who_teaches_is_the_assistant_where_the_gap_is_wide(teacher, macs, helped):
    assistant = replace(teacher, sha256="assistant")
    assert who_teaches(replace(teacher, assistant=assistant), macs).sha256 == (
        "assistant" if helped else teacher.sha256
    )
    assert who_teaches(teacher, macs) is teacher


def test_train_assistant_is_taught_by_the_teacher_and_kept(teacher, context, digits, monkeypatch):
    small = replace(context, dataset=replace(digits, train=digits.train.take(np.arange(40))))
    first = train_assistant(SMALL, teacher, small, None, 2).assistant
    other_words = replace(teacher, logits=-teacher.logits)
    assert train_assistant(SMALL, other_words, small, None, 2).assistant.sha256 != first.sha256
    monkeypatch.setattr("automl.evaluation.teacher.train_candidate", None)  # would fail if called
    again = train_assistant(SMALL, teacher, small, None, 2).assistant
    assert again.sha256 == first.sha256 == hashlib.sha256((context.runs / first.path).read_bytes()).hexdigest()


def test_soft_targets_on_demand_are_those_computed_at_once_and_asked_for_once(teacher, views, context, monkeypatch):
    wanted = soft_targets_of(teacher, views, replace(context, runs=context.runs))(1, ROWS)
    fresh = replace(teacher, sha256="0" * 64)  # nothing is kept under this name
    ask = soft_targets_on_demand(fresh, views, context)
    np.testing.assert_allclose(ask(1, ROWS), wanted, atol=1e-5)
    monkeypatch.setattr("automl.evaluation.lessons.predict_logits", None)  # would fail if called
    np.testing.assert_allclose(ask(1, ROWS[:3]), wanted[:3], atol=1e-5)
