"""Does the future leak into the past? Two tests that need nothing but the model.

The output of a causal model at place s may depend on tokens up to s, and on no
later one. Change a later token and see whether the output moves; or take the
gradient of the output with respect to the later inputs. A leak makes training
losses too good to be true, and texts that are no good at all.

Masks against leaks: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv:1601.06759
(pixels); Vaswani et al. 2017, section 3.2.3, arXiv:1706.03762 (text). Tests by
gradients: Karpathy 2019, "A Recipe for Training Neural Networks".
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require

__all__ = ["dependence", "gradient_dependence", "leaks", "leaks_by_gradient"]

Model = Callable[[Tensor], Tensor]


def dependence(
    model: Model,
    tokens: Tensor,
    vocabulary: int,
    *,
    trials: int = 4,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far the output at each place moves when the token at another place is
    replaced.

        D[s, t] = max over replacements x' of x at place t
            of  ||f(x')_s - f(x)_s||_inf

    All T replacements run as one batch, beside a batch of T unchanged copies: so a
    model that mixes the rows of a batch (batch normalisation in training mode)
    shows as one that mixes everything.

    Args:
        model: maps tokens (B, T) to outputs (B, T, ...); a module should be in
            evaluation mode.
        tokens: (T,), int64, T >= 1.
        vocabulary: K >= 2; replacements are drawn from the other K - 1 tokens.
        trials: how many replacements of each token are tried, >= 1: one may be
            without effect by chance.
        generator: source of randomness on the device of the tokens.

    Returns:
        D (T, T), floating; row s is the output, column t the input.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range, or the model gives two answers to
            one question (dropout, say).
    """
    require.function(model=model)
    require.integer(tokens=tokens)
    require.shapes(tokens=(tokens, "T"))
    require.whole(vocabulary=vocabulary, least=2)
    require.within(tokens=tokens, least=0, most=vocabulary - 1)
    require.whole(trials=trials, least=1)
    require.generator(generator=generator)
    length = len(tokens)
    rows = tokens.repeat(length, 1)  # (T, T)
    places = torch.arange(length, device=tokens.device)
    with torch.no_grad():
        before = model(rows)
        require_deterministic(before, model(rows))
        moved = before.new_zeros(length, length)
        for _ in range(trials):
            shift = torch.randint(
                1, vocabulary, (length,), generator=generator, device=tokens.device
            )
            changed = rows.clone()
            # row t has another token at place t
            changed[places, places] = (tokens + shift) % vocabulary
            moved = torch.maximum(moved, difference(model(changed), before))
    return moved.mT


def difference(a: Tensor, b: Tensor) -> Tensor:
    """The largest change (B, T) of outputs (B, T, ...); two infinities of one sign
    are equal."""
    return (
        torch.where(a == b, 0, (a - b).abs())
        .nan_to_num(nan=torch.inf)
        .flatten(2)
        .amax(-1)
    )


