"""HiPPO: a history as coefficients of orthogonal functions, and the linear system
that keeps them up to date.

Two questions decide the system: which part of the past is remembered, the last
`window` or all of it, and by which functions, Legendre polynomials or Fourier
waves.

    LegT, Fourier    x' = A x + B u            the last `window`
    LegS             x' = (A x + B u) / t      all since time 0

A place in the remembered part is a number s from -1, its oldest moment, to 1, now.
Legendre coefficients come in three scales: "probability", orthonormal under the
mean over s (the paper's; coefficient 0 is the mean of u), "lebesgue", orthonormal
under the integral over s from -1 to 1, and "legendre", the plain coefficients of
P_n.

Sources: Gu, Dao, Ermon, Rudra & Ré 2020, "HiPPO: Recurrent memory with optimal
polynomial projections", arXiv:2008.07669; Voelker, Kajic & Eliasmith 2019,
"Legendre memory units".
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.state_space.systems import require_dtype, rescale

__all__ = [
    "SCALES",
    "legendre",
    "basis",
    "hippo_legt",
    "hippo_legs",
    "hippo_lmu",
    "hippo_fourier",
    "hippo_fourier_legs",
    "gauss_legendre",
    "project",
    "project_held",
    "reconstruct",
]

Scale = Literal["probability", "lebesgue", "legendre"]
SCALES = ("probability", "lebesgue", "legendre")

# --- The functions ----------------------------------------------------------------


def legendre(s: Tensor, N: int) -> Tensor:
    """The first N Legendre polynomials, by their recurrence.

        P_0 = 1,   P_1 = s,   P_{n+1} = (1 + w) s P_n - w P_{n-1},   w = n / (n + 1)

    >>> legendre(torch.tensor([1.0, 0.5]), 3)
    tensor([[ 1.0000,  1.0000,  1.0000],
            [ 1.0000,  0.5000, -0.1250]])

    Args:
        s: places (...), floating dtype; [-1, 1] is where they are orthogonal.
        N: how many, >= 1.

    Returns:
        P_0(s) ... P_{N-1}(s), shape (..., N), float32 for half precision.

    Raises:
        TypeError: `s` is not a floating tensor, or `N` not a whole number.
        ValueError: `N` < 1.
    """
    require.floating(s=s)
    require.whole(N=N, least=1)
    s = require.widen(s)
    values = [torch.ones_like(s), s]
    for n in range(1, N - 1):
        weight = n / (n + 1)
        values.append((1 + weight) * s * values[n] - weight * values[n - 1])
    return torch.stack(values[:N]).movedim(0, -1)


def basis(s: Tensor, N: int, scale: Scale = "probability") -> Tensor:
    """The functions whose coefficients the memory holds.

        g_n = sqrt(2n + 1) P_n,   sqrt((2n + 1) / 2) P_n   or   P_n

    for the scales "probability", "lebesgue" and "legendre".

    Args:
        s: places (...), floating dtype.
        N: how many, >= 1.
        scale: "probability", "lebesgue" or "legendre".

    Returns:
        g_0(s) ... g_{N-1}(s), shape (..., N), float32 for half precision.

    Raises:
        TypeError: `s` is not a floating tensor, or `N` not a whole number.
        ValueError: `N` < 1, or the scale is unknown.
    """
    P = legendre(s, N)
    return P * heights(N, scale, P)


def heights(N: int, scale: Scale, like: Tensor) -> Tensor:
    """g_n(1), the factor between P_n and the function g_n of the scale: (N,)."""
    require.choice(SCALES, scale=scale)
    odd = 2 * torch.arange(N).to(like) + 1
    return {
        "probability": odd.sqrt(),
        "lebesgue": (odd / 2).sqrt(),
        "legendre": torch.ones_like(odd),
    }[scale]


# --- The systems ------------------------------------------------------------------


def hippo_legt(
    N: int,
    window: float = 1.0,
    scale: Scale = "probability",
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """The memory of the last `window`: x' = A x + B u keeps Legendre coefficients
    of u on [t - window, t].

        A_nk = -(1 / window) sqrt((2n + 1)(2k + 1)) (1 if k < n else (-1)^(n - k))
        B_n  =  (1 / window) sqrt(2n + 1)

    in the scale "probability". The value that leaves the window is not known; the
    system reads it from its own coefficients, which is the only approximation.

    Args:
        N: number of coefficients, >= 1.
        window: its length in time, > 0.
        scale: "probability", "lebesgue" or "legendre".
        dtype: a real floating dtype.

    Returns:
        A (N, N) and B (N,).

    Raises:
        TypeError: `N` is not a whole number, `window` not a number, or `dtype` not
            a floating dtype.
        ValueError: `N` < 1, `window` <= 0, or the scale is unknown.

    Source: Gu et al. 2020, theorem 1, arXiv:2008.07669.
    """
    require_sizes(N, window, dtype)
    n = torch.arange(N, dtype=torch.float64)
    v = (2 * n + 1).sqrt()
    A = -torch.outer(v, v) * torch.where(below(n), 1.0, signs(n))
    return in_scale(A / window, v / window, scale, dtype)


def hippo_legs(
    N: int, scale: Scale = "probability", *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """The memory of all since time 0: x' = (A x + B u) / t keeps Legendre
    coefficients of u on [0, t], exactly.

        A_nk = -sqrt((2n + 1)(2k + 1))  (k < n),    -(n + 1)  (k = n),    0  (k > n)
        B_n  =  sqrt(2n + 1)

    in the scale "probability".

    >>> A, B = hippo_legs(2)
    >>> A
    tensor([[-1.0000,  0.0000],
            [-1.7321, -2.0000]], dtype=torch.float64)

    Args:
        N: number of coefficients, >= 1.
        scale: "probability", "lebesgue" or "legendre".
        dtype: a real floating dtype.

    Returns:
        A (N, N), lower triangular, and B (N,).

    Raises:
        TypeError: `N` is not a whole number, or `dtype` not a floating dtype.
        ValueError: `N` < 1, or the scale is unknown.

    Source: Gu et al. 2020, theorem 2, arXiv:2008.07669.
    """
    require_sizes(N, 1.0, dtype)
    n = torch.arange(N, dtype=torch.float64)
    v = (2 * n + 1).sqrt()
    A = torch.outer(-v, v).tril(-1) - torch.diag(n + 1)
    return in_scale(A, v, scale, dtype)


def hippo_lmu(
    N: int, window: float = 1.0, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """The matrices of the Legendre memory unit, in the paper's form.

        A_ij = (2i + 1) / window (-1 if i < j else (-1)^(i - j + 1))
        B_i  = (2i + 1) / window (-1)^i

    It is `hippo_legt` in the scale "legendre" with the sign of every odd
    coefficient flipped: the unit's polynomials run from now to the past, HiPPO's
    from the past to now, and P_n(-s) = (-1)^n P_n(s).

    Args:
        N: number of coefficients, >= 1.
        window: its length in time, > 0.
        dtype: a real floating dtype.

    Returns:
        A (N, N) and B (N,).

    Raises:
        TypeError: `N` is not a whole number, `window` not a number, or `dtype` not
            a floating dtype.
        ValueError: `N` < 1, or `window` <= 0.

    Source: Voelker, Kajic & Eliasmith 2019, "Legendre memory units".
    """
    require_sizes(N, window, dtype)
    i = torch.arange(N, dtype=torch.float64)
    odd = (2 * i + 1) / window
    A = odd[:, None] * torch.where(below(i).mT, -1.0, -signs(i))
    return A.to(dtype), (odd * signs(i)[:, 0]).to(dtype)


def hippo_fourier(
    N: int,
    window: float = 1.0,
    closure: Literal["mean", "end"] = "mean",
    *,
    dtype: torch.dtype = torch.complex128,
) -> tuple[Tensor, Tensor]:
    """The memory of the last `window` by waves e^{2 pi i n r}, r from 0 (oldest) to
    1 (now), n = -N ... N.

        "end"     A_nk = (2 pi i n [n = k] - 1) / window,      B_n = 1 / window
        "mean"    A_nk = (2 pi i n [n = k] - 2) / window,      B_n = 2 / window

    The value that leaves the window is read from the series at its end. There a
    Fourier series converges to the mean of both ends; "mean" takes this into
    account. "end", the form of the paper, takes the sum for the oldest value
    itself: its state converges to that of an input with echoes, 2/3 (u(t) + u(t -
    window)/3 + ...).

    Args:
        N: the highest frequency, >= 0.
        window: its length in time, > 0.
        closure: "mean" or "end".
        dtype: a complex dtype.

    Returns:
        A (2N + 1, 2N + 1) and B (2N + 1,).

    Raises:
        TypeError: `N` is not a whole number, `window` not a number, or `dtype` not
            a complex dtype.
        ValueError: `N` < 0, `window` <= 0, or the closure is unknown.

    Source: Gu et al. 2020, arXiv:2008.07669 ("end"); Gu et al. 2023,
    "How to train your HiPPO", arXiv:2206.12037 ("mean", in real form).
    """
    n = frequencies(N, dtype)
    require.number(window=window, above=0)
    require.choice(("mean", "end"), closure=closure)
    weight = 2.0 if closure == "mean" else 1.0
    A = torch.diag(2j * torch.pi * n) - weight
    B = torch.full_like(n, weight)
    return (A / window).to(dtype), (B / window).to(dtype)


def hippo_fourier_legs(
    N: int, *, dtype: torch.dtype = torch.complex128
) -> tuple[Tensor, Tensor]:
    """The memory of all since time 0 by waves e^{2 pi i n r}, n = -N ... N: x' = (A
    x + B u) / t.

        A_nn = pi i n - 1,    A_nk = -n / (n - k)  (k != n),    B_n = 1

    Exact before the series is cut off at N, not after: frequency n hears from all
    others.

    Args:
        N: the highest frequency, >= 0.
        dtype: a complex dtype.

    Returns:
        A (2N + 1, 2N + 1) and B (2N + 1,).

    Raises:
        TypeError: `N` is not a whole number, or `dtype` not a complex dtype.
        ValueError: `N` < 0.
    """
    n = frequencies(N, dtype)
    gap = n[:, None] - n
    off = -n[:, None] / torch.where(gap == 0, 1.0, gap)
    diagonal = torch.diag(1j * torch.pi * n - 1)
    A = off * (gap != 0) + diagonal
    return A.to(dtype), torch.ones_like(n).to(dtype)


def below(n: Tensor) -> Tensor:
    """Where the column comes before the row: (N, N), True below the diagonal."""
    return n < n[:, None]


def signs(n: Tensor) -> Tensor:
    """(-1)^(n - k), shape (N, N)."""
    return 1 - 2 * ((n[:, None] - n) % 2)


def in_scale(
    A: Tensor, B: Tensor, scale: Scale, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A system in the scale "probability", brought to another scale and dtype."""
    N = len(B)
    ratio = heights(N, scale, B) / heights(N, "probability", B)
    A, B = rescale(A, B, ratio)
    return A.to(dtype), B.to(dtype)


