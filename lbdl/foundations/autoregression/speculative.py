"""Speculative sampling: a small model guesses ahead, a large one judges all guesses
at once, and what is written has the distribution of the large one, exactly.

Writing is slow because the large model must be asked once a token, one after
another, although asking it about many places at once costs hardly more. So let a
small model write some tokens ahead, and ask the large one what it thinks of each. A
guess is kept as often as the large model would have come to it; else a token is
drawn from what the small model gives too little to.

Leviathan, Kalman & Matias 2023, arXiv:2211.17192; Chen et al. 2023,
arXiv:2302.01318.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require

__all__ = ["acceptance_rate", "speculative_generate", "speculative_sample"]

Model = Callable[[Tensor], Tensor]


def speculative_sample(
    p: Tensor, q: Tensor, guess: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Turn a draw from q into a draw from p, keeping it as often as can be.

        keep the guess x  with probability  min(1, p(x) / q(x)),
        else draw from    max(p - q, 0) / sum max(p - q, 0)

    Then x comes with q(x) min(1, p(x) / q(x)) = min(p(x), q(x)) by the first line,
    and with what is missing to p(x) by the second.

    Args:
        p: wanted probabilities (..., K), floating.
        q: probabilities (..., K) that the guesses were drawn from, dtype of `p`.
        guess: tokens (...), int64, drawn from q.
        generator: source of randomness, on the device of `p`.

    Returns:
        Tokens (...), int64, distributed as p, and whether each is the guess that
        was kept, (...) bool.

    Raises:
        TypeError: a dtype is wrong, or `generator` is none.
        ValueError: shapes do not fit; `p` or `q` is no distribution; a guess is no
            token.

    Source: Leviathan, Kalman & Matias 2023, section 2.3 and appendix A.1,
        arXiv:2211.17192.
    """
    require.matching(p=p, q=q)
    require.distribution(p=p, q=q)
    require.classes(p.shape[-1], name="guess", targets=guess)
    if guess.shape != p.shape[:-1]:
        raise ValueError(
            f"guess must have shape {tuple(p.shape[:-1])}, got {tuple(guess.shape)}"
        )
    require.generator(generator=generator)
    p, q = require.widen(p), require.widen(q)
    of_guess = [x.gather(-1, guess.unsqueeze(-1)).squeeze(-1) for x in (p, q)]
    u = torch.rand(
        p.shape[:-1], generator=generator, dtype=p.dtype, device=p.device
    )
    kept = u * of_guess[1] < of_guess[0]
    lacking = (p - q).clamp(min=0)
    lacking = torch.where(lacking.sum(-1, keepdim=True) > 0, lacking, p)
    race = torch.empty_like(p).exponential_(generator=generator)
    drawn = (lacking / race).argmax(-1)  # i wins with lacking_i / sum(lacking)
    return torch.where(kept, guess, drawn), kept


def acceptance_rate(p: Tensor, q: Tensor) -> Tensor:
    """How often a guess from q is kept: the part that both distributions share.

        sum_x min(p(x), q(x)) = 1 - 1/2 sum_x |p(x) - q(x)|

    Args:
        p: probabilities (..., K), floating.
        q: probabilities (..., K), dtype of `p`.

    Returns:
        Shares (...), in [0, 1], dtype of `p`, float32 for half precision.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes differ, or `p` or `q` is no distribution.

    Source: Leviathan, Kalman & Matias 2023, theorem 3.5, arXiv:2211.17192.
    """
    require.matching(p=p, q=q)
    require.distribution(p=p, q=q)
    return torch.minimum(require.widen(p), require.widen(q)).sum(-1)


def speculative_generate(
    model: Model,
    draft: Model,
    prompt: Tensor,
    length: int,
    *,
    ahead: int = 4,
    rule: Model | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, int]:
    """Write on as `generate` does, in the distribution of `model`, with `draft`
    guessing.

        the draft writes `ahead` tokens; the model gives p at all their places in
        one pass; guesses are kept from left to right until the first that is not;
        if all are kept, the model's last row gives one token more

    Args:
        model: maps tokens (1, T) to logits (1, T, K), causal; row t says what
            follows token t. It must take the whole text, prompt and continuation.
        draft: the same, cheaper.
        prompt: (T,), int64, T >= 1.
        length: tokens to append, >= 0.
        ahead: how many tokens the draft writes before the model is asked, >= 0.
        rule: maps logits (..., K) to logits: `restrict` with its arguments, say;
            applied to both models. None changes nothing.
        generator: source of randomness, on the device of the logits.

    Returns:
        Prompt and continuation (T + length,), int64, and how often `model` was
        asked.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range.

    Source: Leviathan, Kalman & Matias 2023, algorithm 1, arXiv:2211.17192.
    """
    require.function(model=model, draft=draft)
    require.integer(prompt=prompt)
    require.shapes(prompt=(prompt, "T"))
    require.whole(length=length, ahead=ahead, least=0)
    if rule is not None:
        require.function(rule=rule)
    require.generator(generator=generator)
    text, end, asked = prompt, len(prompt) + length, 0
    with torch.no_grad():
        while len(text) < end:
            guessed, q = guess_ahead(
                draft, text, min(ahead, end - len(text) - 1), rule, generator
            )
            p = distributions(model, guessed, len(guessed) - len(text) + 1, rule)
            text = judge(text, guessed, p, q, generator)
            asked += 1
    return text, asked


def guess_ahead(
    draft: Model,
    text: Tensor,
    steps: int,
    rule: Model | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, list[Tensor]]:
    """The text and some tokens by the draft, with the distributions they came
    from."""
    q = []
    for _ in range(steps):
        q.append(distributions(draft, text, 1, rule)[0])
        token = torch.multinomial(q[-1], 1, generator=generator)
        text = torch.cat([text, token])
    return text, q


def judge(
    text: Tensor,
    guessed: Tensor,
    p: Tensor,
    q: list[Tensor],
    generator: torch.Generator | None,
) -> Tensor:
    """The text with the guesses that are kept, and one token more."""
    for wanted, given, guess in zip(p[:-1], q, guessed[len(text) :], strict=True):
        token, kept = speculative_sample(wanted, given, guess, generator)
        text = torch.cat([text, token.view(1)])
        if not kept:
            return text
    return torch.cat([text, torch.multinomial(p[-1], 1, generator=generator)])


def distributions(
    model: Model, text: Tensor, rows: int, rule: Model | None
) -> Tensor:
    """What a model says to follow each of the last places: probabilities (rows,
    K)."""
    logits = model(text.unsqueeze(0))[0, -rows:]
    return torch.softmax((rule(logits) if rule else logits).double(), -1)
