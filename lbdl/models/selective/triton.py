"""The selective scan as GPU kernels: states live in registers, a chunk of steps at
a time, and only those between chunks are written.

Forward, every chunk is scanned from rest, for what it leaves; one walk over the
chunks gives each its start; every chunk is scanned once more, from there, and read.
Backward, the gradients of the states are scanned in the same way, from the end;
then each chunk computes its states again and takes its slopes. All chunks run side
by side, but for the walk. `fast_selective_scan` picks the kernels on CUDA; the
oracle is `selective_scan`.

Gu & Dao 2023, section 3.3 and appendix D, arXiv:2312.00752.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of

__all__ = ["scan_backward", "scan_forward"]

STEPS = 32  # of a chunk
TILE = 4096  # numbers of a tile (steps, channels, states)


def scan_forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor]:
    """The outputs of a selective scan without D, and the state before each chunk.

    Args:
        u: (b, L, d), float32.
        delta: (b, L, d), float32.
        A: (d, N), float32.
        B: (b, L, N), float32.
        C: (b, L, N), float32.

    Returns:
        y (b, L, d), and the states (b, chunks, d, N).
    """
    u, delta, A, B, C = (x.contiguous() for x in (u, delta, A, B, C))
    y = torch.empty_like(u)
    starts = borders(delta * u, delta, A, B, back=False)
    if u.numel():
        outputs[tiles_of(u, A)](
            u, delta, A, B, C, starts, y, *sizes_of(u, A), **shape_of(A)
        )
    return y, starts


def scan_backward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor,
    grad: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The gradients of u, delta, A, B, C, from what `scan_forward` took and gave.

    Args:
        u: (b, L, d), float32, as in `scan_forward`.
        delta: (b, L, d).
        A: (d, N).
        B: (b, L, N).
        C: (b, L, N).
        starts: (b, chunks, d, N).
        grad: of y, (b, L, d).

    Returns:
        The five gradients, shapes of u, delta, A, B, C.
    """
    u, delta, A, B, C, grad = (x.contiguous() for x in (u, delta, A, B, C, grad))
    laters = borders(grad, delta, A, C, back=True)
    to_u, to_delta, to_A = map(torch.zeros_like, (u, delta, starts))
    blocks = tiles_of(u, A)[1]
    to_B, to_C = B.new_zeros(2, blocks, *B.shape)  # each block's share
    if u.numel():
        slopes[tiles_of(u, A)](
            u, delta, A, B, C, starts, laters, grad,
            to_u, to_delta, to_A, to_B, to_C, *sizes_of(u, A), **shape_of(A),
        )  # fmt: skip
    return to_u, to_delta, to_A.sum((0, 1)), to_B.sum(0), to_C.sum(0)


def borders(
    x: Tensor, delta: Tensor, A: Tensor, rows: Tensor, back: bool
) -> Tensor:
    """What enters each chunk, (b, chunks, d, N), where x_t rows_t is pushed at
    step t: from the chunk before, or back from the one after."""
    b, L, d = x.shape
    chunks = triton.cdiv(L, STEPS)
    found = A.new_empty(b, chunks, *A.shape)
    time = A.new_empty(b, chunks, d)  # the sum of the steps of each chunk
    if x.numel():
        tiles, sizes, shape = tiles_of(x, A), sizes_of(x, A), shape_of(A)
        ends[tiles](x, delta, A, rows, found, time, *sizes, BACK=back, **shape)
        walk[(b, tiles[1])](A, found, time, *sizes[1:], BACK=back, **shape)
    return found


def tiles_of(u: Tensor, A: Tensor) -> tuple[int, int]:
    """Chunks of all sequences, and blocks of channels."""
    chunks = triton.cdiv(u.shape[1], STEPS)
    return len(u) * chunks, triton.cdiv(len(A), shape_of(A)["CHANNELS"])


def sizes_of(u: Tensor, A: Tensor) -> tuple[int, int, int, int]:
    """L, chunks, d and N."""
    return u.shape[1], triton.cdiv(u.shape[1], STEPS), *A.shape


