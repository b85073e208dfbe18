"""Contrastive learning with batches larger than memory: exact gradients, chunk by
chunk.

A contrastive loss compares every example with every other, so that the losses of
chunks do not add up to that of the batch. Gradients do: once it is known how the
loss pulls at each embedding, every chunk can be treated alone. `accumulate` does it
for any encoders and any loss of embeddings; `fast_clip_loss` needs no table of all
pairs either.

Gao, Zhang, Han & Callan 2021 (GradCache), arXiv:2101.06983; Radford et al. 2021
(CLIP), arXiv:2103.00020; Zhai et al. 2023 (SigLIP), arXiv:2303.15343.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from lbdl import require
from lbdl.foundations.losses import (
    binary_cross_entropy,
    cross_entropy,
    log_softmax,
)
from lbdl.foundations.memory.checkpointing import random_states, replayed
from lbdl.models.normalization import BatchNorm

__all__ = [
    "accumulate",
    "accumulate_naively",
    "clip_gradients",
    "clip_loss",
    "fast_clip_loss",
    "log_sums",
    "pair_gradients",
    "pair_loss",
    "sigmoid_pairs",
    "surrogate",
]

Encoder = Callable[[Tensor], Tensor]
Loss = Callable[..., Tensor]


# --- Losses of pairs, and how they pull ---


def pair_loss(
    first: Tensor,
    second: Tensor,
    targets: Tensor,
    *,
    scale: float | Tensor = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """For each first embedding, which second one belongs to it? Cross-entropy over
    all of them.

        L = -(1/N) sum_ij t_ij log p_ij,   p_ij = e^(s_ij) / sum_j e^(s_ij),
        s_ij = scale <a_i, b_j>

    InfoNCE for rows of length 1, scale 1 / T and t the identity; NT-Xent for first
    = second, with the diagonal masked. All pairs stand in memory.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., M, d), dtype of `first`; it may be `first` itself.
        targets: t (..., N, M), dtype of `first`; each row sums to 1.
        scale: a number > 0, or a tensor () that may learn.
        mask: bool (N, M) or (..., N, M), True for pairs that do not count; there
            `targets` must be 0.

    Returns:
        A scalar, dtype of `first`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `scale` is not positive, `targets` are no
            probabilities or ask for a masked pair, or a row is masked whole.

    Source: van den Oord, Li & Vinyals 2018, equation (4), arXiv:1807.03748, with
        any targets.
    """
    a, b, t = tables(first, second, targets, scale, mask)
    log_p = log_softmax(masked(scale * (a @ b.mT), mask, -torch.inf))  # (..., N, M)
    return -(t * masked(log_p, mask, 0.0)).sum(-1).mean().to(first.dtype)


def pair_gradients(
    first: Tensor,
    second: Tensor,
    targets: Tensor,
    *,
    scale: float | Tensor = 1.0,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `pair_loss`, written down.

        G = (p - t) / N,
        dL/da_i = scale sum_j G_ij b_j,    dL/db_j = scale sum_i G_ij a_i,
        dL/dscale = sum_ij G_ij <a_i, b_j>

    Where `first` and `second` are one tensor, its gradient is the sum of both.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., M, d), dtype of `first`.
        targets: t (..., N, M), dtype of `first`; each row sums to 1.
        scale: a number > 0, or a tensor ().
        mask: bool (N, M) or (..., N, M), True for pairs that do not count.

    Returns:
        Gradients in a (..., N, d), in b (..., M, d) and in the scale (...), dtype
        of `first`; those of the loss of each leading index.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: as `pair_loss`.

    Source: the chapter derives it; GradCache (Gao et al. 2021, arXiv:2101.06983)
        has it from autograd.
    """
    a, b, t = tables(first, second, targets, scale, mask)
    p = masked(scale * (a @ b.mT), mask, -torch.inf).softmax(-1)  # (..., N, M)
    G = (p - t) / a.shape[-2]
    pulls = G @ b
    found = scale * pulls, scale * (G.mT @ a), (a * pulls).sum((-2, -1))
    of_a, of_b, of_scale = (x.to(first.dtype) for x in found)
    return of_a, of_b, of_scale


