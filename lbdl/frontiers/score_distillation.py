"""Score distillation: a student that draws in one step is taught by a denoiser
that would need many.

Student and teacher are compared by their scores, at every noise level. The losses
of score identity distillation and the game behind them; a student of finitely many
points, about which everything is known; the loss of a training; and the sliced
Wasserstein distance of two samples, to judge by.

Zhou et al. 2024, arXiv:2404.04057 (score identity distillation); Rabin et al. 2011
(the sliced distance).
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from lbdl import require
from lbdl.frontiers.diffusion import Mixture, noised, score

__all__ = [
    "atoms",
    "distillation_loss",
    "exact_loss",
    "exact_noise",
    "fast_sliced_wasserstein",
    "game_value",
    "gauss_hermite",
    "random_directions",
    "sid_loss",
    "sliced_wasserstein",
    "three_forms",
]


# --- Losses of one point ----------------------------------------------------------


def three_forms(
    teacher: Tensor, student: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Three losses with one mean, if the student's guess is the best one.

        l1 = |e_t - e_s|^2
        l2 = <e_t - e_s, e_t - e>
        l3 = |e_t - e|^2 + |e_s|^2 - d

    Args:
        teacher: e_t (..., d), what the teacher takes for the noise, floating dtype.
        student: e_s, what the denoiser of the student's points takes for it; shape
            and dtype of `teacher`.
        noise: e, the noise; shape and dtype of `teacher`.

    Returns:
        l1, l2 and l3, each (...), dtype of `teacher`. Half precision is computed in
        float32.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes differ, or there is no coordinate.

    Source: l1 and l2: Zhou et al. 2024, arXiv:2404.04057; l3 by the same exchange.
    """
    require_points(teacher=teacher, student=student, noise=noise)
    t, s, e = (require.widen(x) for x in (teacher, student, noise))
    l1, l2 = squares(t - s), ((t - s) * (t - e)).sum(-1)
    l3 = squares(t - e) + squares(s) - t.shape[-1]
    return l1.to(t.dtype), l2.to(t.dtype), l3.to(t.dtype)


def sid_loss(
    teacher: Tensor, student: Tensor, target: Tensor, alpha: float | Tensor = 0.5
) -> Tensor:
    """The loss that score identity distillation trains a generator with.

        l2 - alpha l1 = <t - s, t - y> - alpha |t - s|^2

    t, s and y are noise, or all three are data: then the loss is (b / a)^2 times as
    large, for a x_0 + b e.

    Args:
        teacher: t (..., d), the teacher's guess, floating dtype.
        student: s, the guess of the denoiser of the student's points; shape and
            dtype of `teacher`.
        target: y, what they guess; shape and dtype of `teacher`.
        alpha: 1/2 is half the `game_value`; more pushes points to where the two
            disagree. A number, or a tensor (...), one for each point.

    Returns:
        (...), dtype of `teacher`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes differ, there is no coordinate, or `alpha` is not finite.

    Source: Zhou et al. 2024, arXiv:2404.04057, and its published code.
    """
    require_points(teacher=teacher, student=student, target=target)
    require_settings(teacher, teacher.shape[:-1], alpha=alpha)
    t, s, y = (require.widen(x) for x in (teacher, student, target))
    apart = t - s
    loss = (apart * (t - y)).sum(-1) - alpha * squares(apart)
    return loss.to(teacher.dtype)


def game_value(teacher: Tensor, student: Tensor, target: Tensor) -> Tensor:
    """By how much the student's denoiser beats the teacher, on the student's data.

        |t - y|^2 - |s - y|^2 = 2 l2 - l1

    The student's denoiser wants it large, the generator small.

    Args:
        teacher: t (..., d), the teacher's guess, floating dtype.
        student: s, the guess of the denoiser of the student's points; shape and
            dtype of `teacher`.
        target: y, what they guess; shape and dtype of `teacher`.

    Returns:
        (...), dtype of `teacher`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes differ, or there is no coordinate.

    Source: Zhou et al. 2024, arXiv:2404.04057, for l1 and l2; the chapter derives
        the identity.
    """
    require_points(teacher=teacher, student=student, target=target)
    t, s, y = (require.widen(x) for x in (teacher, student, target))
    return (squares(t - y) - squares(s - y)).to(teacher.dtype)


# --- A student about which everything is known ------------------------------------


def atoms(points: Tensor) -> Mixture:
    """The law of a student that can make finitely many points, each as often.

        q = (1/K) sum_k N(g_k, 0)

    Differentiable by the points. With noise (`noised`) it is a mixture of K clouds.

    Args:
        points: g (..., K, d), floating dtype.

    Returns:
        Mixture of K components of variance 0.

    Raises:
        TypeError: `points` is not floating.
        ValueError: its shape is another, or a value is not finite.
    """
    require.fitting(points=(points, "... K d"))
    require.finite(points=points)
    each = points.detach().new_zeros(points.shape[:-1])
    return Mixture(each + 1 / points.shape[-2], points.clone(), each)


