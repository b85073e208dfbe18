"""How signals and gradients shrink or grow on their way through many layers, and
what clipping does about it.

A gradient that travels back through D layers is multiplied by D Jacobians. Where
they mostly shrink it, it vanishes; where they mostly stretch it, it explodes.

Hochreiter 1991; Bengio, Simard & Frasconi 1994; Glorot & Bengio 2010; Pascanu et
al. 2013, arXiv:1211.5063.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.gradient_descent import spectral_radius

__all__ = [
    "ACTIVATIONS",
    "MAX_SLOPES",
    "clip_by_global_norm",
    "clip_by_global_norm_",
    "clip_by_norm",
    "power_norms",
    "signal_norms",
    "vanishing_bound",
    "with_spectral_radius",
]

Elementwise = Callable[[Tensor], Tensor]

# The function, and its slope as a function of its value.
ACTIVATIONS: dict[str, tuple[Elementwise, Elementwise]] = {
    "identity": (lambda x: x, torch.ones_like),
    "sigmoid": (torch.sigmoid, lambda y: y * (1 - y)),
    "tanh": (torch.tanh, lambda y: 1 - y * y),
    "relu": (torch.relu, lambda y: (y > 0).to(y.dtype)),
}
MAX_SLOPES = {"identity": 1.0, "sigmoid": 0.25, "tanh": 1.0, "relu": 1.0}


def signal_norms(
    weights: Sequence[Tensor] | Tensor, activation: str, x: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    """Norms of the signal at every depth on the way forward, and of the gradient on
    the way back.

        x_d = phi(x_(d-1) W_d),    g_(d-1) = (g_d * phi'(x_(d-1) W_d)) W_d^T

    Args:
        weights: W_1, ..., W_D, each (..., n, n), floating dtype.
        activation: name of phi in `ACTIVATIONS`.
        x: the input x_0 (..., n).
        g: the gradient g_D at the output (..., n).

    Returns:
        ||x_d|| and ||g_d||, each (D + 1, ...), both in the order d = 0, ..., D.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: the `activation` is unknown, there are no `weights`, shapes do
            not fit, or a tensor is empty.

    Source: Glorot & Bengio 2010, AISTATS, section 4.
    """
    phi, slope = require_chain(weights, activation)
    first: Any = {"weights[0]": (weights[0], "... n n")}
    require.fitting(**first, x=(x, "... n"), g=(g, "... n"))
    require.nonempty(x=x, g=g)
    layers = [require.widen(weight) for weight in weights]
    signals, gradients = [require.widen(x)], [require.widen(g)]
    for weight in layers:
        signals.append(phi((signals[-1].unsqueeze(-2) @ weight).squeeze(-2)))
    for weight, y in zip(reversed(layers), reversed(signals), strict=False):
        back = (gradients[-1] * slope(y)).unsqueeze(-2)
        gradients.append((back @ weight.mT).squeeze(-2))
    return norms(signals).to(x.dtype), norms(gradients[::-1]).to(g.dtype)


def norms(signals: Sequence[Tensor]) -> Tensor:
    """The norms of D + 1 signals (..., n), of any size: (D + 1, ...)."""
    return safe_norm(torch.stack(torch.broadcast_tensors(*signals)), -1).squeeze(-1)


def vanishing_bound(weights: Sequence[Tensor] | Tensor, activation: str) -> Tensor:
    """The most by which a gradient can grow on its way back through all layers.

        ||g_0||  <=  prod_d  max|phi'| ||W_d||_2  ||g_D||

    Args:
        weights: W_1, ..., W_D, each (..., n, n), floating dtype.
        activation: name of phi in `ACTIVATIONS`.

    Returns:
        The factor (...).

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: the `activation` is unknown, there are no `weights`, shapes do
            not fit, or a tensor is empty.

    Source: Pascanu et al. 2013, section 2, arXiv:1211.5063.
    """
    require_chain(weights, activation)
    require.finite(**{f"weights[{i}]": w for i, w in enumerate(weights)})
    layers = [require.widen(weight) for weight in weights]
    stretches = torch.stack([torch.linalg.matrix_norm(w, 2) for w in layers])
    return (MAX_SLOPES[activation] * stretches).prod(0).to(weights[0].dtype)


def power_norms(matrix: Tensor, steps: int) -> Tensor:
    """How much t steps of a linear recurrence can stretch a signal, or a gradient
    on its way back.

        ||W^t||_2  for t = 0, ..., T,    ||W^t||^(1/t) -> the spectral radius of W

    Args:
        matrix: W (..., n, n), floating dtype.
        steps: T >= 0.

    Returns:
        The norms (T + 1, ...).

    Raises:
        TypeError: `matrix` is no floating tensor, or `steps` no whole number.
        ValueError: `matrix` is not square or not finite, or `steps` is negative.

    Source: Gelfand 1941; Pascanu et al. 2013, section 2, arXiv:1211.5063.
    """
    require.square(matrix=matrix)
    require.nonempty(matrix=matrix)
    require.whole(steps=steps, least=0)
    wide = require.widen(matrix)
    power = torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device)
    power, size = power.expand_as(wide), wide.new_ones(wide.shape[:-2])
    found = [size]
    for _ in range(
        steps
    ):  # each power over its largest entry, so that none overflows
        power = power @ wide
        largest = power.detach().abs().amax((-2, -1))
        unit = torch.where(largest > 0, largest, 1)
        power, size = power / unit[..., None, None], size * unit
        found.append(size * torch.linalg.matrix_norm(power, 2))
    return torch.stack(found).to(matrix.dtype)


def with_spectral_radius(matrix: Tensor, radius: float) -> Tensor:
    """The multiple of a matrix whose largest eigenvalue has a given absolute value.

        W radius / rho(W)

    Args:
        matrix: W (..., n, n), floating dtype, with an eigenvalue other than 0.
        radius: the spectral radius asked for, >= 0.

    Returns:
        The scaled matrices (..., n, n).

    Raises:
        TypeError: `matrix` is no floating tensor, or `radius` no number.
        ValueError: `matrix` is not square, not finite, or has no eigenvalue other
            than 0, or `radius` is negative.

    Source: Jaeger 2001, The "echo state" approach, GMD report 148.
    """
    require.square(matrix=matrix)
    require.nonempty(matrix=matrix)
    require.number(radius=radius, least=0)
    wide = require.widen(matrix)
    rho = spectral_radius(wide)
    require.values(rho > 0, "matrix must have an eigenvalue other than 0")
    return (wide * radius / rho[..., None, None]).to(matrix.dtype)


def clip_by_norm(
    g: Tensor, max_norm: float, dim: int | tuple[int, ...] | None = None
) -> Tensor:
    """A gradient no longer than `max_norm`: shortened to it if need be, never
    lengthened, never turned.

        g min(1, c / ||g||)

    Args:
        g: a gradient of any shape, floating dtype, or several along the dimensions
            that `dim` leaves out.
        max_norm: c > 0; inf clips nothing.
        dim: the dimensions over which a norm is taken; all of them when not given.

    Returns:
        The clipped gradient, shape and dtype of `g`. Where g is not finite, neither
        is the result.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `max_norm` is not > 0, or `g` has no dimension `dim`.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require.floating(g=g)
    require.number(max_norm=max_norm, above=0, infinite=True)
    for d in () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim):
        require.dim(g, d, "g", least=0)
    if g.numel() == 0:
        return g.clone()
    return (g * shrinkage(safe_norm(g, dim), max_norm)).to(g.dtype)