def clip_loss(
    first: Tensor, second: Tensor, *, scale: float | Tensor = 1.0
) -> Tensor:
    """Which second embedding belongs to each first one, and the other way round.

        L = (1/2N) sum_i (-log p_ii - log q_ii),
        p the softmax of s along rows, q along columns,   s_ij = scale <a_i, b_j>

    For rows of length 1 and scale 1 / T it is the mean of info_nce(a, b) and
    info_nce(b, a).
    All pairs stand in memory; `fast_clip_loss` is the same without.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., N, d), dtype of `first`; b_i belongs to a_i.
        scale: a number > 0, or a tensor () that may learn.

    Returns:
        A scalar, dtype of `first`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or `scale` is not positive.

    Source: Radford et al. 2021, figure 3, arXiv:2103.00020.
    """
    require_towers(first, second, scale)
    logits = scale * (require.widen(first) @ require.widen(second).mT)
    own = torch.arange(logits.shape[-1], device=logits.device)
    own = own.expand(logits.shape[:-1])
    both = cross_entropy(logits, own) + cross_entropy(logits.mT, own)
    return (both / 2).to(first.dtype)


def fast_clip_loss(
    first: Tensor,
    second: Tensor,
    *,
    scale: float | Tensor = 1.0,
    block: int = 256,
) -> Tensor:
    """`clip_loss` with memory that grows as N, not as N^2.

        L = (1/2N) sum_i (r_i + c_i - 2 s_ii),
        r_i = log sum_j e^(s_ij),   c_j = log sum_i e^(s_ij)

    Scores are made `block` rows at a time by `log_sums`, and once more on the way
    back by `clip_gradients`; only r and c stay. Differentiable once.
    No `torch.func`: the way back is written down; `clip_loss` has all.
    No `torch.compile`: nor is it traced.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., N, d), dtype of `first`; b_i belongs to a_i.
        scale: a number > 0, or a tensor () that may learn.
        block: rows at a time, a number >= 1.

    Returns:
        A scalar, dtype of `first`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Radford et al. 2021, figure 3, arXiv:2103.00020, for the loss; the
        chapter derives the way back.
    """
    require_towers(first, second, scale)
    require.whole(block=block, least=1)
    a, b = require.widen(first), require.widen(second)
    factor = torch.as_tensor(scale, dtype=a.dtype, device=a.device)
    return StreamedPairs.apply(a, b, factor, block).mean().to(first.dtype)


