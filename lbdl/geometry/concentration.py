"""Concentration: how often a random vector of many coordinates is not of length
one, and two of them are not orthogonal.

With n independent coordinates of variance 1/n, a squared length and an inner
product are sums of n independent numbers, and stray from their means with a
probability that is exponentially small in n. Each tail stands here exactly, then as
the bound of Chernoff (Markov's inequality for an exponential), then as a round
bound.

Chernoff 1952; Johnson & Lindenstrauss 1984; Boucheron, Lugosi & Massart 2013,
chapter 2.
"""

import math

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "inner_product_tail",
    "inner_product_tail_bound",
    "inner_product_tail_chernoff",
    "norm_tail",
    "norm_tail_bound",
    "norm_tail_chernoff",
]

Number = float | Tensor


def norm_tail(n: Number, eps: Number) -> Tensor:
    """How often a random vector misses length one, exactly.

        P(| ||u||^2 - 1 | >= eps),   u ~ N(0, I/n),
        n ||u||^2 ~ chi-square with n degrees of freedom

    Differentiable in `eps`, not in `n`. Exact up to torch's incomplete gamma
    function, which in float64 errs by 1e-9 of its value.

    No `torch.func`: torch has no forward mode of the incomplete gamma function.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: Dasgupta & Gupta 2003, for the chi-square distribution,
        section 2.
    """
    n, eps, dtype = tail_arguments(n, eps)
    above = torch.special.gammaincc(n / 2, n / 2 * (1 + eps))
    below = torch.special.gammainc(n / 2, n / 2 * (1 - eps).clamp(min=0))
    return (above + below).to(dtype)


def norm_tail_chernoff(n: Number, eps: Number) -> Tensor:
    """Chernoff's bound on `norm_tail`, each side with its own best exponent.

        e^(n (log(1 + eps) - eps) / 2)  +  e^(n (log(1 - eps) + eps) / 2)

    The second term, for vectors that are too short, is absent when eps >= 1.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: Dasgupta & Gupta 2003, lemma 2.2 (for the projection onto a random
        subspace).
    """
    n, eps, dtype = tail_arguments(n, eps)
    # -inf at eps >= 1: no vector is shorter than 0
    short = torch.log1p(-eps.clamp(max=1)) + eps
    long = n / 2 * (torch.log1p(eps) - eps)
    return (torch.exp(long) + torch.exp(n / 2 * short)).to(dtype)


def norm_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `norm_tail`: the unit-norm lemma.

        2 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, in (0, 1), a number or a tensor (...), floating
            dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` outside (0, 1) (on a GPU, tensors are not
            looked at).

    Source: Johnson & Lindenstrauss 1984; the constant, Wainwright 2019,
        High-Dimensional Statistics, example 2.11.
    """
    require.number_or_tensor(eps=eps, above=0, below=1)
    n, eps, dtype = tail_arguments(n, eps)
    return (2 * torch.exp(-(eps**2) * n / 8)).to(dtype)


def inner_product_tail(n: Number, eps: Number) -> Tensor:
    """How often two random vectors are far from orthogonal, exactly.

        P(|<u, v>| >= eps) = E erfc(eps n / sqrt(2 Q)),   u, v ~ N(0, I/n),
        Q = n ||v||^2 ~ chi-square(n)

    Given v, <u, v> is normal with variance ||v||^2 / n. The mean over Q is the
    trapezoid rule in log Q, 2001 points, exact to about 1e-8 of the value.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: the distribution is that of Pearson, Jeffery & Elderton 1929
        (variance gamma).
    """
    n, eps, dtype = tail_arguments(n, eps)
    n, eps = n.double().unsqueeze(-1), eps.double().unsqueeze(-1)
    offset = (
        torch.linspace(-75, 75, 2001, dtype=torch.float64, device=n.device)
        / n.sqrt()
    )  # (..., 2001)
    log_q = n.log() + offset
    log_density = (
        n / 2 * (log_q - math.log(2)) - log_q.exp() / 2 - torch.lgamma(n / 2)
    )
    values = log_density.exp() * torch.erfc(eps * n / (2 * log_q.exp()).sqrt())
    return (values.sum(-1) * (offset[..., 1] - offset[..., 0])).to(dtype)


def inner_product_tail_chernoff(n: Number, eps: Number) -> Tensor:
    """Chernoff's bound on `inner_product_tail`, taken directly.

        2 min_t e^(-n (t eps + log(1 - t^2) / 2)),
        attained where  t / (1 - t^2) = eps

    For small eps it is 2 e^(-eps^2 n / 2): four times the exponent of the lemma
    that goes by way of (u +- v) / sqrt 2.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: E e^(s <u, v>) = (1 - s^2 / n^2)^(-n/2); Boucheron, Lugosi & Massart
        2013, section 2.2, for the method.
    """
    n, eps, dtype = tail_arguments(n, eps)
    t = 2 * eps / (1 + (1 + 4 * eps**2).sqrt())
    return (2 * torch.exp(-n * (t * eps + torch.log1p(-(t**2)) / 2))).to(dtype)


def inner_product_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `inner_product_tail`: the orthogonality lemma.

        4 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: in (0, 1), a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` outside (0, 1) (on a GPU, tensors are not
            looked at).

    The unit-norm lemma, applied to (u + v) / sqrt 2 and (u - v) / sqrt 2.
    """
    return 2 * norm_tail_bound(n, eps)


def tail_arguments(n: Number, eps: Number) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both as tensors of one dtype, float32 or more, and the dtype of the result.
    Tensors on a GPU are not read: that would wait for it."""
    if isinstance(n, Tensor) and n.dtype == torch.int64:
        n = n.double()
    require.number_or_tensor(n=n, least=1)
    require.number_or_tensor(eps=eps, above=0)
    device = next((x.device for x in (n, eps) if isinstance(x, Tensor)), None)
    given = torch.as_tensor(eps, device=device)
    if not isinstance(eps, Tensor):
        given = torch.tensor(eps, dtype=torch.float64, device=device)
    wide = require.widen(given)
    tensor = torch.as_tensor(n, dtype=wide.dtype, device=wide.device)
    require.broadcast(n=tensor.shape, eps=wide.shape)
    return tensor, wide, given.dtype
