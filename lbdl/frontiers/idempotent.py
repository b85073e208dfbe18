"""Idempotent generative networks, and the adversarial game that they play.

A generative adversarial network (GAN) trains two players against each other: a
critic that tells samples from data, and a generator that makes the difference
vanish. An idempotent network f is both at once: f makes samples, and the distance
between y and f(y) says how little y looks like data.

Goodfellow et al. 2014, arXiv:1406.2661; Mescheder, Geiger & Nowozin 2018,
arXiv:1801.04406; Shocher et al. 2024, arXiv:2311.01462.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "dirac_path",
    "dirac_penalties",
    "dirac_step",
    "drift",
    "fast_ign_loss",
    "gan_value",
    "ign_loss",
    "ign_loss_by_copy",
    "jensen_shannon",
    "oblique_projector",
    "one_loss",
    "optimal_discriminator",
    "r1_penalty",
    "reverse_gradient",
    "soft_clip",
]

GAMES = ("linear", "logistic")


# --- The value of the game ---


def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The best answer to "data or made?", where both densities are known.

        D*(x) = p(x) / (p(x) + q(x)) = sigmoid(log p(x) - log q(x))

    The second form does not underflow where both densities are tiny.

    >>> optimal_discriminator(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([0.5000])

    Args:
        log_p: log density of the data (..., n), floating dtype; -inf where it is 0.
        log_q: log density of what is made (..., n), dtype of `log_p`.

    Returns:
        Probabilities (..., n) of "data", dtype of `log_p`, half precision in
        float32; 1/2 where both densities are 0, and any answer is as good.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Goodfellow et al. 2014, proposition 1, arXiv:1406.2661.
    """
    require.fitting(log_p=(log_p, "... n"), log_q=(log_q, "... n"))
    return torch.sigmoid(log_ratio(log_p, log_q))


def log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log p - log q, and 0 where both densities are 0."""
    neither = log_p.isneginf() & log_q.isneginf()
    log_p, log_q = require.widen(log_p), require.widen(log_q)
    return torch.where(neither, 0, log_p) - torch.where(neither, 0, log_q)


def gan_value(real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator maximises and the generator minimises.

        V = mean log sigmoid(real) + mean log(1 - sigmoid(fake))

    of the discriminator's logits on data and on what is made.

    Args:
        real: logits (..., n), floating dtype.
        fake: logits (..., m), dtype of `real`.

    Returns:
        (...), dtype of `real`, half precision in float32.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Goodfellow et al. 2014, equation 1, arXiv:1406.2661.
    """
    require.fitting(real=(real, "... n"), fake=(fake, "... m"))
    real, fake = require.widen(real), require.widen(fake)
    return F.logsigmoid(real).mean(-1) + F.logsigmoid(-fake).mean(-1)


def jensen_shannon(log_p: Tensor, log_q: Tensor, weights: Tensor) -> Tensor:
    """How far two densities are apart, from 0 to log 2.

        JSD(p, q) = KL(p, m) / 2 + KL(q, m) / 2,   m = (p + q) / 2

    as a weighted sum over n points: the nodes of a quadrature, or all outcomes,
    with weights of 1.

    Args:
        log_p: log p at the points (..., n), floating dtype; -inf where p is 0.
        log_q: log q there (..., n), dtype of `log_p`.
        weights: of the points (..., n), dtype of `log_p`, >= 0.

    Returns:
        (...), dtype of `log_p`, half precision in float32.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit, or a weight is negative.

    Source: Lin 1991, IEEE Transactions on Information Theory 37(1).
    """
    require.fitting(
        log_p=(log_p, "... n"), log_q=(log_q, "... n"), weights=(weights, "... n")
    )
    require.within(weights=weights, least=0)
    terms = excess(log_p, log_q) + excess(log_q, log_p)
    return (require.widen(weights) * terms).sum(-1) / 2


