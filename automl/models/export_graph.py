"""A network as the bytes of its ONNX file, for timing before training and for deployment after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl.models.network import Network
from automl.models.number_formats import Range
from automl.models.onnx_graph import FLOAT, GraphWriter, serialize_graph

INPUT = "pixels"
OUTPUT = "logits"


def network_file(
    network: Network,
    precisions: Sequence[tuple[int, int]],
    *,
    ranges: Mapping[str, Range] | None,
    largest_code: int,
    batch: int = 1,
) -> bytes:
    """Return the deployable file: `batch x` raw pixels in, `batch x classes` logits out.

    Args:
        network: in evaluation mode or not; batch normalisation is folded from its running statistics.
        precisions: (weight bits, activation bits) by stage.
        ranges: calibrated ranges by site; None writes nominal ones for timing: the same graph, not the same answers.
        largest_code: of 8-bit weights, 127, or 64 where the target's kernels saturate.
        batch: the static batch size.
    """
    writer = GraphWriter(ranges, largest_code)
    logits = network.emit(writer, INPUT, precisions, batch)
    shape = (batch, *network.task.input_shape)
    return serialize_graph(writer, input_name=INPUT, input_shape=shape, outputs={OUTPUT: logits}, output_rank=2)


def observed_file(network: Network, batch: int) -> tuple[bytes, tuple[str, ...]]:
    """Return the floating-point file that shows every site as an output of its name, and those names."""
    writer = GraphWriter(None, 127)
    network.emit(writer, INPUT, [FLOAT] * 3, batch)
    shape = (batch, *network.task.input_shape)
    sites = dict(writer.sites)
    return serialize_graph(writer, input_name=INPUT, input_shape=shape, outputs=sites, output_rank=4), tuple(sites)
