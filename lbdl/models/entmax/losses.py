"""What to train the maps with: losses whose gradient is p - target.

Each map from scores to probabilities that comes from an entropy has a loss of its
own, the Fenchel-Young loss (Blondel, Martins & Niculae 2020, arXiv:1901.02324):
cross-entropy for softmax, the sparsemax loss for sparsemax, the entmax losses
between. A monotone map without an entropy can still be trained: the universal
surrogate loss has the gradient p - target by construction.

Cross-entropy itself, and what label smoothing makes of it, stand in
`lbdl.foundations.losses`.

Every loss takes scores (..., K) with the classes last, and a target that is either
class numbers (...) in int64 or probabilities (..., K) of a floating dtype. It
returns one loss for each row, (...). -inf marks a masked class; its loss is
infinite if it is the target."""

from collections.abc import Callable

from torch import Tensor

from lbdl import require
from lbdl.foundations.losses import cross_entropy
from lbdl.models.entmax.fast import fast_entmax
from lbdl.models.entmax.maps import sparsemax, tsallis_entropy
from lbdl.models.softmax import logsumexp, softmax
from lbdl.models.softmax.scores import require_scores, shifted
from lbdl.models.softmax.targets import as_distribution, as_onehot, inner
from lbdl.require import widen

Map = Callable[[Tensor], Tensor]


def margin_softmax_loss(
    cosine: Tensor,
    target: Tensor,
    margin: float = 0.35,
    temperature: float = 1 / 30,
) -> Tensor:
    """Cross-entropy that asks the true class to win by a margin (additive margin
    softmax).

        L = -log( e^(m / T) / (e^(m / T) + sum_{j != t} e^(c_j / T)) ),
        m = c_t - margin

    Args:
        cosine: similarities c (..., K), any floating dtype: cosines between a
            feature and each class vector.
        target: class numbers (...), int64.
        margin: 0 or more; with 0 this is cross-entropy.
        temperature: T, above 0.

    Returns:
        L (...), dtype of `cosine`.

    Raises:
        TypeError: `cosine` is not floating, `target` not int64, or a number is
            none.
        ValueError: `margin` below 0; bad `temperature`; shapes do not fit; a class
            number is not in [0, K); no element; a row with NaN, +inf or no finite
            score.

    Source: Wang et al. 2018, arXiv:1801.05599.
    """
    require.number(temperature=temperature, above=0)
    require.number(margin=margin, least=0)
    true = as_onehot(target, cosine, name="cosine")
    handicapped = shifted(cosine, name="cosine") - margin * true
    return cross_entropy(handicapped / temperature, target, reduction="none").to(
        cosine.dtype
    )


def sparse_softmax_loss(x: Tensor, target: Tensor, k: int) -> Tensor:
    """Cross-entropy with only the k largest scores in the normaliser.

        L = log sum_{j in top k} exp(x_j) - x_t

    Only the top k and the target get a gradient.

    Args:
        x: scores (..., K), any floating dtype; -inf marks a masked class.
        target: class numbers (...), int64.
        k: how many scores the normaliser keeps, 1 <= k <= K.

    Returns:
        L (...), dtype of `x`, never negative.

    Raises:
        TypeError: `x` is not floating, `target` not int64, or `k` no whole number.
        ValueError: `k` is not in [1, K]; shapes do not fit; a class number is not
            in [0, K).

    Source: Sun et al. 2021, arXiv:2112.12433.
    """
    require_scores(x)
    require.whole(k=k, least=1, most=x.shape[-1])
    onehot = as_onehot(target, x)
    z = shifted(x)
    return (logsumexp(z.topk(k).values) - inner(onehot, z)).to(x.dtype)


def sparsemax_loss(x: Tensor, target: Tensor) -> Tensor:
    """The loss of sparsemax, in closed form.

        L = 1/2 - x_t + 1/2 sum_{i in support} (x_i^2 - tau^2)

    Its gradient is sparsemax(x) - onehot. It is 0 exactly where x_t leads by 1 or
    more.

    Args:
        x: scores (..., K), any floating dtype; -inf marks a masked class.
        target: class numbers (...), int64.

    Returns:
        L (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `target` not int64.
        ValueError: shapes do not fit; a class number is not in [0, K); a row with
            NaN, +inf or no finite score.

    Source: Martins & Astudillo 2016, section 3, arXiv:1602.02068.
    """
    onehot = as_onehot(target, x)
    z = shifted(x)
    support = sparsemax(z.detach()) > 0
    inside = z.where(support, 0)
    size = support.sum(-1)
    tau = (inside.sum(-1) - 1) / size
    return (
        (1 + inside.square().sum(-1) - size * tau.square()) / 2 - inner(onehot, z)
    ).to(x.dtype)


