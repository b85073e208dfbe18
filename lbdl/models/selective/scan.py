"""Selective state spaces: a recurrence whose weights depend on the input.

    h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t,    y_t = <C_t, h_t> + D u_t

for each of d channels, with N numbers of state each. No convolution computes it,
for the weights change with t. A *scan* does, in order or in blocks; and where A is
one number for each channel it is a masked matrix product, which is linear attention
with a decay.

Sources: Gu & Dao 2023, "Mamba: Linear-time sequence modeling with selective state
spaces", arXiv:2312.00752; Dao & Gu 2024, "Transformers are SSMs", arXiv:2405.21060.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lbdl import kernels, require

__all__ = [
    "linear_scan",
    "fast_linear_scan",
    "selective_scan",
    "fast_selective_scan",
    "decay_mask",
    "selective_attention",
]

SEGMENT = 128  # steps whose states exist at a time
TOGETHER = (
    2**14
)  # numbers that a step of the scan is to have, by blocks side by side
LOG2_E = 1 / math.log(2)

# --- The scan ---------------------------------------------------------------------


def linear_scan(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """A recurrence with weights that change: number by number, step by step.

        h_t = a_t h_{t-1} + b_t

    >>> linear_scan(torch.full((3, 1), 0.5), torch.ones(3, 1)).squeeze(-1)
    tensor([1.0000, 1.5000, 1.7500])

    Args:
        a: (..., L, n), floating or complex dtype, L >= 1, n >= 1.
        b: (..., L, n), same dtype and shape.
        start: h_0, (..., n), same dtype; zero when not given.

    Returns:
        h (..., L, n), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit.
    """
    a, b, h = prepared_scan(a, b, start)
    reached = []
    for decay, push in zip(a.unbind(-2), b.unbind(-2), strict=True):
        h = decay * h + push
        reached.append(h)
    return torch.stack(reached, -2)


def fast_linear_scan(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """`linear_scan` in blocks of sqrt(L) steps, all blocks side by side.

        h_{b + j} = local_j + (a_{b+1} ... a_{b+j}) h_b

    Args:
        a: (..., L, n), floating or complex dtype, L >= 1, n >= 1.
        b: (..., L, n), same dtype and shape.
        start: h_0, (..., n), same dtype; zero when not given.

    Returns:
        h (..., L, n), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit.
    """
    a, b, h = prepared_scan(a, b, start)
    L = a.shape[-2]
    c = max(1, round(L**0.5))
    spare = -L % c
    a, b = (torch.nn.functional.pad(x, (0, 0, 0, spare)) for x in (a, b))
    a, b = (x.unflatten(-2, (-1, c)) for x in (a, b))  # (..., blocks, c, n)
    local = linear_scan(a, b)
    decays = a.cumprod(-2)
    starts = []
    for decay, end in zip(
        decays[..., -1, :].unbind(-2), local[..., -1, :].unbind(-2), strict=True
    ):
        starts.append(h)
        h = decay * h + end
    carried = decays * torch.stack(starts, -2).unsqueeze(-2)
    return (local + carried).flatten(-3, -2)[..., :L, :]


def prepared_scan(
    a: Tensor, b: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Refuse what cannot be scanned; gives all in single precision at least."""
    require.inexact(a=a, b=b)
    require.alike(a=a, b=b)
    require.same_shape(a=a, b=b)
    require.shapes(a=(a, "... L n"))
    h = torch.zeros_like(b[..., 0, :]) if start is None else start
    require.inexact(start=h)
    require.alike(a=a, start=h)
    if h.shape != b[..., 0, :].shape:
        raise ValueError(
            f"start must be {tuple(b[..., 0, :].shape)}, got shape {tuple(h.shape)}"
        )
    return require.widen(a), require.widen(b), require.widen(h)


