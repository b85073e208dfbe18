"""Layer norm and RMS norm by their kernels against torch's, and liger's where it is installed, on a GPU."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Place, Race, main, of
from lbdl.models.normalization import fast_layer_norm, fast_rms_norm

SHAPE = (16384, 4096)
LIGER = "liger_kernel.transformers.functional"


def both_passes(
    f: Callable[..., Tensor], *inputs: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the outputs, then the gradients of all inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    g = torch.ones_like(leaves[0])
    return lambda: torch.autograd.grad(f(*leaves), leaves, g)


def races(place: Place) -> Iterator[Race]:
    shape = place.shape(*SHAPE)
    x = torch.randn(shape, device=place.device).bfloat16()
    w, b = torch.ones_like(x[0]), torch.zeros_like(x[0])
    layer = lambda x, w, b: F.layer_norm(x, shape[1:], w, b)
    rms = lambda x, w: F.rms_norm(x, shape[1:], w, 1e-6)
    by_liger = of(
        LIGER,
        lambda package: both_passes(
            lambda *t: package.liger_layer_norm(*t, 1e-5), x, w, b
        ),
    )
    for name, peer, ours, theirs, inputs, goal in (
        ("layer norm", "F.layer_norm", fast_layer_norm, both_passes(layer, x, w, b), (x, w, b), 0.7),
        ("layer norm", "liger-kernel", fast_layer_norm, by_liger, (x, w, b), 1.0),
        ("RMS norm", "F.rms_norm", fast_rms_norm, both_passes(rms, x, w), (x, w), 0.7),
    ):  # fmt: skip
        yield Race(
            job=f"{name}, forward and backward, bfloat16, {SHAPE}",
            peer=peer,
            ours=both_passes(ours, *inputs),
            theirs=theirs,
            goal=goal,
            table=x,
        )


if __name__ == "__main__":
    main(__spec__, races, packages=["liger-kernel", "triton"])
