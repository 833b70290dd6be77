"""A candidate's weights: trained unpruned, pruned along its schedule, trained on, made aware of its codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from automl.candidate import Candidate, PruningPlan
from automl.compression.aware import AwareNetwork
from automl.compression.criteria import Evidence
from automl.compression.masks import Masks, masks_of_zeros, sparsify
from automl.compression.pruning import prune_network
from automl.compression.quantization import calibrate
from automl.compression.replacement import replace_layers
from automl.compression.schedules import PruningStep, next_step, pruning_steps
from automl.data.images import Split
from automl.evaluation.context import EvaluationContext, seed_of
from automl.evaluation.networks import as_deployed, has_given_weights, kept_network, unpruned_network
from automl.models.deployable import Deployable, Emitted
from automl.models.number_formats import Codes
from automl.outcome import Epoch
from automl.targets.lanes import training_slot
from automl.targets.memory import peak_resident
from automl.training.loop import (
    Schedule,
    SoftTargets,
    StageFeatures,
    TrainingSet,
    predict_logits,
    train,
    with_unlabelled,
)
from automl.training.views import augmented_views

AWARE_SHARE = 0.3  # of the epochs come last and round as the file will
CALIBRATION_IMAGES = 256
EVIDENCE_IMAGES = 512


@dataclass(frozen=True)
class Recipe:
    """How long to train and on what: `seconds` ends the training by the clock, None by epochs alone.

    `views` are those of the split's samples, None makes them anew. `epochs_before` were trained already.
    """

    split: Split
    epochs: int
    seconds: float | None
    soft_targets: SoftTargets | None
    stage_features: StageFeatures | None = None
    unlabelled: np.ndarray | None = None  # views x m x raw samples after those of the split, which the teacher answers
    views: np.ndarray | None = None
    epochs_before: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained network at its final structure. `codes` are those that it learned, None where none were.

    `seconds` is the time of training, `peak_bytes` the most memory that the process held meanwhile.
    """

    network: Deployable
    codes: Codes | None
    curve: tuple[Epoch, ...]
    seconds: float
    peak_bytes: int


def train_candidate(
    candidate: Candidate, recipe: Recipe, context: EvaluationContext, threads: int = 1,
    begun: Deployable | None = None,
) -> Trained:  # fmt: skip
    """Return the trained network with everything of its plan done to it but the writing of the file.

    The unpruned network is trained first; then the least important channels go, at once or in steps, layers are
    replaced, and training goes on along the same cosine, at its end in the arithmetic of the file where the plan says
    so. A network that comes trained is pruned at once. Waits for a free training core.

    Args:
        candidate: canonical.
        recipe: of the training, or of the rest of it.
        context: of the study.
        threads: of the processor.
        begun: the network at its final structure where a part of its training is done; it is trained on in place, along
            a cosine of its own (Loshchilov and Hutter, "SGDR", 2017), what is zero in it staying zero.

    Raises:
        DivergedError: where the training leaves the finite numbers.
    """
    views = recipe.views
    if views is None:
        views = augmented_views(recipe.split.pixels, context.dataset.augmentation, context.seed)
    data = TrainingSet(views, recipe.split.labels, recipe.soft_targets, recipe.stage_features)
    if recipe.unlabelled is not None:
        data = with_unlabelled(data, recipe.unlabelled)
    with training_slot(context.lane_folder, cores=threads) as slot:
        torch.set_num_threads(threads)
        started = time.monotonic()
        with peak_resident() as peak:
            course = _Course(candidate, data, recipe, context, slot.give_way)
            network, codes = course.run(begun)
        return Trained(network, codes, tuple(course.curve), time.monotonic() - started, peak())


