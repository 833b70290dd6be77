"""Static post-training quantization: the ranges that the exported graph is written with, seen on training images."""

from __future__ import annotations

import numpy as np

from automl.models.deployable import INPUT, Codes, Deployable
from automl.models.number_formats import Range

CALIBRATION_BATCH = 32


def calibrate(network: Deployable, pixels: np.ndarray) -> Codes:
    """Return the smallest and largest value at every site of the graph over the given images.

    The ranges are read from the exported floating-point graph itself, run by ONNX Runtime: what is calibrated is
    what is deployed. Min-max keeps the worst case exact; on a small sample it beats clipping methods (Nagel et al.,
    "A White Paper on Neural Network Quantization", 2021, section 3.1.1).

    Args:
        network: trained.
        pixels: `n x h x w[ x c]` raw training images; whole batches of 32 are used, at least one.

    Raises:
        ValueError: with fewer images than one batch.
    """
    import onnxruntime

    if len(pixels) < CALIBRATION_BATCH:
        raise ValueError(f"calibration needs at least {CALIBRATION_BATCH} images, but got {len(pixels)}")
    file, sites = network.observed(CALIBRATION_BATCH)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    lows, highs = np.full(len(sites), np.inf), np.full(len(sites), -np.inf)
    for start in range(0, len(pixels) - CALIBRATION_BATCH + 1, CALIBRATION_BATCH):
        values = session.run(list(sites), {INPUT: pixels[start : start + CALIBRATION_BATCH]})
        lows = np.minimum(lows, [value.min() for value in values])
        highs = np.maximum(highs, [value.max() for value in values])
    return Codes({site: Range(float(low), float(high)) for site, low, high in zip(sites, lows, highs, strict=True)})
