"""From logits to a next token: temperature, top-k, nucleus, min-p, the draw itself.

Each rule maps logits to logits, with -inf for the tokens it rules out, so that
rules can follow one another.

Ackley, Hinton & Sejnowski 1985 (temperature); Fan, Lewis & Dauphin 2018,
arXiv:1805.04833 (top-k); Holtzman et al. 2020, arXiv:1904.09751 (nucleus); Nguyen
et al. 2024, arXiv:2407.01082 (min-p).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "with_temperature",
    "keep_top_k",
    "keep_nucleus",
    "keep_min_p",
    "restrict",
    "sample",
    "generate",
]


def with_temperature(logits: Tensor, temperature: float, dim: int = -1) -> Tensor:
    """Sharpen or flatten a distribution.

        p_i proportional to p_i^(1/temperature),    logits <- logits / temperature

    Temperature 0 is the limit: only the largest logits are left, all of them where
    several are equal.

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come.
        temperature: >= 0; 1 changes nothing.
        dim: the dimension of the tokens.

    Returns:
        Logits, shape and dtype of `logits`, shifted so that the largest is 0.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: the temperature is negative or not finite, or a row has NaN,
            +inf or no finite logit.

    Source: Ackley, Hinton & Sejnowski 1985.
    """
    require_logits(logits, dim)
    require.number(temperature=temperature, least=0)
    wide = require.widen(logits)
    shifted = wide - wide.amax(dim=dim, keepdim=True)
    if temperature == 0:
        return logits.masked_fill(shifted < 0, -math.inf) - logits.amax(
            dim=dim, keepdim=True
        )
    return (shifted / temperature).to(logits.dtype)


def keep_top_k(logits: Tensor, k: int, dim: int = -1) -> Tensor:
    """Keep the k most likely tokens.

        logits_i  where i is among the k largest,  -inf elsewhere

    Of equal logits, those with the smaller index come first: exactly k are kept.

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come.
        k: >= 1; all tokens where k >= K.
        dim: the dimension of the tokens.

    Returns:
        Logits, shape and dtype of `logits`.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: k < 1, or a row has NaN, +inf or no finite logit.

    Source: Fan, Lewis & Dauphin 2018, arXiv:1805.04833.
    """
    require_logits(logits, dim)
    require.whole(k=k, least=1)
    order = logits.sort(dim=dim, descending=True, stable=True).indices
    kept = torch.zeros_like(logits, dtype=torch.bool)
    kept.scatter_(dim, order.narrow(dim, 0, min(k, logits.shape[dim])), True)
    return logits.masked_fill(~kept, -math.inf)


def keep_nucleus(logits: Tensor, p: float, dim: int = -1) -> Tensor:
    """Keep the smallest set of tokens, the most likely first, whose probabilities
    sum to at least p.

        V = the first m tokens in descending order,
        m = min{m : p_(1) + ... + p_(m) >= p}

    Of equal logits, those with the smaller index come first. At least one token is
    kept.

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come.
        p: in (0, 1]; 1 keeps all.
        dim: the dimension of the tokens.

    Returns:
        Logits, shape and dtype of `logits`.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: p is outside (0, 1], or a row has NaN, +inf or no finite logit.

    Source: Holtzman et al. 2020, section 3.1, arXiv:1904.09751.
    """
    require_logits(logits, dim)
    require.number(p=p, above=0, most=1)
    if p == 1:
        return logits.clone()
    wide = require.widen(logits)
    likely, order = wide.softmax(dim=dim).sort(
        dim=dim, descending=True, stable=True
    )
    enough_before = likely.cumsum(dim=dim) - likely >= p
    enough_before.narrow(dim, 0, 1).fill_(False)
    dropped = torch.zeros_like(enough_before).scatter_(dim, order, enough_before)
    return logits.masked_fill(dropped, -math.inf)


def keep_min_p(logits: Tensor, p: float, dim: int = -1) -> Tensor:
    """Keep the tokens that are not much less likely than the most likely one.

        logits_i  where p_i >= p max_j p_j,  -inf elsewhere

    Where the model is sure few tokens stay, where it hesitates many. No cumulative
    sum is needed: it is a bound on logits, log(p) below the largest.

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come.
        p: in [0, 1]; 0 keeps all, 1 only the most likely ones.
        dim: the dimension of the tokens.

    Returns:
        Logits, shape and dtype of `logits`.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: p is outside [0, 1], or a row has NaN, +inf or no finite logit.

    Source: Nguyen et al. 2024, arXiv:2407.01082.
    """
    require_logits(logits, dim)
    require.number(p=p, least=0, most=1)
    wide = require.widen(logits)
    least = wide.amax(dim=dim, keepdim=True) + (math.log(p) if p else -math.inf)
    return logits.masked_fill(wide < least, -math.inf)


def restrict(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    dim: int = -1,
    min_p: float = 0.0,
) -> Tensor:
    """Temperature, then top-k, then nucleus, then min-p: the order in which they
    are usually applied.

        restrict = keep_min_p(keep_nucleus(keep_top_k(with_temperature(logits))))

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come.
        temperature: >= 0.
        top_k: >= 1, or None for all.
        top_p: in (0, 1].
        dim: the dimension of the tokens.
        min_p: in [0, 1].

    Returns:
        Logits, shape and dtype of `logits`; their softmax is the distribution that
        is drawn from.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: an argument is out of range, or a row has NaN, +inf or no finite
            logit.

    Source: Holtzman et al. 2020, section 3, arXiv:1904.09751.
    """
    require_restriction(temperature, top_k, top_p, min_p)
    logits = with_temperature(logits, temperature, dim)
    if top_k is not None:
        logits = keep_top_k(logits, top_k, dim)
    return keep_min_p(keep_nucleus(logits, top_p, dim), min_p, dim)


def sample(
    logits: Tensor, generator: torch.Generator | None = None, dim: int = -1
) -> Tensor:
    """Draw a token from each row: a race, in which noise is added to the logits and
    the largest wins.

        argmax_i (logits_i + g_i),  g_i = -log(-log u_i),  u_i ~ U(0, 1)
            is i  with probability softmax(logits)_i

    Args:
        logits: (..., K, ...), floating; -inf marks tokens that cannot come, and
            never do.
        generator: source of randomness, on the device of `logits`.
        dim: the dimension of the tokens.

    Returns:
        Token numbers (..., ...), int64: the shape of `logits` without `dim`.

    Raises:
        TypeError: `logits` is not floating, or another argument of the wrong kind.
        ValueError: a row has NaN, +inf or no finite logit.

    Source: Gumbel 1954; Maddison, Tarlow & Minka 2014, arXiv:1411.0030.
    """
    require_logits(logits, dim)
    require.generator(generator=generator)
    wide = logits.double()
    waiting = torch.empty_like(wide).exponential_(generator=generator)  # -log u
    return (wide - waiting.log()).argmax(dim=dim)


def generate(
    model: Callable[[Tensor], Tensor],
    prompt: Tensor,
    length: int,
    *,
    context: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Write on: draw a token, append it, ask the model again.

        x_{t+1} ~ restrict(model(x_1, ..., x_t)_t)

    Args:
        model: maps tokens (B, T), T <= context, to logits (B, T, K); row t says
            what follows token t.
        prompt: (B, T), int64, T >= 1: each row is continued on its own.
        length: tokens to append, >= 0.
        context: the most tokens the model is shown, >= 1.
        temperature: >= 0.
        top_k: >= 1, or None for all.
        top_p: in (0, 1].
        min_p: in [0, 1].
        generator: source of randomness, on the device of the logits.

    Returns:
        Prompt and continuation (B, T + length), int64, without a graph.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range.

    Source: Graves 2013, arXiv:1308.0850.
    """
    require.function(model=model)
    require.integer(prompt=prompt)
    require.shapes(prompt=(prompt, "B T"))
    require.whole(length=length, least=0)
    require.whole(context=context, least=1)
    require_restriction(temperature, top_k, top_p, min_p)
    require.generator(generator=generator)
    tokens = prompt
    with torch.no_grad():
        for _ in range(length):
            logits = model(tokens[:, -context:])[:, -1]
            allowed = restrict(logits, temperature, top_k, top_p, min_p=min_p)
            drawn = sample(allowed, generator)
            tokens = torch.cat([tokens, drawn.unsqueeze(-1)], dim=-1)
    return tokens


def require_logits(logits: Tensor, dim: int) -> None:
    """Refuse what is no row of logits."""
    require.floating(logits=logits)
    require.dim(logits, dim, "logits")
    require.peaks(logits=logits.detach().amax(dim=dim))


def require_restriction(
    temperature: float, top_k: int | None, top_p: float, min_p: float
) -> None:
    """Refuse bad arguments of `restrict`."""
    require.number(temperature=temperature, least=0)
    if top_k is not None:
        require.whole(top_k=top_k, least=1)
    require.number(top_p=top_p, above=0, most=1)
    require.number(min_p=min_p, least=0, most=1)
