"""A loss and its reference: what the tests of the losses and of the losses of distances ask of both."""

import torch
from torch import Tensor

DOUBLE = torch.float64
TOLERANCE = {
    DOUBLE: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-6, "atol": 1e-6},
}
REDUCTIONS = ["none", "mean", "sum"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(
    *shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE, device: str = "cpu"
) -> Tensor:
    return (
        torch.randn(shape, generator=seeded(seed), dtype=DOUBLE)
        .to(dtype)
        .to(device)
    )


def classes(*shape: int, k: int, seed: int = 1, device: str = "cpu") -> Tensor:
    return torch.randint(k, shape, generator=seeded(seed)).to(device)


def bits(
    *shape: int, seed: int = 1, dtype: torch.dtype = DOUBLE, device: str = "cpu"
) -> Tensor:
    return torch.randint(2, shape, generator=seeded(seed)).to(dtype).to(device)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    return {"none": lambda: loss, "mean": loss.mean, "sum": loss.sum}[reduction]()


def by_formula(formula):
    """A reference out of a formula for the single losses."""

    def reference(*args, reduction: str, **options) -> Tensor:
        return reduced(formula(*args, **options), reduction)

    return reference


def value_and_gradients(
    loss, points: list[Tensor], rest: tuple, **options
) -> tuple[Tensor, ...]:
    points = [x.detach().clone().requires_grad_() for x in points]
    value = loss(*points, *rest, **options)
    # unequal weights, so that "none" shows a wrong order
    total = (
        value * torch.linspace(1, 2, value.numel()).to(value).view(value.shape)
    ).sum()
    return value, *torch.autograd.grad(total, points)


class Case:
    """A loss, its reference, what both are differentiated by, and what else they take."""

    def __init__(
        self, ours, theirs, inputs, extra=lambda dtype, device: (), shape=(7, 5)
    ):
        self.ours, self.theirs, self.inputs, self.extra, self.shape = (
            ours,
            theirs,
            inputs,
            extra,
            shape,
        )

    def points(
        self, dtype: torch.dtype, device: str, spread: float = 2.0
    ) -> list[Tensor]:
        return [
            spread * randn(*self.shape, seed=s, dtype=dtype, device=device)
            for s in range(self.inputs)
        ]

    def rest(self, dtype: torch.dtype, device: str) -> tuple:
        return self.extra(dtype, device)

    def is_its_reference(
        self, dtype: torch.dtype, reduction: str, device: str
    ) -> None:
        """Values and gradients."""
        points, rest = self.points(dtype, device), self.rest(dtype, device)
        ours = value_and_gradients(self.ours, points, rest, reduction=reduction)
        if dtype == DOUBLE:
            theirs = value_and_gradients(
                self.theirs, points, rest, reduction=reduction
            )
        else:  # the true values, so that the reference's own rounding is not counted
            exact = (
                [x.double() for x in points],
                tuple(
                    r.double() if r.is_floating_point() else r
                    for r in self.rest(dtype, device)
                ),
            )
            theirs = value_and_gradients(self.theirs, *exact, reduction=reduction)
        for found, expected in zip(ours, theirs, strict=True):
            assert found.dtype == dtype
            torch.testing.assert_close(
                found.double(), expected.double(), **TOLERANCE[dtype]
            )

    def has_its_gradient(self) -> None:
        """By differences: `gradcheck`."""
        points = [x.requires_grad_() for x in self.points(DOUBLE, "cpu")]
        rest = self.rest(DOUBLE, "cpu")
        assert torch.autograd.gradcheck(
            lambda *p: self.ours(*p, *rest, reduction="none"), points
        )

    def stays_near_in(self, dtype: torch.dtype) -> None:
        """Half precision against the reference in float64."""
        points, rest = (
            self.points(dtype, "cpu", spread=1.0),
            self.rest(dtype, "cpu"),
        )
        ours = value_and_gradients(self.ours, points, rest, reduction="mean")
        rest = tuple(r.double() if r.is_floating_point() else r for r in rest)
        theirs = value_and_gradients(
            self.ours, [x.double() for x in points], rest, reduction="mean"
        )
        for found, expected in zip(ours, theirs, strict=True):
            assert found.dtype == dtype
            scale = 20 * torch.finfo(dtype).eps
            torch.testing.assert_close(
                found.double(), expected, rtol=scale, atol=scale
            )

    def is_blind_to_memory_layout(self) -> None:
        """Strided points as contiguous ones."""
        points, rest = self.points(DOUBLE, "cpu"), self.rest(DOUBLE, "cpu")
        strided = [x.T.contiguous().T for x in points]
        assert not strided[0].is_contiguous()
        for a, b in zip(
            value_and_gradients(self.ours, strided, rest, reduction="none"),
            value_and_gradients(self.ours, points, rest, reduction="none"),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
