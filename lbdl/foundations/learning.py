"""Learning from examples: models made of basis functions, their risk, and what
keeps it low on new examples.

A model with weights w predicts features(x) @ w. Everything about capacity,
over-fitting and regularisation shows in this one case, where the best weights have
a formula: least squares, its minimum-norm solution past the interpolation
threshold, and ridge regression (Hoerl & Kennard 1970). Bias and variance follow
Geman, Bienenstock & Doursat 1992; double descent follows Belkin et al. 2019,
arXiv:1812.11118, and Belkin, Hsu & Xu 2020, arXiv:1903.07571; leave-one-out errors
without refitting follow Allen 1974.

Targets are columns, y (..., n, m): m problems that share their features. Half
precision is solved in float32 and rounded at the end. The solvers refuse values
that are not finite; that look at the values is the one step that `torch.compile`
does outside its graph.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

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
    "bias_variance",
    "BiasVariance",
    "isotropic_risk",
    "k_folds",
    "wilson_interval",
    "should_stop",
    "stopping_time",
    "shift",
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
        TypeError: `x` is not floating.
        ValueError: `count` is below 1.

    Source: definition.
    """
    require_basis(x, count)
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
        TypeError: `x` is not floating.
        ValueError: `count` is below 1.

    Source: Trefethen 2013, Approximation Theory and Approximation Practice, chapter
        3.
    """
    require_basis(x, count)
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
        TypeError: `x` is not floating.
        ValueError: shapes do not fit, or a plain number `width` is not positive.

    Source: Fleuret 2024, The Little Book of Deep Learning, section 1.2.
    """
    require_centres(x, centres, width)
    # (..., n, K)
    distances = (x.unsqueeze(-2) - centres.unsqueeze(-3)).square().sum(-1)
    return (-distances / (2 * width**2)).exp()


