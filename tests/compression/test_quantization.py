import numpy as np
import pytest
import torch

from automl.compression.quantization import calibrate
from automl.models.network import build_network
from tests.models.architectures import GREY_TASK, candidate


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (count, 8, 8), dtype=np.uint8)


def test_calibrate_sees_the_range_of_the_input():
    network = build_network(candidate(), GREY_TASK, pruned=True).eval()
    ranges = calibrate(network, pixels(64)).ranges
    assert ranges["input"].low == pytest.approx((0 - 5) / 4)
    assert ranges["input"].high == pytest.approx((16 - 5) / 4)


def test_calibrate_sees_what_torch_computes_after_the_stem():
    network = build_network(candidate(), GREY_TASK, pruned=True).eval()
    images = pixels(32)
    with torch.inference_mode():
        x = (torch.from_numpy(images).float()[:, None] - network.mean) / network.deviation
        expected = network.stem(x)
    ranges = calibrate(network, images).ranges
    assert ranges["stem"].high == pytest.approx(float(expected.max()), rel=1e-4)
    assert ranges["stem"].low == 0.0


def test_calibrate_refuses_too_few_images():
    network = build_network(candidate(), GREY_TASK, pruned=True).eval()
    with pytest.raises(ValueError, match="at least 32 images, but got 5"):
        calibrate(network, pixels(5))
