"""Writing with a cache against writing without one; a layer against torch's."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.race import Race, main
from lbdl.foundations.autoregression import generate
from lbdl.models.attention import MultiHeadAttention
from lbdl.models.transformer import GPT, EncoderLayer, write_on

LENGTH = 256


def both_passes(layer: nn.Module, x: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the result, then the gradients of inputs and weights."""
    x = x.clone().requires_grad_()
    inputs = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x).sum(), inputs)


def races() -> Iterator[Race]:
    torch.manual_seed(0)
    model = GPT(512, LENGTH + 1, 256, layers=4, heads=8).eval()
    prompt = torch.zeros(1, 1, dtype=torch.int64)
    yield Race(
        job=f"{LENGTH} tokens, the likeliest each time, 4 layers of width 256",
        peer="the same model without a cache",
        ours=lambda: write_on(model, prompt, LENGTH, temperature=0.0),
        theirs=lambda: generate(
            model, prompt, LENGTH, context=LENGTH + 1, temperature=0.0
        ),
        goal=0.20,
    )
    theirs = nn.TransformerEncoderLayer(256, 8, 1024, 0.0, batch_first=True)
    ours = EncoderLayer(MultiHeadAttention(256, 8)).copy_from_torch(theirs)
    x = torch.randn(8, 128, 256, generator=torch.Generator().manual_seed(0))
    yield Race(
        job="an encoder layer, forward and backward, (8, 128, 256)",
        peer="torch.nn.TransformerEncoderLayer",
        ours=both_passes(ours, x),
        theirs=both_passes(theirs, x),
        goal=1.2,
    )


if __name__ == "__main__":
    main(__spec__, races())
