"""The cross-entropy kernels against the plain loss, on CUDA where there is one, else in Triton's interpreter."""

import math

import pytest
import torch

from lbdl import kernels as launch
from lbdl.foundations.losses import cross_entropy, fast_cross_entropy

pytest.importorskip("triton")
from lbdl.foundations.losses import triton as kernels

pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the interpreter's NumPy speaks up on masked lanes

EXACT = {
    torch.float64: 1e-13,
    torch.float32: 5e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows longer than a piece, without long rows."""
    monkeypatch.setattr(kernels, "PIECE", 16)


def batch(K: int, dtype: torch.dtype, device: str) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(K)
    x = 3 * torch.randn(5, K, dtype=torch.float64, generator=generator)
    target = torch.randint(K, (5,), generator=generator)
    grad = torch.randn(5, dtype=torch.float64, generator=generator)
    return x.to(device, dtype), target.to(device), grad.to(device)


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("K", [1, 2, 16, 17, 50])
def test_losses_and_gradients_are_those_of_the_plain_loss(
    K: int, smoothing: float, dtype: torch.dtype, kernel_device: str
):
    x, target, grad = batch(K, dtype, kernel_device)
    wide = x.double().requires_grad_()
    expected = cross_entropy(wide, target, smoothing=smoothing, reduction="none")
    (gradient,) = torch.autograd.grad((expected * grad).sum(), wide)
    losses, lse = kernels.cross_entropy_forward(x, target, smoothing)
    found = kernels.cross_entropy_backward(
        x, target, lse, grad.to(lse.dtype), smoothing
    )
    assert (
        losses.dtype == lse.dtype == torch.promote_types(dtype, torch.float32)
        and found.dtype == dtype
    )
    atol = (
        1e-13 if dtype == torch.float64 else 5e-6
    )  # the loss is computed in float32
    torch.testing.assert_close(
        losses.double(), expected.detach(), rtol=0, atol=atol
    )
    torch.testing.assert_close(
        found.double(), gradient, rtol=EXACT[dtype], atol=EXACT[dtype]
    )


def test_masked_logits_take_no_part_and_get_no_gradient(kernel_device: str):
    x, target, _ = batch(40, torch.float32, kernel_device)
    x[:, :20], target = -math.inf, target.clamp(min=20)
    losses, lse = kernels.cross_entropy_forward(x, target)
    torch.testing.assert_close(
        losses, cross_entropy(x[:, 20:], target - 20, reduction="none")
    )
    gradient = kernels.cross_entropy_backward(x, target, lse, torch.ones_like(lse))
    assert bool((gradient[:, :20] == 0).all()) and bool(
        gradient[:, 20:].any(-1).all()
    )


def test_a_row_without_an_answer_is_nan_and_no_other_row_is(kernel_device: str):
    rows = [
        [1.0, math.nan, 2.0],
        [math.inf, 0.0, 1.0],
        [-math.inf] * 3,
        [1.0, 2.0, 3.0],
    ]
    target = torch.zeros(4, dtype=torch.int64, device=kernel_device)
    losses, _ = kernels.cross_entropy_forward(
        torch.tensor(rows, device=kernel_device), target
    )
    assert losses.isnan().tolist() == [True, True, True, False]


def test_a_class_that_is_not_there_is_nan_and_reads_no_other_memory(
    kernel_device: str,
):
    x, _, _ = batch(20, torch.float32, kernel_device)
    target = torch.tensor([-1, 20, 10**12, 0, 19], device=kernel_device)
    losses, _ = kernels.cross_entropy_forward(x, target)
    assert losses.isnan().tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_fast_loss_takes_the_kernel(
    reduction: str, kernel_device: str, monkeypatch
):
    monkeypatch.setattr(launch, "serve", lambda *tensors: True)
    x, target, _ = batch(20, torch.float64, kernel_device)
    x, target = x[:4].view(2, 2, 20).requires_grad_(), target[:4].view(2, 2)
    called = []
    forward = kernels.cross_entropy_forward
    monkeypatch.setattr(
        kernels, "cross_entropy_forward", lambda *a: called.append(1) or forward(*a)
    )
    found = fast_cross_entropy(x, target, smoothing=0.1, reduction=reduction)
    assert called == [1]
    expected = cross_entropy(x, target, smoothing=0.1, reduction=reduction)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_strided_rows_and_no_rows(kernel_device: str):
    x, target, _ = batch(20, torch.float32, kernel_device)
    expected, _ = kernels.cross_entropy_forward(x, target)
    for view in (x.T.contiguous().T, x.repeat(1, 2)[:, :20]):
        losses, lse = kernels.cross_entropy_forward(view, target)
        torch.testing.assert_close(losses, expected)
        gradient = kernels.cross_entropy_backward(
            view, target, lse, torch.ones_like(lse)
        )
        assert gradient.shape == x.shape
    assert kernels.cross_entropy_forward(x[:0], target[:0])[0].shape == (0,)