def shrinkage(norm: Tensor, max_norm: float) -> Tensor:
    """min(1, c / norm); NaN where the norm is, and no slope below c."""
    return 1 / (norm / max_norm).clamp(min=1)


def clip_by_global_norm(
    gradients: Sequence[Tensor], max_norm: float
) -> tuple[list[Tensor], Tensor]:
    """Several gradients clipped as if they were one long vector: their proportions
    stay.

        g_i min(1, c / ||(g_1, ..., g_P)||)

    `torch.nn.utils.clip_grad_norm_` divides by the norm plus 1e-6; this does not.

    Args:
        gradients: one or more tensors of any shapes, floating dtype.
        max_norm: c > 0; inf clips nothing.

    Returns:
        The clipped gradients, in their shapes and dtypes, and the norm before, a
        scalar, at least float32. Where a gradient is not finite, neither is the
        norm: skip such a step.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `max_norm` is not > 0, or there are no `gradients`.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require.number(max_norm=max_norm, above=0, infinite=True)
    require.floatings(gradients=gradients)
    norm = safe_global_norm(gradients)
    factor = shrinkage(norm, max_norm)
    clipped = [(g * factor.to(g.device)).to(g.dtype) for g in gradients]
    return clipped, norm.to(precision(gradients))


@torch.no_grad()
def clip_by_global_norm_(gradients: Sequence[Tensor], max_norm: float) -> Tensor:
    """`clip_by_global_norm` in place; on a CPU, gradients that are short enough are
    read once and not written.

        g_i <- g_i min(1, c / ||(g_1, ..., g_P)||)

    Args:
        gradients: one or more tensors of any shapes, floating dtype, changed in
            place.
        max_norm: c > 0; inf clips nothing.

    Returns:
        The norm before, a scalar, at least float32; not finite where a gradient is
        not.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `max_norm` is not > 0, or there are no `gradients`.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require.number(max_norm=max_norm, above=0, infinite=True)
    require.floatings(gradients=gradients)
    gradients = list(gradients)
    if any(g.is_cuda for g in gradients):  # to look at the norm would wait
        norm = quick_global_norm(gradients, torch.float64)
        for g in gradients:
            g.mul_(shrinkage(norm, max_norm).to(g.device))
        return norm.to(precision(gradients))
    norm = quick_global_norm(gradients, None)
    if not norm.isfinite():  # perhaps only the squares were too large
        norm = safe_global_norm(gradients)
    if not norm <= max_norm:
        for g in gradients:
            g.mul_(float(shrinkage(norm, max_norm)))
    return norm.to(precision(gradients))


