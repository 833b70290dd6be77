"""A candidate's compression in words: its stages, and every method that differs from the plain way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from automl.candidate import Candidate, Genotype, PruningPlan, QuantizationPlan

SIZE_ONLY = "size only: restored at load"
CRITERIA: Mapping[str, str] = {
    "l1": "L1 norm",
    "l2": "L2 norm",
    "taylor": "first-order Taylor",
    "sensitivity": "measured loss change",
    "bn_scale": "batch-norm scale",
    "geometric_median": "geometric median",
    "learned": "learned mask",
    "random": "at random (a control)",
}
SCHEDULES: Mapping[str, str] = {
    "one_shot": "in one shot",
    "at_start": "before any training",
    "iterative": "in steps (iterative)",
    "gradual": "gradually while training (cubic)",
    "adaptive": "in adaptive steps",
}
CODINGS: Mapping[str, str] = {"codebook": "k-means codebook weights", "power_of_two": "power-of-two weights"}
CALIBRATIONS: Mapping[str, str] = {"percentile": "percentile", "mse": "mean squared error"}
AWARENESS: Mapping[str, str] = {
    "qat": "quantization-aware training",
    "lsq": "quantization-aware training, learned step sizes",
}
DISTILLATIONS: Mapping[str, str] = {
    "feature": "features of the stages",
    "relation": "relations between samples",
    "self": "self (no teacher)",
}
RUNTIMES: Mapping[str, str] = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class StageSummary:
    """What stands in a stage: its channels before and after pruning, over all of its `groups`, and its bits."""

    full: int
    kept: int
    groups: int
    pair: tuple[int, int]


def stage_summaries(candidate: Candidate) -> tuple[StageSummary, ...]:
    """Return one summary a stage: of a cell network its width, of a user's model the sum over the stage's groups."""
    architecture, kept, pairs = candidate.genotype, candidate.pruning.kept_widths, candidate.quantization.pairs()
    full = architecture.stage_widths()
    if isinstance(architecture, Genotype):
        return tuple(StageSummary(*row[:2], 1, row[2]) for row in zip(full, kept, pairs, strict=True))
    members = [
        [group for group, stage in enumerate(architecture.stages) if stage == index] for index in range(len(pairs))
    ]
    return tuple(
        StageSummary(sum(full[group] for group in groups), sum(kept[group] for group in groups), len(groups), pair)
        for groups, pair in zip(members, pairs, strict=True)
    )


def architecture_words(candidate: Candidate) -> str:
    """Return the architecture in a few words: "4 cells, 16 channels at the start", or the user's model by name."""
    architecture = candidate.genotype
    if isinstance(architecture, Genotype):
        return f"{architecture.cells} cells, {architecture.width} channels at the start"
    return f"{architecture.name}, {len(architecture.groups)} groups of channels"


def pruning_words(candidate: Candidate) -> list[str]:
    """Return what is removed and how besides the plain way: channels by their L1 norm in one shot."""
    plan = candidate.pruning
    words = []
    if candidate.loses_channels() and plan.criterion != "l1":
        words.append(f"channels by {CRITERIA.get(plan.criterion, plan.criterion)}")
    if candidate.is_pruned() and plan.schedule != "one_shot":
        words.append(SCHEDULES.get(plan.schedule, plan.schedule))
    if plan.dropped:
        words.append(f"without {', '.join(plan.dropped)}")
    if plan.rank < 1:
        words.append(f"factorised to {plan.rank:.0%} of the rank")
    if plan.separable:
        words.append("depthwise separable in place of dense")
    return words + _sparsity_words(plan)


def _sparsity_words(plan: PruningPlan) -> list[str]:
    if plan.sparsity == 0:
        return []
    label = f" ({SIZE_ONLY})" if plan.pattern == "unstructured" else ""
    return [f"{plan.sparsity:.0%} of the weights zero, {plan.pattern}{label}"]


def quantization_words(plan: QuantizationPlan) -> list[str]:
    """Return how codes and ranges are found where that differs from uniform codes with a scale a channel."""
    words = []
    if plan.weights != "uniform":
        words.append(f"{CODINGS.get(plan.weights, plan.weights)} ({SIZE_ONLY})")
    if plan.scales == "tensor":
        words.append("one scale a tensor")
    if plan.block:
        words.append(f"a scale for each {plan.block} weights")
    if plan.activations == "dynamic":
        words.append("dynamic ranges")
    if plan.calibration != "min_max":
        words.append(f"calibrated by {CALIBRATIONS.get(plan.calibration, plan.calibration)}")
    if plan.training != "none":
        words.append(AWARENESS.get(plan.training, plan.training))
    return words


def distillation_words(candidate: Candidate) -> str:
    """Return the weight of the labels, the temperature and the method, or that there is no teacher."""
    plan = candidate.distillation
    if plan.alpha == 1.0:
        return "not distilled (alpha 1)"
    method = "" if plan.method == "response" else f", {DISTILLATIONS.get(plan.method, plan.method)}"
    return f"distilled, alpha {plan.alpha:g}, temperature {plan.temperature:g}{method}"


def runtime_words(candidate: Candidate) -> str:
    """Return the runtime that serves the file where it is not ONNX Runtime, else nothing."""
    return "" if candidate.runtime == "onnxruntime" else RUNTIMES.get(candidate.runtime, candidate.runtime)


def method_words(candidate: Candidate) -> list[str]:
    """Return every method of pruning, quantization and serving that is not the plain one."""
    runtime = runtime_words(candidate)
    served = [f"served by {runtime}"] if runtime else []
    return [*pruning_words(candidate), *quantization_words(candidate.quantization), *served]
