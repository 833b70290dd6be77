import numpy as np
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression.clipping import Histogram, least_error_range, percentile_range, squared_error
from automl.compression.quantization import calibrate
from automl.errors import InputError
from automl.models.network import Network, build_network
from tests.models.architectures import GREY_TASK, candidate


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (count, 8, 8), dtype=np.uint8)


def plan(calibration: str = "min_max") -> QuantizationPlan:
    return QuantizationPlan((8,) * 3, (8,) * 3, calibration=calibration)


def network() -> Network:
    torch.manual_seed(0)
    return build_network(candidate(cells=2), GREY_TASK, pruned=True).eval()


def test_calibrate_sees_the_range_of_the_input():
    ranges = calibrate(network(), pixels(64), plan()).ranges
    assert ranges["input"].low == pytest.approx((0 - 5) / 4)
    assert ranges["input"].high == pytest.approx((16 - 5) / 4)


def test_calibrate_sees_what_torch_computes_after_the_stem():
    found, images = network(), pixels(32)
    with torch.inference_mode():
        x = (torch.from_numpy(images).float()[:, None] - found.mean) / found.deviation
        expected = found.stem(x)
    ranges = calibrate(found, images, plan()).ranges
    assert ranges["stem"].high == pytest.approx(float(expected.max()), rel=1e-4)
    assert ranges["stem"].low == 0.0


@pytest.mark.parametrize("calibration", ["percentile", "mse"])
def test_calibrate_clips_within_the_full_range_and_keeps_rectified_sites_at_zero(calibration):
    found, images = network(), pixels(96)
    full, clipped = (calibrate(found, images, plan(kind)).ranges for kind in ("min_max", calibration))
    assert clipped.keys() == full.keys()
    assert all(
        full[site].low - 1e-6 <= clipped[site].low <= clipped[site].high <= full[site].high + 1e-6 for site in full
    )
    assert any(clipped[site].high < 0.99 * full[site].high for site in full)
    assert clipped["stem"].low == 0.0


@pytest.mark.parametrize("calibration", ["min_max", "percentile", "mse"])
def test_calibrate_of_batches_equals_that_of_the_same_images_in_another_order(calibration):
    found, images = network(), pixels(96)
    one, other = (calibrate(found, order, plan(calibration)).ranges for order in (images, images[::-1].copy()))
    assert all(one[site].high == pytest.approx(other[site].high, rel=1e-3) for site in one)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (pixels(5), "calibration samples must be at least 32, but got 5"),
        (pixels(64).astype(np.float32), "must be of type uint8, but got float32"),
        (pixels(64)[:, :7], r"must be of shape n x \(8, 8\), but got shape \(64, 7, 8\)"),
    ],
)
def test_calibrate_refuses_samples_that_the_network_cannot_take(samples, message):
    with pytest.raises(InputError, match=message):
        calibrate(network(), samples, plan())


def test_calibrate_tells_all_that_is_wrong_with_the_samples_at_once():
    with pytest.raises(InputError) as caught:
        calibrate(network(), pixels(3)[:, :7].astype(np.float64), plan())
    assert len(caught.value.faults) == 3


def test_calibrate_refuses_a_calibration_that_it_does_not_know():
    with pytest.raises(InputError, match=r'one of .*percentile.*, but got "entropy"'):
        calibrate(network(), pixels(64), plan("entropy"))


def test_calibrate_refuses_a_network_whose_values_are_not_finite():
    found = network()
    with torch.no_grad():
        found.stem.norm.weight.fill_(float("inf"))
    with pytest.raises(InputError, match="must be finite on calibration samples"):
        calibrate(found, pixels(64), plan())


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram(float(values.min()), float(values.max()))
    for part in np.array_split(values, 3):
        histogram.add(part)
    return histogram


def with_outlier() -> np.ndarray:
    return np.append(np.random.default_rng(0).normal(size=100_000), 40.0).astype(np.float32)


def test_histogram_counts_every_value_and_zeros_at_zero():
    values = np.maximum(with_outlier(), 0)
    histogram = histogram_of(values)
    assert histogram.counts.sum() == len(values)
    assert histogram.points()[0] == 0.0
    assert histogram.counts[0] >= (values == 0).sum()


def test_percentile_range_leaves_a_single_outlier_out():
    found = percentile_range(histogram_of(with_outlier()))
    assert found.high == pytest.approx(np.quantile(with_outlier(), 0.9999), abs=0.05)
    assert found.low == pytest.approx(np.quantile(with_outlier(), 0.0001), abs=0.05)


def test_percentile_range_of_few_values_is_the_full_one():
    values = np.array([-1.0, 0.5, 2.0], np.float32)
    found = percentile_range(histogram_of(values))
    assert (found.low, found.high) == (-1.0, 2.0)


def test_least_error_range_loses_less_than_the_full_range_and_than_any_other_share():
    values = np.random.default_rng(0).standard_t(3, size=100_000).astype(np.float32)  # a long tail
    found, ones = least_error_range(histogram_of(values)), np.ones(len(values))
    full = squared_error(values, ones, float(values.min()), float(values.max()))
    chosen = squared_error(values, ones, found.low, found.high)
    assert chosen < 0.85 * full
    assert all(
        chosen <= 1.02 * squared_error(values, ones, found.low * share, found.high * share)
        for share in (0.7, 0.85, 1.2, 1.5)
    )


def test_least_error_range_of_evenly_spread_values_is_nearly_the_full_one():
    found = least_error_range(histogram_of(np.linspace(0, 1, 10_000, dtype=np.float32)))
    assert found.low == 0.0
    assert found.high >= 0.95
