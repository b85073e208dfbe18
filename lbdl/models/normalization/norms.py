"""Normalising layers: subtract a mean, divide by a deviation. They differ in what
the two are taken over.

Batch norm takes them over the batch, layer norm over the features of one example,
group and instance norm over some or one of its channels. RMS norm leaves out the
mean.

Ioffe & Szegedy 2015, arXiv:1502.03167; Ba, Kiros & Hinton 2016, arXiv:1607.06450;
Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022; Wu & He 2018, arXiv:1803.08494;
Zhang & Sennrich 2019, arXiv:1910.07467.
"""

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "batch_norm",
    "batch_statistics",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "pooled_statistics",
    "rms_norm",
    "standardize",
    "standardize_backward",
]

Dims = int | tuple[int, ...]


def standardize(x: Tensor, dims: Dims = -1, eps: float = 1e-5) -> Tensor:
    """What every norm here does:   (x - mean) / sqrt(variance + eps), both taken
    over `dims`.

    Args:
        x: any shape, floating dtype.
        dims: the dimension, or dimensions, to take mean and (biased) variance over.
        eps: >= 0, so that nothing is divided by 0.

    Returns:
        Shape and dtype of `x`; half precision is computed in float32.

    Raises:
        TypeError: `x` is not floating, or `dims` or `eps` is of the wrong kind.
        ValueError: a dimension is out of range or empty, or `eps` is negative.
    """
    require_dims(x, dims, eps)
    wide = require.widen(x)
    centred = wide - wide.mean(dims, keepdim=True)
    variance = centred.square().mean(dims, keepdim=True)
    return (centred * (variance + eps).rsqrt()).to(x.dtype)


def standardize_backward(
    g: Tensor, x: Tensor, dims: Dims = -1, eps: float = 1e-5
) -> Tensor:
    """The gradient of `standardize`: what is left of g without its mean, and
    without its part along the output y.

        dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps)

    Args:
        g: the gradient with respect to the output, shape and dtype of `x`.
        x: the input.
        dims, eps: as of `standardize`.

    Returns:
        dx, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `dims` or `eps` is of
            the wrong kind.
        ValueError: shapes differ, a dimension is out of range or empty, or `eps` is
            negative.

    Source: Ioffe & Szegedy 2015, section 3, arXiv:1502.03167, put together.
    """
    require.floating(g=g, x=x)
    require.alike(x=x, g=g)
    require.same_shape(x=x, g=g)
    require_dims(x, dims, eps)
    mean = lambda z: z.mean(dims, keepdim=True)  # noqa: E731
    wide, slope = require.widen(x), require.widen(g)
    centred = wide - mean(wide)
    scale = (mean(centred.square()) + eps).rsqrt()
    y = centred * scale
    return (scale * (slope - mean(slope) - y * mean(slope * y))).to(x.dtype)


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    axes: int = 1,
    eps: float = 1e-5,
) -> Tensor:
    """Every example by itself, over its features:   y = w (x - mean) /
    sqrt(variance + eps) + b.

    Args:
        x: (..., n), or (..., n_1, ..., n_k), floating dtype.
        weight, bias: w and b, of the shape that is normalised, dtype of `x`, or
            None.
        axes: k, how many dimensions at the end are normalised together.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `axes` or `eps` is of
            the wrong kind.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Ba, Kiros & Hinton 2016, equation 4, arXiv:1607.06450.

    >>> layer_norm(torch.tensor([1.0, 2.0, 3.0]), eps=0.0)
    tensor([-1.2247,  0.0000,  1.2247])
    """
    require_axes(x, axes)
    shape = x.shape[x.dim() - axes :]
    require_affine(x, weight, bias, shape)
    return affine(standardize(x, tuple(range(-axes, 0)), eps), weight, bias)


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Layer norm without the mean:   y = w x / sqrt(mean of x^2 + eps).

    Args:
        x: (..., n), floating dtype.
        weight: w (n,), dtype of `x`, or None.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`; half precision is computed in float32.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` is no number.
        ValueError: shapes do not fit, or `eps` is negative.

    Source: Zhang & Sennrich 2019, equation 4, arXiv:1910.07467.
    """
    require_dims(x, -1, eps)
    require_affine(x, weight, None, x.shape[-1:])
    wide = require.widen(x)
    square = wide.square().mean(-1, keepdim=True)
    return affine((wide * (square + eps).rsqrt()).to(x.dtype), weight, None)


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Every example by itself, its channels in G groups, each over its channels and
    all places.

        G = 1 is layer norm over channels and places, G = C instance norm

    Args:
        x: (B, C, ...), floating dtype.
        groups: G, which divides C.
        weight, bias: one number for each channel (C,), dtype of `x`, or None.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a number is of the
            wrong kind.
        ValueError: shapes do not fit, G does not divide C, or `eps` is negative.

    Source: Wu & He 2018, section 3, arXiv:1803.08494.
    """
    require_channels(x, weight, bias)
    require.whole(groups=groups, least=1)
    if x.shape[1] % groups:
        raise ValueError(
            f"groups must divide the channels, {x.shape[1]}, got {groups} groups"
        )
    y = standardize(x.unflatten(1, (groups, -1)).flatten(2), -1, eps)
    return affine(y.reshape(x.shape), *per_channel(x, weight, bias))