class _Course:
    """One training from its first step to its last, with what happens to the network on the way."""

    def __init__(
        self, candidate: Candidate, data: TrainingSet, recipe: Recipe, context: EvaluationContext,
        give_way: Callable[[], None],
    ) -> None:  # fmt: skip
        self.candidate, self.data, self.recipe, self.context, self.give_way = candidate, data, recipe, context, give_way
        self.seed = seed_of(context.seed, candidate)
        self.curve: list[Epoch] = []
        self.done = 0.0  # share of the cosine
        self.masks: Masks | None = None
        self.widths = candidate.genotype.stage_widths()

    def run(self, begun: Deployable | None) -> tuple[Deployable, Codes | None]:
        """Return the network and the codes that it learned, trained from nothing or from what was begun."""
        torch.manual_seed(self.seed)
        is_aware = self.candidate.quantization.training != "none"
        end = 1 - AWARE_SHARE if is_aware else 1.0
        if begun is not None:
            network = self._go_on(begun)
        else:
            network, is_trained = self._begin()
            if self.candidate.is_pruned():
                network = self._prune_in_steps(network, is_trained, end)
        self._train(network, end, "pruned" if self.candidate.is_pruned() else "dense")
        return self._make_aware(network) if is_aware else (network, None)

    def _begin(self) -> tuple[Deployable, bool]:
        """Return the unpruned network and whether it is trained already: by its owner, or as the study's teacher."""
        teacher = self.context.teacher
        if self.context.starts_from_teacher and teacher is not None and teacher.candidate is not None:
            same = teacher.candidate.genotype == self.candidate.genotype
            if same and teacher.weights is not None:
                return kept_network(self.context.runs / teacher.weights, teacher.candidate, self.context), True
        return unpruned_network(self.candidate, self.context), has_given_weights(self.candidate, self.context)

    def _go_on(self, network: Deployable) -> Deployable:
        """Return a network that is at its final structure, with the masks that it was trained under."""
        plan = self.candidate.pruning
        if plan.sparsity > 0:
            self.masks = masks_of_zeros(network, plan.pattern)
        return network

    def _prune_in_steps(self, network: Deployable, is_trained: bool, end: float) -> Deployable:
        full = self.candidate.genotype.stage_widths()
        steps = pruning_steps(self.candidate.pruning, full, self.context.target.channel_multiple)
        first, drop = steps[0].at, None
        score = self._score(network) if is_trained and len(steps) > 1 else None
        for number, step in enumerate(steps):
            share = (step.at - first) / (1 - first) if is_trained else step.at
            self._train(network, share * end, "dense" if number == 0 else "pruned")
            is_last = number == len(steps) - 1
            if self.candidate.pruning.schedule == "adaptive":
                after = self._score(network)
                drop, score = (None if score is None else score - after), after
                network = self._pruned(network, self._adapted(step, drop, is_last), is_last)
            else:
                network = self._pruned(network, step, is_last)
        return network

    def _adapted(self, step: PruningStep, drop: float | None, is_last: bool) -> PruningStep:
        """Return the step with the widths that the measured drop allows; the last one ends where the plan says."""
        if is_last:
            return step
        final = self.candidate.pruning.kept_widths
        multiple = self.context.target.channel_multiple
        return replace(step, kept_widths=next_step(self.widths, final, drop, channel_multiple=multiple))

    def _pruned(self, network: Deployable, step: PruningStep, is_last: bool) -> Deployable:
        plan: PruningPlan = self.candidate.pruning
        self.widths = step.kept_widths
        if network.group_widths() != network.groups_kept(step.kept_widths):
            network = prune_network(network, step.kept_widths, plan.criterion, self._evidence())
        if is_last:
            network = replace_layers(network, plan)
        if step.sparsity > 0:
            self.masks = sparsify(network, step.sparsity, plan.pattern)
        return network

    def _train(self, network: torch.nn.Module, until: float, phase: str, *, recalibrate: bool = True) -> None:
        """Train on to the share `until` of the cosine; nothing happens where that is reached."""
        if until <= self.done:
            return
        recipe = self.recipe
        schedule = Schedule(recipe.epochs, self.done, until, recipe.seconds, recipe.epochs_before)
        masks = self.masks
        self.curve += train(
            network, self.data, self.candidate.training, self.candidate.distillation, schedule, phase=phase,
            seed=self.seed, between_steps=self.give_way, recalibrate=recalibrate,
            after_step=lambda _progress: None if masks is None else masks.apply(),
        )  # fmt: skip
        self.done = until

    def _make_aware(self, network: Deployable) -> tuple[Deployable, Codes]:
        assert isinstance(network, Emitted), "only what we write ourselves can rehearse its graph"
        plan, sample = self.candidate.quantization, calibration_sample(self.recipe.split, self.context)
        aware = AwareNetwork(network, calibrate(network, sample, plan), plan, self.context.largest_code)
        self._train(aware, 1.0, "aware", recalibrate=False)
        return network, aware.codes()

    def _evidence(self) -> Evidence:
        rng = np.random.default_rng([self.context.seed, 0xE71D])
        split, validation = self.recipe.split, self.context.dataset.validation
        seen = rng.permutation(len(split))[:EVIDENCE_IMAGES]
        held = rng.permutation(len(validation))[:EVIDENCE_IMAGES]
        return Evidence(
            split.pixels[seen], split.labels[seen], validation.pixels[held], validation.labels[held], self.seed
        )

    def _score(self, network: Deployable) -> float:
        """Return the accuracy on a validation sample by torch: it sizes the next step and is shown nowhere."""
        evidence = self._evidence()
        answers = predict_logits(network, evidence.validation_pixels).argmax(axis=1)
        return float((answers == evidence.validation_labels).mean())


def calibration_sample(split: Split, context: EvaluationContext) -> np.ndarray:
    """Return a seeded sample of the training images for the ranges of activations."""
    rng = np.random.default_rng([context.seed, 0xCA11])
    return np.asarray(split.pixels[rng.permutation(len(split))[:CALIBRATION_IMAGES]])


def deployed_file(trained: Trained, candidate: Candidate, split: Split, context: EvaluationContext) -> bytes:
    """Return the deployable file of a trained network, with the codes that it learned or calibrated ones."""
    plan, codes = candidate.quantization, trained.codes
    if codes is None and 8 in plan.activation_bits and plan.activations == "static":
        codes = calibrate(trained.network, calibration_sample(split, context), plan)
    content = trained.network.write(plan, codes=codes, largest_code=context.largest_code, batch=context.batch)
    return as_deployed(content, candidate)


def table_lookup(logits: np.ndarray) -> SoftTargets:
    """Return soft targets out of `views x n x classes` logits."""
    return lambda view, indices: logits[view][indices]


def count_parameters(network: Deployable) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_multiply_adds(network: Deployable) -> int:
    """Return the multiply-adds of convolutions and linear layers for one sample."""
    total = 0

    def count(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        total += weight[0].numel() * output.numel()

    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.inference_mode():
            task = network.task
            network.eval()(torch.zeros((1, *task.input_shape), dtype=getattr(torch, task.element)))
    finally:
        for handle in handles:
            handle.remove()
    return total
