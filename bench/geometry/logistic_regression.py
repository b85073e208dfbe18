"""The races of `logistic_regression`: `python -m bench.geometry.logistic_regression [--record] [--only TEXT]`.

Ours is the book's classifier, theirs scikit-learn's own discriminant analysis and logistic regression,
all fed with the same NumPy arrays. Errors are those of the class probabilities of 1000 rows.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench.race import Race, main
from lbdl.geometry.logistic_regression import closed_form_logistic
from lbdl.geometry.logistic_regression_sklearn import ClosedFormLogisticRegression


def gaussian_classes(
    n: int, d: int, num_classes: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Rows of normal classes that overlap and share a covariance far from round."""
    chance = torch.Generator().manual_seed(0)
    y = torch.randint(num_classes, (n,), generator=chance)
    mix, means = (
        torch.randn(d, d, generator=chance).double(),
        torch.randn(num_classes, d, generator=chance).double(),
    )
    noise = torch.randn(n, d, generator=chance).double()
    # means about 3 standard deviations apart
    return ((2 * d**-0.5 * means[y] + noise) @ mix).to(dtype), y


def posterior(x: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """The class probabilities of the first 1000 rows, all in NumPy's long double; the solve is refined until exact."""
    rows, labels = x.double().numpy().astype(np.longdouble), y.numpy()
    prior = np.bincount(labels).astype(np.longdouble) / len(labels)
    mean = np.stack([rows[labels == k].mean(0) for k in range(num_classes)])
    residual = rows - mean[labels]
    covariance = sum(part.T @ part for part in np.array_split(residual, 20)) / len(
        rows
    )
    inverse, weight = (
        np.linalg.inv(covariance.astype(np.float64)),
        np.zeros_like(mean.T),
    )
    for _ in range(8):
        weight += inverse @ (mean.T - covariance @ weight)
    scores = rows[:1000] @ weight + np.log(prior) - (weight.T * mean).sum(1) / 2
    odds = np.exp(scores - scores.max(1, keepdims=True))
    return torch.from_numpy((odds / odds.sum(1, keepdims=True)).astype(np.float64))


def fit(model: Callable[[], Any], x: Tensor, y: Tensor) -> Callable[[], Any]:
    """The job: fit and give the probabilities of the first 1000 rows."""
    X, labels = x.numpy(), y.numpy()
    return lambda: model().fit(X, labels).predict_proba(X[:1000])


def ours() -> ClosedFormLogisticRegression:
    return ClosedFormLogisticRegression(shrinkage=0.0)


def lsqr() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr")


def races() -> Iterator[Race]:
    for n, d, k, goal in (
        (10_000, 64, 10, 0.7),
        (100_000, 32, 2, 0.7),
        (5_000, 512, 20, 0.7),
    ):
        for dtype in (torch.float64, torch.float32):
            x, y = gaussian_classes(n, d, k, dtype)
            yield Race(
                job=f"fit, ({n}, {d}), {k} classes, {str(dtype)[6:]}",
                peer="LDA(solver='lsqr')",
                goal=goal,
                ours=fit(ours, x, y),
                theirs=fit(lsqr, x, y),
                reference=lambda x=x, y=y, k=k: posterior(x, y, k),
            )
    x, y = gaussian_classes(10_000, 64, 10, torch.float64)
    yield Race(
        job="fit, (10000, 64), 10 classes, float64, its default",
        peer="LDA(solver='svd')",
        goal=0.3,
        ours=fit(ours, x, y),
        theirs=fit(LinearDiscriminantAnalysis, x, y),
        note="a singular value decomposition never forms the covariance: it errs about ten times less here",
    )
    yield Race(
        job="fit with Ledoit-Wolf, (10000, 64), 10 classes, float64",
        peer="LDA('lsqr', shrinkage='auto')",
        goal=0.7,
        ours=fit(ClosedFormLogisticRegression, x, y),
        theirs=fit(
            lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
            x,
            y,
        ),
        note="the peer estimates a strength for each class on standardised features: another estimator",
    )
    yield Race(
        job="fit, (10000, 64), 10 classes, float64, iterated",
        peer="LogisticRegression()",
        goal=0.1,
        ours=fit(ours, x, y),
        theirs=fit(lambda: LogisticRegression(max_iter=1000), x, y),
        note="another estimator of the same model: penalised maximum likelihood, slow on features far from round",
    )
    many = [gaussian_classes(100, 10, 2, torch.float64) for _ in range(200)]
    xs, ys = torch.stack([a for a, _ in many]), torch.stack([b for _, b in many])
    yield Race(
        job="200 data sets (100, 10), 2 classes, weights",
        peer="LDA('lsqr'), one by one",
        goal=0.05,
        ours=lambda: closed_form_logistic(xs, ys)[0],
        theirs=lambda: [lsqr().fit(a.numpy(), b.numpy()).coef_ for a, b in many],
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scikit-learn", "numpy"])
