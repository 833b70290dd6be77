"""Modules that torch exports, and ONNX files, as deployable networks."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.compression.onnx.report import node_kinds, runtime_graph
from automl.compression.opaque import OnnxFile, Opaque, export_module, module_path
from automl.compression.quantization import calibrate
from automl.errors import InputError
from automl.models.deployable import Chain, Task
from tests.compression.onnx.graphs import graph
from tests.compression.onnx.networks import SmallCnn, exported, lively, network_file

TASK = Task((16, 16, 3), 10, (127.0,) * 3, (60.0,) * 3)
TEXT = Task((12,), 4, (), (), element="int64", vocabulary=50)
FLOAT = QuantizationPlan((32,), (32,))


class RawCnn(nn.Module):
    """The small network over raw pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = lively(SmallCnn())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.net((pixels.float().permute(0, 3, 1, 2) - 127.0) / 60.0)


class TextLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(50, 16), nn.LSTM(16, 32, batch_first=True)
        self.classifier = nn.Linear(32, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.recurrent(self.embedding(ids))[0].mean(1))


class Branching(RawCnn):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = super().forward(pixels)
        return logits if int(pixels.sum()) == 0 else -logits


class Untraceable(RawCnn):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(super().forward(pixels) @ torch.ones(10, 10))


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def answers(content: bytes, given: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["pixels"]
    return session.run(["logits"], {"pixels": given})[0]


def opaque(stages: tuple[str, ...] = ()) -> Opaque:
    torch.manual_seed(0)
    return Opaque(RawCnn(), TASK, stages)


def test_opaque_file_answers_as_the_module():
    network = opaque().train()
    content = network.write(FLOAT, codes=None, largest_code=127, batch=4)
    assert network.training and network.module.training, "the export gives the mode back"
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(pixels(4))).numpy()
    np.testing.assert_allclose(answers(content, pixels(4)), expected, atol=1e-4)
    assert "BatchNormalization" not in node_kinds(onnx.load_from_string(content))


@pytest.mark.parametrize("calibration", ["min_max", "percentile", "mse"])
def test_opaque_network_is_calibrated_and_quantized_by_stage(calibration):
    network = opaque(("net.stem", "net.project", "net.classifier"))
    plan = QuantizationPlan((8, 32, 8), (8, 32, 8), calibration=calibration)
    codes = calibrate(network, pixels(64), plan)
    content = network.write(plan, codes=codes, largest_code=64, batch=64)
    found = node_kinds(runtime_graph(content, "all"))
    assert (found["QLinearConv"], found["Conv"], found["QGemm"]) == (2, 1, 1)
    expected = network(torch.from_numpy(pixels(64))).argmax(1).numpy()
    assert (answers(content, pixels(64)).argmax(1) == expected).mean() >= 0.95
    assert network.stage_ends() == ("module.net.stem", "module.net.project", "module.net.classifier")


def test_opaque_text_network_gets_dynamic_kernels():
    torch.manual_seed(0)
    network = Opaque(TextLstm(), TEXT)
    plan = QuantizationPlan((8,), (8,), activations="dynamic")
    content = network.write(plan, codes=None, largest_code=64, batch=8)
    assert node_kinds(runtime_graph(content, "all"))["DynamicQuantizeLSTM"] == 1
    ids = np.random.default_rng(0).integers(0, 50, (8, 12))
    with torch.no_grad():
        np.testing.assert_allclose(answers(content, ids), network(torch.from_numpy(ids)).numpy(), atol=0.02)


def test_opaque_layer_can_be_replaced_by_a_chain():
    network = opaque()
    chain = Chain(nn.Linear(16, 4, bias=False), nn.Linear(4, 10))
    replaced = network.with_chains({"module.net.classifier": chain})
    content = replaced.write(FLOAT, codes=None, largest_code=127, batch=1)
    kinds = node_kinds(onnx.load_from_string(content))
    assert kinds["MatMul"] == 1 and kinds["Gemm"] == 1
    assert isinstance(network.get_submodule("module.net.classifier"), nn.Linear)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Untraceable, "the model Untraceable must be traceable from uint8 .* exportable to ONNX, but got .*eigvals"),
        (Branching, "the model Branching must be traceable: .* but got answers that differ by"),
    ],
)
def test_module_that_cannot_be_traced_is_an_error_that_names_it(module, message):
    torch.manual_seed(0)
    with pytest.raises(InputError, match=message):
        Opaque(module(), TASK).write(FLOAT, codes=None, largest_code=127, batch=1)


def test_module_with_other_classes_is_an_error():
    network = Opaque(RawCnn(), Task((16, 16, 3), 7, (0.0,) * 3, (1.0,) * 3))
    with pytest.raises(InputError, match=r"the output of RawCnn must be logits of shape \(1, 7\), but got \(1, 10\)"):
        network.write(FLOAT, codes=None, largest_code=127, batch=1)


