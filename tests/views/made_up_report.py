"""A report with made-up figures over the recorded fake study, for tests of the page alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from automl.candidate import DistillationPlan
from automl.data.dataset import Dataset, load_dataset
from automl.outcome import Epoch, Measured, Measurement
from automl.search.ablation import ROLES, variants
from automl.storage import Store
from automl.views.before_after import Subject
from automl.views.difference import Difference, difference
from automl.views.facts import study_facts
from automl.views.importance import Importance
from automl.views.report_facts import Ablation, Report
from automl.views.sensitivity import Level, Sensitivity
from tests.fake_study import fake_candidate, fake_measured

SHARES = {"architecture": 0.5, "pruning": 0.3, "quantization": 0.15, "distillation": 0.05, "training": 0.0}


def made_up_report(store: Store, name: str = "fake") -> Report:
    """Return a report with every section filled."""
    facts = study_facts(store, name)
    model = compressed_subject()
    twin = Subject("twin", 3, model.candidate.twin(), measured_like(model.candidate.twin(), 2))
    return Report(
        facts=facts,
        model=model,
        twin=twin,
        importances=tuple(Importance(name, 40, 0.6, SHARES) for name in facts.objectives),
        ablations=ablations_of(model),
        ablate_command=f"automl report {name} --ablate",
        sensitivity=made_up_sensitivity(),
        sensitivity_command=f"automl sensitivity {name}.yaml",
        difference=made_up_difference(),
    )


def compressed_subject() -> Subject:
    rng = np.random.default_rng(3)
    found = (fake_candidate(rng) for _ in range(100))
    candidate = next(one for one in found if one.is_pruned() and one.is_quantized())
    candidate = replace(candidate, distillation=DistillationPlan(0.7, 4.0))
    return Subject("finalist", 3, candidate, measured_like(candidate, 1))


def measured_like(candidate, seed: int) -> Measured:  # type: ignore[no-untyped-def]
    """Return made-up figures of a finalist, costs and a learning curve among them."""
    outcome = fake_measured(candidate, np.random.default_rng(seed), "test_")
    sha, count = outcome.artefact.sha256, 5000.0 * sum(candidate.pruning.kept_widths)
    costs = [("parameters", count), ("macs", 40 * count), ("peak_memory_bytes", 8e6 + count)]
    more = [Measurement(name, value, "measured", "made up", value, value, 1, "cpu:fake", sha) for name, value in costs]
    curve = tuple(Epoch("dense", epoch, 1.0, 1.0, 0.001, 2.5) for epoch in range(8))
    return replace(outcome, measurements=(*outcome.measurements, *more), curve=curve)


def ablations_of(model: Subject) -> tuple[Ablation, ...]:
    rows = []
    for index, one in enumerate(variants(model.candidate, None, "onnxruntime")):
        if one.candidate is None:
            rows.append(Ablation(one.group, one.role, None, one.reason))
        else:
            outcome = measured_like(one.candidate, 5 + index)
            rows.append(Ablation(one.group, one.role, Subject(ROLES[one.group], 3, one.candidate, outcome)))
    return tuple(rows)


def made_up_sensitivity() -> Sensitivity:
    levels = [
        Level("ratio", stage, level, 0.97 - 0.03 * stage * index - 0.01 * index, 0.9, 0.98)
        for stage in range(3)
        for index, level in enumerate(("0", "0.25", "0.5", "0.75"))
    ]
    levels += [
        Level("bits", stage, level, 0.97 - 0.01 * stage * index, 0.9, 0.98)
        for stage in range(3)
        for index, level in enumerate(("w32a32", "w8a8", "w4a32"))
    ]
    plain = Level("plain", 0, "", 0.97, 0.95, 0.98)
    entry = {"genotype": "residual", "prune_0": 0.5, "bits_0": "w8a8"}
    return Sensitivity("3 cells", 7, 360, "cpu:fake", "ONNX Runtime", plain, tuple(levels), entry, 0.01)


def digits() -> Dataset:
    return load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2)


def made_up_difference() -> Difference:
    """Return how answers differ where the twin has two samples of each class wrong, and the model three."""
    dataset = digits()
    twin, model = dataset.test.labels.copy(), dataset.test.labels.copy()
    for label in range(10):
        members = np.flatnonzero(dataset.test.labels == label)
        twin[members[:2]] = (label + 1) % 10
        model[members[1:4]] = (label + 3) % 10
    return difference(dataset, "test", twin, model)
