"""The entmax kernels against the plain map, on CUDA where there is one, else in Triton's interpreter."""

import math

import pytest
import torch

from lbdl import kernels as launch
from lbdl.models.entmax import entmax, fast_entmax

pytest.importorskip("triton")
from lbdl.models.entmax import triton as kernels

pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the interpreter's NumPy speaks up on masked lanes

ALPHAS = [1.01, 1.25, 1.5, 1.7, 2.0, 2.5]
EXACT = {
    torch.float64: 1e-13,
    torch.float32: 2e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
}


def scores(rows: int, n: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Peaked and flat rows, ties and masks."""
    x = 2 * torch.randn(
        rows, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n)
    )
    x[0] = 0
    x[1] *= 0.05
    x[2, 1:2] = -math.inf
    return x.to(device, dtype)


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_forward_is_the_plain_map(
    alpha: float, dtype: torch.dtype, kernel_device: str
):
    for n in (1, 2, 33, 130):
        x = scores(4, n, dtype, kernel_device)
        p = kernels.entmax_forward(x, alpha)
        assert p.dtype == dtype
        torch.testing.assert_close(
            p.double(), entmax(x.double(), alpha), rtol=0, atol=EXACT[dtype]
        )
        assert bool((p[2, 1:2] == 0).all()), "a masked element gets exactly 0"


@pytest.mark.parametrize("alpha", [1.5, 2.5])
def test_the_longest_row_that_one_program_takes(alpha: float, kernel_device: str):
    x = scores(4, launch.LONGEST_ROW, torch.float32, kernel_device)
    p = kernels.entmax_forward(x, alpha)
    torch.testing.assert_close(p, entmax(x, alpha), rtol=0, atol=2e-6)
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[:, 0]))


@pytest.mark.parametrize("alpha", [4.0, 8.0, 50.0, 200.0])
def test_large_alpha_is_right_to_the_root_of_rounding(
    alpha: float, kernel_device: str
):
    x = scores(4, 40, torch.float32, kernel_device)
    p = kernels.entmax_forward(x, alpha)
    torch.testing.assert_close(
        p.sum(-1), torch.ones_like(p[:, 0]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(p[0], torch.full_like(p[0], 1 / 40))
    if alpha < 10:  # above, a probability jumps where rounding moves the threshold
        expected = entmax(x.double(), alpha)
        torch.testing.assert_close(p.double(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str
)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_backward_is_the_gradient_of_the_plain_map(
    alpha: float, dtype: torch.dtype, kernel_device: str
):
    x = scores(4, 33, torch.float64, kernel_device).requires_grad_()
    grad = torch.randn(
        4, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).to(kernel_device)
    p = entmax(x, alpha)
    (expected,) = torch.autograd.grad((p * grad).sum(), x)
    found = kernels.entmax_backward(p.detach().to(dtype), grad.to(dtype), alpha)
    atol = 20 * EXACT[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=atol, atol=atol)


@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0, 3.0])
def test_a_row_without_an_answer_becomes_nan_and_no_other_row_does(
    alpha: float, kernel_device: str
):
    rows = [
        [1.0, math.nan, 2.0],
        [math.inf, 0.0, 1.0],
        [-math.inf] * 3,
        [1.0, 2.0, 3.0],
    ]
    p = kernels.entmax_forward(torch.tensor(rows, device=kernel_device), alpha)
    assert p.isnan().all(-1).tolist() == [True, True, True, False]


@pytest.mark.parametrize("alpha", [1.5, 3.0])
def test_the_fast_map_takes_the_kernel(
    alpha: float, kernel_device: str, monkeypatch
):
    monkeypatch.setattr(launch, "serve", lambda *tensors: True)
    called = []
    forward, backward = kernels.entmax_forward, kernels.entmax_backward
    monkeypatch.setattr(
        kernels, "entmax_forward", lambda *a: called.append(1) or forward(*a)
    )
    monkeypatch.setattr(
        kernels, "entmax_backward", lambda *a: called.append(2) or backward(*a)
    )
    x = scores(4, 30, torch.float64, kernel_device).view(2, 2, 30).requires_grad_()
    grad = torch.randn(2, 30, 2, dtype=torch.float64, device=kernel_device)
    answers = []
    for way in (fast_entmax, entmax):
        p = way(x.mT, alpha, dim=1)
        answers.append((p, *torch.autograd.grad((p * grad).sum(), x)))
    assert called == [1, 2]
    torch.testing.assert_close(*answers, rtol=1e-9, atol=1e-9)


def test_rows_may_be_strided_and_may_be_none(kernel_device: str):
    x = scores(4, 30, torch.float32, kernel_device)
    expected = entmax(x, 1.5)
    for view in (
        x.T.contiguous().T,
        x.repeat(1, 2)[:, :30],
        x.flip(0)[[3, 2, 1, 0]],
    ):
        torch.testing.assert_close(
            kernels.entmax_forward(view, 1.5), expected, rtol=0, atol=1e-6
        )
    assert kernels.entmax_forward(x[:0], 1.5).shape == (0, 30)
    assert kernels.entmax_backward(x[:0], x[:0], 1.5).shape == (0, 30)
