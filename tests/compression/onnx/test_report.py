import numpy as np

from automl.candidate import QuantizationPlan
from automl.compression.onnx.optimisation import PASSES
from automl.compression.onnx.quantization import quantize_onnx
from automl.compression.onnx.report import AS_GIVEN, report_graph
from automl.outcome import Ratio
from tests.compression.onnx.graphs import graph
from tests.compression.onnx.networks import SmallCnn, network_file


def test_report_shows_every_step_and_times_only_what_changed():
    timed = []

    def latency(content: bytes, first: bytes) -> Ratio:
        timed.append(len(content))
        return Ratio(len(content) / len(first), 0.5, 1.5)

    report = report_graph(network_file(SmallCnn, clean=False), latency)
    assert [row.name for row in report.rows] == [AS_GIVEN, *PASSES]
    nodes = [row.facts.nodes for row in report.rows]
    assert nodes == sorted(nodes, reverse=True) and nodes[0] - nodes[-1] >= 4
    assert len(timed) == 2 and report.rows[0].latency is None and report.rows[-1].latency.value < 1
    assert {row.facts.multiply_adds for row in report.rows} == {report.rows[0].facts.multiply_adds}
    assert all(row.difference <= 1e-5 for row in report.rows)


def test_report_shows_what_the_runtime_makes_of_the_graph():
    content = network_file(SmallCnn)
    plan = QuantizationPlan((8,), (8,))
    quantized = quantize_onnx(content, plan, codes=None, stage_of=lambda _: 0, largest_code=64)
    floating, integer = report_graph(content), report_graph(quantized)
    assert list(floating.levels) == ["basic", "extended", "all"]
    assert "FusedConv" in floating.levels["extended"] and "FusedConv" not in floating.levels["basic"]
    assert integer.levels["all"]["QLinearConv"] == 3
    assert integer.float_islands == ()


def test_report_shows_what_computes_between_codes():
    model = graph(
        """g (float[1, 8] x) => (float[1, 8] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) e = Exp(d) f = Erf(e)
            r = QuantizeLinear(f, s, z) t = DequantizeLinear(r, s, z) y = Sqrt(t) }""",
        s=np.float32(0.1), z=np.uint8(0),
    )  # fmt: skip
    assert report_graph(model.SerializeToString()).float_islands == (("Exp", "Erf"),)