class StreamedPairs(torch.autograd.Function):
    """CLIP's losses (...) of embeddings (..., N, d); saves them and the logarithms
    of the sums of rows and of columns."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, scale: Tensor, block: int
    ) -> Tensor:
        r, c = log_sums(a, b, scale=scale, block=block)
        ctx.save_for_backward(a, b, scale, r, c)
        ctx.block = block
        own = scale * (a * b).sum(-1)
        return ((r + c) / 2 - own).mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        a, b, scale, r, c = ctx.saved_tensors
        sums = {"rows": r, "columns": c}
        found = clip_gradients(a, b, **sums, scale=scale, block=ctx.block)
        of_a, of_b, of_scale = found
        each = grad[..., None, None]
        return each * of_a, each * of_b, (grad * of_scale).sum(), None


def log_sums(
    first: Tensor,
    second: Tensor,
    *,
    scale: float | Tensor = 1.0,
    block: int = 256,
) -> tuple[Tensor, Tensor]:
    """The logarithms of the sums along rows and along columns of a table of scores
    that is never whole in memory.

        r_i = log sum_j e^(s_ij),    c_j = log sum_i e^(s_ij),
        s_ij = scale <a_i, b_j>

    `block` rows at a time: their r at once, and c <- log(e^c + e^(c of the rows)).

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., M, d), dtype of `first`.
        scale: a number > 0, or a tensor ().
        block: rows at a time, a number >= 1.

    Returns:
        r (..., N) and c (..., M), dtype of `first`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Milakov & Gimelshein 2018, arXiv:1805.02867, for sums in one pass.
    """
    require_pairs(first, second, scale)
    require.whole(block=block, least=1)
    a, b = require.widen(first), require.widen(second)
    rows, columns = [], (b[..., 0] * 0).fill_(-torch.inf)
    for _, s in blocks_of(scale * a, b, block):
        rows.append(s.logsumexp(-1))
        columns = torch.logaddexp(columns, s.logsumexp(-2))
    return torch.cat(rows, -1).to(first.dtype), columns.to(first.dtype)


def clip_gradients(
    first: Tensor,
    second: Tensor,
    rows: Tensor,
    columns: Tensor,
    *,
    scale: float | Tensor = 1.0,
    block: int = 256,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `clip_loss`, from the sums along rows and columns.

        P_ij = e^(s_ij - r_i) + e^(s_ij - c_j) - 2 [i = j],
        dL/dA = scale P B / 2N,    dL/dB = scale P^T A / 2N,
        dL/dscale = sum_i <a_i, (P B)_i> / 2N

    Scores are made again, `block` rows at a time. No `torch.func`: gradients are
    written in place.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., N, d), dtype of `first`.
        rows: r (..., N) of `log_sums`, dtype of `first`.
        columns: c (..., N) of `log_sums`, dtype of `first`.
        scale: a number > 0, or a tensor ().
        block: rows at a time, a number >= 1.

    Returns:
        Gradients in a (..., N, d), in b (..., N, d) and in the scale (...), dtype
        of `first`, without a graph.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or a number is out of range.

    Source: the chapter derives it.
    """
    require_towers(first, second, scale)
    require.matching(first=first[..., 0], rows=rows, columns=columns)
    require.whole(block=block, least=1)
    given = (first, second, rows, columns)
    a, b, r, c = (require.widen(x.detach()) for x in given)
    PB, PA = torch.empty_like(a), torch.zeros_like(b)
    for i, s in blocks_of(scale * a, b, block):
        n = s.shape[-2]
        P = (s - r.narrow(-1, i, n).unsqueeze(-1)).exp_()
        P += s.sub_(c.unsqueeze(-2)).exp_()  # (..., n, N)
        P.diagonal(i, -2, -1).sub_(2)
        torch.matmul(P, b, out=PB.narrow(-2, i, n))
        PA += P.mT @ a.narrow(-2, i, n)
    twice = 2 * a.shape[-2]
    of_scale = (a * PB).sum((-2, -1)) / twice
    found = (scale / twice) * PB, (scale / twice) * PA, of_scale
    of_a, of_b, of_scale = (x.detach().to(first.dtype) for x in found)
    return of_a, of_b, of_scale


def blocks_of(a: Tensor, b: Tensor, block: int) -> Iterator[tuple[int, Tensor]]:
    """Scores <a_i, b_j>, some rows at a time, and the number of the first."""
    for start in range(0, a.shape[-2], block):
        yield start, a[..., start : start + block, :] @ b.mT


def sigmoid_pairs(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    scale: float | Tensor = 1.0,
    bias: float | Tensor = 0.0,
) -> Tensor:
    """A question for each pair alone, do the two belong together? The sum over
    pairs.

        L = -sum_ij log sigma(z_ij (scale <a_i, b_j> + bias)),
        z_ij = 1 where same_ij, else -1

    No pair needs another one, so that the losses of blocks of pairs add up. SigLIP
    divides by N.

    Args:
        first: a (..., N, d), floating dtype.
        second: b (..., M, d), dtype of `first`.
        same: bool (..., N, M).
        scale: a number > 0, or a tensor () that may learn.
        bias: a number, or a tensor () that may learn.

    Returns:
        A scalar, dtype of `first`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Zhai et al. 2023, equation (2), arXiv:2303.15343.
    """
    require_pairs(first, second, scale)
    require.boolean(same=same)
    require.shapes(
        first=(first, "... N d"),
        second=(second, "... M d"),
        same=(same, "... N M"),
    )
    require.number_or_tensor(bias=bias)
    require_single(bias=bias)
    logits = scale * (require.widen(first) @ require.widen(second).mT) + bias
    asked = same.expand(logits.shape)
    total = binary_cross_entropy(logits, asked, reduction="sum")
    return total.to(first.dtype)


# --- Chunk by chunk ---


