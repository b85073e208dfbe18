"""Reversible blocks: the inputs of a layer computed from its outputs, so that none
needs to be kept.

    y1 = x1 + F(x2),  y2 = x2 + G(y1)
    and back   x2 = y2 - G(y1),  x1 = y1 - F(x2)

F and G are any functions from a half to a half; nothing has to be invertible about
them.

Gomez, Ren, Urtasun & Grosse 2017, arXiv:1707.04585; the coupling is that of Dinh et
al. 2015, arXiv:1410.8516.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lbdl import require
from lbdl.foundations.memory.checkpointing import (
    require_no_autocast,
    untouched,
)

__all__ = [
    "ReversibleBlock",
    "reversible_chain",
    "reversible_chain_inverse",
    "reversible_chain_stored",
]

Pair = tuple[Tensor, Tensor]
CHANCE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class ReversibleBlock(nn.Module):
    """Two functions, F and G, coupled so that the inputs can be computed from the
    outputs.

        y1 = x1 + F(x2),    y2 = x2 + G(y1)

    Args:
        f: F, a module from (..., d) to (..., d), or any shape to the same; it must
            give the same result whenever it is called, so no dropout.
        g: G, likewise.

    Raises:
        TypeError: `f` or `g` is no module.

    Source: Gomez et al. 2017, section 3, arXiv:1707.04585.
    """

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        require.instance(nn.Module, f=f, g=g)
        self.f, self.g = f, g

    def forward(self, x1: Tensor, x2: Tensor) -> Pair:
        """The outputs y1, y2 of the inputs, same shapes."""
        y1 = x1 + untouched(self.f, x2)
        return y1, x2 + untouched(self.g, y1)

    def inverse(self, y1: Tensor, y2: Tensor) -> Pair:
        """The inputs x1, x2 of the outputs, same shapes: exact but for rounding."""
        x2 = y2 - untouched(self.g, y1)
        return y1 - untouched(self.f, x2), x2

    def pull(
        self, y1: Tensor, y2: Tensor, g1: Tensor, g2: Tensor
    ) -> tuple[Pair, Pair, list[Tensor | None]]:
        """From the outputs and their gradients: the inputs, their gradients, and
        those of the parameters.

        The gradients of the parameters are in the order of `parameters_of`.
        """
        z, at_y1, of_g = value_and_pullback(self.g, y1, g2)
        x2, g1 = y2 - z, g1 + at_y1
        z, at_x2, of_f = value_and_pullback(self.f, x2, g1)
        return (y1 - z, x2), (g1, g2 + at_x2), of_f + of_g


def value_and_pullback(
    f: nn.Module, x: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """f(x), and the gradients of <g, f(x)> with respect to x and to f's
    parameters."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = untouched(f, x)
        asked = [x, *(p for p in f.parameters() if p.requires_grad)]
        found = torch.autograd.grad(y, asked, g, allow_unused=True)
    return (
        y.detach(),
        torch.zeros_like(x) if found[0] is None else found[0],
        list(found[1:]),
    )


def parameters_of(block: ReversibleBlock) -> list[Tensor]:
    """The parameters that get a gradient, F's before G's."""
    return [
        p
        for part in (block.f, block.g)
        for p in part.parameters()
        if p.requires_grad
    ]


def reversible_chain_stored(
    blocks: Sequence[ReversibleBlock], x1: Tensor, x2: Tensor
) -> Pair:
    """The blocks one after the other, the plain way: autograd keeps what is inside
    every one of them.

    Args:
        blocks: one or more `ReversibleBlock`.
        x1: the first half of the input, any shape, floating dtype.
        x2: the second half, same shape.

    Returns:
        y1 and y2, shapes of `x1` and `x2`.

    Raises:
        TypeError: an argument is not of its kind, or the halves differ in dtype.
        ValueError: there are no `blocks`, or the halves differ in shape.

    Source: Gomez et al. 2017, section 3, arXiv:1707.04585.
    """
    require_halves(blocks, x1=x1, x2=x2)
    for block in blocks:
        x1, x2 = block(x1, x2)
    return x1, x2


