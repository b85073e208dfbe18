"""The matrix products of a convolution against torch's own kernels; the four loops, to say what they cost; pooling."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.models.convolution import conv2d, fast_conv2d, fast_max_pool2d

Convolution = Callable[[Tensor, Tensor], Tensor]
# images, filters, goals of the forward pass and of both (None: only measured)
SHAPES = (
    ((8, 3, 64, 64), (16, 3, 3, 3), 2.1, 2.7),
    ((8, 64, 32, 32), (64, 64, 3, 3), 1.35, None),
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both_passes(
    f: Convolution, x: Tensor, w: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the feature maps, then the gradients of images and filters."""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    g = draw(*F.conv2d(x, w).shape, seed=2)
    return lambda: torch.autograd.grad(f(x, w), (x, w), g)


def bare_products(x: Tensor, w: Tensor) -> Callable[[], None]:
    """The products alone that `fast_conv2d` cannot do without: one for each image and row of the filter."""
    places = (x.shape[2] - w.shape[2] + 1) * (x.shape[3] - w.shape[3] + 1)
    below = draw(w.shape[1] * w.shape[3], places, seed=3)
    rows = [row.flatten(1) for row in w.unbind(2)]
    y = draw(len(w), places, seed=4)

    def run() -> None:
        for _ in range(len(x)):
            for row in rows:
                y.addmm_(row, below, beta=0)

    return run


def races() -> Iterator[Race]:
    for images, filters, forward, both in SHAPES:
        x, w = draw(*images), draw(*filters, seed=1)
        job = f"{images} * {filters}"
        yield Race(
            job=f"conv2d, forward, {job}",
            peer="F.conv2d",
            ours=lambda x=x, w=w: fast_conv2d(x, w),
            theirs=lambda x=x, w=w: F.conv2d(x, w),
            goal=forward,
            reference=lambda x=x, w=w: F.conv2d(x.double(), w.double()),
            floor=bare_products(x, w),
        )
        yield Race(
            job=f"conv2d, forward+backward, {job}",
            peer="F.conv2d",
            ours=both_passes(fast_conv2d, x, w),
            theirs=both_passes(F.conv2d, x, w),
            goal=both,
        )
    x, w = draw(3, 16, 16), draw(4, 3, 3, 3, seed=1)
    yield Race(
        job="conv2d in four loops, forward, (3, 16, 16) * (4, 3, 3, 3)",
        peer="fast_conv2d",
        ours=lambda: conv2d(x, w),
        theirs=lambda: fast_conv2d(x, w),
        note="the text of the chapter, not meant to be fast",
    )
    pictures = draw(8, 64, 32, 32)
    yield Race(
        job="max pooling 2 x 2, forward, (8, 64, 32, 32)",
        peer="F.max_pool2d",
        ours=lambda: fast_max_pool2d(pictures, 2),
        theirs=lambda: F.max_pool2d(pictures, 2),
    )


if __name__ == "__main__":
    main(__spec__, races())
