"""The scale of a loss, against torch's."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.foundations import memory as M


def test_a_scaled_loss_saves_what_float16_would_lose() -> None:
    """Gradients of 1e-8 become 0 in float16; with a factor of 2**14 in front they come through exactly."""
    small = torch.tensor([1e-8, -2e-8], dtype=torch.float32)
    assert not small.half().any()
    (found,), finite = M.unscale([(small * 2**14).half()], 2.0**14)
    assert finite and found.dtype == torch.float32
    torch.testing.assert_close(found, small, rtol=1e-3, atol=0)
    g = torch.randn(5, generator=torch.Generator().manual_seed(0)).half()
    assert torch.equal(M.unscale([g * 8], 8.0)[0][0], g.float())
    for bad in (math.nan, math.inf):
        gradients, finite = M.unscale([g, torch.tensor([1.0, bad])], 2.0)
        assert not finite and gradients[0].isfinite().all()


@given(
    steps=st.lists(st.booleans(), min_size=1, max_size=40),
    interval=st.integers(1, 5),
)
def test_the_scale_moves_as_that_of_torch(steps: list[bool], interval: int) -> None:
    scaler = torch.amp.GradScaler(
        "cpu",
        init_scale=2.0**10,
        growth_interval=interval,
        growth_factor=2.0,
        backoff_factor=0.5,
    )
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=0.0)
    scale, good = 2.0**10, 0
    for fine in steps:
        p.grad = torch.tensor([1.0 if fine else math.inf])
        scaler.scale(torch.zeros(1))  # it starts with the first scaled loss
        scaler.step(optimizer)
        scaler.update()
        scale, good = M.next_scale(scale, good, fine, interval=interval)
        assert scale == scaler.get_scale()
