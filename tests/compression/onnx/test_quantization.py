from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

from automl.candidate import QuantizationPlan
from automl.compression.contents import graph_contents
from automl.compression.onnx.quantization import observed_file, quantize_onnx
from automl.compression.onnx.report import node_kinds, runtime_graph
from automl.errors import InputError
from automl.models.deployable import Codes
from automl.models.number_formats import Range
from tests.compression.onnx.networks import SmallCnn, SmallMlp, SmallRecurrent, kinds, network_file, samples

BATCH = 32


def plan(weight: int, activation: int, **options: object) -> QuantizationPlan:
    return QuantizationPlan((weight,), (activation,), **options)


def run(content: bytes, pixels: np.ndarray, names: list[str] | None = None) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"]).run(names, {"pixels": pixels})


@cache
def seen_codes(content: bytes, network: type[nn.Module]) -> Codes:
    pixels = samples(network, BATCH, seed=1)
    file, sites = observed_file(content)
    values = zip(sites, run(file, pixels, list(sites)), strict=True)
    return Codes({site: Range(float(value.min()), float(value.max())) for site, value in values})


def quantized(network: type[nn.Module], wanted: QuantizationPlan, **settings: object) -> tuple[bytes, bytes]:
    content = network_file(network, BATCH, **settings)
    codes = seen_codes(content, network)
    return content, quantize_onnx(content, wanted, codes=codes, stage_of=lambda _: 0, largest_code=64)


def error(kind: type[nn.Module], content: bytes, other: bytes) -> float:
    """Return the largest difference of logits, of the largest logit."""
    expected, got = (run(one, samples(kind, BATCH))[0] for one in (content, other))
    return float(np.abs(expected - got).max() / np.abs(expected).max())


def runtime_kinds(content: bytes) -> dict[str, int]:
    return node_kinds(runtime_graph(content, "all"))


CASES = [
    (SmallCnn, plan(8, 8), {"QLinearConv": 3, "QLinearAdd": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1}, 0.03),
    (SmallCnn, plan(8, 8, scales="tensor"), {"QLinearConv": 3, "QGemm": 1}, 0.04),
    (SmallCnn, plan(4, 8), {"QLinearConv": 3, "QGemm": 1}, 0.1),
    (SmallMlp, plan(8, 8), {"QGemm": 3}, 0.06),
    (SmallMlp, plan(8, 8, activations="dynamic"), {"DynamicQuantizeMatMul": 3}, 0.06),
    (SmallMlp, plan(8, 8, activations="dynamic", scales="tensor"), {"DynamicQuantizeMatMul": 3}, 0.05),
    (SmallMlp, plan(4, 32, block=32), {"MatMulNBits": 3}, 0.2),
    (SmallMlp, plan(8, 32, block=32), {"MatMulNBits": 3}, 0.02),
    (SmallRecurrent, plan(8, 8, activations="dynamic"), {"DynamicQuantizeLSTM": 1, "DynamicQuantizeMatMul": 1}, 0.04),
    (SmallRecurrent, plan(8, 8, activations="dynamic", scales="tensor"), {"DynamicQuantizeLSTM": 1}, 0.05),
]


@pytest.mark.parametrize(("kind", "wanted", "kernels", "largest"), CASES)
def test_integer_kernels_run_and_answer_nearly_the_same(kind, wanted, kernels, largest):
    content, other = quantized(kind, wanted)
    found = runtime_kinds(other)
    assert {name: found.get(name) for name in kernels} == kernels
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "LSTM"} & set(found)
    assert 0 < error(kind, content, other) < largest


def test_static_graph_has_no_float_islands():
    _, other = quantized(SmallCnn, plan(8, 8))
    assert graph_contents(other).float_islands == ()
    assert not {"Relu", "Clip"} & set(kinds(other))


@pytest.mark.parametrize(("kind", "wanted", "kernels", "largest"), CASES)
def test_nominal_file_has_the_graph_of_the_calibrated_one(kind, wanted, kernels, largest):
    content, other = quantized(kind, wanted)
    nominal = quantize_onnx(content, wanted, codes=None, stage_of=lambda _: 0, largest_code=64)
    assert kinds(nominal) == kinds(other) and len(nominal) == len(other)
    assert runtime_kinds(nominal) == runtime_kinds(other)