def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Every channel of every example by itself, over all places: group norm with
    one channel a group.

    Args:
        x: (B, C, ...) with one place or more, floating dtype.
        weight, bias: (C,), dtype of `x`, or None.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError, ValueError: as `group_norm`.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, equation 4, arXiv:1607.08022.
    """
    require_channels(x, weight, bias)
    return group_norm(x, x.shape[1], weight, bias, eps)


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    statistics: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Every channel over the whole batch and all places; with given statistics, as
    in evaluation, each by those.

        y = w (x - mean) / sqrt(variance + eps) + b

    Args:
        x: (B, C, ...), floating dtype.
        weight, bias: (C,), dtype of `x`, or None.
        statistics: mean and variance (C,), dtype of `x`; those of the batch when
            not given.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` is no number.
        ValueError: shapes do not fit, a variance is negative, or `eps` is.

    Source: Ioffe & Szegedy 2015, Algorithm 1 (batch) and 2 (given),
    arXiv:1502.03167.
    """
    require_channels(x, weight, bias)
    rest = tuple(d for d in range(x.dim()) if d != 1)
    if statistics is None:
        return affine(standardize(x, rest, eps), *per_channel(x, weight, bias))
    require_statistics(x, statistics, eps)
    ones = [1] * (x.dim() - 2)
    mean, variance = (part.view(-1, *ones) for part in statistics)
    y = (require.widen(x) - mean) * (variance + eps).rsqrt()
    return affine(y.to(x.dtype), *per_channel(x, weight, bias))


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every channel, over the batch and all places.

    Args:
        x: (B, C, ...), floating dtype.

    Returns:
        Both (C,), at least float32.

    Raises:
        TypeError: `x` is not floating.
        ValueError: `x` has fewer than two dimensions or is empty.

    Source: Ioffe & Szegedy 2015, Algorithm 1, arXiv:1502.03167.
    """
    require_channels(x, None, None)
    rest = tuple(d for d in range(x.dim()) if d != 1)
    variance, mean = torch.var_mean(require.widen(x), rest, correction=0)
    return mean, variance


def pooled_statistics(
    counts: Tensor, means: Tensor, variances: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variance of all numbers together, from those of M parts: what
    devices must exchange.

        mu = sum_m n_m mu_m / n,    sigma^2 = sum_m n_m (sigma_m^2 + (mu_m - mu)^2)
        / n

    The mean of the parts' variances is too small: it leaves out how far apart the
    parts are.

    Args:
        counts: n_m > 0 (M,), floating dtype.
        means: (M, ...), dtype of `counts`.
        variances: biased ones (M, ...), >= 0.

    Returns:
        Both (...), dtype of `counts`; the variance biased.

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit, a count is not > 0, or a variance is
            negative.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample
    variance", equation 1.5.

    >>> n = torch.tensor([2.0, 2.0])
    >>> pooled_statistics(n, torch.tensor([0.5, 10.5]), torch.tensor([0.25, 0.25]))
    (tensor(5.5000), tensor(25.2500))
    """
    require.floating(counts=counts, means=means, variances=variances)
    require.alike(counts=counts, means=means, variances=variances)
    require.same_shape(means=means, variances=variances)
    if counts.dim() != 1 or means.shape[:1] != counts.shape or len(counts) == 0:
        raise ValueError(
            f"counts must be (M,) with M >= 1 for means (M, ...), got shapes "
            f"{tuple(counts.shape)} and {tuple(means.shape)}"
        )
    require.within(counts=counts, above=0)
    require.within(variances=variances, least=0)
    share = (counts / counts.sum()).view(-1, *[1] * (means.dim() - 1))
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0)


def affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y w + b, as far as there are w and b."""
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def per_channel(x: Tensor, *vectors: Tensor | None) -> list[Tensor | None]:
    """Vectors (C,) shaped so that they broadcast against x (B, C, ...)."""
    ones = [1] * (x.dim() - 2)
    return [None if v is None else v.view(-1, *ones) for v in vectors]


def require_dims(x: Tensor, dims: Dims, eps: float) -> None:
    """Refuse dimensions that are not there, or empty, and a negative eps."""
    require.floating(x=x)
    require.number(eps=eps, least=0)
    for each in dims if isinstance(dims, tuple) else (dims,):
        require.dim(x, each, argument="dims")


def require_axes(x: Tensor, axes: int) -> None:
    """Refuse a number of dimensions that x has not."""
    require.floating(x=x)
    require.whole(axes=axes, least=1, most=max(1, x.dim()))
    require.dim(x, -1)


def require_affine(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]
) -> None:
    """Refuse a weight and a bias that have not the dtype of x and a given shape."""
    for name, vector in (("weight", weight), ("bias", bias)):
        if vector is None:
            continue
        require.floating(**{name: vector})
        require.alike(**{"x": x, name: vector})
        if vector.shape != shape:
            raise ValueError(
                f"{name} must be {tuple(shape)}, got shape {tuple(vector.shape)}"
            )


def require_channels(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    """Refuse what is not (B, C, ...), and vectors that are not (C,)."""
    require.floating(x=x)
    if x.dim() < 2:
        raise ValueError(f"x must be (B, C, ...), got shape {tuple(x.shape)}")
    require.nonempty(x=x)
    require_affine(x, weight, bias, x.shape[1:2])


def require_statistics(
    x: Tensor, statistics: tuple[Tensor, Tensor], eps: float
) -> None:
    """Refuse statistics that are not a mean and a variance (C,)."""
    require.number(eps=eps, least=0)
    require.instance(tuple, statistics=statistics)
    for part in statistics:
        require.floating(statistics=part)
        if part.shape != x.shape[1:2]:
            raise ValueError(
                f"statistics must be two of shape {tuple(x.shape[1:2])}, "
                f"got {tuple(part.shape)}"
            )
    require.within(statistics=statistics[1], least=0)
