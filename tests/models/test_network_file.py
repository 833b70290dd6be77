import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from automl.compression.quantization import calibrate
from automl.models.deployable import Task
from automl.models.network import Network, build_network
from tests.models.architectures import EVERY_OPERATION, GREY_TASK, candidate, network_file

SHAPES = [(8, 8), (28, 28), (9, 11, 3)]


def network_for(shape: tuple[int, ...], operations: tuple[str, ...] = EVERY_OPERATION) -> Network:
    channels = shape[2] if len(shape) == 3 else 1
    torch.manual_seed(0)
    chosen = candidate(operations=operations)
    network = build_network(chosen, Task(shape, 10, (100.0,) * channels, (60.0,) * channels), pruned=True)
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not the initial ones
            network.train()(torch.randint(0, 256, (8, *shape)))
    return network.eval()


def session_of(content: bytes, optimized: str = "") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimized:
        options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def optimized_graph(content: bytes, path: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return what ONNX Runtime really runs: each node's kind, attributes and inputs, constants by their shape."""
    session_of(content, path)
    graph = onnx.load(path).graph
    names = {tensor.name: f"constant {tuple(tensor.dims)}" for tensor in graph.initializer}
    rows = []
    for node in graph.node:
        for output in node.output:
            names[output] = f"t{len(rows)}"
        attributes = tuple(sorted(f"{a.name} {list(a.ints) or a.i or a.f or a.s}" for a in node.attribute))
        rows.append((node.op_type, attributes, tuple(names.get(name, name) for name in node.input)))
    return rows


def images(shape: tuple[int, ...], count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_float_file_equals_torch(shape):
    network = network_for(shape)
    pixels = images(shape, 4)
    content = network_file(network, [(32, 32)] * 3, codes=None, largest_code=127, batch=4)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(session_of(content).run(None, {"pixels": pixels})[0], expected, atol=1e-5)


@pytest.mark.parametrize("operation", EVERY_OPERATION)
def test_every_operation_emits_what_torch_computes(operation):
    network = network_for((8, 8), (operation,) * 8)
    pixels = images((8, 8), 3)
    content = network_file(network, [(32, 32)] * 3, codes=None, largest_code=127, batch=3)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(session_of(content).run(None, {"pixels": pixels})[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "precisions", [[(8, 8)] * 3, [(4, 8)] * 3, [(8, 8), (32, 32), (4, 32)], [(32, 32), (8, 8), (16, 32)]]
)
def test_nominal_and_calibrated_file_have_the_same_optimized_graph(precisions, tmp_path):
    network = network_for((8, 8))
    codes = calibrate(network, images((8, 8), 64))
    untrained = build_network(candidate(), GREY_TASK, pruned=True)
    nominal = network_file(untrained, precisions, codes=None, largest_code=64)
    calibrated = network_file(network, precisions, codes=codes, largest_code=64)
    graph = optimized_graph(nominal, str(tmp_path / "nominal.onnx"))
    assert graph == optimized_graph(calibrated, str(tmp_path / "calibrated.onnx"))
    assert abs(len(nominal) - len(calibrated)) < 64


def test_int8_graph_runs_every_convolution_in_integers(tmp_path):
    network = network_for((28, 28))
    codes = calibrate(network, images((28, 28), 64))
    content = network_file(network, [(8, 8)] * 3, codes=codes, largest_code=64)
    kinds = [kind for kind, _, _ in optimized_graph(content, str(tmp_path / "optimized.onnx"))]
    convolutions = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv"]
    assert kinds.count("QLinearConv") == len(convolutions)
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(kinds)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_stored_weights_are_restored_when_the_session_is_made(bits, tmp_path):
    network = network_for((8, 8))
    content = network_file(network, [(bits, 32)] * 3, codes=None, largest_code=127)
    plain = network_file(network, [(32, 32)] * 3, codes=None, largest_code=127)
    graph = optimized_graph(content, str(tmp_path / "stored.onnx"))
    assert [kind for kind, _, _ in graph] == [
        kind for kind, _, _ in optimized_graph(plain, str(tmp_path / "plain.onnx"))
    ]
    assert len(content) < {4: 0.45, 8: 0.5, 16: 0.65}[bits] * len(plain)


@pytest.mark.parametrize(("bits", "agreement"), [((8, 8), 0.9), ((8, 32), 0.97), ((16, 32), 0.99), ((4, 32), 0.6)])
def test_quantized_file_mostly_answers_as_the_float_file(bits, agreement):
    network = network_for((8, 8))
    pixels = images((8, 8), 64)
    codes = calibrate(network, pixels)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).argmax(dim=1).numpy()
    content = network_file(network, [bits] * 3, codes=codes, largest_code=64, batch=64)
    answers = session_of(content).run(None, {"pixels": pixels})[0].argmax(axis=1)
    assert (answers == expected).mean() >= agreement
