"""How signals and gradients shrink or grow on their way through many layers, and
what clipping does about it.

A gradient that travels back through D layers is multiplied by D Jacobians. Where
they mostly shrink it, it vanishes; where they mostly stretch it, it explodes.

Hochreiter 1991; Bengio, Simard & Frasconi 1994; Glorot & Bengio 2010; Pascanu et
al. 2013, arXiv:1211.5063.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

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
        ValueError: the activation is unknown, or there is no layer.

    Source: Glorot & Bengio 2010, AISTATS, section 4.
    """
    phi, slope = require_chain(weights, activation)
    signals, gradients = [x], [g]
    for weight in weights:
        signals.append(phi((signals[-1].unsqueeze(-2) @ weight).squeeze(-2)))
    for weight, y in zip(reversed(list(weights)), reversed(signals), strict=False):
        gradients.append(
            ((gradients[-1] * slope(y)).unsqueeze(-2) @ weight.mT).squeeze(-2)
        )
    return torch.stack(signals).norm(dim=-1), torch.stack(gradients[::-1]).norm(
        dim=-1
    )


def vanishing_bound(weights: Sequence[Tensor] | Tensor, activation: str) -> Tensor:
    """The most by which a gradient can grow on its way back through all layers.

        ||g_0||  <=  prod_d  max|phi'| ||W_d||_2  ||g_D||

    Args:
        weights: W_1, ..., W_D, each (..., n, n), floating dtype.
        activation: name of phi in `ACTIVATIONS`.

    Returns:
        The factor (...).

    Raises:
        ValueError: the activation is unknown, or there is no layer.

    Source: Pascanu et al. 2013, section 2, arXiv:1211.5063.
    """
    require_chain(weights, activation)
    stretches = torch.stack(
        [torch.linalg.matrix_norm(weight, 2) for weight in weights]
    )
    return (MAX_SLOPES[activation] * stretches).prod(0)


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
        ValueError: `matrix` is not square, or `steps` is negative.

    Source: Gelfand 1941; Pascanu et al. 2013, section 2, arXiv:1211.5063.
    """
    require_square(matrix)
    if steps < 0:
        raise ValueError(f"steps must be >= 0, got {steps}")
    powers = [
        torch.eye(
            matrix.shape[-1], dtype=matrix.dtype, device=matrix.device
        ).expand_as(matrix)
    ]
    for _ in range(steps):
        powers.append(powers[-1] @ matrix)
    return torch.linalg.matrix_norm(torch.stack(powers), 2)


def with_spectral_radius(matrix: Tensor, radius: float) -> Tensor:
    """The multiple of a matrix whose largest eigenvalue has a given absolute value.

        W radius / rho(W)

    Args:
        matrix: W (..., n, n), floating dtype, with an eigenvalue other than 0.
        radius: the spectral radius asked for, >= 0.

    Returns:
        The scaled matrices (..., n, n).

    Raises:
        ValueError: `matrix` is not square, or `radius` is negative.

    Source: Jaeger 2001, The "echo state" approach, GMD report 148.
    """
    require_square(matrix)
    if not radius >= 0:
        raise ValueError(f"radius must be >= 0, got {radius}")
    return matrix * (radius / spectral_radius(matrix))[..., None, None]


def clip_by_norm(
    g: Tensor, max_norm: float, dim: int | tuple[int, ...] | None = None
) -> Tensor:
    """A gradient no longer than `max_norm`: shortened to it if need be, never
    lengthened, never turned.

        g min(1, c / ||g||)

    Args:
        g: a gradient of any shape, floating dtype, or several along the dimensions
            that `dim` leaves out.
        max_norm: c > 0.
        dim: the dimensions over which a norm is taken; all of them when not given.

    Returns:
        The clipped gradient, shape and dtype of `g`. Where g is not finite, neither
        is the result.

    Raises:
        ValueError: `max_norm` is not a number > 0.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require_max_norm(max_norm)
    norm = safe_norm(g, dim)
    return torch.where(norm > max_norm, g * (max_norm / norm), g).to(g.dtype)


def clip_by_global_norm(
    gradients: Sequence[Tensor], max_norm: float
) -> tuple[list[Tensor], Tensor]:
    """Several gradients clipped as if they were one long vector: their proportions
    stay.

        g_i min(1, c / ||(g_1, ..., g_P)||)

    `torch.nn.utils.clip_grad_norm_` divides by the norm plus 1e-6; this does not.

    Args:
        gradients: one or more tensors of any shapes, floating dtype.
        max_norm: c > 0.

    Returns:
        The clipped gradients, in their shapes and dtypes, and the norm before, a
        scalar, at least float32. Where a gradient is not finite, neither is the
        norm: skip such a step.

    Raises:
        ValueError: `max_norm` is not a number > 0, or there is no gradient.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require_gradients(gradients, max_norm)
    norm = safe_global_norm(gradients)
    factor = torch.where(norm > max_norm, max_norm / norm, 1)
    return [(g * factor).to(g.dtype) for g in gradients], norm.to(
        precision(gradients)
    )


@torch.no_grad()
def clip_by_global_norm_(gradients: Sequence[Tensor], max_norm: float) -> Tensor:
    """`clip_by_global_norm` in place; on a CPU, gradients that are short enough are
    read once and not written.

        g_i <- g_i min(1, c / ||(g_1, ..., g_P)||)

    Args:
        gradients: one or more tensors of any shapes, floating dtype, changed in
            place.
        max_norm: c > 0.

    Returns:
        The norm before, a scalar, at least float32; not finite where a gradient is
        not.

    Raises:
        ValueError: `max_norm` is not a number > 0, or there is no gradient.

    Source: Pascanu et al. 2013, Algorithm 1, arXiv:1211.5063.
    """
    require_gradients(gradients, max_norm)
    gradients = list(gradients)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if norm.is_cuda:  # to look at the norm here would wait for the device
        torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1))
        return norm.to(precision(gradients))
    if not norm.isfinite():  # perhaps only the squares were too large
        norm = safe_global_norm(gradients)
    if norm > max_norm:
        torch._foreach_mul_(gradients, float(max_norm / norm))
    return norm.to(precision(gradients))


def safe_norm(g: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """The 2-norm over `dim`, which stays, in float64; scaled, so that no square is
    too large or too small."""
    wide = g.double()
    largest = wide.abs().amax(() if dim is None else dim, keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    return scale * torch.linalg.vector_norm(wide / scale, dim=dim, keepdim=True)


def safe_global_norm(gradients: Sequence[Tensor]) -> Tensor:
    return safe_norm(
        torch.cat([safe_norm(g).flatten() for g in gradients])
    ).squeeze()


def precision(gradients: Sequence[Tensor]) -> torch.dtype:
    return torch.promote_types(gradients[0].dtype, torch.float32)


def require_chain(
    weights: Sequence[Tensor] | Tensor, activation: str
) -> tuple[Elementwise, Elementwise]:
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {', '.join(ACTIVATIONS)}, got "
            f"{activation!r}"
        )
    if len(weights) == 0:
        raise ValueError("weights must hold at least one layer, got none")
    return ACTIVATIONS[activation]


def require_square(matrix: Tensor) -> None:
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(
            f"matrix must be (..., n, n), got shape {tuple(matrix.shape)}"
        )


def require_max_norm(max_norm: float) -> None:
    if not max_norm > 0:
        raise ValueError(f"max_norm must be a number > 0, got {max_norm}")


def require_gradients(gradients: Sequence[Tensor], max_norm: float) -> None:
    require_max_norm(max_norm)
    if len(gradients) == 0:
        raise ValueError("gradients must hold at least one tensor, got none")
