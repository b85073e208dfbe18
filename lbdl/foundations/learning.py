"""Learning from examples: models made of basis functions, their risk, and what
keeps a fit from following the noise.

A model with weights w predicts features(x) @ w. Everything about capacity,
over-fitting and regularisation shows in this one case, where the best weights have
a formula: least squares, its minimum-norm solution past the interpolation
threshold, and ridge regression (Hoerl & Kennard 1970). Leave-one-out errors
without refitting follow Allen 1974; early stopping as a regulariser, Ali, Kolter &
Tibshirani 2019, arXiv:1810.10082.

Targets are columns, y (..., n, m): m problems that share their features. Half
precision is solved in float32 and rounded at the end. The solvers refuse values
that are not finite, where values can be looked at: not inside `torch.compile` or a
transform of `torch.func`.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from lbdl import require

__all__ = [
    "monomial_basis",
    "chebyshev_basis",
    "gaussian_basis",
    "relu_basis",
    "random_relu_units",
    "kernel_log_density",
    "empirical_risk",
    "error_rate",
    "least_squares",
    "ridge_normal",
    "ridge",
    "ridge_dual",
    "ridge_path",
    "fast_ridge_path",
    "early_stopped_path",
    "hat_matrix",
    "effective_parameters",
    "leave_one_out",
    "fast_leave_one_out",
    "should_stop",
    "stopping_time",
    "fill_",
    "row_spread",
    "distinct_rows",
]


# --- Bases: what a model is made of -----------------------------------------------


def monomial_basis(x: Tensor, count: int) -> Tensor:
    """The first powers of x.

        features_k(x) = x^k,    k = 0, ..., count - 1

    Args:
        x: numbers (...), floating dtype.
        count: K >= 1.

    Returns:
        The features (..., K), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `count` no whole number.
        ValueError: `count` is below 1.
    """
    require.floating(x=x)
    require.whole(count=count, least=1)
    return x.unsqueeze(-1) ** torch.arange(count, device=x.device)


def chebyshev_basis(x: Tensor, count: int) -> Tensor:
    """The first Chebyshev polynomials: the same models as `monomial_basis`, in
    well-conditioned coordinates.

        T_0 = 1,    T_1 = x,    T_{k+1} = 2 x T_k - T_{k-1};
        T_k(cos a) = cos(k a)

    Args:
        x: numbers (...), floating dtype, best in [-1, 1].
        count: K >= 1.

    Returns:
        The features (..., K), dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `count` no whole number.
        ValueError: `count` is below 1.

    Source: Trefethen 2013, Approximation Theory and Approximation Practice, chapter
        3.
    """
    require.floating(x=x)
    require.whole(count=count, least=1)
    columns = [torch.ones_like(x), x]
    for _ in range(count - 2):
        columns.append(2 * x * columns[-1] - columns[-2])
    return torch.stack(columns[:count], dim=-1)


def gaussian_basis(x: Tensor, centres: Tensor, width: float | Tensor) -> Tensor:
    """A bump at every centre.

        features_k(x) = exp(-||x - c_k||^2 / (2 width^2))

    Args:
        x: points (..., n, d), floating dtype.
        centres: c (..., K, d), dtype of `x`.
        width: number > 0, or a tensor that broadcasts against (..., n, K).

    Returns:
        The features (..., n, K), from 0 to 1.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `width` is neither a
            number nor a floating tensor.
        ValueError: shapes do not fit, or `width` is not positive.

    Source: Fleuret 2024, The Little Book of Deep Learning, section 1.2.
    """
    require.fitting(x=(x, "... n d"), centres=(centres, "... K d"))
    require.number_or_tensor(width=width, above=0)
    if isinstance(width, Tensor):
        require.broadcast_to((*x.shape[:-1], centres.shape[-2]), width=width)
    gaps = x.unsqueeze(-2) - centres.unsqueeze(-3)  # (..., n, K, d)
    scale = width.unsqueeze(-1) if isinstance(width, Tensor) else width
    return (-(gaps / scale).square().sum(-1) / 2).exp()


def relu_basis(x: Tensor, directions: Tensor, thresholds: Tensor) -> Tensor:
    """A hidden layer that is not trained: ramps, each flat on one side of a
    hyperplane.

        features_k(x) = max(0, <x, u_k> - t_k)

    Args:
        x: points (..., n, d), floating dtype.
        directions: u (d, K), one column a unit, dtype of `x`.
        thresholds: t (K,), dtype of `x`.

    Returns:
        The features (..., n, K).

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Rahimi & Recht 2008, "Weighted Sums of Random Kitchen Sinks"; with ReLU,
        Belkin et al. 2019, arXiv:1812.11118.
    """
    require.fitting(
        x=(x, "... n d"),
        directions=(directions, "d K"),
        thresholds=(thresholds, "K"),
    )
    return (x @ directions - thresholds).relu()


def random_relu_units(
    d: int,
    count: int,
    generator: Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Random units for `relu_basis`, made for inputs of length about 1 in any
    direction.

        u_k uniform on the unit sphere,    t_k ~ U(-1, 1)

    Args:
        d: number of inputs, >= 1.
        count: K >= 1.
        generator: source of randomness; the units are made on its device.
        dtype: floating dtype of the units.

    Returns:
        Directions (d, K) and thresholds (K,).

    Raises:
        TypeError: a number is not whole, `generator` no generator, or `dtype` not
            floating.
        ValueError: a number is below 1.

    Source: Rahimi & Recht 2008, "Weighted Sums of Random Kitchen Sinks", with
        another distribution.
    """
    require.whole(d=d, count=count, least=1)
    require.generator(generator=generator)
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be floating, got {dtype}")
    device = None if generator is None else generator.device
    normal = torch.randn(count, d, generator=generator, device=device, dtype=dtype)
    thresholds = (
        2 * torch.rand(count, generator=generator, device=device, dtype=dtype) - 1
    )
    return nn.functional.normalize(normal, dim=-1).T, thresholds