def frequencies(N: int, dtype: torch.dtype) -> Tensor:
    """The frequencies -N ... N, complex, of double precision: (2N + 1,)."""
    require.whole(N=N, least=0)
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_complex:
        raise TypeError(f"dtype must be a complex dtype, got {dtype}")
    return torch.arange(-N, N + 1).to(torch.complex128)


def require_sizes(N: int, window: float, dtype: torch.dtype) -> None:
    """Refuse what is no number of coefficients, no window, no dtype."""
    require.whole(N=N, least=1)
    require.number(window=window, above=0)
    require_dtype(dtype)


# --- The coefficients themselves, without a system --------------------------------


def gauss_legendre(
    n: int, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Places and weights that integrate every polynomial of degree 2n - 1 over [-1,
    1] exactly.

        integral of f  =  sum_i weights_i f(places_i)

    The places are the eigenvalues of the symmetric matrix of the Legendre
    recurrence.

    Args:
        n: how many, >= 1.
        dtype: a real floating dtype.

    Returns:
        places (n,), ascending, and weights (n,), which sum to 2.

    Raises:
        TypeError: `n` is not a whole number, or `dtype` not a floating dtype.
        ValueError: `n` < 1.

    Source: Golub & Welsch 1969, "Calculation of Gauss quadrature rules".
    """
    require.whole(n=n, least=1)
    require_dtype(dtype)
    k = torch.arange(1, n, dtype=torch.float64)
    beside = k / (4 * k**2 - 1).sqrt()
    places = torch.linalg.eigvalsh(torch.diag(beside, -1))
    squares = basis(places, n).square().sum(-1)
    return places.to(dtype), (2 / squares).to(dtype)


def project(
    u: Callable[[Tensor], Tensor],
    t: float,
    N: int,
    window: float | None = None,
    scale: Scale = "probability",
    *,
    points: int = 256,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The coefficients of a known function on [t - window, t], by quadrature: what
    the system should hold.

        c_n = mean over s in [-1, 1] of u(t - window (1 - s) / 2) g_n(s)

    in the scale "probability"; in each scale so that u is near sum_n c_n g_n.

    Args:
        u: the function, from times (points,) to values (points,).
        t: the present.
        N: number of coefficients, >= 1.
        window: length of the remembered part, > 0; by default all since time 0.
        scale: "probability", "lebesgue" or "legendre".
        points: of the quadrature, >= 1.
        dtype: a real floating dtype.

    Returns:
        c (N,).

    Raises:
        TypeError: `u` is not a function, `N` or `points` not a whole number, `t` or
            `window` not a number, or `dtype` not a floating dtype.
        ValueError: `N` or `points` < 1, the window is empty, the scale is unknown,
            or `u` changes the shape.
    """
    require.function(u=u)
    require.number(t=t)
    require.whole(points=points, least=1)
    length = t if window is None else window
    require_sizes(N, length, dtype)
    s, weights = gauss_legendre(points, dtype=dtype)
    values = u(t - length * (1 - s) / 2)
    if values.shape != s.shape:
        raise ValueError(
            f"u must give {points} values for {points} times, "
            f"got shape {tuple(values.shape)}"
        )
    means = (values * weights / 2) @ basis(s, N)
    return means * heights(N, "probability", means) / heights(N, scale, means)


def project_held(u: Tensor, N: int) -> Tensor:
    """The coefficients of samples that are held, on all of their time, in closed
    form: what exact LegS should hold.

        c_n = 1/2 sum_k u_k integral of g_n over the k-th of L equal parts of [-1,
        1]

    by the integral of P_n, (P_{n+1} - P_{n-1}) / (2n + 1), in the scale
    "probability".

    Args:
        u: samples (..., L), floating dtype, L >= 1.
        N: number of coefficients, >= 1.

    Returns:
        c (..., N), float32 for half precision.

    Raises:
        TypeError: `u` is not a floating tensor, or `N` not a whole number.
        ValueError: `u` holds no sample, or `N` < 1.
    """
    require.floating(u=u)
    L = require.shapes(u=(u, "... L"))["L"]
    require.whole(N=N, least=1)
    u = require.widen(u)
    edges = torch.linspace(-1, 1, L + 1, dtype=torch.float64, device=u.device)
    P = legendre(edges, N + 1)
    odd = 2 * torch.arange(1, N).to(P) + 1
    inner = (P[:, 2:] - P[:, :-2]) / odd
    whole = torch.cat([edges[:, None], inner], -1)  # (L + 1, N)
    shares = whole.diff(dim=0) * heights(N, "probability", P) / 2
    return u @ shares.to(u.dtype)


def reconstruct(c: Tensor, s: Tensor, scale: Scale = "probability") -> Tensor:
    """The remembered signal at places s of the window: -1 is its oldest moment, 1
    is now.

        sum_n c_n g_n(s)

    Args:
        c: coefficients (..., N), floating dtype, N >= 1.
        s: places (L,), floating dtype.
        scale: "probability", "lebesgue" or "legendre".

    Returns:
        Values (..., L), dtype of `c`, float32 for half precision.

    Raises:
        TypeError: an argument is not a floating tensor.
        ValueError: shapes do not fit, or the scale is unknown.
    """
    require.floating(c=c, s=s)
    N = require.shapes(c=(c, "... N"))["N"]
    require.shapes(s=(s, "L"))
    c = require.widen(c)
    return c @ basis(s, N, scale).mT.to(c.dtype)
