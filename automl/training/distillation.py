"""What a student minimises: the labels, the teacher's answers, and what the teacher's stages hold.

loss = alpha x hard + (1 - alpha) x (T^2 x soft + shown)

hard is the cross entropy with the labels, soft the divergence from the teacher's answers, shown what the method adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from automl.candidate import DistillationPlan
from automl.models.deployable import Deployable
from automl.training.methods import METHODS
from automl.training.stages import pooled, watched_stages

UNLABELLED = -1  # the label of a sample that has none: its hard term has no weight
VIRTUAL_CERTAINTY = 0.99  # what the virtual teacher gives to the right class (Yuan et al., section 5)
DISTANCE_WEIGHT, ANGLE_WEIGHT = 25.0, 50.0  # Park et al., section 4.2
FEATURE_WEIGHT = 10.0  # the error starts near 1, far below the divergence of answers times T^2
RELATED = 64  # samples of a batch whose angles are compared: their number grows with the third power


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of one batch: logits, `n x classes`, and its pooled stages, each `n x c x h x w`."""

    logits: torch.Tensor | None = None
    stages: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class Objective:
    """The loss of one training. `stages` shows the student's latest stage outputs; `projections` are its own weights.

    The projections learn beside the student and are thrown away after the training.
    """

    plan: DistillationPlan
    label_smoothing: float
    stages: Mapping[str, torch.Tensor]
    projections: nn.ModuleList

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, lesson: Lesson) -> torch.Tensor:
        """Return the loss of a batch whose forward pass was the student's latest."""
        plan, answers = self.plan, lesson.logits
        if plan.alpha == 1.0 or (plan.method != "self" and answers is None):
            return hard_loss(logits, labels, self.label_smoothing)
        if plan.method == "self":
            return self_loss(logits, labels, plan, self.label_smoothing)
        loss = distillation_loss(logits, labels, answers, plan, self.label_smoothing)
        if not self.stages:
            return loss
        return loss + (1 - plan.alpha) * self._shown(lesson)

    def _shown(self, lesson: Lesson) -> torch.Tensor:
        pairs = paired_stages(tuple(self.stages.values()), lesson.stages)
        if self.plan.method == "feature":
            return FEATURE_WEIGHT * feature_loss(pairs, self.projections)
        return relation_loss(*pairs[-1])


@contextmanager
def open_objective(
    network: nn.Module, plan: DistillationPlan, label_smoothing: float, pixels: torch.Tensor, lesson: Lesson
) -> Iterator[Objective]:
    """Yield the loss for training `network`.

    A module that is not a `Deployable` shows no stages (one that rehearses its quantized graph, for one): methods that
    compare stages teach it by the answers alone.

    Args:
        network: the student, with its weights.
        plan: which method, and the weights of its terms.
        label_smoothing: of the hard term.
        pixels: raw samples, one or more; they give the shapes of the student's stages.
        lesson: what the teacher says of some batch; it gives the shapes of the teacher's.

    Raises:
        ValueError: for an unknown method, or one that compares stages where the teacher shows none.
    """
    method = METHODS.get(plan.method)
    if method is None:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}, but got {plan.method}")
    compares = method.needs_stages and plan.alpha < 1.0
    stages: Mapping[str, torch.Tensor] = {}
    projections = nn.ModuleList()
    with ExitStack() as stack:
        if compares and isinstance(network, Deployable):
            if not lesson.stages:
                wanted = f"{plan.method} distillation needs the stages of the teacher"
                raise ValueError(f"{wanted}, but only its answers are known")
            stages = stack.enter_context(watched_stages(network))
            if plan.method == "feature":
                projections = _projections(network, stages, pixels, lesson)
        yield Objective(plan, label_smoothing, stages, projections)


def _projections(
    network: nn.Module, stages: Mapping[str, torch.Tensor], pixels: torch.Tensor, lesson: Lesson
) -> nn.ModuleList:
    """Return a 1x1 convolution from each student stage to the teacher's that it is held against."""
    with torch.no_grad():
        network.eval()(pixels)
    pairs = paired_stages(tuple(stages.values()), lesson.stages)
    return nn.ModuleList(nn.Conv2d(student.shape[1], teacher.shape[1], 1) for student, teacher in pairs)