def safe_norm(g: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """The 2-norm over `dim`, which stays, in float64; scaled, so that no square is
    too large or too small."""
    wide = g.double()
    largest = wide.abs().amax(() if dim is None else dim, keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    return scale * torch.linalg.vector_norm(wide / scale, dim=dim, keepdim=True)


def quick_global_norm(
    gradients: Sequence[Tensor], dtype: torch.dtype | None
) -> Tensor:
    """The 2-norm of all gradients as one vector, computed in `dtype` or in
    theirs."""
    place = gradients[0].device
    lengths = [
        torch.linalg.vector_norm(g, dtype=dtype).to(place) for g in gradients
    ]
    return torch.linalg.vector_norm(torch.stack(lengths))


def safe_global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The 2-norm of all gradients as one vector, in float64, whatever their
    size."""
    place = gradients[0].device
    lengths = [safe_norm(g).flatten().to(place) for g in gradients if g.numel()]
    nothing = torch.zeros(1, dtype=torch.float64, device=place)
    return safe_norm(torch.cat([nothing, *lengths])).squeeze()


def precision(gradients: Sequence[Tensor]) -> torch.dtype:
    """The dtype of a norm: that of the gradients, at least float32."""
    return torch.promote_types(gradients[0].dtype, torch.float32)


def require_chain(
    weights: Sequence[Tensor] | Tensor, activation: str
) -> tuple[Elementwise, Elementwise]:
    """Square layers of one dtype, and the two functions of an activation."""
    require.choice(tuple(ACTIVATIONS), activation=activation)
    require.floatings(weights=weights)  # type: ignore[arg-type]
    layers = {f"weights[{i}]": w for i, w in enumerate(weights)}
    patterned: Any = {name: (w, "... n n") for name, w in layers.items()}
    require.fitting(**patterned)
    require.nonempty(**layers)
    return ACTIVATIONS[activation]
