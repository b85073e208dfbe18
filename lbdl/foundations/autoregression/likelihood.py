"""The chain rule of probability, and the numbers made of it: log-likelihood,
cross-entropy, perplexity, bits a byte.

Every joint distribution of a sequence is a product of conditional ones, so a model
of the next token is a model of whole texts. The mean loss of a token is
`lbdl.foundations.losses.cross_entropy`. All losses are in nats (natural
logarithms); `change_base` and `bits_per_byte` take them elsewhere.

Shannon 1948, "A Mathematical Theory of Communication" (section 7: entropy per
symbol); Jelinek, Mercer, Bahl & Baker 1977, "Perplexity - a measure of the
difficulty of speech recognition tasks".
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.losses import fast_cross_entropy

__all__ = [
    "conditionals",
    "joint",
    "sample_ancestral",
    "next_token_pairs",
    "token_log_probs",
    "sequence_log_prob",
    "change_base",
    "perplexity",
    "bits_per_byte",
    "stream_log_probs",
]

# tokens (B, T) to logits (B, T, K): row t says what follows token t
Model = Callable[[Tensor], Tensor]


# --- The chain rule ---------------------------------------------------------------


def conditionals(table: Tensor) -> list[Tensor]:
    """The factors of a joint distribution, one for each position.

        p(x_t | x_1, ..., x_{t-1}) = p(x_1, ..., x_t) / p(x_1, ..., x_{t-1})

    Args:
        table: the joint distribution (K_1, ..., K_T), floating, >= 0, with sum 1.

    Returns:
        T tensors; number t has shape (K_1, ..., K_t). Where the condition has
        probability 0, so has the factor.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `table` is no distribution.
    """
    require_joint(table)
    marginals = [
        table.sum(dim=tuple(range(t, table.dim()))) for t in range(1, table.dim())
    ] + [table]
    before = [torch.ones_like(marginals[0].sum()), *marginals[:-1]]
    return [
        torch.where(
            p.unsqueeze(-1) > 0,
            q / p.unsqueeze(-1).clamp(min=torch.finfo(q.dtype).tiny),
            0,
        )
        for p, q in zip(before, marginals, strict=True)
    ]


def joint(factors: Sequence[Tensor]) -> Tensor:
    """The joint distribution that the factors make.

        p(x_1, ..., x_T) = prod_t p(x_t | x_1, ..., x_{t-1})

    Args:
        factors: T tensors; number t has shape (K_1, ..., K_t).

    Returns:
        The joint distribution (K_1, ..., K_T).

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: there are no factors, or their shapes do not grow by one
            dimension each.
    """
    require_factors(factors)
    product = factors[0]
    for factor in factors[1:]:
        product = product.unsqueeze(-1) * factor
    return product


def sample_ancestral(
    factors: Sequence[Tensor], n: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw sequences token by token, each given the tokens drawn before it.

        x_t ~ p(. | x_1, ..., x_{t-1}),    t = 1, ..., T

    Args:
        factors: T tensors; number t has shape (K_1, ..., K_t), floating.
        n: number of sequences.
        generator: source of randomness, on the device of the factors.

    Returns:
        Sequences (n, T), int64.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: there are no factors, or their shapes do not grow by one
            dimension each.

    Source: Bishop 2006 ("ancestral sampling"), section 8.1.2.
    """
    require_factors(factors)
    for factor in factors:
        require.within(factors=factor, least=0)
    require.whole(n=n, least=0)
    require.generator(generator=generator)
    drawn: list[Tensor] = []
    for factor in factors:
        rows = factor[tuple(drawn)] if drawn else factor.expand(n, -1)  # (n, K_t)
        drawn.append(torch.multinomial(rows, 1, generator=generator).squeeze(-1))
    return torch.stack(drawn, dim=-1)


# --- Likelihood -------------------------------------------------------------------


