"""The trainings of the map of trainability as one GPU kernel: a program is a network, all its steps are inside.

Weights stay in registers from the first step to the last; the data, which all networks share, stay in the cache.
Nothing but one loss a step is written. The oracle is `train_networks`; float32 alone, for narrow windows need float64.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of

__all__ = ["kernel_train_networks"]

TILE = 64  # examples that a program takes at a time
LEAST = 16  # the smallest side of a matrix product in Triton


def kernel_train_networks(
    x: Tensor, y: Tensor, hidden: Tensor, output: Tensor, rates: Tensor, steps: int
) -> Tensor:
    """`train_networks`, every network by a program of its own.

        W <- W - a dL/dW,    v <- v - b dL/dv

    Args:
        x: inputs (N, n), float32 as all the rest.
        y: targets (N,).
        hidden: the weights W (n, n) at the start.
        output: the weights v (n,) at the start.
        rates: (M, 2), for every network the rate a of the input layer and b of the output layer.
        steps: number of steps T >= 1.

    Returns:
        The losses before each step, (T, M); infinite or NaN where training blew up.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    N, n = x.shape
    losses = torch.empty(steps, len(rates), device=rates.device)
    inputs = [math.sqrt(2 / n) * x, y, hidden, output, rates]
    train[(len(rates),)](
        *(t.contiguous() for t in inputs), losses, len(rates),
        EXAMPLES=N, WIDTH=n, SIDE=max(LEAST, block_of(n)), STEPS=steps, TILE=TILE,
        num_warps=1,
    )  # fmt: skip
    return losses


@triton.jit
def train(
    x_ptr, y_ptr, hidden_ptr, output_ptr, rates_ptr, losses_ptr, networks,
    EXAMPLES: tl.constexpr, WIDTH: tl.constexpr, SIDE: tl.constexpr,
    STEPS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A = tanh(x W),  r = A v / n - y,  dL/dv = 2 A^T r / (n N),  dL/dW = 2 x^T (r (1 - A^2)) v / (n N)."""
    network = tl.program_id(0)
    side = tl.arange(0, SIDE)
    real = side < WIDTH
    square = real[:, None] & real[None, :]
    W = tl.load(
        hidden_ptr + side[:, None] * WIDTH + side[None, :], mask=square, other=0.0
    )
    v = tl.load(output_ptr + side, mask=real, other=0.0)
    a = tl.load(rates_ptr + 2 * network)
    b = tl.load(rates_ptr + 2 * network + 1)
    loss_ptr = losses_ptr + network
    for _ in range(STEPS):
        to_W = tl.zeros((SIDE, SIDE), tl.float32)
        to_v = tl.zeros((SIDE,), tl.float32)
        squares = tl.zeros((TILE,), tl.float32)
        for first in range(0, EXAMPLES, TILE):
            rows = first + tl.arange(0, TILE)
            known = (rows < EXAMPLES)[:, None] & real[None, :]
            x = tl.load(
                x_ptr + rows[:, None] * WIDTH + side[None, :], mask=known, other=0.0
            )
            y = tl.load(y_ptr + rows, mask=rows < EXAMPLES, other=0.0)
            active = 2 / (1 + tl.exp(-2 * tl.dot(x, W, input_precision="ieee"))) - 1
            residual = tl.sum(active * v[None, :], 1) / WIDTH - y
            residual = tl.where(rows < EXAMPLES, residual, 0.0)
            squares += residual * residual
            slope = residual[:, None] * (2 / (WIDTH * EXAMPLES))
            to_v += tl.sum(active * slope, 0)
            back = (1 - active * active) * slope
            to_W += tl.dot(tl.trans(x), back, input_precision="ieee")
        tl.store(loss_ptr, tl.sum(squares, 0) / EXAMPLES)
        loss_ptr += networks
        W -= a * (to_W * v[None, :])
        v -= b * to_v