# --- The selective scan -----------------------------------------------------------


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
) -> Tensor:
    """The recurrence of Mamba, one step after the other.

        h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t,    y_t = <C_t, h_t> + D u_t

    Args:
        u: inputs (..., L, d), floating dtype, L >= 1, d >= 1.
        delta: steps (..., L, d), same dtype; meant > 0, which is not looked at.
        A: rates (d, N), < 0, same dtype, N >= 1.
        B: what of an input is written, (..., L, N), same dtype.
        C: what of the state is read, (..., L, N), same dtype.
        D: what passes by, (d,), same dtype; nothing when not given.

    Returns:
        y (..., L, d), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Gu & Dao 2023, algorithm 2, arXiv:2312.00752.
    """
    u, delta, A, B, C = prepared_selective(u, delta, A, B, C, D)
    h = u.new_zeros(*u.shape[:-2], *A.shape)  # (..., d, N)
    outputs = []
    rows = zip(*(x.unbind(-2) for x in (u, delta, B, C)), strict=True)
    for u_t, delta_t, B_t, C_t in rows:
        decay = (delta_t.unsqueeze(-1) * A).exp()
        h = decay * h + (delta_t * u_t).unsqueeze(-1) * B_t.unsqueeze(-2)
        outputs.append((h * C_t.unsqueeze(-2)).sum(-1))
    y = torch.stack(outputs, -2)
    return y if D is None else y + require.widen(D) * u


def fast_selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
) -> Tensor:
    """`selective_scan` in segments of 128 steps, each in blocks side by side; on
    the way back the states of a segment are computed again and not kept. On CUDA
    kernels do the work, where Triton is installed.

    No `torch.func`: the way back is written by hand, once. No `torch.compile`: it
    loops over segments.

    Args:
        u: inputs (..., L, d), floating dtype, L >= 1, d >= 1.
        delta: steps (..., L, d), same dtype; meant > 0, which is not looked at.
        A: rates (d, N), < 0, same dtype, N >= 1.
        B: what of an input is written, (..., L, N), same dtype.
        C: what of the state is read, (..., L, N), same dtype.
        D: what passes by, (d,), same dtype; nothing when not given.

    Returns:
        y (..., L, d), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Gu & Dao 2023, section 3.3, arXiv:2312.00752.
    """
    u, delta, A, B, C = prepared_selective(u, delta, A, B, C, D)
    batch = u.shape[:-2]
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (u, delta, B, C)]
    y = SelectiveScan.apply(flat[0], flat[1], A, flat[2], flat[3])
    y = y.reshape(*batch, *u.shape[-2:])
    return y if D is None else y + require.widen(D) * u


class SelectiveScan(torch.autograd.Function):
    """y of the selective scan without D, batch (b, L, d) and (b, L, N)."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
    ) -> Tensor:
        if kernel_serves(u, delta, A, B, C):
            from lbdl.models.selective.triton import scan_forward

            y, starts = scan_forward(u, delta, A, B, C)
        else:
            y, starts = scan_in_segments(u, delta, A, B, C)
        ctx.save_for_backward(u, delta, A, B, C, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        given = *ctx.saved_tensors, grad
        if kernel_serves(*given[:5]):
            from lbdl.models.selective.triton import scan_backward

            return scan_backward(*given)
        return slopes_in_segments(*given)


def kernel_serves(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> bool:
    """Whether the kernels do the work: on CUDA, in float32, N up to 128."""
    fits = u.dtype == torch.float32 and A.shape[1] <= 128
    return fits and kernels.serve(u, delta, A, B, C)


def scan_in_segments(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor]:
    """y (b, L, d), and the state before each segment (segments, b, N, d)."""
    h = u.new_zeros(len(u), *A.mT.shape)
    starts, outputs = [], []
    for u_, delta_, B_, C_ in segments(u, delta, B, C):
        starts.append(h)
        _, states = segment_states(u_, delta_, A, B_, h)
        outputs.append((C_.unsqueeze(-2) @ states).squeeze(-2))
        h = states[-1].clone()
    return torch.cat(outputs).movedim(0, 1), torch.stack(starts)


def slopes_in_segments(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor,
    grad: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The gradients of u, delta, A, B, C, the last segment first."""
    to_A, later, found = torch.zeros_like(A), torch.zeros_like(starts[0]), []
    parts = segments(u, delta, B, C, grad)
    for part, h in zip(reversed(parts), starts.flip(0), strict=True):
        slopes, slope_A, later = segment_slopes(part, A, h, later)
        to_A += slope_A
        found.append(slopes)
    to = [torch.cat(x[::-1]).movedim(0, 1) for x in zip(*found, strict=True)]
    return to[0], to[1], to_A, to[2], to[3]


