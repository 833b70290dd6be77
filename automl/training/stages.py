"""What a network holds where its stages end, pooled to a small grid: there teacher and student are compared.

Stage outputs differ in side and channels from network to network. The side is settled here, by average pooling; the
channels are settled by whoever compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from automl.models.deployable import Deployable

LARGEST_GRID = 4  # positions a side
FLOAT16_MAX = float(np.finfo(np.float16).max)


@contextmanager
def watched_stages(network: Deployable) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield what the ends of the stages put out in the latest forward pass, each `n x c x h x w`, first stage first.

    The mapping is empty until the first pass; gradients run through what it holds.
    """
    outputs: dict[str, torch.Tensor] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _inputs: object, output: object) -> None:
            outputs[name] = as_maps(output)

        return network.get_submodule(name).register_forward_hook(keep)

    handles = [watch(name) for name in dict.fromkeys(network.stage_ends())]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def as_maps(output: object) -> torch.Tensor:
    """Return a module's output as `n x c x h x w`.

    The first of several outputs counts. Tokens, `n x length x c`, become `n x c x length x 1`; vectors, `n x c`, become
    `n x c x 1 x 1`.
    """
    while isinstance(output, tuple | list):
        output = output[0]
    assert isinstance(output, torch.Tensor), "a stage ends in a tensor"
    x = output.float()
    if x.ndim == 3:
        x = x.transpose(1, 2)
    return x.reshape(*x.shape, *(1,) * (4 - x.ndim))


def pooled(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Return `n x c x h x w` averaged to `n x c x grid`."""
    return maps if maps.shape[2:] == grid else functional.adaptive_avg_pool2d(maps, grid)


def stage_features(
    network: Deployable, pixels: np.ndarray, grid: int = LARGEST_GRID, batch_size: int = 256
) -> tuple[np.ndarray, ...]:
    """Return what each stage holds of raw samples, `n x c x side x side` (float16), side at most `grid`.

    That is 2 x n x c x side^2 bytes a stage: 26 MB for three views of a thousand images of a cell network of 16
    channels.

    Args:
        network: in evaluation mode afterwards.
        pixels: `n x` raw samples.
        grid: the most positions a side.
        batch_size: samples at once.
    """
    parts: list[list[np.ndarray]] = []
    network.eval()
    with torch.inference_mode(), watched_stages(network) as outputs:
        for start in range(0, len(pixels), batch_size):
            network(torch.from_numpy(pixels[start : start + batch_size]))
            parts.append([_stored(maps, grid) for maps in outputs.values()])
    return tuple(np.concatenate(stage) for stage in zip(*parts, strict=True))


def _stored(maps: torch.Tensor, grid: int) -> np.ndarray:
    height, width = maps.shape[2:]
    small = pooled(maps, (min(grid, height), min(grid, width))).clamp(-FLOAT16_MAX, FLOAT16_MAX)
    return small.half().numpy()
