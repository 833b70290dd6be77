import numpy as np
import pytest

from automl.compression.onnx.passes import (
    fold_constants,
    merge_duplicate_initializers,
    merge_duplicate_nodes,
    remove_dead,
    remove_identities,
)
from tests.compression.onnx.graphs import assert_same_answers, graph, kinds_of

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(8, 8)).astype(np.float32)


def test_remove_identities_takes_out_what_returns_its_input():
    model = graph(
        """g (float[1, 8] x) => (float[1, 8] y) {
            a = Identity(x)  b, mask = Dropout(a)  c = Concat<axis = 1>(b)  d = Relu(c)  e = Transpose<perm = [0, 1]>(d)
            y = Identity(e) }"""
    )
    cleaned = remove_identities(model)
    assert kinds_of(cleaned) == ["Relu"]
    assert_same_answers(model, cleaned)


def test_remove_identities_keeps_dropout_that_trains():
    model = graph(
        "g (float[1, 8] x) => (float[1, 8] y) { a = Dropout(x, ratio, training) y = Relu(a) }",
        ratio=np.float32(0.5), training=np.bool_(True),
    )  # fmt: skip
    assert "Dropout" in kinds_of(remove_identities(model))


def test_remove_identities_keeps_the_name_of_an_output_that_is_an_input():
    model = graph("g (float[1, 8] x) => (float[1, 8] y) { y = Identity(x) }")
    assert kinds_of(remove_identities(model)) == ["Identity"]


def test_fold_constants_computes_shapes_and_arithmetic_once():
    model = graph(
        """g (float[2, 8] x) => (float[2, 8] y) {
            s = Shape(x)  i = Constant<value = int64 {0}>()  n = Gather<axis = 0>(s, i)  m = Mul(n, n)
            w = Sqrt(scale)  a = Mul(x, w)  f = Cast<to = 1>(m)  y = Add(a, f) }""",
        scale=np.arange(8, dtype=np.float32),
    )  # fmt: skip
    folded = fold_constants(model)
    assert kinds_of(folded) == ["Mul", "Add"]
    assert_same_answers(model, folded)


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_fold_constants_leaves_weights_that_are_stored_in_few_bits(kind):
    model = graph(
        "g (float[1, 8] x) => (float[1, 8] y) { w = Cast<to = 1>(codes) v = Mul(w, scale) y = MatMul(x, v) }",
        codes=(10 * WEIGHT).astype(kind), scale=np.float32(0.1),
    )  # fmt: skip
    assert kinds_of(fold_constants(model)) == kinds_of(model)


def test_fold_constants_does_not_blow_up_the_file():
    model = graph(
        "g (float[64, 64] x) => (float[64, 64] y) { big = Expand(one, shape) y = Add(x, big) }",
        one=np.float32(1), shape=np.array([64, 64]),
    )  # fmt: skip
    assert kinds_of(fold_constants(model)) == ["Expand", "Add"]


def test_merge_duplicate_nodes_computes_once():
    model = graph(
        """g (float[1, 8] x) => (float[1, 8] y) {
            a = Relu(x) b = Relu(x) c = Exp(a) d = Exp(b) e = LeakyRelu<alpha = 0.1>(x) f = LeakyRelu<alpha = 0.2>(x)
            g = Add(c, d) h = Add(e, f) y = Add(g, h) }"""
    )
    merged = merge_duplicate_nodes(model)
    assert sorted(kinds_of(merged)) == ["Add", "Add", "Add", "Exp", "LeakyRelu", "LeakyRelu", "Relu"]
    assert_same_answers(model, merged)


def test_merge_duplicate_nodes_keeps_random_ones_and_graph_outputs():
    model = graph(
        """g (float[1, 8] x) => (float[1, 8] y, float[1, 8] z) {
            a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b) z = Sub(a, b) }"""
    )
    assert kinds_of(merge_duplicate_nodes(model)) == kinds_of(model)


def test_merge_duplicate_initializers_stores_once():
    model = graph(
        "g (float[1, 8] x) => (float[1, 8] y) { a = MatMul(x, one) b = MatMul(a, two) y = MatMul(b, other) }",
        one=WEIGHT, two=WEIGHT.copy(), other=WEIGHT + 1,
    )  # fmt: skip
    merged = merge_duplicate_initializers(model)
    assert [tensor.name for tensor in merged.graph.initializer] == ["one", "other"]
    assert_same_answers(model, merged)


def test_remove_dead_takes_out_what_nobody_reads():
    model = graph(
        "g (float[1, 8] x) => (float[1, 8] y) { a = MatMul(x, dead) b = Relu(a) y = MatMul(x, alive) }",
        dead=WEIGHT, alive=WEIGHT, unused=WEIGHT,
    )  # fmt: skip
    cleaned = remove_dead(model)
    assert kinds_of(cleaned) == ["MatMul"]
    assert [tensor.name for tensor in cleaned.graph.initializer] == ["alive"]
    assert_same_answers(model, cleaned)


def test_passes_keep_what_a_nested_graph_reads():
    model = graph(
        """g (float[1, 8] x, bool c) => (float[1, 8] y) {
            a = Identity(x)
            y = If (c) <then_branch = t () => (float[1, 8] u) { u = MatMul(a, weight) },
                        else_branch = e () => (float[1, 8] v) { v = Relu(a) }> }""",
        weight=WEIGHT,
    )  # fmt: skip
    for apply in (remove_identities, fold_constants, merge_duplicate_nodes, merge_duplicate_initializers, remove_dead):
        assert_same_answers(model, apply(model))
