import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression.quantization import calibrate
from automl.errors import InputError
from automl.models.deployable import Task
from automl.models.network import Network, build_network
from tests.models.architectures import EVERY_OPERATION, GREY_TASK, candidate, network_file
from tests.models.written_network import WrittenNetwork

SHAPES = [(8, 8), (28, 28), (9, 11, 3)]
INT8 = QuantizationPlan((8,) * 3, (8,) * 3)


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
    """Return what ONNX Runtime really runs: each node's kind, attributes and inputs, constants by their shape.

    A value is named by how it is computed and the nodes are sorted, since the order of independent ones is no one's.
    """
    session_of(content, path)
    graph = onnx.load(path).graph
    names = {tensor.name: f"constant {tuple(tensor.dims)}" for tensor in graph.initializer}
    rows = []
    for node in graph.node:
        attributes = tuple(sorted(f"{a.name} {list(a.ints) or a.i or a.f or a.s}" for a in node.attribute))
        row = (node.op_type, attributes, tuple(names.get(name, name) for name in node.input))
        rows.append(row)
        for position, output in enumerate(node.output):
            names[output] = hashlib.sha256(repr((row, position)).encode()).hexdigest()[:12]
    return sorted(rows)


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
    ("precisions", "plan"),
    [
        ([(8, 8)] * 3, {}),
        ([(4, 8)] * 3, {}),
        ([(8, 8), (32, 32), (4, 32)], {}),
        ([(32, 32), (8, 8), (16, 32)], {}),
        ([(4, 8), (8, 8), (8, 32)], {"scales": "tensor"}),
        ([(4, 32), (8, 32), (3, 32)], {"weights": "codebook"}),
        ([(4, 32), (32, 32), (8, 32)], {"weights": "power_of_two", "scales": "tensor"}),
    ],
)
def test_nominal_and_calibrated_file_have_the_same_optimized_graph(precisions, plan, tmp_path):
    network = network_for((8, 8))
    codes = calibrate(network, images((8, 8), 64), INT8)
    untrained = build_network(candidate(), GREY_TASK, pruned=True)
    nominal = network_file(untrained, precisions, codes=None, largest_code=64, **plan)
    calibrated = network_file(network, precisions, codes=codes, largest_code=64, **plan)
    graph = optimized_graph(nominal, str(tmp_path / "nominal.onnx"))
    assert graph == optimized_graph(calibrated, str(tmp_path / "calibrated.onnx"))
    assert abs(len(nominal) - len(calibrated)) < 64


def test_int8_graph_runs_every_convolution_in_integers(tmp_path):
    network = network_for((28, 28))
    codes = calibrate(network, images((28, 28), 64), INT8)
    content = network_file(network, [(8, 8)] * 3, codes=codes, largest_code=64)
    kinds = [kind for kind, _, _ in optimized_graph(content, str(tmp_path / "optimized.onnx"))]
    convolutions = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv"]
    assert kinds.count("QLinearConv") == len(convolutions)
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(kinds)


@pytest.mark.parametrize(
    ("bits", "plan"),
    [
        (4, {}), (8, {}), (16, {}), (4, {"scales": "tensor"}), (4, {"weights": "codebook"}),
        (8, {"weights": "codebook", "scales": "tensor"}), (4, {"weights": "power_of_two"}),
    ],
)  # fmt: skip
def test_stored_weights_are_restored_when_the_session_is_made(bits, plan, tmp_path):
    network = network_for((8, 8))
    content = network_file(network, [(bits, 32)] * 3, codes=None, largest_code=127, **plan)
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
    codes = calibrate(network, pixels, INT8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).argmax(dim=1).numpy()
    content = network_file(network, [bits] * 3, codes=codes, largest_code=64, batch=64)
    answers = session_of(content).run(None, {"pixels": pixels})[0].argmax(axis=1)
    assert (answers == expected).mean() >= agreement


def test_one_scale_a_tensor_is_smaller_and_still_runs_in_integers(tmp_path):
    network = network_for((8, 8))
    codes = calibrate(network, images((8, 8), 64), INT8)
    by_channel, by_tensor = (
        network_file(network, [(8, 8)] * 3, codes=codes, largest_code=64, scales=scales)
        for scales in ("channel", "tensor")
    )
    kinds = [kind for kind, _, _ in optimized_graph(by_tensor, str(tmp_path / "tensor.onnx"))]
    assert len(by_tensor) < len(by_channel)
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(kinds)


@pytest.mark.parametrize("weights", ["codebook", "power_of_two"])
def test_stored_indices_answer_as_the_levels_that_they_stand_for(weights):
    network = network_for((8, 8))
    pixels = images((8, 8), 64)
    content = network_file(network, [(8, 32)] * 3, codes=None, largest_code=127, batch=64, weights=weights)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).argmax(dim=1).numpy()
    answers = session_of(content).run(None, {"pixels": pixels})[0].argmax(axis=1)
    assert (answers == expected).mean() >= {"codebook": 0.97, "power_of_two": 0.6}[weights]


def test_functions_that_integer_kernels_do_not_absorb_leave_the_convolutions_before_them_in_integers(tmp_path):
    network = WrittenNetwork()
    codes = calibrate(network, images((8, 8, 3), 64), INT8)
    nominal = optimized_graph(network.write(INT8, codes=None, largest_code=64, batch=1), str(tmp_path / "n.onnx"))
    graph = optimized_graph(network.write(INT8, codes=codes, largest_code=64, batch=1), str(tmp_path / "c.onnx"))
    kinds = [kind for kind, _, _ in graph]
    assert graph == nominal
    assert kinds.count("QLinearConv") == 5
    assert not {"Conv", "FusedConv", "Gemm", "Clip", "Relu"} & set(kinds)


def test_grouped_convolutions_keep_to_the_largest_code_and_depthwise_ones_do_not():
    network = WrittenNetwork()
    content = network.write(INT8, codes=None, largest_code=64, batch=1)
    graph = onnx.load_from_string(content).graph
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    largest = {array.shape: np.abs(array).max() for array in arrays if array.dtype == np.int8}
    assert largest[(16, 4, 3, 3)] == 64
    assert largest[(16, 1, 3, 3)] == 127


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"weights": "codebook"}, "multiply evenly spaced codes only"),
        ({"activations": "dynamic"}, "linear and recurrent layers only"),
        ({"block": 32}, "quantization.block must be 0"),
    ],
)
def test_write_refuses_what_the_graph_cannot_hold(plan, message):
    with pytest.raises(InputError, match=message):
        network_file(network_for((8, 8)), [(8, 8)] * 3, codes=None, largest_code=64, **plan)


def test_write_refuses_uniform_codes_of_three_bits():
    with pytest.raises(InputError, match=r"weight_bits must be one of \(4, 8, 16, 32\)"):
        network_file(network_for((8, 8)), [(3, 32)] * 3, codes=None, largest_code=64)
