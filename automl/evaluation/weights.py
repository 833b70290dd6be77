"""A candidate's weights: trained unpruned, pruned, trained on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from automl.candidate import Candidate
from automl.compression.pruning import prune_network
from automl.compression.quantization import calibrate
from automl.data.images import Split
from automl.evaluation.context import EvaluationContext, seed_of
from automl.models.deployable import Deployable, Task
from automl.models.network import build_network
from automl.outcome import Epoch
from automl.targets.lanes import training_slot
from automl.training.loop import Schedule, SoftTargets, TrainingSet, train
from automl.training.views import augmented_views

DENSE_SHARE = 0.4  # of the epochs come before pruning
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Recipe:
    """How long to train and on what: `seconds` ends the training by the clock, None by epochs alone."""

    split: Split
    epochs: int
    seconds: float | None
    soft_targets: SoftTargets | None


def train_candidate(
    candidate: Candidate, task: Task, recipe: Recipe, context: EvaluationContext, threads: int = 1
) -> tuple[Deployable, tuple[Epoch, ...], float]:
    """Return the trained network at its kept widths, the learning curve, and the seconds of training.

    The unpruned network is trained first; then the least important channels go and training goes on along the same
    cosine. Waits for a free training core.

    Raises:
        DivergedError: where the training leaves the finite numbers.
    """
    seed = seed_of(context.seed, candidate)
    views = augmented_views(recipe.split.pixels, context.dataset.augmentation, context.seed)
    data = TrainingSet(views, recipe.split.labels, recipe.soft_targets)
    with training_slot(context.lane_folder, cores=threads) as slot:
        torch.set_num_threads(threads)
        started = time.monotonic()
        network, curve = _train_and_prune(candidate, task, data, recipe, seed, slot.give_way)
        return network, curve, time.monotonic() - started


def _train_and_prune(
    candidate: Candidate, task: Task, data: TrainingSet, recipe: Recipe, seed: int, give_way: Callable[[], None]
) -> tuple[Deployable, tuple[Epoch, ...]]:
    def run(network: Deployable, first: float, last: float, phase: str) -> tuple[Epoch, ...]:
        schedule = Schedule(recipe.epochs, first, last, recipe.seconds)
        return train(
            network, data, candidate.training, candidate.distillation, schedule, phase=phase, seed=seed,
            between_steps=give_way,
        )  # fmt: skip

    torch.manual_seed(seed)
    network: Deployable = build_network(candidate, task, pruned=False)
    if not candidate.is_pruned():
        return network, run(network, 0.0, 1.0, "dense")
    dense = run(network, 0.0, DENSE_SHARE, "dense")
    network = prune_network(network, candidate.pruning.kept_widths)
    return network, dense + run(network, DENSE_SHARE, 1.0, "pruned")


def trained_file(network: Deployable, candidate: Candidate, split: Split, context: EvaluationContext) -> bytes:
    """Return the deployable file of a trained network, calibrated on a seeded sample of its training images."""
    codes = None
    if 8 in candidate.quantization.activation_bits:
        rng = np.random.default_rng([context.seed, 0xCA11])
        sample = rng.permutation(len(split.labels))[:CALIBRATION_IMAGES]
        codes = calibrate(network, split.pixels[sample])
    return network.write(candidate.quantization, codes=codes, largest_code=context.largest_code, batch=context.batch)


def table_lookup(logits: np.ndarray) -> SoftTargets:
    """Return soft targets out of `views x n x classes` logits."""
    return lambda view, indices: logits[view][indices]


def count_parameters(network: Deployable) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_multiply_adds(network: Deployable) -> int:
    """Return the multiply-adds of convolutions and linear layers for one image."""
    total = 0

    def count(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        total += weight[0].numel() * output.numel()

    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros((1, *network.task.input_shape), dtype=torch.uint8))
    finally:
        for handle in handles:
            handle.remove()
    return total