def surrogate(embeddings: Tensor, pulls: Tensor) -> Tensor:
    """A scalar with the gradient of a loss, from how the loss pulls at embeddings.

        sum_i <h_i, g_i>,    g_i = dL/dh_i taken as constants

    Its value is not the loss. Its gradient in whatever the embeddings depend on is
    the part of the loss's gradient that comes through them; parts of disjoint
    chunks add up.

    >>> h = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> surrogate(h, torch.tensor([[3.0, 4.0]]))
    tensor(11., grad_fn=<SumBackward0>)

    Args:
        embeddings: h (..., n, d), floating dtype.
        pulls: g (..., n, d), dtype of `embeddings`.

    Returns:
        A scalar, dtype of `embeddings`.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes differ, or there is no element.

    Source: Gao et al. 2021, section 3, arXiv:2101.06983.
    """
    require.matching(embeddings=embeddings, pulls=pulls)
    require.nonempty(embeddings=embeddings)
    total = require.widen(embeddings) * require.widen(pulls.detach())
    return total.sum().to(embeddings.dtype)


def accumulate(
    loss: Loss,
    encoders: Sequence[Encoder],
    inputs: Sequence[Tensor],
    chunk: int,
) -> Tensor:
    """The gradient of a loss of a whole batch, with the inner states of one chunk
    in memory at a time.

        1. h = f(x), chunk by chunk, without a graph
        2. L = loss(h), and its pulls g = dL/dh
        3. f(x) again, chunk by chunk, and backward through sum_i <h_i, g_i>

    Gradients are added to `.grad` of all that asks for one: weights of encoders,
    and what the loss itself learns, such as a temperature. Two forward passes, one
    backward. The random numbers of torch's own generators are the same in both
    passes, so that dropout is the same network twice; those of another generator
    are not. An encoder must treat every row alone.

    Args:
        loss: of the embeddings, as many as encoders; gives a scalar.
        encoders: a list of functions or modules, x (n, ...) -> h (n, d). One that
            occurs twice sees two inputs.
        inputs: a list of tensors x (N, ...), one for each encoder, any dtype.
        chunk: rows at a time, a number >= 1.

    Returns:
        L, a scalar without a graph.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `chunk` is below 1; there are not as many `inputs` as
            `encoders`, or one is empty; one of the `encoders` holds batch
            normalisation in training, or does not give one row for each; or `loss`
            gives no scalar.

    Source: Gao, Zhang, Han & Callan 2021, section 3, arXiv:2101.06983.
    """
    require_batch(loss, encoders, inputs, chunk)
    pairs = list(zip(encoders, inputs, strict=True))
    passes = [encoded(f, x, chunk) for f, x in pairs]
    embeddings = [h.requires_grad_() for h, _ in passes]
    value = loss(*embeddings)
    require_scalar(value)
    value.backward()
    for (f, x), (h, states) in zip(pairs, passes, strict=True):
        if h.grad is not None:
            again(f, x.split(chunk), h.grad.split(chunk), states)
    return value.detach()


def encoded(f: Encoder, x: Tensor, chunk: int) -> tuple[Tensor, list[Any]]:
    """Embeddings of all rows, without a graph, and where randomness stood before
    each chunk."""
    parts, states = [], []
    with torch.no_grad():
        for rows in x.split(chunk):
            states.append(random_states([rows]))
            h = f(rows)
            require_rows(h, rows)
            parts.append(h.detach())
    return torch.cat(parts), states


def again(
    f: Encoder, chunks: Sequence[Tensor], pulls: Sequence[Tensor], states: list[Any]
) -> None:
    """The second pass of an encoder, with a graph, and back through it."""
    for rows, pull, state in zip(chunks, pulls, states, strict=True):
        with replayed(state):
            told = surrogate(f(rows), pull)
        if told.requires_grad:  # else nothing in the encoder learns
            told.backward()


def accumulate_naively(
    loss: Loss,
    encoders: Sequence[Encoder],
    inputs: Sequence[Tensor],
    chunk: int,
) -> Tensor:
    """Ordinary gradient accumulation: every chunk as if it were a batch.

        sum over chunks of (n / N) loss(f(x of the chunk))

    Right for losses that are means over examples. A contrastive loss becomes
    another one, in which an example meets its own chunk only.

    Args:
        loss: of the embeddings, as many as encoders; gives a scalar.
        encoders: a list of functions or modules, x (n, ...) -> h (n, d).
        inputs: a list of tensors x (N, ...), one for each encoder, any dtype.
        chunk: rows at a time, a number >= 1.

    Returns:
        The mean of the chunks' losses, a scalar without a graph.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: as `accumulate`; also where the `inputs` have not equally many
            rows.
    """
    require_batch(loss, encoders, inputs, chunk)
    N = len(inputs[0])
    if any(len(x) != N for x in inputs):
        raise ValueError(
            f"inputs must have equally many rows, got {[len(x) for x in inputs]}"
        )
    values = []
    for parts in zip(*(x.split(chunk) for x in inputs), strict=True):
        value = loss(*(f(x) for f, x in zip(encoders, parts, strict=True)))
        require_scalar(value)
        values.append(value * (len(parts[0]) / N))
        values[-1].backward()
    return torch.stack([value.detach() for value in values]).sum()


