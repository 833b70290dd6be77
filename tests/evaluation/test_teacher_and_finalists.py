from dataclasses import replace

import numpy as np
import pytest

from automl.candidate import DistillationPlan
from automl.errors import InputError
from automl.evaluation import finish, named_teacher, prepare_controls, train_teacher
from automl.evaluation.finalist import UNTAUGHT
from automl.evaluation.lessons import soft_targets_of
from automl.evaluation.scoring import wilson_interval
from automl.training.views import augmented_views
from tests.models.architectures import candidate

LARGE = candidate(epochs=1)


def test_train_teacher_is_trained_once_and_then_read(context, monkeypatch):
    first = train_teacher(LARGE, context, None, 1)
    monkeypatch.setattr("automl.evaluation.teacher.train_candidate", None)  # would fail if called
    second = train_teacher(LARGE, context, None, 1)
    assert first.sha256 == second.sha256
    assert np.array_equal(first.logits, second.logits)
    assert first.measurements == second.measurements


def test_every_figure_of_the_teacher_is_that_of_its_file(context):
    teacher = train_teacher(LARGE, context, None, 1)
    assert {"accuracy", "latency_ms", "size_bytes"} <= {measurement.name for measurement in teacher.measurements}
    assert {measurement.artefact for measurement in teacher.measurements} == {teacher.sha256}


def test_soft_targets_of_the_search_images_are_the_stored_logits(context, digits):
    teacher = train_teacher(LARGE, context, None, 1)
    views = augmented_views(digits.train.pixels, digits.augmentation, context.seed)
    ask = soft_targets_of(teacher, views, context)
    indices = np.array([3, 1, 2])
    np.testing.assert_allclose(ask(1, indices), teacher.logits[1][indices], atol=1e-4)


def test_named_teacher_speaks_through_its_file(context):
    trained = train_teacher(LARGE, context, None, 1)
    named = named_teacher(context.runs / trained.path, context)
    np.testing.assert_allclose(named.logits, trained.logits, atol=1e-3)
    assert {m.name for m in named.measurements} == {"accuracy", "balanced_accuracy"}


def test_named_teacher_that_is_missing_is_refused(context, tmp_path):
    with pytest.raises(InputError, match=r"teacher.source must be an ONNX file or the folder of a bundle"):
        named_teacher(tmp_path / "nothing.onnx", context)


def test_finish_trains_on_everything_and_scores_on_test(context, digits):
    outcome = finish(candidate(kept=(4, 8, 16)), context, "finalist")
    answers = context.target.load(context.runs / outcome.artefact.path)(digits.test.pixels).argmax(axis=1)
    assert outcome.value("test_accuracy") == (answers == digits.test.labels).mean()
    assert outcome.timings[-1].moment == "finalist"
    assert len(digits.full_train.labels) > len(digits.train.labels)


@pytest.mark.parametrize(("seen", "taught"), [(320, False), (1000, True)])
def test_finish_is_taught_only_by_a_teacher_that_saw_most_images(context, digits, seen, taught):
    full = digits.full_train
    known = replace(context, dataset=replace(digits, train=full.take(np.arange(seen))), finalist_epochs=1)
    student = candidate(kept=(4, 8, 16), alpha=0.5, temperature=2.0, epochs=1)
    teacher = train_teacher(LARGE, known, None, 1)
    outcome = finish(student, replace(known, teacher=teacher), "finalist")
    alone = finish(replace(student, distillation=DistillationPlan(1.0, 1.0)), known, "finalist")
    assert (UNTAUGHT in outcome.notes) is not taught
    assert (outcome.artefact != alone.artefact) is taught


def test_finish_of_a_twin_is_uncompressed(context):
    outcome = finish(candidate(kept=(4, 8, 16), bits=(8, 8)), context, "twin")
    assert outcome.gain.verdict == "uncompressed"


def test_prepare_controls_keeps_the_references_of_the_record(context, target, digits):
    controls = prepare_controls(target, digits, context.runs, 1, {"fp32": 9.0})
    assert controls["fp32"].reference_ms == 9.0
    assert controls["int8"].reference_ms == 1.0
    assert controls["fp32"].sha256 == context.controls["fp32"].sha256


def test_wilson_interval_is_that_of_a_textbook():
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