@pytest.mark.parametrize(("bits", "size", "largest"), [(16, 0.6, 0.002), (8, 0.4, 0.02), (4, 0.25, 0.2)])
@pytest.mark.parametrize("kind", [SmallMlp, SmallRecurrent])
def test_stored_weights_are_small_and_restored_at_load(kind, bits, size, largest):
    content, other = quantized(kind, plan(bits, 32))
    plain = network_file(kind)
    small = quantize_onnx(plain, plan(bits, 32), codes=None, stage_of=lambda _: 0, largest_code=64)
    assert len(small) < size * len(plain) + 4000  # names, biases and the state that a recurrent layer starts from
    assert runtime_kinds(other) == runtime_kinds(content)
    assert 0 < error(kind, content, other) < largest


def test_gru_has_no_dynamic_kernel_and_is_stored():
    content, other = quantized(SmallRecurrent, plan(8, 8, activations="dynamic"), kind=nn.GRU)
    found = runtime_kinds(other)
    assert found["GRU"] == 1 and found["DynamicQuantizeMatMul"] == 1
    assert len(other) < 0.6 * len(content)


def test_bits_go_by_stage():
    content = network_file(SmallCnn, BATCH)
    codes = seen_codes(content, SmallCnn)
    stage_of = lambda name: 0 if name.startswith("/stem") else 1 if name.startswith("/block") else 2  # noqa: E731
    mixed = QuantizationPlan((32, 8, 32), (32, 8, 32))
    other = quantize_onnx(content, mixed, codes=codes, stage_of=stage_of, largest_code=64)
    found = runtime_kinds(other)
    assert found["QLinearConv"] == 1 and found["Conv"] == 2 and "QGemm" not in found
    assert 0 < error(SmallCnn, content, other) < 0.03


def test_largest_code_spares_depthwise_convolutions():
    _, other = quantized(SmallCnn, plan(8, 8))
    model = onnx.load_from_string(other)
    peaks = {
        tensor.name: int(np.abs(onnx.numpy_helper.to_array(tensor).astype(np.int16)).max())
        for tensor in model.graph.initializer
        if tensor.name.endswith("weight.codes")
    }
    assert max(peaks["stem.0.weight.codes"], peaks["project.weight.codes"], peaks["classifier.weight.codes"]) == 64
    assert peaks["block.0.weight.codes"] == 127


def test_float_plan_changes_nothing():
    content = network_file(SmallMlp)
    assert quantize_onnx(content, plan(32, 32), codes=None, stage_of=lambda _: 0, largest_code=127) == content


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (plan(4, 32, weights="codebook"), 'quantization.weights must be "uniform" for this model, but got "codebook"'),
        (plan(8, 8, training="lsq"), 'quantization.training must be "none"'),
        (plan(8, 16), r"must be \(32, 32\), .* in every stage, but got \(8, 16\)"),
        (plan(4, 32, block=48), "quantization.block must be 0 or a power of two from 16 up, but got 48"),
        (plan(4, 8, activations="dynamic"), "weight bits of a dynamic stage must be 8, but got 4"),
    ],
)
def test_plans_that_cannot_be_written_are_refused(wanted, message):
    with pytest.raises(InputError, match=message):
        quantize_onnx(network_file(SmallMlp), wanted, codes=None, stage_of=lambda _: 0, largest_code=127)


@pytest.mark.parametrize(("wanted", "message"), [
    (plan(8, 8), "must be one with a layer for it .* but got one of Relu"),
    (plan(8, 8, activations="dynamic"), "must be one with a MatMul, Gemm or LSTM in a stage of dynamic int8"),
])  # fmt: skip
def test_model_without_layers_is_refused(wanted, message):
    from tests.compression.onnx.graphs import graph

    content = graph("g (float[1, 8] x) => (float[1, 8] y) { y = Relu(x) }").SerializeToString()
    with pytest.raises(InputError, match=message):
        quantize_onnx(content, wanted, codes=None, stage_of=lambda _: 0, largest_code=127)


def test_calibration_of_another_graph_is_refused():
    codes = Codes({"another": Range(0.0, 1.0)})
    with pytest.raises(InputError, match=r"of this graph, whose site .* needs a range, but got none"):
        quantize_onnx(network_file(SmallMlp), plan(8, 8), codes=codes, stage_of=lambda _: 0, largest_code=127)
