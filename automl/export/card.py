"""The model card: a bundle's figures in words, for the person who deploys it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automl.candidate import TrainingPlan
from automl.export.drawing import describe_stages
from automl.export.manifest import Manifest
from automl.outcome import Measurement

FORMATS: Mapping[str, Callable[[float], str]] = {
    "ms": lambda value: f"{value:.4g} ms",
    "share": lambda value: f"{100 * value:.2f} %",
    "bytes": lambda value: f"{value:,.0f} bytes",
    "count": lambda value: f"{value:,.0f}",
}


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    return "\n".join([*_head(manifest), *_figures(manifest), *_network(manifest), *_use(manifest), *_limits(manifest)])


def show_value(name: str, value: float) -> str:
    """Return a measurement's value with its unit."""
    unit = "ms" if name.endswith("_ms") else "share" if name.endswith("accuracy") else None
    unit = unit if unit is not None else "bytes" if name.endswith("_bytes") else "count"
    return FORMATS[unit](value)


def _head(manifest: Manifest) -> list[str]:
    origin = manifest.origin
    source = f"trial {origin.trial}" if origin.trial is not None else "no single trial"
    trained = "retrained on all training data (a finalist)" if origin.role == "finalist" else "as the search left it"
    return [
        f"# {manifest.data.name}: a network for {len(manifest.classes)} classes",
        "",
        f"From study `{origin.study}` (seed {origin.seed}), {source}, {trained}.",
        f"Every figure is of `model.onnx` itself (SHA-256 `{manifest.model.sha256[:16]}...`), run by the runtime that "
        "serves it.",
        "",
    ]


def _figures(manifest: Manifest) -> list[str]:
    rows = ["## Figures", "| quantity | value | 95 % interval | kind | samples |", "| --- | --- | --- | --- | --- |"]
    rows += [_row(measurement) for measurement in manifest.measurements]
    control, ratio = manifest.control, manifest.control.ratio
    split = f"Accuracy is of the {manifest.data.split} split of {manifest.data.name}."
    latency = (
        f"Latency is {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f}) times that of `control.onnx` "
        f"({control.kind}, {control.reference_ms:.4g} ms), on {manifest.target.device}."
    )
    return [*rows, "", split, latency, _gain(manifest), ""]


def _row(measurement: Measurement) -> str:
    name = measurement.name
    exact = measurement.low == measurement.value == measurement.high
    interval = "exact" if exact else f"{show_value(name, measurement.low)} to {show_value(name, measurement.high)}"
    value = show_value(name, measurement.value)
    return f"| {name} | {value} | {interval} | {measurement.kind} | {measurement.samples} |"


def _gain(manifest: Manifest) -> str:
    gain = manifest.gain
    if gain.twin_ratio is None:
        return f"Against its uncompressed twin: {gain.verdict}."
    ratio = gain.twin_ratio
    size = "" if gain.size_ratio is None else f", {gain.size_ratio:.3f} times the bytes"
    return (
        f"Against its uncompressed twin: {gain.verdict}; {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) times "
        f"the latency{size}."
    )


def _network(manifest: Manifest) -> list[str]:
    candidate = manifest.candidate
    distillation = candidate.distillation
    taught = (
        "without a teacher"
        if distillation.alpha == 1.0
        else f"distilled at temperature {distillation.temperature:g}, alpha {distillation.alpha:g}"
    )
    return [
        "## Network",
        "![The cells](cell.svg)",
        "",
        f"{describe_stages(candidate)}.",
        f"Recipe: {taught}; {_training(candidate.training, manifest.epochs_trained)}.",
        *(f"This file was {note}." for note in manifest.notes),
        "",
    ]


def _training(plan: TrainingPlan, epochs: int) -> str:
    words = {name: value for name, value in {**vars(plan), "epochs": epochs}.items() if name != "optimizer"}
    return ", ".join([plan.optimizer, *(f"{name.replace('_', ' ')} {value:g}" for name, value in words.items())])


def _use(manifest: Manifest) -> list[str]:
    shape = " x ".join(map(str, manifest.input.shape))
    return [
        "## Use",
        f"Input `pixels`: uint8, {manifest.input.batch} x {shape}, 0 to {manifest.input.pixel_max}. "
        f"Output: {len(manifest.classes)} logits.",
        manifest.input.preprocessing,
        "",
        "    pip install onnxruntime numpy pillow",
        "    python predict.py IMAGE...",
        "",
        f"Classes: {', '.join(manifest.classes)}.",
        "",
        "`automl verify .` loads the data again, checks every hash, scores the file and times it against its control.",
        "",
    ]


def _limits(manifest: Manifest) -> list[str]:
    return [
        "## Limits",
        f"The accuracy holds for images like those of {manifest.data.name}; nothing was measured on others. "
        "The latency holds for the device above, one thread, the static batch. On another device, time it there.",
        "",
    ]
