"""Generalisation: what a fit is worth on examples that it has not seen.

How to say how good a model is, with its error bar, and which of two is better; what
choosing does to a score; more data from the data there is; and what the error on
new examples is made of. Wilson 1927; McNemar 1947; Stone 1974; bias and variance
follow Geman, Bienenstock & Doursat 1992; the second descent, Belkin, Hsu & Xu 2020,
arXiv:1903.07571.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from lbdl import require
from lbdl.foundations.learning import require_counts

__all__ = [
    "k_folds",
    "wilson_interval",
    "mcnemar_test",
    "shift",
    "bias_variance",
    "BiasVariance",
    "isotropic_risk",
]


# --- Judging a model --------------------------------------------------------------


def k_folds(
    n: int, k: int, generator: Generator | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Splits examples into k parts, each of which is held out once.

        every row number is in exactly one held-out part; the sizes differ by at
            most one

    Args:
        n: number of examples.
        k: number of parts, 2 <= k <= n; k = n leaves one out.
        generator: draws a random order; `None` keeps the order there is.

    Returns:
        k pairs of row numbers (rows to fit (n - n_j,), rows held out (n_j,)),
        int64.

    Raises:
        TypeError: a number is not whole, or `generator` no generator.
        ValueError: not 2 <= k <= n.

    Source: Stone 1974, "Cross-Validatory Choice and Assessment of Statistical
        Predictions".
    """
    require.whole(n=n, least=2)
    require.whole(k=k, least=2, most=n)
    require.generator(generator=generator)
    order = (
        torch.arange(n)
        if generator is None
        else torch.randperm(n, generator=generator).cpu()
    )
    parts = order.tensor_split(k)
    return [(torch.cat(parts[:j] + parts[j + 1 :]), parts[j]) for j in range(k)]


def wilson_interval(
    hits: Tensor, n: int | Tensor, confidence: float = 0.95
) -> tuple[Tensor, Tensor]:
    """What a count of hits among n independent tries says about the true
    probability.

        all p with  |hits/n - p| <= z sqrt(p (1 - p) / n),
        z the normal quantile at (1 + confidence) / 2

    Unlike hits/n +- z sqrt(...) it stays within [0, 1] and does not shrink to a
    point at 0 or n hits.

    Args:
        hits: numbers of hits, 0 <= hits <= n, any shape (...), int64 or floating.
        n: number of tries >= 1, a number or a tensor (...) like `hits`.
        confidence: in (0, 1).

    Returns:
        The lower and the upper ends, each (...), float64.

    Raises:
        TypeError: `hits` is no tensor of numbers, `n` no whole number or such a
            tensor, or `confidence` no number.
        ValueError: `confidence` is outside (0, 1), a count is not whole, or not 0
            <= hits <= n with n >= 1.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical
        Inference".
    """
    require_counts(hits=hits)
    if isinstance(n, Tensor):
        require_counts(n=n)
    else:
        require.whole(n=n, least=1)
    require.number(confidence=confidence, above=0, below=1)
    n = torch.as_tensor(n, dtype=torch.float64, device=hits.device)
    require.values((n >= 1) & (hits <= n), "hits must be at most n, and n >= 1")
    z = torch.special.ndtri(
        torch.tensor((1 + confidence) / 2, dtype=torch.float64, device=hits.device)
    )
    share = hits.double() / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = (
        z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)).sqrt()
    )
    return (centre - reach).clamp(min=0), (centre + reach).clamp(max=1)


def mcnemar_test(only_first: Tensor, only_second: Tensor) -> Tensor:
    """Two models on the same examples: how often chance alone would part them so.

        p = P(|X - n/2| >= |b - n/2|),    X ~ Binomial(n, 1/2),    n = b + c

    Examples that both get right or both get wrong say nothing about which is the
    better one. If neither is, each of the n others falls to either side like a
    coin. The test is exact, and two-sided.

    No `torch.func`: how many terms there are to sum is read from the counts.

    Args:
        only_first: b, numbers of examples that only the first model gets right,
            whole numbers >= 0, any shape (...), int64 or floating.
        only_second: c, likewise, same shape.

    Returns:
        The p-values (...), float64; 1 where b = c.

    Raises:
        TypeError: an argument is no tensor of numbers.
        ValueError: shapes differ, or a count is negative or not whole.

    Source: McNemar 1947, "Note on the Sampling Error of the Difference between
        Correlated Proportions or Percentages".
    """
    require_counts(only_first=only_first, only_second=only_second)
    require.same_shape(only_first=only_first, only_second=only_second)
    b, c = only_first.double(), only_second.double()
    n, fewer = b + c, torch.minimum(b, c)
    last = int(fewer.max()) if fewer.numel() else 0
    k = torch.arange(last + 1, dtype=b.dtype, device=b.device)
    log_choose = (
        torch.lgamma(n + 1)[..., None]
        - torch.lgamma(k + 1)
        - torch.lgamma((n[..., None] - k + 1).clamp(min=1))
    )
    terms = (log_choose - n[..., None] * math.log(2)).exp()
    tail = torch.where(k <= fewer[..., None], terms, 0).sum(-1)
    return (2 * tail).clamp(max=1)