def leaks(
    model: Model,
    tokens: Tensor,
    vocabulary: int,
    *,
    ahead: int = 0,
    trials: int = 4,
    tolerance: float = 1e-4,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The leak test by perturbation: which outputs move when a token changes that
    they must not see?

        leak[s, t] = D[s, t] > tolerance  and  t > s + ahead,    D from `dependence`

    It cannot accuse a causal model (within `tolerance`), but it can miss a leak
    that no trial set off.

    Args:
        model: maps tokens (B, T) to outputs (B, T, ...); a module should be in
            evaluation mode.
        tokens: (T,), int64, T >= 2.
        vocabulary: K >= 2.
        ahead: the last place that output s may see is s + ahead: 0 where row s
            predicts token s + 1, -1 where row s predicts token s.
        trials: replacements of each token.
        tolerance: changes up to this are rounding.
        generator: source of randomness on the device of the tokens.

    Returns:
        Leaks (T, T), bool; none of them is true for a causal model.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range, or the model gives two answers to
            one question.

    Source: van den Oord et al. 2016 (what the masks of a pixel model forbid),
        arXiv:1601.06759.
    """
    require.whole(ahead=ahead)
    require.number(tolerance=tolerance, least=0)
    moved = dependence(
        model, tokens, vocabulary, trials=trials, generator=generator
    )
    return (moved > tolerance) & future(len(tokens), ahead, tokens.device)


def gradient_dependence(
    model: Model,
    vectors: Tensor,
    *,
    trials: int = 2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How steeply the output at each place depends on the input vector at another
    place.

        G[s, t] = max over random directions u of  || d <u, f(v)_s> / d v_t ||

    A sum over outputs would not do for u: where outputs are normalised, their sum
    is constant.

    Args:
        model: maps vectors (1, T, d) to outputs (1, T, ...), differentiable.
        vectors: (T, d), floating, T >= 1: the embedded tokens.
        trials: random directions for each place, >= 1.
        generator: source of randomness on the device of the vectors.

    Returns:
        G (T, T), dtype of the vectors; row s is the output, column t the input.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range.

    Source: Karpathy 2019, "A Recipe for Training Neural Networks" ("use backprop to
        chart dependencies").
    """
    require.function(model=model)
    require.floating(vectors=vectors)
    require.shapes(vectors=(vectors, "T d"))
    require.finite(vectors=vectors)
    require.whole(trials=trials, least=1)
    require.generator(generator=generator)
    source = vectors.detach().unsqueeze(0).requires_grad_()
    outputs = model(source).squeeze(0).flatten(1)  # (T, m)
    slopes = vectors.new_zeros(trials, len(vectors), len(vectors))
    if not outputs.requires_grad:
        # nothing depends on anything that a gradient can see
        return slopes[0]
    for trial, s in torch.cartesian_prod(
        torch.arange(trials), torch.arange(len(vectors))
    ).tolist():
        direction = torch.randn(
            outputs.shape[1:], generator=generator, device=vectors.device
        )
        seen = (outputs[s] * direction.to(outputs.dtype)).sum()
        slope = torch.autograd.grad(
            seen, source, retain_graph=True, allow_unused=True
        )[0]
        if slope is not None:
            slopes[trial, s] = slope[0].norm(dim=-1)
    return slopes.amax(0)


def leaks_by_gradient(
    model: Model,
    vectors: Tensor,
    *,
    ahead: int = 0,
    trials: int = 2,
    tolerance: float = 1e-8,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The leak test by gradients: which outputs have a slope towards inputs that
    they must not see?

        leak[s, t] = G[s, t] > tolerance  and  t > s + ahead,
        G from `gradient_dependence`

    One backward pass sees all inputs, so that no leak along a smooth path is missed
    by bad luck. It is blind to paths that have no gradient: argmax, rounding,
    `detach`, a token that is looked up.

    Args:
        model: maps vectors (1, T, d) to outputs (1, T, ...), differentiable.
        vectors: (T, d), floating, T >= 2.
        ahead: the last place that output s may see is s + ahead.
        trials: random directions for each place.
        tolerance: slopes up to this are rounding.
        generator: source of randomness on the device of the vectors.

    Returns:
        Leaks (T, T), bool; none of them is true for a causal model.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range.

    Source: Karpathy 2019, "A Recipe for Training Neural Networks".
    """
    require.whole(ahead=ahead)
    require.number(tolerance=tolerance, least=0)
    slopes = gradient_dependence(model, vectors, trials=trials, generator=generator)
    return ~(slopes <= tolerance) & future(len(vectors), ahead, vectors.device)


def future(length: int, ahead: int, device: torch.device) -> Tensor:
    """(T, T), true where t > s + ahead."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(
        ahead + 1
    )


def require_deterministic(first: Tensor, second: Tensor) -> None:
    """Refuse a model that gives two answers to one question."""
    if bool((difference(first, second) > 0).any()):
        raise ValueError(
            "model must give one answer to one question: switch dropout off with "
            "model.eval()"
        )