def relu_basis(x: Tensor, directions: Tensor, thresholds: Tensor) -> Tensor:
    """A hidden layer that is not trained: ramps, each flat on one side of a
    hyperplane.

        features_k(x) = max(0, <x, u_k> - t_k)

    Args:
        x: points (..., n, d), floating dtype.
        directions: u (d, K), one column a unit.
        thresholds: t (K,).

    Returns:
        The features (..., n, K).

    Raises:
        TypeError: `x` is not floating.
        ValueError: shapes do not fit.

    Source: Rahimi & Recht 2008, "Weighted Sums of Random Kitchen Sinks"; with ReLU,
        Belkin et al. 2019, arXiv:1812.11118.
    """
    require_floating(x=x)
    if (
        x.dim() < 2
        or directions.shape != (x.shape[-1], *thresholds.shape)
        or thresholds.dim() != 1
    ):
        raise ValueError(
            "need x (..., n, d), directions (d, K), thresholds (K,), got "
            f"{tuple(x.shape)}, {tuple(directions.shape)}, "
            f"{tuple(thresholds.shape)}"
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
        ValueError: a number is below 1.

    Source: Rahimi & Recht 2008, "Weighted Sums of Random Kitchen Sinks", with
        another distribution.
    """
    if d < 1 or count < 1:
        raise ValueError(f"d and count must be >= 1, got {d} and {count}")
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
        TypeError: `x` is not floating.
        ValueError: shapes do not fit, or `width` is not positive.

    Source: Parzen 1962.
    """
    require_centres(x, examples, width)
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
        ValueError: there is no example, `x` and `y` differ in length, or `loss`
            gives no value an example.

    Source: Vapnik 1992, "Principles of Risk Minimization for Learning Theory".
    """
    if x.dim() == 0 or y.dim() == 0 or len(x) == 0 or len(x) != len(y):
        raise ValueError(
            f"x and y must hold the same n >= 1 examples, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    losses = loss(model(x), y)
    if losses.dim() == 0 or len(losses) != len(x):
        raise ValueError(
            f"loss must give one value an example, ({len(x)}, ...), got "
            f"{tuple(losses.shape)}"
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
        The error rates (...), float32. A tie goes to the first of the largest.

    Raises:
        ValueError: shapes do not fit, or there is no example.

    Source: definition.
    """
    if (
        scores.dim() < 2
        or classes.dim() < 1
        or not scores.shape[-2] == classes.shape[-1] > 0
    ):
        raise ValueError(
            "need scores (..., n, K) and classes (..., n) with n >= 1, got "
            f"{tuple(scores.shape)} and "
            f"{tuple(classes.shape)}"
        )
    return (scores.argmax(-1) != classes).float().mean(-1)


# --- Least squares and ridge ------------------------------------------------------


def least_squares(features: Tensor, y: Tensor) -> Tensor:
    """The shortest of all weights that fit best.

        argmin ||w||  among the minimisers of ||features w - y||^2
            =    pinv(features) y

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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, or a value is not finite.

    Source: Penrose 1956, "On best approximate solutions of linear matrix
        equations".
    """
    require_problem(features, y)
    a, b = single(features), single(y)
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.
        RuntimeError: F^T F + strength I is singular to working precision
            (`torch.linalg.LinAlgError`).

    Source: Hoerl & Kennard 1970, "Ridge Regression: Biased Estimation for
        Nonorthogonal Problems".
    """
    lifts = require_problem(features, y, strength)
    a, b = single(features), single(y)
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, or a strength is not
            positive; with strength 0 it is `least_squares`.

    Source: Hoerl & Kennard 1970; the stacked form, Björck 1996, Numerical Methods
        for Least Squares Problems.
    """
    lifts = require_problem(features, y, strength, positive=True)
    a, b = single(features), single(y)
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.
        RuntimeError: F F^T + strength I is singular to working precision
            (`torch.linalg.LinAlgError`).

    Source: Saunders, Gammerman & Vovk 1998, "Ridge Regression Learning Algorithm in
        Dual Variables".
    """
    lifts = require_problem(features, y, strength)
    a, b = single(features), single(y)
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, or a strength is
            negative.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical
        Learning, section 3.4.1.
    """
    require_problem(features, y)
    require_strengths(strengths)
    return filtered(
        features, y, lambda s: s / (s**2 + strengths.to(s).unsqueeze(-1))
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
        steps: t (T,), whole numbers >= 0, any dtype.

    Returns:
        The weights (..., T, K, m).

    Raises:
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, `lr` is not positive,
            or a step is negative.

    Source: Ali, Kolter & Tibshirani 2019, "A Continuous-Time View of Early Stopping
        for Least Squares", arXiv:1810.10082.
    """
    require_problem(features, y)
    require_strengths(steps, "steps")
    if not lr > 0:
        raise ValueError(f"lr must be > 0, got {lr}")
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
    a, b = single(features), single(y)
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, or a strength is not
            positive.

    Source: Saunders, Gammerman & Vovk 1998 for n < K; otherwise definition.
    """
    require_problem(features, y)
    require_strengths(strengths, positive=True)
    a, b = single(features), single(y)
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
        TypeError: `features` is not floating.
        ValueError: the shape does not fit, a value is not finite, or a strength is
            not positive.

    Source: Hoaglin & Welsch 1978, "The Hat Matrix in Regression and ANOVA".
    """
    require_floating(features=features)
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
        TypeError: `features` is not floating.
        ValueError: the shape does not fit, a value is not finite, or a strength is
            negative.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical
        Learning, section 3.4.1.
    """
    require_problem(features, features)
    require_strengths(strengths)
    s = torch.linalg.svdvals(single(features)).unsqueeze(-2)  # (..., 1, r)
    kept = s > max(features.shape[-2:]) * torch.finfo(s.dtype).eps * s[..., :1]
    squares = torch.where(kept, s**2, 1)
    return (
        (kept * squares / (squares + strengths.to(s).unsqueeze(-1)))
        .sum(-1)
        .to(features.dtype)
    )


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
        TypeError: an argument is not floating, or the dtypes differ.
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
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: shapes do not fit, a value is not finite, a strength is not
            positive, or n < 2.

    Source: Allen 1974, "The Relationship between Variable Selection and Data
        Augmentation and a Method for Prediction"; Golub, Heath & Wahba 1979.
    """
    require_problem(features, y, least=2)
    require_strengths(strengths, positive=True)
    a, b = single(features), single(y)
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


# --- Bias and variance, and the second descent ------------------------------------


class BiasVariance(NamedTuple):
    """The two parts of the squared risk of a learning procedure, at every test
    point.

    Args:
        bias_squared: (..., n), how far the mean fit is from the truth.
        variance: (..., n), how far single fits are from the mean fit.

    Source: Geman, Bienenstock & Doursat 1992, "Neural Networks and the
        Bias/Variance Dilemma".
    """

    bias_squared: Tensor
    variance: Tensor


def bias_variance(predictions: Tensor, truth: Tensor) -> BiasVariance:
    """Takes the squared error of repeated fits apart.

        mean_r (f_r(x) - t(x))^2
            =   (mean_r f_r(x) - t(x))^2   +   mean_r (f_r(x) - mean_r f_r(x))^2

    The identity is exact for any number R of fits. As estimates over all training
    sets, the variance is too small by the factor 1 - 1/R, and the squared bias too
    large by variance / R. Noise in the targets adds its own variance on top.

    Args:
        predictions: f_r (R, ..., n), of fits to R independent training sets,
            R >= 2, floating dtype.
        truth: t (..., n), what a fit would predict if it knew the mean of y at each
            x.

    Returns:
        Squared bias and variance, each (..., n).

    Raises:
        TypeError: `predictions` is not floating.
        ValueError: R < 2, or the shapes do not fit.

    Source: Geman, Bienenstock & Doursat 1992, "Neural Networks and the
        Bias/Variance Dilemma".
    """
    require_floating(predictions=predictions)
    if (
        predictions.dim() < 2
        or len(predictions) < 2
        or predictions.shape[-1:] != truth.shape[-1:]
    ):
        raise ValueError(
            "need predictions (R, ..., n) with R >= 2 and truth (..., n), got "
            f"{tuple(predictions.shape)} and "
            f"{tuple(truth.shape)}"
        )
    mean = predictions.mean(0)
    return BiasVariance(
        (mean - truth).square(), (predictions - mean).square().mean(0)
    )


def isotropic_risk(
    used: Tensor, n: int, explained: float | Tensor, unexplained: float | Tensor
) -> Tensor:
    """The exact expected risk of minimum-norm least squares on some of many
    independent Gaussian features.

        x ~ N(0, I),   y = <x, b> + noise,
        the fit sees p coordinates T of x and n examples
        p <= n - 2:   unexplained (1 + p / (n - p - 1))
        p >= n + 2:   explained (1 - n / p) + unexplained (1 + n / (p - n - 1)),
        infinite in between

    Risk is E (y - prediction)^2 on a new example. Past the threshold the variance
    falls again.

    Args:
        used: p, whole numbers >= 0, any shape (...) and dtype.
        n: number of examples, >= 1.
        explained: ||b_T||^2, a number or a tensor that broadcasts against `used`.
        unexplained: ||b outside T||^2 + variance of the noise, likewise.

    Returns:
        The risks (...), float64.

    Raises:
        ValueError: `n` is below 1, or a `used` is negative.

    Source: Belkin, Hsu & Xu 2020, "Two Models of Double Descent for Weak Features",
        arXiv:1903.07571.
    """
    if n < 1 or bool((used < 0).any()):
        raise ValueError(f"need n >= 1 and used >= 0, got {n} and {used}")
    p = used.double()
    below = unexplained * (1 + p / (n - p - 1))
    above = explained * (1 - n / p) + unexplained * (1 + n / (p - n - 1))
    return torch.where(p <= n - 2, below, torch.where(p >= n + 2, above, math.inf))


# --- Judging a model --------------------------------------------------------------


def k_folds(
    n: int, k: int, generator: Generator | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Splits examples into k parts, each of which is held out once.

        every row number is in exactly one held-out part; the sizes differ by at
            most one

    Args:
        n: number of examples.
        k: number of parts, 2 <= k <= n; k = n leaves one out.
        generator: draws a random order; `None` keeps the order there is.

    Returns:
        k pairs of row numbers (rows to fit (n - n_j,), rows held out (n_j,)),
        int64.

    Raises:
        ValueError: not 2 <= k <= n.

    Source: Stone 1974, "Cross-Validatory Choice and Assessment of Statistical
        Predictions".
    """
    if not 2 <= k <= n:
        raise ValueError(f"k must be from 2 to n = {n}, got {k}")
    order = (
        torch.arange(n)
        if generator is None
        else torch.randperm(n, generator=generator).cpu()
    )
    parts = order.tensor_split(k)
    return [(torch.cat(parts[:j] + parts[j + 1 :]), parts[j]) for j in range(k)]


def wilson_interval(
    hits: Tensor, n: int | Tensor, confidence: float = 0.95
) -> tuple[Tensor, Tensor]:
    """What a count of hits among n independent tries says about the true
    probability.

        all p with  |hits/n - p| <= z sqrt(p (1 - p) / n),
        z the normal quantile at (1 + confidence) / 2

    Unlike hits/n +- z sqrt(...) it stays within [0, 1] and does not shrink to a
    point at 0 or n hits.

    Args:
        hits: numbers of hits, 0 <= hits <= n, any shape (...) and dtype.
        n: number of tries >= 1, a number or a tensor (...).
        confidence: in (0, 1).

    Returns:
        The lower and the upper ends, each (...), float64.

    Raises:
        ValueError: `confidence` is outside (0, 1), or not 0 <= hits <= n with
            n >= 1.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical
        Inference".
    """
    n = torch.as_tensor(n, dtype=torch.float64, device=hits.device)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if bool((n < 1).any()) or bool((hits < 0).any()) or bool((hits > n).any()):
        raise ValueError(
            f"need 0 <= hits <= n and n >= 1, got hits {hits} and n {n}"
        )
    z = torch.special.ndtri(
        torch.tensor((1 + confidence) / 2, dtype=torch.float64, device=hits.device)
    )
    share = hits.double() / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = (
        z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)).sqrt()
    )
    return (centre - reach).clamp(min=0), (centre + reach).clamp(max=1)


