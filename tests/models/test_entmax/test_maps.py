"""The plain maps of `lbdl.models.entmax` against torch, the `entmax` package, and a general-purpose optimizer."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from lbdl.models.entmax import (
    entmax,
    entmax15,
    entmax_jacobian,
    fast_entmax,
    fast_entmax15,
    fast_sparsemax,
    one_hot_gap,
    sparse_softmax,
    sparsemax,
    sparsemax_jacobian,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
)
from lbdl.models.softmax import softmax, softmax_jacobian
from tests.models.laws import (
    EveryMap,
    LongMap,
    ShiftInvariantMap,
    SmoothMap,
    assert_equal,
    only,
    scores,
)
from tests.peers import Peer

peer = Peer("entmax")

MAPS = {
    "taylor": lambda x, dim=-1: taylor_softmax(x, 4, dim),
    "sparse": lambda x, dim=-1: sparse_softmax(x, 1, dim),
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "entmax 1": lambda x, dim=-1: entmax(x, 1.0, dim),
    "entmax 1.25": lambda x, dim=-1: entmax(x, 1.25, dim),
    "entmax 3": lambda x, dim=-1: entmax(x, 3.0, dim),
    "fast sparsemax": fast_sparsemax,
    "fast entmax15": fast_entmax15,
    "fast entmax 1": lambda x, dim=-1: fast_entmax(x, 1.0, dim),
    "fast entmax 1.01": lambda x, dim=-1: fast_entmax(x, 1.01, dim),
    "fast entmax 1.8": lambda x, dim=-1: fast_entmax(x, 1.8, dim),
    "fast entmax 3": lambda x, dim=-1: fast_entmax(x, 3.0, dim),
}


@only(MAPS)
class TestEveryMap(EveryMap, LongMap):
    """All of them."""


@only(MAPS, but="sparse")
class TestSmoothMaps(SmoothMap):
    """All that do not choose among equals."""


@only(MAPS, but="taylor")
class TestShiftInvariantMaps(ShiftInvariantMap):
    """All that compare scores."""


@pytest.mark.parametrize(
    "name",
    ["taylor", "sparse", "sparsemax", "entmax15", "entmax 1.25"],
)
def test_plain_maps_compile_to_one_graph(name):
    x = scores(4, 6)
    compiled = torch.compile(MAPS[name], backend="eager", fullgraph=True)
    assert_equal(compiled(x), MAPS[name](x))


@pytest.mark.parametrize(
    "name", ["fast sparsemax", "fast entmax15", "fast entmax 1.8"]
)
def test_fast_maps_run_inside_compiled_code(name):
    x = scores(4, 6).requires_grad_()
    compiled = torch.compile(lambda z: 2 * MAPS[name](z), backend="eager")
    assert_equal(compiled(x), 2 * MAPS[name](x))
    assert_equal(
        *(
            torch.autograd.grad(f(x)[:, 0].sum(), x)[0]
            for f in (compiled, lambda z: 2 * MAPS[name](z))
        )
    )


rows = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


@pytest.mark.parametrize("alpha", [1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 3.0])
@given(row=rows)
def test_entmax_is_monotone_permutes_along_and_sums_to_one(alpha, row):
    x = torch.tensor(row, dtype=torch.float64)
    # above 2, a probability near 0 moves infinitely fast: sqrt(eps) at best
    atol = 1e-12 if alpha <= 2 else 2e-8
    for p in (entmax(x, alpha), fast_entmax(x, alpha)):
        order = x.argsort()
        assert (p[order].diff() >= -atol).all()
        assert_equal(p.sum(), torch.tensor(1.0, dtype=torch.float64), atol)
    assert_equal(fast_entmax(x.flip(0), alpha), fast_entmax(x, alpha).flip(0), atol)


# Large alpha


STEEP = [2.5, 4.0, 20.0, 200.0]
PRECISIONS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def by_the_threshold(z: torch.Tensor, alpha: float) -> list[float]:
    """Entmax of scores whose maximum is 0 by its formula, with numbers of 700 digits."""
    with mpmath.workdps(700):
        beta = mpmath.mpf(alpha) - 1
        scaled = [beta * mpmath.mpf(v) for v in z.tolist()]
        low, high = mpmath.mpf(-1), mpmath.mpf(0)
        for _ in range(2000):
            middle = (low + high) / 2
            p = [max(v - middle, 0) ** (1 / beta) for v in scaled]
            if abs(sum(p) - 1) < 1e-14:
                break
            low, high = (middle, high) if sum(p) > 1 else (low, middle)
        return [float(each) for each in p]


@pytest.mark.parametrize("alpha", STEEP)
@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-3, 0.3])
def test_large_alpha_equals_the_formula_in_many_digits(alpha, spread):
    x = scores(5, spread=spread)
    x = x - x.max()
    expected = torch.tensor(by_the_threshold(x, alpha), dtype=torch.float64)
    assert_equal(entmax(x, alpha), expected, atol=1e-12)


@pytest.mark.parametrize("alpha", STEEP)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("n", [1, 3, 1000, 100_000])
def test_ties_share_alike_for_any_alpha(alpha, dtype, n):
    p = entmax(torch.zeros(n, dtype=dtype), alpha)
    assert p.dtype == dtype
    torch.testing.assert_close(p, torch.full_like(p, 1 / n), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alpha", STEEP)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.0, 1e-30, 1e-3, 1.0, 1e30])
def test_the_sum_is_one_for_any_alpha(alpha, dtype, spread):
    p = entmax(scores(7, 1000).to(dtype) * spread, alpha)
    assert_equal(
        p.sum(-1), torch.ones(7, dtype=dtype), 1e4 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("alpha", STEEP)
def test_derivatives_for_large_alpha(alpha):
    p = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
    x = (p ** (alpha - 1) - p[0] ** (alpha - 1)) / (alpha - 1)
    assert_equal(entmax(x, alpha), p)
    slope = torch.func.jacrev(lambda z: entmax(z, alpha))(x)
    s = p ** (2 - alpha)  # J_ij = -s_i s_j / sum(s), and every row sums to 0
    between = s[:, None] * (s / s.sum())
    between -= between.diag().diag()
    for found in (slope, entmax_jacobian(p, alpha)):
        torch.testing.assert_close(
            found, between.sum(-1).diag() - between, rtol=1e-9, atol=0
        )


@pytest.mark.parametrize("alpha", [2.5, 3.0, 4.0, 20.0])
@pytest.mark.parametrize("short", [1e-14, 7e-11, 1e-6])
def test_a_lead_just_short_of_the_gap_leaves_the_sum_at_one(alpha, short):
    x = torch.tensor([one_hot_gap(alpha), short], dtype=torch.float64)
    p = entmax(x, alpha)
    assert_equal(p.sum(), torch.tensor(1.0, dtype=torch.float64))
    most = ((alpha - 1) * short) ** (1 / (alpha - 1))  # if the first kept all of 1
    assert 0 < p[1] < most


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_nan_stays_nan(alpha):
    """`tsallis_exp` compared with 0 once, and a NaN fell on the side of 0."""
    u = torch.tensor([torch.nan, 0.0])
    assert tsallis_exp(u, alpha).isnan().tolist() == [True, False]
    rows = torch.tensor([[torch.nan, 0.0], [1.0, 0.0]])
    p = torch.func.vmap(lambda x: entmax(x, alpha))(rows)
    assert p.isnan().any(-1).tolist() == [True, False]


# Jacobians


def autograd_jacobian(mapping, x: torch.Tensor) -> torch.Tensor:
    return torch.stack(
        [torch.autograd.functional.jacobian(mapping, row) for row in x]
    )


@pytest.mark.parametrize(
    ("mapping", "jacobian"),
    [
        (lambda x: peer.sparsemax(x), sparsemax_jacobian),
        (lambda x: peer.entmax15(x), entmax_jacobian),
        (
            lambda x: peer.entmax_bisect(x, 1.25, n_iter=60),
            lambda p: entmax_jacobian(p, 1.25),
        ),
    ],
)
def test_jacobians_equal_autograd_through_the_reference(mapping, jacobian):
    x = scores(4, 7)
    assert_equal(jacobian(mapping(x)), autograd_jacobian(mapping, x), atol=1e-9)


def test_the_family_holds_the_jacobian_of_softmax():
    p = softmax(scores(8, 5))
    torch.testing.assert_close(
        entmax_jacobian(p, 1.0), softmax_jacobian(p), rtol=1e-14, atol=0
    )


# Taylor and sparse softmax


@pytest.mark.parametrize("order", [2, 4, 6])
def test_taylor_softmax_by_its_definition(order):
    x = scores(10, 6, spread=2)
    weights = sum(
        x**m / torch.lgamma(torch.tensor(m + 1.0, dtype=x.dtype)).exp()
        for m in range(order + 1)
    )
    assert_equal(taylor_softmax(x, order), weights / weights.sum(-1, keepdim=True))


def test_taylor_softmax_comes_near_softmax_as_the_order_grows():
    x = scores(10, 6)
    errors = [
        (taylor_softmax(x, order) - softmax(x)).abs().max()
        for order in (2, 4, 8, 16)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6


def test_taylor_softmax_is_neither_monotone_nor_shift_invariant():
    x = torch.tensor([-3.0, -1.0, 0.0])
    assert_equal(taylor_softmax(x), torch.tensor([0.625, 0.125, 0.25]), atol=1e-7)
    assert (taylor_softmax(x + 1) - taylor_softmax(x)).abs().max() > 0.1


@pytest.mark.parametrize("order", [-2, 0, 1, 3])
def test_taylor_softmax_refuses_an_order_that_is_not_positive_and_even(order):
    with pytest.raises(ValueError, match="order must be"):
        taylor_softmax(torch.zeros(3), order)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_sparse_softmax_is_softmax_with_the_rest_masked(k):
    x = scores(10, 6)
    outside = x < x.sort(descending=True).values[:, k - 1 : k]
    assert_equal(
        sparse_softmax(x, k), torch.softmax(x.masked_fill(outside, -torch.inf), -1)
    )


def test_sparse_softmax_keeps_k_of_ties():
    assert_equal(
        sparse_softmax(torch.zeros(4, 5), 2).sort().values,
        torch.tensor([[0, 0, 0, 0.5, 0.5]] * 4),
    )


@pytest.mark.parametrize("k", [0, 4])
def test_sparse_softmax_refuses_a_k_beyond_the_scores(k):
    with pytest.raises(ValueError, match="k must be a whole number >= 1 and <= 3"):
        sparse_softmax(torch.zeros(2, 3), k)


# Sparsemax and entmax


def test_numbers_from_the_fact_sheet():
    assert_equal(
        sparsemax(torch.tensor([1, 0.9, 0.8, 0.7])),
        torch.tensor([0.4, 0.3, 0.2, 0.1]),
        atol=1e-7,
    )
    assert_equal(
        entmax15(torch.tensor([1.0, 1, 0])),
        torch.tensor([0.4812, 0.4812, 0.0375]),
        atol=5e-5,
    )


@pytest.mark.parametrize("spread", [0.05, 1, 5])
@pytest.mark.parametrize("n", [2, 40, 500])
def test_plain_maps_equal_the_package(n, spread):
    x = scores(30, n, spread=spread)
    assert_equal(sparsemax(x), peer.sparsemax(x))
    assert_equal(entmax15(x), peer.entmax15(x), atol=1e-10)
    for alpha in (1.1, 1.25, 1.5, 1.9, 2.0, 3.0):
        assert_equal(
            entmax(x, alpha), peer.entmax_bisect(x, alpha, n_iter=70), atol=1e-10
        )


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_entmax_solves_its_problem(alpha):
    for x in scores(4, 5):
        x = x.requires_grad_(False)

        def cost(p, x=x):
            return float(
                -(torch.from_numpy(p) * x).sum()
                - tsallis_entropy(torch.from_numpy(p).clamp(0, 1), alpha)
            )

        total = {"type": "eq", "fun": lambda p: p.sum() - 1}
        best = minimize(
            cost,
            [0.2] * 5,
            bounds=[(0, 1)] * 5,
            constraints=total,
            method="SLSQP",
            tol=1e-14,
        )
        assert_equal(entmax(x, alpha), torch.from_numpy(best.x), atol=1e-5)


def test_entmax_joins_softmax_to_sparsemax():
    x = scores(20, 8)
    assert_equal(entmax(x, 1.0), torch.softmax(x, -1))
    assert_equal(entmax(x, 1 + 1e-9), torch.softmax(x, -1), atol=1e-7)
    assert_equal(entmax(x, 1.5), entmax15(x))
    assert_equal(entmax(x, 2.0), sparsemax(x))


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0, 3.0])
def test_one_hot_exactly_from_the_gap_on(alpha):
    gap = one_hot_gap(alpha)
    assert gap == pytest.approx(1 / (alpha - 1))
    for mapping in (entmax, fast_entmax):
        wide = mapping(
            torch.tensor([gap + 1e-6, 0.0, 0.0], dtype=torch.float64), alpha
        )
        assert_equal(wide, torch.tensor([1.0, 0, 0], dtype=torch.float64))
        narrow = mapping(
            torch.tensor([gap - 1e-2, 0.0, 0.0], dtype=torch.float64), alpha
        )
        assert narrow[1] > 0


@pytest.mark.parametrize("alpha", [0.99, -1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("function", [entmax, fast_entmax, tsallis_entropy])
def test_alpha_below_one_is_refused(function, alpha):
    with pytest.raises(ValueError, match="alpha must be finite and >= 1"):
        function(torch.tensor([0.5, 0.5]), alpha)


def test_tsallis_exponential_by_its_definition():
    u = torch.linspace(-5, 1, 31, dtype=torch.float64)
    assert_equal(tsallis_exp(u, 1.0), u.exp())
    assert_equal(tsallis_exp(u, 1.5), (1 + u / 2).clamp(min=0) ** 2)
    assert_equal(tsallis_exp(u, 2.0), (1 + u).clamp(min=0))
    assert_equal(tsallis_exp(u, 1 + 1e-8), u.exp(), atol=1e-6)


def test_tsallis_entropy_by_its_definition():
    p = softmax(scores(10, 6))
    assert_equal(
        tsallis_entropy(p, 1.0), torch.distributions.Categorical(probs=p).entropy()
    )
    assert_equal(tsallis_entropy(p, 2.0), (1 - p.square().sum(-1)) / 2)
    assert_equal(tsallis_entropy(p, 1.5), (1 - p.pow(1.5).sum(-1)) / 0.75)
    assert_equal(tsallis_entropy(p, 1 + 1e-7), tsallis_entropy(p, 1.0), atol=1e-5)
    assert_equal(tsallis_entropy(p.t(), 1.5, 0), tsallis_entropy(p, 1.5))
    assert (tsallis_entropy(torch.eye(4), 1.0) == 0).all()
