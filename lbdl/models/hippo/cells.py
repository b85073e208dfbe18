"""Recurrent cells with a HiPPO memory: a small network writes one number a step
into it, and reads all of it.

Sources: Voelker, Kajic & Eliasmith 2019, "Legendre memory units"; Gu et al. 2020,
"HiPPO", arXiv:2008.07669.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lbdl import require
from lbdl.models.hippo.legs import legs_transitions
from lbdl.models.hippo.memories import hippo_lmu
from lbdl.models.state_space.discretization import zero_order_hold
from lbdl.models.state_space.systems import apply

__all__ = ["LMUCell", "HiPPOCell", "unroll"]


class LMUCell(nn.Module):
    """The Legendre memory unit: a nonlinear state h beside a memory m of the last
    `window` steps.

        u = e_x x + e_h h + e_m m
        m <- A_bar m + B_bar u
        h <- tanh(W_x x + W_h h + W_m m)

    A_bar and B_bar are those of `hippo_lmu`, discretized exactly for steps of 1;
    they are not trained. A state is the pair (h, m).

    Args:
        inputs: numbers in x, >= 1.
        hidden: numbers in h, >= 1.
        memory: numbers in m, >= 1.
        window: steps that the memory looks back, > 0.

    Raises:
        TypeError: a size is not a whole number, or `window` not a number.
        ValueError: a size < 1, or `window` <= 0.

    Source: Voelker, Kajic & Eliasmith 2019, "Legendre memory units".
    """

    A_bar: Tensor
    B_bar: Tensor

    def __init__(
        self, inputs: int, hidden: int, memory: int, window: float
    ) -> None:
        super().__init__()
        require.whole(inputs=inputs, hidden=hidden, memory=memory, least=1)
        A_bar, B_bar = zero_order_hold(*hippo_lmu(memory, window), 1.0)
        dtype = torch.get_default_dtype()
        self.register_buffer("A_bar", A_bar.to(dtype))
        self.register_buffer("B_bar", B_bar.to(dtype))
        self.write = nn.Linear(inputs + hidden + memory, 1, bias=False)
        self.mix = nn.Linear(inputs + hidden + memory, hidden, bias=False)
        nn.init.zeros_(self.write.weight[:, inputs + hidden :])

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Zero h (B, hidden) and zero m (B, memory) for inputs x (B, ...)."""
        return x.new_zeros(len(x), self.mix.out_features), x.new_zeros(
            len(x), len(self.B_bar)
        )

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """h (B, hidden), and the new state, from x (B, inputs) and the old
        state."""
        h, m = state
        u = self.write(torch.cat([x, h, m], -1))
        m = apply(self.A_bar, m) + self.B_bar * u
        h = self.mix(torch.cat([x, h, m], -1)).tanh()
        return h, (h, m)


class HiPPOCell(nn.Module):
    """The HiPPO-RNN: a gated state h that reads, and writes, a memory c of all that
    was written since the start.

        g = sigmoid(W_g [x, c, h] + b_g)
        h <- (1 - g) h + g tanh(W [x, c, h] + b)
        c <- A_bar_k c + B_bar_k f,    f = w h + b_f

    with the exact LegS steps, which depend on the number of steps so far and on no
    unit of time. A state is the triple (h, c, k).

    Args:
        inputs: numbers in x, >= 1.
        hidden: numbers in h, >= 1.
        memory: numbers in c, >= 1.
        longest: most steps that a run may have, >= 1.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size < 1.

    Source: Gu et al. 2020, "HiPPO", arXiv:2008.07669.
    """

    A_bar: Tensor
    B_bar: Tensor

    def __init__(self, inputs: int, hidden: int, memory: int, longest: int) -> None:
        super().__init__()
        require.whole(
            inputs=inputs, hidden=hidden, memory=memory, longest=longest, least=1
        )
        dtype = torch.get_default_dtype()
        A_bar, B_bar = legs_transitions(memory, torch.arange(longest), dtype=dtype)
        self.register_buffer("A_bar", A_bar, persistent=False)
        self.register_buffer("B_bar", B_bar, persistent=False)
        self.gate = nn.Linear(inputs + memory + hidden, hidden)
        self.mix = nn.Linear(inputs + memory + hidden, hidden)
        self.write = nn.Linear(hidden, 1)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor, int]:
        """Zero h (B, hidden), zero c (B, memory), step 0, for inputs x (B, ...)."""
        h = x.new_zeros(len(x), self.mix.out_features)
        return h, x.new_zeros(len(x), self.B_bar.shape[-1]), 0

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor, int]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, int]]:
        """h (B, hidden), and the new state, from x (B, inputs) and the old
        state."""
        h, c, k = state
        require.whole(k=k, least=0, most=len(self.A_bar) - 1)
        seen = torch.cat([x, c, h], -1)
        g = self.gate(seen).sigmoid()
        h = (1 - g) * h + g * self.mix(seen).tanh()
        c = apply(self.A_bar[k], c) + self.B_bar[k] * self.write(h)
        return h, (h, c, k + 1)


def unroll(
    cell: LMUCell | HiPPOCell, x: Tensor, state: Any = None
) -> tuple[Tensor, Any]:
    """Run a cell over a sequence.

        h_k, state_k = cell(x_k, state_{k-1}),    k = 1 ... L

    Args:
        cell: an `LMUCell`, a `HiPPOCell`, or any module with their `start` and
            `forward`.
        x: sequences (B, L, inputs), L >= 1.
        state: the state to begin with; the cell's own start when not given.

    Returns:
        What the cell puts out, (B, L, hidden), and the state after the last step.

    Raises:
        TypeError: `cell` is not a module, or `x` no tensor of its weights' dtype.
        ValueError: `x` is not (B, L, inputs), is on another device than the cell,
            or has more steps than the cell allows.
    """
    require.instance(nn.Module, cell=cell)
    require.floating(x=x)
    require.shapes(x=(x, "B L inputs"))
    require.alike(weights=next(cell.parameters()), x=x)
    state = cell.start(x) if state is None else state
    outputs = []
    for step in x.unbind(1):
        h, state = cell(step, state)
        outputs.append(h)
    return torch.stack(outputs, 1), state