def should_stop(losses: list[float], patience: int) -> bool:
    """The rule of early stopping, asked after every epoch.

        stop when the lowest validation loss so far is `patience` epochs old

    Args:
        losses: one validation loss an epoch so far, shape (t,); NaN counts as
            infinite.
        patience: epochs to wait for a new lowest loss, >= 1.

    Returns:
        Whether to stop; the weights to keep are those of the epoch with the lowest
        loss. A scalar bool.

    Raises:
        ValueError: `patience` is below 1.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, algorithm 7.1.
    """
    require_patience(patience)
    known = [math.inf if math.isnan(loss) else loss for loss in losses]
    return len(known) > patience and min(known[-patience:]) >= min(
        known[:-patience]
    )


def stopping_time(losses: Tensor, patience: int) -> tuple[Tensor, Tensor]:
    """Where `should_stop` ends whole curves of validation losses, many at once.

        stop = the first epoch at which the lowest loss so far is `patience` epochs
            old, or the last epoch
        best = the epoch of that lowest loss, the one whose weights are kept

    Args:
        losses: (..., T), T >= 1, floating dtype; NaN counts as infinite.
        patience: epochs to wait, >= 1.

    Returns:
        best (...) and stop (...), epochs counted from 0, int64.

    Raises:
        TypeError: `losses` is not floating.
        ValueError: `patience` is below 1, or there is no epoch.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, algorithm 7.1.
    """
    require_floating(losses=losses)
    require_patience(patience)
    if losses.dim() == 0 or losses.shape[-1] == 0:
        raise ValueError(
            f"losses must be (..., T) with T >= 1, got shape {tuple(losses.shape)}"
        )
    epochs = torch.arange(losses.shape[-1], device=losses.device)
    lowest = (
        losses.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        .cummin(-1)
        .values
    )
    falls = torch.cat(
        [
            torch.ones_like(lowest[..., :1], dtype=torch.bool),
            lowest.diff(dim=-1) < 0,
        ],
        -1,
    )
    # the epoch of the lowest loss so far
    best = torch.where(falls, epochs, 0).cummax(-1).values
    over = (epochs - best >= patience) | (epochs == epochs[-1])
    stop = over.int().argmax(-1, keepdim=True)
    return best.gather(-1, stop).squeeze(-1), stop.squeeze(-1)


