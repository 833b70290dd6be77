import pytest

from automl.candidate import QuantizationPlan
from automl.compression.contents import graph_contents
from tests.models.architectures import network_file
from tests.models.test_network_file import network_for
from tests.models.written_network import WrittenNetwork


def test_graph_contents_of_an_integer_file_show_no_float_kernels():
    contents = graph_contents(network_file(network_for((8, 8)), [(8, 8)] * 3, codes=None, largest_code=64))
    assert contents.kernels["QLinearConv"] > 20
    assert "Conv" not in contents.kernels
    assert contents.float_islands == ()
    assert contents.integer_kernels > 0.7 * sum(contents.kernels.values())


def test_graph_contents_name_the_float_islands():
    content = WrittenNetwork().write(QuantizationPlan((8,) * 3, (8,) * 3), codes=None, largest_code=64, batch=1)
    assert sorted(graph_contents(content).float_islands) == [("Gelu",), ("HardSigmoid",), ("HardSigmoid", "Mul")]


def test_graph_contents_of_a_mixed_file_do_not_call_the_float_stage_an_island_at_the_end():
    contents = graph_contents(
        network_file(network_for((8, 8)), [(8, 8), (32, 32), (32, 32)], codes=None, largest_code=64)
    )
    assert contents.kernels["QLinearConv"] > 0
    assert contents.kernels["Conv"] > 0
    assert contents.float_islands == ()


def test_graph_contents_call_a_float_stage_between_integer_ones_an_island():
    contents = graph_contents(
        network_file(network_for((8, 8)), [(8, 8), (32, 32), (8, 8)], codes=None, largest_code=64)
    )
    assert len(contents.float_islands) >= 1
    assert any("Conv" in island or "FusedConv" in island for island in contents.float_islands)


@pytest.mark.parametrize(("bits", "kind"), [(4, "INT4"), (8, "INT8"), (16, "FLOAT16"), (32, "FLOAT")])
def test_graph_contents_count_the_stored_bytes_by_type(bits, kind):
    network = network_for((8, 8))
    count = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)
    contents = graph_contents(network_file(network, [(bits, 32)] * 3, codes=None, largest_code=64))
    assert count * bits / 8 <= contents.stored_bytes[kind] < 1.15 * count * bits / 8
    assert sum(contents.stored_bytes.values()) < contents.file_bytes
