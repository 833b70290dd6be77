"""Which methods combine on which target, and in which order: one table.

A combination that the table forbids is no part of a search space: a space is flat, so a point that names one stands for
the nearest legal candidate (`legal`). Asked for by name, it is refused with the reason (`objections`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from automl.candidate import Candidate, DistillationPlan, Genotype, PruningPlan
from automl.errors import Fault

ORDER = (
    "train unpruned",
    "remove channels, operations and layers; factorise and replace what stays",
    "train on, taught, zeros kept zero",
    "train quantization-aware",
    "calibrate and write the file",
    "pack the file where single zeros or few levels are to pay",
)


HALF = 0.5


@dataclass(frozen=True)
class TargetFacts:
    """What a target can do: (runtime, weight bits, activation bits) that it executes, and 2:4 sparse kernels."""

    formats: frozenset[tuple[str, int, int]] = field(default_factory=frozenset)
    has_sparse_kernel: bool = False

    def executes(self, runtime: str, pair: tuple[int, int]) -> bool:
        """Tell whether the runtime executes the pair here; a target without facts executes everything."""
        return not self.formats or (runtime, *pair) in self.formats


@dataclass(frozen=True)
class Rule:
    """A combination that must not be: when it is broken, why it is forbidden, and the nearest candidate without it."""

    what: str
    why: str
    is_broken: Callable[[Candidate, TargetFacts], bool]
    mend: Callable[[Candidate, TargetFacts], Candidate]


def kind_of(candidate: Candidate) -> str:
    """Return "cells", or how the user's model becomes a file: "traced", "opaque" or "onnx"."""
    return "cells" if isinstance(candidate.genotype, Genotype) else candidate.genotype.kind


def _coded_weights_beside_integers(candidate: Candidate, _facts: TargetFacts) -> bool:
    plan = candidate.quantization
    return plan.weights != "uniform" and any(bits < 16 and active != 32 for bits, active in plan.pairs())


def _float_activations(candidate: Candidate, _facts: TargetFacts) -> Candidate:
    plan = candidate.quantization
    bits = tuple(32 if width < 16 else active for width, active in plan.pairs())
    return replace(candidate, quantization=replace(plan, activation_bits=bits))


def _not_executed(candidate: Candidate, facts: TargetFacts) -> bool:
    return any(not facts.executes(candidate.runtime, pair) for pair in candidate.quantization.pairs())


def _executed(candidate: Candidate, facts: TargetFacts) -> Candidate:
    """Raise the bits of each stage to the runtime's nearest pair; every runtime executes floating point."""
    known = [pair for runtime, *pair in sorted(facts.formats) if runtime == candidate.runtime]

    def nearest(pair: tuple[int, int]) -> tuple[int, int]:
        if facts.executes(candidate.runtime, pair):
            return pair
        fitting = [tuple(one) for one in known if one[0] >= pair[0] and one[1] >= pair[1]]
        return min(fitting, key=sum, default=(32, 32))  # type: ignore[return-value]

    pairs = [nearest(pair) for pair in candidate.quantization.pairs()]
    weights, activations = (tuple(bits) for bits in zip(*pairs, strict=True))
    plan = replace(candidate.quantization, weight_bits=weights, activation_bits=activations)
    return replace(candidate, quantization=plan)


def _quantization(**values: Any) -> Callable[[Candidate, TargetFacts], Candidate]:
    return lambda candidate, _: replace(candidate, quantization=replace(candidate.quantization, **values))


def _pruning(**values: Any) -> Callable[[Candidate, TargetFacts], Candidate]:
    return lambda candidate, _: replace(candidate, pruning=replace(candidate.pruning, **values))


def _aware(candidate: Candidate) -> bool:
    return candidate.quantization.training != "none"


