"""Sampling rules against a plain loop, and draws against the distributions they come from."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.foundations import autoregression as A
from lbdl.models.transformer import GPT

DOUBLE = torch.float64
INF = math.inf


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


rows = st.lists(
    st.one_of(st.integers(-4, 4).map(float), st.just(-INF)), min_size=1, max_size=9
).filter(lambda row: max(row) > -INF)  # whole numbers: many ties


def in_order(row: list[float]) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def plain_top_k(row: list[float], k: int) -> list[float]:
    kept = in_order(row)[:k]
    return [x if i in kept else -INF for i, x in enumerate(row)]


def plain_nucleus(row: list[float], p: float) -> list[float]:
    whole = math.fsum(map(math.exp, row))
    kept: list[int] = []
    for i in in_order(row):
        if math.fsum(math.exp(row[j]) / whole for j in kept) >= p - 1e-12:
            break
        kept.append(i)
    return [x if i in kept else -INF for i, x in enumerate(row)]


# --- The rules


@given(rows, st.integers(1, 10))
def test_top_k_is_the_plain_one(row: list[float], k: int) -> None:
    found = A.keep_top_k(torch.tensor(row, dtype=DOUBLE), k).tolist()
    assert found == plain_top_k(row, k)


@given(rows, st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.77, 0.9, 0.999]))
def test_nucleus_is_the_plain_one(row: list[float], p: float) -> None:
    # away from sums that hit p exactly
    found = A.keep_nucleus(torch.tensor(row, dtype=DOUBLE), p + 1e-9).tolist()
    assert found == plain_nucleus(row, p + 1e-9)


@given(rows, st.floats(0.01, 1))
def test_a_nucleus_is_large_enough_and_no_larger(
    row: list[float], p: float
) -> None:
    logits = torch.tensor(row, dtype=DOUBLE)
    kept = A.keep_nucleus(logits, p) > -INF
    likely = logits.softmax(0)
    assert likely[kept].sum() >= p - 1e-9
    if p < 1:
        assert likely[kept].sum() - likely[kept].min() < p + 1e-9
        assert (
            kept.sum() == 1 or likely[kept].min() >= likely[~kept].max().item()
            if (~kept).any()
            else True
        )


def test_a_nucleus_by_hand() -> None:
    logits = torch.tensor([0.2, 0.5, 0.25, 0.05]).log()
    for p, kept in (
        (0.4, [1]),
        (0.5001, [1, 2]),
        (0.76, [0, 1, 2]),
        (0.96, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ):
        assert (
            A.keep_nucleus(logits, p) > -INF
        ).nonzero().flatten().tolist() == kept
    tied = torch.zeros(4)
    assert A.keep_nucleus(tied, 0.5).tolist() == [0, 0, -INF, -INF]
    assert A.keep_top_k(tied, 3).tolist() == [0, 0, 0, -INF]


@given(rows, st.floats(0.05, 20))
def test_temperature_is_a_power_of_the_probabilities(
    row: list[float], temperature: float
) -> None:
    logits = torch.tensor(row, dtype=DOUBLE)
    powers = logits.softmax(0) ** (1 / temperature)
    torch.testing.assert_close(
        A.with_temperature(logits, temperature).softmax(0), powers / powers.sum()
    )


def test_the_ends_of_temperature() -> None:
    logits = torch.tensor([1.0, 3.0, 3.0, -INF])
    assert A.with_temperature(logits, 0).softmax(0).tolist() == [0, 0.5, 0.5, 0]
    torch.testing.assert_close(
        A.with_temperature(logits, 1e-3).softmax(0),
        A.with_temperature(logits, 0).softmax(0),
    )
    torch.testing.assert_close(
        A.with_temperature(logits, 1e6).softmax(0),
        torch.tensor([1, 1, 1, 0]) / 3,
        atol=1e-5,
        rtol=0,
    )
    torch.testing.assert_close(
        A.with_temperature(logits, 1.0).softmax(0), logits.softmax(0)
    )
    assert A.with_temperature(torch.tensor([1e4, -1e4]), 1e-30).softmax(
        0
    ).tolist() == [1, 0]


@pytest.mark.parametrize(
    "dtype", [DOUBLE, torch.float32, torch.bfloat16, torch.float16]
)
def test_any_dimension_any_dtype_not_contiguous(
    dtype: torch.dtype, device: str
) -> None:
    logits = (
        torch.randn(3, 6, 4, generator=seeded()).to(device, dtype).transpose(0, 2)
    )  # (4, 6, 3)
    for rule in (
        lambda x, dim: A.keep_top_k(x, 2, dim),
        lambda x, dim: A.keep_nucleus(x, 0.6, dim),
        lambda x, dim: A.with_temperature(x, 0.5, dim),
        lambda x, dim: A.restrict(x, 0.7, 4, 0.8, dim),
    ):
        expected = rule(logits.movedim(1, -1), -1).movedim(-1, 1)
        for dim in (1, -2):
            found = rule(logits, dim)
            assert found.dtype == dtype and found.shape == logits.shape
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_rules_follow_one_another() -> None:
    logits = torch.randn(5, 20, generator=seeded())
    one = A.keep_nucleus(A.keep_top_k(A.with_temperature(logits, 0.6), 7), 0.9)
    assert torch.equal(A.restrict(logits, 0.6, 7, 0.9), one)
    torch.testing.assert_close(A.restrict(logits).softmax(-1), logits.softmax(-1))
    assert ((one > -INF).sum(-1) <= 7).all()


def test_gradients_reach_the_tokens_that_are_kept() -> None:
    logits = torch.randn(6, generator=seeded(), dtype=DOUBLE, requires_grad=True)
    A.restrict(logits, 0.7, 3, 0.9).softmax(-1)[logits.argmax()].backward()
    kept = A.restrict(logits.detach(), 0.7, 3, 0.9) > -INF
    assert (logits.grad[~kept] == 0).all()
    assert (logits.grad[kept] != 0).all()


# --- Drawing


@pytest.mark.parametrize("dim", [0, -1])
def test_draws_have_the_distribution_of_the_logits(dim: int, device: str) -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, -INF, 0.0], device=device)
    many = (
        logits.expand(50_000, 5) if dim else logits.unsqueeze(1).expand(5, 50_000)
    )
    drawn = A.sample(many, seeded(0, device), dim)
    assert drawn.shape == (50_000,) and drawn.dtype == torch.int64
    seen, p = (
        torch.bincount(drawn, minlength=5).double(),
        logits.double().softmax(0),
    )
    assert seen[3] == 0
    chi_square = ((seen - 50_000 * p) ** 2 / (50_000 * p))[p > 0].sum()
    assert chi_square < 25  # 3 degrees of freedom: exceeded with probability 2e-5


def test_draws_in_half_precision_and_of_one_token() -> None:
    assert A.sample(torch.zeros(3, 1)).tolist() == [0, 0, 0]
    half = torch.tensor([0.0, -INF, 60000.0], dtype=torch.float16).expand(100, 3)
    assert A.sample(half, seeded()).unique().tolist() == [2]
    assert A.sample(torch.zeros(0, 3)).shape == (0,)
    assert torch.equal(
        A.sample(torch.zeros(9, 50), seeded(1)),
        A.sample(torch.zeros(9, 50), seeded(1)),
    )


def chain(x: Tensor) -> Tensor:
    """0 -> 1 -> 2 -> 0, never anything else."""
    return torch.full((*x.shape, 3), -INF).scatter(
        -1, ((x + 1) % 3).unsqueeze(-1), 0.0
    )


def test_generation_follows_the_model_row_by_row() -> None:
    start = torch.tensor([[0], [2]])
    assert A.generate(chain, start, 4, context=1).tolist() == [
        [0, 1, 2, 0, 1],
        [2, 0, 1, 2, 0],
    ]
    assert torch.equal(A.generate(chain, start, 0, context=1), start)


def test_generation_shows_the_model_no_more_than_its_context() -> None:
    longest = []

    def model(x: Tensor) -> Tensor:
        longest.append(x.shape[1])
        return torch.zeros(*x.shape, 3)

    A.generate(
        model,
        torch.zeros(2, 3, dtype=torch.int64),
        5,
        context=4,
        generator=seeded(),
    )
    assert longest == [3, 4, 4, 4, 4]


def test_generated_pairs_have_the_right_joint_distribution(device: str) -> None:
    transition = torch.tensor([[0.7, 0.3], [0.4, 0.6]], device=device)
    start = torch.zeros(40_000, 1, dtype=torch.int64, device=device)
    drawn = A.generate(
        lambda x: transition[x].log(),
        start,
        2,
        context=1,
        generator=seeded(0, device),
    )
    seen = torch.bincount(drawn[:, 1] * 2 + drawn[:, 2], minlength=4) / 40_000
    expected = torch.tensor([0.49, 0.21, 0.12, 0.18], device=device)
    # five standard deviations
    torch.testing.assert_close(seen, expected, atol=0.012, rtol=0)


def test_greedy_generation_takes_the_largest() -> None:
    model = GPT(7, 8, 8, heads=2)
    tokens = A.generate(
        model,
        torch.tensor([[1, 2]]),
        5,
        context=8,
        temperature=0,
        generator=seeded(),
    )
    for t in range(2, 7):
        assert tokens[0, t] == model(tokens[:, :t])[0, -1].argmax()


ROW = torch.zeros(3)


# --- min-p


def test_min_p_by_its_definition() -> None:
    logits = torch.randn(50, 9, dtype=torch.float64, generator=seeded())
    p = logits.softmax(-1)
    for least in (0.0, 0.05, 0.5, 1.0):
        kept = A.keep_min_p(logits, least) > -math.inf
        assert torch.equal(kept, p >= least * p.amax(-1, keepdim=True) - 1e-15)
    assert torch.equal(A.keep_min_p(logits, 0.0), logits)
    assert torch.equal(A.keep_min_p(logits.T, 0.3, 0).T, A.keep_min_p(logits, 0.3))


def test_min_p_keeps_few_where_the_model_is_sure_and_many_where_it_is_not() -> None:
    sure, unsure = torch.tensor([9.0, 0, 0, 0]), torch.tensor([0.3, 0.2, 0.1, 0.0])
    kept = [int((A.keep_min_p(x, 0.1) > -math.inf).sum()) for x in (sure, unsure)]
    assert kept == [1, 4]


def test_min_p_is_the_last_of_the_rules() -> None:
    logits = torch.randn(6, 9, generator=seeded())
    expected = A.keep_min_p(A.restrict(logits, 1.5, 7, 0.95), 0.2)
    assert torch.equal(A.restrict(logits, 1.5, 7, 0.95, min_p=0.2), expected)


def test_min_p_with_masked_tokens() -> None:
    logits = torch.tensor([0.0, -math.inf, -1.0])
    assert A.keep_min_p(logits, 0.0).tolist() == logits.tolist()
    assert A.keep_min_p(logits, 0.9).tolist() == [0.0, -math.inf, -math.inf]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: A.keep_min_p(torch.zeros(3), 1.5),
            ValueError,
            "p must be finite and >= 0 and <= 1, got 1.5",
        ),
        (
            lambda: A.with_temperature(ROW, -1),
            ValueError,
            "temperature must be finite and >= 0, got -1",
        ),
        (
            lambda: A.with_temperature(ROW, math.nan),
            ValueError,
            "temperature must be finite",
        ),
        (
            lambda: A.keep_top_k(ROW, 0),
            ValueError,
            "k must be a whole number >= 1, got 0",
        ),
        (
            lambda: A.keep_nucleus(ROW, 0),
            ValueError,
            r"p must be finite and > 0 and <= 1, got 0",
        ),
        (
            lambda: A.keep_nucleus(ROW, 1.5),
            ValueError,
            r"p must be finite and > 0 and <= 1, got 1.5",
        ),
        (
            lambda: A.sample(ROW.long()),
            TypeError,
            "logits must be a floating tensor, got torch.int64",
        ),
        (lambda: A.sample(ROW, dim=1), ValueError, "dim must be in"),
        (
            lambda: A.sample(ROW[:0]),
            ValueError,
            "logits must have at least 1 along dim -1",
        ),
        (
            lambda: A.sample(ROW - INF),
            ValueError,
            "logits must have a finite score in every row",
        ),
        (lambda: A.sample(ROW * math.nan), ValueError, "no NaN"),
        (lambda: A.sample(ROW + INF), ValueError, "must be below .inf"),
        (
            lambda: A.generate(chain, ROW.long(), 1, context=1),
            ValueError,
            r"prompt must be \(B, T\)",
        ),
        (
            lambda: A.generate(chain, ROW.long()[None], -1, context=1),
            ValueError,
            "length must be a whole number >= 0",
        ),
        (
            lambda: A.generate(chain, ROW.long()[None], 1, context=0),
            ValueError,
            "context must be a whole number >= 1",
        ),
    ],
)
def test_bad_input_is_named(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
