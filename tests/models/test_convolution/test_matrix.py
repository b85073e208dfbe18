"""The matrix of a convolution, and convolutions on a torus, against the layer itself and dense linear algebra."""

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.convolution import (
    circular_conv2d,
    circular_singular_values,
    conv2d_matrix,
    fast_circular_conv2d,
)

both = pytest.mark.parametrize("convolve", [circular_conv2d, fast_circular_conv2d])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=chance)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [(1, 0, 1), ((2, 1), (1, 3), (1, 2)), (3, 2, 2)],
)
def test_the_matrix_does_what_the_layer_does(
    stride, padding, dilation, device
) -> None:
    x, w = draw(3, 6, 7).to(device), draw(4, 3, 3, 2, seed=1).to(device)
    A = conv2d_matrix(w, 6, 7, stride, padding, dilation)
    expected = F.conv2d(x, w, None, stride, padding, dilation)
    torch.testing.assert_close(A @ x.flatten(), expected.flatten())


def test_its_entries_are_nine_values() -> None:
    A = conv2d_matrix(draw(1, 1, 3, 3), 8, 8)
    assert A.shape == (36, 64)
    assert A.values().numel() == 324
    assert len(A.values().unique()) == 9


def test_gradients_reach_the_filter() -> None:
    w, x = draw(2, 1, 3, 3).requires_grad_(), draw(1, 5, 6)
    by_matrix = (conv2d_matrix(w, 5, 6) @ x.flatten()).square().sum()
    by_layer = F.conv2d(x, w).square().sum()
    torch.testing.assert_close(
        torch.autograd.grad(by_matrix, w), torch.autograd.grad(by_layer, w)
    )


@both
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (1, 1), (6, 7)])
def test_on_a_torus_it_is_torchs_circular_padding(convolve, kernel, device) -> None:
    x, w = draw(2, 3, 6, 7).to(device), draw(4, 3, *kernel, seed=1).to(device)
    x.requires_grad_(), w.requires_grad_()
    around = F.pad(x, (0, kernel[1] - 1, 0, kernel[0] - 1), mode="circular")
    y, expected = convolve(x, w), F.conv2d(around, w)
    torch.testing.assert_close(y, expected)
    g = draw(*y.shape, seed=2).to(device)
    torch.testing.assert_close(
        torch.autograd.grad(y, (x, w), g), torch.autograd.grad(expected, (x, w), g)
    )


@both
def test_a_shift_goes_through(convolve) -> None:
    x, w = draw(3, 6, 7), draw(4, 3, 3, 3, seed=1)
    shifted = convolve(x.roll((2, 3), (-2, -1)), w)
    torch.testing.assert_close(shifted, convolve(x, w).roll((2, 3), (-2, -1)))


def test_the_fast_way_keeps_single_and_half_precision() -> None:
    x, w = draw(3, 6, 7), draw(4, 3, 3, 3, seed=1)
    for dtype, slack in ((torch.float32, 1e-5), (torch.bfloat16, 0.2)):
        low = fast_circular_conv2d(x.to(dtype), w.to(dtype))
        assert low.dtype == dtype
        torch.testing.assert_close(
            low.double(), circular_conv2d(x, w), rtol=slack, atol=slack
        )


@pytest.mark.parametrize(("K", "C"), [(2, 3), (3, 2), (1, 1)])
def test_singular_values_are_those_of_the_whole_matrix(K, C, device) -> None:
    w = draw(K, C, 3, 2).to(device)
    columns = torch.eye(C * 20, dtype=w.dtype, device=device).view(-1, C, 4, 5)
    A = circular_conv2d(columns, w).flatten(1).mT
    expected = torch.linalg.svdvals(A)
    found = circular_singular_values(w, 4, 5)
    assert found.shape == (4, 5, min(K, C))
    torch.testing.assert_close(
        found.flatten().sort(descending=True).values, expected[: found.numel()]
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda w, x: conv2d_matrix(w[0], 4, 4), ValueError, "weight must be"),
        (lambda w, x: conv2d_matrix(w.long(), 4, 4), TypeError, "weight must be"),
        (lambda w, x: conv2d_matrix(w, 2, 4), ValueError, "kernel must fit"),
        (lambda w, x: conv2d_matrix(w, 4.0, 4), TypeError, "height must be"),
        (lambda w, x: circular_conv2d(x[..., :2], w), ValueError, "no larger"),
        (lambda w, x: circular_conv2d(x[:1], w), ValueError, "weight must be"),
        (lambda w, x: fast_circular_conv2d(x.float(), w), TypeError, "dtype"),
        (
            lambda w, x: circular_singular_values(w, 4, 2),
            ValueError,
            "width must be",
        ),
        (
            lambda w, x: circular_singular_values(w, 4, 4.5),
            TypeError,
            "width must be",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call(draw(2, 3, 3, 3), draw(3, 4, 4))
