"""How things are compressed: criterion, schedule, replacement, coding, calibration, teaching method, runtime.

Each becomes a dimension where the study lists more than one choice, and is a constant otherwise. The dimensions that
say how much (ratios, bits, alpha, temperature) are in the modules of their groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from automl.candidate import Candidate
from automl.combinations import TargetFacts, legal
from automl.space import Choice, Dimension

Settings = Mapping[str, tuple[Choice, ...]]  # name of a dimension -> its choices, one or more

# dimension: (section of the study, key, group, whether neighbouring choices are alike)
SETTINGS: Mapping[str, tuple[str, str, str, bool]] = {
    "criterion": ("pruning", "criteria", "pruning", False),
    "schedule": ("pruning", "schedules", "pruning", False),
    "drop": ("pruning", "drop", "pruning", False),
    "sparsity": ("pruning", "sparsities", "pruning", True),
    "pattern": ("pruning", "patterns", "pruning", False),
    "rank": ("pruning", "ranks", "pruning", True),
    "separable": ("pruning", "separable", "pruning", False),
    "weights": ("quantization", "weights", "quantization", False),
    "scales": ("quantization", "scales", "quantization", False),
    "activations": ("quantization", "activations", "quantization", False),
    "block": ("quantization", "blocks", "quantization", True),
    "calibration": ("quantization", "calibrations", "quantization", False),
    "quantization_training": ("quantization", "training", "quantization", False),
    "distillation_method": ("distillation", "methods", "distillation", False),
    "runtime": ("target", "runtimes", "quantization", False),
}
PLAIN_CHOICES: Mapping[str, Choice] = {
    "criterion": "l1", "schedule": "one_shot", "drop": "", "sparsity": 0.0, "pattern": "unstructured", "rank": 1.0,
    "separable": 0, "weights": "uniform", "scales": "channel", "activations": "static", "block": 0,
    "calibration": "min_max", "quantization_training": "none", "distillation_method": "response",
    "runtime": "onnxruntime",
}  # fmt: skip
PRUNING_FIELDS = {"criterion": "criterion", "schedule": "schedule", "pattern": "pattern"}
QUANTIZATION_FIELDS = {
    "weights": "weights", "scales": "scales", "activations": "activations", "calibration": "calibration",
    "quantization_training": "training",
}  # fmt: skip


def compression_settings(spec: Mapping[str, Any]) -> dict[str, tuple[Choice, ...]]:
    """Return the choices of each setting in a study as plain values; what an older study does not say is left out."""
    settings: dict[str, tuple[Choice, ...]] = {}
    for name, (section, key, _, is_ordered) in SETTINGS.items():
        given: Sequence[Any] = spec.get(section, {}).get(key, ())
        choices = tuple(int(choice) if isinstance(choice, bool) else choice for choice in given)
        if choices:
            settings[name] = tuple(sorted(set(choices))) if is_ordered else choices
    return settings


def compression_dimensions(settings: Settings) -> tuple[Dimension, ...]:
    """Return a dimension for every setting with more than one choice."""
    return tuple(
        Dimension(
            name,
            group,
            settings[name],
            ordered=is_ordered,
            plain=None if group == "distillation" else PLAIN_CHOICES[name],
        )
        for name, (_, _, group, is_ordered) in SETTINGS.items()
        if len(settings.get(name, ())) > 1
    )


@dataclass(frozen=True)
class CompressionDecoder:
    """Lays the settings over a candidate and takes it to the nearest legal combination; a value, and picklable."""

    settings: Settings = field(default_factory=dict)
    facts: TargetFacts = field(default_factory=TargetFacts)

    def __call__(self, candidate: Candidate, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate with what `choices`, else the settings, say."""
        return legal(self.asked(candidate, choices), self.facts)

    def asked(self, candidate: Candidate, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate as it was asked for, legal or not."""
        said = {name: given[0] for name, given in self.settings.items()}
        said |= {name: choice for name, choice in choices.items() if name in SETTINGS}
        pruning: dict[str, Any] = {PRUNING_FIELDS[name]: said[name] for name in PRUNING_FIELDS if name in said}
        if said.get("drop"):
            pruning["dropped"] = tuple(name.strip() for name in str(said["drop"]).split(","))
        for name, kind in (("sparsity", float), ("rank", float), ("separable", bool)):
            if name in said:
                pruning[name] = kind(said[name])
        quantization: dict[str, Any] = {
            QUANTIZATION_FIELDS[name]: said[name] for name in QUANTIZATION_FIELDS if name in said
        }
        if "block" in said:
            quantization["block"] = int(said["block"])
        method = str(said.get("distillation_method", candidate.distillation.method))
        return replace(
            candidate,
            pruning=replace(candidate.pruning, **pruning),
            quantization=replace(candidate.quantization, **quantization),
            distillation=replace(candidate.distillation, method=method),
            runtime=str(said.get("runtime", candidate.runtime)),
        )


def has_setting(candidate: Candidate, name: str, choice: Choice) -> bool:
    """Tell whether a candidate uses the choice of a setting (as a canonical candidate has only what acts)."""
    pruning, quantization = candidate.pruning, candidate.quantization
    found: Mapping[str, Choice | tuple[str, ...]] = {
        "drop": ",".join(pruning.dropped), "sparsity": pruning.sparsity, "rank": pruning.rank,
        "separable": int(pruning.separable), "block": quantization.block, "runtime": candidate.runtime,
        "distillation_method": candidate.distillation.method,
        **{name: getattr(pruning, field_name) for name, field_name in PRUNING_FIELDS.items()},
        **{name: getattr(quantization, field_name) for name, field_name in QUANTIZATION_FIELDS.items()},
    }  # fmt: skip
    return found[name] == choice or name in ("distillation_method", "drop")  # those act by alpha, and by name
