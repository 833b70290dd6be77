"""Before and after: a compressed network's figures beside those of its uncompressed twin, each with its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automl.candidate import Candidate
from automl.outcome import Gain, Measured, Measurement
from automl.views.facts import Reading
from automl.views.hover import reading_words
from automl.views.wording import DASH, MINUS, TIMES, value_words

HASH_LETTERS = 8
POINTS = "accuracy"  # what changes by percentage points; everything else changes by a factor
UNTRAINED = "untrained twin"
ACCURACIES = {
    "test_accuracy": "Accuracy, test set",
    "test_balanced_accuracy": "Balanced accuracy, test set",
    "accuracy": "Accuracy, validation set",
    "balanced_accuracy": "Balanced accuracy, validation set",
}
LABELS = {
    "parameters": "Parameters",
    "size_bytes": "File size",
    "latency_ms": "Latency",
    "macs": "Multiply-adds",
    "nonzero_parameters": "Parameters other than zero",
    "peak_memory_bytes": "Peak memory when it runs",
    "training_seconds": "Training",
    "training_peak_bytes": "Peak memory of its training",
}
ORDER = (
    "parameters", "nonzero_parameters", "size_bytes", "latency_ms", *ACCURACIES, "macs", "peak_memory_bytes",
    "training_seconds", "training_peak_bytes",
)  # fmt: skip
OF_THE_TWIN = "twin_"  # before the names of what a network's record says of its untrained twin


@dataclass(frozen=True)
class Subject:
    """A trained network and its figures. `role` is that of its record ("finalist", "trial", "twin", "without pruning").

    `split` is what its accuracy is of, "test" or "validation".
    """

    role: str
    trial: int | None
    candidate: Candidate
    outcome: Measured

    @property
    def split(self) -> str:
        """Return "test" where the network was scored on the test set, else "validation"."""
        return "test" if measurement_of(self.outcome, "test_accuracy") is not None else "validation"

    @property
    def accuracy_name(self) -> str:
        """Return the name of its accuracy."""
        return "test_accuracy" if self.split == "test" else "accuracy"


@dataclass(frozen=True)
class FigureRow:
    """One quantity of both networks in words, how it changed, and how the figures came about."""

    name: str
    label: str
    twin: str
    model: str
    change: str
    origin: str


def figure_rows(model: Subject, twin: Subject | None) -> list[FigureRow]:
    """Return a row for each quantity that is known of the model.

    Without a trained twin, what does not depend on the weights is that of the untrained one, as the model's own record
    has it.
    """
    names = {**LABELS, **ACCURACIES}
    rows = []
    for name in ORDER:
        own = measurement_of(model.outcome, name)
        if own is not None:
            other = measurement_of(model.outcome if twin is None else twin.outcome, _name_in(twin, name))
            rows.append(_row(name, names[name], own, other, model.outcome.gain, twin is None))
    return rows


def _name_in(twin: Subject | None, name: str) -> str:
    return f"{OF_THE_TWIN}{name}" if twin is None else name


def measurement_of(outcome: Measured, name: str) -> Measurement | None:
    """Return the named figure, None where there is none; seconds of training are summed over the learning curve."""
    found = next((one for one in outcome.measurements if one.name == name), None)
    if found is not None or name != "training_seconds" or not outcome.curve:
        return found
    seconds = sum(epoch.seconds for epoch in outcome.curve)
    device, file = outcome.measurements[0].device, outcome.artefact.sha256
    how = f"sum of the training steps of {len(outcome.curve)} epochs"
    return Measurement(name, seconds, "measured", how, seconds, seconds, 1, device, file)


def reading_of(measurement: Measurement) -> Reading:
    """Return the figure for wording."""
    return Reading(measurement.value, measurement.low, measurement.high, measurement.kind, measurement.samples)


def figure_words(name: str, measurement: Measurement) -> str:
    """Return a figure with its interval in words."""
    if name == "training_seconds":
        return f"{measurement.value:.1f} s"
    words = reading_words(name, reading_of(measurement))
    return words.removesuffix(f", {measurement.kind}")


def _row(
    name: str, label: str, own: Measurement, other: Measurement | None, gain: Gain, is_untrained: bool
) -> FigureRow:
    label_of_twin = f" ({UNTRAINED})" if is_untrained else ""
    before = f"{figure_words(name, other)}{label_of_twin}" if other is not None else _untrained(name, own, gain)
    return FigureRow(name, label, before, figure_words(name, own), _change(name, own, other, gain), origin(own, other))


def _untrained(name: str, own: Measurement, gain: Gain) -> str:
    """Return the untrained twin's figure: latency and size do not depend on the weights, nothing else is known."""
    if name == "latency_ms" and gain.twin_ratio is not None:
        return f"{value_words(name, own.value / gain.twin_ratio.value)} ({UNTRAINED})"
    if name == "size_bytes" and gain.size_ratio is not None:
        return f"{value_words(name, own.value / gain.size_ratio)} ({UNTRAINED})"
    return DASH


def _change(name: str, own: Measurement, other: Measurement | None, gain: Gain) -> str:
    """Return the change in words; of the latency the ratio that was measured head to head, with its interval."""
    if name == "latency_ms" and gain.twin_ratio is not None:
        ratio = gain.twin_ratio
        return f"{TIMES}{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), head to head"
    if other is None:
        known = name == "size_bytes" and gain.size_ratio is not None
        return f"{TIMES}{gain.size_ratio:.3f}" if known else DASH
    return change_words(name, own.value, other.value)


def change_words(name: str, value: float, reference: float) -> str:
    """Return how `value` differs from `reference`: in points of accuracy, else as a factor."""
    if name.endswith(POINTS):
        points = 100 * (value - reference)
        sign = MINUS if points < 0 else "+"
        return "no change" if value == reference else f"{sign}{abs(points):.1f} points"
    return f"{TIMES}{value / reference:.3f}" if reference else DASH


def origin(own: Measurement, other: Measurement | None) -> str:
    """Return how a figure came about: kind, protocol, number of samples, and the files by their hashes."""
    samples = f", {own.samples} samples" if own.samples > 1 else ""
    files = [own.artefact[:HASH_LETTERS]] + ([] if other is None else [other.artefact[:HASH_LETTERS]])
    return f"{own.kind}: {own.protocol}{samples}; {'file' if len(files) == 1 else 'files'} {', '.join(files)}"


def device_words(subjects: Sequence[Subject]) -> str:
    """Return the devices that the figures were measured on."""
    devices = {one.device for subject in subjects for one in subject.outcome.measurements}
    return ", ".join(sorted(devices))
