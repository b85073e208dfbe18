"""The attention kernels against the plain way, on CUDA where there is one, else in Triton's interpreter."""

import pytest
import torch

from lbdl.models.attention import attention, attention_scores, causal_mask

pytest.importorskip("triton")
from lbdl.models.attention import triton as kernels

from .test_scaled import qkv

pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the interpreter's NumPy speaks up on masked lanes


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("n", "m", "d"), [(5, 5, 4), (20, 33, 7), (33, 33, 16), (1, 40, 8)]
)
def test_results_and_gradients_are_those_of_the_plain_way(
    n, m, d, causal, kernel_device, monkeypatch
):
    if kernel_device == "cpu":  # several blocks without long texts
        monkeypatch.setattr(kernels, "ROWS", 16)
        monkeypatch.setattr(kernels, "COLUMNS", 16)
    wide = [
        x.requires_grad_() for x in qkv(2, n=n, m=m, d=d, e=d, device=kernel_device)
    ]
    expected = attention(*wide, causal=causal)
    grad = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * grad).sum(), wide)
    q, k, v = (x.detach().float() for x in wide)
    result, lse = kernels.attention_forward(q, k, v, causal)
    torch.testing.assert_close(
        result.double(), expected.detach(), rtol=0, atol=2e-6
    )
    scores = attention_scores(*wide[:2])
    if causal:
        scores = scores.masked_fill(
            ~causal_mask(n, m, device=kernel_device), -torch.inf
        )
    torch.testing.assert_close(
        lse.double(), scores.logsumexp(-1).detach(), rtol=0, atol=2e-6
    )
    found = kernels.attention_backward(q, k, v, result, lse, grad.float(), causal)
    for got, gradient in zip(found, gradients, strict=True):
        torch.testing.assert_close(got.double(), gradient, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype, kernel_device):
    if kernel_device == "cpu" and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies no bfloat16 matrices")
    wide = [
        x.to(dtype).double().requires_grad_()
        for x in qkv(2, n=20, m=20, d=16, e=16, device=kernel_device)
    ]
    expected = attention(*wide, causal=True)
    gradients = torch.autograd.grad(expected.sum(), wide)
    q, k, v = (x.detach().to(dtype) for x in wide)
    result, lse = kernels.attention_forward(q, k, v, True)
    atol = 2e-3 if dtype == torch.float16 else 2e-2
    torch.testing.assert_close(
        result.double(), expected.detach(), rtol=0, atol=atol
    )
    found = kernels.attention_backward(
        q, k, v, result, lse, torch.ones_like(result), True
    )
    for got, gradient in zip(found, gradients, strict=True):
        torch.testing.assert_close(
            got.double(), gradient, rtol=10 * atol, atol=10 * atol
        )