def kernel_log_density(x: Tensor, examples: Tensor, width: float) -> Tensor:
    """A density built from one Gaussian bump around every example.

        log p(x) = log (1/n) sum_i N(x; x_i, width^2 I)

    Args:
        x: where to evaluate it, (..., q, d), floating dtype.
        examples: x_i (..., n, d), dtype of `x`.
        width: standard deviation of a bump, > 0.

    Returns:
        The log-densities (..., q).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `width` is no number.
        ValueError: shapes do not fit, or `width` is not positive.

    Source: Parzen 1962.
    """
    require.fitting(x=(x, "... n d"), examples=(examples, "... K d"))
    require.number(width=width, above=0)
    n, d = examples.shape[-2:]
    squares = (
        ((x.unsqueeze(-2) - examples.unsqueeze(-3)) / width).square().sum(-1)
    )  # (..., q, n)
    return (
        (-squares / 2).logsumexp(-1)
        - math.log(n)
        - d * math.log(width * math.sqrt(2 * math.pi))
    )


# --- Risk -------------------------------------------------------------------------


def empirical_risk(
    loss: Callable[[Tensor, Tensor], Tensor],
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """The mean loss over examples: what training makes small in place of the risk.

        R_n(model) = (1/n) sum_i loss(model(x_i), y_i)

    Args:
        loss: (predictions (n, ...), y (n, ...)) -> one loss an example, (n, ...).
        model: x (n, ...) -> predictions (n, ...).
        x: inputs (n, ...).
        y: targets (n, ...).

    Returns:
        The mean, a scalar.

    Raises:
        TypeError: `loss` or `model` is no function, or an argument no tensor.
        ValueError: there is no example, `x` and `y` differ in length, or `loss`
            gives no value an example.

    Source: Vapnik 1992, "Principles of Risk Minimization for Learning Theory".
    """
    require.function(loss=loss, model=model)
    require.tensor(x=x, y=y)
    require.dim(x, 0, "x")
    require.dim(y, 0, "y")
    losses = loss(model(x), y)
    if not len(x) == len(y) == (len(losses) if losses.dim() else 0):
        told = tuple(x.shape), tuple(y.shape), tuple(losses.shape)
        raise ValueError(
            f"x, y and what loss gives must hold one value an example, got {told}"
        )
    return losses.mean()


def error_rate(scores: Tensor, classes: Tensor) -> Tensor:
    """The empirical 0-1 risk: the share of examples whose largest score is not at
    their class.

        (1/n) sum_i [argmax_k scores_ik != class_i]

    Its gradient is zero wherever it exists: nearly every small change of the scores
    changes no argmax.

    Args:
        scores: (..., n, K), floating dtype, n >= 1.
        classes: int64 (..., n), from 0 to K - 1; leading dimensions broadcast.

    Returns:
        The error rates (...), float32. A tie goes to the first of the largest; a
        NaN score makes a NaN rate.

    Raises:
        TypeError: `scores` is not floating, or `classes` not int64.
        ValueError: shapes do not fit, there is no example, or a class is out of
            range.
    """
    require.floating(scores=scores)
    require.integer(classes=classes)
    sizes = require.shapes(scores=(scores, "... n K"), classes=(classes, "... n"))
    require.classes(sizes["K"], name="classes", targets=classes)
    wrong = (scores.argmax(-1) != classes).float()
    return torch.where(scores.isnan().any(-1), math.nan, wrong).mean(-1)


# --- Least squares and ridge ------------------------------------------------------


def least_squares(features: Tensor, y: Tensor) -> Tensor:
    """The shortest of all weights that fit best.

        argmin ||w||  among the minimisers of ||features w - y||^2
            =    pinv(features) y

    >>> w = least_squares(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0]]))
    >>> w.round(decimals=4).T
    tensor([[1., 1.]])

    With fewer weights than examples there is usually one minimiser. With more, past
    the interpolation threshold, there are infinitely many with training error zero;
    this is the limit of ridge as the strength goes to 0, and where gradient descent
    from zero ends.

    Args:
        features: (..., n, K), floating dtype; singular values below max(n, K) eps
            of the largest count as 0.
        y: targets (..., n, m), dtype of `features`.

    Returns:
        The weights w (..., K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, or a value is not finite.

    Source: Penrose 1956, "On best approximate solutions of linear matrix
        equations".
    """
    require_problem(features, y)
    a, b = require.widen(features), require.widen(y)
    return (torch.linalg.pinv(a) @ b).to(y.dtype)


def ridge_normal(features: Tensor, y: Tensor, strength: float | Tensor) -> Tensor:
    """Ridge regression by its normal equations, as the formula is read.

        argmin_w ||features w - y||^2 + strength ||w||^2
            =   (F^T F + strength I)^-1 F^T y

    Forming F^T F squares the condition number: half of the digits are gone before
    the work begins. `ridge` keeps them. This one is faster, and good enough where
    the strength is not tiny.

    Args:
        features: F (..., n, K), floating dtype.
        y: targets (..., n, m), dtype of `features`.
        strength: >= 0, a number or a tensor that broadcasts against the leading
            dimensions.

    Returns:
        The weights w (..., K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.
        RuntimeError: F^T F + strength I is singular to working precision
            (`torch.linalg.LinAlgError`).

    Source: Hoerl & Kennard 1970, "Ridge Regression: Biased Estimation for
        Nonorthogonal Problems".
    """
    lifts = require_problem(features, y, strength)
    a, b = require.widen(features), require.widen(y)
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    factor = torch.linalg.cholesky(a.mT @ a + lifts * identity)
    return torch.cholesky_solve(a.mT @ b, factor).to(y.dtype)


def ridge(features: Tensor, y: Tensor, strength: float | Tensor) -> Tensor:
    """Ridge regression, solved without squaring the condition number.

        argmin_w ||features w - y||^2 + strength ||w||^2
        = least squares on  [features; sqrt(strength) I] w = [y; 0],
        by a QR factorisation

    The penalty is not divided by n, and nothing is exempt from it: a constant
    feature is penalised too.

    Args:
        features: (..., n, K), floating dtype.
        y: targets (..., n, m), dtype of `features`.
        strength: > 0, a number or a tensor that broadcasts against the leading
            dimensions.

    Returns:
        The weights w (..., K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, or a strength is not
            positive; with strength 0 it is `least_squares`.

    Source: Hoerl & Kennard 1970; the stacked form, Björck 1996, Numerical Methods
        for Least Squares Problems.
    """
    lifts = require_problem(features, y, strength, positive=True)
    a, b = require.widen(features), require.widen(y)
    K = a.shape[-1]
    roots = (lifts.sqrt() * torch.eye(K, dtype=a.dtype, device=a.device)).expand(
        *a.shape[:-2], K, K
    )
    # (..., n + K, K), (..., K, K)
    q, r = torch.linalg.qr(torch.cat([a, roots], dim=-2))
    return torch.linalg.solve_triangular(
        r, q[..., : a.shape[-2], :].mT @ b, upper=True
    ).to(y.dtype)


def ridge_dual(features: Tensor, y: Tensor, strength: float | Tensor) -> Tensor:
    """Ridge regression through the n x n matrix of inner products: cheaper when K
    is larger than n.

        (F^T F + strength I)^-1 F^T y   =   F^T (F F^T + strength I)^-1 y

    The features enter through their inner products alone, which is where kernel
    methods begin.

    Args:
        features: F (..., n, K), floating dtype.
        y: targets (..., n, m), dtype of `features`.
        strength: >= 0, a number or a tensor that broadcasts against the leading
            dimensions.

    Returns:
        The weights w (..., K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.
        RuntimeError: F F^T + strength I is singular to working precision
            (`torch.linalg.LinAlgError`).

    Source: Saunders, Gammerman & Vovk 1998, "Ridge Regression Learning Algorithm in
        Dual Variables".
    """
    lifts = require_problem(features, y, strength)
    a, b = require.widen(features), require.widen(y)
    identity = torch.eye(a.shape[-2], dtype=a.dtype, device=a.device)
    factor = torch.linalg.cholesky(a @ a.mT + lifts * identity)
    return (a.mT @ torch.cholesky_solve(b, factor)).to(y.dtype)


def ridge_path(features: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
    """Ridge regression for many strengths from one singular value decomposition.

        F = U diag(s) V^T,    w(strength) = V diag(s / (s^2 + strength)) U^T y

    Along each singular direction the fit is shrunk by s^2 / (s^2 + strength):
    hardly where s is large, almost to nothing where s is small. Strength 0 gives
    `least_squares`. Gradients with respect to the features need distinct singular
    values.

    Args:
        features: F (..., n, K), floating dtype; singular values below max(n, K) eps
            of the largest count as 0.
        y: targets (..., n, m), dtype of `features`.
        strengths: (S,), >= 0.

    Returns:
        The weights (..., S, K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical
        Learning, section 3.4.1.
    """
    require_problem(features, y)
    require_strengths(strengths)
    return filtered(
        features, y, lambda s: 1 / (s + strengths.to(s).unsqueeze(-1) / s)
    )


def early_stopped_path(
    features: Tensor, y: Tensor, lr: float, steps: Tensor
) -> Tensor:
    """Gradient descent on half the squared error, from zero, stopped after so many
    steps: in closed form.

        w_0 = 0,   w_{t+1} = w_t - lr F^T (F w_t - y)
        =>    w_t = V diag((1 - (1 - lr s^2)^t) / s) U^T y

    Along each singular direction the fit is shrunk by 1 - (1 - lr s^2)^t, which
    behaves as ridge's s^2 / (s^2 + strength) at strength 1 / (lr t): to stop early
    is to regularise.

    Args:
        features: F (..., n, K), floating dtype.
        y: targets (..., n, m), dtype of `features`.
        lr: learning rate > 0; descent converges where it is below 2 / s_max^2.
        steps: t (T,), whole numbers >= 0, int64 or floating.

    Returns:
        The weights (..., T, K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, `lr` is not positive,
            or a step is negative or not whole.

    Source: Ali, Kolter & Tibshirani 2019, "A Continuous-Time View of Early Stopping
        for Least Squares", arXiv:1810.10082.
    """
    require_problem(features, y)
    require_counts(steps=steps)
    require.shapes(steps=(steps, "T"))
    require.number(lr=lr, above=0)
    return filtered(
        features,
        y,
        lambda s: (1 - (1 - lr * s**2) ** steps.to(s).unsqueeze(-1)) / s,
    )


def filtered(
    features: Tensor, y: Tensor, gain: Callable[[Tensor], Tensor]
) -> Tensor:
    """V diag(gain(s)) U^T y for gains (..., G, r) of the singular values (..., 1,
    r); gain 0 where s is 0."""
    a, b = require.widen(features), require.widen(y)
    # (..., n, r), (..., r), (..., r, K)
    u, s, vt = torch.linalg.svd(a, full_matrices=False)
    kept = s > max(a.shape[-2:]) * torch.finfo(s.dtype).eps * s[..., :1]
    # (..., G, r)
    gains = gain(torch.where(kept, s, 1).unsqueeze(-2)) * kept.unsqueeze(-2)
    parts = (u.mT @ b).unsqueeze(-3)  # (..., 1, r, m)
    return (vt.mT.unsqueeze(-3) @ (gains.unsqueeze(-1) * parts)).to(y.dtype)


def fast_ridge_path(features: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
    """`ridge_path` from the eigenvalues of the smaller Gram matrix: two large
    products and one small problem.

        n >= K:  F^T F = V diag(e) V^T,    w = V diag(1 / (e + strength)) V^T F^T y
        n <  K:  F F^T = U diag(e) U^T,    w = F^T U diag(1 / (e + strength)) U^T y

    Like the normal equations it squares the condition number: relative errors are
    about eps s_max^2 / strength.

    Args:
        features: F (..., n, K), floating dtype.
        y: targets (..., n, m), dtype of `features`.
        strengths: (S,), > 0.

    Returns:
        The weights (..., S, K, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, or a strength is not
            positive.

    Source: Saunders, Gammerman & Vovk 1998 for n < K.
    """
    require_problem(features, y)
    require_strengths(strengths, positive=True)
    a, b = require.widen(features), require.widen(y)
    tall = a.shape[-2] >= a.shape[-1]
    e, q = torch.linalg.eigh(a.mT @ a if tall else a @ a.mT)
    basis = q if tall else a.mT @ q  # (..., K, r)
    parts = (q.mT @ (a.mT @ b if tall else b)).unsqueeze(-3)  # (..., 1, r, m)
    # (..., S, r)
    lifted = e.clamp(min=0).unsqueeze(-2) + strengths.to(e).unsqueeze(-1)
    # (..., r, S m)
    columns = (parts / lifted.unsqueeze(-1)).movedim(-3, -2).flatten(-2)
    # (..., K, S, m)
    weights = (basis @ columns).unflatten(-1, (len(strengths), b.shape[-1]))
    return weights.movedim(-2, -3).to(y.dtype)


# --- How much a fit leans on each example -----------------------------------------


def hat_matrix(features: Tensor, strength: float | Tensor) -> Tensor:
    """The matrix that puts the hat on y: the fitted values are linear in the
    targets.

        H = F (F^T F + strength I)^-1 F^T,    fitted = H y

    H_ii, the leverage, is how much a fit leans on example i: from 0 to 1.

    Args:
        features: F (..., n, K), floating dtype.
        strength: > 0, a number or a tensor that broadcasts against the leading
            dimensions.

    Returns:
        H (..., n, n).

    Raises:
        TypeError: `features` is not floating, or another argument is of a wrong
            kind.
        ValueError: the shape does not fit, a value is not finite, or a strength is
            not positive.

    Source: Hoaglin & Welsch 1978, "The Hat Matrix in Regression and ANOVA".
    """
    require.floating(features=features)
    require.shapes(features=(features, "... n K"))
    y = torch.eye(features.shape[-2], dtype=features.dtype, device=features.device)
    return features @ ridge(
        features, y.expand(*features.shape[:-2], -1, -1), strength
    )


def effective_parameters(features: Tensor, strengths: Tensor) -> Tensor:
    """How many weights a ridge fit uses: the trace of its hat matrix.

        sum_k s_k^2 / (s_k^2 + strength)

    From the rank of the features at strength 0 down to 0.

    Args:
        features: (..., n, K), floating dtype, with singular values s.
        strengths: (S,), >= 0.

    Returns:
        The numbers (..., S).

    Raises:
        TypeError: `features` is not floating, or another argument is of a wrong
            kind.
        ValueError: the shape does not fit, a value is not finite, or a strength is
            negative.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical
        Learning, section 3.4.1.
    """
    require_problem(features, features)
    require_strengths(strengths)
    s = torch.linalg.svdvals(require.widen(features)).unsqueeze(-2)  # (..., 1, r)
    kept = s > max(features.shape[-2:]) * torch.finfo(s.dtype).eps * s[..., :1]
    s = torch.where(kept, s, 1)
    shares = kept / (1 + strengths.to(s).unsqueeze(-1) / s / s)
    return shares.sum(-1).to(features.dtype)


def leave_one_out(features: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
    """The error at each example of the ridge fit that has not seen it, by n fits.

        e_i = y_i - prediction at x_i of the fit to all examples but i

    Args:
        features: (..., n, K), floating dtype, n >= 2.
        y: targets (..., n, m), dtype of `features`.
        strengths: (S,), > 0.

    Returns:
        The errors (..., S, n, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, a strength is not
            positive, or n < 2.

    Source: Stone 1974, "Cross-Validatory Choice and Assessment of Statistical
        Predictions".
    """
    require_problem(features, y, least=2)
    require_strengths(strengths, positive=True)
    errors = []
    for i in range(features.shape[-2]):
        others = torch.arange(features.shape[-2], device=features.device) != i
        # (..., S, K, m)
        weights = ridge_path(features[..., others, :], y[..., others, :], strengths)
        errors.append(
            y[..., None, i, :]
            - (features[..., None, i : i + 1, :] @ weights).squeeze(-2)
        )
    return torch.stack(errors, dim=-2)


def fast_leave_one_out(features: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
    """`leave_one_out` without refitting: the error of one fit, divided by what the
    fit owes to the example.

        e_i = (y_i - fitted_i) / (1 - H_ii)

    All strengths come from the eigenvalues of the smaller Gram matrix.

    Args:
        features: (..., n, K), floating dtype, n >= 2.
        y: targets (..., n, m), dtype of `features`.
        strengths: (S,), > 0.

    Returns:
        The errors (..., S, n, m).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or another argument is
            of a wrong kind.
        ValueError: shapes do not fit, a value is not finite, a strength is not
            positive, or n < 2.

    Source: Allen 1974, "The Relationship between Variable Selection and Data
        Augmentation and a Method for Prediction"; Golub, Heath & Wahba 1979.
    """
    require_problem(features, y, least=2)
    require_strengths(strengths, positive=True)
    a, b = require.widen(features), require.widen(y)
    e, z = scaled_directions(a)
    # (..., S, r)
    shrunk = (e.unsqueeze(-2) + strengths.to(e).unsqueeze(-1)).reciprocal()
    leverage = z.square() @ shrunk.mT  # (..., n, S)
    # (..., r, S m)
    columns = (shrunk.mT.unsqueeze(-1) * (z.mT @ b).unsqueeze(-2)).flatten(-2)
    # (..., n, S, m)
    fitted = (z @ columns).unflatten(-1, (len(strengths), b.shape[-1]))
    return (
        ((b.unsqueeze(-2) - fitted) / (1 - leverage).unsqueeze(-1))
        .movedim(-2, -3)
        .to(y.dtype)
    )


def scaled_directions(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues e (..., r) of the smaller Gram matrix, and Z = U diag(s) (..., n,
    r), with A = Z V^T."""
    if a.shape[-2] >= a.shape[-1]:
        e, v = torch.linalg.eigh(a.mT @ a)
        return e.clamp(min=0), a @ v
    e, u = torch.linalg.eigh(a @ a.mT)
    e = e.clamp(min=0)
    return e, u * e.sqrt().unsqueeze(-2)


# --- Early stopping ---------------------------------------------------------------


def should_stop(losses: list[float], patience: int) -> bool:
    """The rule of early stopping, asked after every epoch.

        stop when the lowest validation loss so far is `patience` epochs old, or
        when a loss is NaN

    A loss that is NaN ends a training at once: its weights, as a rule, will not
    recover.

    Args:
        losses: one validation loss an epoch so far, shape (t,).
        patience: epochs to wait for a new lowest loss, >= 1.

    Returns:
        Whether to stop; the weights to keep are those of the epoch with the lowest
        loss. A scalar bool.

    Raises:
        TypeError: `losses` is no list of numbers, or `patience` no whole number.
        ValueError: `patience` is below 1.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, algorithm 7.1.
    """
    require.sequence(losses=losses)
    require.whole(patience=patience, least=1)
    if any(math.isnan(loss) for loss in losses):
        return True
    early, late = losses[:-patience], losses[-patience:]
    return bool(early) and min(late) >= min(early)


def stopping_time(losses: Tensor, patience: int) -> tuple[Tensor, Tensor]:
    """Where `should_stop` ends whole curves of validation losses, many at once.

        stop = the first epoch at which the lowest loss so far is `patience`
               epochs old, or the loss is NaN, or the last epoch
        best = the epoch of that lowest loss, the one whose weights are kept

    Args:
        losses: (..., T), T >= 1, floating dtype.
        patience: epochs to wait, >= 1.

    Returns:
        best (...) and stop (...), epochs counted from 0, int64; both 0 where the
        first loss is NaN.

    Raises:
        TypeError: `losses` is not floating, or `patience` no whole number.
        ValueError: `patience` is below 1, or there is no epoch.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, algorithm 7.1.
    """
    require.floating(losses=losses)
    require.whole(patience=patience, least=1)
    require.shapes(losses=(losses, "... T"))
    epochs = torch.arange(losses.shape[-1], device=losses.device)
    lowest = (
        losses.detach().nan_to_num(nan=math.inf, posinf=math.inf).cummin(-1).values
    )
    falls = torch.ones_like(lowest, dtype=torch.bool)
    falls[..., 1:] = lowest[..., 1:] < lowest[..., :-1]
    # of the lowest loss so far
    best = torch.where(falls, epochs, 0).cummax(-1).values
    over = (epochs - best >= patience) | losses.isnan() | (epochs == epochs[-1])
    stop = over.int().argmax(-1, keepdim=True)
    return best.gather(-1, stop).squeeze(-1), stop.squeeze(-1)


# --- Symmetry of the start --------------------------------------------------------


@torch.no_grad()
def fill_(model: nn.Module, value: float) -> nn.Module:
    """Gives every weight and bias of a model one value, in place: the start that
    does not work.

        w <- value    for every parameter w

    Args:
        model: any module, with parameters of any shape.
        value: a number.

    Returns:
        The same model.

    Raises:
        TypeError: `model` is no module, or `value` no number.
        ValueError: `value` is not finite.
    """
    require.instance(nn.Module, model=model)
    require.number(value=value)
    for weights in model.parameters():
        weights.fill_(value)
    return model


def row_spread(rows: Tensor) -> Tensor:
    """How far the rows of a matrix are from being all the same.

        max_i ||row_i - mean row||_inf

    Zero for a layer whose units all compute the same.

    Args:
        rows: (..., h, d), floating dtype, h >= 1: the weights of h units.

    Returns:
        The spreads (...).

    Raises:
        TypeError: `rows` is not floating.
        ValueError: there is no row, or no column.
    """
    require.floating(rows=rows)
    require.shapes(rows=(rows, "... h d"))
    return (rows - rows.mean(-2, keepdim=True)).abs().amax((-2, -1))


def distinct_rows(rows: Tensor, tolerance: float = 0.0) -> int:
    """How many rows remain when rows that agree are counted once: the effective
    width of a layer.

        a row counts if it differs from every counted row before it by more than
            `tolerance` in some element

    No `torch.func`: the number is counted by looking at the values.

    Args:
        rows: (h, d), floating dtype, h >= 1: the weights of h units.
        tolerance: >= 0.

    Returns:
        The number of rows, from 1 to h.

    Raises:
        TypeError: `rows` is not floating, or `tolerance` no number.
        ValueError: there is no row or no column, more than one matrix, a value is
            not finite, or `tolerance` is negative.
    """
    require.floating(rows=rows)
    require.shapes(rows=(rows, "h d"))
    require.finite(rows=rows)
    require.number(tolerance=tolerance, least=0)
    counted = rows[:1]
    for row in rows[1:]:
        if bool(((counted - row).abs().amax(-1) > tolerance).all()):
            counted = torch.cat([counted, row[None]])
    return len(counted)


# --- Refusals ---------------------------------------------------------------------


def require_problem(
    features: Tensor,
    y: Tensor,
    strength: float | Tensor = 0.0,
    *,
    positive: bool = False,
    least: int = 1,
) -> Tensor:
    """Checks a regression problem; gives the strength as a tensor (..., 1, 1) of
    the dtype of the solution."""
    require.fitting(features=(features, "... n K"), y=(y, "... n m"))
    require.same_shape(features=features[..., 0], y=y[..., 0])
    require.dim(features, -2, "features", least=least)
    require.finite(features=features, y=y)
    bound = {"above": 0} if positive else {"least": 0}
    require.number_or_tensor(strength=strength, **bound)
    dtype = require.widen(features).dtype
    return torch.as_tensor(strength, dtype=dtype, device=features.device)[
        ..., None, None
    ]


def require_strengths(strengths: Tensor, *, positive: bool = False) -> None:
    """One row of strengths of a penalty."""
    require.floating(strengths=strengths)
    require.shapes(strengths=(strengths, "S"))
    require.finite(strengths=strengths)
    bound = {"above": 0} if positive else {"least": 0}
    require.within(strengths=strengths, **bound)  # type: ignore[arg-type]


def require_counts(**counts: Tensor) -> None:
    """Whole numbers >= 0, int64 or floating."""
    for name, x in counts.items():
        require.tensor(**{name: x})
        if x.dtype != torch.int64:
            require.floating(**{name: x})
        require.finite(**{name: x})
        require.within(least=0, **{name: x})  # type: ignore[arg-type]
        require.values(x == x.round(), f"{name} must hold whole numbers")
