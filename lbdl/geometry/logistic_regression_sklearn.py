"""The closed form of `logistic_regression` as a scikit-learn classifier: for
pipelines and cross-validation."""

from typing import Any

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from lbdl.geometry.logistic_regression import (
    Auto,
    ClassMoments,
    logistic_from_gaussians,
    shrunk_class_moments,
    softmax_from_gaussians,
)

__all__ = ["ClosedFormLogisticRegression"]

# numpy.ndarray: this module speaks scikit-learn's arrays and imports none itself
Array = Any


class ClosedFormLogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression without iteration, for two classes or many.

        P(k | x) = softmax(coef_ x + intercept_)_k
        (two classes: sigmoid for the second)

    Scale the features first (`StandardScaler` in a pipeline): shrinkage pulls the
    covariance towards a round one.

    Args:
        shrinkage: "auto" for Ledoit and Wolf's strength, or a number in [0, 1]; 0
            is plain discriminant analysis and asks for a covariance that is not
            singular.

    After `fit`, for K classes and d features:
        classes_: the labels in order, shape (K,).
        coef_: weights, shape (K, d); (1, d) for two classes.
        intercept_: biases, shape (K,); (1,) for two classes.
        priors_, means_, covariance_: the moments, shapes (K,), (K, d) and (d, d),
            the covariance shrunk.
    All of them are float64, and so are the probabilities, whatever X is.

    Raises:
        ValueError: at `fit`, for a single class, for `shrinkage` outside [0, 1], or
            for a singular covariance.

    Source: Rao 1948, JRSS B 10(2); shrinkage, Ledoit & Wolf 2004. Equal to
        scikit-learn's `LinearDiscriminantAnalysis(
    solver="lsqr", shrinkage=...)` for a number.
    """

    def __init__(self, shrinkage: float | Auto = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Array, y: Array) -> "ClosedFormLogisticRegression":
        """Take the moments of X (n, d) and y (n,), and solve once."""
        X, y = validate_data(self, X, y, dtype=["float64", "float32"])
        check_classification_targets(y)
        encoder = LabelEncoder()
        labels = torch.from_numpy(encoder.fit_transform(y))
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError("y must hold at least 2 classes, got 1 class")
        moments = shrunk_class_moments(
            tensor(X), labels, len(self.classes_), self.shrinkage
        )
        self.priors_, self.means_, self.covariance_ = (
            moment.numpy() for moment in moments
        )
        self.coef_, self.intercept_ = (part.numpy() for part in solve(moments))
        return self

    def decision_function(self, X: Array) -> Array:
        """Logits of X (n, d): shape (n, K); (n,), the log-odds of the second class,
        for two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=["float64", "float32"])
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_log_proba(self, X: Array) -> Array:
        """Logarithms of the class probabilities of X (n, d), shape (n, K)."""
        scores = torch.from_numpy(self.decision_function(X))
        if scores.dim() == 1:
            # (n, 2)
            scores = torch.stack([torch.zeros_like(scores), scores], dim=-1)
        return scores.log_softmax(-1).numpy()

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities of X (n, d), shape (n, K)."""
        return torch.from_numpy(self.predict_log_proba(X)).exp().numpy()

    def predict(self, X: Array) -> Array:
        """The most probable class of each row of X (n, d), shape (n,)."""
        scores = self.decision_function(X)
        return self.classes_[
            (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        ]


def solve(moments: ClassMoments) -> tuple[Tensor, Tensor]:
    """Weights and biases in scikit-learn's shapes: (K, d) and (K,), or (1, d) and
    (1,) for two classes."""
    if moments.prior.shape[-1] == 2:
        weight, bias = logistic_from_gaussians(moments)
        return weight.unsqueeze(0), bias.unsqueeze(0)
    weight, bias = softmax_from_gaussians(moments)
    return weight.mT.contiguous(), bias


def tensor(X: Array) -> Tensor:
    """An array as a tensor: its own memory where that may be written to, a copy
    where not."""
    return torch.from_numpy(X if X.flags.writeable else X.copy())