def shape_of(A: Tensor) -> dict[str, int]:
    """The shape of a tile."""
    side = block_of(A.shape[1])
    channels = max(1, min(block_of(A.shape[0]), TILE // (STEPS * side)))
    return {"STEPS": STEPS, "CHANNELS": channels, "SIDE": side}


@triton.jit
def load(ptr, rows, last, columns, width):
    """Rows of a table of `width` columns; zeros from row `last` on."""
    there = (rows < last)[:, None] & (columns < width)[None, :]
    return tl.load(ptr + rows[:, None] * width + columns[None, :], there, other=0.0)


@triton.jit
def store(ptr, rows, last, columns, width, x):
    there = (rows < last)[:, None] & (columns < width)[None, :]
    tl.store(ptr + rows[:, None] * width + columns[None, :], x, there)


@triton.jit
def one_after_the_other(a, x, b, y):
    """h -> a h + x, then h -> b h + y."""
    return b * a, b * x + y


@triton.jit
def scanned(delta, A, x, rows):
    """What each step lets through since the chunk's start, and its state from
    rest."""
    decay = tl.exp(delta[:, :, None] * A[None, :, :])
    pushed = x[:, :, None] * rows[:, None, :]
    return tl.associative_scan((decay, pushed), 0, one_after_the_other)


@triton.jit
def scanned_back(ahead, A, x, rows):
    """The same from the chunk's end, where `ahead` is delta one step later, and 0
    at the last step."""
    decay = tl.exp(ahead[:, :, None] * A[None, :, :])
    pushed = x[:, :, None] * rows[:, None, :]
    return tl.associative_scan(
        (decay, pushed), 0, one_after_the_other, reverse=True
    )


@triton.jit
def step_of(x, k, STEPS: tl.constexpr):
    """Row k of a tile."""
    return tl.sum(tl.where((tl.arange(0, STEPS) == k)[:, None, None], x, 0.0), 0)


@triton.jit
def place(
    L, chunks, STEPS: tl.constexpr, CHANNELS: tl.constexpr, SIDE: tl.constexpr
):
    """Of this program: sequence, chunk, its first step, the first one after it."""
    number = tl.program_id(0).to(tl.int64)
    first = number % chunks * STEPS
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, SIDE)
    return (
        number // chunks,
        number,
        first,
        tl.minimum(first + STEPS, L),
        channels,
        n,
    )


@triton.jit
def ends(
    x_ptr, delta_ptr, a_ptr, rows_ptr, end_ptr, time_ptr, L, chunks, d, N,
    BACK: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr,
    SIDE: tl.constexpr,
):  # fmt: skip
    """What a chunk leaves from rest: its last state, or back, what its first step
    hands to the step before; and how long it lasts."""
    b, number, first, last, channels, n = place(L, chunks, STEPS, CHANNELS, SIDE)
    t = first + tl.arange(0, STEPS)
    A = load(a_ptr, channels, d, n, N)
    x = load(x_ptr + b * L * d, t, last, channels, d)
    delta = load(delta_ptr + b * L * d, t, last, channels, d)
    rows = load(rows_ptr + b * L * N, t, last, n, N)
    if BACK:
        ahead = load(delta_ptr + b * L * d, t + 1, last, channels, d)
        _, states = scanned_back(ahead, A, x, rows)
        handed = states * tl.exp(delta[:, :, None] * A[None, :, :])
        end = step_of(handed, 0, STEPS)
    else:
        _, states = scanned(delta, A, x, rows)
        end = step_of(states, STEPS - 1, STEPS)
    store(end_ptr + number * d * N, channels, d, n, N, end)
    time = tl.sum(delta, 0)
    tl.store(time_ptr + number * d + channels, time, channels < d)


@triton.jit
def walk(
    a_ptr, border_ptr, time_ptr, chunks, d, N,
    BACK: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr,
    SIDE: tl.constexpr,
):  # fmt: skip
    """h <- exp(time A) h + end, chunk by chunk; h takes the place of the end."""
    b = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, SIDE)
    A = load(a_ptr, channels, d, n, N)
    h = tl.zeros((CHANNELS, SIDE), tl.float32)
    for k in range(chunks):
        number = b * chunks + k
        if BACK:
            number = b * chunks + chunks - 1 - k
        end = load(border_ptr + number * d * N, channels, d, n, N)
        time = tl.load(time_ptr + number * d + channels, channels < d, other=0.0)
        store(border_ptr + number * d * N, channels, d, n, N, h)
        h = tl.exp(time[:, None] * A) * h + end


