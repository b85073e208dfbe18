"""`logistic_regression`: against torch.distributions, scikit-learn, scipy and simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.covariance import shrunk_covariance
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.distributions import MultivariateNormal

from lbdl.geometry import logistic_regression as module
from lbdl.geometry.logistic_regression import (
    ClassMoments,
    class_moments,
    closed_form_logistic,
    closed_form_softmax,
    conditional_gaussian,
    efron_efficiency,
    fast_class_moments,
    ledoit_wolf,
    linear_regression,
    logistic_from_gaussians,
    maximum_likelihood_logistic,
    shrink,
    shrunk_class_moments,
    softmax_from_gaussians,
    within_covariance,
)
from lbdl.geometry.logistic_regression_sklearn import ClosedFormLogisticRegression

# d, K, seed
shapes = st.tuples(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10**6))


def covariance_like(d, chance, *batch):
    root = torch.randn(*batch, d, d, generator=chance, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(d, dtype=torch.float64)


def moments_like(d, k, seed, *batch):
    chance = torch.Generator().manual_seed(seed)
    prior = torch.rand(*batch, k, generator=chance, dtype=torch.float64) + 0.1
    mean = torch.randn(*batch, k, d, generator=chance, dtype=torch.float64)
    return ClassMoments(
        prior / prior.sum(-1, keepdim=True),
        mean,
        covariance_like(d, chance, *batch),
    )


def rows_like(d, k, seed, *batch, n=60, dtype=torch.float64):
    """Rows (*batch, n, d) and labels (*batch, n) in which every class occurs."""
    chance = torch.Generator().manual_seed(seed)
    y = (torch.arange(n) % k).expand(*batch, n).contiguous()
    centres = torch.randn(*batch, k, d, generator=chance, dtype=torch.float64)
    noise = torch.randn(*batch, n, d, generator=chance, dtype=torch.float64)
    mixed = noise @ torch.randn(d, d, generator=chance, dtype=torch.float64)
    return (mixed + centres.gather(-2, y.unsqueeze(-1).expand(*batch, n, d))).to(
        dtype
    ), y


def bayes(x, moments):
    """Class probabilities by Bayes' rule on the densities themselves."""
    prior, mean, covariance = moments
    return (
        MultivariateNormal(mean, covariance).log_prob(x.unsqueeze(-2)) + prior.log()
    ).softmax(-1)


# --- Linear regression ------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 10**6))
def test_conditional_density_is_joint_density_over_marginal(d, m, seed):
    chance = torch.Generator().manual_seed(seed)
    mean, covariance = (
        torch.randn(d + m, generator=chance).double(),
        covariance_like(d + m, chance),
    )
    x, y = (
        torch.randn(d, generator=chance).double(),
        torch.randn(m, generator=chance).double(),
    )
    joint = MultivariateNormal(mean, covariance).log_prob(torch.cat([x, y]))
    marginal = MultivariateNormal(mean[:d], covariance[:d, :d]).log_prob(x)
    conditional = MultivariateNormal(
        *conditional_gaussian(mean, covariance, x)
    ).log_prob(y)
    torch.testing.assert_close(conditional, joint - marginal, rtol=1e-8, atol=1e-8)


def test_conditional_gaussian_is_batched():
    chance = torch.Generator().manual_seed(0)
    mean, covariance = (
        torch.randn(7, 5, generator=chance).double(),
        covariance_like(5, chance, 7),
    )
    x = torch.randn(7, 3, generator=chance).double()
    each = [
        conditional_gaussian(*one) for one in zip(mean, covariance, x, strict=True)
    ]
    for together, alone in zip(
        conditional_gaussian(mean, covariance, x),
        zip(*each, strict=True),
        strict=True,
    ):
        torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)]
)
def test_linear_regression_is_least_squares(device, dtype, tolerance):
    x, _ = rows_like(4, 2, 1, 3, dtype=dtype)
    y = torch.randn(
        3, 60, 2, dtype=dtype, generator=torch.Generator().manual_seed(2)
    )
    weight, bias = linear_regression(x.to(device), y.to(device))
    design = torch.cat([x, torch.ones(3, 60, 1, dtype=dtype)], -1).double()
    expected = torch.linalg.lstsq(design, y.double()).solution
    torch.testing.assert_close(
        weight.cpu().double(), expected[:, :-1], rtol=tolerance, atol=tolerance
    )
    torch.testing.assert_close(
        bias.cpu().double(), expected[:, -1], rtol=tolerance, atol=tolerance
    )