# --- What they ask for ---


def masked(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """x with a value of its own where a pair does not count."""
    return x if mask is None else x.masked_fill(mask, value)


def tables(
    first: Tensor,
    second: Tensor,
    targets: Tensor,
    scale: float | Tensor,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What losses of pairs ask for; embeddings and targets, in float32 or
    better."""
    patterns: Any = {
        "first": (first, "... N d"),
        "second": (second, "... M d"),
        "targets": (targets, "... N M"),
    }
    require.fitting(**patterns)
    require.distribution(targets=targets)
    require_scale(scale)
    if mask is not None:
        require.boolean(mask=mask)
        require.shapes(**patterns, mask=(mask, "... N M"))
        whole = mask.all(-1)
        require.values(~whole, "mask must leave a pair in every row")
        asked = mask & (targets != 0)
        require.values(~asked, "targets must be 0 where mask is True")
    return require.widen(first), require.widen(second), require.widen(targets)


def require_towers(first: Tensor, second: Tensor, scale: float | Tensor) -> None:
    """What the losses of two towers ask for."""
    require_pairs(first, second, scale)
    require.same_shape(first=first, second=second)


def require_pairs(first: Tensor, second: Tensor, scale: float | Tensor) -> None:
    """What everything asks for that scores pairs."""
    require.fitting(first=(first, "... N d"), second=(second, "... M d"))
    require_scale(scale)


def require_scale(scale: float | Tensor) -> None:
    """TypeError or ValueError unless it is one number > 0."""
    require.number_or_tensor(scale=scale, above=0)
    require_single(scale=scale)


def require_single(**numbers: float | Tensor) -> None:
    """ValueError unless each is a number, or a tensor ()."""
    for name, x in numbers.items():
        if isinstance(x, Tensor) and x.dim():
            raise ValueError(
                f"{name} must be one number, got shape {tuple(x.shape)}"
            )


def require_batch(
    loss: Loss,
    encoders: Sequence[Encoder],
    inputs: Sequence[Tensor],
    chunk: int,
) -> None:
    """What both ways to go through a batch ask for."""
    require.function(loss=loss)
    require.functions(encoders=encoders)
    require.instances(Tensor, inputs=inputs)
    require.whole(chunk=chunk, least=1)
    if len(inputs) != len(encoders):
        raise ValueError(
            f"inputs must be as many as the {len(encoders)} encoders, got "
            f"{len(inputs)}"
        )
    for i, x in enumerate(inputs):
        if x.dim() == 0 or len(x) == 0:
            raise ValueError(
                f"inputs[{i}] must have at least one row, got shape "
                f"{tuple(x.shape)}"
            )
    require_rowwise(encoders)


def require_rowwise(encoders: Sequence[Encoder]) -> None:
    """ValueError where an encoder, as far as can be seen, mixes rows."""
    modules = [f for f in encoders if isinstance(f, nn.Module)]
    parts = [part for f in modules for part in f.modules()]
    if any(
        isinstance(part, _BatchNorm | BatchNorm) and part.training for part in parts
    ):
        raise ValueError(
            "encoders must hold no batch normalisation in training: its means "
            "would be those of a chunk"
        )


def require_rows(h: Any, rows: Tensor) -> None:
    """ValueError unless there is one embedding a row."""
    if not isinstance(h, Tensor) or h.dim() == 0 or len(h) != len(rows):
        raise ValueError(
            f"encoders must give one row for each of {len(rows)}, got "
            f"{tuple(h.shape) if isinstance(h, Tensor) else require.kind(h)}"
        )


def require_scalar(value: Any) -> None:
    """ValueError unless a loss is one number with a graph."""
    if not isinstance(value, Tensor) or value.dim() or not value.requires_grad:
        raise ValueError(
            "loss must give a scalar tensor that depends on the embeddings"
        )
