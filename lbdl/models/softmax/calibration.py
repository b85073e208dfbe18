"""Are the probabilities of a classifier what they say? A measure, and the simplest
cure.

A classifier is calibrated if of the answers that it is 80 % sure of, 80 % are
right. Networks are often too sure. Temperature scaling divides all scores by one
number, found on data that was held out: no answer changes, only the confidence
does.

Guo, Pleiss, Sun & Weinberger 2017, arXiv:1706.04599.
"""

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.softmax.maps import softmax
from lbdl.models.softmax.scores import require_scores, shifted
from lbdl.models.softmax.targets import as_onehot, inner

__all__ = ["expected_calibration_error", "fit_temperature"]

HALVINGS = 60  # of the bracket of log(temperature)


def fit_temperature(x: Tensor, target: Tensor) -> float:
    """The temperature at which scores predict their classes best: that of the
    smallest cross-entropy.

        T = argmin of  mean( log sum_j e^(x_j / T) - x_t / T ),
        where on average the expected score is that of the true class

    Convex in 1/T: halving a bracket finds the one place where the slope is zero. No
    `torch.func`: it stops by looking at values.

    Args:
        x: scores (..., K), any floating dtype, of examples that were held out; -inf
            marks a masked class.
        target: class numbers (...), int64.

    Returns:
        T, between 1e-6 and 1e6 times the largest spread of a row's scores.

    Raises:
        TypeError: `x` is not floating, or `target` not int64.
        ValueError: shapes do not fit; a class number is not in [0, K); a row with
            NaN, +inf or no finite score, or none at all; a masked class is a
            target; no temperature is best: the true class always has the largest
            score, or no larger score than others on average.

    Source: Guo et al. 2017, section 4.2, arXiv:1706.04599.
    """
    true = as_onehot(target, x)
    z = shifted(x.detach().double())
    require.nonempty(x=x)
    gap = inner(true.double(), z)
    require.finite(target=gap)
    scale = float((-z).masked_fill(z.isneginf(), 0).max())
    low, high = (scale * bound for bound in (1e-6, 1e6))
    if scale == 0 or not excess(z, gap, low) < 0 < excess(z, gap, high):
        raise ValueError(
            "x must be wrong somewhere, and better than a guess: else no"
            " temperature is best"
        )
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        too_hot = excess(z, gap, middle) > 0
        low, high = (low, middle) if too_hot else (middle, high)
    return high


def excess(z: Tensor, gap: Tensor, temperature: float) -> float:
    """The mean score of the true class over that which the probabilities expect:
    above zero where the temperature is too high. z is relative to each row's
    maximum."""
    p = softmax(z, temperature=temperature)
    return float((gap - inner(p, z)).mean())


def expected_calibration_error(p: Tensor, target: Tensor, bins: int = 10) -> Tensor:
    """How far confidence and accuracy are apart, on average over bins of
    confidence.

        ECE = sum_b (n_b / N) | mean confidence in b - share of right answers in b |

    Confidence is the largest probability; bins are equally wide. Says little with
    few examples a bin: even a calibrated classifier shows about 1 / sqrt(n_b) in
    each.

    Args:
        p: probabilities (N, K), any floating dtype, N >= 1.
        target: class numbers (N,), int64.
        bins: how many, 1 or more.

    Returns:
        ECE in [0, 1], a number, dtype of `p`, float32 for half precision.

    Raises:
        TypeError: `p` is not floating, `target` not int64, or `bins` no whole
            number.
        ValueError: shapes do not fit; a class number is not in [0, K); a
            probability is not in [0, 1]; `bins` is below 1.

    Source: Guo et al. 2017, section 2, arXiv:1706.04599.
    """
    require_scores(p, name="p")
    require.whole(bins=bins, least=1)
    require.shapes(p=(p, "N K"))
    as_onehot(target, p, name="p")
    require.within(p=p, least=0, most=1)
    confidence, answer = require.widen(p).max(-1)
    right = (answer == target).to(confidence.dtype)
    place = (confidence.detach() * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros_like(confidence[:1]).expand(bins)
    return gaps.index_add(0, place, confidence - right).abs().sum() / len(p)