def test_linear_regression_keeps_its_digits_far_from_the_origin():
    x, _ = rows_like(3, 2, 4)
    truth = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    weight, bias = linear_regression(x + 1e6, (x + 1e6) @ truth + 3)
    torch.testing.assert_close(weight, truth, rtol=1e-7, atol=0)
    assert bias.item() == pytest.approx(3, abs=1)


def test_full_shrinkage_regresses_on_each_feature_with_the_mean_variance():
    x, _ = rows_like(3, 2, 5)
    y = x[:, :1].sin()
    weight, _ = linear_regression(x, y, shrinkage=1.0)
    centred = x - x.mean(0)
    torch.testing.assert_close(
        weight, centred.T @ (y - y.mean(0)) / centred.square().sum() * 3
    )


# --- Moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moments_of", [class_moments, fast_class_moments])
@given(shape=shapes)
def test_moments_equal_scikit_learn(moments_of, shape):
    d, k, seed = shape
    x, y = rows_like(d, k, seed)
    prior, mean, covariance = moments_of(x, y, k)
    lda = LinearDiscriminantAnalysis(solver="lsqr").fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(prior, lda.priors_, rtol=1e-12)
    np.testing.assert_allclose(mean, lda.means_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(covariance, lda.covariance_, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block", [1, 500, 1 << 16])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16]
)
def test_fast_moments_equal_plain(device, dtype, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    x, y = rows_like(5, 3, 6, 2, 3, n=400, dtype=dtype)
    plain, fast = (
        class_moments(x.to(device), y.to(device), 3),
        fast_class_moments(x.to(device), y.to(device), 3),
    )
    for a, b in zip(plain, fast, strict=True):
        assert a.dtype == b.dtype == torch.float64
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_moments_maximise_the_joint_likelihood():
    x, y = rows_like(3, 3, 7)
    prior, mean, covariance = class_moments(x, y, 3)
    free = [
        t.clone().requires_grad_()
        for t in (prior.log(), mean, torch.linalg.cholesky(covariance))
    ]
    own = MultivariateNormal(free[1][y], scale_tril=free[2]).log_prob(x)
    (own + free[0].log_softmax(-1)[y]).mean().backward()
    for parameter in free:
        torch.testing.assert_close(
            parameter.grad.tril() if parameter is free[2] else parameter.grad,
            torch.zeros_like(parameter),
            atol=1e-12,
            rtol=0,
        )


@given(shapes)
def test_within_is_total_less_between(shape):
    d, k, seed = shape
    x, y = rows_like(d, k, seed)
    prior, mean, covariance = class_moments(x, y, k)
    total = torch.cov(x.T, correction=0).reshape(d, d)
    torch.testing.assert_close(
        within_covariance(x.mean(0), total, prior, mean), covariance
    )
    raw = (
        total
        + torch.outer(x.mean(0), x.mean(0))
        - torch.einsum("k,ki,kj->ij", prior, mean, mean)
    )
    torch.testing.assert_close(raw, covariance)


def test_moments_keep_their_digits_far_from_the_origin(device):
    x, y = rows_like(3, 2, 8, n=200)
    near, far = x.to(device), (x + 1000).float().to(device)
    expected = class_moments(near, y.to(device), 2).covariance
    for moments_of in (class_moments, fast_class_moments):
        found = moments_of(far, y.to(device), 2).covariance.double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# --- Shrinkage --------------------------------------------------------------------------------------------------------


@given(shapes, st.floats(0, 1))
def test_shrink_equals_scikit_learn(shape, strength):
    covariance = moments_like(*shape).covariance
    np.testing.assert_allclose(
        shrink(covariance, strength),
        shrunk_covariance(covariance.numpy(), strength),
        rtol=1e-12,
    )


def test_shrink_takes_a_strength_for_each_matrix():
    covariance = moments_like(4, 2, 9, 3).covariance
    strengths = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    together = shrink(covariance, strengths)
    for i, strength in enumerate(strengths.tolist()):
        torch.testing.assert_close(together[i], shrink(covariance[i], strength))
    assert shrink(covariance[0], strengths).shape == (3, 4, 4)


@given(st.integers(2, 8), st.integers(2, 40), st.integers(0, 10**6))
def test_ledoit_wolf_equals_scikit_learn(d, n, seed):
    x = torch.randn(
        n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ) * torch.arange(1, d + 1)
    assert ledoit_wolf(x).item() == pytest.approx(
        sklearn_ledoit_wolf(x.numpy(), assume_centered=True)[1], abs=1e-10
    )


def test_ledoit_wolf_batched_and_round():
    x, _ = rows_like(4, 2, 10, 5)
    torch.testing.assert_close(
        ledoit_wolf(x), torch.stack([ledoit_wolf(each) for each in x])
    )
    assert ledoit_wolf(torch.eye(4)).item() == 1
    assert (
        ledoit_wolf(torch.ones(5, 1)).item() == 1
    )  # one dimension is always round
    assert ledoit_wolf(torch.zeros(5, 3)).item() == 1


# --- The closed form --------------------------------------------------------------------------------------------------


@given(shapes)
def test_softmax_of_the_logits_is_the_posterior(shape):
    moments = moments_like(*shape)
    x = torch.randn(
        20,
        shape[0],
        generator=torch.Generator().manual_seed(shape[2]),
        dtype=torch.float64,
    )
    weight, bias = softmax_from_gaussians(moments)
    torch.testing.assert_close(
        (x @ weight + bias).softmax(-1), bayes(x, moments), rtol=1e-7, atol=1e-10
    )


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_two_classes_give_the_difference_of_the_logits(d, seed):
    moments = moments_like(d, 2, seed)
    weight, bias = logistic_from_gaussians(moments)
    weights, biases = softmax_from_gaussians(moments)
    torch.testing.assert_close(
        weight, weights[:, 1] - weights[:, 0], rtol=1e-7, atol=1e-9
    )
    torch.testing.assert_close(bias, biases[1] - biases[0], rtol=1e-7, atol=1e-9)


def test_weights_average_to_zero_over_the_classes():
    moments = moments_like(4, 3, 11)
    weight, _ = softmax_from_gaussians(moments)
    torch.testing.assert_close(
        weight @ moments.prior,
        torch.zeros(4, dtype=torch.float64),
        atol=1e-10,
        rtol=0,
    )


def test_known_numbers(device):
    moments = ClassMoments(
        torch.tensor([0.7, 0.3]),
        torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, -1.0]]),
        torch.tensor([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.7]]),
    )
    weight, bias = logistic_from_gaussians(
        ClassMoments(*(m.to(device) for m in moments))
    )
    torch.testing.assert_close(
        weight.cpu(), torch.tensor([0.829, 0.570, -1.591]), atol=5e-4, rtol=0
    )
    assert bias.item() == pytest.approx(-2.200, abs=5e-4)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_iris])
