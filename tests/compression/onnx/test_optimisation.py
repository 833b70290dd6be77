import numpy as np
import onnx
import onnxruntime
import pytest

from automl.compression.onnx.optimisation import PASSES, optimise, optimised, parse_model, random_feeds
from automl.compression.onnx.passes import remove_dead
from automl.errors import InputError
from tests.compression.onnx.graphs import graph
from tests.compression.onnx.networks import SmallCnn, kinds, network_file, samples


def answers(content: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": samples(SmallCnn, 1)})[0]


def test_optimise_cleans_an_exported_network_and_keeps_its_answers():
    content = network_file(SmallCnn, clean=False)
    cleaned, steps = optimise(content)
    assert {"BatchNormalization", "Constant"} <= set(kinds(content))
    assert not {"BatchNormalization", "Constant", "Dropout", "Identity"} & set(kinds(cleaned))
    np.testing.assert_allclose(answers(cleaned), answers(content), atol=1e-5)
    assert [step.name for step in steps] == list(PASSES)
    assert {step.name for step in steps if step.changed} == {"constants folded", "batch normalisation folded"}
    assert not any(step.undone for step in steps) and len(cleaned) < len(content)
    assert optimise(cleaned)[0] == cleaned == optimised(content)


def broken(model: onnx.ModelProto) -> onnx.ModelProto:
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    weight = next(one for one in wrong.graph.initializer if one.name == "classifier.bias")
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) + 0.01).astype(np.float32).tobytes()
    weight.name = "other"
    wrong.graph.node[-1].input[2] = "other"
    return wrong


def failing(model: onnx.ModelProto) -> onnx.ModelProto:
    raise KeyError("no such value")


@pytest.mark.parametrize(
    ("step", "reason"), [(broken, "outputs moved by 0.0083, over"), (failing, "it failed: 'no such value'")]
)
def test_optimise_undoes_a_step_that_changes_the_answers_or_fails(step, reason):
    content = network_file(SmallCnn)
    kept, (first, second) = optimise(content, {"bad": step, "dead": remove_dead})
    assert kept == content
    assert first.changed and first.undone.startswith(reason)
    assert not second.undone


def test_optimise_refuses_what_is_no_model():
    with pytest.raises(InputError, match="must be an ONNX model, but got bytes that cannot be read"):
        optimise(b"not a model at all")


def test_optimise_refuses_what_the_runtime_cannot_run():
    model = graph("g (float[1, 4] x) => (float[1, 4] y) { y = NoSuchOperator(x) }")
    with pytest.raises(InputError, match="must be one that ONNX Runtime can run"):
        optimise(model.SerializeToString())


def test_random_feeds_keep_to_the_vocabulary_of_an_embedding():
    model = graph(
        "g (int64[2, 50] ids, uint8[4, 4] p) => (float[2, 50, 3] y, float[4, 4] z) "
        "{ i = Cast<to = 6>(ids) y = Gather(table, i) z = Cast<to = 1>(p) }",
        table=np.zeros((7, 3), np.float32),
    )  # fmt: skip
    feeds = random_feeds(parse_model(model.SerializeToString()))
    assert feeds["ids"].max() == 6 and feeds["ids"].min() == 0
    assert feeds["p"].dtype == np.uint8 and feeds["p"].max() > 100
