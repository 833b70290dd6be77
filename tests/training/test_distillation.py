"""Each method of the menu: its formula, and that it acts on a small real network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl.candidate import DistillationPlan, TrainingPlan
from automl.models.network import Network, build_network
from automl.training.distillation import (
    UNLABELLED,
    Lesson,
    distillation_loss,
    feature_loss,
    hard_loss,
    open_objective,
    paired_stages,
    relation_loss,
    self_loss,
    virtual_logits,
)
from automl.training.loop import Schedule, TrainingSet, predict_logits, train, with_unlabelled
from automl.training.methods import METHODS
from automl.training.stages import as_maps, pooled, stage_features, watched_stages
from tests.models.architectures import GREY_TASK, candidate

PLAN = TrainingPlan("adamw", 1e-2, 5e-4, 32, 10, 0.0, 0.0, 5.0)
NO_TEACHER = DistillationPlan(1.0, 1.0)
OPERATIONS = ("conv_3x3", "skip_connect", "sep_conv_3x3", "skip_connect") * 2
LABELS = torch.tensor([0, 1, 2, 0, 1])


def images(count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Images whose bright half is their label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    pixels = rng.integers(0, 6, (1, count, 8, 8)).astype(np.uint8)
    pixels[0, labels == 1, :, :4] += 8
    pixels[0, labels == 0, :, 4:] += 8
    return pixels, labels.astype(np.int64)


def network(width: int = 4, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    kept = (width, 2 * width, 4 * width)
    return build_network(candidate(operations=OPERATIONS, width=width, kept=kept, cells=2), GREY_TASK, pruned=True)


@pytest.fixture(scope="module")
def taught() -> TrainingSet:
    """Two halves, with the answers and stages of a wider network."""
    (pixels, labels), teacher = images(), network(8, seed=1)
    train(teacher, TrainingSet(pixels, labels, None), PLAN, NO_TEACHER, Schedule(10), phase="x", seed=0)
    logits, stages = predict_logits(teacher, pixels[0])[None], stage_features(teacher, pixels[0])
    return TrainingSet(
        pixels, labels, lambda view, i: logits[view][i], lambda _view, i: tuple(stage[i] for stage in stages)
    )


def trained(data: TrainingSet, plan: DistillationPlan, *, epochs: int = 2) -> Network:
    student = network()
    train(student, data, PLAN, plan, Schedule(epochs), phase="x", seed=0)
    return student


def shown_loss(student: Network, data: TrainingSet, method: str) -> float:
    """Return how far the student's stages lie from the teacher's: by relation, or after the best map of channels."""
    index = np.arange(64)
    with torch.no_grad(), watched_stages(student) as stages:
        student(torch.from_numpy(data.pixels[0][index]))
        _, middle, last = stages.values()
    _, wanted, end = (torch.from_numpy(stage).float() for stage in data.stage_features(0, index))
    if method == "relation":
        return float(relation_loss(last, end))
    first, second = (maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in (pooled(middle, (4, 4)), wanted))
    first = torch.cat([first, torch.ones(len(first), 1)], dim=1)
    left = second - first @ torch.linalg.lstsq(first, second).solution
    return float(left.square().sum() / (second - second.mean(dim=0)).square().sum())


@pytest.fixture(scope="module")
def answered(taught: TrainingSet) -> Network:
    """A student of the teacher's answers alone."""
    return trained(taught, DistillationPlan(0.2, 2.0), epochs=10)


@pytest.mark.parametrize("method", ["feature", "relation"])
def test_comparing_stages_brings_the_student_nearer_to_the_teacher(taught, answered, method):
    student = trained(taught, DistillationPlan(0.2, 2.0, method), epochs=10)
    assert shown_loss(student, taught, method) < 0.93 * shown_loss(answered, taught, method)


def test_every_method_changes_the_trained_weights(taught):
    plans = [NO_TEACHER, *(DistillationPlan(0.3, 4.0, method) for method in METHODS)]
    weights = [trained(taught, plan, epochs=1).classifier.weight.detach().numpy().tobytes() for plan in plans]
    assert len(set(weights)) == len(plans) == 5


def test_response_alone_teaches_what_the_labels_do_not_say(taught):
    blind = TrainingSet(taught.pixels, np.full(96, UNLABELLED), taught.soft_targets)
    student = trained(blind, DistillationPlan(0.5, 2.0), epochs=6)
    assert (predict_logits(student, taught.pixels[0]).argmax(axis=1) == taught.labels).mean() > 0.9


def test_self_distillation_needs_no_teacher_and_makes_wrong_classes_alike(taught):
    alone = TrainingSet(taught.pixels, taught.labels, None)
    plain, regular = (
        predict_logits(trained(alone, plan, epochs=10), taught.pixels[0])[:, 2:].std(axis=1).mean()
        for plan in (NO_TEACHER, DistillationPlan(0.1, 4.0, "self"))
    )
    assert regular < 0.8 * plain


def test_self_loss_is_the_divergence_from_a_teacher_that_is_right_and_smooth():
    logits, plan = torch.randn(5, 4), DistillationPlan(0.4, 1.0, "self")
    virtual = torch.softmax(virtual_logits(LABELS, 4), dim=1)
    assert virtual[range(5), LABELS].tolist() == pytest.approx([0.99] * 5)
    divergence = (virtual * (virtual.log() - torch.log_softmax(logits, dim=1))).sum(dim=1).mean()
    hard = torch.nn.functional.cross_entropy(logits, LABELS)
    torch.testing.assert_close(self_loss(logits, LABELS, plan, 0.0), 0.4 * hard + 0.6 * divergence)


