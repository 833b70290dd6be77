"""What each group of choices brings: the chosen candidate with one group set back to plain, trained and measured alike.

An ablation is a finalist under a role of its own ("without pruning"), so that it is done once and stays in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from automl.candidate import Candidate, DistillationPlan, Genotype, PruningPlan, QuantizationPlan
from automl.evaluation import FinishTask
from automl.outcome import Measured
from automl.search.executor import Completion
from automl.search.finalists import run_all
from automl.search.study_run import Bench
from automl.storage import FinalistRecord, Store

GROUPS = ("architecture", "pruning", "quantization", "distillation")
ROLES = {
    "architecture": "with the reference cell",
    "pruning": "without pruning",
    "quantization": "without quantization",
    "distillation": "without a teacher",
}


@dataclass(frozen=True)
class Variant:
    """The chosen candidate with one group set back to plain; no `candidate` where there is nothing to set back."""

    group: str
    role: str
    candidate: Candidate | None
    reason: str = ""


def variants(candidate: Candidate, reference: Genotype | None, float_runtime: str) -> tuple[Variant, ...]:
    """Return one variant for each of `GROUPS`.

    Args:
        candidate: the chosen one, canonical.
        reference: gives the plain cells, in place of the candidate's at the same depth and widths; None has none.
        float_runtime: in which the target's floating point is fastest.
    """
    made = (
        _with_reference_cells(candidate, reference),
        _unpruned(candidate),
        _in_floating_point(candidate, float_runtime),
        _untaught(candidate),
    )
    return tuple(
        Variant(group, ROLES[group], *((one.canonical(), "") if isinstance(one, Candidate) else (None, one)))
        for group, one in zip(GROUPS, made, strict=True)
    )


def _with_reference_cells(candidate: Candidate, reference: Genotype | None) -> Candidate | str:
    genotype = candidate.genotype
    if not isinstance(genotype, Genotype) or reference is None:
        return "the architecture is the user's own model"
    plain = replace(genotype, normal=reference.normal, reduction=reference.reduction)
    changed = replace(candidate, genotype=plain, pruning=replace(candidate.pruning, dropped=()))
    return "it has the reference cells already" if changed.canonical() == candidate else changed


def _unpruned(candidate: Candidate) -> Candidate | str:
    if not candidate.is_pruned():
        return "it is not pruned"
    return replace(candidate, pruning=PruningPlan(candidate.genotype.stage_widths()))


def _in_floating_point(candidate: Candidate, runtime: str) -> Candidate | str:
    if not candidate.is_quantized():
        return "it is not quantized"
    plain = (32,) * len(candidate.quantization.weight_bits)
    return replace(candidate, quantization=QuantizationPlan(plain, plain), runtime=runtime)


def _untaught(candidate: Candidate) -> Candidate | str:
    if candidate.distillation.alpha == 1.0:
        return "it has no teacher"
    return replace(candidate, distillation=DistillationPlan(1.0, 1.0))


def recorded(finalists: Sequence[FinalistRecord], candidate: Candidate) -> FinalistRecord | None:
    """Return the record of this very candidate, trained as a finalist under any role; None where there is none."""
    key = candidate.candidate_hash()
    return next((one for one in finalists if one.candidate.candidate_hash() == key), None)


def train_missing(store: Store, bench: Bench, trial: int, wanted: Sequence[tuple[str, Candidate]]) -> list[str]:
    """Train and measure, as finalists, the (role, candidate) that the record lacks; return what failed, in words.

    A candidate that stands in the record under another role was trained alike and is not trained again.
    """
    known = store.finalists(bench.study.id)
    missing = {role: candidate for role, candidate in wanted if recorded(known, candidate) is None}
    failures: list[str] = []

    def record(role: str, completion: Completion) -> None:
        if completion.error is not None:
            failures.append(f"{role}: {completion.error}")
            store.add_event(bench.study.id, "failed", f"The network {role} failed: {completion.error}", trial)
            return
        assert isinstance(completion.value, Measured)
        store.add_finalist(bench.study.id, role, trial, missing[role], completion.value)

    tasks = {role: FinishTask(candidate, "finalist") for role, candidate in missing.items()}
    run_all(bench.executor, tasks, bench.renew, record)
    return failures