def test_it_is_linear_discriminant_analysis(load, shrinkage):
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    lda = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=shrinkage or None
    ).fit(x, y)
    ours = ClosedFormLogisticRegression(shrinkage).fit(x, y)
    np.testing.assert_allclose(
        ours.predict_proba(x), lda.predict_proba(x), rtol=1e-7, atol=1e-12
    )
    np.testing.assert_allclose(ours.covariance_, lda.covariance_, atol=1e-12)
    if len(lda.classes_) == 2:
        np.testing.assert_allclose(ours.coef_, lda.coef_, rtol=1e-9)
        np.testing.assert_allclose(ours.intercept_, lda.intercept_, rtol=1e-9)


@given(shapes)
def test_logits_do_not_depend_on_the_units(shape):
    d, k, seed = shape
    x, y = rows_like(d, k, seed)
    chance = torch.Generator().manual_seed(seed)
    turn, shift = (
        covariance_like(d, chance),
        10 * torch.randn(d, generator=chance).double(),
    )
    weight, bias = closed_form_softmax(x, y, k)
    other = x @ turn + shift
    other_weight, other_bias = closed_form_softmax(other, y, k)
    torch.testing.assert_close(
        other @ other_weight + other_bias, x @ weight + bias, rtol=1e-4, atol=1e-5
    )


def test_order_of_classes_and_copies_of_the_data_do_not_matter():
    x, y = rows_like(3, 4, 12)
    weight, bias = closed_form_softmax(x, y, 4)
    order = torch.tensor([2, 0, 3, 1])
    permuted = closed_form_softmax(x, order[y], 4)
    torch.testing.assert_close(permuted[0][:, order], weight)
    torch.testing.assert_close(permuted[1][order], bias)
    doubled = closed_form_softmax(torch.cat([x, x]), torch.cat([y, y]), 4)
    torch.testing.assert_close(doubled, (weight, bias))


