"""Losses against torch, torchvision's published formula, scipy and scikit-learn."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from sklearn import metrics
from torch import Tensor
from torch.nn import functional as F

from lbdl.foundations import losses as L
from lbdl.foundations.gradient_descent import (
    adam,
    adamw,
    gradient_descent,
    trajectory,
    with_l2,
)

from .references import (
    DOUBLE,
    REDUCTIONS,
    TOLERANCE,
    Case,
    bits,
    by_formula,
    classes,
    randn,
    reduced,
    value_and_gradients,
)

# --- Every loss is torch's: values and gradients, three reductions, two dtypes


def torchvision_focal(
    inputs: Tensor, targets: Tensor, alpha=0.25, gamma=2.0, reduction="none"
) -> Tensor:
    """`torchvision.ops.sigmoid_focal_loss`, transcribed."""
    p = torch.sigmoid(inputs)
    ce_loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    loss = ce_loss * ((1 - p_t) ** gamma)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return reduced(loss, reduction)


def focal_by_softmax(x: Tensor, t: Tensor, gamma: float) -> Tensor:
    p = torch.softmax(x, -1).gather(-1, t[:, None]).squeeze(-1)
    return -((1 - p) ** gamma) * p.log()


def some_classes(dtype, device):
    return (classes(7, k=5, device=device),)


def some_bits(dtype, device):
    return (bits(7, 5, dtype=dtype, device=device),)


WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=DOUBLE)


def weighted(f, **options):
    return lambda x, t, **o: f(x, t, weight=WEIGHT.to(x), **options, **o)


CASES = {
    "squared error": Case(L.squared_error, F.mse_loss, 2),
    "absolute error": Case(L.absolute_error, F.l1_loss, 2),
    "pinball, the median": Case(
        L.pinball,
        lambda f, y, reduction: F.l1_loss(f, y, reduction=reduction) / 2,
        2,
    ),
    "pinball, q = 0.9": Case(
        partial(L.pinball, quantile=0.9),
        by_formula(lambda f, y: torch.where(y > f, 0.9 * (y - f), 0.1 * (f - y))),
        2,
    ),
    "Gaussian": Case(
        lambda m, y, v, reduction: L.gaussian_nll(
            m, y, v.exp(), reduction=reduction
        ),
        lambda m, y, v, reduction: F.gaussian_nll_loss(
            m,
            y,
            v.exp(),
            full=True,
            eps=1e-300 if m.dtype == DOUBLE else 1e-30,
            reduction=reduction,
        ),
        3,
    ),
    "Gaussian, by torch's distribution": Case(
        L.gaussian_nll,
        by_formula(lambda m, y: -torch.distributions.Normal(m, 1.0).log_prob(y)),
        2,
    ),
    "binary cross-entropy": Case(
        L.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
        1,
        extra=some_bits,
    ),
    "binary cross-entropy, soft": Case(
        L.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
        1,
        extra=lambda dtype, device: (
            randn(7, 5, seed=3, dtype=dtype, device=device).sigmoid(),
        ),
    ),
    "binary cross-entropy, weighted": Case(
        partial(L.binary_cross_entropy, weight=3.0),
        lambda x, y, reduction: F.binary_cross_entropy_with_logits(
            x, y, pos_weight=x.new_tensor(3.0), reduction=reduction
        ),
        1,
        extra=some_bits,
    ),
    "focal": Case(L.focal, torchvision_focal, 1, extra=some_bits),
    "focal, alpha 0.3": Case(
        partial(L.focal, alpha=0.3),
        partial(torchvision_focal, alpha=0.3),
        1,
        extra=some_bits,
    ),
    "focal, no alpha, gamma 3.5": Case(
        partial(L.focal, gamma=3.5, alpha=None),
        partial(torchvision_focal, gamma=3.5, alpha=-1),
        1,
        extra=some_bits,
    ),
    "hinge": Case(
        L.hinge,
        by_formula(lambda x, y: torch.where(y == 1, 1 - x, 1 + x).clamp(min=0)),
        1,
        extra=some_bits,
    ),
    "cross-entropy": Case(L.cross_entropy, F.cross_entropy, 1, extra=some_classes),
    "cross-entropy, smoothed": Case(
        partial(L.cross_entropy, smoothing=0.1),
        partial(F.cross_entropy, label_smoothing=0.1),
        1,
        extra=some_classes,
    ),
    "cross-entropy, weighted": Case(
        weighted(L.cross_entropy), weighted(F.cross_entropy), 1, extra=some_classes
    ),
    "cross-entropy, weighted and smoothed": Case(
        weighted(L.cross_entropy, smoothing=0.2),
        weighted(F.cross_entropy, label_smoothing=0.2),
        1,
        extra=some_classes,
    ),
    "cross-entropy, fast": Case(
        L.fast_cross_entropy, F.cross_entropy, 1, extra=some_classes
    ),
    "cross-entropy, fast and smoothed": Case(
        partial(L.fast_cross_entropy, smoothing=0.1),
        partial(F.cross_entropy, label_smoothing=0.1),
        1,
        extra=some_classes,
    ),
    "cross-entropy, soft": Case(
        L.soft_cross_entropy,
        F.cross_entropy,
        1,
        extra=lambda dtype, device: (
            randn(7, 5, seed=3, dtype=dtype, device=device).softmax(-1),
        ),
    ),
    "focal, many classes": Case(
        partial(L.multiclass_focal, gamma=2.0),
        by_formula(partial(focal_by_softmax, gamma=2.0)),
        1,
        extra=some_classes,
    ),
    "focal, many classes, gamma 0": Case(
        partial(L.multiclass_focal, gamma=0.0),
        F.cross_entropy,
        1,
        extra=some_classes,
    ),
    "hinge, many classes": Case(
        L.multiclass_hinge, F.multi_margin_loss, 1, extra=some_classes
    ),
    "hinge, many classes, margin 0.3": Case(
        partial(L.multiclass_hinge, margin=0.3),
        partial(F.multi_margin_loss, margin=0.3),
        1,
        extra=some_classes,
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_its_reference(
    name: str, dtype: torch.dtype, reduction: str, device: str
) -> None:
    CASES[name].is_its_reference(dtype, reduction, device)


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name: str) -> None:
    CASES[name].has_its_gradient()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_stays_near(name: str, dtype: torch.dtype) -> None:
    CASES[name].stays_near_in(dtype)


@pytest.mark.parametrize("name", CASES)
def test_memory_layout_does_not_matter(name: str) -> None:
    CASES[name].is_blind_to_memory_layout()


def test_focal_is_the_real_torchvision() -> None:
    try:
        from torchvision.ops import sigmoid_focal_loss
    except (
        ImportError,
        RuntimeError,
    ) as problem:  # RuntimeError: built against another torch
        pytest.skip(f"torchvision: {problem}")
    x, y = randn(50), bits(50)
    torch.testing.assert_close(
        L.focal(x, y, reduction="none"),
        sigmoid_focal_loss(x, y),
        **TOLERANCE[DOUBLE],
    )
    torch.testing.assert_close(
        L.focal(x, y, alpha=None, reduction="none"),
        sigmoid_focal_loss(x, y, alpha=-1),
        **TOLERANCE[DOUBLE],
    )


def test_losses_of_numbers_are_those_of_scipy_and_sklearn() -> None:
    f, y = randn(40), randn(40, seed=1)
    v = randn(40, seed=2).exp()
    expected = -stats.norm(f.numpy(), v.sqrt().numpy()).logpdf(y.numpy())
    found = L.gaussian_nll(f, y, v, reduction="none").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    for q in (0.05, 0.5, 0.8):
        expected = metrics.mean_pinball_loss(y.numpy(), f.numpy(), alpha=q)
        assert L.pinball(f, y, q).item() == pytest.approx(expected, rel=1e-12)
    sign = bits(40, seed=3)
    expected = metrics.hinge_loss(sign.numpy(), f.numpy())
    assert L.hinge(f, sign).item() == pytest.approx(expected, rel=1e-12)


# --- Shapes


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (L.cross_entropy, F.cross_entropy),
        (
            partial(L.cross_entropy, smoothing=0.1),
            partial(F.cross_entropy, label_smoothing=0.1),
        ),
        (weighted(L.cross_entropy), weighted(F.cross_entropy)),
    ],
)
@pytest.mark.parametrize("dim", [1, -3])
def test_classes_along_any_dimension(ours, theirs, dim: int) -> None:
    """Pictures (N, K, H, W) with a class for each pixel."""
    x, t = randn(2, 5, 3, 4), classes(2, 3, 4, k=5)
    for reduction in REDUCTIONS:
        torch.testing.assert_close(
            ours(x, t, dim=dim, reduction=reduction),
            theirs(x, t, reduction=reduction),
            **TOLERANCE[DOUBLE],
        )


@pytest.mark.parametrize(
    "loss", [L.multiclass_focal, L.multiclass_hinge, L.zero_one, L.cross_entropy]
)
def test_a_moved_dimension_moves_nothing_else(loss) -> None:
    x, t = randn(2, 3, 5), classes(2, 3, k=5)
    torch.testing.assert_close(loss(x.movedim(-1, 0), t, dim=0), loss(x, t))
    torch.testing.assert_close(
        loss(x.movedim(-1, 1), t, dim=-2, reduction="none")[0, 1],
        loss(x[0, 1], t[0, 1]),
    )


def test_log_softmax_is_torchs_along_any_dimension() -> None:
    x = 10 * randn(3, 4, 5)
    for dim in (0, 1, -1, -3):
        torch.testing.assert_close(
            L.log_softmax(x, dim), torch.log_softmax(x, dim), **TOLERANCE[DOUBLE]
        )


def test_single_elements() -> None:
    one = torch.tensor([0.7], dtype=DOUBLE)
    assert L.cross_entropy(one, torch.tensor(0)).item() == 0  # one class: no doubt
    assert L.squared_error(one, 0 * one).item() == pytest.approx(0.49)
    assert L.log_softmax(one).item() == 0


# --- Extreme logits


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_binary_losses_at_extreme_logits(
    dtype: torch.dtype, gamma: float, device: str
) -> None:
    x = torch.tensor([1e4, -1e4, 1e4, -1e4, 88.7, 0.0], dtype=dtype, device=device)
    y = torch.tensor([1.0, 0, 0, 1, 1, 1], dtype=dtype, device=device)
    wrong = torch.tensor(
        [0, 0, 1e4, 1e4, 0, math.log(2)], dtype=dtype, device=device
    )
    slope = torch.tensor([0, 0, 1, -1, 0, -0.5], dtype=dtype, device=device)
    value, gradient = value_and_gradients(
        lambda x: L.binary_cross_entropy(x, y, reduction="none"), [x], ()
    )
    torch.testing.assert_close(value, wrong, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        gradient, slope * torch.linspace(1, 2, 6).to(x), rtol=1e-6, atol=1e-12
    )
    for loss in (
        partial(L.focal, gamma=gamma),
        partial(L.binary_cross_entropy, weight=3.0),
        L.hinge,
    ):
        for each in value_and_gradients(
            lambda x, f=loss: f(x, y, reduction="none"), [x], ()
        ):
            assert bool(each.isfinite().all())
    confident_and_wrong = L.focal(x, y, gamma=gamma, alpha=None, reduction="none")[
        2:4
    ]
    torch.testing.assert_close(confident_and_wrong, wrong[2:4])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "loss",
    [
        L.cross_entropy,
        L.fast_cross_entropy,
        partial(L.cross_entropy, smoothing=0.1),
        partial(L.fast_cross_entropy, smoothing=0.1),
        partial(L.multiclass_focal, gamma=0.5),
        L.multiclass_focal,
        L.multiclass_hinge,
    ],
)
def test_losses_of_classes_at_extreme_logits(
    loss, dtype: torch.dtype, device: str
) -> None:
    x = torch.tensor(
        [[1e4, 0, -1e4], [-1e4, 1e4, 0], [1e4, 1e4, 1e4]],
        dtype=dtype,
        device=device,
    )
    for t in (
        torch.tensor([0, 1, 2], device=device),
        torch.tensor([2, 0, 1], device=device),
    ):
        for each in value_and_gradients(loss, [x], (t,), reduction="none"):
            assert bool(each.isfinite().all())


def test_cross_entropy_of_a_certain_mistake() -> None:
    """Logits (1000, 0), class 1: 1000, where the logarithm of a softmax is minus infinity."""
    x, t = torch.tensor([[1000.0, 0.0]]), torch.tensor([1])
    assert L.cross_entropy(x, t).item() == 1000
    assert torch.log(torch.softmax(x, -1))[0, 1] == -math.inf
    assert L.cross_entropy(x, 1 - t).item() == 0
    _, gradient = value_and_gradients(L.cross_entropy, [x], (t,))
    torch.testing.assert_close(gradient, torch.tensor([[1.0, -1.0]]))


def test_masked_classes_have_no_probability() -> None:
    x = torch.tensor([[1.0, -math.inf, 0.5]], dtype=DOUBLE)
    kept, t = x[:, [0, 2]], torch.tensor([0])
    for loss in (L.cross_entropy, L.fast_cross_entropy, L.multiclass_focal):
        value, gradient = value_and_gradients(loss, [x], (t,))
        torch.testing.assert_close(value, loss(kept, t))
        assert gradient[0, 1] == 0 and bool(gradient.isfinite().all())
        assert loss(x, torch.tensor([1])) == math.inf
    q = torch.tensor([[0.5, 0.0, 0.5]], dtype=DOUBLE)
    torch.testing.assert_close(
        L.soft_cross_entropy(x, q), L.soft_cross_entropy(kept, q[:, [0, 2]])
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_the_only_class_that_can_be(gamma: float) -> None:
    """No rival is left: loss 0 and slope 0, not 0 times infinity; and a masked target costs infinity."""
    x = torch.tensor([[1.0, -math.inf], [2.0, 1.0]])
    loss = partial(L.multiclass_focal, gamma=gamma, reduction="none")
    value, gradient = value_and_gradients(loss, [x], (torch.tensor([0, 0]),))
    assert value[0] == 0 and gradient[0].tolist() == [0, 0]
    torch.testing.assert_close(value[1], loss(x[1:], torch.tensor([0]))[0])
    value, gradient = value_and_gradients(loss, [x], (torch.tensor([1, 1]),))
    assert value[0] == math.inf and gradient[0].tolist() == [1, -1]
    assert (
        torch.func.hessian(lambda x: loss(x, torch.tensor([0, 0])).sum())(x)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize(
    "loss",
    [
        L.binary_cross_entropy,
        partial(L.binary_cross_entropy, weight=0.0),
        partial(L.binary_cross_entropy, weight=3.0),
        partial(L.focal, gamma=0.0),
        partial(L.focal, gamma=2.0),
        partial(L.focal, gamma=2.0, alpha=None),
        L.hinge,
    ],
)
def test_infinite_logits_have_the_limits_of_large_ones(loss) -> None:
    infinite = torch.tensor([math.inf, -math.inf, math.inf, -math.inf])
    y = torch.tensor([1.0, 0.0, 0.0, 1.0])
    value, gradient = value_and_gradients(loss, [infinite], (y,), reduction="none")
    large, slope = value_and_gradients(
        loss, [infinite.clamp(-1e4, 1e4)], (y,), reduction="none"
    )
    assert value[:2].tolist() == [0, 0]
    torch.testing.assert_close(value[2:], torch.where(large[2:] > 0, math.inf, 0.0))
    torch.testing.assert_close(gradient, slope)


def test_a_soft_target_pays_for_certainty() -> None:
    x = torch.tensor([math.inf, -math.inf])
    for y in (0.3, 0.7):
        found = L.binary_cross_entropy(x, torch.full((2,), y), reduction="none")
        assert found.tolist() == [math.inf, math.inf]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [0.0, 1.0, 16.0, 18.0, 50.0, 80.0])
def test_binary_losses_to_the_last_digits_on_both_sides(
    sign: int, size: float
) -> None:
    """float32 against the closed form in float64: log(1 + e^-s) and its slope, where the answer is right."""
    s = torch.tensor([size], dtype=DOUBLE)
    value, slope = s.neg().exp().log1p(), torch.sigmoid(-s)
    x, y = (sign * s).float(), torch.tensor([float(sign > 0)])
    for loss in (
        L.binary_cross_entropy,
        partial(L.binary_cross_entropy, weight=1.0),
        partial(L.focal, gamma=0.0, alpha=None),
    ):
        found, gradient = value_and_gradients(loss, [x], (y,))
        torch.testing.assert_close(found, value.float()[0], rtol=1e-6, atol=0)
        torch.testing.assert_close(
            gradient, -sign * slope.float(), rtol=1e-6, atol=0
        )
        found, gradient = value_and_gradients(loss, [-x], (y,))
        torch.testing.assert_close(found, (value + s).float()[0], rtol=1e-6, atol=0)


ROWS = [
    L.log_softmax,
    lambda x: L.cross_entropy(x, torch.tensor([0, 0])),
    lambda x: L.fast_cross_entropy(x, torch.tensor([0, 0])),
    lambda x: L.fast_cross_entropy(x, torch.tensor([0, 0]), smoothing=0.1),
    lambda x: L.soft_cross_entropy(x, torch.full((2, 3), 1 / 3)),
    lambda x: L.multiclass_focal(x, torch.tensor([0, 0])),
    lambda x: L.multiclass_hinge(x, torch.tensor([0, 0])),
    lambda x: L.zero_one(x, torch.tensor([0, 0])),
]


@pytest.mark.parametrize("loss", ROWS)
def test_a_row_that_is_masked_as_a_whole_is_refused(loss) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [-math.inf] * 3])
    with pytest.raises(
        ValueError, match="logits must have a finite score in every"
    ):
        loss(x)


@pytest.mark.parametrize("loss", ROWS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_no_row_of_scores_has_no_loss(loss, bad: float) -> None:
    """NaN, for softmax refuses it and a training wants to go on to where it is caught."""
    x = torch.tensor([[1.0, 2.0, 3.0], [bad, 2.0, 1.0]])
    found = loss(x)
    if bad == math.inf and found.isfinite().all():
        assert loss is ROWS[-1] or loss is ROWS[-2]  # the largest score wins
    else:
        assert not found.isfinite().all()


def test_a_masked_class_of_weight_zero_adds_nothing() -> None:
    x = torch.tensor([[1.0, -math.inf, 0.5], [0.1, -math.inf, 2.0]], dtype=DOUBLE)
    t, w = torch.tensor([0, 2]), torch.tensor([1.0, 0.0, 2.0], dtype=DOUBLE)
    value, gradient = value_and_gradients(
        partial(L.cross_entropy, weight=w, smoothing=0.3), [x], (t,)
    )
    log_p = torch.log_softmax(x[:, [0, 2]], -1)
    share = 0.3 / 3 * (log_p @ w[[0, 2]])
    picked = 0.7 * torch.stack([log_p[0, 0], 2 * log_p[1, 1]])
    torch.testing.assert_close(value, -(share + picked).sum() / 3)
    assert gradient.isfinite().all() and not gradient[:, 1].any()
    assert (
        L.cross_entropy(x, t, smoothing=0.3) == math.inf
    )  # it asks for the impossible


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [65_520, 100_000])
def test_half_precision_counts_beyond_its_largest_number(
    dtype: torch.dtype, classes: int
) -> None:
    x, t = torch.zeros(2, classes, dtype=dtype), torch.tensor([0, 7])
    for loss in (
        L.cross_entropy,
        L.fast_cross_entropy,
        partial(L.cross_entropy, smoothing=0.1),
        partial(L.fast_cross_entropy, smoothing=0.1),
        lambda x, t: -L.log_softmax(x)[0, 0],
        lambda x, t: L.soft_cross_entropy(x, F.one_hot(t, classes).to(dtype)),
        partial(L.multiclass_focal, gamma=1.0),
    ):
        found = loss(x, t)
        assert found.dtype == dtype
        assert found.item() == pytest.approx(math.log(classes), rel=4e-3)


def test_a_mean_in_half_precision_does_not_overflow_on_its_way() -> None:
    x = torch.full((100_000,), 3.0, dtype=torch.float16)
    assert L.squared_error(x, 0 * x).item() == 9
    assert L.reduce(x, weights=torch.ones_like(x)).item() == 3


def test_not_a_number_stays_in_its_row() -> None:
    x = torch.tensor([[math.nan, 0.0], [1.0, 0.0]])
    found = L.cross_entropy(x, torch.tensor([0, 0]), reduction="none")
    assert found.isnan().tolist() == [True, False]
    assert (
        L.squared_error(x, torch.zeros(2, 2), reduction="none").isnan().sum() == 1
    )


# --- What the losses say


@given(seed=st.integers(0, 200), k=st.integers(2, 6))
def test_gradient_of_cross_entropy_is_prediction_minus_target(
    seed: int, k: int
) -> None:
    x, t = 3 * randn(8, k, seed=seed), classes(8, k=k, seed=seed)
    p = torch.softmax(x, -1)
    for eps in (0.0, 0.3):
        q = (1 - eps) * F.one_hot(t, k).to(DOUBLE) + eps / k
        for loss in (L.cross_entropy, L.fast_cross_entropy):
            _, gradient = value_and_gradients(
                lambda x, f=loss, e=eps: f(x, t, smoothing=e, reduction="sum"),
                [x],
                (),
            )
            torch.testing.assert_close(gradient, p - q, **TOLERANCE[DOUBLE])
            torch.testing.assert_close(
                gradient.sum(-1), torch.zeros(8, dtype=DOUBLE), rtol=0, atol=1e-12
            )
        torch.testing.assert_close(
            L.soft_cross_entropy(x, q), L.cross_entropy(x, t, smoothing=eps)
        )


@given(seed=st.integers(0, 200), shift=st.floats(-1e3, 1e3))
def test_losses_of_classes_do_not_see_a_common_shift(
    seed: int, shift: float
) -> None:
    x, t = randn(6, 4, seed=seed), classes(6, k=4, seed=seed)
    for loss in (
        L.cross_entropy,
        L.fast_cross_entropy,
        L.multiclass_focal,
        L.multiclass_hinge,
    ):
        torch.testing.assert_close(
            loss(x + shift, t), loss(x, t), rtol=1e-9, atol=1e-11
        )


@given(seed=st.integers(0, 200))
def test_two_classes_are_one_logit(seed: int) -> None:
    """Softmax over (0, x) is the sigmoid of x."""
    x, y = 3 * randn(9, seed=seed), bits(9, seed=seed)
    pair = torch.stack([torch.zeros_like(x), x], -1)
    for one, two in (
        (L.binary_cross_entropy, L.cross_entropy),
        (partial(L.focal, alpha=None), L.multiclass_focal),
    ):
        torch.testing.assert_close(
            one(x, y), two(pair, y.long()), **TOLERANCE[DOUBLE]
        )


def test_focal_numbers_of_the_paper() -> None:
    """gamma 2: p = .9 weighs 100 times less, .968 about 1000 times; p = .5 four times."""
    for p, factor in ((0.9, 100), (0.968, 977), (0.5, 4)):
        x, one = (
            torch.logit(torch.tensor([p], dtype=DOUBLE)),
            torch.ones(1, dtype=DOUBLE),
        )
        ratio = L.binary_cross_entropy(x, one) / L.focal(x, one, alpha=None)
        assert ratio.item() == pytest.approx(factor, rel=1e-3)


def test_smoothing_numbers() -> None:
    right, lead, _ = L.smoothed_optimum(4, 0.1)
    assert right == pytest.approx(0.925)
    assert lead == pytest.approx(3.611, abs=1e-3)
    assert L.smoothed_optimum(10, 0.1)[2] == pytest.approx(0.5003, abs=5e-5)
    assert L.smoothed_optimum(5, 1.0)[:2] == (
        pytest.approx(0.2),
        pytest.approx(0.0),
    )
    assert L.smoothed_optimum(10, 0.2)[:2] == (
        pytest.approx(0.82),
        pytest.approx(3.714, abs=1e-3),
    )


@pytest.mark.parametrize("loss", [L.cross_entropy, L.fast_cross_entropy])
def test_the_smoothed_loss_has_no_slope_at_its_optimum(loss) -> None:
    x = torch.tensor([L.smoothed_optimum(10, 0.1)[1]] + [0.0] * 9, dtype=DOUBLE)
    value, gradient = value_and_gradients(
        partial(loss, smoothing=0.1), [x], (torch.tensor(0),)
    )
    torch.testing.assert_close(gradient, torch.zeros_like(x), rtol=0, atol=1e-12)
    assert value.item() == pytest.approx(0.5003, abs=1e-4)


@given(
    row=st.lists(st.floats(-50, 50, width=32), min_size=6, max_size=6),
    target=st.integers(0, 5),
)
def test_cross_entropy_is_never_negative(row: list[float], target: int) -> None:
    x, t = torch.tensor(row, dtype=DOUBLE), torch.tensor(target)
    assert L.cross_entropy(x, t) >= -1e-12
    assert L.cross_entropy(x, t, smoothing=0.1) >= -1e-12


@given(k=st.integers(2, 20), eps=st.floats(0.01, 0.9))
def test_smoothed_optimum_is_the_minimum(k: int, eps: float) -> None:
    def loss(lead: float) -> float:
        x = torch.zeros(1, k, dtype=DOUBLE)
        x[0, 0] = lead
        return L.cross_entropy(x, torch.tensor([0]), smoothing=eps).item()

    found = minimize_scalar(
        loss, bounds=(-5, 20), method="bounded", options={"xatol": 1e-10}
    )
    _, lead, least = L.smoothed_optimum(k, eps)
    assert found.x == pytest.approx(lead, abs=1e-4)
    assert found.fun == pytest.approx(least, rel=1e-10)


@given(seed=st.integers(0, 100), q=st.floats(0.05, 0.95))
def test_best_constants_are_mean_median_and_quantile(seed: int, q: float) -> None:
    y = randn(101, seed=seed).exp()

    def best(loss) -> float:
        found = minimize_scalar(
            lambda c: loss(torch.full_like(y, c), y).item(), bounds=(0, float(y.max())), method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        return found.x

    assert best(L.squared_error) == pytest.approx(y.mean().item(), abs=1e-6)
    assert best(L.absolute_error) == pytest.approx(y.median().item(), abs=1e-6)
    near = L.pinball(y.quantile(q, interpolation="lower").expand(101), y, q)
    far = L.pinball(y.quantile(q, interpolation="higher").expand(101), y, q)
    assert (
        L.pinball(torch.full_like(y, best(partial(L.pinball, quantile=q))), y, q)
        >= min(near, far) - 1e-12
    )


def test_proxies_are_above_the_error_they_stand_for() -> None:
    x, t = 3 * randn(500, 4), classes(500, k=4)
    error = L.zero_one(x, t, reduction="none")
    assert bool(
        (L.cross_entropy(x, t, reduction="none") / math.log(2) >= error).all()
    )
    assert bool((4 * L.multiclass_hinge(x, t, reduction="none") >= error).all())


def test_zero_one_is_one_minus_accuracy_and_has_no_slope() -> None:
    x, t = randn(300, 4).requires_grad_(), classes(300, k=4)
    error = L.zero_one(x, t)
    assert error.item() == pytest.approx(
        1 - metrics.accuracy_score(t, x.detach().argmax(-1))
    )
    assert not error.requires_grad
    assert L.zero_one(x + 1e-6 * randn(300, 4, seed=2), t) == error


# --- Preferences and teachers


def kl_by_torch(x: Tensor, y: Tensor, T: float, reduction: str) -> Tensor:
    """Hinton's loss as it is usually written, `batchmean` where the mean is over rows."""
    log_q, log_p = torch.log_softmax(x / T, -1), torch.log_softmax(y / T, -1)
    rows = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)
    return T**2 * reduced(rows, reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_is_torchs_divergence(
    reduction: str, temperature: float
) -> None:
    x, y = 3 * randn(7, 5), 3 * randn(7, 5, seed=1)
    ours = value_and_gradients(
        partial(L.distillation, temperature=temperature),
        [x, y],
        (),
        reduction=reduction,
    )
    theirs = value_and_gradients(
        partial(kl_by_torch, T=temperature), [x, y], (), reduction=reduction
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[DOUBLE])
    torch.testing.assert_close(
        L.distillation(
            x.mT, y.mT, temperature=temperature, dim=0, reduction="none"
        ),
        L.distillation(x, y, temperature=temperature, reduction="none"),
    )


def test_a_hot_teacher_matches_logits_and_a_cold_one_names_the_class() -> None:
    x, y = randn(6, 4), randn(6, 4, seed=1)
    centred = lambda z: z - z.mean(-1, keepdim=True)
    _, gradient, _ = value_and_gradients(
        partial(L.distillation, temperature=1e4, reduction="sum"), [x, y], ()
    )
    torch.testing.assert_close(
        gradient, (centred(x) - centred(y)) / 4, rtol=1e-3, atol=1e-4
    )
    cold = L.distillation(x, y, temperature=1e-3, reduction="none") / 1e-3
    gap = x.amax(-1) - x.gather(-1, y.argmax(-1, keepdim=True)).squeeze(-1)
    torch.testing.assert_close(cold, gap, rtol=1e-3, atol=1e-3)


def test_a_class_that_the_teacher_rules_out_adds_nothing() -> None:
    x, y = randn(3, 4), randn(3, 4, seed=1)
    x[:, 2] = y[:, 2] = -math.inf
    kept = [0, 1, 3]
    value, gradient, _ = value_and_gradients(L.distillation, [x, y], ())
    torch.testing.assert_close(value, L.distillation(x[:, kept], y[:, kept]))
    assert gradient.isfinite().all() and not gradient[:, 2].any()


def test_preferences_are_a_logistic_regression_on_differences() -> None:
    a, b, c, d = (randn(9, seed=s) for s in range(4))
    torch.testing.assert_close(
        L.bradley_terry(a, b),
        F.binary_cross_entropy_with_logits(a - b, torch.ones_like(a)),
    )
    torch.testing.assert_close(L.bradley_terry(a + 7, b + 7), L.bradley_terry(a, b))
    published = -F.logsigmoid(0.3 * ((a - b) - (c - d)))  # as in the authors' code
    torch.testing.assert_close(
        L.dpo(a, b, c, d, beta=0.3, reduction="none"), published
    )
    torch.testing.assert_close(
        L.dpo(a, b, a, b), torch.tensor(math.log(2), dtype=DOUBLE)
    )


@pytest.mark.parametrize(
    "loss", [L.bradley_terry, lambda a, b: L.dpo(a, b, 0 * a, 0 * b)]
)
def test_preferences_at_extreme_rewards(loss) -> None:
    far = torch.tensor([1e4, -1e4], dtype=torch.float32)
    value, up, down = value_and_gradients(
        lambda a, b: loss(a, b), [far, 0 * far], ()
    )
    assert value.isfinite() and up.isfinite().all()
    assert (up <= 0).all() and (down >= 0).all() and up[1] < 0


@given(seed=st.integers(0, 50), beta=st.floats(0.1, 3.0))
def test_the_best_policy_of_dpo_tilts_the_reference_by_its_rewards(
    seed: int, beta: float
) -> None:
    """pi ~ pi_ref exp(r / beta): with preferences drawn by Bradley and Terry, no slope is left there."""
    r, reference = (
        randn(5, seed=seed),
        torch.log_softmax(randn(5, seed=seed + 1), -1),
    )
    odds = torch.sigmoid(r[:, None] - r)  # that i is preferred to j

    def expected(logits: Tensor) -> Tensor:
        log_pi = torch.log_softmax(logits, -1)
        i, j = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
        losses = L.dpo(
            log_pi[i],
            log_pi[j],
            reference[i],
            reference[j],
            beta=beta,
            reduction="none",
        )
        return (odds * losses).sum()

    slope = torch.func.grad(expected)
    torch.testing.assert_close(
        slope(reference + r / beta), 0 * r, rtol=0, atol=1e-10
    )
    assert slope(reference + 2 * r / beta).abs().max() > 1e-3 * r.std()


# --- Penalties


def test_the_losses_of_every_example_have_their_own_gradients() -> None:
    """`vmap` over a batch, as per-example gradients want it: every loss, twin and Function."""
    x, t = randn(6, 5, dtype=torch.float32), classes(6, k=5)
    for loss in (
        L.cross_entropy,
        L.fast_cross_entropy,
        partial(L.fast_cross_entropy, smoothing=0.1),
        L.multiclass_focal,
        L.multiclass_hinge,
    ):
        each = torch.func.vmap(torch.func.grad(loss))(x, t)
        expected = value_and_gradients(partial(loss, reduction="sum"), [x], (t,))
        torch.testing.assert_close(each, expected[1], rtol=1e-5, atol=1e-6)


def test_penalties_by_hand() -> None:
    w = [torch.tensor([[3.0, -4.0]], dtype=DOUBLE), torch.tensor(2.0, dtype=DOUBLE)]
    assert L.l2_penalty(w, 0.1).item() == pytest.approx(0.1 * 29 / 2)
    assert L.l1_penalty(w, 0.1).item() == pytest.approx(0.9)
    assert L.l2_penalty(w[0]).item() == pytest.approx(12.5)


def test_penalties_are_priors() -> None:
    w = randn(6)
    for penalty, prior in (
        (L.l2_penalty, stats.norm(0, 1 / math.sqrt(0.7))),
        (L.l1_penalty, stats.laplace(0, 1 / 0.7)),
    ):
        constant = -6 * prior.logpdf(0)
        assert penalty(w, 0.7).item() == pytest.approx(
            -prior.logpdf(w.numpy()).sum() - constant
        )


@given(w=st.floats(-3, 3), threshold=st.floats(0, 2))
def test_soft_threshold_is_the_minimiser(w: float, threshold: float) -> None:
    found = minimize_scalar(
        lambda u: (u - w) ** 2 / 2 + threshold * abs(u), bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}
    )  # fmt: skip
    ours = L.soft_threshold(torch.tensor([w], dtype=DOUBLE), threshold).item()
    assert ours == pytest.approx(found.x, abs=1e-4)
    assert (ours == 0) == (abs(w) <= threshold)


