"""The one training loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from automl.candidate import DistillationPlan, TrainingPlan
from automl.models.deployable import Deployable
from automl.outcome import Epoch

NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
NORM_BATCHES = 16
NORM_MOMENTUM = 0.1


class DivergedError(Exception):
    """The loss or the gradient is no longer a number."""


SoftTargets = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TrainingSet:
    """Augmented views with labels, and what the teacher says of them.

    `pixels` is `views x n x h x w[ x c]` (uint8), `labels` is `n` (int64); `soft_targets(view, indices)` returns the
    teacher's logits (`len(indices) x classes`, float32); None means that there is no teacher.
    """

    pixels: np.ndarray
    labels: np.ndarray
    soft_targets: SoftTargets | None


@dataclass(frozen=True)
class Schedule:
    """Which part of a cosine over `epochs` epochs to run: from the share `first` of it to the share `last`.

    With `seconds` the cosine also ends by the clock: whichever of the two is further decides the learning rate
    (Li et al., "Budgeted Training", 2020), so that a training that must fit a budget still anneals to the end.
    """

    epochs: int
    first: float = 0.0
    last: float = 1.0
    seconds: float | None = None


def distillation_loss(
    logits: torch.Tensor, labels: torch.Tensor, teacher_logits: torch.Tensor | None, plan: DistillationPlan,
    label_smoothing: float,
) -> torch.Tensor:  # fmt: skip
    """Return alpha x hard + (1 - alpha) x T^2 x soft, averaged over the batch.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015): hard is the cross entropy with the labels,
    soft the Kullback-Leibler divergence from the teacher's answer at temperature T; T^2 keeps its gradient's size.

    Args:
        logits: `n x classes` of the student.
        labels: `n`.
        teacher_logits: `n x classes`; None leaves the hard term alone, whatever alpha says.
        plan: alpha and T.
        label_smoothing: of the hard term.
    """
    hard = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if teacher_logits is None or plan.alpha == 1.0:
        return hard
    temperature = plan.temperature
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    soft = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return plan.alpha * hard + (1 - plan.alpha) * temperature**2 * soft


def train(
    network: Deployable, data: TrainingSet, plan: TrainingPlan, distillation: DistillationPlan, schedule: Schedule,
    *, phase: str, seed: int, between_steps: Callable[[], None] = lambda: None,
) -> tuple[Epoch, ...]:  # fmt: skip
    """Train in place along the schedule and return the curve; the network is left in evaluation mode.

    Args:
        network: any.
        data: the views; epoch e uses view e modulo the number of views.
        plan: hyperparameters.
        distillation: loss weights.
        schedule: the stretch of the cosine; at least one step is made.
        phase: the name under which the epochs are recorded.
        seed: of the order of the images and of dropout.
        between_steps: called at every step boundary; it may wait (a timing lane's turn).

    Raises:
        DivergedError: as soon as a loss or a gradient norm is not finite.
    """
    torch.manual_seed(seed)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = _optimizer(network, plan)
    steps = max(len(data.labels) // plan.batch_size, 1)
    started = time.monotonic()
    step = round(schedule.first * schedule.epochs * steps)
    records: list[_Step] = []
    while True:
        epoch = step // steps
        for position, (pixels, labels, soft) in enumerate(_batches(data, epoch, plan.batch_size, seed)):
            if position < step % steps:
                continue  # where an earlier phase of the same cosine left off
            rate = _learning_rate(plan.learning_rate, step / steps, _progress(schedule, step / steps, started))
            records.append(_train_step(network, optimizer, pixels, labels, soft, plan, distillation, rate, epoch))
            step += 1
            between_steps()
            if _progress(schedule, step / steps, started) >= schedule.last:
                recalibrate_norms(network, data, plan.batch_size, seed)
                return _curve(records, phase)
            if step % steps == 0:
                break


@dataclass(frozen=True)
class _Step:
    epoch: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float


def _train_step(
    network: Deployable, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, labels: torch.Tensor,
    soft: torch.Tensor | None, plan: TrainingPlan, distillation: DistillationPlan, rate: float, epoch: int,
) -> _Step:  # fmt: skip
    started = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    precision = training_precision()
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        logits = network(pixels)
    loss = distillation_loss(logits.float(), labels, soft, distillation, plan.label_smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    bound = plan.clip_norm if plan.clip_norm > 0 else math.inf
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), bound)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise DivergedError(
            f"training diverged in epoch {epoch + 1}: loss {loss.item():g}, gradient norm {norm.item():g} "
            f"at learning rate {rate:g}"
        )
    optimizer.step()
    return _Step(epoch, loss.item(), norm.item(), rate, time.perf_counter() - started)


def _progress(schedule: Schedule, epochs: float, started: float) -> float:
    """Return how far along the cosine the training is, by epochs or by the clock, whichever is further."""
    by_epochs = epochs / schedule.epochs
    if schedule.seconds is None:
        return by_epochs
    return max(by_epochs, schedule.first + (time.monotonic() - started) / schedule.seconds)


def _curve(records: Sequence[_Step], phase: str) -> tuple[Epoch, ...]:
    """Return the means over each epoch, the seconds summed."""
    curve = []
    for epoch in sorted({record.epoch for record in records}):
        part = [record for record in records if record.epoch == epoch]
        loss, norm = (
            sum(values) / len(part) for values in zip(*((r.loss, r.gradient_norm) for r in part), strict=True)
        )
        seconds = sum(record.seconds for record in part)
        curve.append(Epoch(phase, epoch, loss, norm, part[-1].learning_rate, seconds))
    return tuple(curve)


def recalibrate_norms(network: Deployable, data: TrainingSet, batch_size: int, seed: int) -> None:
    """Set the statistics of batch normalisation to plain means over some batches; leave evaluation mode on.

    Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021): the moving averages lag behind the weights, most of all
    after a short training.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    with torch.no_grad():
        for pixels, _, _ in islice(_batches(replace(data, soft_targets=None), 0, batch_size, seed), NORM_BATCHES):
            network(pixels)
    for norm in norms:
        norm.momentum = NORM_MOMENTUM
    network.eval()