def next_token_pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What a causal model is trained on: the tokens, and the same tokens one step
    later.

        x_t = tokens_t,    y_t = tokens_{t+1}

    Args:
        tokens: (..., T + 1), T >= 1.

    Returns:
        Inputs (..., T) and targets (..., T).

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: there are fewer than two tokens.

    Source: Bengio et al. 2003, section 2.
    """
    require.integer(tokens=tokens)
    if tokens.dim() == 0 or tokens.shape[-1] < 2:
        raise ValueError(
            "tokens must be (..., T + 1) with T >= 1, got shape "
            f"{tuple(tokens.shape)}"
        )
    return tokens[..., :-1], tokens[..., 1:]


def token_log_probs(
    logits: Tensor, targets: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The log-probability of each true token, in nats: its cross-entropy with a
    minus, and 0 for padding.

        log p(y_t | ...) = logits[t, y_t] - log sum_k exp logits[t, k]

    The loss of a padded batch is minus their sum over the number of tokens,
    `mask.sum()`. Differentiable once.

    Args:
        logits: (..., T, K), floating; -inf marks tokens that cannot come.
        targets: (..., T), int64, 0 to K - 1 where the mask is true, anything
            elsewhere.
        mask: (..., T), bool, false for padding; its entries count 0, whatever the
            logits hold there.

    Returns:
        Log-probabilities (..., T), dtype of the logits, float32 for half precision.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes do not match, or a target is out of range.

    Source: Bishop 2006, section 4.3.4.
    """
    targets = require_targets(logits, targets, mask)
    logits = require.widen(logits)
    if mask is not None:
        logits = logits.masked_fill(~mask.unsqueeze(-1), 0.0)
    if not targets.numel():
        return logits.sum(dim=-1)  # no token: nothing to look up
    logs = -fast_cross_entropy(logits, targets, reduction="none")
    return logs if mask is None else logs.masked_fill(~mask, 0.0)