RULES: tuple[Rule, ...] = (
    Rule(
        "coded weights (codebook, power_of_two) with integer activations",
        "integer kernels multiply evenly spaced codes; looked-up levels are restored to floating point at load",
        _coded_weights_beside_integers,
        _float_activations,
    ),
    Rule(
        "the runtime and the bits of a stage",
        "the runtime has no kernel for these bits here, so they would be simulated in floating point",
        _not_executed,
        _executed,
    ),
    Rule(
        "sixteen-bit activations in some stages only",
        "the precision of computing is the whole file's",
        lambda candidate, _: 0 < candidate.quantization.activation_bits.count(16) < len(candidate.quantization.pairs()),
        lambda candidate, _: replace(
            candidate,
            quantization=replace(
                candidate.quantization,
                weight_bits=tuple(32 if w == 16 else w for w, _ in candidate.quantization.pairs()),
                activation_bits=tuple(32 if a == 16 else a for _, a in candidate.quantization.pairs()),
            ),
        ),
    ),
    Rule(
        "dynamic activation ranges in OpenVINO",
        "OpenVINO computes such layers in floating point here, so nothing would be integer but the label",
        lambda candidate, _: candidate.runtime == "openvino" and candidate.quantization.activations == "dynamic",
        lambda candidate, _: replace(candidate, runtime="onnxruntime"),
    ),
    Rule(
        "2:4 sparsity",
        "this target has no kernel for it, so the zeros would be multiplied",
        lambda candidate, facts: (
            candidate.pruning.sparsity > 0 and candidate.pruning.pattern == "2:4" and not facts.has_sparse_kernel
        ),
        _pruning(pattern="unstructured"),
    ),
    Rule(
        "dynamic activation ranges in a network of convolutions",
        "the runtime has dynamic kernels for linear and recurrent layers only",
        lambda candidate, _: (
            candidate.quantization.activations == "dynamic" and kind_of(candidate) in ("cells", "traced")
        ),
        _quantization(activations="static"),
    ),
    Rule(
        "quantization-aware training of a model whose graph is not written by us",
        "what the exported graph rounds is not known while it trains, so training would simulate another file",
        lambda candidate, _: _aware(candidate) and kind_of(candidate) in ("opaque", "onnx"),
        _quantization(training="none"),
    ),
    Rule(
        "quantization-aware training without integer activations",
        "nothing is rounded while it trains",
        lambda candidate, _: _aware(candidate) and 8 not in candidate.quantization.activation_bits,
        _quantization(training="none"),
    ),
    Rule(
        "coded weights in a model whose graph is not written by us",
        "the levels are written by our own graph writer",
        lambda candidate, _: candidate.quantization.weights != "uniform" and kind_of(candidate) in ("opaque", "onnx"),
        _quantization(weights="uniform"),
    ),
    Rule(
        "scales for blocks of weights in a network of convolutions",
        "the runtime has kernels with a scale a block for linear layers only",
        lambda candidate, _: candidate.quantization.block > 0 and kind_of(candidate) in ("cells", "traced"),
        _quantization(block=0),
    ),
    Rule(
        "scales for blocks of weights with static integer activations",
        "the runtime's block kernels take activations in floating point, or code them at every call",
        lambda candidate, _: (
            candidate.quantization.block > 0
            and candidate.quantization.activations == "static"
            and 8 in candidate.quantization.activation_bits
        ),
        _quantization(block=0),
    ),
    Rule(
        "2:4 sparsity of another share than a half",
        "two of every four weights are zero, no more and no fewer",
        lambda candidate, _: candidate.pruning.pattern == "2:4" and candidate.pruning.sparsity not in (0.0, HALF),
        _pruning(sparsity=HALF),
    ),
    Rule(
        "the channel statistics of batch normalisation in a model without it",
        "there is no scale to rank channels by",
        lambda candidate, _: candidate.pruning.criterion == "bn_scale" and kind_of(candidate) == "opaque",
        _pruning(criterion="l1"),
    ),
    Rule(
        "pruning or distilling a file",
        "an ONNX file has no weights that can be trained on; name the torch model that it came from",
        lambda candidate, _: (
            kind_of(candidate) == "onnx" and (candidate.is_pruned() or candidate.distillation.alpha < 1)
        ),
        lambda candidate, _: replace(
            candidate,
            pruning=PruningPlan(candidate.genotype.stage_widths()),
            distillation=DistillationPlan(1.0, 1.0),
        ),
    ),
)


def legal(candidate: Candidate, facts: TargetFacts) -> Candidate:
    """Return the candidate, or where a rule forbids it the nearest one that is allowed."""
    for rule in RULES:
        if rule.is_broken(candidate, facts):
            candidate = rule.mend(candidate, facts)
    return candidate


def objections(candidate: Candidate, facts: TargetFacts, where: str) -> list[Fault]:
    """Return a fault for each rule that the candidate breaks, saying why."""
    return [
        Fault(where, f"without {rule.what}", "both", f"{rule.why[0].upper()}{rule.why[1:]}.")
        for rule in RULES
        if rule.is_broken(candidate, facts)
    ]


def combination_rows() -> Sequence[tuple[str, str]]:
    """Return (what does not combine, why) of every rule, for documentation and `doctor`."""
    return [(rule.what, rule.why) for rule in RULES]
