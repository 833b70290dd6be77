"""Samples for users who have a model and no data: made from what its batch normalisation remembers, or by a generator.

Both return raw samples without labels. A student learns from what the model says of them, as from unlabelled data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from automl.errors import input_error
from automl.models.deployable import Deployable, Task
from automl.training.stages import watched_stages

STATISTICS_WEIGHT = 10.0
SMOOTHNESS_WEIGHT = 0.01  # of the total variation in deviations a pixel
INVERSION_BATCH, INVERSION_RATE = 256, 0.1
GENERATOR_BATCH, GENERATOR_RATE = 128, 5e-3
NOISE, CHANNELS = 64, 64  # of the generator
ACTIVATION_WEIGHT, BALANCE_WEIGHT = 0.1, 5.0  # Chen et al., section 4.1
LEAK = 0.1  # slope of the generator beyond the range of pixels: a gradient leads back
NEGLIGIBLE = 0.01  # of a layer's mean variance, added to each channel's: dead channels decide nothing


def invert_samples(network: Deployable, count: int, *, seed: int, steps: int = 200, highest: int = 255) -> np.ndarray:
    """Return raw samples that make the network feel at home, `count x h x w[ x c]` (uint8), classes in equal parts.

    Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion" (2020), eq. 3 and 4: noise is
    changed by gradient descent until the network gives it a class, is smooth, and has at every batch normalisation
    the mean and variance that the training data had.

    Args:
        network: trained; its weights stay as they are, it is left in evaluation mode.
        count: how many.
        seed: of the noise.
        steps: of Adam for each batch.
        highest: the largest value of a pixel.

    Raises:
        InputError: where it takes no images or has no batch normalisation.
    """
    _check(network, needs_norms=True)
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, count, INVERSION_BATCH):
        classes = torch.arange(start, min(start + INVERSION_BATCH, count)) % network.task.classes
        parts.append(_invert_batch(network, classes, rng, steps, highest))
    return np.concatenate(parts)


def _invert_batch(
    network: Deployable, classes: torch.Tensor, rng: torch.Generator, steps: int, highest: int
) -> np.ndarray:
    task = network.task
    mean, deviation = torch.tensor(task.mean), torch.tensor(task.deviation)
    if len(task.input_shape) == 2:
        mean, deviation = mean[0], deviation[0]
    low, high = (0 - mean) / deviation, (highest - mean) / deviation
    noise = torch.randn((len(classes), *task.input_shape), generator=rng).clamp(low, high).requires_grad_()
    optimizer = torch.optim.Adam([noise], lr=INVERSION_RATE)
    network.eval()
    with _watched_norms(network) as distances:
        for _ in range(steps):
            distances.clear()
            logits = network(noise * deviation + mean)
            loss = functional.cross_entropy(logits, classes) + STATISTICS_WEIGHT * torch.stack(distances).mean()
            (noise.grad,) = torch.autograd.grad(loss + SMOOTHNESS_WEIGHT * _total_variation(noise), [noise])
            optimizer.step()
            with torch.no_grad():
                noise.copy_(noise.clamp(low, high))
    return _as_raw(noise.detach() * deviation + mean, highest)


def norm_distance(network: Deployable, pixels: np.ndarray) -> float:
    """Return how far samples are from the network's training data, as its batch normalisation remembers them.

    The mean over layers and channels of the squared difference of means, relative to the variance, and of the squared
    relative difference of variances; 0 for a sample that is like the training data.

    Args:
        network: in evaluation mode afterwards.
        pixels: `n x` raw samples.
    """
    network.eval()
    with torch.no_grad(), _watched_norms(network) as distances:
        network(torch.from_numpy(pixels))
        return float(torch.stack(distances).mean())


@contextmanager
def _watched_norms(network: Deployable) -> Iterator[list[torch.Tensor]]:
    """Yield a list that each forward pass adds one distance a batch normalisation to."""
    distances: list[torch.Tensor] = []

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        distances.append(_statistics_distance(module, inputs[0]))

    handles = [norm.register_forward_pre_hook(watch) for norm in _norms(network)]
    try:
        yield distances
    finally:
        for handle in handles:
            handle.remove()


def _statistics_distance(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    assert norm.running_mean is not None and norm.running_var is not None
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    scale = norm.running_var + NEGLIGIBLE * norm.running_var.mean() + 1e-12
    return ((mean - norm.running_mean).square() / scale + ((variance - norm.running_var) / scale).square()).mean()


def _total_variation(images: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of neighbours of `n x h x w[ x c]`."""
    return (images[:, 1:] - images[:, :-1]).square().mean() + (images[:, :, 1:] - images[:, :, :-1]).square().mean()