def paired_stages(
    student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each stage of the student with the teacher's at the same share of its depth; the last with the last."""
    count = len(student)
    return [(student[i], teacher[math.ceil((i + 1) * len(teacher) / count) - 1]) for i in range(count)]


def hard_loss(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Return the cross entropy averaged over the samples that have a label; 0 where none has one."""
    if not bool((labels != UNLABELLED).any()):
        return logits.sum() * 0.0
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, ignore_index=UNLABELLED)


def soft_loss(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence from the teacher's answers at temperature T, averaged over the batch."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def distillation_loss(
    logits: torch.Tensor, labels: torch.Tensor, teacher_logits: torch.Tensor | None, plan: DistillationPlan,
    label_smoothing: float,
) -> torch.Tensor:  # fmt: skip
    """Return alpha x hard + (1 - alpha) x T^2 x soft, averaged over the batch.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015): hard is the cross entropy with the labels,
    soft the Kullback-Leibler divergence from the teacher's answer at temperature T; T^2 keeps its gradient's size.

    Args:
        logits: `n x classes` of the student.
        labels: `n`; `UNLABELLED` where there is none.
        teacher_logits: `n x classes`; None leaves the hard term alone, whatever alpha says.
        plan: alpha and T.
        label_smoothing: of the hard term.
    """
    hard = hard_loss(logits, labels, label_smoothing)
    if teacher_logits is None or plan.alpha == 1.0:
        return hard
    temperature = plan.temperature
    soft = soft_loss(logits, teacher_logits, temperature)
    return plan.alpha * hard + (1 - plan.alpha) * temperature**2 * soft


def self_loss(
    logits: torch.Tensor, labels: torch.Tensor, plan: DistillationPlan, label_smoothing: float
) -> torch.Tensor:
    """Return the loss of a student without a teacher; samples without a label teach nothing here.

    Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization" (2020), Tf-KD_reg: a virtual
    teacher gives the right class 0.99 and the others equal parts of the rest. It is softened as any teacher is, by
    dividing its log probabilities by T, and weighs (1 - alpha) x T^2 like one.
    """
    known = labels != UNLABELLED
    if not bool(known.any()):
        return logits.sum() * 0.0
    logits, labels = logits[known], labels[known]
    return distillation_loss(logits, labels, virtual_logits(labels, logits.shape[1]), plan, label_smoothing)


def virtual_logits(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the virtual teacher's log probabilities, `n x classes`."""
    others = math.log((1 - VIRTUAL_CERTAINTY) / (classes - 1))
    logits = torch.full((len(labels), classes), others)
    return logits.scatter(1, labels[:, None], math.log(VIRTUAL_CERTAINTY))


def feature_loss(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], projections: nn.ModuleList) -> torch.Tensor:
    """Return the mean squared error from the teacher's stages to the student's projected ones, averaged over stages.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), eq. 3, at every stage at once and beside the other
    terms. The teacher's maps are centred by channel and scaled to variance 1 over the batch, so that 1 is the error of
    knowing nothing, whatever the teacher's scale.

    Args:
        pairs: of student and teacher, each `n x c x h x w`; the student's are pooled to the teacher's side.
        projections: one 1x1 convolution a pair, from the student's channels to the teacher's.
    """
    losses = []
    for (student, teacher), projection in zip(pairs, projections, strict=True):
        centred = teacher - teacher.mean(dim=(0, 2, 3), keepdim=True)
        wanted = centred / centred.square().mean().sqrt().clamp_min(1e-6)
        side = (int(teacher.shape[2]), int(teacher.shape[3]))
        losses.append(functional.mse_loss(projection(pooled(student, side)), wanted))
    return torch.stack(losses).mean()


def relation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return how differently the samples of a batch lie to each other for student and teacher.

    Park et al., "Relational Knowledge Distillation" (2019), eq. 6 and 9: Huber losses between the distances of pairs,
    each relative to their mean, and between the cosines of the angles of triplets. What is compared is the last stage,
    averaged over its positions; channels need not match.

    Args:
        student: `n x c x h x w`.
        teacher: `n x c' x h' x w'` of the same samples.
    """
    first, second = (maps.mean(dim=(2, 3))[:RELATED] for maps in (student, teacher))
    distance = functional.smooth_l1_loss(_distances(first), _distances(second))
    angle = functional.smooth_l1_loss(_angles(first), _angles(second))
    return DISTANCE_WEIGHT * distance + ANGLE_WEIGHT * angle


def _distances(points: torch.Tensor) -> torch.Tensor:
    """Return the `n x n` Euclidean distances over their mean between different points."""
    squares = (points[:, None] - points[None]).square().sum(dim=2)
    distances = squares.clamp_min(1e-12).sqrt() * (1 - torch.eye(len(points)))
    count = max(len(points) * (len(points) - 1), 1)
    return distances / (distances.sum() / count).clamp_min(1e-12)


def _angles(points: torch.Tensor) -> torch.Tensor:
    """Return the `n x n x n` cosines of the angle at each first point between the other two."""
    directions = functional.normalize(points[None] - points[:, None], dim=2, eps=1e-6)
    return torch.bmm(directions, directions.transpose(1, 2))