def test_regression_on_the_labels_has_the_same_direction():
    x, y = rows_like(5, 2, 13, n=80)
    regression, _ = linear_regression(x, y.double().unsqueeze(-1))
    discriminant, _ = closed_form_logistic(x, y)
    ratio = regression.squeeze(-1) / discriminant
    torch.testing.assert_close(ratio, ratio[:1].expand(5), rtol=1e-9, atol=0)


@pytest.mark.parametrize("shrinkage", [0.0, 0.4, "auto"])
def test_batch_equals_one_by_one(device, shrinkage):
    x, y = rows_like(4, 2, 14, 3, 2)
    weight, bias = closed_form_logistic(x.to(device), y.to(device), shrinkage)
    assert weight.shape == (3, 2, 4)
    assert bias.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            alone = closed_form_logistic(x[i, j], y[i, j], shrinkage)
            torch.testing.assert_close(
                (weight[i, j].cpu(), bias[i, j].cpu()), alone, rtol=1e-9, atol=1e-9
            )


def test_a_strength_for_each_data_set():
    x, y = rows_like(4, 3, 15, 2)
    strengths = torch.tensor([0.1, 0.9], dtype=torch.float64)
    weight, _ = closed_form_softmax(x, y, 3, strengths)
    for i in range(2):
        torch.testing.assert_close(
            weight[i], closed_form_softmax(x[i], y[i], 3, strengths[i].item())[0]
        )


def test_auto_is_the_strength_of_the_residuals():
    x, y = rows_like(4, 3, 16)
    mean = class_moments(x, y, 3).mean
    strength = ledoit_wolf(x - mean[y])
    torch.testing.assert_close(
        shrunk_class_moments(x, y, 3, "auto").covariance,
        shrunk_class_moments(x, y, 3, strength).covariance,
    )
    assert 0 < strength < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shrinkage", [0.0, "auto"])
def test_half_precision(device, dtype, shrinkage):
    x, y = rows_like(4, 3, 17, n=90)
    x = x.to(device, dtype)
    weight, bias = closed_form_softmax(x, y.to(device), 3, shrinkage)
    assert weight.dtype == bias.dtype == dtype
    expected = closed_form_softmax(x.double(), y.to(device), 3, shrinkage)
    torch.testing.assert_close(
        (weight.double(), bias.double()), expected, rtol=2e-2, atol=2e-2
    )


def test_non_contiguous_rows_and_labels_of_one_dtype():
    x, y = rows_like(6, 2, 18, n=80)
    strided = torch.stack([x, x], -1)[..., 0]
    assert not strided.is_contiguous()
    expected = closed_form_logistic(x, y)
    torch.testing.assert_close(closed_form_logistic(strided, y), expected)
    for labels in (y.to(torch.int8), y.bool()):
        with pytest.raises(TypeError, match="y must be an int64 tensor"):
            closed_form_logistic(x, labels)


def test_one_feature():
    x, y = (
        torch.tensor([[0.0], [2.0], [5.0], [7.0]], dtype=torch.float64),
        torch.tensor([0, 0, 1, 1]),
    )
    weight, bias = closed_form_logistic(x, y)  # means 1 and 6, variance 1
    assert (weight.item(), bias.item()) == pytest.approx((5.0, -17.5))


