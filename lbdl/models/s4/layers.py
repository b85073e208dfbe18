"""A state space as a layer, and a deep model: trained as a convolution, run as a
recurrence.

A layer maps (B, L, width) to (B, L, width) and has two ways to do it, with equal
results: `forward` takes a whole sequence at once, for training; `start` and `step`
take one element after another, for generation, at a cost that does not grow with
the past. The deep model takes any such layers.

Source: Gu, Gupta, Goel & Ré 2022, arXiv:2206.11893 (S4D).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl import require
from lbdl.models.normalization import LayerNorm
from lbdl.models.s4.diagonal import discretize_diagonal, fast_s4d_kernel, s4d_poles
from lbdl.models.s4.kernels import fast_causal_convolution

__all__ = ["S4D", "GatedBlock", "SequenceModel"]


class S4D(nn.Module):
    """One diagonal state space for each channel.

        y_h = K_h * u_h + D_h u_h,    K_h = `s4d_kernel`(poles_h, C_h, step_h)

    Poles, steps, C and D are trained. Real parts of poles are kept negative, and
    steps positive, by an exponential.

    Args:
        width: channels, >= 1.
        states: numbers of state of each channel, even, >= 2.
        kind: where the poles start: "lin", "inv" or "legs".
        least_step: of the first channel's step, > 0.
        most_step: of the last channel's; in between in equal ratios.

    Raises:
        TypeError: a size is not a whole number, or a step not a number.
        ValueError: a size or step is out of range, or the kind is unknown.

    Source: Gu, Gupta, Goel & Ré 2022, section 4, arXiv:2206.11893.
    """

    def __init__(
        self,
        width: int,
        states: int = 64,
        kind: Any = "lin",
        least_step: float = 1e-3,
        most_step: float = 0.1,
    ) -> None:
        super().__init__()
        require.whole(width=width, least=1)
        require.whole(states=states, least=2)
        require.number(least_step=least_step, most_step=most_step, above=0)
        if states % 2:
            raise ValueError(f"states must be even, got {states}")
        poles = s4d_poles(states, kind).expand(width, -1)
        ends = math.log(least_step), math.log(most_step)
        self.log_step = nn.Parameter(torch.linspace(*ends, width))
        self.log_decay = nn.Parameter((-poles.real).log().to(self.log_step.dtype))
        self.frequency = nn.Parameter(poles.imag.to(self.log_step.dtype))
        self.C = nn.Parameter(torch.randn(width, states // 2, 2) * 0.5**0.5)
        self.D = nn.Parameter(torch.randn(width))

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """poles (width, states / 2), C likewise, and step (width,)."""
        poles = torch.complex(-self.log_decay.exp(), self.frequency)
        return poles, torch.view_as_complex(self.C), self.log_step.exp()

    def forward(self, u: Tensor) -> Tensor:
        """y (B, L, width) from u (B, L, width), as a convolution."""
        require_width(u, len(self.D), "B L width")
        K = fast_s4d_kernel(*self.system(), u.shape[1])  # (width, L)
        return fast_causal_convolution(u.mT, K).mT + self.D * u

    def start(self, u: Tensor) -> Tensor:
        """The state of rest for u (B, ...): zeros (B, width, states / 2)."""
        poles = self.system()[0]
        return torch.zeros_like(poles).expand(len(u), *poles.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, width) and the new state, from u (B, width) and the old state."""
        require_width(u, len(self.D), "B width")
        poles, C, step = self.system()
        A_bar, B_bar = discretize_diagonal(poles, step)
        state = A_bar * state + B_bar * u.unsqueeze(-1)
        return 2 * (C * state).sum(-1).real + self.D * u, state


class GatedBlock(nn.Module):
    """A layer over time between a norm and a gate, added to its input.

        x + a * sigmoid(g),    (a, g) = W gelu(layer(norm(x)))

    Time is mixed by the layer, channels by W.

    Args:
        width: channels, >= 1.
        layer: a module with `forward`, `start` and `step`, such as `S4D`.

    Raises:
        TypeError: `width` is not a whole number, or `layer` not a module.
        ValueError: `width` < 1.
    """

    def __init__(self, width: int, layer: nn.Module) -> None:
        super().__init__()
        require.whole(width=width, least=1)
        require.instance(nn.Module, layer=layer)
        self.norm, self.layer = LayerNorm(width), layer
        self.mix = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) from x (B, L, width)."""
        return x + self.gated(self.layer(self.norm(x)))

    def gated(self, z: Tensor) -> Tensor:
        """One half of the mixed channels, gated by the other."""
        a, g = self.mix(F.gelu(z)).chunk(2, -1)
        return a * g.sigmoid()

    def start(self, x: Tensor) -> Any:
        """The layer's state of rest for x (B, ...)."""
        return self.layer.start(x)  # type: ignore[operator]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, width) and the new state, from x (B, width) and the old state."""
        z, state = self.layer.step(self.norm(x), state)  # type: ignore[operator]
        return x + self.gated(z), state


class SequenceModel(nn.Module):
    """A deep sequence model: a linear layer in, blocks, a norm, a linear layer out.

        x -> blocks(W_in x) -> W_out norm(...)

    Args:
        inputs: numbers of each element, >= 1.
        outputs: numbers of each answer, >= 1.
        layers: the layers over time, one a block, all of one width.
        width: channels, >= 1.

    Raises:
        TypeError: a size is not a whole number, or a layer not a module.
        ValueError: a size < 1, or there are no layers.
    """

    def __init__(
        self, inputs: int, outputs: int, layers: list[nn.Module], width: int
    ) -> None:
        super().__init__()
        require.whole(inputs=inputs, outputs=outputs, width=width, least=1)
        require.instance(list, layers=layers)
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for layer in layers:
            require.instance(nn.Module, layers=layer)
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.blocks = nn.ModuleList(GatedBlock(width, layer) for layer in layers)
        self.norm = LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, outputs) from x (B, L, inputs); element t has seen x up to t."""
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x))

    def start(self, x: Tensor) -> list[Any]:
        """The states of rest of all blocks for x (B, ...)."""
        return [block.start(x) for block in self.blocks]  # type: ignore[operator]

    def step(self, x: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        """(B, outputs) and the new states, from x (B, inputs) and the old ones."""
        x, reached = self.enter(x), []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block.step(x, state)  # type: ignore[operator]
            reached.append(state)
        return self.leave(self.norm(x)), reached


def require_width(u: Tensor, width: int, pattern: str) -> None:
    """Refuse inputs that are not of the layer's width."""
    require.floating(u=u)
    require.shapes(u=(u, pattern))
    if u.shape[-1] != width:
        raise ValueError(
            f"u must have {width} channels, got shape {tuple(u.shape)}"
        )