def training_precision() -> torch.dtype:
    """Return bfloat16 where this processor computes in it natively (AVX512-BF16 or AMX), else float32."""
    return torch.bfloat16 if NATIVE_BFLOAT16 & _processor_flags() else torch.float32


@cache
def _processor_flags() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split(":", 1)[1].split()) if lines else frozenset()


def predict_logits(network: Deployable, pixels: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Return `n x classes` float32 logits in evaluation mode, by PyTorch (for teachers; scores come from files)."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(pixels[i : i + batch_size])) for i in range(0, len(pixels), batch_size)]
    return np.asarray(torch.cat(parts).float().numpy())


def _optimizer(network: Deployable, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Weight decay acts on weights only, not on norms and biases."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9, nesterov=True)
    assert plan.optimizer == "adamw", plan.optimizer
    return torch.optim.AdamW(groups, lr=plan.learning_rate)


def _learning_rate(peak: float, epochs: float, progress: float) -> float:
    """Return the cosine of Loshchilov and Hutter (2017), after a linear warm-up over half an epoch."""
    return peak * min(1.0, 0.05 + epochs / 0.5) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _batches(
    data: TrainingSet, epoch: int, batch_size: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Yield one epoch in a seeded order; the last incomplete batch is left out unless it is the only one."""
    view = epoch % len(data.pixels)
    count = len(data.labels)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, max(count - batch_size, 0) + 1, batch_size):
        index = order[start : start + batch_size]
        soft = None if data.soft_targets is None else torch.from_numpy(data.soft_targets(view, index))
        yield torch.from_numpy(data.pixels[view][index]), torch.from_numpy(data.labels[index]), soft
