"""A convolution as a matrix: sparse, the same few numbers in every row; on a torus,
a product of Fourier transforms.

Sedghi, Gupta & Long 2019, "The singular values of convolutional layers",
arXiv:1805.10408.
"""

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.convolution.geometry import Pair, windows
from lbdl.models.convolution.layers import conv2d

__all__ = [
    "circular_conv2d",
    "circular_singular_values",
    "conv2d_matrix",
    "fast_circular_conv2d",
]


def conv2d_matrix(
    weight: Tensor,
    height: int,
    width: int,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """The matrix A of a convolution:   conv2d(x, w).flatten() = A x.flatten().

    Row (k, i, j) holds the filter k at the columns of the pixels that lie below it
    at the place (i, j). The columns are found by letting the window slide over the
    numbers of the pixels. No `torch.func`: sparse tensors cannot be batched.

    Args:
        weight: filters w (K, C, F, F), floating dtype.
        height, width: H and W of the image.
        stride, padding, dilation: S, P, D, one number or (of rows, of columns).

    Returns:
        A (K H' W', C H W), sparse (COO, coalesced), dtype of `weight`.

    Raises:
        TypeError: `weight` is not floating, or a size is not a whole number.
        ValueError: `weight` has not four dimensions, a size is out of range, or no
            window fits.

    Source: Goodfellow, Bengio & Courville 2016, section 9.1.
    """
    require.floating(weight=weight)
    require.shapes(weight=(weight, "K C a b"))
    require.whole(height=height, width=width, least=1)
    K, C, a, b = weight.shape
    pixels = torch.arange(1, height * width + 1, device=weight.device)
    below = windows(
        pixels.view(1, height, width), (a, b), stride, padding, dilation
    )
    below = below.reshape(-1, a * b)  # (H' W', F^2); 0 is padding
    place, cell = below.nonzero(as_tuple=True)
    pixel = below[place, cell] - 1
    filters = torch.arange(K * C, device=place.device)[:, None]
    rows = filters // C * len(below) + place  # (K C, entries)
    cols = filters % C * height * width + pixel
    values = weight.flatten(2).flatten(0, 1)[:, cell]
    shape = (K * len(below), C * height * width)
    index = torch.stack([rows.flatten(), cols.flatten()])
    return torch.sparse_coo_tensor(
        index, values.flatten(), shape, check_invariants=True
    ).coalesce()


def circular_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution on an image without borders: the right edge meets the left one,
    the bottom the top.

        y_k(i, j) = sum_c sum_a sum_b  w_kc(a, b) x_c(i + a mod H, j + b mod W)

    Args:
        x: images (..., C, H, W), floating dtype.
        weight: filters w (K, C, F, F), dtype of `x`, no larger than the image.

    Returns:
        y (..., K, H, W).

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit, `x` is empty, or the filter is larger than
            the image.

    Source: Sedghi, Gupta & Long 2019, section 2, arXiv:1805.10408.
    """
    require_torus(x, weight)
    (H, W), (a, b) = x.shape[-2:], weight.shape[2:]
    around = torch.arange(H + a - 1) % H, torch.arange(W + b - 1) % W
    rows, cols = (index.to(x.device) for index in around)
    return conv2d(x.index_select(-2, rows).index_select(-1, cols), weight)


def fast_circular_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """`circular_conv2d` by the Fourier transform: one small matrix for each
    frequency.

        y^(u, v) = conj(w^(u, v)) x^(u, v),    w^ (K, C) and x^ (C,) at each
        frequency (u, v)

    Args:
        x: images (..., C, H, W), floating dtype.
        weight: filters w (K, C, F, F), dtype of `x`, no larger than the image.

    Returns:
        y (..., K, H, W), shape and dtype of `circular_conv2d`.

    Raises:
        TypeError, ValueError: as `circular_conv2d`.

    Source: Sedghi, Gupta & Long 2019, section 2, arXiv:1805.10408.
    """
    require_torus(x, weight)
    size = x.shape[-2:]
    signal = torch.fft.rfft2(require.widen(x))
    filters = torch.fft.rfft2(require.widen(weight), s=size).conj()
    product = torch.einsum("kcuv,...cuv->...kuv", filters, signal)
    return torch.fft.irfft2(product, s=size).to(x.dtype)


def circular_singular_values(weight: Tensor, height: int, width: int) -> Tensor:
    """The singular values of a circular convolution: those of the filters' Fourier
    transform, frequency by frequency.

    The largest is the most by which the layer can stretch an image. The matrix has
    H W times more rows than any that is decomposed here.

    Args:
        weight: filters w (K, C, F, F), floating dtype, no larger than the image.
        height, width: H and W of the image.

    Returns:
        (H, W, min(K, C)), the largest first at each frequency.

    Raises:
        TypeError: `weight` is not floating, or a size is not a whole number.
        ValueError: `weight` has not four dimensions, is larger than the image, or
            is not finite.

    Source: Sedghi, Gupta & Long 2019, Theorem 6, arXiv:1805.10408.
    """
    require.floating(weight=weight)
    require.shapes(weight=(weight, "K C a b"))
    require.finite(weight=weight)
    require.whole(height=height, least=weight.shape[2])
    require.whole(width=width, least=weight.shape[3])
    spectrum = torch.fft.fft2(require.widen(weight), s=(height, width))
    values = torch.linalg.svdvals(spectrum.movedim((-2, -1), (0, 1)))
    return values.to(weight.dtype)


def require_torus(x: Tensor, weight: Tensor) -> None:
    """Refuse images (..., C, H, W) and filters (K, C, F, F) that do not fit
    together on a torus."""
    require.floating(x=x, weight=weight)
    require.alike(x=x, weight=weight)
    require.shapes(x=(x, "... C H W"), weight=(weight, "K C a b"))
    require.nonempty(x=x)
    for axis in (-2, -1):
        if weight.shape[axis] > x.shape[axis]:
            raise ValueError(
                f"weight must be no larger than the image, {tuple(x.shape[-2:])}, "
                f"got {tuple(weight.shape[-2:])}"
            )
