"""Language models made by counting: how often did this token follow these n - 1
others?

Counts of n-grams lie in sorted tensors, and every question to them is a batched
binary search. A count of zero is no probability of zero: four ways to smooth, from
the plainest to the best.

Shannon 1948, section 3 (the first n-gram texts); Jelinek & Mercer 1980
(interpolation); Kneser & Ney 1995; Chen & Goodman 1999, "An empirical study of
smoothing techniques for language modeling" (the interpolated form).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "Counts",
    "count_ngrams",
    "count_up_to",
    "lookup",
    "continuation_counts",
    "kneser_ney_counts",
    "relative_frequency",
    "add_k",
    "jelinek_mercer",
    "kneser_ney",
    "estimated_discount",
    "modified_discounts",
    "modified_kneser_ney",
    "NGram",
]


class Counts(NamedTuple):
    """How often each n-gram occurs, and what follows each context.

        code of (w_1, ..., w_n) = sum_i w_i K^(n-i):
        the n-gram as a number with digits in base K

    Args:
        order: n.
        vocabulary: K.
        codes: (U,), int64, ascending: the n-grams that occur.
        counts: (U,), int64: how often.
        contexts: (V,), int64, ascending: codes of their first n - 1 tokens.
        totals: (V,), int64: the sum of the counts behind each context.
        kinds: (V,), int64: how many different tokens follow it.
        once: (V,), int64: how many of these follow it once only.
        twice: (V,), int64: how many follow it twice.
        repeats: (4,), int64: how many n-grams occur once, twice, 3 and 4 times.

    Source: Chen & Goodman 1999.
    """

    order: int
    vocabulary: int
    codes: Tensor
    counts: Tensor
    contexts: Tensor
    totals: Tensor
    kinds: Tensor
    once: Tensor
    twice: Tensor
    repeats: Tensor


# --- Counting ---------------------------------------------------------------------


def count_ngrams(tokens: Tensor, order: int, vocabulary: int) -> Counts:
    """Count the n-grams of a text, or of several.

        c(w_1, ..., w_n) = #{t : tokens_t = w_1, ..., tokens_{t+n-1} = w_n}

    Args:
        tokens: (..., T), int64, 0 to K - 1; every row is a text of its own.
        order: n >= 1.
        vocabulary: K >= 1; K^n must stay below 2^63.

    Returns:
        The counts, on the device of the tokens. Not to be compiled: their number
        depends on the data.

    Raises:
        TypeError: `tokens` is not int64, or a number is no whole number.
        ValueError: a number is out of range.

    Source: Chen & Goodman 1999.
    """
    require_tokens(tokens, vocabulary)
    require_order(order, vocabulary)
    if tokens.shape[-1] < order:
        return tabulate(tokens.new_empty(0), tokens.new_empty(0), order, vocabulary)
    grams = tokens.unfold(-1, order, 1)  # (..., T - n + 1, n)
    codes, counts = encode(grams, vocabulary).flatten().unique(return_counts=True)
    return tabulate(codes, counts, order, vocabulary)


def tabulate(codes: Tensor, counts: Tensor, order: int, vocabulary: int) -> Counts:
    """Adds up the counts of each context. `codes` are ascending."""
    contexts, place, kinds = (codes // vocabulary).unique_consecutive(
        return_inverse=True, return_counts=True
    )
    totals, once, twice = (
        torch.zeros_like(contexts).index_add_(0, place, each.long())
        for each in (counts, counts == 1, counts == 2)
    )
    behind = (contexts, totals, kinds, once, twice)
    repeats = torch.bincount(counts.clamp(max=5), minlength=6)[1:5]
    return Counts(order, vocabulary, codes, counts, *behind, repeats)


def encode(grams: Tensor, vocabulary: int) -> Tensor:
    """The codes (...) of n-grams (..., n)."""
    codes = (
        torch.zeros_like(grams[..., 0])
        if grams.shape[-1]
        else grams.new_zeros(grams.shape[:-1])
    )
    for token in grams.unbind(-1):
        codes = codes * vocabulary + token
    return codes


def count_up_to(tokens: Tensor, order: int, vocabulary: int) -> list[Counts]:
    """The counts of all orders from 1 to n.

    Args:
        tokens: (..., T), int64, 0 to K - 1.
        order: n >= 1.
        vocabulary: K >= 1.

    Returns:
        n counts; the last one has order n.

    Raises:
        TypeError: `tokens` is not int64, or a number is no whole number.
        ValueError: a number is out of range.

    Source: Jelinek & Mercer 1980.
    """
    require_order(order, vocabulary)
    return [count_ngrams(tokens, n, vocabulary) for n in range(1, order + 1)]


def continuation_counts(counts: Counts) -> Counts:
    """In how many different ways can an n-gram be preceded?

        N_1+(. w_2 ... w_n) = #{w_1 : c(w_1 w_2 ... w_n) > 0}

    "Francisco" is frequent, but after "San" only: its continuation count is 1.

    Args:
        counts: of order n >= 2.

    Returns:
        Counts of order n - 1: the number of n-grams, however frequent, that end in
        each.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: n < 2.

    Source: Kneser & Ney 1995; Chen & Goodman 1999, on Kneser-Ney smoothing.
    """
    require.instance(Counts, counts=counts)
    if counts.order < 2:
        raise ValueError(f"counts must have order >= 2, got {counts.order}")
    tails = counts.codes % counts.vocabulary ** (counts.order - 1)
    codes, ways = tails.unique(return_counts=True)
    return tabulate(codes, ways, counts.order - 1, counts.vocabulary)


def kneser_ney_counts(tokens: Tensor, order: int, vocabulary: int) -> list[Counts]:
    """What Kneser-Ney smoothing counts: n-grams at the highest order, continuations
    below.

    Args:
        tokens: (..., T), int64, 0 to K - 1.
        order: n >= 1.
        vocabulary: K >= 1.

    Returns:
        n counts; the last one has order n.

    Raises:
        TypeError: `tokens` is not int64, or a number is no whole number.
        ValueError: a number is out of range.

    Source: Chen & Goodman 1999, on Kneser-Ney smoothing.
    """
    raw = count_up_to(tokens, order, vocabulary)
    return [*map(continuation_counts, raw[1:]), raw[-1]]


# --- Asking -----------------------------------------------------------------------


def lookup(keys: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """The values at some keys, 0 where a key is not there.

        out_i = values_j  if  keys_j = wanted_i,  else 0

    Args:
        keys: (U,), int64, ascending.
        values: (U,), any dtype.
        wanted: (...), int64.

    Returns:
        Values (...), dtype of `values`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `keys` and `values` do not match.
    """
    require.integer(keys=keys, wanted=wanted)
    require.tensor(values=values)
    if keys.dim() != 1 or keys.shape != values.shape:
        raise ValueError(
            f"keys and values must be (U,), got shapes {tuple(keys.shape)} and "
            f"{tuple(values.shape)}"
        )
    if not len(keys):
        return values.new_zeros(wanted.shape)
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], 0)


def seen(counts: Counts, grams: Tensor) -> Tensor:
    """Of n-grams (..., n): count, count of their context, and how many kinds of
    tokens follow the context, how many of them once, and twice: (5, ...),
    float64."""
    codes = encode(grams, counts.vocabulary)
    behind = (counts.totals, counts.kinds, counts.once, counts.twice)
    found = torch.zeros(5, *codes.shape, dtype=torch.float64, device=codes.device)
    if len(counts.contexts):
        contexts = codes // counts.vocabulary
        place = torch.searchsorted(counts.contexts, contexts)
        place = place.clamp(max=len(counts.contexts) - 1)
        known = counts.contexts[place] == contexts
        found[0] = lookup(counts.codes, counts.counts, codes)
        found[1:] = torch.stack([each[place] for each in behind]) * known
    return found


# --- Probabilities ----------------------------------------------------------------


def relative_frequency(levels: Sequence[Counts], grams: Tensor) -> Tensor:
    """The estimate of largest likelihood: count and divide.

        p(w_n | w_1 ... w_{n-1}) = c(w_1 ... w_n) / sum_v c(w_1 ... w_{n-1} v)

    Args:
        levels: counts of orders 1, 2, ..., from `count_up_to`.
        grams: (..., n), int64, for an order n that was counted.

    Returns:
        Probabilities (...), float64; 1/K for each token after a context that never
        occurred.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: order n was not counted.

    Source: Chen & Goodman 1999.
    """
    return add_k(levels, grams, k=0.0)


def add_k(levels: Sequence[Counts], grams: Tensor, k: float = 1.0) -> Tensor:
    """Pretend to have seen every n-gram k times more.

        p(w_n | w_1 ... w_{n-1})
            = (c(w_1 ... w_n) + k) / (sum_v c(w_1 ... w_{n-1} v) + k K)

    Args:
        levels: counts of orders 1, 2, ..., from `count_up_to`.
        grams: (..., n), int64, for an order n that was counted.
        k: >= 0; 1 is Laplace's rule of succession.

    Returns:
        Probabilities (...), float64; 1/K for each token where nothing is known.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: order n was not counted, or `k` is negative.

    Source: Chen & Goodman 1999, on additive smoothing.
    """
    require.number(k=k, least=0)
    counts = require_level(levels, grams)
    count, total, *_ = seen(counts, grams)
    whole = total + k * counts.vocabulary
    return torch.where(whole > 0, (count + k) / whole, 1 / counts.vocabulary)


def jelinek_mercer(
    levels: Sequence[Counts], grams: Tensor, weight: float = 0.7
) -> Tensor:
    """Mix the orders: the longest context has its say, and hands the rest to the
    next shorter one.

        p_n = weight c(w_1 ... w_n) / c(w_1 ... w_{n-1}) + (1 - weight) p_{n-1},
        p_0 = 1/K

    Where the context never occurred, p_n = p_{n-1}.

    Args:
        levels: counts of orders 1, 2, ..., from `count_up_to`.
        grams: (..., n), int64, for an order n that was counted.
        weight: of each order against all below it, in [0, 1).

    Returns:
        Probabilities (...), float64, all > 0.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: order n was not counted, or `weight` is out of range.

    Source: Jelinek & Mercer 1980; Chen & Goodman 1999.
    """
    require.number(weight=weight, least=0, below=1)
    require_level(levels, grams)
    order, p = grams.shape[-1], uniform(levels, grams)
    for n in range(1, order + 1):
        count, total, *_ = seen(levels[n - 1], grams[..., order - n :])
        p = torch.where(
            total > 0, weight * count / total.clamp(min=1) + (1 - weight) * p, p
        )
    return p


def kneser_ney(
    levels: Sequence[Counts],
    grams: Tensor,
    discount: float | Sequence[float] = 0.75,
) -> Tensor:
    """Take a discount off every count, and give what was saved to the shorter
    context.

        p_n = max(c(w_1 ... w_n) - d, 0) / c(w_1 ... w_{n-1})
            + d N_1+(w_1 ... w_{n-1} .) / c(w_1 ... w_{n-1}) p_{n-1}

    N_1+(h .) is the number of different tokens after h; p_0 = 1/K. Below the
    highest order, c counts continuations, see `continuation_counts`. Where the
    context never occurred, p_n = p_{n-1}.

    Args:
        levels: counts of orders 1, 2, ..., from `kneser_ney_counts`.
        grams: (..., n), int64, for an order n that was counted.
        discount: d in [0, 1], for all orders or one for each.

    Returns:
        Probabilities (...), float64; all > 0 if all discounts are.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: order n was not counted, or a discount is out of range or
            missing.

    Source: Chen & Goodman 1999, interpolated Kneser-Ney.
    """
    require_level(levels, grams)
    discounts = require_discounts(discount, len(levels))
    order, p = grams.shape[-1], uniform(levels, grams)
    for n, d in zip(range(1, order + 1), discounts, strict=False):
        count, total, kinds, *_ = seen(levels[n - 1], grams[..., order - n :])
        mixed = ((count - d).clamp(min=0) + d * kinds * p) / total.clamp(min=1)
        p = torch.where(total > 0, mixed, p)
    return p


def modified_kneser_ney(levels: Sequence[Counts], grams: Tensor) -> Tensor:
    """Kneser-Ney with three discounts an order, estimated from the counts
    themselves.

        p_n = (max(c - D(c), 0) + (D_1 N_1 + D_2 N_2 + D_3 N_3+) p_{n-1}) /
        c(context) D(c) = D_1, D_2 or D_3  for counts of 1, 2, and 3 or more

    N_1, N_2, N_3+ are how many tokens followed the context once, twice, more often;
    the rest is as in `kneser_ney`, the discounts as in `modified_discounts`.

    Args:
        levels: counts of orders 1, 2, ..., from `kneser_ney_counts`.
        grams: (..., n), int64, for an order n that was counted.

    Returns:
        Probabilities (...), float64.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: order n was not counted.

    Source: Chen & Goodman 1999, on modified Kneser-Ney smoothing.
    """
    require_level(levels, grams)
    order, p = grams.shape[-1], uniform(levels, grams)
    for n in range(1, order + 1):
        level, gram = levels[n - 1], grams[..., order - n :]
        count, total, kinds, once, twice = seen(level, gram)
        d = modified_discounts(level)
        own = torch.cat([d.new_zeros(1), d])[count.clamp(max=3).long()]
        saved = d[0] * once + d[1] * twice + d[2] * (kinds - once - twice)
        mixed = ((count - own).clamp(min=0) + saved * p) / total.clamp(min=1)
        p = torch.where(total > 0, mixed, p)
    return p


def modified_discounts(counts: Counts) -> Tensor:
    """The three discounts of modified Kneser-Ney, by leaving out one n-gram at a
    time.

        Y = n_1 / (n_1 + 2 n_2),    D_i = i - (i + 1) Y n_{i+1} / n_i,    i = 1, 2,
        3

    n_i is how many n-grams were counted i times. Where one of n_1 to n_4 is zero,
    the text is too small for the formula, and 1/2, 1, 3/2 are taken.

    Args:
        counts: of any order.

    Returns:
        D_1, D_2, D_3 (3,), float64, each within [0, i].

    Raises:
        TypeError: `counts` is no `Counts`.

    Source: Chen & Goodman 1999, on modified Kneser-Ney; the way out of Heafield et
        al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation".
    """
    require.instance(Counts, counts=counts)
    n1, n2, n3, n4 = counts.repeats.tolist()
    if not (n1 and n2 and n3 and n4):
        discounts = [0.5, 1.0, 1.5]
    else:
        y = n1 / (n1 + 2 * n2)
        discounts = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    limits = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = torch.tensor(discounts, dtype=torch.float64).clamp(min=0)
    return found.minimum(limits).to(counts.codes.device)


def estimated_discount(counts: Counts) -> float:
    """The one discount that leaving out one n-gram at a time estimates.

        d = n_1 / (n_1 + 2 n_2)

    Args:
        counts: of any order; n_i of its n-grams were counted i times.

    Returns:
        d, in [0, 1]; 1/2 where no n-gram was counted once or twice.

    Raises:
        TypeError: `counts` is no `Counts`.

    Source: Ney, Essen & Kneser 1994; Chen & Goodman 1999, on absolute discounting.
    """
    require.instance(Counts, counts=counts)
    n1, n2 = counts.repeats[:2].tolist()
    return n1 / (n1 + 2 * n2) if n1 + n2 else 0.5


def uniform(levels: Sequence[Counts], grams: Tensor) -> Tensor:
    """1/K for each n-gram (..., n): (...), float64."""
    chance = 1 / levels[0].vocabulary
    return torch.full(
        grams.shape[:-1], chance, dtype=torch.float64, device=grams.device
    )


Smoothing = Callable[[Sequence[Counts], Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NGram:
    """A causal model out of counts.

        logits[t, k] = log p(k | x_{t-n+2}, ..., x_t):
        row t says what follows token t

    The first tokens, which have less than n - 1 before them, are predicted from
    what there is.

    Args:
        levels: counts of orders 1 to n, from `count_up_to` or `kneser_ney_counts`.
        smoothing: `add_k`, `jelinek_mercer`, `kneser_ney`, or one of these with its
            parameters fixed.

    Raises:
        TypeError: `levels` are no counts, or `smoothing` is no function.
        ValueError: `levels` are not of orders 1, 2, ...

    Source: Shannon 1948, section 3; Chen & Goodman 1999.
    """

    levels: Sequence[Counts]
    smoothing: Smoothing

    def __post_init__(self) -> None:
        require_levels(self.levels)
        require.function(smoothing=self.smoothing)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of all tokens at all places.

        Args:
            tokens: (..., T), int64, T >= 1.

        Returns:
            Log-probabilities (..., T, K), float64; -inf where a probability is 0.
        """
        require_tokens(tokens, self.levels[0].vocabulary)
        places = range(1, tokens.shape[-1] + 1)
        return torch.stack(
            [self.next_token(tokens[..., :t]) for t in places], dim=-2
        )

    def next_token(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of all tokens after the last one.

        Args:
            tokens: (..., T), int64, T >= 0.

        Returns:
            Log-probabilities (..., K), float64; -inf where a probability is 0.
        """
        context = tokens[..., max(0, tokens.shape[-1] + 1 - len(self.levels)) :]
        choices = torch.arange(self.levels[0].vocabulary, device=tokens.device)
        shape = (*tokens.shape[:-1], len(choices))
        grams = [
            context.unsqueeze(-2).expand(*shape, -1),
            choices.expand(shape).unsqueeze(-1),
        ]
        return self.smoothing(self.levels, torch.cat(grams, dim=-1)).log()

    def log_probs(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of the tokens of a text, the first one included: one
        question a token, in batches.

        Args:
            tokens: (..., T), int64, T >= 1.

        Returns:
            Log-probabilities (..., T), float64; their sum is the log-likelihood of
            the text.
        """
        require_tokens(tokens, self.levels[0].vocabulary)
        order, length = len(self.levels), tokens.shape[-1]
        head = [
            self.smoothing(self.levels, tokens[..., :t])
            for t in range(1, min(order, length + 1))
        ]
        parts = [torch.stack(head, dim=-1)] if head else []
        if length >= order:
            parts.append(self.smoothing(self.levels, tokens.unfold(-1, order, 1)))
        return torch.cat(parts, dim=-1).log()


# --- What is asked of arguments ---------------------------------------------------


def require_tokens(tokens: Tensor, vocabulary: int) -> None:
    """Refuse what is no text of so many different tokens."""
    require.integer(tokens=tokens)
    if tokens.dim() == 0:
        raise ValueError("tokens must be (..., T), got shape ()")
    require.whole(vocabulary=vocabulary, least=1)
    require.within(tokens=tokens, least=0, most=vocabulary - 1)


def require_order(order: int, vocabulary: int) -> None:
    """Refuse n-grams whose codes are no int64."""
    require.whole(order=order, vocabulary=vocabulary, least=1)
    if vocabulary**order >= 2**63:
        raise ValueError(
            f"vocabulary ** order must be below 2**63, got {vocabulary} ** {order}"
        )


def require_level(levels: Sequence[Counts], grams: Tensor) -> Counts:
    """The counts of the order that is asked; refuses what was not counted."""
    require_levels(levels)
    require.integer(grams=grams)
    if grams.dim() == 0 or not 1 <= grams.shape[-1] <= len(levels):
        raise ValueError(
            f"grams must be (..., n) with n from 1 to {len(levels)}, got shape "
            f"{tuple(grams.shape)}"
        )
    return levels[grams.shape[-1] - 1]


def require_levels(levels: Sequence[Counts]) -> None:
    """Refuse what is no list of counts of orders 1, 2, ..."""
    require.instance(Sequence, levels=levels)
    for level in levels:
        require.instance(Counts, levels=level)
    orders = [level.order for level in levels]
    if not orders or orders != [*range(1, len(orders) + 1)]:
        raise ValueError(f"levels must have orders 1, 2, ..., got {orders}")


def require_discounts(
    discount: float | Sequence[float], orders: int
) -> list[float]:
    """One discount in [0, 1] for each order."""
    if not isinstance(discount, Sequence):
        discount = [discount] * orders
    for d in discount:
        require.number(discount=d, least=0, most=1)
    if len(discount) != orders:
        raise ValueError(
            f"discount must be one number or one for each of {orders} orders, got "
            f"{len(discount)}"
        )
    return list(discount)
