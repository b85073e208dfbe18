"""Growth: a larger transformer that begins as a smaller one, with the same
function.

Every unit gets k - 1 twins, and weights are divided so that what twins say
together is what one said before. Twins stay twins in training unless something
parts them, and that can be done without a change of the function. A network grows
deeper by blocks that begin as the identity.

Chen, Goodfellow & Shlens 2016, arXiv:1511.05641; Chen et al. 2022,
arXiv:2110.07143; Wang et al. 2024, arXiv:2310.07999.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lbdl import require
from lbdl.models.transformer import GPT, Block

__all__ = [
    "deepen",
    "part_twins",
    "repeat",
    "twin_spread",
    "uneven_split",
    "widen",
    "widen_linear",
    "widen_norm",
    "zero_sum_noise",
]

WAYS = ("zero-sum", "uneven", "plain")


# --- Wider ---


def repeat(x: Tensor, k: int, dim: int = -1, group: int = 1) -> Tensor:
    """Every coordinate k times, copies side by side.

        (x_1, x_2, ...) -> (x_1, ..., x_1, x_2, ..., x_2, ...)

    Copies that stand side by side stay within the head of attention that the
    coordinate belongs to. With `group=2`, pairs of coordinates are copied as they
    are, as rotary positions need it.

    >>> repeat(torch.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    >>> repeat(torch.tensor([1.0, 2.0]), 2, group=2)
    tensor([1., 2., 1., 2.])

    Args:
        x: (..., n, ...), any dtype.
        k: copies, a number >= 1.
        dim: the dimension of size n.
        group: coordinates that are copied together, a number >= 1, divides n.

    Returns:
        (..., k n, ...), dtype of `x`.

    Raises:
        TypeError: `x` is no tensor, or a number no whole number.
        ValueError: a number is out of range, or `group` does not divide n.

    Source: Chen, Goodfellow & Shlens 2016, arXiv:1511.05641 (Net2WiderNet, with
    copies of units drawn at random).
    """
    require.tensor(x=x)
    require.dim(x, dim)
    require.whole(k=k, group=group, least=1)
    if x.shape[dim] % group:
        raise ValueError(f"group must divide {x.shape[dim]}, got {group}")
    groups = x.movedim(dim, -1).unflatten(-1, (-1, 1, group))
    copies = groups.expand(*groups.shape[:-2], k, group).flatten(-3)
    return copies.movedim(-1, dim)


def widen_linear(
    weight: Tensor,
    bias: Tensor | None,
    k: int,
    *,
    read: float = 1.0,
    write: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """A linear layer for repeated vectors.

        W' = write / (k read) repeat(W),   b' = write repeat(b)

    with W repeated along both axes. It maps read repeat(x) to write repeat(W x +
    b): each sum has every term k times, and the k is divided out.

    Args:
        weight: W (m, n), floating dtype.
        bias: b (m,), dtype of `weight`, or None.
        k: copies of each coordinate, a number >= 1.
        read: size of the copies that come in, > 0.
        write: size of the copies that go out, > 0; or a tensor (m,), one number for
            each unit.

    Returns:
        W' (k m, k n) and b' (k m,) or None, dtype of `weight`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, or shapes do not fit.

    Source: Chen, Goodfellow & Shlens 2016, arXiv:1511.05641 (Net2WiderNet).
    """
    require.floating(weight=weight)
    sizes = require.shapes(weight=(weight, "m n"))
    require.whole(k=k, least=1)
    require.number(read=read, above=0)
    require.number_or_tensor(write=write, above=0)
    rows = torch.as_tensor(write, dtype=weight.dtype, device=weight.device)
    require.broadcast_to((sizes["m"],), write=rows)
    wide = repeat(repeat(weight * rows[..., None] / (k * read), k), k, dim=0)
    if bias is None:
        return wide, None
    require.floating(bias=bias)
    require.alike(weight=weight, bias=bias)
    require.shapes(weight=(weight, "m n"), bias=(bias, "m"))
    return wide, repeat(rows * bias, k)


def widen_norm(
    norm: nn.LayerNorm, k: int, *, read: float = 1.0, write: float = 1.0
) -> nn.LayerNorm:
    """Layer normalisation for repeated vectors.

        eps' = read^2 eps,   gamma' = write repeat(gamma),
        beta' = write repeat(beta)

    It maps read repeat(x) to write repeat(norm(x)): mean and standard deviation of
    the copies are `read` times those of x, and so must be the small number under
    the root.

    Args:
        norm: over one dimension, with or without gamma and beta.
        k: copies of each coordinate, a number >= 1.
        read: size of the copies that come in, > 0.
        write: size of the copies that go out, > 0; without gamma only 1.

    Returns:
        A new layer; `norm` stays as it is.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, `norm` spans several dimensions, or
            has no gamma for a `write` other than 1.
    """
    require.instance(nn.LayerNorm, norm=norm)
    require.whole(k=k, least=1)
    require.number(read=read, write=write, above=0)
    if len(norm.normalized_shape) != 1:
        raise ValueError(
            f"norm must span one dimension, got {norm.normalized_shape}"
        )
    if not norm.elementwise_affine and write != 1:
        raise ValueError(f"write must be 1 for a norm without gamma, got {write}")
    wide = copy.deepcopy(norm)
    wide.normalized_shape = (k * norm.normalized_shape[0],)
    wide.eps = read**2 * norm.eps
    for name, old in norm.named_parameters():
        new = write * repeat(old.detach(), k)
        setattr(wide, name, nn.Parameter(new, old.requires_grad))
    return wide


def widen(model: GPT, k: int, *, size: float | None = None) -> GPT:
    """A GPT k times as wide, with as many heads and blocks, that gives the same
    logits.

        every vector h between the blocks  ->  size repeat(h)

    Queries and keys have the size k^(-1/4), for their product is divided by the
    root of a width that has grown; what goes into GELU keeps its size, for GELU is
    not homogeneous; the last norm writes 1/(k size), for the readout sums k copies.
    Dropout draws for each copy, so that the functions are equal without it.

    Args:
        model: trained or not; it stays as it is.
        k: factor, a number >= 1.
        size: of the copies between the blocks, > 0; by default k^(-1/2), which
            keeps the norms of vectors. With 1, every number is copied as it is.

    Returns:
        A new model of width k d, in the mode (training or evaluation) of `model`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Chen et al. 2022, arXiv:2110.07143, for copies in a transformer; the
    chapter derives the factors.
    """
    require.instance(GPT, model=model)
    require.whole(k=k, least=1)
    size = k**-0.5 if size is None else size
    require.number(size=size, above=0)
    wide = blank(model, k)
    wide.norm = widen_norm(model.norm, k, read=size, write=1 / (k * size))
    state: dict[str, Any] = {
        f"norm.{name}": w for name, w in wide.norm.named_parameters()
    }
    for name in ("embedding", "places", "readout"):
        state[f"{name}.weight"] = size * repeat(getattr(model, name).weight, k)
    if model.readout.bias is not None:
        state["readout.bias"] = model.readout.bias.clone()
    for i, block in enumerate(model.blocks):
        for name, new in widened_block(block, wide.blocks[i], k, size):
            state[f"blocks.{i}.{name}"] = new
    wide.load_state_dict({n: w.detach() for n, w in state.items()}, assign=True)
    if is_tied(model):
        wide.readout.weight = wide.embedding.weight
    return wide.train(model.training)


def widened_block(
    block: Any, wide: Any, k: int, size: float
) -> Iterator[tuple[str, Any]]:
    """The parameters of a block, k times as wide, by name; sets the norms of the
    wide one."""
    third = torch.ones_like(block.out.bias)
    qk = k**-0.25
    how: dict[str, dict[str, Any]] = {
        "qkv": {
            "read": size,
            "write": torch.cat([qk * third] * 2 + [size * third]),
        },
        "out": {"read": size, "write": size},
        "up": {"read": size, "write": 1.0},
        "down": {"read": 1.0, "write": size},
    }
    for i, norm in enumerate(block.norms):
        wide.norms[i] = widen_norm(norm, k, read=size, write=size)
        for name, new in wide.norms[i].named_parameters():
            yield f"norms.{i}.{name}", new
    for name, sizes in how.items():
        part = getattr(block, name)
        weight, bias = widen_linear(part.weight, part.bias, k, **sizes)
        yield from ((f"{name}.weight", weight), (f"{name}.bias", bias))


def blank(model: GPT, k: int) -> GPT:
    """A GPT k times as wide, without numbers."""
    block: Any = model.blocks[0]
    vocabulary, width = model.embedding.weight.shape
    with torch.device("meta"):
        return GPT(
            vocabulary,
            model.context,
            k * width,
            len(model.blocks),
            model.heads,
            block.causal,
            block.dropout.p,
            is_tied(model),
        )


def is_tied(model: GPT) -> bool:
    """Whether the readout is the table of the embedding."""
    return model.readout.weight is model.embedding.weight


# --- Twins, and how to part them ---


def twin_spread(x: Tensor, k: int, dim: int = -1) -> Tensor:
    """How far twins are from being equal: the root mean square of their deviations
    from the mean of their group, over that of all numbers.

        sqrt(sum_il (x_il - mean_l x_il)^2 / sum_il x_il^2)

    0 if all are equal, 1 if each group sums to zero.

    Args:
        x: (..., k n, ...), floating dtype, twins side by side.
        k: twins in a group, a number >= 1.
        dim: the dimension of size k n.

    Returns:
        A scalar, dtype of `x`; 0 where all numbers are 0. Half precision is
        computed in float32.

    Raises:
        TypeError: `x` is not floating, or a number no whole number.
        ValueError: `x` has no element, `k` is out of range or does not divide the
            size, or `dim` is out of range.
    """
    require.floating(x=x)
    require.nonempty(x=x)
    groups = grouped(require.widen(x), k, dim)
    groups = groups / require.power_of_two(groups, tuple(range(groups.ndim)))
    apart = groups - groups.mean(-1, keepdim=True)
    total = groups.square().sum()
    nothing = (total == 0).to(total.dtype)
    return (apart.square().sum() / (total + nothing)).sqrt().to(x.dtype)


def uneven_split(weight: Tensor, k: int, u: float) -> Tensor:
    """Shares of a weight that are not equal: the first twin speaks louder, the last
    more softly, and their sum stays.

        w'_l = w_l (1 + u z_l),   z = 1, ..., -1 in equal steps

    Args:
        weight: (..., k n), floating dtype, twins side by side and equal.
        k: twins in a group, a number >= 2.
        u: >= 0; from 1 on some shares are not positive.

    Returns:
        Shape and dtype of `weight`. The sum over each group stays.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, or `k` does not divide the size.

    Source: Wang et al. 2024, figure 3, arXiv:2310.07999 (unequal shares that sum to
    one).
    """
    require.floating(weight=weight)
    require.number(u=u, least=0)
    groups = grouped(require.widen(weight), k, -1, "weight", least=2)
    z = torch.linspace(1, -1, k, dtype=groups.dtype, device=weight.device)
    return (groups * (1 + u * z)).flatten(-2).to(weight.dtype)


def zero_sum_noise(
    weight: Tensor, k: int, generator: Generator | None = None
) -> Tensor:
    """Noise that a layer which reads k equal numbers cannot hear.

        D_il = sqrt(k / (k - 1)) (e_il - mean_l e_il),   e ~ N(0, 1)

    Every D_il has variance 1, and each group of twins the sum 0.

    Args:
        weight: (..., k n), floating dtype; shape, dtype and device are taken from
            it.
        k: twins in a group, a number >= 2.
        generator: of the device of `weight`; by default torch's.

    Returns:
        D, shape and dtype of `weight`. Half precision is drawn in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `k` is out of range or does not divide the size.
    """
    require.floating(weight=weight)
    require.generator(generator=generator)
    e = torch.empty_like(require.widen(weight)).normal_(generator=generator)
    groups = grouped(e, k, -1, "weight", least=2)
    apart = groups - groups.mean(-1, keepdim=True)
    return ((k / (k - 1)) ** 0.5 * apart).flatten(-2).to(weight.dtype)


def part_twins(
    model: GPT,
    k: int,
    amount: float,
    how: str = "zero-sum",
    generator: Generator | None = None,
) -> GPT:
    """Makes the weights of twins differ, after `widen`.

    Changed are the weights that read twins: all matrices of the blocks, and gamma
    of the last norm, which the readout reads. Zero-sum noise and an uneven split
    keep the function, plain noise does not.

    Args:
        model: from `widen`; it stays as it is.
        k: the factor that it was widened by, a number >= 2.
        amount: root mean square of the change over that of the weights ("zero-sum",
            "plain"), or u of `uneven_split`; >= 0.
        how: "zero-sum", "uneven" or "plain".
        generator: of the device of the model; by default torch's.

    Returns:
        A new model.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, `k` does not divide the width, or
            `how` is another word.

    Source: Wang et al. 2024, figure 3, arXiv:2310.07999, for the uneven split.
    """
    require.instance(GPT, model=model)
    require.whole(k=k, least=2)
    require.number(amount=amount, least=0)
    require.choice(WAYS, how=how)
    require.generator(generator=generator)
    parted = copy.deepcopy(model)
    weights = [part.weight for b in parted.blocks for part in readers(b)]
    with torch.no_grad():
        for w in (*weights, parted.norm.weight):
            w.copy_(changed(w, k, amount, how, generator))
    return parted


def changed(
    w: Tensor, k: int, amount: float, how: str, generator: Generator | None
) -> Tensor:
    """A weight with its twins parted."""
    if how == "uneven":
        return uneven_split(w, k, amount)
    noise = zero_sum_noise(w, k, generator)
    if how == "plain":
        noise = torch.empty_like(w).normal_(generator=generator)
    return w + amount * w.square().mean().sqrt() * noise


def readers(block: Any) -> list[nn.Linear]:
    """The layers of a block that read vectors of twins: all."""
    return [block.qkv, block.out, block.up, block.down]


def grouped(x: Tensor, k: int, dim: int, name: str = "x", least: int = 1) -> Tensor:
    """Groups of k numbers side by side along `dim`, as a last dimension."""
    require.dim(x, dim, name)
    require.whole(k=k, least=least)
    if x.shape[dim] % k:
        raise ValueError(f"k must divide {x.shape[dim]}, got {k}")
    return x.movedim(dim, -1).unflatten(-1, (-1, k))


# --- Deeper ---


def deepen(model: GPT, at: int, generator: Generator | None = None) -> GPT:
    """One block more, which begins as the identity: both its branches end in zeros.

        h <- h + 0 attention(norm(h)),   h <- h + 0 gelu(...)

    The other weights are small and random, as in a new model. In the first step
    only the zeros have a gradient; after it, all its weights have.

    Args:
        model: it stays as it is.
        at: blocks that stand before the new one, a number from 0 to all.
        generator: of the device of the model; by default torch's.

    Returns:
        A new model, in the mode of `model`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `at` is out of range.

    Source: Chen, Goodfellow & Shlens 2016, arXiv:1511.05641 (Net2DeeperNet), for
    new layers that are the identity; Zhang, Dauphin & Ma 2019, arXiv:1901.09321,
    for last layers of branches that begin with zeros.
    """
    require.instance(GPT, model=model)
    require.whole(at=at, least=0)
    require.generator(generator=generator)
    if at > len(model.blocks):
        raise ValueError(f"at must be at most {len(model.blocks)}, got {at}")
    deep = copy.deepcopy(model)
    old: Any = deep.blocks[0]
    width = old.out.in_features
    with torch.device("meta"):
        new = Block(width, model.heads, old.causal, old.dropout.p)
    new.to_empty(device=old.out.weight.device).to(old.out.weight.dtype)
    with torch.no_grad():
        for norm, like in zip(new.norms, old.norms, strict=True):
            norm.eps = like.eps
            norm.reset_parameters()  # type: ignore[operator]
        for part in readers(new):
            part.bias.zero_()
            part.weight.normal_(std=0.02, generator=generator)
        for part in (new.out, new.down):
            part.weight.zero_()
    deep.blocks.insert(at, new.train(model.training))
    return deep