@pytest.mark.parametrize("call", ["narrowed", "without", "groups_kept"])
def test_opaque_network_refuses_to_lose_what_it_does_not_know(call):
    asked = {"narrowed": {"a": torch.arange(2)}, "without": ["a"], "groups_kept": (8,)}[call]
    with pytest.raises(InputError, match="its graph is not known"):
        getattr(opaque(), call)(asked)
    assert opaque().group_widths() == {} and list(opaque().coupled_axes()) == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/Relu_1", ""),
        ("/a/b/b.2/b.2.1/Conv", "a.b.2.1"),
        ("t4", ""),
    ],
)
def test_module_path_is_read_from_a_node_name(name, path):
    assert module_path(name) == path


@pytest.mark.parametrize("raw", [True, False])
def test_onnx_file_takes_raw_pixels_or_float_images(raw):
    reference = opaque()
    content = export_module(reference.module, TASK, 1) if raw else network_file(SmallCnn, clean=False)
    file = OnnxFile(content, TASK)
    given = torch.from_numpy(pixels(5))
    np.testing.assert_allclose(file(given).numpy(), reference(given).detach().numpy(), atol=1e-4)
    assert not file(given).requires_grad
    copied = copy.deepcopy(file)
    written = copied.write(FLOAT, codes=None, largest_code=127, batch=2)
    np.testing.assert_allclose(answers(written, pixels(2)), file(given[:2]).numpy(), atol=1e-5)


def test_onnx_file_is_calibrated_and_quantized():
    file = OnnxFile(network_file(SmallCnn, clean=False), TASK)
    plan = QuantizationPlan((8,), (8,))
    codes = calibrate(file, pixels(32), plan)
    content = file.write(plan, codes=codes, largest_code=64, batch=1)
    assert node_kinds(runtime_graph(content, "all"))["QLinearConv"] == 3
    with pytest.raises(InputError, match="calibration samples must be of shape"):
        calibrate(file, pixels(32)[:, :8], plan)


def test_onnx_file_without_a_static_batch_gets_one():
    model = graph("g (float[n, 3, 16, 16] x) => (float[n, 10] y) { f = Flatten(x) y = MatMul(f, w) }",
                  w=np.ones((768, 10), np.float32))  # fmt: skip
    file = OnnxFile(model.SerializeToString(), TASK)
    content = file.write(FLOAT, codes=None, largest_code=127, batch=3)
    assert onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert answers(content, pixels(3)).shape == (3, 10)


WEIGHT = np.ones((768, 10), np.float32)


@pytest.mark.parametrize(
    ("text", "constants", "message"),
    [
        ("g (float[1, 768] x, float[1, 768] z) => (float[1, 10] y) { s = Add(x, z) y = MatMul(s, w) }", {"w": WEIGHT},
         "must be a model with one input"),
        ("g (float[1, 768] x) => (float[1, 10] y) { y = MatMul(x, w) }", {"w": WEIGHT},
         r"input 'x' of the ONNX file must be uint8 n x \(16, 16, 3\), or float32 n x \(3, 16, 16\), but got float32"),
        ("g (float[1, 3, 16, 16] x) => (float[1, 7] y) { f = Flatten(x) y = MatMul(f, w) }", {"w": WEIGHT[:, :7]},
         r"must be float32 logits of shape \(1, 10\), but got float32 of shape \(1, 7\)"),
        ("g (float[1, 3, 16, 16] x) => (float[1, 10] y, float[1, 768] f) { f = Flatten(x) y = MatMul(f, w) }",
         {"w": WEIGHT}, "must be a model with one output, or one called"),
        ("g (float[4, 3, 16, 16] x) => (float[4, 10] y) { f = Reshape(x, s) y = MatMul(f, w) }",
         {"w": WEIGHT, "s": np.array([4, 768])}, "usable at batch 1, but got one of static batch 4"),
    ],
)  # fmt: skip
def test_onnx_file_of_another_task_is_an_error(text, constants, message):
    with pytest.raises(InputError, match=message):
        OnnxFile(graph(text, **constants).SerializeToString(), TASK)


def test_onnx_file_of_a_grey_image_gets_its_channel_axis():
    task = Task((16, 16), 10, (100.0,), (50.0,))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)).eval()
    file = OnnxFile(exported(net, (1, 1, 16, 16)), task)
    given = torch.from_numpy(pixels(3)[..., 0])
    with torch.no_grad():
        expected = net(((given.float() - 100) / 50)[:, None]).numpy()
    np.testing.assert_allclose(file(given).numpy(), expected, atol=1e-4)