def exact_noise(p: Mixture, x: Tensor, a: float, b: float) -> Tensor:
    """The best guess of the noise in a x_0 + b e, for x_0 of a mixture.

        E[e | x] = -b grad log p_ab(x)

    Args:
        p: Mixture of the data, means (..., K, d).
        x: noisy points (..., d), dtype of `p`; leading dimensions broadcast.
        a: what the data was multiplied by, > 0.
        b: standard deviation of the noise, > 0.

    Returns:
        (..., d), dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Efron 2011, Journal of the American Statistical Association 106
    (Tweedie's formula).
    """
    require.number(b=b, above=0)
    return -b * score(noised(p, a, b), x)


def gauss_hermite(order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for means under the standard normal law.

        E f(e) = sum_j w_j f(e_j),   exact for polynomials of degree < 2 order

    The nodes are the eigenvalues of the matrix with the roots of 1, ..., order - 1
    beside its diagonal; a weight is the square of an eigenvector's first entry.

    >>> nodes, weights = gauss_hermite(3)
    >>> (weights * nodes**4).sum().round(decimals=12)
    tensor(3., dtype=torch.float64)

    Args:
        order: how many nodes, a number >= 1.

    Returns:
        Nodes (order,), rising, and weights (order,), both float64.

    Raises:
        TypeError: `order` is no whole number.
        ValueError: it is below 1.

    Source: Golub & Welsch 1969, Mathematics of Computation 23(106).
    """
    require.whole(order=order, least=1)
    beside = torch.arange(1, order, dtype=torch.float64).sqrt()
    matrix = torch.diag(beside, 1) + torch.diag(beside, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    return nodes, vectors[0].square()


def exact_loss(
    p: Mixture,
    points: Tensor,
    a: float,
    b: float,
    alpha: float | Tensor = 0.5,
    error: float | Tensor = 0.0,
    frozen: bool = True,
    order: int = 32,
) -> Tensor:
    """The mean of `sid_loss` over all points of a student on a line, and over the
    noise, with nothing drawn.

        (1/K) sum_k sum_j w_j (l2 - alpha l1)(a g_k + b e_j, e_j)

    The student's guess is the exact one for these points, plus an error.

    Args:
        p: Mixture of the data, means (..., C, 1).
        points: g (..., K, 1), dtype of `p`; leading dimensions broadcast.
        a: what points are multiplied by, > 0.
        b: standard deviation of the noise, > 0.
        alpha: as in `sid_loss`; or a tensor (...), one for each student.
        error: added to the student's guess; or a tensor (...).
        frozen: whether the guess is a constant function: its dependence on the
            points is then left out of the gradient, as in a training.
        order: nodes of the noise, a number >= 1.

    Returns:
        (...), dtype of `points`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Zhou et al. 2024, arXiv:2404.04057, for the loss.
    """
    require.instance(Mixture, p=p)
    require.fitting(points=(points, "... K 1"))
    require.finite(points=points)
    require.number(a=a, b=b, above=0)
    require_settings(points, points.shape[:-2], alpha=alpha, error=error)
    student = points.detach() if frozen else points
    nodes, chance = (part.to(points) for part in gauss_hermite(order))
    e = nodes[:, None].expand(*points.shape[:-1], order, 1)
    x = a * points[..., None, :] + b * e  # (..., K, J, 1)
    t = exact_noise(beside_points(p), x, a, b)
    s = exact_noise(beside_points(atoms(student)), x, a, b) + per_student(error)
    l2 = (t - s) * (t - e)
    loss = (l2 - per_student(alpha) * (t - s).square())[..., 0]
    return (loss * chance).sum(-1).mean(-1)


def beside_points(p: Mixture) -> Mixture:
    """A mixture, or a batch of them, to be asked at points (..., K, J, d)."""
    means, rest = p.means[..., None, None, :, :], (p.weights, p.variances)
    weights, variances = (x[..., None, None, :] for x in rest)
    return Mixture(weights, means, variances)


def per_student(x: float | Tensor) -> float | Tensor:
    """A number for each student, as it is added at points (..., K, J, 1)."""
    return x[..., None, None, None] if isinstance(x, Tensor) else x


# --- A training -------------------------------------------------------------------


def distillation_loss(
    teacher: Callable[[Tensor, Tensor], Tensor],
    student: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    noise: Tensor,
    sigma: Tensor,
    alpha: float | Tensor = 0.5,
) -> Tensor:
    """The loss of the generator, from two denoisers; theirs is `denoising_loss`.

        mean of (l2 - alpha l1) / w,   w = |D_t - x_0|_1 / d,  a constant
        with the guesses D_t, D_s of the data in x_0 + sigma z

    The gradient runs to x_0 through both denoisers. Leave their weights out of it:
    by `requires_grad_(False)`, or an optimizer that does not know them.

    Args:
        teacher: D_t: of x (n, d) and sigma (n,), a guess of the data (n, d).
        student: D_s, the same for the denoiser of the student's points.
        x0: points that the generator made (n, d), floating dtype.
        noise: z, shape and dtype of `x0`.
        sigma: noise levels (n,), > 0, dtype of `x0`.
        alpha: as in `sid_loss`; a number, or a tensor (n,).

    Returns:
        A scalar, dtype of `x0`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Zhou et al. 2024, arXiv:2404.04057; its published code, for the weight.
    """
    require.function(teacher=teacher, student=student)
    require.fitting(x0=(x0, "n d"), noise=(noise, "n d"), sigma=(sigma, "n"))
    require.within(sigma=sigma, above=0)
    x = x0 + sigma[:, None] * noise
    guess = teacher(x, sigma)
    loss = sid_loss(guess, student(x, sigma), x0, alpha)
    weight = (guess - x0).detach().abs().mean(-1).clamp(min=1e-5)
    return (loss / (x0.shape[-1] * weight)).mean()


# --- How far two samples are apart ------------------------------------------------


def random_directions(
    n: int,
    d: int,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Unit vectors, every direction as likely as any other.

        u = z / |z|,   z ~ N(0, I)

    Args:
        n: how many, a number >= 1.
        d: coordinates, a number >= 1.
        generator: by default torch's.
        dtype: floating; by default torch's.

    Returns:
        (n, d).

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Muller 1959, Communications of the ACM 2(4).
    """
    require.whole(n=n, d=d, least=1)
    require.generator(generator=generator)
    require.dtype(dtype=dtype)
    device = "cpu" if generator is None else generator.device
    dtype = dtype or torch.get_default_dtype()
    z = torch.empty(n, d, dtype=require.widen(torch.empty(0, dtype=dtype)).dtype)
    z = z.to(device).normal_(generator=generator)
    return (z / z.norm(dim=-1, keepdim=True)).to(dtype)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """How far two samples of equal size are apart, seen from many directions.

        SW^2 = mean over u of (1/n) sum_i (<u, x>_(i) - <u, y>_(i))^2

    where (i) is the i-th smallest. On a line the cheapest way to carry n points to
    n others keeps their order.

    Args:
        x: (..., n, d), floating dtype.
        y: (..., n, d), dtype of `x`; leading dimensions broadcast.
        directions: u (m, d), of length 1, dtype of `x`.

    Returns:
        SW (...), >= 0, dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes do not fit, or a value is not finite.

    Source: Rabin, Peyre, Delon & Bernot 2011, Wasserstein barycenter and its
    application to texture mixing.
    """
    require_samples(x, y, directions)
    u = require.widen(directions)
    seen = (u @ require.widen(z).mT for z in (x, y))  # (..., m, n)
    first, second = (s.sort(-1).values for s in seen)
    return root_mean_square(first - second).to(x.dtype)


def fast_sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """`sliced_wasserstein`, sorted by NumPy on the CPU, where no gradient is asked
    for: torch's own sort also returns the order, and is several times slower.

    Args:
        x: (..., n, d), floating dtype.
        y: (..., n, d), dtype of `x`; leading dimensions broadcast.
        directions: u (m, d), of length 1, dtype of `x`.

    Returns:
        SW (...), >= 0, dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes do not fit, or a value is not finite.

    Source: as `sliced_wasserstein`.
    """
    require_samples(x, y, directions)
    plain = torch.is_grad_enabled() and any(
        z.requires_grad for z in (x, y, directions)
    )
    if plain or x.device.type != "cpu" or not require.visible(x, y, directions):
        return sliced_wasserstein(x, y, directions)
    u = require.widen(directions).detach()
    first, second = (u @ require.widen(z).detach().mT for z in (x, y))
    for seen in (first, second):
        seen.numpy().sort(-1)
    return root_mean_square(first.sub_(second)).to(x.dtype)


def root_mean_square(gaps: Tensor) -> Tensor:
    """Over the last two dimensions; no square overflows or vanishes."""
    unit = require.power_of_two(gaps, (-2, -1))
    mean = (gaps / unit).square().mean((-2, -1))
    nothing = (mean == 0).to(mean.dtype)
    return unit[..., 0, 0] * ((mean + nothing).sqrt() - nothing)


def squares(x: Tensor) -> Tensor:
    """|x|^2 along the last dimension."""
    return x.square().sum(-1)


# --- What is asked of arguments ---------------------------------------------------


def require_points(**points: Tensor) -> None:
    """Points (..., d) of one shape, dtype and device."""
    require.matching(**points)
    require.shapes(least=1, **{name: (x, "... d") for name, x in points.items()})


def require_settings(
    x: Tensor, shape: torch.Size, **settings: float | Tensor
) -> None:
    """Numbers, or tensors like `x` that broadcast to a shape."""
    require.number_or_tensor(**settings)  # type: ignore[arg-type]
    given = {name: y for name, y in settings.items() if isinstance(y, Tensor)}
    require.alike(x=x, **given)
    require.broadcast_to(shape, **given)


def require_samples(x: Tensor, y: Tensor, directions: Tensor) -> None:
    """Two samples of one size, and directions of their dimension."""
    require.fitting(
        x=(x, "... n d"), y=(y, "... n d"), directions=(directions, "m d")
    )
    require.finite(x=x, y=y, directions=directions)