def sequence_log_prob(
    logits: Tensor, targets: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The log-likelihood of sequences, in nats: the chain rule, with the product as
    a sum of logarithms.

        log p(y_1, ..., y_T) = sum_t log p(y_t | y_1, ..., y_{t-1})

    Args:
        logits: (..., T, K), floating; row t is the model's opinion on y_t.
        targets: (..., T), int64.
        mask: (..., T), bool, false for padding.

    Returns:
        Log-likelihoods (...), dtype of the logits, float32 for half precision.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes do not match, or a target is out of range.

    Source: Bengio et al. 2003, section 2.
    """
    return token_log_probs(logits, targets, mask).sum(dim=-1)


# --- Units ------------------------------------------------------------------------


def change_base(
    x: Tensor | float, to: float = 2.0, of: float = math.e
) -> Tensor | float:
    """A loss in the units of another logarithm: base e gives nats, 2 bits, 10
    hartleys.

        x_to = x_of log(of) / log(to)

    Args:
        x: entropies or losses, any shape.
        to: the base wanted, > 0 and not 1.
        of: the base that `x` has.

    Returns:
        The same quantities in the other unit, shape of `x`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a base is not positive, or is 1.

    Source: Shannon 1948, introduction.
    """
    require_base(to=to, of=of)
    if isinstance(x, Tensor):
        require.floating(x=x)
    else:
        require.number(x=x, infinite=True)
    return x * (math.log(of) / math.log(to))


def perplexity(x: Tensor | float, base: float = math.e) -> Tensor | float:
    """The number of equally likely tokens among which a model would hesitate as
    much.

        PPL = base^H = (prod_t p(y_t | ...))^(-1/N)

    The base is that of the logarithm in H: e for
    `torch.nn.functional.cross_entropy`, 2 only if H is in bits.

    Args:
        x: cross-entropies H a token, any shape.
        base: the base of their logarithm, > 0 and not 1.

    Returns:
        Perplexities, shape of `x`; infinite where H is too large for a number.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: the base is not positive, or is 1.

    Source: Jelinek et al. 1977.
    """
    require_base(base=base)
    nats = change_base(x, to=math.e, of=base)
    if isinstance(nats, Tensor):
        return nats.exp()
    return math.exp(nats) if nats < 700 else math.inf


def bits_per_byte(x: Tensor | float, tokens: int, size: int) -> Tensor | float:
    """The cost of a text in bits for each of its bytes: the measure that does not
    depend on the tokenizer.

        bits per byte = H N / (n log 2),    H nats a token, N tokens, n bytes

    Args:
        x: cross-entropies H a token in nats, any shape.
        tokens: N >= 0, how many tokens the text has.
        size: n >= 1, how many bytes the same text has.

    Returns:
        Bits per byte, shape of `x`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a count is out of range.

    Source: Gao et al. 2020, "The Pile", arXiv:2101.00027.
    """
    require.whole(tokens=tokens, least=0)
    require.whole(size=size, least=1)
    return change_base(x, to=2.0) * (tokens / size)


# --- A long text ------------------------------------------------------------------


def stream_log_probs(
    model: Model, tokens: Tensor, window: int, stride: int, batch: int = 32
) -> Tensor:
    """The log-probability of every token but the first of a long text, through
    windows of limited length.

        tokens_t is scored in the window that ends `stride` tokens after the last
            one, with all that is left of it
        as its past: at least window - stride tokens, but at the start of the text

    Args:
        model: maps tokens (B, T), T <= window, to logits (B, T, K); row t says what
            follows token t.
        tokens: (N,), int64, N >= 2.
        window: the longest input, >= 1.
        stride: how many tokens a window scores, 1 to `window`; small is exact and
            slow.
        batch: windows at a time, >= 1.

    Returns:
        Log-probabilities (N - 1,) in nats, without a graph.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a number is out of range.

    Source: Baevski & Auli 2019 (evaluation with a sliding context),
        arXiv:1809.10853.
    """
    require.function(model=model)
    require.integer(tokens=tokens)
    require.shapes(tokens=(tokens, "N"), least=2)
    require.whole(window=window, batch=batch, least=1)
    require.whole(stride=stride, least=1, most=window)
    x, y = next_token_pairs(tokens)
    head = min(window, len(x))
    with torch.no_grad():
        logs = [token_log_probs(model(x[None, :head]), y[None, :head]).squeeze(0)]
        # first token that each further window scores
        full = range(head, len(x) - stride + 1, stride)
        ends = (
            torch.tensor([*full], device=tokens.device, dtype=torch.int64) + stride
        )
        inside = torch.arange(-window, 0, device=tokens.device)
        for some in ends.split(batch):
            places = some.unsqueeze(-1) + inside  # (B, window)
            logs.append(
                token_log_probs(model(x[places]), y[places])[:, -stride:].flatten()
            )
        left = len(x) - head - len(ends) * stride
        if left:
            logs.append(
                token_log_probs(model(x[None, -window:]), y[None, -window:])[
                    0, -left:
                ]
            )
    return torch.cat(logs)


# --- What is asked of arguments ---------------------------------------------------


def require_joint(table: Tensor) -> None:
    """Refuse what is no distribution over sequences."""
    require.floating(table=table)
    if table.dim() == 0:
        raise ValueError("table must be (K_1, ..., K_T), got a single number")
    require.nonempty(table=table)
    require.within(table=table, least=0)
    total = require.widen(table.detach()).sum()
    require.values((total - 1).abs() < 1e-4, "table must have sum 1")


def require_factors(factors: Sequence[Tensor]) -> None:
    """Refuse what is no list of tensors whose shapes grow by one dimension each."""
    require.instance(Sequence, factors=factors)
    for factor in factors:
        require.floating(factors=factor)
    shapes = [tuple(factor.shape) for factor in factors]
    grow = all(b[:-1] == a for a, b in pairwise([(), *shapes]))
    if not shapes or any(0 in shape for shape in shapes) or not grow:
        raise ValueError(
            f"factors must have shapes (K_1,), (K_1, K_2), ..., got {shapes}"
        )


def require_targets(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    """The targets, with 0 where the mask is false."""
    require.floating(logits=logits)
    require.integer(targets=targets)
    if (
        logits.dim() < 1
        or logits.shape[:-1] != targets.shape
        or not logits.shape[-1]
    ):
        raise ValueError(
            "logits must be (..., T, K) with targets (..., T), got "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    if mask is not None:
        require.boolean(mask=mask)
        require.same_shape(targets=targets, mask=mask)
        targets = targets.masked_fill(~mask, 0)
    return targets


def require_base(**bases: float) -> None:
    """Refuse a base that no logarithm has."""
    require.number(**bases, above=0)  # type: ignore[arg-type]
    for name, base in bases.items():
        if base == 1:
            raise ValueError(f"{name} must not be 1: 1^x is 1 for every x")
