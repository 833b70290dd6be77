import hashlib
from dataclasses import replace

import numpy as np
import pytest

from automl.evaluation import evaluate
from automl.outcome import Failed, Infeasible, Measured, Ratio
from tests.models.architectures import candidate

SMALL = candidate(kept=(4, 8, 16), epochs=2)


def file_of(outcome: Measured, context) -> bytes:
    return (context.runs / outcome.artefact.path).read_bytes()


def test_evaluate_scores_the_very_file_it_keeps(context, digits):
    outcome = evaluate(candidate(kept=(4, 8, 16), epochs=6), context)
    assert isinstance(outcome, Measured)
    content = file_of(outcome, context)
    assert hashlib.sha256(content).hexdigest() == outcome.artefact.sha256
    assert outcome.value("size_bytes") == len(content)
    answers = context.target.load(context.runs / outcome.artefact.path)(digits.validation.pixels).argmax(axis=1)
    assert outcome.value("accuracy") == (answers == digits.validation.labels).mean()
    assert outcome.value("accuracy") > 0.3  # ten classes, six epochs on 320 images
    own = {one.artefact for one in outcome.measurements if not one.name.startswith("twin_")}
    assert own == {outcome.artefact.sha256}
    twins = {one.artefact for one in outcome.measurements if one.name.startswith("twin_")}
    assert twins == {twin.sha256 for _, _, twin in context.target.asked if twin is not None}


def test_evaluate_times_the_untrained_file_then_the_trained_one(context, target):
    outcome = evaluate(SMALL, context)
    (first, untrained, twin), (second, trained, _) = target.asked
    assert (first, second) == ("untrained", "trained")
    assert trained.sha256 == outcome.artefact.sha256 != untrained.sha256
    assert twin.shape_key == SMALL.twin().canonical().shape_key((8, 8), 10)
    assert outcome.value("latency_ms") == outcome.timings[-1].latency_ms == 0.5 * 2.0


def test_evaluate_spends_no_training_on_what_is_too_slow(context, target):
    target.ratios["untrained"] = [1.5]
    outcome = evaluate(SMALL, replace(context, limits={"latency_ms": 2.0}))
    assert isinstance(outcome, Infeasible)
    assert outcome.violations == {"latency_ms": (3.0, 2.0)}
    assert "latency_ms 3 is over 2 (before training)" in outcome.reason
    assert "train" not in outcome.seconds
    assert [measurement.name for measurement in outcome.measurements] == ["latency_ms"]


def test_evaluate_spends_no_training_on_what_is_too_large(context):
    outcome = evaluate(SMALL, replace(context, limits={"size_bytes": 1000}))
    assert isinstance(outcome, Infeasible)
    assert list(outcome.violations) == ["size_bytes"]


def test_evaluate_holds_the_trained_file_to_the_limit_too(context, target):
    target.ratios.update({"untrained": [0.9], "trained": [1.02]})
    outcome = evaluate(SMALL, replace(context, limits={"latency_ms": 2.0}))
    assert isinstance(outcome, Infeasible)
    assert "when its trained file was timed" in outcome.reason


def test_evaluate_measures_again_where_the_interval_straddles_the_limit(context, target):
    target.ratios["untrained"] = [1.001, 1.001]
    evaluate(SMALL, replace(context, limits={"latency_ms": 2.0}))
    assert [moment for moment, _, _ in target.asked] == ["untrained", "untrained"]


def test_evaluate_uses_a_known_timing(context, target):
    known = evaluate(SMALL, context).timings[0]
    target.asked.clear()
    evaluate(SMALL, context, known)
    assert [moment for moment, _, _ in target.asked] == ["trained"]


@pytest.mark.parametrize(("head_to_head", "stable"), [(1.01, True), (1.2, False)])
def test_evaluate_compares_head_to_head_where_two_timings_disagree(context, target, head_to_head, stable):
    target.ratios.update({"untrained": [0.5], "trained": [0.6, 0.55]})
    target.ratios["head to head with the untrained file"] = [head_to_head]
    outcome = evaluate(SMALL, context)
    assert outcome.stable is stable
    assert outcome.value("latency_ms") == 0.55 * 2.0
    assert bool(outcome.notes) is not stable


@pytest.mark.parametrize(
    ("ratio", "verdict"), [((0.8, 0.7, 0.9), "faster"), ((1.0, 0.99, 1.01), "smaller"), ((1.3, 1.2, 1.4), "no gain")]
)
def test_evaluate_says_whether_compression_pays(context, target, ratio, verdict):
    target.twin_ratio = Ratio(*ratio)
    outcome = evaluate(SMALL, context)
    assert outcome.gain.verdict.startswith(verdict)
    assert outcome.gain.pays is (verdict != "no gain")
    assert outcome.gain.size_ratio < 1


def test_smaller_pays_only_where_size_is_an_objective(context, target):
    target.twin_ratio = Ratio(1.0, 0.99, 1.01)
    outcome = evaluate(SMALL, replace(context, objectives=("accuracy", "latency_ms")))
    assert not outcome.gain.pays


def test_uncompressed_candidates_have_no_twin(context, target):
    outcome = evaluate(candidate(epochs=1), context)
    assert outcome.gain.verdict == "uncompressed"
    assert [twin for _, _, twin in target.asked] == [None, None]


def test_diverging_training_is_a_failed_outcome_with_its_reason(context):
    outcome = evaluate(candidate(epochs=4, learning_rate=1e30), context)
    assert isinstance(outcome, Failed)
    assert "diverged" in outcome.reason


def test_integer_candidates_are_held_against_the_integer_control(context):
    assert evaluate(candidate(bits=(8, 8), epochs=1), context).timings[-1].control == "int8"
    assert evaluate(candidate(bits=(4, 32), epochs=1), context).timings[-1].control == "fp32"


def test_evaluate_twice_gives_the_same_file(context):
    first, second = (evaluate(SMALL, context) for _ in range(2))
    assert first.artefact == second.artefact


CHANGES = {
    "architecture": candidate(kept=(4, 8, 16), epochs=2, operations=("sep_conv_3x3",) * 8),
    "pruning": candidate(kept=(8, 16, 32), epochs=2),
    "quantization": candidate(kept=(4, 8, 16), epochs=2, bits=(8, 8)),
    "training": candidate(kept=(4, 8, 16), epochs=2, learning_rate=1e-3),
}


@pytest.mark.parametrize("group", CHANGES)
def test_every_group_changes_the_deployed_file(context, group):
    assert evaluate(CHANGES[group], context).artefact != evaluate(SMALL, context).artefact


def test_distillation_changes_the_deployed_file(context, digits):
    from automl.evaluation import train_teacher

    teacher = train_teacher(candidate(epochs=1), context, None, 1)
    taught = replace(context, teacher=teacher)
    files = {
        evaluate(candidate(kept=(4, 8, 16), alpha=alpha, temperature=temperature), taught).artefact.sha256
        for alpha, temperature in ((1.0, 1.0), (0.5, 1.0), (0.5, 4.0))
    }
    assert len(files) == 3
    assert teacher.logits.shape == (3, len(digits.train.labels), 10)
    assert np.isfinite(teacher.logits).all()
