"""The projections of `sketching` behind scikit-learn's transformer
interface, for its pipelines."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_is_fitted,
    validate_data,
)

from lbdl.geometry.johnson_lindenstrauss import dasgupta_gupta_dimension
from lbdl.geometry.sketching import (
    Projection,
    draw_projection,
    draw_sparse_jl,
    fast_sparse_jl,
    matrix_of,
)

__all__ = ["RandomProjection"]

CHUNK = 2**22  # numbers of a sparse input that are made dense at a time


class RandomProjection(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """A random linear map to fewer features, as a scikit-learn transformer.

        X (n_samples, n_features) -> Y (n_samples, n_components),
        E ||y||^2 = ||x||^2 for every row

    The map is drawn in `fit`, which looks at the shape of X alone. Dense and sparse
    input; float32 stays float32.

    Args:
        n_components: number of features to keep, >= 1, or "auto": enough for all
            training rows at distortion `eps`, by Dasgupta and Gupta's rule.
        kind: "gaussian", "rademacher", "achlioptas", "very_sparse", "hadamard",
            "count_sketch" or "sparse_jl".
        eps: distortion of squared distances that "auto" allows, in (0, 1).
        compute_inverse_components: take the pseudo-inverse in `fit` already, as
            `inverse_components_`; else each `inverse_transform` takes it.
        random_state: seed, `numpy.random.RandomState` or None.

    Raises:
        ValueError: at `fit`, when a parameter is out of range, or "auto" asks for
            more features than there are.

    Source: the interface of `sklearn.random_projection.GaussianRandomProjection`.
    """

    def __init__(
        self,
        n_components: int | str = 100,
        *,
        kind: str = "hadamard",
        eps: float = 0.1,
        compute_inverse_components: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.kind = kind
        self.eps = eps
        self.compute_inverse_components = compute_inverse_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "RandomProjection":
        """Draw the map for rows of this length; `y` is not used."""
        X = validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32]
        )
        self.n_components_ = self.components_wanted(*X.shape)
        seed = int(check_random_state(self.random_state).randint(2**31))
        chance = torch.Generator().manual_seed(seed)
        self.projection_ = fast_projection(
            self.kind,
            self.n_components_,
            X.shape[1],
            generator=chance,
            dtype=torch.float64,
        )
        self.dtype_ = X.dtype
        if self.compute_inverse_components:
            self.inverse_components_ = np.linalg.pinv(self.components_)
        return self

    def components_wanted(self, samples: int, features: int) -> int:
        """The number of components, as a whole number."""
        if self.n_components != "auto":
            wanted = checked_count(self.n_components)
            if wanted > features:
                warnings.warn(
                    f"n_components = {wanted} is more than the {features} features "
                    "of X: nothing is reduced",
                    DataDimensionalityWarning,
                    stacklevel=3,
                )
            return wanted
        wanted = dasgupta_gupta_dimension(max(samples, 2), self.eps)
        if wanted > features:
            raise ValueError(
                f"n_components='auto' asks for {wanted} features at eps={self.eps} "
                f"and {samples} samples, "
                f"but there are only {features}: give a larger eps, or "
                "n_components as a number"
            )
        return wanted

    def transform(self, X: Any) -> np.ndarray:
        """Project the rows of X; returns a dense array of shape (n_samples,
        n_components), dtype of X."""
        check_is_fitted(self)
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            reset=False,
        )
        if not sparse.issparse(X):
            return project(self.projection_, X)
        rows = max(1, CHUNK // X.shape[1])
        parts = [X[i : i + rows].toarray() for i in range(0, X.shape[0], rows)]
        return np.concatenate([project(self.projection_, part) for part in parts])

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The points nearest to the origin that have these images, by the
        pseudo-inverse of `components_`; shape (n_samples, n_features)."""
        check_is_fitted(self)
        X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
        if self.compute_inverse_components:
            return X @ self.inverse_components_.T
        return X @ np.linalg.pinv(self.components_).T

    @property
    def components_(self) -> np.ndarray:
        """The map as a matrix of shape (n_components, n_features): every one of
        them is linear; dtype of the X of `fit`."""
        check_is_fitted(self)
        matrix = matrix_of(
            self.projection_, self.n_features_in_, dtype=torch.float64
        )
        return matrix.numpy().astype(self.dtype_, copy=False)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags


def fast_projection(kind: str, n: int, d: int, **drawn: Any) -> Projection:
    """`draw_projection`, by the fast way where there is one."""
    if kind == "sparse_jl":
        return partial(fast_sparse_jl, sketch=draw_sparse_jl(n, d, **drawn))
    return draw_projection(kind, n, d, **drawn)


def project(projection: Projection, X: np.ndarray) -> np.ndarray:
    """The map applied to the rows of an array."""
    with torch.no_grad():
        return projection(
            torch.from_numpy(np.require(X, requirements=["C", "W"]))
        ).numpy()


def checked_count(n_components: Any) -> int:
    """The number of components, if it is one."""
    if (
        isinstance(n_components, bool)
        or not isinstance(n_components, int | np.integer)
        or n_components < 1
    ):
        raise ValueError(
            "n_components must be 'auto' or a whole number >= 1, got "
            f"{n_components!r}"
        )
    return int(n_components)
