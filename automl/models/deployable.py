"""What every network of the platform can do, whoever brought it: train, lose channels, and become a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.models.number_formats import Codes
from automl.models.writer import Writer

INPUT = "pixels"
OUTPUT = "logits"


@dataclass(frozen=True)
class Task:
    """What a network is for: the shape of one raw sample, the classes, and the pixels' mean and deviation by channel.

    `input_shape` is (height, width) or (height, width, channels) of an image, or (length,) of a token sequence, where
    mean and deviation are empty, `element` is "int64" and token ids are below `vocabulary`.
    """

    input_shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    element: str = "uint8"
    vocabulary: int = 0

    @property
    def channels(self) -> int:
        """Return the number of image channels; grey images have no channel axis."""
        return self.input_shape[2] if len(self.input_shape) == 3 else 1


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter or buffer, made of `blocks` equal runs of the channels of coupled group `group`.

    Each channel of a run is `repeat` consecutive entries: a head of attention, counted as one, has several rows.
    """

    parameter: str
    axis: int
    group: str
    blocks: int
    repeat: int = 1


class Deployable(nn.Module):
    """A network over raw samples: `forward` maps `n x` raw samples to `n x classes` logits."""

    task: Task

    def write(self, plan: QuantizationPlan, *, codes: Codes | None, largest_code: int, batch: int) -> bytes:
        """Return the ONNX file: `batch x` raw samples in, `batch x classes` logits out.

        Args:
            plan: precision of each stage and how weights are coded.
            codes: calibrated; None writes nominal ones for timing: the same graph, not the same answers.
            largest_code: of 8-bit weights, 127, or 64 where the target's kernels saturate.
            batch: the static batch size.
        """
        raise NotImplementedError

    def observed(self, batch: int) -> tuple[bytes, tuple[str, ...]]:
        """Return the floating-point file that shows every site as an output of its name, and those names."""
        raise NotImplementedError

    def coupled_axes(self) -> Iterator[Axis]:
        """Yield every axis that must lose the same channels together."""
        raise NotImplementedError

    def group_widths(self) -> dict[str, int]:
        """Return the number of channels of each coupled group."""
        raise NotImplementedError

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return the channels that each coupled group keeps under a plan's `kept_widths`."""
        raise NotImplementedError

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Deployable:
        """Return a new network with the channels at these ascending indices of each group, weights and all."""
        raise NotImplementedError

    def stage_ends(self) -> tuple[str, ...]:
        """Return the names of the submodules whose outputs end the stages, first stage first."""
        raise NotImplementedError

    def droppable(self) -> tuple[str, ...]:
        """Return the names of the operations or layers that can be removed whole: `PruningPlan.dropped` takes them."""
        return ()

    def without(self, dropped: Sequence[str]) -> Deployable:
        """Return a new network that lacks these operations or layers, the other weights kept."""
        raise NotImplementedError

    def with_chains(self, chains: Mapping[str, Chain]) -> Deployable:
        """Return a new network in which the layer of each name is a chain of layers; its channels stay as they are."""
        raise NotImplementedError


class Chain(nn.Sequential):
    """Layers of one kind, convolutions or linear ones, that stand in for a single one, nothing between them."""


class Emitted(Deployable):
    """A network that writes its own graph, or has it rehearsed, through one `emit`."""

    def emit(self, writer: Writer, inputs: Any, precisions: Sequence[tuple[int, int]], batch: int) -> Any:
        """Tell `writer` the whole network over raw `inputs`; return its logits."""
        raise NotImplementedError

    def write(self, plan: QuantizationPlan, *, codes: Codes | None, largest_code: int, batch: int) -> bytes:
        """Return the ONNX file; see `Deployable.write`."""
        from automl.models.onnx_file import serialize_graph
        from automl.models.onnx_graph import GraphWriter

        writer = GraphWriter(codes, largest_code, plan)
        logits = self.emit(writer, INPUT, plan.pairs(), batch)
        shape = (batch, *self.task.input_shape)
        return serialize_graph(writer, input_name=INPUT, input_shape=shape, outputs={OUTPUT: logits}, output_rank=2)

    def observed(self, batch: int) -> tuple[bytes, tuple[str, ...]]:
        """Return the floating-point file that shows every site; see `Deployable.observed`."""
        from automl.models.onnx_file import serialize_graph
        from automl.models.onnx_graph import GraphWriter

        plan = QuantizationPlan((32,) * len(self.stage_ends()), (32,) * len(self.stage_ends()))
        writer = GraphWriter(None, 127, plan)
        self.emit(writer, INPUT, plan.pairs(), batch)
        shape = (batch, *self.task.input_shape)
        sites = dict(writer.sites)
        return serialize_graph(writer, input_name=INPUT, input_shape=shape, outputs=sites, output_rank=None), tuple(
            sites
        )
