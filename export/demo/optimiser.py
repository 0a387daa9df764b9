"""Muon for the matrices of the layers, AdamW for all else, on FP32 copies of BF16 weights.

Muon (K. Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks") makes each update of a matrix
orthogonal. The weights that compute are BF16; updates are often smaller than their last digit and would be lost without
the FP32 copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

RATE = 1e-3
MATRIX_RATE = 2e-3
WEIGHT_DECAY = 0.05
GRADIENT_NORM = 1.0
WARM_UP_STEPS = 100


class Optimiser:
    """Updates all weights of a BF16 module; `start` are their FP32 values, in the order of its parameters."""

    def __init__(self, module: nn.Module, start: Sequence[Tensor]) -> None:
        named = list(module.named_parameters())
        self._weights = [weight for _, weight in named]
        self._masters = [nn.Parameter(values.clone()) for values in start]
        inner = [weight.ndim == 2 and ".layer" in name for name, weight in named]
        matrices = [master for master, is_inner in zip(self._masters, inner, strict=True) if is_inner]
        others = [master for master, is_inner in zip(self._masters, inner, strict=True) if not is_inner]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
        ]
        self._rates = (MATRIX_RATE, RATE)
        self._steps = 0

    def step(self, loss: Tensor, rate_share: float) -> None:
        """Go down the gradient of `loss` at this share (0..1) of the full rate."""
        loss.backward()  # type: ignore[no-untyped-call]
        self._steps += 1
        share = rate_share * min(1.0, self._steps / WARM_UP_STEPS)
        for master, weight in zip(self._masters, self._weights, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        nn.utils.clip_grad_norm_(self._masters, GRADIENT_NORM)
        for optimiser, rate in zip(self._optimisers, self._rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            optimiser.step()
        with torch.no_grad():
            for weight, master in zip(self._weights, self._masters, strict=True):
                weight.copy_(master)

    def masters(self) -> list[Tensor]:
        """The FP32 weights in the order of the module's parameters."""
        return [master.detach() for master in self._masters]