# --- Augmentation -----------------------------------------------------------------


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Images moved by whole pixels, with empty paper coming in at the edge.

        shifted[i, j] = images[i - down, j - right],  or 0 outside

    Args:
        images: (..., H, W), any dtype.
        down: pixels to move down; negative moves up.
        right: pixels to move to the right; negative moves left.

    Returns:
        The moved images (..., H, W).

    Raises:
        ValueError: `images` has fewer than two dimensions.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document
        Recognition" (distorted digits).
    """
    if images.dim() < 2:
        raise ValueError(
            f"images must be (..., H, W), got shape {tuple(images.shape)}"
        )
    H, W = images.shape[-2:]
    down, right = max(-H, min(down, H)), max(-W, min(right, W))
    return nn.functional.pad(images, (right, -right, down, -down))


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

    Source: definition.
    """
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

    Source: definition.
    """
    require_rows(rows)
    return (rows - rows.mean(-2, keepdim=True)).abs().amax((-2, -1))


def distinct_rows(rows: Tensor, tolerance: float = 0.0) -> int:
    """How many rows remain when rows that agree are counted once: the effective
    width of a layer.

        a row counts if it differs from every counted row before it by more than
            `tolerance` in some element

    Args:
        rows: (h, d), floating dtype, h >= 1: the weights of h units.
        tolerance: >= 0.

    Returns:
        The number of rows, from 1 to h.

    Raises:
        TypeError: `rows` is not floating.
        ValueError: there is no row or no column, more than one matrix, or
            `tolerance` is negative.

    Source: definition.
    """
    require_rows(rows)
    if rows.dim() != 2 or not tolerance >= 0:
        raise ValueError(
            f"need rows (h, d) and tolerance >= 0, got shape {tuple(rows.shape)} "
            f"and {tolerance}"
        )
    counted = rows[:1]
    for row in rows[1:]:
        if bool(((counted - row).abs().amax(-1) > tolerance).all()):
            counted = torch.cat([counted, row[None]])
    return len(counted)


# --- Refusals ---------------------------------------------------------------------


def single(x: Tensor) -> Tensor:
    """At least float32: factorisations know no half precision."""
    return x.float() if x.dtype.itemsize < 4 else x


def require_floating(**tensors: Tensor) -> None:
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"{name} must be a floating tensor, got "
                f"{getattr(x, 'dtype', type(x).__name__)}"
            )


def require_basis(x: Tensor, count: int) -> None:
    require_floating(x=x)
    if count < 1:
        raise ValueError(f"count must be >= 1, got {count}")


def require_centres(x: Tensor, centres: Tensor, width: float | Tensor) -> None:
    require_floating(x=x)
    if (
        x.dim() < 2
        or centres.dim() < 2
        or x.shape[-1] != centres.shape[-1]
        or centres.shape[-2] == 0
    ):
        raise ValueError(
            "need points (..., n, d) and K >= 1 centres (..., K, d), got "
            f"{tuple(x.shape)} and "
            f"{tuple(centres.shape)}"
        )
    if not isinstance(width, Tensor) and not width > 0:
        raise ValueError(f"width must be > 0, got {width}")


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
    require_floating(features=features, y=y)
    if features.dtype != y.dtype:
        raise TypeError(
            f"features and y must have one dtype, got {features.dtype} and "
            f"{y.dtype}"
        )
    if features.dim() < 2 or features.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            "need features (..., n, K) and y (..., n, m), got "
            f"{tuple(features.shape)} and {tuple(y.shape)}"
        )
    if features.shape[-2] < least or features.shape[-1] < 1:
        raise ValueError(
            f"features need n >= {least} and K >= 1, got shape "
            f"{tuple(features.shape)}"
        )
    for name, x in (("features", features), ("y", y)):
        if not bool(x.isfinite().all()):
            raise ValueError(f"{name} must be finite, got nan or inf")
    strengths = torch.as_tensor(strength, device=features.device).to(
        single(features).dtype
    )
    require_strengths(strengths, "strength", positive=positive, dim=None)
    return strengths[..., None, None]


def require_strengths(
    strengths: Tensor,
    name: str = "strengths",
    *,
    positive: bool = False,
    dim: int | None = 1,
) -> None:
    if dim is not None and (strengths.dim() != dim or len(strengths) == 0):
        raise ValueError(
            f"{name} must be one row of one or more numbers, got shape "
            f"{tuple(strengths.shape)}"
        )
    allowed = (strengths > 0) if positive else (strengths >= 0)
    if not bool((allowed & strengths.isfinite()).all()):
        raise ValueError(
            f"{name} must be finite and {'>' if positive else '>='} 0, got "
            f"{strengths.tolist()}"
        )


def require_patience(patience: int) -> None:
    if patience < 1:
        raise ValueError(f"patience must be >= 1, got {patience}")


def require_rows(rows: Tensor) -> None:
    require_floating(rows=rows)
    if rows.dim() < 2 or 0 in rows.shape[-2:]:
        raise ValueError(
            "rows must be (..., h, d) with h, d >= 1, got shape "
            f"{tuple(rows.shape)}"
        )
