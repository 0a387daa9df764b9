"""What an update does to matrices, to other weights, and to the BF16 copies that compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from export.demo import optimiser
from export.demo.optimiser import RATE, WARM_UP_STEPS, Optimiser


class Net(nn.Module):
    """One matrix of a layer and its bias; BLIP's are told by ".layer" in their names, too."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.ModuleDict({"layers": nn.Linear(16, 16)})

    def loss(self, target: Tensor) -> Tensor:
        """Its gradient is -`target` for the matrix and -1 for the bias."""
        weight, bias = self.parameters()
        return -(weight * target).sum() - bias.sum()


def built(value: float = 0.0) -> tuple[Net, Optimiser]:
    net = Net().bfloat16()
    start = [torch.full(weight.shape, value) for weight in net.parameters()]
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(value)
    return net, Optimiser(net, start)


def test_matrix_of_a_layer_moves_alike_in_every_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon: a gradient with singular values from 1 to 1000 gives an update where they are of one size."""
    monkeypatch.setattr(optimiser, "WARM_UP_STEPS", 1)
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(16, 16)).Q for _ in range(2))
    gradient = (left @ torch.diag(torch.logspace(0, 3, 16)) @ right).bfloat16()
    net, stepping = built()
    stepping.step(net.loss(gradient), 1.0)
    matrix, bias = stepping.masters()
    singular = torch.linalg.svdvals(matrix)
    assert singular.max() / singular.min() < 4  # measured: 2.7, after the paper's five Newton-Schulz steps
    # AdamW: the first update of every weight is the rate itself.
    torch.testing.assert_close(bias, torch.full((16,), RATE), rtol=1e-3, atol=0)


def test_updates_smaller_than_the_last_digit_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 256 the next BF16 number is 2 away; 40 updates of 0.001 still are 0.04 in FP32."""
    monkeypatch.setattr(optimiser, "WARM_UP_STEPS", 1)
    net, stepping = built(256.0)
    for _ in range(40):
        stepping.step(net.loss(torch.ones(16, 16)), 1.0)
    bias, computing = stepping.masters()[1], list(net.parameters())[1]
    decayed = 256 * (1 - 0.01 * RATE) ** 40
    assert (bias - decayed).mean().item() == pytest.approx(40 * RATE, rel=0.05)
    assert (computing == 256).all()


def test_rate_rises_over_the_first_steps_and_follows_its_share() -> None:
    """The first step is a hundredth of the rate; a share of nothing moves nothing."""
    net, stepping = built()
    stepping.step(net.loss(torch.ones(16, 16)), 1.0)
    torch.testing.assert_close(stepping.masters()[1], torch.full((16,), RATE / WARM_UP_STEPS), rtol=1e-3, atol=0)
    net, stepping = built()
    stepping.step(net.loss(torch.ones(16, 16)), 0.0)
    assert not any(master.any() for master in stepping.masters())
