"""The kernels of layer norm and RMS norm against the plain functions, on CUDA or in Triton's interpreter."""

import pytest
import torch

from lbdl import kernels as launch
from lbdl.models.normalization import (
    fast_layer_norm,
    fast_rms_norm,
    layer_norm,
    rms_norm,
)

pytest.importorskip("triton")
from lbdl.models.normalization import triton as kernels

EXACT = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 4e-2}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize(("rows", "n"), [(5, 7), (3, 64), (700, 3)])
@pytest.mark.parametrize("centered", [True, False])
def test_the_fast_norms_take_the_kernel_both_ways(
    centered, rows, n, dtype, kernel_device, monkeypatch
):
    monkeypatch.setattr(launch, "serve", lambda *tensors: True)
    called, forward = [], kernels.norm_forward
    monkeypatch.setattr(
        kernels, "norm_forward", lambda *a: called.append(1) or forward(*a)
    )
    if kernel_device == "cpu" and rows > 100:
        monkeypatch.setattr(kernels, "PROGRAMS", 4)
        rows = 10
    tensors = [3 * drawn(rows, n) + 5, drawn(n, seed=1), drawn(n, seed=2)]
    given = [t.to(kernel_device, dtype).requires_grad_() for t in tensors]
    wide = [t.detach().double().requires_grad_() for t in given]
    grad = drawn(rows, n, seed=3).to(kernel_device)
    if centered:
        found, expected = fast_layer_norm(*given), layer_norm(*wide)
    else:
        given, wide = given[:2], wide[:2]
        found, expected = fast_rms_norm(*given), rms_norm(*wide)
    assert called == [1] and found.dtype == dtype
    atol = 5 * EXACT[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=atol, atol=atol)
    gradients = torch.autograd.grad(found, given, grad.to(dtype))
    rightly = torch.autograd.grad(expected, wide, grad.to(dtype).double())
    for got, want in zip(gradients, rightly, strict=True):
        torch.testing.assert_close(
            got.double(), want, rtol=4 * atol, atol=4 * atol * rows**0.5
        )


def test_without_weights_on_more_dimensions_and_without_rows(
    kernel_device, monkeypatch
):
    monkeypatch.setattr(launch, "serve", lambda *tensors: True)
    x = drawn(2, 3, 6).float().to(kernel_device)
    torch.testing.assert_close(fast_layer_norm(x), layer_norm(x))
    torch.testing.assert_close(fast_rms_norm(x.mT), rms_norm(x.mT))
    assert kernels.norm_forward(x[0, :0], x[0, 0], x[0, 0], 1e-5, True)[
        0
    ].shape == (0, 6)


@pytest.mark.parametrize("fast", [fast_layer_norm, fast_rms_norm])
def test_elsewhere_they_are_the_plain_functions(fast):
    x = drawn(3, 5)
    plain = {fast_layer_norm: layer_norm, fast_rms_norm: rms_norm}[fast]
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=0)
