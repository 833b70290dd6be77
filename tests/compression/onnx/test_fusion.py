import numpy as np
import pytest

from automl.compression.onnx.fusion import fold_batch_normalisation, fuse_constant_arithmetic
from tests.compression.onnx.graphs import assert_same_answers, graph, kinds_of

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def statistics(channels: int) -> dict[str, np.ndarray]:
    return {"s": normal(channels), "b": normal(channels), "m": normal(channels), "v": np.abs(normal(channels)) + 0.5}


NORM = "BatchNormalization<epsilon = 0.001>"


@pytest.mark.parametrize(
    ("layer", "weight", "shapes"),
    [
        ("Conv<pads = [1, 1, 1, 1]>(x, w)", normal(6, 4, 3, 3), ("1, 4, 5, 5", "1, 6, 5, 5")),
        ("Conv<group = 2>(x, w, c)", normal(6, 2, 3, 3), ("1, 4, 5, 5", "1, 6, 3, 3")),
        ("ConvTranspose(x, w, c)", normal(4, 6, 2, 2), ("1, 4, 5, 5", "1, 6, 6, 6")),
        ("Gemm<alpha = 2.0, beta = 0.5>(x, w, c)", normal(4, 6), ("3, 4", "3, 6")),
        ("Gemm<transB = 1>(x, w)", normal(6, 4), ("3, 4", "3, 6")),
    ],
)
def test_batch_normalisation_folds_into_the_layer_before_it(layer, weight, shapes):
    model = graph(
        f"g (float[{shapes[0]}] x) => (float[{shapes[1]}] y) {{ a = {layer} y = {NORM}(a, s, b, m, v) }}",
        w=weight, c=normal(6), **statistics(6),
    )  # fmt: skip
    folded = fold_batch_normalisation(model)
    assert "BatchNormalization" not in kinds_of(folded)
    assert_same_answers(model, folded)


@pytest.mark.parametrize(
    ("layer", "weight", "shapes"),
    [
        ("Conv(a, w, c)", normal(6, 4, 3, 3), ("1, 4, 5, 5", "1, 6, 3, 3")),
        ("Conv<group = 2>(a, w)", normal(6, 2, 3, 3), ("1, 4, 5, 5", "1, 6, 3, 3")),
        ("Gemm<transB = 1>(a, w, c)", normal(6, 4), ("3, 4", "3, 6")),
        ("Gemm<alpha = 3.0>(a, w, c)", normal(4, 6), ("3, 4", "3, 6")),
    ],
)
def test_batch_normalisation_folds_into_the_layer_behind_it(layer, weight, shapes):
    model = graph(
        f"g (float[{shapes[0]}] x) => (float[{shapes[1]}] y) {{ a = {NORM}(x, s, b, m, v) y = {layer} }}",
        w=weight, c=normal(6), **statistics(4),
    )  # fmt: skip
    folded = fold_batch_normalisation(model)
    assert "BatchNormalization" not in kinds_of(folded)
    assert_same_answers(model, folded)


@pytest.mark.parametrize(
    "body",
    [
        f"a = {NORM}(x, s, b, m, v) y = Conv<pads = [1, 1, 1, 1]>(a, w)",  # the padding would have to be shifted
        f"a = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(a) t = {NORM}(a, s, b, m, v) y = Add(r, t)",  # two readers
    ],
)
def test_batch_normalisation_stays_where_folding_is_not_sound(body):
    model = graph(
        f"g (float[1, 4, 5, 5] x) => (float[1, 4, 5, 5] y) {{ {body} }}", w=normal(4, 4, 3, 3), **statistics(4)
    )
    assert "BatchNormalization" in kinds_of(fold_batch_normalisation(model))


def test_batch_normalisation_leaves_a_shared_weight_to_the_other_layer():
    model = graph(
        f"""g (float[1, 4, 5, 5] x) => (float[1, 4, 5, 5] y) {{
            a = Conv<pads = [1, 1, 1, 1]>(x, w) n = {NORM}(a, s, b, m, v) y = Conv<pads = [1, 1, 1, 1]>(n, w) }}""",
        w=normal(4, 4, 3, 3), **statistics(4),
    )  # fmt: skip
    folded = fold_batch_normalisation(model)
    assert kinds_of(folded) == ["Conv", "Conv"]
    assert_same_answers(model, folded)


@pytest.mark.parametrize(
    ("arithmetic", "constant"),
    [
        ("Add(a, k)", normal(1, 6, 1, 1)), ("Add(k, a)", normal(6, 1, 1)), ("Sub(a, k)", normal(1)),
        ("Sub(k, a)", normal(6, 1, 1)), ("Mul(a, k)", normal(6, 1, 1)), ("Div(a, k)", 1 + np.abs(normal(6, 1, 1))),
    ],
)  # fmt: skip
def test_arithmetic_by_constants_fuses_into_a_convolution(arithmetic, constant):
    model = graph(
        f"g (float[1, 4, 5, 5] x) => (float[1, 6, 3, 3] y) {{ a = Conv(x, w) y = {arithmetic} }}",
        w=normal(6, 4, 3, 3), k=constant,
    )  # fmt: skip
    fused = fuse_constant_arithmetic(model)
    assert kinds_of(fused) == ["Conv"]
    assert_same_answers(model, fused)


def test_arithmetic_by_constants_fuses_into_linear_layers():
    model = graph(
        """g (float[3, 4] x) => (float[3, 6] y) {
            a = Gemm(x, w, c) b = Mul(a, k) d = Add(b, k) e = MatMul(d, u) y = Div(e, k) }""",
        w=normal(4, 6), c=normal(6), k=1 + np.abs(normal(6)), u=normal(6, 6),
    )  # fmt: skip
    fused = fuse_constant_arithmetic(model)
    assert kinds_of(fused) == ["Gemm", "MatMul"]
    assert_same_answers(model, fused)


@pytest.mark.parametrize("shape", [(5,), (1, 1, 3, 1), (2, 6, 1, 1)])
def test_arithmetic_that_is_not_by_channel_stays(shape):
    model = graph(
        "g (float[1, 4, 5, 7] x) => (float[n, 6, 3, 5] y) { a = Conv(x, w) y = Add(a, k) }",
        w=normal(6, 4, 3, 3), k=normal(*shape),
    )  # fmt: skip
    assert "Add" in kinds_of(fuse_constant_arithmetic(model))
