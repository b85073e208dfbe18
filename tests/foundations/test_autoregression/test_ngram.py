"""n-grams against counting with dictionaries, and against the laws that smoothing must obey."""

import itertools
import math
from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.foundations import autoregression as A

DOUBLE = torch.float64
K = 4
texts = st.lists(st.integers(0, K - 1), min_size=1, max_size=40)


def grams_of(text: list[int], n: int) -> Counter:
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def all_contexts(n: int) -> Tensor:
    """Every context of n - 1 tokens with every next token: (K^(n-1), K, n)."""
    return (
        torch.cartesian_prod(*[torch.arange(K)] * n).view(-1, K, n)
        if n > 1
        else torch.arange(K).view(1, K, 1)
    )


# --- Counting


@given(texts, st.integers(1, 4))
def test_counts_are_those_of_a_dictionary(text: list[int], n: int) -> None:
    found = A.count_ngrams(torch.tensor(text), n, K)
    codes = [
        sum(w * K ** (n - 1 - i) for i, w in enumerate(g))
        for g in grams_of(text, n)
    ]
    assert dict(
        zip(found.codes.tolist(), found.counts.tolist(), strict=True)
    ) == dict(zip(codes, grams_of(text, n).values(), strict=True))
    assert found.codes.tolist() == sorted(codes)
    followers = Counter(code // K for code in codes)
    assert (
        dict(zip(found.contexts.tolist(), found.kinds.tolist(), strict=True))
        == followers
    )
    assert int(found.totals.sum()) == max(0, len(text) - n + 1)


def test_rows_are_texts_of_their_own(device: str) -> None:
    rows = torch.tensor([[0, 1], [2, 3]], device=device)
    found = A.count_ngrams(rows, 2, K)
    assert found.codes.tolist() == [0 * K + 1, 2 * K + 3]
    assert found.codes.device.type == device


@given(texts)
def test_continuations_are_ways_to_be_preceded(text: list[int]) -> None:
    found = A.continuation_counts(A.count_ngrams(torch.tensor(text), 3, K))
    expected = Counter(g[1:] for g in grams_of(text, 3))
    assert dict(zip(found.codes.tolist(), found.counts.tolist(), strict=True)) == {
        a * K + b: n for (a, b), n in expected.items()
    }


def test_francisco_follows_san_only() -> None:
    text = torch.tensor([0, 1, 0, 1, 0, 1, 2, 3, 0, 3, 1, 2])  # 0 San, 1 Francisco
    bigrams = A.count_ngrams(text[:8], 2, K)
    unigrams = A.continuation_counts(bigrams)
    assert A.lookup(
        unigrams.codes, unigrams.counts, torch.tensor([1])
    ).tolist() == [1]
    assert A.lookup(
        *A.count_ngrams(text[:8], 1, K)[2:4], torch.tensor([1])
    ).tolist() == [3]


def test_lookup(device: str) -> None:
    keys, values = (
        torch.tensor([2, 5, 9], device=device),
        torch.tensor([20, 50, 90], device=device),
    )
    wanted = torch.tensor([[9, 1], [5, 100]], device=device)
    assert A.lookup(keys, values, wanted).tolist() == [[90, 0], [50, 0]]
    assert A.lookup(keys[:0], values[:0], wanted).tolist() == [[0, 0], [0, 0]]


# --- Smoothing, against dictionaries


def plain_add_k(text: list[int], gram: tuple, k: float) -> float:
    n = len(gram)
    count, total = (
        grams_of(text, n)[gram],
        sum(grams_of(text, n)[(*gram[:-1], w)] for w in range(K)),
    )
    return (count + k) / (total + k * K) if total + k > 0 else 1 / K


def plain_jelinek_mercer(text: list[int], gram: tuple, weight: float) -> float:
    if not gram:
        return 1 / K
    total = sum(grams_of(text, len(gram))[(*gram[:-1], w)] for w in range(K))
    below = plain_jelinek_mercer(text, gram[1:], weight)
    return (
        weight * grams_of(text, len(gram))[gram] / total + (1 - weight) * below
        if total
        else below
    )


def plain_kneser_ney(text: list[int], gram: tuple, d: float, top: int) -> float:
    if not gram:
        return 1 / K
    n = len(gram)
    counts = (
        grams_of(text, n)
        if n == top
        else Counter(g[1:] for g in grams_of(text, n + 1))
    )
    followers = [counts[(*gram[:-1], w)] for w in range(K)]
    below = plain_kneser_ney(text, gram[1:], d, top)
    if not sum(followers):
        return below
    return (
        max(counts[gram] - d, 0) + d * sum(f > 0 for f in followers) * below
    ) / sum(followers)


@given(texts, st.integers(1, 3), st.floats(0, 1))
def test_smoothing_is_that_of_dictionaries(
    text: list[int], n: int, x: float
) -> None:
    grams = all_contexts(n).flatten(0, 1)
    tokens, listed = torch.tensor(text), [tuple(g) for g in grams.tolist()]
    raw, kept = A.count_up_to(tokens, n, K), A.kneser_ney_counts(tokens, n, K)
    pairs = [
        (A.add_k(raw, grams, x), [plain_add_k(text, g, x) for g in listed]),
        (
            A.jelinek_mercer(raw, grams, 0.9 * x),
            [plain_jelinek_mercer(text, g, 0.9 * x) for g in listed],
        ),
        (
            A.kneser_ney(kept, grams, x),
            [plain_kneser_ney(text, g, x, n) for g in listed],
        ),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(
            found, torch.tensor(expected, dtype=DOUBLE), rtol=1e-9, atol=1e-12
        )


@given(texts, st.integers(1, 3))
def test_probabilities_sum_to_one(text: list[int], n: int) -> None:
    grams, tokens = all_contexts(n), torch.tensor(text)
    raw, kept = A.count_up_to(tokens, n, K), A.kneser_ney_counts(tokens, n, K)
    for p in (
        A.relative_frequency(raw, grams),
        A.add_k(raw, grams, 0.1),
        A.jelinek_mercer(raw, grams),
        A.kneser_ney(kept, grams),
    ):
        assert p.shape == (K ** (n - 1), K)
        torch.testing.assert_close(
            p.sum(-1), torch.ones(K ** (n - 1), dtype=DOUBLE), rtol=1e-12, atol=0
        )
    assert (A.kneser_ney(kept, grams) > 0).all()
    assert (A.jelinek_mercer(raw, grams) > 0).all()


def test_kneser_ney_keeps_the_unigram_distribution() -> None:
    """The law from which Kneser and Ney derive the continuation counts."""
    tokens = (
        torch.randint(K, (200,), generator=torch.Generator().manual_seed(0)) ** 2
        % K
    )
    kept, bigrams = A.kneser_ney_counts(tokens, 2, K), A.count_ngrams(tokens, 2, K)
    p = A.kneser_ney(kept, all_contexts(2), (0.0, 0.75))  # (K, K)
    weight = A.lookup(bigrams.contexts, bigrams.totals, torch.arange(K)).double()
    torch.testing.assert_close(
        weight @ p, torch.bincount(tokens[1:], minlength=K).double()
    )
    spoiled = A.kneser_ney(
        A.count_up_to(tokens, 2, K), all_contexts(2), (0.0, 0.75)
    )
    assert not torch.allclose(
        weight @ spoiled, torch.bincount(tokens[1:], minlength=K).double()
    )


def test_the_largest_likelihood_is_that_of_relative_frequency() -> None:
    tokens = torch.tensor([0, 1, 0, 2, 0, 1, 1, 3, 0, 1])
    levels = A.count_up_to(tokens, 2, K)
    best = A.relative_frequency(levels, tokens.unfold(0, 2, 1)).log().sum()
    g = torch.Generator().manual_seed(0)
    for _ in range(200):
        table = torch.rand(K, K, generator=g, dtype=DOUBLE)
        table = table / table.sum(-1, keepdim=True)
        assert table[tokens[:-1], tokens[1:]].log().sum() < best
    assert A.relative_frequency(levels, torch.tensor([3, 3])) == 0


# --- The model


@pytest.mark.parametrize("smoothing", [A.add_k, A.jelinek_mercer])
def test_scoring_is_the_chain_rule(smoothing, device: str) -> None:
    text = torch.randint(K, (3, 30), generator=torch.Generator().manual_seed(1)).to(
        device
    )
    model = A.NGram(A.count_up_to(text, 3, K), smoothing)
    logs = model.log_probs(text)
    assert logs.shape == (3, 30)
    rows = model(text)
    assert rows.shape == (3, 30, K)
    torch.testing.assert_close(
        A.token_log_probs(rows[:, :-1], text[:, 1:]), logs[:, 1:]
    )
    torch.testing.assert_close(
        rows.exp().sum(-1), torch.ones(3, 30, dtype=DOUBLE, device=device)
    )
    short = model.log_probs(text[:, :2])
    torch.testing.assert_close(short, logs[:, :2])


def test_the_probabilities_of_all_texts_sum_to_one() -> None:
    tokens = torch.randint(K, (60,), generator=torch.Generator().manual_seed(2))
    model = A.NGram(A.kneser_ney_counts(tokens, 3, K), A.kneser_ney)
    everything = torch.cartesian_prod(*[torch.arange(K)] * 5)
    torch.testing.assert_close(
        model.log_probs(everything).sum(-1).exp().sum(),
        torch.tensor(1.0, dtype=DOUBLE),
    )


def test_an_ngram_model_is_causal() -> None:
    tokens = torch.randint(K, (60,), generator=torch.Generator().manual_seed(3))
    model = A.NGram(
        A.kneser_ney_counts(tokens, 3, K), partial(A.kneser_ney, discount=0.5)
    )
    seen = (
        A.dependence(
            model, tokens[:8], K, generator=torch.Generator().manual_seed(0)
        )
        > 1e-12
    )
    assert not A.leaks(model, tokens[:8], K).any()
    reach = torch.arange(8)[:, None] - torch.arange(8)
    assert not seen[
        (reach < 0) | (reach > 1)
    ].any()  # two tokens back at most: itself and one before
    assert seen[(reach >= 0) & (reach <= 1)].any()


def test_more_context_helps_a_text_with_memory() -> None:
    tokens = torch.tensor([0, 0, 1, 1] * 50)
    losses = []
    for n in (1, 2, 3):
        model = A.NGram(A.kneser_ney_counts(tokens, n, K), A.kneser_ney)
        losses.append(-model.log_probs(tokens)[5:].mean().item())
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < 0.05 < math.log(2) - 0.05 < losses[1]


# --- Modified Kneser-Ney


def by_hand(tokens: list[int], order: int) -> dict[tuple[int, ...], float]:
    """Modified Kneser-Ney written out with dictionaries, for all n-grams of an order."""
    counts: list[dict] = []
    for n in range(1, order + 1):
        grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        counts.append({g: grams.count(g) for g in set(grams)})
    for n in range(order - 1):
        longer = {tuple(g) for g in counts[n + 1]}
        if n + 1 < order:
            counts[n] = {
                g: sum(g == each[1:] for each in longer) for g in counts[n]
            }
            counts[n] = {g: c for g, c in counts[n].items() if c}
    p = {(): 1 / K}
    for n in range(1, order + 1):
        table = counts[n - 1]
        n_i = [sum(c == i for c in table.values()) for i in range(1, 5)]
        if all(n_i):
            y = n_i[0] / (n_i[0] + 2 * n_i[1])
            D = [i - (i + 1) * y * n_i[i] / n_i[i - 1] for i in (1, 2, 3)]
            D = [min(max(d, 0), i) for i, d in enumerate(D, 1)]
        else:
            D = [0.5, 1.0, 1.5]
        discount = lambda c, D=D: D[min(c, 3) - 1] if c else 0.0
        longer = {}
        for gram in itertools.product(range(K), repeat=n):
            behind = [c for g, c in table.items() if g[:-1] == gram[:-1]]
            lower = p[gram[1:]]
            if behind:
                own = table.get(gram, 0)
                saved = sum(map(discount, behind))
                longer[gram] = (max(own - discount(own), 0) + saved * lower) / sum(
                    behind
                )
            else:
                longer[gram] = lower
        p = longer
    return p


@pytest.mark.parametrize(("size", "order"), [(40, 1), (40, 3), (400, 2), (2000, 3)])
def test_modified_kneser_ney_written_out(size: int, order: int) -> None:
    chance = torch.tensor([0.6, 0.25, 0.1, 0.05])
    tokens = torch.multinomial(
        chance, size, True, generator=torch.Generator().manual_seed(0)
    )
    expected = by_hand(tokens.tolist(), order)
    levels = A.kneser_ney_counts(tokens, order, K)
    grams = torch.tensor(list(expected))
    torch.testing.assert_close(
        A.modified_kneser_ney(levels, grams),
        torch.tensor([*expected.values()], dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )


def test_discounts_by_hand() -> None:
    """n-grams counted 1, 2, 3, 4 times: 8, 4, 2, 1 of them."""
    times = [1] * 8 + [2] * 4 + [3] * 2 + [4]
    tokens = torch.tensor([i for i, n in enumerate(times) for _ in range(n)])
    counts = A.count_ngrams(tokens, 1, 15)
    assert counts.repeats.tolist() == [8, 4, 2, 1]
    y = 8 / (8 + 2 * 4)
    assert A.estimated_discount(counts) == y
    expected = [1 - 2 * y * 4 / 8, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2]
    assert A.modified_discounts(counts).tolist() == pytest.approx(expected)
    few = A.count_ngrams(tokens[:8], 1, 15)
    assert A.modified_discounts(few).tolist() == [0.5, 1.0, 1.5]
    assert A.estimated_discount(few) == 1.0
    nothing = A.count_ngrams(tokens[:0], 1, 15)
    assert A.estimated_discount(nothing) == 0.5


RAW = A.count_up_to(torch.tensor([0, 1, 2]), 2, K)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: A.count_ngrams(torch.tensor([0.0]), 1, K),
            TypeError,
            "tokens must be an int64 tensor",
        ),
        (
            lambda: A.count_ngrams(torch.tensor([0, 4]), 1, K),
            ValueError,
            "tokens must be >= 0 and <= 3 everywhere, got 4",
        ),
        (
            lambda: A.count_ngrams(torch.tensor([-1]), 1, K),
            ValueError,
            "tokens must be >= 0 and <= 3 everywhere, got -1",
        ),
        (
            lambda: A.count_ngrams(torch.tensor(1), 1, K),
            ValueError,
            r"tokens must be \(..., T\)",
        ),
        (
            lambda: A.count_ngrams(torch.tensor([0]), 0, K),
            ValueError,
            "order must be a whole number >= 1, got 0",
        ),
        (
            lambda: A.count_ngrams(torch.tensor([0]), 8, 256),
            ValueError,
            "must be below",
        ),
        (lambda: A.continuation_counts(RAW[0]), ValueError, "order >= 2, got 1"),
        (
            lambda: A.lookup(RAW[0].codes, RAW[1].counts[:0], RAW[0].codes),
            ValueError,
            "keys and values",
        ),
        (
            lambda: A.add_k(RAW, torch.zeros(3, dtype=torch.int64)),
            ValueError,
            "grams must be",
        ),
        (
            lambda: A.add_k(RAW[1:], torch.zeros(1, dtype=torch.int64)),
            ValueError,
            "levels must have orders",
        ),
        (
            lambda: A.add_k(RAW, torch.tensor([0]), -1),
            ValueError,
            "k must be finite and >= 0, got -1",
        ),
        (
            lambda: A.jelinek_mercer(RAW, torch.tensor([0]), 1.0),
            ValueError,
            "weight must be finite and >= 0 and < 1",
        ),
        (
            lambda: A.kneser_ney(RAW, torch.tensor([0]), 1.5),
            ValueError,
            "discount must be finite and >= 0 and <= 1",
        ),
        (
            lambda: A.kneser_ney(RAW, torch.tensor([0]), [0.5]),
            ValueError,
            "discount must be one number or one for each of 2",
        ),
    ],
)
def test_bad_input_is_named(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
