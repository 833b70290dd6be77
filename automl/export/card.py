"""The model card: a bundle's figures in words, for the person who deploys it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automl.candidate import Candidate, Genotype, TrainingPlan
from automl.export.drawing import describe_stages
from automl.export.manifest import Manifest
from automl.export.methods import RUNTIMES, SIZE_ONLY, distillation_words, method_words
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
        f"Every figure is of `{manifest.model_name}` itself (SHA-256 `{manifest.model.sha256[:16]}...`), run by "
        f"{RUNTIMES.get(manifest.runtime, manifest.runtime)}, which serves it.",
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
    taught = "without a teacher" if candidate.distillation.alpha == 1.0 else distillation_words(candidate)
    drawn = "The cells" if isinstance(candidate.genotype, Genotype) else "The groups of channels"
    return [
        "## Network",
        f"![{drawn}](cell.svg)",
        "",
        f"{describe_stages(candidate)}.",
        f"Recipe: {taught}; {_training(candidate.training, manifest.epochs_trained)}.",
        *_size_only(candidate),
        *(f"This file was {note}." for note in manifest.notes),
        "",
    ]


def _size_only(candidate: Candidate) -> list[str]:
    """Return what to expect of a file that is stored coded: it is smaller on disk and computes as before."""
    if not any(SIZE_ONLY in words for words in method_words(candidate)):
        return []
    return ["The file is stored coded and its weights are restored at load: smaller on disk, not faster."]


def _training(plan: TrainingPlan, epochs: int) -> str:
    words = {name: value for name, value in {**vars(plan), "epochs": epochs}.items() if name != "optimizer"}
    return ", ".join([plan.optimizer, *(f"{name.replace('_', ' ')} {value:g}" for name, value in words.items())])


def _use(manifest: Manifest) -> list[str]:
    shape = " x ".join(map(str, manifest.input.shape))
    is_text = manifest.input.tokenizer is not None
    element, package, what = ("int64", "tokenizers", "TEXTS") if is_text else ("uint8", "pillow", "IMAGE")
    return [
        "## Use",
        f"Input `pixels`: {element}, {manifest.input.batch} x {shape}, 0 to {manifest.input.pixel_max}. "
        f"Output: {len(manifest.classes)} logits.",
        manifest.input.preprocessing,
        "",
        f"    pip install {manifest.runtime} numpy {package}",
        f"    python predict.py {what}...",
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