def test_relation_loss_does_not_see_rotation_and_scale_but_order():
    points = torch.randn(12, 6, 1, 1)
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    turned = (3.0 * points[:, :, 0, 0] @ rotation)[:, :, None, None]
    assert float(relation_loss(turned, points)) == pytest.approx(0.0, abs=1e-4)
    assert float(relation_loss(points.flip(0), points)) > 0.1


def test_feature_loss_is_one_for_knowing_nothing_and_zero_for_all():
    teacher = torch.randn(8, 5, 2, 2) * 30 + 7
    projection = torch.nn.Conv2d(3, 5, 1)
    torch.nn.init.zeros_(projection.weight)
    torch.nn.init.zeros_(projection.bias)
    nothing = feature_loss([(torch.randn(8, 3, 4, 4), teacher)], torch.nn.ModuleList([projection]))
    assert nothing.item() == pytest.approx(1.0, abs=1e-4)
    centred = teacher - teacher.mean(dim=(0, 2, 3), keepdim=True)
    identity = torch.nn.ModuleList([torch.nn.Identity()])
    assert float(feature_loss([(centred / centred.square().mean().sqrt(), teacher)], identity)) < 1e-8


def test_hard_loss_counts_labelled_samples_only():
    logits = torch.randn(5, 3)
    some = torch.tensor([0, UNLABELLED, 2, UNLABELLED, UNLABELLED])
    torch.testing.assert_close(hard_loss(logits, some, 0.1), hard_loss(logits[[0, 2]], some[[0, 2]], 0.1))
    assert float(hard_loss(logits, torch.full((5,), UNLABELLED), 0.0)) == 0.0


def test_distillation_loss_weighs_the_answers_for_samples_without_labels():
    logits, teacher = torch.randn(4, 3), torch.randn(4, 3)
    blind = torch.full((4,), UNLABELLED)
    loss = distillation_loss(logits, blind, teacher, DistillationPlan(0.5, 2.0), 0.0)
    expected = torch.nn.functional.kl_div(
        torch.log_softmax(logits / 2, 1), torch.softmax(teacher / 2, 1), reduction="batchmean"
    )
    torch.testing.assert_close(loss, 0.5 * 4 * expected)


def test_unlabelled_samples_bring_the_student_nearer_to_the_teacher(taught):
    few = TrainingSet(taught.pixels[:, :16], taught.labels[:16], taught.soft_targets)
    joined = with_unlabelled(few, taught.pixels[:, 16:])
    assert np.array_equal(joined.pixels, taught.pixels) and (joined.labels[16:] == UNLABELLED).all()
    wanted = taught.soft_targets(0, np.arange(16, 96))
    plan, steps = DistillationPlan(0.5, 2.0), 30
    apart = [
        np.square(predict_logits(trained(data, plan, epochs=epochs), taught.pixels[0, 16:]) - wanted).mean()
        for data, epochs in ((few, steps), (joined, steps // 3))
    ]
    assert apart[1] < 0.8 * apart[0]


def test_with_unlabelled_refuses_other_shapes(taught):
    with pytest.raises(ValueError, match=r"unlabelled must be 1 views of samples of shape \(8, 8\), but got 1 of"):
        with_unlabelled(taught, np.zeros((1, 3, 9, 9), np.uint8))


def test_objective_refuses_stages_that_nobody_knows(taught):
    data = TrainingSet(taught.pixels, taught.labels, taught.soft_targets)
    with pytest.raises(ValueError, match="relation distillation needs the stages of the teacher"):
        trained(data, DistillationPlan(0.5, 2.0, "relation"))


def test_objective_refuses_an_unknown_method():
    with (
        pytest.raises(ValueError, match="method must be one of response, feature, relation, self, but got telepathy"),
        open_objective(network(), DistillationPlan(0.5, 2.0, "telepathy"), 0.0, torch.zeros(1, 8, 8), Lesson()),
    ):
        pass


def test_objective_leaves_no_hooks_behind(taught):
    student = trained(taught, DistillationPlan(0.5, 2.0, "feature"), epochs=1)
    assert not any(module._forward_hooks for module in student.modules())


@pytest.mark.parametrize(("student", "teacher", "pairs"), [(3, 3, [0, 1, 2]), (2, 4, [1, 3]), (4, 2, [0, 0, 1, 1])])
def test_paired_stages_end_together(student, teacher, pairs):
    first, second = ([torch.tensor(i) for i in range(count)] for count in (student, teacher))
    assert [int(pair[1]) for pair in paired_stages(first, second)] == pairs


def test_stage_features_are_small_and_few_bytes():
    stages = stage_features(network(), images()[0][0], grid=2)
    assert [stage.shape[2:] for stage in stages] == [(2, 2)] * 3
    assert all(stage.dtype == np.float16 for stage in stages)
    assert sum(stage.nbytes for stage in stages) == 2 * 96 * 4 * sum(stage.shape[1] for stage in stages)


@pytest.mark.parametrize(
    ("shape", "maps"), [((2, 5), (2, 5, 1, 1)), ((2, 7, 5), (2, 5, 7, 1)), ((2, 5, 3, 4), (2, 5, 3, 4))]
)
def test_as_maps_gives_every_output_four_axes(shape, maps):
    assert as_maps((torch.zeros(shape), None)).shape == maps
