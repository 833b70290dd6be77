"""A candidate goes from rung to rung: every number is that of a file, and nothing of its structure is lost between."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from automl.compression.masks import masks_of_zeros, sparsify
from automl.evaluation import EvaluateTask, EvaluationContext, evaluate, train_teacher
from automl.evaluation.checkpoints import FOLDER, LostCheckpointError, read_checkpoint
from automl.evaluation.networks import nominal_network
from automl.evaluation.recipes import search_recipe, smaller_recipe
from automl.evaluation.rungs import Rung, evaluate_rung
from automl.evaluation.weights import deployed_file
from automl.models.user.source import ModelSource
from automl.outcome import Failed, Infeasible, Measured, RungResult
from automl.training.views import augmented_views
from tests.models.architectures import candidate

RUNGS = (Rung(0, 1 / 4), Rung(1, 1 / 2), Rung(2, 1.0))
DENSE = ("conv_3x3", "skip_connect") * 4
PLAIN = candidate(epochs=4, cells=3, operations=DENSE)
PRUNED = candidate(kept=(4, 8, 16), epochs=4, cells=3, operations=DENSE).canonical()
NAMES = ("accuracy", "balanced_accuracy", "latency_ms", "size_bytes", "parameters", "macs")
RESIDUAL = "automl.models.zoo.resnet:residual_student"


def changed(subject, part, **values):
    return replace(subject, **{part: replace(getattr(subject, part), **values)}).canonical()


INTEGER = candidate(kept=(4, 8, 16), bits=(8, 8), epochs=4, cells=3, operations=DENSE)
STORED = candidate(bits=(4, 32), epochs=4, cells=3, operations=DENSE)
LEARNED = changed(changed(INTEGER, "quantization", training="lsq"), "pruning", schedule="adaptive")
PATTERN = changed(PRUNED, "pruning", sparsity=0.5, pattern="2:4")
METHODS = {
    "adaptive steps, learned codes": LEARNED,
    "sparse codebook": changed(changed(STORED, "quantization", weights="codebook"), "pruning", sparsity=0.75),
    "replaced and dropped": changed(PLAIN, "pruning", separable=True, dropped=("normal.1_1",)),
}


def climb(subject, context, rungs=RUNGS):
    """Return the results of all rungs, the outcome last."""
    results = [None]
    for rung in rungs:
        results.append(evaluate_rung(subject, context, None, rung, results[-1]))
    return results[1:]


def stripped(result: RungResult) -> RungResult:
    """Return what a lean record gives back."""
    return replace(result, curve=(), timings=tuple(replace(one, samples_ms={}) for one in result.timings))


def without_seconds(curve):
    return [replace(epoch, seconds=0.0) for epoch in curve]


def accuracy_of(outcome: Measured, context: EvaluationContext) -> float:
    split = context.dataset.validation
    answers = context.target.load(context.runs / outcome.artefact.path)(split.pixels).argmax(axis=1)
    return float((answers == split.labels).mean())


@pytest.fixture(scope="module")
def pruned(shared_context):
    return climb(PRUNED, shared_context)


@pytest.mark.parametrize("name", METHODS)
def test_methods_survive_the_rungs(shared_context, name):
    *partial, outcome = climb(METHODS[name], shared_context)
    assert [type(result) for result in partial] == [RungResult] * 2 and isinstance(outcome, Measured), outcome
    assert outcome.value("accuracy") == accuracy_of(outcome, shared_context)
    assert sorted({epoch.epoch for epoch in outcome.curve}) == [0, 1, 2, 3]
    for result in partial:
        assert result.value("parameters") == outcome.value("parameters")
        assert result.value("macs") == outcome.value("macs")


def test_evaluate_rung_ends_at_a_trained_network(shared_context):
    outcome = climb(candidate(kept=(4, 8, 16), epochs=8, cells=3, operations=DENSE).canonical(), shared_context)[-1]
    assert outcome.value("accuracy") > 0.3  # ten classes, eight epochs on 320 images


def test_evaluate_rung_scores_the_file_that_its_checkpoint_gives(shared_context, digits):
    subject = LEARNED
    result = evaluate_rung(subject, shared_context, None, RUNGS[0], None)
    trained = read_checkpoint(result.checkpoint, subject, shared_context).trained
    content = deployed_file(trained, subject, digits.train, shared_context)
    (shared_context.runs / "again.onnx").write_bytes(content)
    answers = shared_context.target.load(shared_context.runs / "again.onnx")(digits.validation.pixels).argmax(axis=1)
    assert result.value("accuracy") == (answers == digits.validation.labels).mean()
    assert result.value("size_bytes") == len(content)


def test_evaluate_rung_trains_the_epochs_of_one_training_in_all(pruned):
    curves = [result.curve for result in pruned]
    assert [max(epoch.epoch for epoch in curve) + 1 for curve in curves] == [1, 2, 4]
    assert all(curve[: len(before)] == before for before, curve in pairwise(curves))
    assert [(epoch.phase, epoch.epoch) for epoch in curves[-1]] == [
        ("dense", 0), ("pruned", 0), ("pruned", 1), ("pruned", 2), ("pruned", 3),
    ]  # fmt: skip
    rates = [epoch.learning_rate for epoch in curves[-1]]
    assert rates[2] < rates[3] > rates[4]  # the cosine begins anew above each rung
    seconds = [result.value("training_seconds") for result in pruned]
    assert seconds == sorted(seconds)


def test_evaluate_rung_measures_the_latency_once_below_the_top(context, target):
    results = climb(PRUNED, context)
    assert [moment for moment, _, _ in target.asked] == ["untrained", "trained"]
    assert ["build" in result.seconds for result in results] == [True, False, True]
    first, second, outcome = results
    latencies = [next(one for one in result.measurements if one.name == "latency_ms") for result in results[:2]]
    assert latencies[0] == latencies[1]
    assert first.timings == second.timings == outcome.timings[:1]
    assert outcome.gain.verdict == "faster" and "twin_size_bytes" in {one.name for one in outcome.measurements}


def test_evaluate_rung_spends_no_training_on_what_is_too_slow(context, target):
    target.ratios["untrained"] = [1.5]
    outcome = evaluate_rung(PRUNED, replace(context, limits={"latency_ms": 2.0}), None, RUNGS[0], None)
    assert isinstance(outcome, Infeasible) and "before training" in outcome.reason
    assert "train" not in outcome.seconds and not (context.runs / FOLDER).exists()


def test_evaluate_rung_uses_a_known_timing(context, target, pruned):
    result = evaluate_rung(PRUNED, context, pruned[0].timings[0], RUNGS[0], None)
    assert target.asked == [] and result.timings == pruned[0].timings


def test_evaluate_rung_that_diverges_fails_with_its_reason(shared_context):
    outcome = evaluate_rung(candidate(epochs=4, learning_rate=1e30), shared_context, None, RUNGS[0], None)
    assert isinstance(outcome, Failed) and "diverged" in outcome.reason


@pytest.fixture(scope="module")
def whole(shared_context):
    return evaluate(PRUNED, shared_context)


def test_top_rung_alone_is_a_whole_evaluation(shared_context, whole):
    alone = evaluate_rung(PRUNED, shared_context, None, RUNGS[-1], None)
    assert alone.artefact == whole.artefact
    assert without_seconds(alone.curve) == without_seconds(whole.curve)


def test_evaluate_rung_goes_on_from_a_lean_record(shared_context, pruned):
    again = evaluate_rung(PRUNED, shared_context, None, RUNGS[1], stripped(pruned[0]))
    figures = [[one for one in result.measurements if one.name in NAMES] for result in (again, pruned[1])]
    assert len(figures[0]) == len(NAMES) and figures[0] == figures[1]
    outcome = evaluate_rung(PRUNED, shared_context, None, RUNGS[-1], stripped(pruned[1]))
    assert outcome.artefact == pruned[-1].artefact
    assert outcome.curve[: len(pruned[1].curve)] == pruned[1].curve


def test_task_goes_from_rung_to_rung(shared_context, pruned):
    result = EvaluateTask(PRUNED, None, RUNGS[1], pruned[0])(shared_context)
    assert result.value("accuracy") == pruned[1].value("accuracy")
    assert result.rung == 1


def damaged(result, context):
    path = context.runs / result.checkpoint.path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    (path.parent / "damaged").write_bytes(content)
    return replace(result, checkpoint=replace(result.checkpoint, path=f"{FOLDER}/damaged"))


LOSSES = {
    "is missing": lambda result, _: replace(result, checkpoint=replace(result.checkpoint, path="absent")),
    "is damaged": damaged,
    "was not kept": lambda result, _: replace(result, checkpoint=None),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_lost_checkpoint_begins_anew_and_says_so(shared_context, pruned, whole, loss):
    lost = LOSSES[loss](pruned[0], shared_context)
    outcome = evaluate_rung(PRUNED, shared_context, None, Rung(1, 1.0), lost)
    assert outcome.notes[-1] == f"trained anew at rung 2: the checkpoint of rung 1 {loss}"
    assert outcome.artefact == whole.artefact


def test_note_of_a_lost_checkpoint_is_carried_to_the_top(shared_context, pruned):
    again = evaluate_rung(PRUNED, shared_context, None, RUNGS[1], LOSSES["is missing"](pruned[0], shared_context))
    outcome = evaluate_rung(PRUNED, shared_context, None, RUNGS[2], again)
    assert outcome.notes == ("trained anew at rung 2: the checkpoint of rung 1 is missing",)
    assert sorted({epoch.epoch for epoch in outcome.curve}) == [0, 1, 2, 3]


def test_read_checkpoint_refuses_that_of_another_candidate(shared_context, pruned):
    with pytest.raises(LostCheckpointError, match="is that of another candidate"):
        read_checkpoint(pruned[0].checkpoint, PLAIN.canonical(), shared_context)


def test_candidate_of_one_epoch_is_one_file_at_every_rung(shared_context):
    subject = changed(changed(INTEGER, "training", epochs=1), "quantization", training="lsq")
    first, second, outcome = climb(subject, shared_context)
    files = {next(one.artefact for one in result.measurements if one.name == "accuracy") for result in (first, second)}
    assert files == {outcome.artefact.sha256}
    assert first.curve == second.curve == outcome.curve
    assert outcome.artefact == evaluate(subject, shared_context).artefact


def test_zeros_stay_zero_across_rungs(shared_context):
    *results, outcome = climb(PATTERN, shared_context)
    first, second = (read_checkpoint(result.checkpoint, PATTERN, shared_context).trained.network for result in results)
    assert outcome.value("nonzero_parameters") == results[0].value("nonzero_parameters")
    before, after = masks_of_zeros(first, "2:4").kept, masks_of_zeros(second, "2:4").kept
    assert before and all(torch.equal(before[name], after[name]) for name in before)
    assert masks_of_zeros(second, "2:4").sparsity() == pytest.approx(0.5, abs=0.01)
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(moved)


def test_masks_of_zeros_are_those_of_sparsify(shared_context):
    network = nominal_network(PLAIN.canonical(), shared_context)
    kept = sparsify(network, 0.6).kept
    again = masks_of_zeros(network).kept
    assert kept.keys() == again.keys() and all(torch.equal(kept[name], again[name]) for name in kept)


@pytest.fixture(scope="module")
def own_model(shared_context):
    """Return a context with a user's model, and a pruned candidate of it."""
    from automl.candidate import Candidate, PruningPlan, QuantizationPlan
    from automl.compression.user_model import describe_user_model
    from automl.evaluation.context import task_of

    source = ModelSource(RESIDUAL)
    model, _ = describe_user_model(source, task_of(shared_context.dataset), 4)
    kept = tuple(width // 2 for width in model.widths)
    bits = QuantizationPlan((32,) * model.stage_count, (32,) * model.stage_count)
    subject = Candidate(model, PruningPlan(kept), bits, PLAIN.distillation, PLAIN.training).canonical()
    return replace(shared_context, model=source), subject


def test_pruned_user_model_survives_the_rungs(own_model):
    context, subject = own_model
    first, _, outcome = climb(subject, context)
    assert isinstance(outcome, Measured), outcome
    assert outcome.value("accuracy") == accuracy_of(outcome, context)
    assert first.value("parameters") == outcome.value("parameters") < outcome.value("twin_parameters")


BY_DATA = tuple(replace(rung, by="data") for rung in RUNGS)


def test_rungs_by_data_end_at_the_whole_evaluation(shared_context, whole):
    first, second, outcome = climb(PRUNED, shared_context, BY_DATA)
    assert first.checkpoint is None and second.checkpoint is None
    assert len({tuple(without_seconds(result.curve)) for result in (first, second, outcome)}) == 3
    assert outcome.artefact == whole.artefact


def test_smaller_recipe_is_stratified_and_nested(shared_context, digits):
    whole = search_recipe(PRUNED, shared_context)
    few, more = (smaller_recipe(whole, share, shared_context) for share in (1 / 9, 1 / 3))
    assert [len(recipe.split) for recipe in (few, more)] == [36, 107]
    assert np.bincount(few.split.labels, minlength=10).min() >= 3
    images = [{pixels.tobytes() for pixels in recipe.split.pixels} for recipe in (few, more)]
    assert images[0] < images[1] < {pixels.tobytes() for pixels in digits.train.pixels}
    assert smaller_recipe(whole, 1.0, shared_context) is whole


def test_smaller_recipe_keeps_what_the_teacher_says_of_each_image(shared_context, digits):
    extra = np.repeat(digits.validation.pixels[None, :20], 3, axis=0)
    views = augmented_views(digits.train.pixels, "shift", shared_context.seed)
    shown = np.concatenate([views, extra], axis=1)
    sums = shown.reshape(3, shown.shape[1], -1).sum(axis=2)  # stands for logits: a figure that tells an image
    whole = replace(search_recipe(PRUNED, shared_context), unlabelled=extra)
    whole = replace(
        whole, soft_targets=lambda view, at: sums[view][at], stage_features=lambda view, at: (sums[view][at],)
    )
    few = smaller_recipe(whole, 1 / 4, shared_context)
    assert few.unlabelled.shape[1] == 5
    for view in range(3):
        pixels = np.concatenate([few.views[view], few.unlabelled[view]])
        expected = pixels.reshape(len(pixels), -1).sum(axis=1)
        assert np.array_equal(few.soft_targets(view, np.arange(len(pixels))), expected)
        assert np.array_equal(few.stage_features(view, np.arange(len(pixels)))[0], expected)


def test_taught_candidate_climbs(shared_context):
    teacher = train_teacher(candidate(epochs=1), shared_context, None, 1)
    taught = replace(shared_context, teacher=teacher)
    subject = candidate(kept=(4, 8, 16), alpha=0.5, temperature=4.0, epochs=2, cells=3, operations=DENSE).canonical()
    first, outcome = climb(subject, taught, (Rung(0, 1 / 2, "data"), Rung(1, 1.0, "data")))
    untaught = evaluate_rung(changed(subject, "distillation", alpha=1.0), shared_context, None, BY_DATA[1], None)
    assert isinstance(outcome, Measured)
    assert first.curve[0].loss != untaught.curve[0].loss
