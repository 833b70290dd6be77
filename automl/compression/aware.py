"""Quantization-aware training: the network learns in the arithmetic that its file will have.

What trains is the network rehearsed through its own `emit` (see `automl.models.rehearsal`): the exported graph's codes,
clipping and folded normalisation, with gradients that pass straight through the rounding. Batch normalisation is
folded with its running statistics as constants, so it must have been trained before; nothing wakes it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.errors import input_error
from automl.models.deployable import Emitted
from automl.models.number_formats import Codes, Range, weight_code
from automl.models.onnx_graph import array
from automl.models.rehearsal import CodedLayer, Rehearsal, Step, Steps, steps_of

METHODS = ("qat", "lsq")
LOG_CAP = log(6 / 255)  # a code behind ReLU6 that reached beyond 6 would keep its convolution out of integers


class AwareNetwork(nn.Module):
    """Maps `n x` raw samples to `n x classes` logits as the quantized file of `network` will.

    "qat" keeps the activation codes of the calibration and takes the weights' scales from the weights at every step
    (Jacob et al., 2018). "lsq" learns both (Esser et al., "Learned Step Size Quantization", 2020): each scale starts
    at its calibrated value, has that paper's gradient with its share 1/sqrt(N Q), and is learned as a logarithm (Jain
    et al., "Trained Quantization Thresholds", 2020), since a step of Adam does not shrink with the gradient and would
    otherwise be a multiple of the scale itself. Zero points stay.

    Args:
        network: trained; it is trained on in place.
        codes: calibrated on it.
        plan: `training` is "qat" or "lsq".
        largest_code: of 8-bit weights: 127, or 64 where the target's kernels saturate.

    Raises:
        InputError: where the plan trains nothing that is rounded.
    """

    def __init__(self, network: Emitted, codes: Codes, plan: QuantizationPlan, largest_code: int) -> None:
        super().__init__()
        if plan.training not in METHODS:
            raise input_error("quantization.training", f"one of {METHODS}", f'"{plan.training}"')
        if 8 not in plan.activation_bits:
            remedy = "Without integer activations nothing is rounded while it trains: leave out training."
            raise input_error("quantization.activation_bits", "8 in some stage", str(plan.activation_bits), remedy)
        self.network = network
        self._given = codes
        self._plan = plan
        self._largest_code = largest_code
        self._fixed = steps_of(codes)
        self._activation_sites: tuple[str, ...] = ()
        self._weight_sites: tuple[str, ...] = ()
        self._capped: frozenset[str] = frozenset()
        self.log_activation_scales = nn.ParameterList()
        self.log_weight_scales = nn.ParameterList()
        if plan.training == "lsq":
            self._learn_scales()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map `n x` raw samples to `n x classes` logits; the batch may have any size."""
        with torch.autocast("cpu", enabled=False):  # codes of eight bits do not survive the seven digits of bfloat16
            logits: torch.Tensor = self._rehearse(pixels, self._steps())[0]
        return logits

    def codes(self) -> Codes:
        """Return what the file of the trained `network` must be written with."""
        ranges, steps = dict(self._given.ranges), self._steps()
        for site in self._activation_sites:
            step = steps.activations[site]
            low, high = (step.scale.item() * (code - step.zero_point) for code in (0, 255))
            ranges[site] = Range(low, high)
        learned: Mapping[str, np.ndarray] = {site: array(scales) for site, scales in steps.weights.items()}
        return Codes(ranges, {**self._given.weight_scales, **learned})

    def _rehearse(self, pixels: torch.Tensor, steps: Steps) -> tuple[torch.Tensor, Rehearsal]:
        rehearsal = Rehearsal(steps, self._largest_code, self._plan)
        return self.network.emit(rehearsal, pixels, self._plan.pairs(), len(pixels)), rehearsal

    def _steps(self) -> Steps:
        """Return the steps as they stand, learned ones with their gradients."""
        activations, weights = dict(self._fixed.activations), dict(self._fixed.weights)
        for site, logarithm in zip(self._activation_sites, self.log_activation_scales, strict=True):
            bounded = logarithm.clamp(max=LOG_CAP) if site in self._capped else logarithm
            activations[site] = Step(bounded.exp(), activations[site].zero_point)
        for site, logarithm in zip(self._weight_sites, self.log_weight_scales, strict=True):
            weights[site] = logarithm.exp()
        return Steps(activations, weights)

    def _learn_scales(self) -> None:
        """Find every scale in one pass over the network and make it a parameter."""
        task = self.network.task
        blank = torch.zeros((1, *task.input_shape), dtype=getattr(torch, task.element))
        with torch.no_grad():
            _, rehearsal = self._rehearse(blank, self._fixed)
        self._capped = frozenset(rehearsal.capped)
        self._activation_sites = tuple(rehearsal.coded)
        self._weight_sites = tuple(rehearsal.layers)
        for site in self._activation_sites:
            self.log_activation_scales.append(nn.Parameter(self._fixed.activations[site].scale.log()))
        for site, layer in rehearsal.layers.items():
            start = self._fixed.weights.get(site)
            scales = self._first_scales(layer) if start is None else start
            self.log_weight_scales.append(nn.Parameter(scales.log()))

    def _first_scales(self, layer: CodedLayer) -> torch.Tensor:
        code = weight_code(array(layer.weight), layer.bits, layer.largest, scales=self._plan.scales)
        return torch.from_numpy(code.scales.copy())
