import numpy as np
import pytest

from automl.compression.onnx.graph import opset_of
from automl.compression.onnx.rewriting import (
    at_least_opset,
    gemms_to_matmuls,
    matmuls_to_gemms,
    means_to_pools,
    plain_gemms,
)
from automl.errors import InputError
from tests.compression.onnx.graphs import assert_same_answers, graph, kinds_of

RANDOM = np.random.default_rng(0)
WEIGHT, BIAS = RANDOM.normal(size=(4, 6)).astype(np.float32), RANDOM.normal(size=6).astype(np.float32)


@pytest.mark.parametrize(("inputs", "after"), [("x, w, b", ["MatMul", "Add"]), ("x, w", ["MatMul"])])
def test_gemm_becomes_a_product_and_a_bias(inputs, after):
    model = graph(
        f"g (float[3, 4] x) => (float[3, 6] y) {{ y = Gemm<alpha = 2.0, beta = 0.5>({inputs}) }}", w=WEIGHT, b=BIAS
    )
    rewritten = gemms_to_matmuls(plain_gemms(model))
    assert kinds_of(rewritten) == after
    assert_same_answers(model, rewritten)


def test_product_and_bias_become_a_gemm():
    model = graph(
        "g (float[3, 4] x) => (float[3, 6] y) { a = MatMul(x, w) b2 = Add(b, a) r = Relu(b2) y = MatMul(r, u) }",
        w=WEIGHT, b=BIAS, u=RANDOM.normal(size=(6, 6)).astype(np.float32),
    )  # fmt: skip
    rewritten = matmuls_to_gemms(model)
    assert kinds_of(rewritten) == ["Gemm", "Relu", "Gemm"]
    assert_same_answers(model, rewritten)


def test_product_over_three_axes_stays():
    model = graph("g (float[2, 3, 4] x) => (float[2, 3, 6] y) { y = MatMul(x, w) }", w=WEIGHT)
    assert kinds_of(matmuls_to_gemms(model)) == ["MatMul"]


@pytest.mark.parametrize(("keeps", "after"), [(1, ["GlobalAveragePool"]), (0, ["GlobalAveragePool", "Flatten"])])
def test_spatial_mean_becomes_a_pool(keeps, after):
    shape = "1, 4, 1, 1" if keeps else "1, 4"
    model = graph(
        f"g (float[1, 4, 5, 5] x) => (float[{shape}] y) {{ y = ReduceMean<keepdims = {keeps}>(x, axes) }}",
        axes=np.array([-1, -2]),
    )
    rewritten = means_to_pools(model)
    assert kinds_of(rewritten) == after
    assert_same_answers(model, rewritten)


def test_older_operators_are_converted():
    model = graph("g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
    model.opset_import[0].version = 11
    assert opset_of(at_least_opset(model, 13)) == 13
    assert opset_of(at_least_opset(model, 9)) == 11


def test_operators_that_cannot_be_converted_are_an_error():
    model = graph("g (float[1, 4] x) => (float[1, 4] y) { y = NoSuchOperator(x) }")
    model.opset_import[0].version = 11
    with pytest.raises(InputError, match="opset 13 or convertible to it, but got opset 11"):
        at_least_opset(model, 13)