# --- Augmentation -----------------------------------------------------------------


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Images moved by whole pixels, with empty paper coming in at the edge.

        shifted[i, j] = images[i - down, j - right],  or 0 outside

    Args:
        images: (..., H, W), H, W >= 1, any dtype.
        down: pixels to move down; negative moves up.
        right: pixels to move to the right; negative moves left.

    Returns:
        The moved images (..., H, W).

    Raises:
        TypeError: `images` is no tensor, or a move is not a whole number.
        ValueError: `images` has fewer than two dimensions, or no pixel.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document
        Recognition" (distorted digits).
    """
    require.tensor(images=images)
    require.shapes(images=(images, "... H W"))
    require.whole(down=down, right=right)
    H, W = images.shape[-2:]
    down, right = max(-H, min(down, H)), max(-W, min(right, W))
    return nn.functional.pad(images, (right, -right, down, -down))


# --- Bias and variance, and the second descent ------------------------------------


class BiasVariance(NamedTuple):
    """The two parts of the squared risk of a learning procedure, at every test
    point.

    Args:
        bias_squared: (..., n), how far the mean fit is from the truth.
        variance: (..., n), how far single fits are from the mean fit.

    Source: Geman, Bienenstock & Doursat 1992, "Neural Networks and the
        Bias/Variance Dilemma".
    """

    bias_squared: Tensor
    variance: Tensor


def bias_variance(predictions: Tensor, truth: Tensor) -> BiasVariance:
    """Takes the squared error of repeated fits apart.

        mean_r (f_r(x) - t(x))^2
            =   (mean_r f_r(x) - t(x))^2   +   mean_r (f_r(x) - mean_r f_r(x))^2

    The identity is exact for any number R of fits. As estimates over all training
    sets, the variance is too small by the factor 1 - 1/R, and the squared bias too
    large by variance / R. Noise in the targets adds its own variance on top.

    Args:
        predictions: f_r (R, ..., n), of fits to R independent training sets,
            R >= 2, floating dtype.
        truth: t (..., n), what a fit would predict if it knew the mean of y at each
            x.

    Returns:
        Squared bias and variance, each (..., n).

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: R < 2, or the shapes do not fit.

    Source: Geman, Bienenstock & Doursat 1992, "Neural Networks and the
        Bias/Variance Dilemma".
    """
    require.floating(predictions=predictions, truth=truth)
    require.alike(predictions=predictions, truth=truth)
    require.dim(predictions, 0, "predictions", least=2)
    require.shapes(predictions=(predictions[0], "... n"), truth=(truth, "... n"))
    fits = require.widen(predictions)
    bias, scatter = fits.mean(0) - truth, fits - fits.mean(0)
    return BiasVariance(
        bias.square().to(truth.dtype), scatter.square().mean(0).to(truth.dtype)
    )


def isotropic_risk(
    used: Tensor, n: int, explained: float | Tensor, unexplained: float | Tensor
) -> Tensor:
    """The exact expected risk of minimum-norm least squares on some of many
    independent Gaussian features.

        x ~ N(0, I),   y = <x, b> + noise,
        the fit sees K coordinates T of x and n examples
        K <= n - 2:   unexplained (1 + K / (n - K - 1))
        K >= n + 2:   explained (1 - n / K) + unexplained (1 + n / (K - n - 1)),
        infinite in between

    Risk is E (y - prediction)^2 on a new example. Past the threshold the variance
    falls again.

    Args:
        used: K, whole numbers >= 0, any shape (...), int64 or floating.
        n: number of examples, >= 1.
        explained: ||b_T||^2, a number or a tensor that broadcasts against `used`.
        unexplained: ||b outside T||^2 + variance of the noise, likewise.

    Returns:
        The risks (...), float64.

    Raises:
        TypeError: `used` is no tensor of numbers, `n` no whole number, or another
            argument is of a wrong kind.
        ValueError: `n` is below 1, `used` is negative or not whole, or another
            argument is negative.

    Source: Belkin, Hsu & Xu 2020, "Two Models of Double Descent for Weak Features",
        arXiv:1903.07571.
    """
    require_counts(used=used)
    require.whole(n=n, least=1)
    parts = {"explained": explained, "unexplained": unexplained}
    require.number_or_tensor(least=0, **parts)  # type: ignore[arg-type]
    tensors = {name: x for name, x in parts.items() if isinstance(x, Tensor)}
    require.broadcast_to(used.shape, **tensors)
    p = used.double()
    few, many = p.clamp(max=n - 2), p.clamp(min=n + 2)  # nothing is divided by 0
    below = unexplained * (1 + few / (n - few - 1))
    above = explained * (1 - n / many) + unexplained * (1 + n / (many - n - 1))
    return torch.where(p <= n - 2, below, torch.where(p >= n + 2, above, math.inf))
