"""The one training loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from automl.candidate import DistillationPlan, TrainingPlan
from automl.outcome import Epoch
from automl.training.distillation import UNLABELLED, Lesson, Objective, open_objective

NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
NORM_BATCHES = 16
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class DivergedError(Exception):
    """The loss or the gradient is no longer a number."""


SoftTargets = Callable[[int, np.ndarray], np.ndarray]
StageFeatures = Callable[[int, np.ndarray], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class TrainingSet:
    """Augmented views with labels, and what the teacher says of them.

    `pixels` is `views x n x` raw samples (`h x w[ x c]` uint8, or `length` int64), `labels` is `n` (int64, `UNLABELLED`
    where a sample has none); `soft_targets(view, indices)` returns the teacher's logits (`len(indices) x classes`,
    float32); None means that there is no teacher. `stage_features(view, indices)` returns what its stages hold, each
    `len(indices) x c x h x w`; None means that they are not known.
    """

    pixels: np.ndarray
    labels: np.ndarray
    soft_targets: SoftTargets | None
    stage_features: StageFeatures | None = None


@dataclass(frozen=True)
class Batch:
    """Raw samples, their labels, and what the teacher says of them."""

    pixels: torch.Tensor
    labels: torch.Tensor
    lesson: Lesson


def with_unlabelled(data: TrainingSet, pixels: np.ndarray) -> TrainingSet:
    """Return the training set with samples after its own that have no label: only a teacher can say what they are.

    Args:
        data: its `soft_targets` and `stage_features` must know the new samples too, after its own.
        pixels: `views x m x` raw samples of the same shape.

    Raises:
        ValueError: where views or shapes differ.
    """
    if pixels.shape[:1] + pixels.shape[2:] != data.pixels.shape[:1] + data.pixels.shape[2:]:
        expected = f"{data.pixels.shape[0]} views of samples of shape {data.pixels.shape[2:]}"
        raise ValueError(f"unlabelled must be {expected}, but got {pixels.shape[0]} of {pixels.shape[2:]}")
    labels = np.concatenate([data.labels, np.full(pixels.shape[1], UNLABELLED, np.int64)])
    return replace(data, pixels=np.concatenate([data.pixels, pixels], axis=1), labels=labels)


@dataclass(frozen=True)
class Schedule:
    """Which part of a cosine over `epochs` epochs to run: from the share `first` of it to the share `last`.

    With `seconds` the cosine also ends by the clock: whichever of the two is further decides the learning rate
    (Li et al., "Budgeted Training", 2020), so that a training that must fit a budget still anneals to the end.
    `before` counts the epochs of earlier cosines: order, views and numbers of the epochs go on from there.
    """

    epochs: int
    first: float = 0.0
    last: float = 1.0
    seconds: float | None = None
    before: int = 0


def train(
    network: nn.Module, data: TrainingSet, plan: TrainingPlan, distillation: DistillationPlan, schedule: Schedule,
    *, phase: str, seed: int, between_steps: Callable[[], None] = lambda: None,
    extra_parameters: Iterable[nn.Parameter] = (), after_step: Callable[[float], None] = lambda _progress: None,
    recalibrate: bool = True,
) -> tuple[Epoch, ...]:  # fmt: skip
    """Train in place along the schedule and return the curve; the network is left in evaluation mode.

    Args:
        network: maps raw samples to logits.
        data: the views; epoch e uses view e modulo the number of views.
        plan: hyperparameters.
        distillation: method and weights of the loss.
        schedule: the stretch of the cosine; at least one step is made.
        phase: the name under which the epochs are recorded.
        seed: of the order of the images and of dropout.
        between_steps: called at every step boundary; it may wait (a timing lane's turn).
        extra_parameters: learned beside the network's own.
        after_step: called right after each step of the optimizer with the share of the whole cosine that is done, 0 to
            1; it may change the weights (masks set theirs to zero again).
        recalibrate: whether to set the statistics of batch normalisation anew at the end.

    Raises:
        DivergedError: as soon as a loss or a gradient norm is not finite.
        ValueError: where the method compares stages and `data` does not know the teacher's.
    """
    torch.manual_seed(seed)
    if any(parameter.ndim == 4 for parameter in network.parameters()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    one = _batch(data, 0, np.arange(1))
    with open_objective(network, distillation, plan.label_smoothing, one.pixels, one.lesson) as objective:
        network.train()
        trained = [*network.parameters(), *objective.projections.parameters(), *extra_parameters]
        optimizer = _optimizer(trained, plan)
        steps = max(len(data.labels) // plan.batch_size, 1)
        started = time.monotonic()
        step = round(schedule.first * schedule.epochs * steps)
        records: list[_Step] = []
        while True:
            epoch = schedule.before + step // steps
            for position, batch in enumerate(_batches(data, epoch, plan.batch_size, seed)):
                if position < step % steps:
                    continue  # where an earlier phase of the same cosine left off
                rate = _learning_rate(plan.learning_rate, step / steps, _progress(schedule, step / steps, started))
                records.append(_train_step(network, objective, optimizer, batch, plan.clip_norm, rate, epoch))
                step += 1
                progress = _progress(schedule, step / steps, started)
                after_step(min(progress, 1.0))
                between_steps()
                if _progress(schedule, step / steps, started) >= schedule.last:
                    network.eval()
                    if recalibrate:
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
    network: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, batch: Batch, clip_norm: float,
    rate: float, epoch: int,
) -> _Step:  # fmt: skip
    started = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    precision = training_precision()
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        logits = network(batch.pixels)
    loss = objective(logits.float(), batch.labels, batch.lesson)
    loss.backward()  # type: ignore[no-untyped-call]
    bound = clip_norm if clip_norm > 0 else math.inf
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, bound)
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


def recalibrate_norms(network: nn.Module, data: TrainingSet, batch_size: int, seed: int) -> None:
    """Set the statistics of batch normalisation to plain means over some batches; leave evaluation mode on.

    Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021): the moving averages lag behind the weights, most of all
    after a short training.
    """
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    network.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    untaught = replace(data, soft_targets=None, stage_features=None)
    with torch.no_grad():
        for batch in islice(_batches(untaught, 0, batch_size, seed), NORM_BATCHES):
            network(batch.pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
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


def predict_logits(network: nn.Module, pixels: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Return `n x classes` float32 logits in evaluation mode, by PyTorch (for teachers; scores come from files)."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(pixels[i : i + batch_size])) for i in range(0, len(pixels), batch_size)]
    return np.asarray(torch.cat(parts).float().numpy())


def _optimizer(parameters: Sequence[nn.Parameter], plan: TrainingPlan) -> torch.optim.Optimizer:
    """Weight decay acts on weights only, not on norms and biases."""
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9, nesterov=True)
    assert plan.optimizer == "adamw", plan.optimizer
    return torch.optim.AdamW(groups, lr=plan.learning_rate)


def _learning_rate(peak: float, epochs: float, progress: float) -> float:
    """Return the cosine of Loshchilov and Hutter (2017), after a linear warm-up.

    It takes half an epoch, or a tenth of the training where that is shorter.
    """
    warm = 0.05 + max(epochs / 0.5, progress / 0.1)
    return peak * min(1.0, warm) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _batches(data: TrainingSet, epoch: int, batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield one epoch in a seeded order; the last incomplete batch is left out unless it is the only one."""
    view = epoch % len(data.pixels)
    count = len(data.labels)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, max(count - batch_size, 0) + 1, batch_size):
        yield _batch(data, view, order[start : start + batch_size])


def _batch(data: TrainingSet, view: int, index: np.ndarray) -> Batch:
    logits = None if data.soft_targets is None else torch.from_numpy(data.soft_targets(view, index))
    stages = () if data.stage_features is None else data.stage_features(view, index)
    lesson = Lesson(logits, tuple(torch.from_numpy(stage).float() for stage in stages))
    return Batch(torch.from_numpy(data.pixels[view][index]), torch.from_numpy(data.labels[index]), lesson)
