import numpy as np
import pytest

from automl.candidate import QuantizationPlan
from automl.models.codebooks import codebook_of, kmeans_codebook, power_of_two_codebook
from automl.models.number_formats import weight_code

BITS = (2, 3, 4, 8)


def weights(shape: tuple[int, ...] = (16, 8, 3, 3)) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * rng.uniform(0.2, 2, (shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)


def error(restored: np.ndarray, weight: np.ndarray) -> float:
    return float(((restored - weight) ** 2).sum())


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (64, 128)])  # the larger one is clustered by its histogram
@pytest.mark.parametrize("scales", ["channel", "tensor"])
@pytest.mark.parametrize("bits", BITS)
def test_kmeans_codebook_is_closer_than_even_codes_of_the_same_bits(bits, scales, shape):
    weight = weights(shape)
    even = weight_code(weight, bits, 127, scales=scales)
    book = kmeans_codebook(weight, bits, scales)
    assert len(book.levels) == 2**bits
    assert error(book.restored(), weight) < error(even.restored(), weight)


@pytest.mark.parametrize("coded", [kmeans_codebook, power_of_two_codebook])
def test_codebook_error_falls_with_bits(coded):
    weight = weights()
    errors = [error(coded(weight, bits).restored(), weight) for bits in BITS]
    assert errors[0] > errors[1] > errors[2] >= errors[3]


@pytest.mark.parametrize("coded", [kmeans_codebook, power_of_two_codebook])
def test_codebook_keeps_zeros_zero(coded):
    weight = weights() * (np.random.default_rng(1).random((16, 8, 3, 3)) < 0.3)
    assert not coded(weight, 4).restored()[weight == 0].any()


@pytest.mark.parametrize("scales", ["channel", "tensor"])
def test_power_of_two_codebook_restores_powers_of_two_only(scales):
    restored = power_of_two_codebook(weights(), 4, scales).restored()
    mantissas, _ = np.frexp(restored[restored != 0])
    assert set(np.abs(mantissas)) == {0.5}


def test_power_of_two_codebook_takes_each_weight_to_the_nearest_level():
    book = power_of_two_codebook(weights(), 4, "tensor")
    levels = book.levels * book.scales
    nearest = levels[np.abs(weights()[..., None] - levels).argmin(axis=-1)]
    np.testing.assert_allclose(np.abs(book.restored() - weights()), np.abs(nearest - weights()))


@pytest.mark.parametrize("coded", [kmeans_codebook, power_of_two_codebook])
def test_codebook_of_dead_channels_is_zero(coded):
    assert not coded(np.zeros((4, 16), np.float32), 4).restored().any()


def test_codebook_of_few_weights_holds_them_exactly():
    weight = np.array([[0.5, -0.25, 1.0]], np.float32)
    np.testing.assert_allclose(kmeans_codebook(weight, 4).restored(), weight, rtol=1e-6)


def test_codebook_of_leaves_small_layers_and_uniform_plans_to_even_codes():
    plan = QuantizationPlan((4,), (32,), weights="codebook")
    assert codebook_of(weights((16, 1, 3, 3)), 4, plan) is None
    assert codebook_of(weights(), 4, plan) is not None
    assert codebook_of(weights(), 4, QuantizationPlan((4,), (32,))) is None