def entmax_loss(x: Tensor, target: Tensor, alpha: float = 1.5) -> Tensor:
    """The Fenchel-Young loss of entmax: cross-entropy for alpha = 1, the sparsemax
    loss for alpha = 2.

        L = <p - target, x> + H_alpha(p) - H_alpha(target),   p = entmax(x)

    Its gradient is p - target. For a class number as target it is 0 exactly where
    x_t leads by 1 / (alpha-1) or more.

    Args:
        x: scores (..., K), any floating dtype; -inf marks a masked class.
        target: class numbers (...), int64, or probabilities (..., K), floating.
        alpha: 1 or more.

    Returns:
        L (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, `target` neither int64 nor floating, or
            `alpha` no number.
        ValueError: `alpha` is below 1; shapes do not fit; a class number is not in
            [0, K); a row with NaN, +inf or no finite score.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702.
    """
    return fenchel_young_loss(
        x,
        target,
        lambda z: fast_entmax(z, alpha),
        lambda p: tsallis_entropy(p, alpha),
    )


def fenchel_young_loss(
    x: Tensor, target: Tensor, maximizer: Map, entropy: Map
) -> Tensor:
    """The loss that belongs to an entropy H: how much better the best distribution
    does than the target.

        L = max_p (<p, x> + H(p)) - (<target, x> + H(target))

    Never negative, 0 exactly where the target is the maximizer, convex in x; its
    gradient is p - target (Danskin's theorem: the maximizer counts as a constant).
    First derivatives only.

    Args:
        x: scores (..., K), any floating dtype; -inf marks a masked class.
        target: class numbers (...), int64, or probabilities (..., K), floating.
        maximizer: takes scores (..., K) to the p of the maximum; `softmax` for
            Shannon's entropy.
        entropy: takes probabilities (..., K) to H (...).

    Returns:
        L (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `target` neither int64 nor floating.
        ValueError: shapes do not fit; a class number is not in [0, K); a row with
            NaN, +inf or no finite score.

    Source: Blondel, Martins & Niculae 2020, section 3, arXiv:1901.02324.
    """
    require.function(maximizer=maximizer, entropy=entropy)
    q = as_distribution(target, x)
    z = shifted(x)
    p = maximizer(z.detach())
    return (inner(p - q, z) + entropy(p) - entropy(q)).to(x.dtype)


def universal_surrogate_loss(
    x: Tensor, target: Tensor, mapping: Map = softmax
) -> Tensor:
    """A loss for a monotone map from scores to probabilities: its gradient is p -
    target by construction.

        L = <sg(p - target), x>,   p = mapping(x),   sg: no gradient passes

    A step against the gradient lowers the scores of classes whose p is above the
    target. That leads to p = target where a class whose score falls loses
    probability: for a monotone map. With p = softmax(-x) it leads away, to p = 0
    for the true class.

    The value means nothing (it can fall below 0); only the gradient does. The stop
    must be on p - target: on x instead, the gradient would be that of p, weighted
    by the scores.

    Args:
        x: scores (..., K), any floating dtype; -inf marks a masked class.
        target: class numbers (...), int64, or probabilities (..., K), floating.
        mapping: takes scores (..., K) to probabilities (..., K).

    Returns:
        L (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `target` neither int64 nor floating.
        ValueError: shapes do not fit; a class number is not in [0, K); a row with
            NaN, +inf or no finite score.

    Source: Su 2024, "The road to probability distributions",
        kexue.fm/archives/10145, with the stop on the other factor."""
    require.function(mapping=mapping)
    q = as_distribution(target, x)
    p = widen(mapping(x.detach()))
    return inner(p - q, shifted(x)).to(x.dtype)