def reversible_chain_inverse(
    blocks: Sequence[ReversibleBlock], y1: Tensor, y2: Tensor
) -> Pair:
    """The inputs of a chain from its outputs, block by block from the last to the
    first.

        x2 = y2 - G(y1),    x1 = y1 - F(x2)

    Args:
        blocks: one or more `ReversibleBlock`.
        y1: the first half of the output, any shape, floating dtype.
        y2: the second half, same shape.

    Returns:
        x1 and x2, shapes of `y1` and `y2`; exact but for rounding, which adds up
        over the blocks.

    Raises:
        TypeError: an argument is not of its kind, or the halves differ in dtype.
        ValueError: there are no `blocks`, or the halves differ in shape.

    Source: Gomez et al. 2017, section 3, arXiv:1707.04585.
    """
    require_halves(blocks, y1=y1, y2=y2)
    for block in reversed(blocks):
        y1, y2 = block.inverse(y1, y2)
    return y1, y2


def reversible_chain(
    blocks: Sequence[ReversibleBlock], x1: Tensor, x2: Tensor
) -> Pair:
    """`reversible_chain_stored` in memory that does not depend on the number of
    blocks.

    Only the last outputs are kept. The backward pass computes each block's inputs
    from its outputs, and its gradients on the way: one more forward pass in time.
    Differentiable once; not for `torch.compile`.

    Args:
        blocks: one or more `ReversibleBlock`.
        x1: the first half of the input, any shape, floating dtype.
        x2: the second half, same shape.

    Returns:
        y1 and y2, shapes of `x1` and `x2`.

    Raises:
        TypeError: an argument is not of its kind, or the halves differ in dtype.
        ValueError: there are no `blocks`, or the halves differ in shape.
        RuntimeError: called under autocast, which would have ended when the blocks
            are run again; a block changes its input in place; in the backward pass,
            an output or a weight was changed in place in between.

    Source: Gomez et al. 2017, Algorithm 1, arXiv:1707.04585.
    """
    require_halves(blocks, x1=x1, x2=x2)
    if not require.visible():
        return reversible_chain_stored(blocks, x1, x2)
    require_no_autocast("reversible_chain")
    require_no_chance(blocks)
    parameters = dict.fromkeys(p for block in blocks for p in parameters_of(block))
    return Reversible.apply(blocks, x1, x2, *parameters)


class Reversible(torch.autograd.Function):
    """The chain as one operation that keeps its outputs alone."""

    @staticmethod
    def forward(
        ctx: Any,
        blocks: Sequence[ReversibleBlock],
        x1: Tensor,
        x2: Tensor,
        *parameters: Tensor,
    ) -> Pair:
        # autograd is off in here: nothing is stored
        y1, y2 = reversible_chain_stored(blocks, x1, x2)
        ctx.blocks = blocks
        ctx.save_for_backward(y1, y2, *parameters)
        return y1, y2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g1: Tensor, g2: Tensor) -> tuple[Any, ...]:
        y1, y2, *parameters = ctx.saved_tensors  # refused where changed in place
        y, g = (y1, y2), (g1, g2)
        total: dict[Tensor, Tensor] = {}
        for block in reversed(ctx.blocks):
            y, g, found = block.pull(*y, *g)
            for p, share in zip(parameters_of(block), found, strict=True):
                if share is not None:
                    total[p] = total[p] + share if p in total else share
        return None, *g, *(total.get(p) for p in parameters)


def require_halves(blocks: Sequence[ReversibleBlock], **halves: Tensor) -> None:
    """At least one block, and two halves alike."""
    require.instances(ReversibleBlock, blocks=blocks)
    require.matching(**halves)


def require_no_chance(blocks: Sequence[ReversibleBlock]) -> None:
    """ValueError where a block draws lots: run again, it would draw others."""
    for part in (part for block in blocks for part in block.modules()):
        if isinstance(part, CHANCE) and part.training and part.p > 0:
            raise ValueError(
                "blocks must give the same result whenever they are called, got "
                "dropout in training"
            )