def test_more_features_than_rows_need_shrinkage():
    x, y = rows_like(40, 2, 19, n=20)
    for shrinkage in (0.05, "auto"):
        weight, bias = closed_form_logistic(x, y, shrinkage)
        assert weight.isfinite().all()
        assert ((x @ weight + bias > 0) == y.bool()).all()
    with pytest.raises(ValueError, match=r"n - K < d.*n = 20, K = 2, d = 40"):
        closed_form_logistic(x, y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("spoil", ["constant", "copy", "combination", "sum to one"])
def test_singular_covariances_are_refused_and_shrinkage_mends_them(spoil, dtype):
    x, y = rows_like(6, 3, 20, n=200, dtype=dtype)
    if spoil == "sum to one":
        x = x.softmax(-1)
    else:
        x[:, 4] = {
            "constant": torch.ones(200),
            "copy": x[:, 1],
            "combination": x[:, 0] - 2 * x[:, 2],
        }[spoil]
    with pytest.raises(ValueError, match="singular to working precision"):
        closed_form_softmax(x, y, 3)
    weight, bias = closed_form_softmax(x, y, 3, 1e-2)
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_differences_in_scale_are_not_singularity():
    x, y = rows_like(4, 2, 21, n=100)
    scale = torch.tensor([1e-8, 1.0, 1e4, 1e8], dtype=torch.float64)
    weight, bias = closed_form_logistic(x * scale, y)
    torch.testing.assert_close(
        (weight * scale, bias), closed_form_logistic(x, y), rtol=1e-8, atol=1e-8
    )


def test_gradients():
    x, y = rows_like(3, 2, 22, n=12)
    x.requires_grad_()
    target = torch.randn(
        12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    assert torch.autograd.gradcheck(linear_regression, (x, target))
    for shrinkage in (0.0, 0.3, "auto"):
        assert torch.autograd.gradcheck(
            lambda x, s=shrinkage: closed_form_logistic(x, y, s), (x,)
        )
        assert torch.autograd.gradcheck(
            lambda x, s=shrinkage: closed_form_softmax(x, y, 2, s), (x,)
        )
    assert torch.autograd.gradcheck(
        lambda x: class_moments(x, y, 2).covariance, (x,)
    )
    assert torch.autograd.gradcheck(
        lambda gap: efron_efficiency(gap),
        (torch.tensor([0.5, 3.0]).double().requires_grad_(),),
    )


def test_compiles():
    x, y = rows_like(3, 2, 23)
    compiled = torch.compile(closed_form_logistic, backend="eager")
    torch.testing.assert_close(compiled(x, y), closed_form_logistic(x, y))


# --- Maximum likelihood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0.1, 10.0])
def test_maximum_likelihood_equals_scikit_learn(C):
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    peer = LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=500
    ).fit(x, y)
    weight, bias = maximum_likelihood_logistic(
        torch.tensor(x), torch.tensor(y), 1 / (C * len(y)), tolerance=1e-12
    )
    np.testing.assert_allclose(weight, peer.coef_[0], rtol=1e-6, atol=1e-8)
    assert bias.item() == pytest.approx(peer.intercept_[0], rel=1e-6)


def test_unpenalised_maximum_likelihood_on_overlapping_classes(device):
    x, y = rows_like(3, 2, 24, n=300)
    x = 0.2 * x / x.std(0)
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(
        x.numpy(), y.numpy()
    )
    weight, bias = maximum_likelihood_logistic(
        x.to(device), y.to(device), tolerance=1e-11
    )
    np.testing.assert_allclose(weight.cpu(), peer.coef_[0], rtol=1e-5)
    assert bias.item() == pytest.approx(peer.intercept_[0], rel=1e-5)
    p = (x @ weight.cpu() + bias.cpu()).sigmoid()
    assert p.mean().item() == pytest.approx(
        0.5, abs=1e-9
    )  # what it expects is what there was


def test_maximum_likelihood_batch_equals_one_by_one():
    x, y = rows_like(3, 2, 25, 4, n=100)
    weight, bias = maximum_likelihood_logistic(x, y, 0.01, tolerance=1e-10)
    for i in range(4):
        alone = maximum_likelihood_logistic(x[i], y[i], 0.01, tolerance=1e-10)
        torch.testing.assert_close(
            (weight[i], bias[i]), alone, rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_separable_classes_end_finite_and_separated(dtype):
    x, y = rows_like(2, 2, 26, n=40)
    x = (x + 20 * y.unsqueeze(-1)).to(dtype)
    weight, bias = maximum_likelihood_logistic(x, y)
    assert weight.isfinite().all()
    assert ((x.double() @ weight.double() + bias.double() > 0) == y.bool()).all()


def test_heavy_tails_do_not_throw_newton_off():
    chance = torch.Generator().manual_seed(3)
    x = (
        torch.randn(50, 60, 3, generator=chance, dtype=torch.float64)
        / torch.rand(50, 60, 1, generator=chance).double()
    )
    y = (torch.arange(60) % 2).expand(50, 60)
    weight, bias = maximum_likelihood_logistic(
        x + y.unsqueeze(-1), y, 1e-3, tolerance=1e-8
    )
    p = (
        ((x + y.unsqueeze(-1)) @ weight.unsqueeze(-1))
        .squeeze(-1)
        .add(bias.unsqueeze(-1))
        .sigmoid()
    )
    score = ((p - y).unsqueeze(-1) * (x + y.unsqueeze(-1))).mean(-2) + 1e-3 * weight
    torch.testing.assert_close(score, torch.zeros_like(score), atol=1e-7, rtol=0)


# --- Efron's efficiency -----------------------------------------------------------------------------------------------


@given(st.floats(0, 8))
def test_efficiency_equals_quadrature(gap):
    def integrand(t):
        return (
            math.exp(-t * t / 2) / math.sqrt(2 * math.pi) / math.cosh(gap * t / 2)
        )

    expected = (
        (1 + gap**2 / 4)
        * math.exp(-(gap**2) / 8)
        * integrate.quad(integrand, -30, 30, epsabs=1e-12, points=[0])[0]
    )
    found = efron_efficiency(torch.tensor([gap], dtype=torch.float64))
    assert found.item() == pytest.approx(expected, abs=1e-9)
    assert efron_efficiency(torch.tensor(gap)).item() == pytest.approx(
        expected, abs=1e-5
    )


def test_efficiency_falls_from_one(device):
    gap = torch.linspace(0, 6, 25, dtype=torch.float64, device=device)
    efficiency = efron_efficiency(gap)
    assert efficiency[0].item() == pytest.approx(1, abs=1e-12)
    assert (efficiency.diff() < 0).all()


def test_efficiency_is_the_ratio_of_squared_tilts():
    """Simulated: the part of the weights that is orthogonal to the true direction, squared, for both estimators."""
    chance, gap = torch.Generator().manual_seed(0), 3.0
    y = (torch.arange(1000) % 2).expand(300, 1000)
    x = torch.randn(300, 1000, 6, generator=chance, dtype=torch.float64)
    x[..., 0] += gap * (y - 0.5)

    def tilt(weight):
        return (weight[:, 1:] / weight[:, :1]).square().mean()

    ratio = tilt(closed_form_logistic(x, y)[0]) / tilt(
        maximum_likelihood_logistic(x, y)[0]
    )
    assert ratio.item() == pytest.approx(
        efron_efficiency(torch.tensor(gap)).item(), rel=0.1
    )


# --- Bad input --------------------------------------------------------------------------------------------------------

X, Y = rows_like(3, 2, 30)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: closed_form_logistic(X.long(), Y),
            TypeError,
            r"x must be a floating tensor, got torch\.int64",
        ),
        (
            lambda: closed_form_logistic(X, Y.double()),
            TypeError,
            r"y must be an int64 tensor, got torch\.float64",
        ),
        (
            lambda: closed_form_logistic(X[0], Y),
            ValueError,
            r"x must be \(..., n, d\)",
        ),
        (
            lambda: closed_form_logistic(X[:, :0], Y),
            ValueError,
            r"got shape \(60, 0\)",
        ),
        (lambda: class_moments(X[:0], Y[:0], 2), ValueError, r"got shape \(0, 3\)"),
        (
            lambda: closed_form_logistic(X, Y[:-1]),
            ValueError,
            r"y must be \(..., n\) with n = 60, got shape \(59,\)",
        ),
        (
            lambda: closed_form_logistic(X, Y + 1),
            ValueError,
            "y must hold class numbers from 0 to 1",
        ),
        (
            lambda: closed_form_logistic(X, Y - 1),
            ValueError,
            "y must hold class numbers from 0 to 1",
        ),
        (
            lambda: closed_form_logistic(X, 0 * Y),
            ValueError,
            "every one of the 2 classes",
        ),
        (
            lambda: closed_form_softmax(X, Y, 3),
            ValueError,
            "every one of the 3 classes",
        ),
        (
            lambda: closed_form_softmax(X, 0 * Y, 1),
            ValueError,
            "num_classes must be a whole number >= 2, got 1",
        ),
        (
            lambda: closed_form_logistic(X, Y, "ledoit"),
            ValueError,
            "shrinkage must be a number in .* got 'ledoit'",
        ),
        (
            lambda: closed_form_logistic(X, Y, -0.1),
            ValueError,
            "shrinkage must be .* >= 0 and <= 1, got -0.1",
        ),
        (
            lambda: closed_form_logistic(X, Y, math.nan),
            ValueError,
            "shrinkage must be .* >= 0 and <= 1, got nan",
        ),
        (
            lambda: closed_form_logistic(X.masked_fill(X > 1, math.nan), Y),
            ValueError,
            "x must be finite",
        ),
        (
            lambda: closed_form_logistic(X.masked_fill(X > 1, math.inf), Y, "auto"),
            ValueError,
            "x must be finite",
        ),
        (
            lambda: closed_form_logistic(0 * X, Y, "auto"),
            ValueError,
            "covariance must be finite and positive definite",
        ),
        (
            lambda: maximum_likelihood_logistic(X, Y, -1.0),
            ValueError,
            "penalty must be finite and >= 0, got -1.0",
        ),
        (lambda: linear_regression(X, Y), TypeError, "y must be a floating tensor"),
        (
            lambda: linear_regression(X, X[:, 0]),
            ValueError,
            r"y must be \(..., n, m\)",
        ),
        (
            lambda: linear_regression(X * math.nan, X),
            ValueError,
            "x must be finite",
        ),
        (lambda: shrink(X, 0.1), ValueError, r"covariance must be \(..., d, d\)"),
        (lambda: ledoit_wolf(X[0]), ValueError, r"centred must be \(..., n, d\)"),
        (
            lambda: logistic_from_gaussians(moments_like(3, 4, 0)),
            ValueError,
            "two classes, got 4",
        ),
        (
            lambda: softmax_from_gaussians(
                moments_like(3, 4, 0)._replace(prior=torch.ones(3).double())
            ),
            ValueError,
            "mean must be .* with K = 3",
        ),
        (
            lambda: conditional_gaussian(
                torch.ones(2), torch.eye(2), torch.ones(2)
            ),
            ValueError,
            "x must be shorter than mean",
        ),
        (
            lambda: conditional_gaussian(
                torch.ones(2), torch.zeros(2, 2), torch.ones(1)
            ),
            ValueError,
            "positive definite",
        ),
        (
            lambda: efron_efficiency(torch.tensor(-1.0)),
            ValueError,
            "gap must be >= 0",
        ),
        (
            lambda: efron_efficiency(torch.tensor(1)),
            TypeError,
            "gap must be a floating tensor",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Never a good number out of a bad one, at every scale -----------------------------


def test_maximum_likelihood_refuses_what_is_not_finite():
    """A18: with one nan it answered (0, 0), as if it had converged."""
    for bad in (math.nan, math.inf):
        x = X.clone()
        x[3, 1] = bad
        with pytest.raises(ValueError, match="x must be finite"):
            maximum_likelihood_logistic(x, Y)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_maximum_likelihood_at_every_scale(scale):
    """A18: rows of size 1e30 gave weights that were nan."""
    x, y = X.float(), Y
    expected, bias = maximum_likelihood_logistic(x, y)
    weight, found = maximum_likelihood_logistic(x * scale, y)
    torch.testing.assert_close(weight * scale, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found, bias, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("penalty", [1e-6, 0.1, 1e3])
def test_a_penalty_knows_the_scale(penalty):
    """Units of their own for the features do not change what is minimised."""
    for scale in (1e-3, 1.0, 1e3):
        x = scale * X
        weight, _ = maximum_likelihood_logistic(x, Y, penalty, tolerance=1e-12)
        model = LogisticRegression(
            C=1 / (penalty * len(Y)), tol=1e-12, max_iter=10**4
        )
        expected = model.fit(x.numpy(), Y.numpy()).coef_[0]
        torch.testing.assert_close(
            scale * weight, scale * torch.from_numpy(expected), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e9, 1e30])
def test_ledoit_wolf_does_not_know_the_scale(scale):
    """A19: in float32 rows of size 1e9 (timestamps) gave 1.0."""
    x = (X - X.mean(0)).float()
    expected = sklearn_ledoit_wolf(x.double().numpy(), assume_centered=True)[1]
    assert float(ledoit_wolf(x * scale)) == pytest.approx(expected, rel=1e-4)
    before = closed_form_logistic(X.float(), Y, "auto")
    after = closed_form_logistic(X.float() * scale, Y, "auto")
    torch.testing.assert_close(after[0] * scale, before[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after[1], before[1], rtol=1e-3, atol=1e-4)


def heavy_tailed():
    """Rows on which Newton's whole steps run away to a loss of 1e305."""
    chance = torch.Generator().manual_seed(1362)
    x = torch.randn(12, 3, generator=chance, dtype=torch.float32).double()
    x = x.sign() * x.abs() ** 6
    y = torch.rand(12, generator=chance) < torch.rand(1, generator=chance)
    y[0], y[1] = False, True
    return x, y.long()


def test_step_halving_saves_newtons_method():
    x, y = heavy_tailed()
    rows = torch.cat([x, torch.ones(12, 1, dtype=x.dtype)], dim=-1)
    target, none = y.double(), torch.zeros(4, dtype=x.dtype)

    def loss(theta):
        return module.logistic_loss(theta, rows, target, none)

    whole = torch.zeros(4, dtype=x.dtype)
    for _ in range(60):
        gradient, hessian = module.logistic_derivatives(whole, rows, target, none)
        whole = whole - torch.linalg.solve(hessian, gradient)
    assert not float(loss(whole)) < 1e100  # without halving
    weight, bias = maximum_likelihood_logistic(x, y, tolerance=1e-9)
    theta = torch.cat([weight, bias[None]])
    gradient, _ = module.logistic_derivatives(theta, rows, target, none)
    assert float(gradient.abs().max()) < 1e-5
    assert float(loss(theta)) < float(loss(torch.zeros(4, dtype=x.dtype)))
    alone = maximum_likelihood_logistic(x, y)
    calm, labels = rows_like(3, 2, 5, n=12)
    both = maximum_likelihood_logistic(
        torch.stack([x, calm]), torch.stack([y, labels])
    )
    torch.testing.assert_close(both[0][0], alone[0], rtol=1e-3, atol=1e-5)


def test_an_indefinite_joint_covariance_is_refused():
    """A23: y would have a variance below zero once x is seen."""
    joint = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(
        ValueError, match="covariance must be positive semi-definite"
    ):
        conditional_gaussian(torch.zeros(2), joint, torch.ones(1))
    certain = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    _, left = conditional_gaussian(torch.zeros(2), certain, torch.ones(1))
    assert float(left) == 0


def test_efficiency_at_huge_gaps_is_zero_and_a_nan_is_refused():
    gap = torch.tensor([1e3, 1e20, 1e30, math.inf])
    assert efron_efficiency(gap).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="gap must be >= 0 everywhere, got nan"):
        efron_efficiency(torch.tensor([1.0, math.nan]))


def test_half_precision_is_computed_in_float32():
    x, y = X.bfloat16(), Y
    moments = class_moments(x, y, 2)
    half = ClassMoments(*(part.bfloat16() for part in moments))
    for solve in (logistic_from_gaussians, softmax_from_gaussians):
        for found, expected in zip(solve(half), solve(moments), strict=True):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.double(), expected, rtol=0.1, atol=0.1)


# --- The scikit-learn classifier --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        ClosedFormLogisticRegression(),
        ClosedFormLogisticRegression(0.0),
        ClosedFormLogisticRegression(0.5),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_classifier_shapes_and_probabilities():
    x, y = load_wine(return_X_y=True)
    three = ClosedFormLogisticRegression().fit(
        StandardScaler().fit_transform(x), np.array(["a", "b", "c"])[y]
    )
    assert (three.coef_.shape, three.intercept_.shape) == ((3, 13), (3,))
    assert set(three.predict(x)) <= {"a", "b", "c"}
    two = ClosedFormLogisticRegression().fit(x[y < 2], y[y < 2])
    assert (two.coef_.shape, two.intercept_.shape) == ((1, 13), (1,))
    assert two.decision_function(x).shape == (178,)
    np.testing.assert_allclose(two.predict_proba(x).sum(1), 1)
    np.testing.assert_array_equal(two.predict(x), two.predict_proba(x).argmax(1))


def test_classifier_answers_in_float64_and_extreme_rows_stay_finite():
    x, y = load_wine(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    wide, narrow = (
        ClosedFormLogisticRegression().fit(x.astype(kind), y)
        for kind in ("float64", "float32")
    )
    assert (
        narrow.coef_.dtype
        == narrow.predict_proba(x.astype("float32")).dtype
        == np.float64
    )
    np.testing.assert_allclose(
        narrow.predict_proba(x.astype("float32")), wide.predict_proba(x), atol=1e-5
    )
    assert np.isfinite(narrow.predict_log_proba(1e6 * x)).all()


def test_classifier_in_a_pipeline():
    x, y = load_wine(return_X_y=True)
    scores = cross_val_score(
        make_pipeline(StandardScaler(), ClosedFormLogisticRegression()), x, y, cv=5
    )
    assert scores.mean() > 0.95
