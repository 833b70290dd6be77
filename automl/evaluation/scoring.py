"""Score and time a deployed file: the figures that go on the front."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from automl.candidate import Candidate
from automl.data.images import Split
from automl.evaluation.context import EvaluationContext
from automl.outcome import Gain, Measurement, Timing
from automl.targets.target import ONNX_RUNTIME

RESOLUTION = 0.01  # of a ratio: two files closer than this are equally fast
NO_GAIN = "no gain on this target"


def score_file(
    path: Path, artefact: str, split: Split, context: EvaluationContext, prefix: str = "",
    runtime: str = ONNX_RUNTIME,
) -> tuple[Measurement, Measurement]:  # fmt: skip
    """Return accuracy and balanced accuracy of the file on a split, run by the runtime that will serve it.

    `prefix` is put before the names ("test_"). The 95 % interval of accuracy is Wilson's (1927); that of balanced
    accuracy is normal, from the variance of each class' recall.
    """
    answers = context.target.load(path, runtime)(split.pixels).argmax(axis=1)
    right = answers == split.labels
    count = len(right)
    classes, sizes = np.unique(split.labels, return_counts=True)
    recalls = np.array([right[split.labels == label].mean() for label in classes])
    spread = 1.96 * math.sqrt(float((recalls * (1 - recalls) / sizes).sum())) / len(classes)
    balanced = float(recalls.mean())
    low, high = wilson_interval(int(right.sum()), count)

    def measurement(name: str, value: float, low: float, high: float) -> Measurement:
        device = context.target.fingerprint
        return Measurement(prefix + name, value, "measured", "top-1 of the file", low, high, count, device, artefact)

    return (
        measurement("accuracy", float(right.mean()), low, high),
        measurement("balanced_accuracy", balanced, max(balanced - spread, 0.0), min(balanced + spread, 1.0)),
    )


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share."""
    z = 1.959964
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def latency_measurement(timing: Timing) -> Measurement:
    """Return a timing as the measurement `latency_ms`."""
    low, high = (bound * timing.control_reference_ms for bound in (timing.control_ratio.low, timing.control_ratio.high))
    rounds = len(timing.samples_ms.get("candidate", ()))
    return Measurement(
        "latency_ms", timing.latency_ms, timing.kind, timing.protocol, low, high, rounds, timing.device, timing.artefact
    )


def gain_over_twin(
    candidate: Candidate, timing: Timing, size_bytes: int, twin_bytes: int | None, *, size_counts: bool
) -> Gain:
    """Return whether compression pays: faster, or smaller and not slower where size is an objective."""
    if not candidate.is_compressed() or twin_bytes is None:
        return Gain("uncompressed", None, None)
    ratio, size_ratio = timing.twin_ratio, size_bytes / twin_bytes
    if ratio is not None and ratio.high < 1.0:
        return Gain("faster", ratio, size_ratio)
    slower = ratio is None or ratio.low > 1.0 + RESOLUTION
    if size_counts and size_ratio < 1.0 and not slower:
        return Gain("smaller", ratio, size_ratio)
    return Gain(NO_GAIN, ratio, size_ratio)
