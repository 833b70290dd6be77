"""Static post-training quantization: the ranges that the exported graph is written with, seen on training samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from automl.candidate import QuantizationPlan
from automl.compression.clipping import Histogram, least_error_range, percentile_range
from automl.errors import Fault, InputError, input_error
from automl.models.deployable import INPUT, Deployable, Task
from automl.models.number_formats import Codes, Range

CALIBRATION_BATCH = 32
CLIPPINGS: Mapping[str, Callable[[Histogram], Range]] = {"percentile": percentile_range, "mse": least_error_range}
CALIBRATIONS = ("min_max", *CLIPPINGS)

Values = Iterator[Sequence[np.ndarray]]  # of every site, batch by batch


def calibrate(network: Deployable, pixels: np.ndarray, plan: QuantizationPlan) -> Codes:
    """Return the range to code at every site of the graph, seen over the given samples.

    The values are read from the exported floating-point graph itself, run by ONNX Runtime: what is calibrated is
    what is deployed. `plan.calibration` is "min_max", which keeps the worst case exact, or one that clips: the samples
    are then run a second time, into a histogram of each site. See Nagel et al., "A White Paper on Neural Network
    Quantization" (2021), section 3.1.1.

    Args:
        network: trained.
        pixels: `n x` raw training samples; whole batches of 32 are used, at least one.
        plan: says how ranges are chosen.

    Raises:
        InputError: with samples of another shape or type than the network takes, with fewer than one batch, or where
            the network's values are not finite.
    """
    check_samples(network.task, pixels)
    if plan.calibration not in CALIBRATIONS:
        raise input_error("quantization.calibration", f"one of {CALIBRATIONS}", f'"{plan.calibration}"')
    run, sites = _observer(network)
    ranges = _extremes(run(pixels), sites)
    if plan.calibration == "min_max":
        return Codes(ranges)
    histograms = {site: Histogram(values.low, values.high) for site, values in ranges.items()}
    for batch in run(pixels):
        for site, values in zip(sites, batch, strict=True):
            histograms[site].add(values)
    clipped = CLIPPINGS[plan.calibration]
    return Codes({site: clipped(histogram) for site, histogram in histograms.items()})


def check_samples(task: Task, pixels: np.ndarray) -> None:
    """Refuse calibration samples that the network cannot take.

    Raises:
        InputError: with all faults.
    """
    faults = []
    if pixels.dtype != np.dtype(task.element):
        faults.append(Fault("calibration samples", f"of type {task.element}", str(pixels.dtype)))
    if pixels.shape[1:] != task.input_shape:
        faults.append(Fault("calibration samples", f"of shape n x {task.input_shape}", f"shape {pixels.shape}"))
    if len(pixels) < CALIBRATION_BATCH:
        faults.append(Fault("calibration samples", f"at least {CALIBRATION_BATCH}", str(len(pixels))))
    if faults:
        raise InputError(faults)


def _observer(network: Deployable) -> tuple[Callable[[np.ndarray], Values], tuple[str, ...]]:
    """Return what runs samples through the observed graph, and the names of its sites."""
    import onnxruntime

    file, sites = network.observed(CALIBRATION_BATCH)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(pixels: np.ndarray) -> Values:
        for start in range(0, len(pixels) - CALIBRATION_BATCH + 1, CALIBRATION_BATCH):
            yield session.run(list(sites), {INPUT: pixels[start : start + CALIBRATION_BATCH]})

    return run, sites


def _extremes(batches: Values, sites: Sequence[str]) -> dict[str, Range]:
    lows, highs = np.full(len(sites), np.inf), np.full(len(sites), -np.inf)
    for values in batches:
        lows = np.minimum(lows, [value.min() for value in values])
        highs = np.maximum(highs, [value.max() for value in values])
    for site, low, high in zip(sites, lows, highs, strict=True):
        if not np.isfinite([low, high]).all():
            remedy = "The network's weights have diverged: train it again with a smaller learning rate."
            raise input_error(f"the values at {site}", "finite on calibration samples", f"{low:g} to {high:g}", remedy)
    return {site: Range(float(low), float(high)) for site, low, high in zip(sites, lows, highs, strict=True)}
