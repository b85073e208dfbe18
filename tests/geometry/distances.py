"""What holds for every distance of two Gaussians, of whichever topic: the tests of a topic derive a class and say
which distances are its own."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lbdl.geometry.gaussians import Gaussian, covariance_of, require_one_spread

F64 = torch.float64
SPREADS = ("covariance", "cholesky", "variance")
ZERO, EYE = torch.zeros(2), torch.eye(2)


def draw(
    seed: int,
    *batch: int,
    d: int = 3,
    spread: str = "covariance",
    dtype=F64,
    device="cpu",
) -> Gaussian:
    """A well-conditioned Gaussian, or a batch of them."""
    stream = torch.Generator().manual_seed(seed)
    mean = torch.randn(*batch, d, generator=stream, dtype=F64)
    root = torch.randn(*batch, d, 3 * d, generator=stream, dtype=F64)
    covariance = root @ root.mT / (3 * d) + 0.1 * torch.eye(d, dtype=F64)
    value = {
        "covariance": covariance,
        "cholesky": torch.linalg.cholesky(covariance),
        "variance": covariance.diagonal(dim1=-2, dim2=-1),
    }[spread]
    return Gaussian(mean.to(device, dtype), **{spread: value.to(device, dtype)})


def full(p: Gaussian) -> Gaussian:
    return Gaussian(p.mean, covariance_of(p))


def part(p: Gaussian, index: int) -> Gaussian:
    """One member of a batch."""
    return Gaussian(
        p.mean[index],
        **{n: getattr(p, n)[index] for n in SPREADS if getattr(p, n) is not None},
    )


def pair_from(distance: Callable, spread: str) -> Callable:
    """The distance as a function of four tensors; any square matrix becomes a covariance."""

    def made(mean: Tensor, value: Tensor) -> Gaussian:
        if spread == "covariance":
            return Gaussian(mean, (value + value.mT) / 2)
        return Gaussian(
            mean, **{spread: value.tril() if spread == "cholesky" else value}
        )

    return lambda mp, vp, mq, vq: distance(made(mp, vp), made(mq, vq))


def requires_one_at_a_time(distance: Callable) -> None:
    p, q = draw(21, 4), draw(22, 4)
    together = distance(p, q)
    for i in range(4):
        torch.testing.assert_close(
            together[i], distance(part(p, i), part(q, i)), rtol=1e-12, atol=1e-13
        )


def requires_right_gradients(distance: Callable, spread: str) -> None:
    p, q = draw(35, 2, d=2, spread=spread), draw(36, 2, d=2, spread=spread)
    inputs = tuple(
        x.clone().requires_grad_()
        for x in (p.mean, getattr(p, spread), q.mean, getattr(q, spread))
    )
    assert torch.autograd.gradcheck(pair_from(distance, spread), inputs)


def requires_zero_at_equality(
    distance: Callable, spread: str, dtype: torch.dtype, rooted: bool = False
) -> None:
    """Distance and gradient are zero; a rooted one leaves the root of a rounding error."""
    for q in (
        draw(37, d=4, spread=spread, dtype=dtype),
        Gaussian(torch.zeros(3, dtype=dtype), torch.eye(3, dtype=dtype)),
    ):
        name, value = require_one_spread(q)
        mean, value = (
            q.mean.clone().requires_grad_(),
            value.clone().requires_grad_(),
        )
        result = distance(Gaussian(mean, **{name: value}), q)
        result.backward()
        eps = torch.finfo(dtype).eps
        assert result.abs() <= 200 * (math.sqrt(eps) if rooted else eps)
        assert mean.grad.abs().max() < 1e-6
        assert value.grad.isfinite().all()
        if not rooted:
            assert value.grad.abs().max() < 1e3 * eps


def requires_transforms(distance: Callable, twice: bool = True) -> None:
    """Inside the transforms of torch; `twice` asks for second derivatives, too."""
    p, q = draw(62, 4), draw(63, 4)

    def of_tensors(mean: Tensor, covariance: Tensor) -> Tensor:
        return distance(Gaussian(mean, covariance), part(q, 0))

    expected = torch.stack([distance(part(p, k), part(q, 0)) for k in range(4)])
    torch.testing.assert_close(
        torch.func.vmap(of_tensors)(p.mean, p.covariance), expected
    )
    slopes = torch.func.vmap(torch.func.grad(of_tensors, (0, 1)))
    assert all(x.isfinite().all() for x in slopes(p.mean, p.covariance))
    curvature = torch.func.vmap(torch.func.hessian(of_tensors))
    if twice:
        assert curvature(p.mean, p.covariance).isfinite().all()


class EveryDistance:
    """Of any distance of two Gaussians that is given `distance(p, q)`."""

    @pytest.mark.parametrize("spread_p", SPREADS)
    @pytest.mark.parametrize("spread_q", SPREADS)
    def test_the_three_ways_to_give_a_covariance_agree(
        self, distance: Callable, spread_p: str, spread_q: str
    ) -> None:
        p, q = draw(19, 3, spread=spread_p), draw(20, 3, spread=spread_q)
        torch.testing.assert_close(
            distance(p, q), distance(full(p), full(q)), rtol=1e-12, atol=1e-13
        )

    def test_batches_are_one_at_a_time(self, distance: Callable) -> None:
        requires_one_at_a_time(distance)

    def test_batches_broadcast(self, distance: Callable) -> None:
        p, q = draw(23, 4, 1), draw(24, 5)
        table = distance(p, q)
        assert table.shape == (4, 5)
        torch.testing.assert_close(
            table[2, 3],
            distance(part(part(p, 2), 0), part(q, 3)),
            rtol=1e-12,
            atol=1e-13,
        )
        assert distance(draw(23, 0), draw(24, 0)).shape == (0,)

    def test_a_mean_may_be_shared_and_a_covariance_too(
        self, distance: Callable
    ) -> None:
        p = Gaussian(torch.zeros(3, dtype=F64), draw(25, 4).covariance)
        q = Gaussian(draw(26, 4).mean, torch.eye(3, dtype=F64))
        assert distance(p, q).shape == (4,)

    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [(torch.float32, 2e-4), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)],
    )
    def test_lower_precision(
        self, distance: Callable, dtype: torch.dtype, tolerance: float, device: str
    ) -> None:
        p, q = (
            draw(29, 3, dtype=dtype, device=device),
            draw(30, 3, dtype=dtype, device=device),
        )
        exact = distance(
            *(Gaussian(r.mean.double(), r.covariance.double()) for r in (p, q))
        )
        result = distance(p, q)
        assert result.dtype == dtype
        torch.testing.assert_close(
            result.double(), exact, rtol=tolerance, atol=tolerance
        )

    def test_not_contiguous_input(self, distance: Callable) -> None:
        p, q = draw(31, 4), draw(32, 4)
        mixed = Gaussian(
            p.mean.T.contiguous().T,
            p.covariance.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        )
        torch.testing.assert_close(
            distance(mixed, q), distance(p, q), rtol=1e-12, atol=1e-14
        )

    @pytest.mark.parametrize("spread", SPREADS)
    def test_gradients(self, distance: Callable, spread: str) -> None:
        requires_right_gradients(distance, spread)

    @pytest.mark.parametrize("dtype", [F64, torch.float32])
    def test_near_singular_covariances_stay_finite_or_raise(
        self, distance: Callable, dtype: torch.dtype
    ) -> None:
        turn = torch.linalg.qr(
            torch.randn(4, 4, generator=torch.Generator().manual_seed(6), dtype=F64)
        ).Q
        q = draw(40, d=4, dtype=dtype)
        answered = 0
        for exponent in range(0, 40, 2):
            width = torch.tensor([1.0, 1.0, 0.5, 10.0**-exponent], dtype=F64)
            covariance = ((turn * width) @ turn.T).to(dtype).requires_grad_()
            for pair in (
                lambda c: (Gaussian(q.mean, (c + c.mT) / 2), q),
                lambda c: (q, Gaussian(q.mean, (c + c.mT) / 2)),
            ):
                covariance.grad = None
                try:
                    value = distance(*pair(covariance))
                except ValueError as error:
                    assert "covariance must be positive" in str(error)  # noqa: PT017
                    continue
                value.backward()
                answered += 1
                assert value.isfinite()
                assert value >= 0
                assert covariance.grad.isfinite().all()
        assert answered >= 8

    def test_pairs_that_do_not_fit_are_refused(self, distance: Callable) -> None:
        p = Gaussian(ZERO, EYE)
        with pytest.raises(ValueError, match="one dimension d, got 2 and 1"):
            distance(p, Gaussian(torch.zeros(1), torch.eye(1)))
        with pytest.raises(TypeError, match="q must have the dtype of p"):
            distance(p, Gaussian(ZERO.double(), EYE.double()))
        with pytest.raises(ValueError, match="broadcast"):
            distance(
                Gaussian(torch.zeros(3, 2), EYE), Gaussian(torch.zeros(4, 2), EYE)
            )