def test_decay_and_penalty_differ_for_adam_and_not_for_descent() -> None:
    """w^2 summed, from (1, -2, 3), 50 steps of rate .01 with strength .1."""
    start = torch.tensor([1.0, -2.0, 3.0], dtype=DOUBLE)
    square = lambda w: (w**2).sum(-1)
    through = trajectory(with_l2(adam, 0.1), square, start, 50, lr=0.01)[-1]
    beside = trajectory(adamw, square, start, 50, lr=0.01, decay=0.1)[-1]
    assert through.tolist() == pytest.approx([0.537, -1.517, 2.511], abs=5e-4)
    assert beside.tolist() == pytest.approx([0.503, -1.434, 2.379], abs=5e-4)
    penalised = lambda w: square(w) + torch.stack([L.l2_penalty(w, 0.1)]).sum()
    decayed = lambda w, g, state, lr: gradient_descent(
        (1 - lr * 0.1) * w, g, state, lr=lr
    )
    torch.testing.assert_close(
        trajectory(gradient_descent, penalised, start, 50, lr=0.01),
        trajectory(decayed, square, start, 50, lr=0.01),
    )
    torch.testing.assert_close(
        trajectory(adam, penalised, start, 50, lr=0.01)[-1], through
    )


# --- Bad input


def nothing(*shape: int) -> Tensor:
    return torch.empty(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, t: L.squared_error(x, x[0]), r"target must have the shape of prediction, \(3, 4\), got .* \(4,\)"),
        (lambda x, t: L.squared_error(x, x, reduction="average"), "reduction must be one of none, mean, sum, got 'av"),
        (lambda x, t: L.squared_error(nothing(0, 4), nothing(0, 4)), r"at least one element, got shape \(0, 4\)"),
        (lambda x, t: L.pinball(x, x, 1.0), "quantile must be finite and > 0 and < 1, got 1.0"),
        (lambda x, t: L.pinball(x, x, torch.ones(5)), r"quantile must broadcast to shape \(3, 4\), got shape \(5,\)"),
        (lambda x, t: L.pinball(x, x, torch.ones(4)), "quantile must be > 0 and < 1 everywhere"),
        (lambda x, t: L.gaussian_nll(x, x, 0.0), "variance must be finite and > 0, got 0.0"),
        (lambda x, t: L.gaussian_nll(x, x, torch.ones(2, 3, 4)), r"variance must broadcast .* \(2, 3, 4\)"),
        (lambda x, t: L.binary_cross_entropy(x, x[0]), r"targets must have the shape of logits, \(3, 4\)"),
        (lambda x, t: L.binary_cross_entropy(x, 2 + x), r"targets must be in \[0, 1\] everywhere"),
        (lambda x, t: L.binary_cross_entropy(x, 0 * x, weight=-1.0), "weight must be finite and >= 0, got -1.0"),
        (lambda x, t: L.focal(x, 0 * x + 0.5), "targets must be 0 or 1 everywhere"),
        (lambda x, t: L.focal(x, 0 * x, gamma=-1), "gamma must be finite and >= 0, got -1"),
        (lambda x, t: L.focal(x, 0 * x, alpha=2.0), "alpha must be finite and >= 0 and <= 1, got 2.0"),
        (lambda x, t: L.hinge(x, -torch.ones(3, 4)), "targets must be 0 or 1 everywhere"),
        (lambda x, t: L.hinge(x, 0 * x, margin=math.nan), "margin must be finite and >= 0, got nan"),
        (lambda x, t: L.cross_entropy(x, t + 2), "target must hold class numbers from 0 to 3"),
        (lambda x, t: L.cross_entropy(x, t - 1), "target must hold class numbers from 0 to 3"),
        (lambda x, t: L.cross_entropy(x, t[:2]), r"target must have shape \(3,\), .* got \(2,\)"),
        (lambda x, t: L.cross_entropy(x, t, dim=2), r"dim must be in \[-2, 1\] for logits of shape \(3, 4\), got 2"),
        (lambda x, t: L.cross_entropy(nothing(0, 4), t[:0]), r"logits must hold at least one element, .* \(0, 4\)"),
        (lambda x, t: L.cross_entropy(nothing(3, 0), t), r"logits must have at least 1 along dim -1, .* \(3, 0\)"),
        (lambda x, t: L.cross_entropy(x, t, smoothing=1.5), "smoothing must be finite and >= 0 and <= 1, got 1.5"),
        (lambda x, t: L.cross_entropy(x, t, smoothing=-0.1), "smoothing must be finite and >= 0 and <= 1, got -0.1"),
        (lambda x, t: L.cross_entropy(x, t, smoothing=math.nan), "smoothing must be finite and >= 0 and <= 1, got nan"),
        (lambda x, t: L.cross_entropy(x, t, weight=torch.ones(3)), r"weight must have shape \(4,\), .* got \(3,\)"),
        (lambda x, t: L.fast_cross_entropy(x, t + 2), "target must hold class numbers from 0 to 3"),
        (lambda x, t: L.soft_cross_entropy(x, x[:2]), r"q must have the shape of logits, \(3, 4\)"),
        (lambda x, t: L.multiclass_focal(x[:, :1], 0 * t), r"logits must have at least 2 along dim -1"),
        (lambda x, t: L.multiclass_hinge(x, t, margin=-1), "margin must be finite and >= 0, got -1"),
        (lambda x, t: L.smoothed_optimum(1, 0.1), "classes must be a whole number >= 2, got 1"),
        (lambda x, t: L.smoothed_optimum(4, 0.0), "smoothing must be finite and > 0 and <= 1, got 0"),
        (lambda x, t: L.l2_penalty([], 1.0), "weights must be at least one tensor, got none"),
        (lambda x, t: L.l1_penalty(x, -1.0), "strength must be finite and >= 0, got -1"),
        (lambda x, t: L.soft_threshold(x, -1.0), "threshold must be finite and >= 0, got -1"),
        (lambda x, t: L.reduce(nothing(0)), r"losses must hold at least one element, got shape \(0,\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.ones(3, 4), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: L.squared_error(i, i), r"prediction must be a floating tensor, got torch\.int64"),
        (lambda i: L.gaussian_nll(i, i), r"mean must be a floating tensor, got torch\.int64"),
        (lambda i: L.binary_cross_entropy(i, i), r"logits must be a floating tensor, got torch\.int64"),
        (lambda i: L.cross_entropy(i[None], i[:1]), r"logits must be a floating tensor, got torch\.int64"),
        (lambda i: L.cross_entropy(i[None].float(), i[:1].float()), r"target must be an int64 tensor, .*float32"),
        (lambda i: L.cross_entropy([1.0], i), "logits must be a floating tensor, got list"),
        (lambda i: L.l2_penalty([i]), r"weights\[0\] must be a floating tensor, got torch\.int64"),
    ],
)  # fmt: skip
def test_wrong_dtypes_are_named(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(torch.tensor([1, 0]))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: L.squared_error(x, 0 * x),
        lambda x: L.gaussian_nll(x, 0 * x, 2.0),
        lambda x: L.focal(x, (x > 0).float()),
        lambda x: L.cross_entropy(x, x.argmin(-1), smoothing=0.1),
        lambda x: L.fast_cross_entropy(x, x.argmin(-1), smoothing=0.1),
        lambda x: L.multiclass_focal(x, x.argmin(-1)),
    ],
)
def test_losses_compile_to_one_graph(loss) -> None:
    found = torch._dynamo.explain(loss)(randn(6, 4).requires_grad_())
    assert found.graph_break_count == 0
