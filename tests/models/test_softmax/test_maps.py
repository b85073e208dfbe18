"""The plain maps of `lbdl.models.softmax` against torch, the `entmax` package, and a general-purpose optimizer."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from lbdl.models.softmax import (
    entmax,
    entmax15,
    entmax_jacobian,
    fast_entmax,
    fast_entmax15,
    fast_sparsemax,
    logsumexp,
    one_hot_gap,
    perturb_max,
    sample_perturb_max,
    softmax,
    softmax_jacobian,
    sparse_softmax,
    sparsemax,
    sparsemax_jacobian,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
)
from tests.peers import Peer

peer = Peer("entmax")

MAPS = {
    "softmax": softmax,
    "cool softmax": lambda x, dim=-1: softmax(x, dim, temperature=0.5),
    "taylor": lambda x, dim=-1: taylor_softmax(x, 4, dim),
    "sparse": lambda x, dim=-1: sparse_softmax(x, 1, dim),
    "normal noise": lambda x, dim=-1: perturb_max(x, "normal", dim),
    "gumbel noise": lambda x, dim=-1: perturb_max(x, "gumbel", dim),
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
every_map = pytest.mark.parametrize("mapping", MAPS.values(), ids=MAPS.keys())
smooth_maps = pytest.mark.parametrize(
    "mapping",
    [MAPS[name] for name in MAPS if name != "sparse"],
    ids=[name for name in MAPS if name != "sparse"],
)
shift_invariant = pytest.mark.parametrize(
    "mapping",
    [MAPS[name] for name in MAPS if name != "taylor"],
    ids=[name for name in MAPS if name != "taylor"],
)


def scores(
    *shape: int,
    seed: int = 0,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    return spread * torch.randn(
        *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)
    )


def assert_equal(
    actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12
) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# Every map alike


@every_map
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16]
)
def test_result_is_a_distribution_of_the_same_dtype(mapping, dtype, device):
    p = mapping(scores(20, 9, spread=3).to(device, dtype))
    assert p.dtype == dtype and p.shape == (20, 9) and p.device.type == device
    assert (p >= 0).all()
    assert_equal(
        p.double().sum(-1),
        torch.ones(20, dtype=torch.float64, device=device),
        atol=9 * torch.finfo(dtype).eps,
    )


@every_map
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_errs_by_its_rounding_alone(mapping, dtype):
    x = scores(20, 300, spread=0.3).to(dtype)
    p = mapping(x.double())
    torch.testing.assert_close(
        mapping(x).double(), p, rtol=torch.finfo(dtype).eps, atol=1e-6
    )


@every_map
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_dim_says_what_is_normalised(mapping, dim):
    x = scores(3, 4, 5)
    assert_equal(
        mapping(x, dim),
        mapping(x.movedim(dim, -1).contiguous(), -1).movedim(-1, dim),
    )


@every_map
def test_non_contiguous_scores(mapping):
    x = scores(7, 12).t()[::2]
    assert not x.is_contiguous()
    assert_equal(mapping(x), mapping(x.contiguous()), atol=1e-15)


@every_map
def test_one_vector_and_one_element(mapping):
    x = scores(6)
    assert_equal(mapping(x), mapping(x[None])[0], atol=0)
    assert_equal(
        mapping(torch.tensor([[-4.0], [1e4]])), torch.ones(2, 1), atol=1e-6
    )


@every_map
def test_a_batch_without_rows_stays_empty(mapping):
    assert mapping(torch.empty(0, 5)).shape == (0, 5)


@every_map
@pytest.mark.parametrize("n", [8, 300])
def test_a_masked_row_equals_the_shorter_row(mapping, n):
    x = scores(5, n)
    masked = torch.cat([x[:, :3], torch.full((5, 4), -torch.inf), x[:, 3:]], dim=-1)
    p = mapping(masked)
    assert (p[:, 3:7] == 0).all()
    assert_equal(torch.cat([p[:, :3], p[:, 7:]], dim=-1), mapping(x))


@every_map
def test_a_mask_leaves_the_gradient_finite(mapping):
    x = scores(5, 6)
    x[:, 2] = -torch.inf
    x.requires_grad_()
    (mapping(x) * scores(5, 6, seed=1)).sum().backward()
    assert x.grad.isfinite().all() and (x.grad[:, 2] == 0).all()


@smooth_maps
@pytest.mark.parametrize("n", [2, 5, 200])
def test_ties_share_alike(mapping, n):
    p = mapping(torch.full((3, n), 0.7, dtype=torch.float64))
    assert_equal(p, torch.full_like(p, 1 / n))


@shift_invariant
def test_a_shift_changes_nothing(mapping):
    x = scores(10, 6)
    assert_equal(mapping(x + 100.0), mapping(x), atol=1e-10)


@every_map
def test_extreme_scores_stay_finite(mapping):
    x = torch.tensor(
        [[1e30, -1e30, 0.0], [3e38, -3e38, 3e38], [-1e4, -1e4 - 1, -2e4]],
        requires_grad=True,
    )
    p = mapping(x)
    p[:, 0].sum().backward()
    assert p.isfinite().all() and x.grad.isfinite().all()
    assert_equal(p.sum(-1), torch.ones(3), atol=1e-6)


@every_map
def test_first_derivatives(mapping):
    x = scores(3, 6).requires_grad_()
    assert torch.autograd.gradcheck(mapping, x)


@every_map
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.0, torch.nan, 1.0], "NaN"),
        ([0.0, torch.inf, 1.0], r"\+inf"),
        ([-torch.inf] * 3, "finite score in every row"),
    ],
)
def test_bad_values_are_refused(mapping, row, words):
    with pytest.raises(ValueError, match=words):
        mapping(torch.tensor([[1.0, 2.0, 3.0], row]))


@every_map
def test_bad_shapes_and_types_are_refused(mapping):
    with pytest.raises(
        ValueError, match=r"at least 1 along dim -1, got shape \(3, 0\)"
    ):
        mapping(torch.empty(3, 0))
    with pytest.raises(ValueError, match="x must have at least one dimension"):
        mapping(torch.tensor(1.0))
    with pytest.raises(ValueError, match="dim must be in"):
        mapping(torch.zeros(3, 4), 2)
    with pytest.raises(TypeError, match=r"floating tensor, got torch\.int64"):
        mapping(torch.zeros(3, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    "name",
    [
        "softmax",
        "taylor",
        "sparse",
        "normal noise",
        "sparsemax",
        "entmax15",
        "entmax 1.25",
    ],
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


# Many scores in half precision


@every_map
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_hundred_thousand_scores_in_half_precision(mapping, dtype):
    if mapping is MAPS["normal noise"]:
        return  # 161 nodes for each score: as many as fit the memory are tried above
    x = torch.zeros(2, 100_000, dtype=dtype)
    x[:, ::7] = 0.25
    p = mapping(x).double()
    exact = mapping(x.double())
    assert p.isfinite().all()
    assert_equal(
        p, exact, atol=2 * torch.finfo(dtype).eps * exact.max().item() + 6e-8
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logsumexp_of_a_hundred_thousand_in_half_precision(dtype):
    found = logsumexp(torch.zeros(100_000, dtype=dtype)).item()
    assert found == pytest.approx(11.5129, rel=torch.finfo(dtype).eps)


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


# Softmax


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_softmax_and_logsumexp_equal_torch(temperature):
    x = scores(10, 6, spread=5)
    assert_equal(
        softmax(x, temperature=temperature), torch.softmax(x / temperature, -1)
    )
    assert_equal(
        logsumexp(x, temperature=temperature),
        temperature * torch.logsumexp(x / temperature, -1),
    )
    assert_equal(logsumexp(x, 0), torch.logsumexp(x, 0))


def test_logsumexp_is_a_smooth_maximum_whose_gradient_is_softmax():
    x = scores(10, 6).requires_grad_()
    smooth = logsumexp(x, temperature=0.3)
    assert (smooth > x.amax(-1)).all() and (
        smooth < x.amax(-1) + 0.3 * torch.log(torch.tensor(6.0))
    ).all()
    smooth.sum().backward()
    assert_equal(x.grad, softmax(x.detach(), temperature=0.3))
    assert_equal(logsumexp(x.detach(), temperature=1e-4), x.detach().amax(-1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_bad_temperature_is_refused(function, temperature):
    with pytest.raises(ValueError, match="temperature must be finite and > 0"):
        function(torch.zeros(3), temperature=temperature)


# Jacobians


def autograd_jacobian(mapping, x: torch.Tensor) -> torch.Tensor:
    return torch.stack(
        [torch.autograd.functional.jacobian(mapping, row) for row in x]
    )


@pytest.mark.parametrize(
    ("mapping", "jacobian"),
    [
        (lambda x: torch.softmax(x, -1), softmax_jacobian),
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


def test_jacobian_norm_of_softmax_measures_its_spread():
    p = softmax(scores(8, 5))
    assert_equal(
        softmax_jacobian(p).abs().sum((-1, -2)) / 2, 1 - p.square().sum(-1)
    )


def test_jacobian_of_half_precision_keeps_its_dtype():
    p = softmax(scores(2, 5).half())
    assert softmax_jacobian(p).dtype == torch.float16
    assert_equal(
        softmax_jacobian(p).double(),
        softmax_jacobian(softmax(p.double().log())),
        atol=2e-3,
    )


@pytest.mark.parametrize(
    "p", [[0.5, 0.4], [1.5, -0.5], [1.0, 2.0], [torch.nan, 1.0]]
)
def test_jacobian_refuses_what_is_no_distribution(p):
    with pytest.raises(ValueError, match="p must be probabilities"):
        softmax_jacobian(torch.tensor(p))


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


# Noise


def test_normal_noise_with_two_classes_is_the_normal_distribution_function():
    x = torch.tensor(
        [[0.0, 0.0], [1.0, 0.0], [3.0, -2.0], [0.0, 12.0]], dtype=torch.float64
    )
    assert_equal(
        perturb_max(x)[:, 0], torch.special.ndtr((x[:, 0] - x[:, 1]) / 2**0.5)
    )


def test_normal_noise_by_adaptive_quadrature():
    from scipy.integrate import quad
    from scipy.stats import norm

    x = scores(5, spread=2)
    for i, own in enumerate(x.tolist()):
        others = [value for j, value in enumerate(x.tolist()) if j != i]

        def wins(y, own=own, others=others):
            return (
                norm.pdf(y - own) * norm.cdf([y - other for other in others]).prod()
            )

        value, _ = quad(wins, own - 12, own + 12, epsabs=1e-13, limit=500)
        assert perturb_max(x)[i].item() == pytest.approx(value, abs=1e-11)


@pytest.mark.parametrize("n", [2, 30, 2000])
def test_normal_noise_sums_to_one_for_any_number_of_scores(n):
    p = perturb_max(scores(3, n, spread=0.5))
    assert_equal(p.sum(-1), torch.ones(3, dtype=torch.float64), atol=1e-11)


def test_normal_noise_is_monotone():
    x = scores(20, 8).sort().values
    assert (perturb_max(x).diff() > 0).all()


@pytest.mark.parametrize("noise", ["gumbel", "normal"])
def test_trials_come_to_the_exact_probabilities(noise):
    x = scores(4, 6)
    samples = 40_000
    p = perturb_max(x, noise)
    frequency = sample_perturb_max(
        x, samples, noise, generator=torch.Generator().manual_seed(0)
    )
    assert (
        (frequency - p).abs() < 5 * (p * (1 - p) / samples).sqrt()
    ).all()  # five standard errors
    assert_equal(frequency.sum(-1), torch.ones(4, dtype=torch.float64))


def test_trials_never_choose_a_masked_score_and_obey_dim_and_generator():
    x = scores(3, 4).masked_fill(
        torch.tensor([False, True, False, False]), -torch.inf
    )
    first, again = (
        sample_perturb_max(
            x.t(), 50, dim=0, generator=torch.Generator().manual_seed(7)
        )
        for _ in range(2)
    )
    assert_equal(first, again, atol=0)
    assert (first[1] == 0).all()
    assert_equal(first.sum(0), torch.ones(3, dtype=torch.float64))


def test_noise_refuses_bad_arguments():
    with pytest.raises(
        ValueError, match="noise must be one of gumbel, normal, got 'cauchy'"
    ):
        perturb_max(torch.zeros(3), "cauchy")
    with pytest.raises(ValueError, match="noise must be one of"):
        sample_perturb_max(torch.zeros(3), 5, "cauchy")
    with pytest.raises(ValueError, match="nodes must be a whole number >= 2"):
        perturb_max(torch.zeros(3), nodes=1)
    with pytest.raises(ValueError, match="samples must be a whole number >= 1"):
        sample_perturb_max(torch.zeros(3), 0)


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