def segments(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """The tensors (b, L, ...), time first, cut into segments of time."""
    first = [x.movedim(1, 0).contiguous() for x in tensors]
    return list(zip(*(x.split(SEGMENT) for x in first), strict=True))


def segment_states(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """The decays and the states of a segment, both (T, b, N, d)."""
    decay = (delta.unsqueeze(-2) * (A.mT * LOG2_E).contiguous()).exp2_()
    states = (delta * u).unsqueeze(-2) * B.unsqueeze(-1)
    scan_in_place(decay, states, h)
    return decay, states


def segment_slopes(
    part: tuple[Tensor, ...], A: Tensor, h: Tensor, later: Tensor
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """The gradients of a segment: of u, delta, B, C; of A; and what its start gets.

    The gradient of a state, G_t = C_t g_t + decay_{t+1} G_{t+1}, is the same scan,
    backwards in time.
    """
    u, delta, B, C, grad = part
    decay, states = segment_states(u, delta, A, B, h)
    to_C = (grad.unsqueeze(-2) @ states.mT).squeeze(-2)
    G = grad.unsqueeze(-2) * C.unsqueeze(-1)
    G[-1] += later
    scan_in_place(decay[1:], G[:-1], G[-1], back=True)
    later = decay[0] * G[0]
    to_B = ((delta * u).unsqueeze(-2) @ G.mT).squeeze(-2)
    written = (B.unsqueeze(-2) @ G).squeeze(-2)
    turned = decay.mul_(G)  # times the state before: the gradient of delta A
    turned[1:] *= states[:-1]
    turned[0] *= h
    to_A = (turned * delta.unsqueeze(-2)).sum((0, 1)).mT
    to_delta = torch.addcmul(turned.mul_(A.mT).sum(-2), written, u)
    return (written * delta, to_delta, to_B, to_C), to_A, later


def scan_in_place(a: Tensor, x: Tensor, h: Tensor, back: bool = False) -> None:
    """x_t <- x_t + a_t x_{t-1}, or x_{t+1}, along dimension 0, from the state h.

    Where a step is small, blocks of steps go side by side: once from rest, to learn
    what each leaves and lets through; then again, from what it inherits.
    """
    way = -1 if back else 1
    blocks = max(1, min(len(x), TOGETHER // max(1, h.numel())))
    c, spare = divmod(len(x), blocks)
    sizes = [blocks * c, spare][::way]
    (a, a_spare), (x, x_spare) = (z.split(sizes)[::way] for z in (a, x))
    decays, rows = (z.unflatten(0, (blocks, c)).unbind(1)[::way] for z in (a, x))
    start = h.unsqueeze(0) if blocks == 1 else inherited(decays, rows, h, way)
    ends = advance(decays, rows, start)
    h = ends[0] if back else ends[-1]
    advance(a_spare.unbind()[::way], x_spare.unbind()[::way], h)


Rows = Sequence[Tensor]


def advance(decays: Rows, rows: Rows, h: Tensor) -> Tensor:
    """Each row becomes row + decay h, and the next h; gives the last."""
    for decay, row in zip(decays, rows, strict=True):
        h = row.addcmul_(decay, h)
    return h


def inherited(decays: Rows, rows: Rows, h: Tensor, way: int) -> Tensor:
    """The state before each block: (blocks, ...), from rows (blocks, ...) that are
    left as they are."""
    end, through = rows[0], decays[0]
    for decay, row in zip(decays[1:], rows[1:], strict=True):
        end, through = torch.addcmul(row, decay, end), through * decay
    starts = []
    for left, share in zip(
        end.unbind()[::way], through.unbind()[::way], strict=True
    ):
        starts.append(h)
        h = torch.addcmul(left, share, h)
    return torch.stack(starts[::way])


def prepared_selective(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None
) -> list[Tensor]:
    """Refuse what is no selective scan; gives all in single precision at least."""
    passing = {} if D is None else {"D": D}
    require.floating(u=u, delta=delta, A=A, B=B, C=C, **passing)
    require.alike(u=u, delta=delta, A=A, B=B, C=C, **passing)
    require.same_shape(u=u, delta=delta)
    require.same_shape(B=B, C=C)
    shapes: Any = {name: (x, "d") for name, x in passing.items()}
    require.shapes(u=(u, "... L d"), A=(A, "d N"), B=(B, "... L N"), **shapes)
    if u.shape[:-2] != B.shape[:-2]:
        raise ValueError(
            f"B must have the leading dimensions of u, {tuple(u.shape[:-2])}, "
            f"got shape {tuple(B.shape)}"
        )
    return [require.widen(x) for x in (u, delta, A, B, C)]


# --- The same as a matrix ---------------------------------------------------------


def decay_mask(log_decay: Tensor) -> Tensor:
    """How much of step s is left at step t: a lower triangular matrix.

        M_ts = exp(log_decay_{s+1} + ... + log_decay_t)  for s <= t,  else 0

    Args:
        log_decay: (..., L), floating dtype, L >= 1; zero everywhere gives the
            causal mask of ones.

    Returns:
        M (..., L, L), float32 for half precision.

    Raises:
        TypeError: `log_decay` is not a floating tensor.
        ValueError: `log_decay` has no element along its last dimension.

    Source: Dao & Gu 2024, section 3, arXiv:2405.21060: "1-semiseparable".
    """
    require.floating(log_decay=log_decay)
    L = require.shapes(log_decay=(log_decay, "... L"))["L"]
    total = require.widen(log_decay).cumsum(-1)
    between = total.unsqueeze(-1) - total.unsqueeze(-2)
    causal = torch.ones(L, L, dtype=torch.bool, device=log_decay.device).tril()
    return between.masked_fill(~causal, -torch.inf).exp()


def selective_attention(
    values: Tensor, log_decay: Tensor, keys: Tensor, queries: Tensor
) -> Tensor:
    """The selective scan with one decay for all numbers of state, as attention: a
    masked matrix product, quadratic in L.

        y = (decay_mask * (queries keys^T)) values

    With values = delta u, keys = B, queries = C and log_decay = delta A it is
    `selective_scan`; without decay it is causal linear attention.

    Args:
        values: (..., L, d), floating dtype, L >= 1.
        log_decay: (..., L), <= 0, same dtype.
        keys: (..., L, N), same dtype.
        queries: (..., L, N), same dtype.

    Returns:
        y (..., L, d), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Dao & Gu 2024, section 3, arXiv:2405.21060.
    """
    given = {"values": values, "keys": keys, "queries": queries}
    require.floating(**given, log_decay=log_decay)
    require.alike(**given, log_decay=log_decay)
    require.shapes(
        values=(values, "... L d"),
        log_decay=(log_decay, "... L"),
        keys=(keys, "... L N"),
        queries=(queries, "... L N"),
    )
    values, keys, queries = map(require.widen, (values, keys, queries))
    return (decay_mask(log_decay) * (queries @ keys.mT)) @ values
