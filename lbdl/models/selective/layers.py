"""The selective state space as a layer: trained as a scan, run as a recurrence.

It has the two ways of the layers of `lbdl.models.s4`, whose deep model takes it:
`forward` for a whole sequence, `start` and `step` for one element after another.

Source: Gu & Dao 2023, arXiv:2312.00752.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl import require
from lbdl.models.s4.layers import require_width
from lbdl.models.selective.scan import fast_selective_scan

__all__ = ["SelectiveSSM"]


class SelectiveSSM(nn.Module):
    """A selective state space: step, input and output weights come from the input.

        delta = softplus(W_delta r + b),    (r, B, C) = W u
        y = `selective_scan`(u, delta, A, B, C, D),    A = -exp(log_rate)

    Args:
        width: channels, >= 1.
        states: numbers of state of each channel, >= 1.
        rank: of the map from the input to the steps, >= 1.
        least_step: smallest step at the start, > 0.
        most_step: largest step at the start.

    Raises:
        TypeError: a size is not a whole number, or a step not a number.
        ValueError: a size or step is out of range.

    Source: Gu & Dao 2023, algorithm 2, arXiv:2312.00752.
    """

    def __init__(
        self,
        width: int,
        states: int = 16,
        rank: int = 1,
        least_step: float = 1e-3,
        most_step: float = 0.1,
    ) -> None:
        super().__init__()
        require.whole(width=width, states=states, rank=rank, least=1)
        require.number(least_step=least_step, most_step=most_step, above=0)
        self.sizes = [rank, states, states]
        self.select = nn.Linear(width, rank + 2 * states, bias=False)
        self.to_step = nn.Linear(rank, width)
        ends = math.log(least_step), math.log(most_step)
        steps = torch.linspace(*ends, width).exp()
        with torch.no_grad():  # softplus undone
            self.to_step.bias.copy_(steps + (-torch.expm1(-steps)).log())
        rates = torch.arange(1.0, states + 1).log()
        self.log_rate = nn.Parameter(rates.repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))

    def forward(self, u: Tensor) -> Tensor:
        """y (B, L, width) from u (B, L, width), as a scan."""
        require_width(u, len(self.D), "B L width")
        delta, B, C = self.selected(u)
        return fast_selective_scan(u, delta, -self.log_rate.exp(), B, C, self.D)

    def selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """delta (..., width), B and C (..., states) for inputs u (..., width)."""
        r, B, C = self.select(u).split(self.sizes, -1)
        return F.softplus(self.to_step(r)), B, C

    def start(self, u: Tensor) -> Tensor:
        """The state of rest for u (B, ...): zeros (B, width, states)."""
        return torch.zeros_like(self.log_rate).expand(len(u), *self.log_rate.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, width) and the new state, from u (B, width) and the old state."""
        require_width(u, len(self.D), "B width")
        delta, B, C = self.selected(u)
        decay = (delta.unsqueeze(-1) * -self.log_rate.exp()).exp()
        state = decay * state + (delta * u).unsqueeze(-1) * B.unsqueeze(-2)
        return (state * C.unsqueeze(-2)).sum(-1) + self.D * u, state
