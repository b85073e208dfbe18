"""Speculative sampling: its exactness in closed form, by draws, and against `generate`."""

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor

from lbdl.foundations import autoregression as A

DOUBLE = torch.float64
K = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distributions(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    logits = torch.randn(*shape, K, dtype=DOUBLE, generator=seeded(seed))
    return (spread * logits).softmax(-1)


def table_model(seed: int, spread: float = 1.5):
    """A causal model whose next token depends on the last two, by a table."""
    logits = spread * torch.randn(K, K, K, dtype=DOUBLE, generator=seeded(seed))

    def model(tokens: Tensor) -> Tensor:
        before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
        return logits[before, tokens]

    return model


TARGET, DRAFT = table_model(0), table_model(1)


def close(counts: Tensor, p: Tensor) -> bool:
    """Whether shares of draws are within five standard errors of probabilities."""
    n = counts.sum()
    return bool(
        ((counts / n - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-12).all()
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_guess_from_q_becomes_a_draw_from_p(seed: int, device: str) -> None:
    p, q = (
        distributions(seed=seed).to(device),
        distributions(seed=seed + 9).to(device),
    )
    n = 200_000
    guess = torch.multinomial(q.cpu(), n, True, generator=seeded()).to(device)
    g = torch.Generator(device).manual_seed(1)
    token, kept = A.speculative_sample(p.expand(n, K), q.expand(n, K), guess, g)
    assert close(torch.bincount(token, minlength=K).cpu(), p.cpu())
    assert torch.equal(token[kept], guess[kept])
    share = A.acceptance_rate(p, q).item()
    assert kept.double().mean().item() == pytest.approx(share, abs=0.006)


def test_a_replaced_guess_comes_from_what_q_lacks() -> None:
    p, q = distributions(), distributions(seed=9)
    n, worst = 100_000, int((q - p).argmax())
    guess = torch.full((n,), worst)
    token, kept = A.speculative_sample(
        p.expand(n, K), q.expand(n, K), guess, seeded()
    )
    lacking = (p - q).clamp(min=0)
    assert close(torch.bincount(token[~kept], minlength=K), lacking / lacking.sum())
    assert kept.double().mean() == pytest.approx(
        float(p[worst] / q[worst]), abs=0.01
    )


def test_acceptance_rate_is_one_less_the_total_variation() -> None:
    p, q = distributions(50), distributions(50, seed=9)
    torch.testing.assert_close(
        A.acceptance_rate(p, q), 1 - (p - q).abs().sum(-1) / 2, rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        A.acceptance_rate(p, p), torch.ones(50, dtype=DOUBLE)
    )


def test_equal_distributions_keep_every_guess() -> None:
    p = distributions(1000)
    guess = torch.multinomial(p, 1, generator=seeded()).squeeze(-1)
    token, kept = A.speculative_sample(p, p, guess, seeded(1))
    assert kept.all() and torch.equal(token, guess)


def test_where_rounding_leaves_nothing_that_q_lacks() -> None:
    """q is a rounding above p everywhere: the few guesses not kept are drawn from p."""
    p = torch.tensor([0.0, 0.5, 0.5])
    q, n = p * (1 + 1e-5), 2_000_000
    guess = torch.randint(1, 3, (n,), generator=seeded())
    token, kept = A.speculative_sample(
        p.expand(n, 3), q.expand(n, 3), guess, seeded()
    )
    assert not kept.all() and (token > 0).all()


def test_a_token_that_the_target_forbids_is_never_kept() -> None:
    p, q = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    guess = torch.zeros(1000, dtype=torch.int64)
    token, kept = A.speculative_sample(
        p.expand(1000, 2), q.expand(1000, 2), guess, seeded()
    )
    assert not kept.any() and (token == 1).all()


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_texts_have_the_joint_distribution_of_the_target(ahead: int) -> None:
    """All texts of three tokens, by the chain rule and by 1500 runs."""
    prompt, length, runs = torch.tensor([1]), 3, 1500
    expected = torch.zeros(K, K, K, dtype=DOUBLE)
    for text in itertools.product(range(K), repeat=length):
        rows = TARGET(torch.tensor([[1, *text]]))[0].log_softmax(-1)
        expected[text] = sum(rows[t, text[t]] for t in range(length)).exp()
    counts = torch.zeros(K**length)
    g, code = seeded(3), torch.tensor([K * K, K, 1])
    for _ in range(runs):
        text, _ = A.speculative_generate(
            TARGET, DRAFT, prompt, length, ahead=ahead, generator=g
        )
        counts[(text[1:] * code).sum()] += 1
    assert close(counts, expected.flatten())


def test_a_good_draft_saves_questions_and_a_bad_one_costs_none() -> None:
    prompt, length = torch.tensor([1]), 60
    asked = {
        name: A.speculative_generate(
            TARGET, draft, prompt, length, ahead=4, generator=seeded()
        )[1]
        for name, draft in (("itself", TARGET), ("another", DRAFT))
    }
    assert asked["itself"] == length // 5
    assert length // 5 < asked["another"] <= length
    assert A.speculative_generate(TARGET, DRAFT, prompt, 7, ahead=0)[1] == 7


def test_the_same_rule_for_both_models() -> None:
    rule = partial(A.restrict, temperature=0.0)
    text, _ = A.speculative_generate(
        TARGET, DRAFT, torch.tensor([1, 2]), 20, rule=rule, generator=seeded()
    )
    greedy = A.generate(
        TARGET, torch.tensor([[1, 2]]), 20, context=22, temperature=0.0
    )
    assert torch.equal(text, greedy[0])


P = torch.tensor([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: A.speculative_sample(2 * P, P, torch.tensor(0)),
            ValueError,
            "p must be probabilities",
        ),
        (
            lambda: A.speculative_sample(P, P[:1], torch.tensor(0)),
            ValueError,
            "q must have the shape of p",
        ),
        (
            lambda: A.speculative_sample(P, P, torch.tensor(2)),
            ValueError,
            "guess must hold class numbers from 0 to 1",
        ),
        (
            lambda: A.speculative_sample(P, P, torch.tensor([0])),
            ValueError,
            r"guess must have shape \(\), got \(1,\)",
        ),
        (
            lambda: A.speculative_generate(TARGET, DRAFT, torch.tensor([1]), -1),
            ValueError,
            "length must be a whole number >= 0",
        ),
        (
            lambda: A.speculative_generate(TARGET, None, torch.tensor([1]), 1),
            TypeError,
            "draft must be a function",
        ),
        (
            lambda: A.speculative_generate(TARGET, DRAFT, torch.tensor([[1]]), 1),
            ValueError,
            r"prompt must be \(T,\)",
        ),
    ],
)
def test_bad_input_is_named(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
