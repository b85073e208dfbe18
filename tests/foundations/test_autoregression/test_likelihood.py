"""Likelihood against enumeration and torch; units against the numbers of the fact sheet."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lbdl.foundations import autoregression as A
from lbdl.foundations.losses import cross_entropy

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_joint(*sizes: int, seed: int = 0, zeros: bool = False) -> Tensor:
    table = torch.rand(*sizes, generator=seeded(seed), dtype=DOUBLE)
    if zeros:
        table = table * (table > 0.5)
    return table / table.sum()


# --- The chain rule


@pytest.mark.parametrize("zeros", [False, True])
def test_factors_multiply_to_the_joint(zeros: bool, device: str) -> None:
    table = random_joint(2, 3, 4, zeros=zeros).to(device)
    factors = A.conditionals(table)
    assert [tuple(f.shape) for f in factors] == [(2,), (2, 3), (2, 3, 4)]
    torch.testing.assert_close(A.joint(factors), table, rtol=1e-12, atol=1e-15)
    for factor, before in zip(
        factors, [table.sum(), table.sum((1, 2)), table.sum(2)], strict=True
    ):
        torch.testing.assert_close(
            factor.sum(-1), (before > 0).to(DOUBLE), rtol=1e-12, atol=1e-12
        )


def test_sequences_drawn_token_by_token_have_the_joint_distribution(
    device: str,
) -> None:
    table = random_joint(2, 3, 2, seed=1).to(device)
    g = torch.Generator(device).manual_seed(0)
    drawn = A.sample_ancestral(A.conditionals(table), 40_000, g)
    assert drawn.shape == (40_000, 3)
    codes = drawn[:, 0] * 6 + drawn[:, 1] * 2 + drawn[:, 2]
    seen = torch.bincount(codes, minlength=12).double() / 40_000
    chi_square = (40_000 * (seen - table.flatten()) ** 2 / table.flatten()).sum()
    assert chi_square < 40  # 11 degrees of freedom: exceeded with probability 4e-5


def test_one_position_and_one_token() -> None:
    assert A.joint(A.conditionals(torch.ones(1))).tolist() == [1.0]
    assert A.sample_ancestral([torch.ones(1)], 3).tolist() == [[0], [0], [0]]


# --- Likelihood


@pytest.mark.parametrize(
    "dtype", [DOUBLE, torch.float32, torch.bfloat16, torch.float16]
)
def test_log_probabilities_are_those_of_torch(
    dtype: torch.dtype, device: str
) -> None:
    logits = torch.randn(3, 5, 7, generator=seeded()).to(device, dtype)
    targets = torch.randint(7, (3, 5), generator=seeded()).to(device)
    wide = logits.to(torch.promote_types(dtype, torch.float32))
    expected = -F.cross_entropy(wide.mT, targets, reduction="none")
    found = A.token_log_probs(logits, targets)
    assert found.dtype == wide.dtype
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        A.sequence_log_prob(logits, targets), expected.sum(-1)
    )


def test_a_mask_is_the_ignore_index_of_torch(device: str) -> None:
    logits = torch.randn(4, 6, 5, generator=seeded(), dtype=DOUBLE).to(device)
    targets = torch.randint(5, (4, 6), generator=seeded()).to(device)
    mask = torch.arange(6, device=device) < torch.tensor(
        [[6], [3], [1], [0]], device=device
    )
    padded = targets.masked_fill(~mask, -100)
    logits[~mask] = math.nan  # whatever stands there, and also in the gradient
    logits = logits.masked_fill(torch.isnan(logits), -math.inf).requires_grad_()
    expected = F.cross_entropy(
        logits.detach().mT.nan_to_num(0), padded, ignore_index=-100
    )
    found = -A.sequence_log_prob(logits, padded, mask).sum() / mask.sum()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[~mask] == 0).all()
    assert A.sequence_log_prob(logits, padded, mask)[3] == 0
    assert (A.token_log_probs(logits, padded, torch.zeros_like(mask)) == 0).all()


def test_the_gradient_is_probability_minus_truth() -> None:
    logits = torch.randn(5, 4, generator=seeded(), dtype=DOUBLE, requires_grad=True)
    targets = torch.randint(4, (5,), generator=seeded())
    A.sequence_log_prob(logits, targets).neg().backward()
    torch.testing.assert_close(
        logits.grad, logits.softmax(-1).detach() - F.one_hot(targets, 4)
    )
    assert torch.autograd.gradcheck(
        lambda x: A.sequence_log_prob(x, targets), logits
    )


def test_impossible_tokens_and_extreme_logits() -> None:
    logits = torch.tensor([[0.0, -math.inf], [1e4, -1e4]])
    assert A.token_log_probs(logits, torch.tensor([0, 0])).tolist() == [0.0, 0.0]
    assert A.token_log_probs(logits, torch.tensor([1, 1])).tolist() == [
        -math.inf,
        -2e4,
    ]
    assert math.isinf(A.perplexity(cross_entropy(logits, torch.tensor([1, 0]))))


def test_shapes_views_and_empty_rows() -> None:
    # not contiguous
    logits = torch.randn(6, 7, 3, generator=seeded()).transpose(0, 1)
    targets = torch.randint(3, (6, 7), generator=seeded()).T
    torch.testing.assert_close(
        A.token_log_probs(logits, targets)[2, 3],
        logits[2, 3].log_softmax(-1)[targets[2, 3]],
    )
    nothing = torch.zeros(2, 0, 3, requires_grad=True)
    log_prob = A.sequence_log_prob(nothing, torch.zeros(2, 0, dtype=torch.int64))
    assert log_prob.tolist() == [0, 0] and log_prob.requires_grad
    x, y = A.next_token_pairs(torch.arange(5))
    assert x.tolist() == [0, 1, 2, 3] and y.tolist() == [1, 2, 3, 4]


def test_compiles() -> None:
    compiled = torch.compile(A.token_log_probs, backend="eager")
    logits, targets = (
        torch.randn(2, 3, 4, generator=seeded()),
        torch.tensor([[0, 1, 2], [3, 2, 1]]),
    )
    torch.testing.assert_close(
        compiled(logits, targets), A.token_log_probs(logits, targets)
    )


# --- Units


def test_the_numbers_of_the_text() -> None:
    assert A.perplexity(3.0) == pytest.approx(20.09, abs=5e-3)
    assert A.perplexity(math.log(50)) == pytest.approx(50)
    assert A.perplexity(math.log2(50), base=2) == pytest.approx(50)
    assert 2 ** math.log(50) == pytest.approx(15.05, abs=5e-3)  # the wrong base
    assert A.change_base(1.2) == pytest.approx(1.731, abs=5e-4)
    assert A.bits_per_byte(2.5, 1, 4) == pytest.approx(0.902, abs=5e-4)
    assert A.perplexity(1e4) == math.inf


@given(st.floats(0, 20), st.floats(1.1, 20), st.floats(1.1, 20))
def test_units_go_there_and_back(x: float, a: float, b: float) -> None:
    assert A.change_base(A.change_base(x, to=a, of=b), to=b, of=a) == pytest.approx(
        x
    )
    assert A.perplexity(A.change_base(x, to=a), base=a) == pytest.approx(
        math.exp(x)
    )


@given(st.integers(2, 100), st.integers(1, 20))
def test_perplexity_of_a_uniform_guess_is_the_number_of_tokens(
    choices: int, length: int
) -> None:
    loss = cross_entropy(
        torch.zeros(length, choices, dtype=DOUBLE),
        torch.zeros(length, dtype=torch.int64),
    )
    assert float(A.perplexity(loss)) == pytest.approx(choices)
    assert float(A.bits_per_byte(loss, length, length)) == pytest.approx(
        math.log2(choices)
    )


# --- A long text


def test_windows_score_every_token_once_with_enough_past() -> None:
    """A model whose answer tells how much past it was shown."""
    tokens = torch.randint(3, (23,), generator=seeded())

    def past(x: Tensor) -> Tensor:
        shown = torch.arange(1, x.shape[1] + 1, dtype=DOUBLE).expand(x.shape)
        return torch.stack(
            [-shown, torch.zeros_like(shown), torch.zeros_like(shown)], dim=-1
        )

    for window, stride, batch in (
        (5, 2, 3),
        (5, 5, 1),
        (4, 1, 100),
        (30, 7, 2),
        (22, 22, 2),
        (1, 1, 4),
    ):
        logs = A.stream_log_probs(past, tokens, window, stride, batch)
        assert logs.shape == (22,)
        for k, log in enumerate(logs.tolist()):
            enough = (
                [k + 1] if k < window else range(window - stride + 1, window + 1)
            )
            allowed = [past_log(shown, int(tokens[k + 1])) for shown in enough]
            assert min(abs(log - a) for a in allowed) < 1e-9


def past_log(shown: int, target: int) -> float:
    return float(
        torch.tensor([-float(shown), 0.0, 0.0], dtype=DOUBLE).log_softmax(0)[target]
    )


def test_windows_of_a_model_with_short_memory_are_exact(device: str) -> None:
    tokens = torch.randint(4, (50,), generator=seeded()).to(device)
    model = A.FixedContext(4, 3, 5, 6).to(device)
    whole = A.stream_log_probs(model, tokens, 49, 49)
    for window, stride in ((10, 7), (8, 1), (12, 9)):
        torch.testing.assert_close(
            A.stream_log_probs(model, tokens, window, stride), whole
        )


# --- Bad input

TABLE, LOGITS, IDS = (
    torch.full((2, 2), 0.25),
    torch.zeros(2, 3, 4),
    torch.zeros(2, 3, dtype=torch.int64),
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: A.conditionals(TABLE * 2),
            ValueError,
            "table must have sum 1",
        ),
        (
            lambda: A.conditionals(TABLE * math.nan),
            ValueError,
            "table must be >= 0 everywhere, got nan",
        ),
        (
            lambda: A.conditionals(-TABLE),
            ValueError,
            "table must be >= 0 everywhere",
        ),
        (
            lambda: A.conditionals(torch.tensor(1.0)),
            ValueError,
            r"table must be \(K_1",
        ),
        (lambda: A.joint([]), ValueError, "factors must have shapes"),
        (
            lambda: A.joint([torch.ones(2), torch.ones(3, 2)]),
            ValueError,
            "factors must have shapes",
        ),
        (lambda: A.next_token_pairs(IDS[0, :1]), ValueError, "tokens must be"),
        (
            lambda: A.token_log_probs(LOGITS.long(), IDS),
            TypeError,
            "logits must be a floating tensor",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS.int()),
            TypeError,
            "targets must be an int64 tensor",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS[:1]),
            ValueError,
            r"got \(2, 3, 4\) and \(1, 3\)",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS + 4),
            ValueError,
            "target must hold class numbers from 0 to 3",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS - 1),
            ValueError,
            "target must hold class numbers from 0 to 3",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS, IDS),
            TypeError,
            "mask must be a bool tensor",
        ),
        (
            lambda: A.token_log_probs(LOGITS, IDS, IDS[0] == 0),
            ValueError,
            "mask must have the shape",
        ),
        (
            lambda: A.change_base(1.0, to=1.0),
            ValueError,
            "to must not be 1",
        ),
        (
            lambda: A.perplexity(1.0, base=-2.0),
            ValueError,
            "base must be finite and > 0",
        ),
        (
            lambda: A.bits_per_byte(1.0, 1, 0),
            ValueError,
            "size must be a whole number >= 1, got 0",
        ),
        (
            lambda: A.stream_log_probs(len, IDS, 2, 1),
            ValueError,
            r"tokens must be \(N,\)",
        ),
        (
            lambda: A.stream_log_probs(len, IDS[0], 2, 3),
            ValueError,
            "stride must be a whole number >= 1 and <= 2, got 3",
        ),
    ],
)
def test_bad_input_is_named(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