class Generator(nn.Module):
    """Maps `n x 64` noise to raw samples of a task, `n x h x w[ x c]` in floating point, about 0 to `highest`."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, task: Task, highest: int) -> None:
        super().__init__()
        self.task, self.highest = task, highest
        self.height, self.width = task.input_shape[:2]
        self.start = (-(-self.height // 4), -(-self.width // 4))
        self.first = nn.Linear(NOISE, CHANNELS * self.start[0] * self.start[1])
        self.middle = nn.Sequential(
            nn.BatchNorm2d(CHANNELS), nn.Upsample(scale_factor=2),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(CHANNELS, CHANNELS // 2, 3, padding=1), nn.BatchNorm2d(CHANNELS // 2), nn.LeakyReLU(0.2),
            nn.Conv2d(CHANNELS // 2, task.channels, 3, padding=1), nn.BatchNorm2d(task.channels),
        )  # fmt: skip
        self.register_buffer("mean", torch.tensor(task.mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(task.deviation)[:, None, None])

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Map `n x 64` to raw samples."""
        x: torch.Tensor = self.middle(self.first(noise).reshape(-1, CHANNELS, *self.start))[
            :, :, : self.height, : self.width
        ]
        x = x * self.deviation + self.mean  # so that it begins where the network's pixels lie
        x = LEAK * x + (1 - LEAK) * x.clamp(0, self.highest)
        return x[:, 0] if len(self.task.input_shape) == 2 else x.permute(0, 2, 3, 1)


def train_generator(network: Deployable, *, seed: int, steps: int = 200, highest: int = 255) -> Generator:
    """Return a generator whose samples the network recognises.

    Chen et al., "Data-Free Learning of Student Networks" (2019), eq. 6: each sample shall belong to one class for sure
    and excite the last stage, all of them together shall belong to every class alike; where there is batch
    normalisation its statistics shall be those of the training data as well.

    Args:
        network: trained; its weights stay as they are, it is left in evaluation mode.
        seed: of the generator's weights and noise.
        steps: of Adam.
        highest: the largest value of a pixel.

    Raises:
        InputError: where it takes no images.
    """
    _check(network, needs_norms=False)
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(network.task, highest).train()
    optimizer = torch.optim.Adam(generator.parameters(), lr=GENERATOR_RATE)
    parameters = list(generator.parameters())
    network.eval()
    with _watched_norms(network) as distances, watched_stages(network) as stages:
        for _ in range(steps):
            distances.clear()
            logits = network(generator(torch.randn((GENERATOR_BATCH, NOISE), generator=rng)))
            last = list(stages.values())[-1]
            loss = _recognition_loss(logits, last)
            if distances:
                loss = loss + STATISTICS_WEIGHT * torch.stack(distances).mean()
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()
    return generator.eval()


def _recognition_loss(logits: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return one-hot loss, activation loss and information entropy loss, weighted as in the paper."""
    certain = functional.cross_entropy(logits, logits.argmax(dim=1))
    shares = torch.softmax(logits, dim=1).mean(dim=0)
    balance = (shares * shares.clamp_min(1e-12).log()).sum()
    return certain - ACTIVATION_WEIGHT * last.abs().mean() + BALANCE_WEIGHT * balance


def generate_samples(generator: Generator, count: int, *, seed: int) -> np.ndarray:
    """Return raw samples of the generator, `count x h x w[ x c]` (uint8)."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    with torch.inference_mode():
        for start in range(0, count, GENERATOR_BATCH):
            noise = torch.randn((min(GENERATOR_BATCH, count - start), NOISE), generator=rng)
            parts.append(_as_raw(generator.eval()(noise), generator.highest))
    return np.concatenate(parts)


def _as_raw(pixels: torch.Tensor, highest: int) -> np.ndarray:
    return np.asarray(pixels.round().clamp(0, highest).numpy(), dtype=np.uint8)


def _norms(network: Deployable) -> list[nn.BatchNorm2d]:
    found = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return [norm for norm in found if norm.running_mean is not None]


def _check(network: Deployable, *, needs_norms: bool) -> None:
    if network.task.element != "uint8":
        remedy = "Give real samples without labels: distillation.unlabelled."
        raise input_error("distillation.data", "real for a model that takes no images", "invented samples", remedy)
    if needs_norms and not _norms(network):
        expected = "generated or real for a model without batch normalisation, which remembers nothing of its data"
        raise input_error("distillation.data", expected, "inverted")
