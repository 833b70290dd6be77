"""Rounding to integer codes in torch, with gradients that pass straight through it."""

from __future__ import annotations

from typing import Any

import torch


class _Codes(torch.autograd.Function):
    """scale x (clamp(round(x / scale + shift), low, high) - shift), and the gradients of LSQ."""

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, scale: torch.Tensor, shift: int, low: int, high: int, share: float
    ) -> torch.Tensor:
        """Round; what the gradients need is kept only where they are asked for."""
        learns = context.needs_input_grad[1]
        steps = x / scale
        codes = (steps + shift if learns else steps.add_(shift)).round_()
        kept = codes.clamp(low, high)
        if any(context.needs_input_grad[:2]):
            inside = codes == kept
            kept.sub_(shift)
            slope = torch.where(inside, codes.sub_(shift).sub_(steps), kept) if learns else None
            context.save_for_backward(inside, slope)
            context.share, context.scale_shape = share, scale.shape
            return kept.mul_(scale)
        return kept.sub_(shift).mul_(scale)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Pass the gradient where the code did not saturate; sum the scale's over what shares it."""
        inside, slope = context.saved_tensors
        of_scale = None
        if slope is not None:
            of_scale = (gradient * slope).sum_to_size(context.scale_shape) * context.share
        return torch.where(inside, gradient, 0.0), of_scale, None, None, None, None


def rounded(
    x: torch.Tensor, scale: torch.Tensor, shift: int, low: int, high: int, share: float = 1.0
) -> torch.Tensor:  # fmt: skip
    """Return what x is once it has been stored as an integer code of `scale`.

    The gradient of x passes through the rounding and stops where the code saturates (Bengio et al., 2013). The
    gradient of the scale is that of Esser et al., "Learned Step Size Quantization" (2020, eq. 3), times `share`.

    Args:
        x: any shape.
        scale: positive; broadcasts against x.
        shift: the zero point.
        low: the smallest code.
        high: the largest code.
        share: 1/sqrt(N Q) in that paper, N values that share a scale and Q the largest code.
    """
    return _Codes.apply(x, scale, shift, low, high, share)  # type: ignore[no-any-return, no-untyped-call]


def straight_through(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return `value`, with the gradient of x."""
    return x + (value - x).detach()
