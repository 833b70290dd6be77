"""A user's convolutional network that we write ourselves: normalised pixels, folded layers, bits by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from automl.errors import Fault, InputError
from automl.models.deployable import Emitted, Task
from automl.models.user.coupled import Coupled, Normalised, image_shape
from automl.models.user.emission import emit_steps
from automl.models.user.stages import check_stages, droppable_modules, find_stages, stage_ends, stage_of_steps
from automl.models.user.steps import read_steps
from automl.models.writer import Writer

PREFIX = "body.model."  # of the user's own names among the parameters and modules


class TracedModel(Coupled, Emitted):
    """A module of `n x channels x h x w` float images behind the normalisation of raw pixels.

    Args:
        module: the user's; taken as it is, not copied.
        task: image classification; its mean and deviation normalise the pixels.
        stages: the modules with which the stages begin; None finds them, see `automl.models.user.stages`.

    Raises:
        UntraceableError: naming every operation that cannot be written node by node.
        InputError: where `stages` names no parts of the module in order.
    """

    def __init__(self, module: nn.Module, task: Task, stages: Sequence[str] | None = None) -> None:
        super().__init__()
        self.task = task
        self.body = Normalised(module, task)
        self.steps = read_steps(module, image_shape(task))
        if stages is not None:
            check_stages(self.steps, stages)
        self.stage_starts = find_stages(self.steps) if stages is None else tuple(stages)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map raw pixels, `n x h x w` or `n x h x w x channels`, to `n x classes` logits."""
        return self.body(pixels)  # type: ignore[no-any-return]

    def own_module(self) -> nn.Module:
        """Return the user's module."""
        return self.body.model

    def own_prefix(self) -> str:
        """Return what stands before the user's names."""
        return PREFIX

    def around(self, module: nn.Module) -> TracedModel:
        """Return the network around another form of the user's module, with the same stages."""
        other = TracedModel(module, self.task)
        other.stage_starts = self.stage_starts
        other.body.mean, other.body.deviation = self.body.mean, self.body.deviation
        return other

    def emit(self, writer: Writer, inputs: Any, precisions: Sequence[tuple[int, int]], batch: int) -> Any:
        """Tell `writer` the whole network, each step in the precision of its stage; return the logits."""

        def image() -> Any:
            return writer.image(inputs, self.task.mean, self.task.deviation, (batch, *self.task.input_shape))

        layers = dict(self.own_module().named_modules())
        return emit_steps(writer, self.steps, layers, image, precisions, self._stages())

    def group_stages(self) -> dict[str, int]:
        """Return the stage of each coupled group: that of the first layer that produces it."""
        stages = self._stages()
        by_layer: dict[str, int] = {}
        for step in self.steps:
            for path in step.scope:
                by_layer.setdefault(path, stages[step.name])
        return {group.name: by_layer[group.name] for group in self.groups()}

    def stage_ends(self) -> tuple[str, ...]:
        """Return the modules whose outputs end the stages; the last one still gives a map where there is one."""
        ends = stage_ends(self.steps, self._stages(), len(self.stage_starts))
        return tuple(PREFIX + end for end in ends)

    def droppable(self) -> tuple[str, ...]:
        """Return the residual blocks around an identity shortcut, by the user's names."""
        return droppable_modules(self.steps)

    def without(self, dropped: Sequence[str]) -> TracedModel:
        """Return a new network in which these residual blocks are identities.

        Raises:
            InputError: naming each that is no such block.
        """
        known = self.droppable()
        faults = [
            Fault("pruning.drop", f"a residual block around an identity: {', '.join(known) or 'here is none'}", name)
            for name in dropped
            if self.own_name(name) not in known
        ]
        if faults:
            raise InputError(faults)
        return self.with_modules({name: nn.Identity() for name in dropped})

    def _stages(self) -> dict[str, int]:
        return stage_of_steps(self.steps, self.stage_starts)