def excess(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p log(p / m) with m = (p + q) / 2; 0 where p is 0."""
    nothing = log_p.isneginf()
    ratio = log_ratio(log_p, log_q).masked_fill(nothing, 0)
    log_2 = torch.log(torch.full_like(ratio, 2.0))
    return require.widen(log_p).exp() * (log_2 + F.logsigmoid(ratio))


# --- One loss for two players ---

Critic = Callable[[Tensor], Tensor]


def one_loss(
    critic: Critic, real: Tensor, fake: Tensor, weight: float = 1.0
) -> Tensor:
    """One number whose gradient is that of both players of a GAN.

        D(x) - (1 + w) D(sg y) + w D(y)

    in the mean over data x and made y; sg passes its argument on and lets no
    gradient back. The critic D, low on data, gets the gradient of D(x) - D(y), and
    what made y gets that of w D(y). So one step of gradient descent is one
    simultaneous step of the game.

    Args:
        critic: maps (..., n, d) to scores (..., n).
        real: data (..., n, d), floating dtype.
        fake: what the generator made (..., m, d), dtype of `real`.
        weight: w >= 0, of the generator's gradient.

    Returns:
        (...), of the value mean D(x) - mean D(y).

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, the weight is out of range, or the critic
            does not give one score for each row.

    Source: Su 2024, kexue.fm/archives/9969, with w = 1.
    """
    require_players(critic, real, fake, weight)
    told = scores(critic, real) - (1 + weight) * scores(critic, fake.detach())
    return told + weight * scores(critic, fake)


def reverse_gradient(x: Tensor, factor: float | Tensor = 1.0) -> Tensor:
    """x itself, whose gradient comes back times -factor.

        R(x) = (1 + factor) sg(x) - factor x

    >>> x = torch.ones(2, requires_grad=True)
    >>> reverse_gradient(x, 3.0).sum().backward()
    >>> x.grad
    tensor([-3., -3.])

    Args:
        x: any shape, floating dtype.
        factor: a number, or a floating tensor that broadcasts to `x`.

    Returns:
        The values of `x`, up to rounding; shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the factor is not finite, or does not broadcast to `x`.

    Source: Ganin & Lempitsky 2015, section 3, arXiv:1409.7495.
    """
    require.floating(x=x)
    require.number_or_tensor(factor=factor)
    factor = torch.as_tensor(factor, dtype=x.dtype, device=x.device)
    require.broadcast_to(x.shape, factor=factor)
    return x.detach() - factor * (x - x.detach())


def r1_penalty(critic: Critic, real: Tensor) -> Tensor:
    """Half the mean squared slope of the critic at the data.

        R1 = mean |grad_x D(x)|^2 / 2

    Args:
        critic: maps (..., n, d) to scores (..., n), each of its own row alone.
        real: data (..., n, d), floating dtype.

    Returns:
        (...), differentiable by what the critic depends on.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or the critic does not give one score for
            each row.

    Source: Mescheder, Geiger & Nowozin 2018, equation 9, arXiv:1801.04406.
    """
    require.function(critic=critic)
    require.fitting(real=(real, "... n d"))
    slope = torch.func.grad(lambda x: scores(critic, x).sum() * x.shape[-2])(real)
    return require.widen(slope).square().sum(-1).mean(-1) / 2


def require_players(
    critic: Critic, real: Tensor, fake: Tensor, weight: float
) -> None:
    """What `one_loss` needs."""
    require.function(critic=critic)
    require.fitting(real=(real, "... n d"), fake=(fake, "... m d"))
    require.number(weight=weight, least=0)


def scores(critic: Critic, x: Tensor) -> Tensor:
    """The mean score of the rows."""
    found = critic(x)
    require.floating(critic=found)
    if found.shape != x.shape[:-1]:
        raise ValueError(
            f"critic must give one score for each row, {tuple(x.shape[:-1])}, got "
            f"shape {tuple(found.shape)}"
        )
    return require.widen(found).mean(-1)


# --- The smallest game ---


def dirac_step(
    lr: float, penalty: float = 0.0, alternating: bool = False
) -> Tensor:
    """The matrix of one step of the smallest GAN: (theta, psi) -> M (theta, psi).

    Data is the point 0, the generator makes the point theta, the critic is
    D(x) = psi x, with R1 = psi^2 / 2. The critic descends -D(theta) + penalty R1,
    the generator D(theta). With rate eta and penalty gamma:

        simultaneous: M = [[1, -eta], [eta, 1 - eta gamma]]
        alternating, critic first:
            M = [[1 - eta^2, -eta (1 - eta gamma)], [eta, 1 - eta gamma]]

    Args:
        lr: eta > 0.
        penalty: gamma >= 0, of R1.
        alternating: whether the generator sees the critic's new weight.

    Returns:
        (2, 2), torch's default dtype.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Mescheder, Geiger & Nowozin 2018, section 2, arXiv:1801.04406.
    """
    require.number(lr=lr, above=0)
    require.number(penalty=penalty, least=0)
    require.instance(bool, alternating=alternating)
    keep = 1 - lr * penalty
    critic = [lr, keep]
    if alternating:
        return torch.tensor([[1 - lr * lr, -lr * keep], critic])
    return torch.tensor([[1.0, -lr], critic])


def dirac_penalties(lr: float, alternating: bool = False) -> tuple[float, float]:
    """The penalties between which the smallest GAN comes to rest.

        simultaneous: eta < gamma < 2 / eta + eta / 2
        alternating:  0 < gamma < 2 / eta - eta / 2

    For these gamma, and no others, both eigenvalues of `dirac_step` are inside the
    unit circle. There are none for eta >= 2: then the lower bound is not below the
    upper.

    Args:
        lr: eta > 0.
        alternating: as in `dirac_step`.

    Returns:
        The lower and the upper bound.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the rate is out of range.
    """
    require.number(lr=lr, above=0)
    require.instance(bool, alternating=alternating)
    if alternating:
        return 0.0, 2 / lr - lr / 2
    return lr, 2 / lr + lr / 2


def dirac_path(
    start: Tensor,
    steps: int,
    lr: float,
    penalty: float = 0.0,
    alternating: bool = False,
    game: str = "linear",
) -> Tensor:
    """The way of (theta, psi) in the smallest GAN.

        psi'   = psi + eta (theta s - gamma psi)
        theta' = theta - eta psi s

    with s = 1 in the linear game and s = sigmoid(-theta psi) in the logistic one;
    theta' is computed with psi and s, or alternating with the new ones.

    Args:
        start: theta and psi (..., 2), floating dtype.
        steps: a number >= 0.
        lr: eta > 0.
        penalty: gamma >= 0, of R1.
        alternating: whether the generator sees the critic's new weight.
        game: "linear" as in a Wasserstein GAN, or "logistic" as in the first one.

    Returns:
        (steps + 1, ..., 2), from the start on, dtype of `start`, half precision in
        float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, there is no such game, or the shape
            does not fit.

    Source: Mescheder, Geiger & Nowozin 2018, section 2, arXiv:1801.04406.
    """
    require.fitting(start=(start, "... 2"))
    require.whole(steps=steps, least=0)
    require.number(lr=lr, above=0)
    require.number(penalty=penalty, least=0)
    require.instance(bool, alternating=alternating)
    require.choice(GAMES, game=game)
    path = [require.widen(start)]
    for _ in range(steps):
        theta, psi = path[-1].unbind(-1)
        slope = slope_of(game, theta * psi)
        new = psi + lr * (theta * slope - penalty * psi)
        if alternating:
            psi, slope = new, slope_of(game, theta * new)
        path.append(torch.stack([theta - lr * psi * slope, new], -1))
    return torch.stack(path)


def slope_of(game: str, t: Tensor) -> Tensor:
    """The derivative of t, or of log sigmoid(t)."""
    return torch.ones_like(t) if game == "linear" else torch.sigmoid(-t)


# --- Idempotent networks ---

Map = Callable[[Tensor], Tensor]
Weight = float | Tensor


def drift(f: Map, y: Tensor) -> Tensor:
    """How far f moves a point: 0 where f is idempotent and y one of its outputs.

        delta(y) = |f(y) - y|^2

    Args:
        f: maps (..., n, d) to (..., n, d).
        y: points (..., n, d), floating dtype.

    Returns:
        (..., n), dtype of `y`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the shape does not fit, or f changes it.

    Source: Shocher et al. 2024, section 2, arXiv:2311.01462.
    """
    require.function(f=f)
    require.fitting(y=(y, "... n d"))
    return require.widen(image(f, y) - y).square().sum(-1)


def ign_loss_by_copy(
    f: Map,
    frozen: Map,
    x: Tensor,
    z: Tensor,
    idempotence: Weight = 1.0,
    tightness: Weight = 1.0,
    clip: float | None = None,
) -> Tensor:
    """The loss of an idempotent generative network, with a second copy of it.

        delta_f(x) + li delta_frozen(f(z)) - lt delta_f(frozen(z))

    in the mean over rows. Data stays where it is; what f makes of noise moves until
    it stays too; and f is made to move what it has made, with its place held fixed.
    `frozen` has the weights of f, which get no gradient there.

    Args:
        f: maps (..., n, d) to (..., n, d).
        frozen: the copy.
        x: data (..., n, d), floating dtype.
        z: noise (..., m, d), dtype of `x`.
        idempotence: li >= 0, a number, or a tensor (...) for as many networks.
        tightness: lt >= 0, likewise.
        clip: a > 0 keeps the last term, before its weight, above -a delta_f(x): see
            `soft_clip`; None: no bound.

    Returns:
        (...), dtype of `x`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a number is out of range, or a map changes
            the shape.

    Source: Shocher et al. 2024, section 2, arXiv:2311.01462.
    """
    require.function(f=f, frozen=frozen)
    require_ign(f, x, z, idempotence, tightness, clip)
    kept = drift(f, x).mean(-1)
    settled = drift(frozen, image(f, z)).mean(-1)
    made = image(frozen, z).detach()
    return kept + weighed(
        kept, settled, drift(f, made).mean(-1), idempotence, tightness, clip
    )


def ign_loss(
    f: Map,
    x: Tensor,
    z: Tensor,
    idempotence: Weight = 1.0,
    tightness: Weight = 1.0,
    clip: float | None = None,
) -> Tensor:
    """The loss of an idempotent generative network, without a copy.

        delta(x) - (li + lt) delta(sg f(z)) + li delta(f(z))

    in the mean over rows. Its gradient is that of `ign_loss_by_copy`: with li the
    difference delta(f(z)) - delta(sg f(z)) has the gradient through the point f(z)
    alone, as if the outer f were frozen.

    Args:
        f: maps (..., n, d) to (..., n, d), without chance of its own.
        x: data (..., n, d), floating dtype.
        z: noise (..., m, d), dtype of `x`.
        idempotence: li >= 0, a number, or a tensor (...) for as many networks.
        tightness: lt >= 0, likewise.
        clip: a > 0 keeps -delta(sg f(z)), before its weight lt, above -a delta(x):
            see `soft_clip`; None: no bound.

    Returns:
        (...), dtype of `x`, half precision in float32; its value is delta(x) - lt
        delta(f(z)), the critic's, without the term of idempotence.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a number is out of range, or f changes the
            shape.

    Source: Su 2024, kexue.fm/archives/9969, for li = lt = 1.
    """
    require.function(f=f)
    require_ign(f, x, z, idempotence, tightness, clip)
    kept = drift(f, x).mean(-1)
    made = image(f, z)
    held = drift(f, made.detach()).mean(-1)
    moved = drift(f, made).mean(-1) - held
    return kept + weighed(kept, moved, held, idempotence, tightness, clip)


def fast_ign_loss(
    f: Map,
    x: Tensor,
    z: Tensor,
    idempotence: Weight = 1.0,
    tightness: Weight = 1.0,
) -> Tensor:
    """`ign_loss` without a clip, with one evaluation of f less.

        delta(x) - lt delta(R(f(z))),   R reverses gradients: times -li / lt

    One number is both what f lowers as a maker and what it raises as a critic; the
    sign of the gradient is turned where the two meet.

    Args:
        f: maps (..., n, d) to (..., n, d).
        x: data (..., n, d), floating dtype.
        z: noise (..., m, d), dtype of `x`.
        idempotence: li >= 0, a number, or a tensor (...) for as many networks.
        tightness: lt > 0, likewise.

    Returns:
        (...), dtype of `x`, half precision in float32; value and gradient of
        `ign_loss`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a number is out of range, or f changes the
            shape.

    Source: Ganin & Lempitsky 2015, section 3, arXiv:1409.7495, for the reversal.
    """
    require.function(f=f)
    require_ign(f, x, z, idempotence, tightness, None)
    require.number_or_tensor(tightness=tightness, above=0)
    made = image(f, z)
    ratio = torch.as_tensor(
        idempotence / tightness, dtype=made.dtype, device=made.device
    )
    met = reverse_gradient(made, ratio[..., None, None])
    return drift(f, x).mean(-1) - tightness * drift(f, met).mean(-1)


def soft_clip(x: Tensor, bound: Tensor) -> Tensor:
    """x where it is small, and never beyond a bound.

        bound tanh(x / bound)

    Its slope is 1 - tanh(x / bound)^2; 0 where the bound is 0. The bound is held
    fixed: it gets no gradient.

    Args:
        x: any shape, floating dtype.
        bound: >= 0, shape and dtype of `x`.

    Returns:
        Shape and dtype of `x`, half precision in float32.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes differ, or the bound is negative.

    Source: Shocher et al. 2024, section 2, arXiv:2311.01462.
    """
    require.matching(x=x, bound=bound)
    require.values(~(bound.detach() < 0), "bound must be >= 0 everywhere")
    x, bound = require.widen(x), require.widen(bound.detach())
    safe = torch.where(bound == 0, 1, bound)
    return bound * torch.tanh(x / safe)


def weighed(
    kept: Tensor,
    moved: Tensor,
    held: Tensor,
    idempotence: Weight,
    tightness: Weight,
    clip: float | None,
) -> Tensor:
    """The two terms on what is made, of which the second is clipped by itself."""
    tight = -held if clip is None else soft_clip(-held, clip * kept)
    return idempotence * moved + tightness * tight


def image(f: Map, y: Tensor) -> Tensor:
    """f(y), which must have the shape of y."""
    found = f(y)
    require.floating(f=found)
    if found.shape != y.shape:
        raise ValueError(
            f"f must keep the shape {tuple(y.shape)}, got shape "
            f"{tuple(found.shape)}"
        )
    return found


def require_ign(
    f: Map,
    x: Tensor,
    z: Tensor,
    idempotence: Weight,
    tightness: Weight,
    clip: float | None,
) -> None:
    """What the losses of an idempotent network need."""
    require.fitting(x=(x, "... n d"), z=(z, "... m d"))
    require.number_or_tensor(idempotence=idempotence, tightness=tightness, least=0)
    for name, weight in (("idempotence", idempotence), ("tightness", tightness)):
        if isinstance(weight, Tensor):
            require.broadcast_to(z.shape[:-2], **{name: weight})
    if clip is not None:
        require.number(clip=clip, above=0)


# --- Idempotent matrices ---


def oblique_projector(basis: Tensor, against: Tensor) -> Tensor:
    """The idempotent matrix with a given range and null space.

        P = A (B^T A)^-1 B^T,   P P = P

    Points of the range of A stay; vectors orthogonal to all columns of B become 0.
    Every idempotent matrix of rank r has this form; with B = A it is the orthogonal
    projector.

    Args:
        basis: A (..., d, r), r <= d, floating dtype.
        against: B (..., d, r), dtype of `basis`.

    Returns:
        P (..., d, d), dtype of `basis`, half precision in float32.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit, a number is not finite, or B^T A cannot be
            inverted: some direction of the range would be sent to 0.
    """
    require.fitting(basis=(basis, "... d r"), against=(against, "... d r"))
    require.finite(basis=basis, against=against)
    a, b = unit_size(basis), unit_size(against)
    inner, wrong = torch.linalg.solve_ex(b.mT @ a, b.mT)
    require.values(wrong == 0, "basis and against must have an invertible B^T A")
    return a @ inner


def unit_size(a: Tensor) -> Tensor:
    """A matrix, divided by the power of two in its largest element."""
    a = require.widen(a)
    return a / require.power_of_two(a, (-2, -1))
