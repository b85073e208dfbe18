"""The kernels of the selective scan against the plain way, on CUDA where there is one, else in Triton's interpreter."""

import pytest
import torch

from lbdl.models.selective import scan, selective_scan

pytest.importorskip("triton")
from lbdl.models.selective import triton as kernels

from .test_scan import normal, selection

pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the interpreter's NumPy speaks up on masked lanes


def small_tiles(monkeypatch, device, steps=4, channels=2):
    """Several chunks, and blocks of channels, without long sequences."""
    if device == "cpu":
        monkeypatch.setattr(kernels, "STEPS", steps)
        monkeypatch.setattr(kernels, "TILE", steps * channels * 4)


@pytest.mark.parametrize(("L", "d", "N"), [(1, 1, 1), (4, 2, 4), (7, 3, 3)])
def test_results_and_gradients_are_those_of_the_plain_way(
    L, d, N, kernel_device, monkeypatch
):
    small_tiles(monkeypatch, kernel_device)
    wide = [x.to(kernel_device).requires_grad_() for x in selection(L, d, N)[:5]]
    expected = selective_scan(*wide)
    grad = normal(2, L, d, seed=9).to(kernel_device)
    gradients = torch.autograd.grad((expected * grad).sum(), wide)
    given = [x.detach().float() for x in wide]
    y, starts = kernels.scan_forward(*given)
    torch.testing.assert_close(y.double(), expected.detach(), rtol=1e-5, atol=2e-6)
    found = kernels.scan_backward(*given, starts, grad.float())
    for got, gradient in zip(found, gradients, strict=True):
        torch.testing.assert_close(got.double(), gradient, rtol=1e-5, atol=5e-6)


def test_only_the_states_between_chunks_are_written(kernel_device, monkeypatch):
    small_tiles(monkeypatch, kernel_device)
    given = [x.to(kernel_device).float() for x in selection(6)[:5]]
    _, starts = kernels.scan_forward(*given)
    steps = kernels.STEPS
    assert starts.shape == (2, -(-6 // steps), 3, 4)
    u, delta, A, B, _ = (x.double() for x in given)
    h, rows = torch.zeros_like(starts[:, 0]).double(), []
    for t in range(6):
        if t % steps == 0:
            rows.append(h)
        push = (delta[:, t] * u[:, t]).unsqueeze(-1) * B[:, t].unsqueeze(-2)
        h = (delta[:, t].unsqueeze(-1) * A).exp() * h + push
    torch.testing.assert_close(
        starts.double(), torch.stack(rows, 1), rtol=1e-5, atol=2e-6
    )


def test_the_fast_function_goes_through_the_kernels(kernel_device, monkeypatch):
    """Where they serve: the whole way, D and leading dimensions included."""
    small_tiles(monkeypatch, kernel_device)
    monkeypatch.setattr(scan.kernels, "serve", lambda *x: True)
    called = []
    for name in ("scan_forward", "scan_backward"):
        work = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda *x, w=work, n=name: called.append(n) or w(*x)
        )
    given = [
        x.to(kernel_device).float().requires_grad_()
        for x in selection(5, batch=(2, 1))
    ]
    y = scan.fast_selective_scan(*given)
    expected = selective_scan(*given)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=5e-6)
    found, gradients = (
        torch.autograd.grad(z.square().sum(), given) for z in (y, expected)
    )
    for got, gradient in zip(found, gradients, strict=True):
        torch.testing.assert_close(got, gradient, rtol=1e-4, atol=5e-5)
    assert called == ["scan_forward", "scan_backward"]
    double = [x.detach().double() for x in given]
    scan.fast_selective_scan(*double)
    assert called == ["scan_forward", "scan_backward"], "float64 stays with torch"
