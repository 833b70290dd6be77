import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.models.number_formats import (
    Range,
    activation_code,
    bias_code,
    largest_code_of_layer,
    smallest_weight_scale,
    weight_code,
    weight_code_at,
)
from automl.models.onnx_file import packed_nibbles


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_activation_code_represents_zero_exactly_and_covers_the_range(a, b):
    code = activation_code(Range(min(a, b), max(a, b)))
    low, high = ((k - float(code.zero_point)) * float(code.scale) for k in (0, 255))
    slack = 0.51 * float(code.scale) + 1e-6
    assert code.scale > 0
    assert low <= min(a, b, 0) + slack
    assert high >= max(a, b, 0) - slack


def test_activation_code_of_an_empty_range_has_a_scale_of_one():
    assert activation_code(Range(0.0, 0.0)).scale == 1.0


@pytest.mark.parametrize(("bits", "largest", "worst"), [(8, 127, 0.005), (8, 63, 0.009), (4, 7, 0.12)])
def test_weight_code_restores_weights_within_its_step(bits, largest, worst):
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)
    code = weight_code(weight, bits, largest)
    restored = code.codes * code.scales[:, None, None, None]
    assert np.abs(code.codes).max() <= largest
    assert ((restored - weight) ** 2).mean() ** 0.5 < worst * np.abs(weight).max()


def test_weight_code_at_four_bits_beats_scaling_to_the_peak():
    weight = np.random.default_rng(0).normal(size=(1, 400)).astype(np.float32)
    weight[0, 0] = 12.0  # an outlier
    code = weight_code(weight, 4, 7)
    peak = np.abs(weight).max() / 7
    naive = np.clip(np.rint(weight / peak), -7, 7) * peak
    assert ((code.codes * code.scales[:, None] - weight) ** 2).sum() < ((naive - weight) ** 2).sum()


def test_weight_code_of_dead_channels_is_zero_and_finite():
    code = weight_code(np.zeros((2, 3), np.float32), 8, 127)
    assert not code.codes.any()
    assert np.isfinite(code.scales).all()


def test_bias_code_never_overflows_even_where_weights_vanish():
    bias, scale = np.array([5.0, -3.0], np.float32), np.float32(0.01)
    code = weight_code(np.full((2, 3), 1e-12, np.float32), 8, 127, smallest_weight_scale(bias, scale))
    codes, scales = bias_code(bias, scale, code.scales)
    np.testing.assert_allclose(codes * scales, bias, rtol=1e-5)


def test_packed_nibbles_puts_the_first_code_in_the_low_half():
    assert packed_nibbles(np.array([1, -1, 7], np.int8)) == bytes([0xF1, 0x07])


@pytest.mark.parametrize("bits", [4, 8])
def test_weight_code_of_a_tensor_has_one_scale_and_a_larger_error(bits):
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(6, 40)) * np.geomspace(0.1, 1, 6)[:, None]).astype(np.float32)
    by_channel, by_tensor = (weight_code(weight, bits, 127, scales=scales) for scales in ("channel", "tensor"))
    errors = [((code.restored() - weight) ** 2).sum() for code in (by_channel, by_tensor)]
    assert by_tensor.scales.shape == ()
    assert errors[0] < errors[1]


def test_weight_code_of_a_tensor_keeps_every_bias_within_its_bounds():
    bias, scale = np.array([5.0, -3.0], np.float32), np.float32(0.01)
    smallest = smallest_weight_scale(bias, scale)
    code = weight_code(np.full((2, 3), 1e-12, np.float32), 8, 127, smallest, scales="tensor")
    codes, scales = bias_code(bias, scale, code.scales)
    np.testing.assert_allclose(codes * scales, bias, rtol=1e-5)


def test_weight_code_at_clips_to_the_given_scale():
    code = weight_code_at(np.array([[0.1, -9.0]], np.float32), np.array([0.05], np.float32), 8, 64)
    assert code.codes.tolist() == [[2, -64]]


@pytest.mark.parametrize(
    ("shape", "groups", "largest"), [((8, 4, 3, 3), 1, 64), ((8, 1, 3, 3), 8, 127), ((8, 2, 3, 3), 4, 64)]
)
def test_largest_code_of_layer_spares_depthwise_layers_only(shape, groups, largest):
    assert largest_code_of_layer(shape, groups, 64) == largest