@triton.jit
def outputs(
    u_ptr, delta_ptr, a_ptr, b_ptr, c_ptr, start_ptr, y_ptr, L, chunks, d, N,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """y_t = <C_t, h_t>, h_t = state from rest + what is left of the start."""
    b, number, first, last, channels, n = place(L, chunks, STEPS, CHANNELS, SIDE)
    t = first + tl.arange(0, STEPS)
    A = load(a_ptr, channels, d, n, N)
    u = load(u_ptr + b * L * d, t, last, channels, d)
    delta = load(delta_ptr + b * L * d, t, last, channels, d)
    B = load(b_ptr + b * L * N, t, last, n, N)
    C = load(c_ptr + b * L * N, t, last, n, N)
    start = load(start_ptr + number * d * N, channels, d, n, N)
    through, states = scanned(delta, A, delta * u, B)
    states += through * start[None, :, :]
    y = tl.sum(states * C[:, None, :], 2)
    store(y_ptr + b * L * d, t, last, channels, d, y)


@triton.jit
def slopes(
    u_ptr, delta_ptr, a_ptr, b_ptr, c_ptr, start_ptr, later_ptr, g_ptr,
    to_u_ptr, to_delta_ptr, to_a_ptr, to_b_ptr, to_c_ptr, L, chunks, d, N,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """The gradients G_t = C_t g_t + decay_{t+1} G_{t+1} of a chunk's states, and
    what follows from them; decay_t h_{t-1} is h_t - delta_t u_t B_t."""
    b, number, first, last, channels, n = place(L, chunks, STEPS, CHANNELS, SIDE)
    t = first + tl.arange(0, STEPS)
    A = load(a_ptr, channels, d, n, N)
    u = load(u_ptr + b * L * d, t, last, channels, d)
    delta = load(delta_ptr + b * L * d, t, last, channels, d)
    ahead = load(delta_ptr + b * L * d, t + 1, last, channels, d)
    g = load(g_ptr + b * L * d, t, last, channels, d)
    B = load(b_ptr + b * L * N, t, last, n, N)
    C = load(c_ptr + b * L * N, t, last, n, N)
    start = load(start_ptr + number * d * N, channels, d, n, N)
    later = load(later_ptr + number * d * N, channels, d, n, N)
    through, states = scanned(delta, A, delta * u, B)
    states += through * start[None, :, :]
    back, G = scanned_back(ahead, A, g, C)
    G += back * later[None, :, :]
    pushed = (delta * u)[:, :, None] * B[:, None, :]
    turned = G * (states - pushed)  # the gradient of delta A
    written = tl.sum(G * B[:, None, :], 2)
    to_delta = written * u + tl.sum(turned * A[None, :, :], 2)
    to_A = tl.sum(turned * delta[:, :, None], 0)
    to_B = tl.sum(G * (delta * u)[:, :, None], 1)
    to_C = tl.sum(states * g[:, :, None], 1)
    store(to_u_ptr + b * L * d, t, last, channels, d, written * delta)
    store(to_delta_ptr + b * L * d, t, last, channels, d, to_delta)
    store(to_a_ptr + number * d * N, channels, d, n, N, to_A)
    batch = tl.num_programs(0).to(tl.int64) // chunks
    share = (tl.program_id(1) * batch + b) * L * N
    store(to_b_ptr + share, t, last, n, N, to_B)
    store(to_c_ptr + share, t, last, n, N, to_C)
