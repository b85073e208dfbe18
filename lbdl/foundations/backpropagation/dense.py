"""A dense layer forward and backward by hand, and what the two passes of a network
of such layers cost.

Source: Rumelhart, Hinton & Williams 1986, Nature 323; Goodfellow,
    Bengio & Courville 2016, Deep Learning,
section 6.5.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from lbdl import require

__all__ = [
    "DenseGradients",
    "backward_ratio",
    "dense",
    "dense_backward",
    "matmul_flops",
    "network_flops",
]


class DenseGradients(NamedTuple):
    """The three gradients of a dense layer.

    Args:
        x: gradient with respect to the input (..., n, d).
        weight: with respect to the weights (d, k).
        bias: with respect to the bias (k,).

    Source: Goodfellow, Bengio & Courville 2016, section 6.5.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One layer of weights for a batch of n inputs.

        Y = X W + b

    Args:
        x: inputs X (..., n, d), floating dtype.
        weight: W (d, k).
        bias: b (k,).

    Returns:
        Y (..., n, k).

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Goodfellow, Bengio & Courville 2016, chapter 6.
    """
    require.fitting(
        x=(x, "... n d"), weight=(weight, "d k"), bias=(bias, "k"), least=0
    )
    return x @ weight + bias


def dense_backward(g: Tensor, x: Tensor, weight: Tensor) -> DenseGradients:
    """The three gradients of a loss, from the gradient with respect to the layer's
    output.

        dX = G W^T,    dW = X^T G,    db = sum of the rows of G

    The bias was copied to every row, so its gradient is a sum over the rows, and
    over leading dimensions.

    Args:
        g: gradient G with respect to Y (..., n, k), floating dtype.
        x: the inputs X of the forward pass (..., n, d).
        weight: W (d, k).

    Returns:
        `DenseGradients`: x (..., n, d), weight (d, k), bias (k,).

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Goodfellow, Bengio & Courville 2016, section 6.5.
    """
    require.fitting(g=(g, "... n k"), weight=(weight, "d k"), least=0)
    require.fitting(x=(x, "... n d"), weight=(weight, "d k"), least=0)
    if g.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"g and x must agree but in the last dimension, got {tuple(g.shape)}, "
            f"{tuple(x.shape)}"
        )
    rows, inputs = g.flatten(0, -2), x.flatten(0, -2)  # (N, k), (N, d)
    return DenseGradients(g @ weight.mT, inputs.mT @ rows, rows.sum(0))


def matmul_flops(m: int, k: int, n: int) -> int:
    """Operations of a product (m, k) @ (k, n): a multiplication and an addition for
    each term.

        2 m k n

    It is what `torch.utils.flop_counter` counts.

    Args:
        m: rows of the first matrix, >= 0.
        k: its columns, >= 0.
        n: columns of the second, >= 0.

    Returns:
        The number of floating-point operations.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: one of `m`, `k`, `n` is negative.
    """
    require.whole(m=m, k=k, n=n, least=0)
    return 2 * m * k * n


def network_flops(
    widths: Sequence[int], batch: int, *, input_gradient: bool = False
) -> tuple[int, int]:
    """Operations in the matrix products of a network of dense layers, of one pass
    forward and of one back.

        forward  = sum_d 2 B n_(d-1) n_d,
        backward = twice that, less the input gradient of the first layer

    Args:
        widths: n_0, ..., n_D, two or more numbers.
        batch: the number B of inputs.
        input_gradient: whether the gradient with respect to the network's input is
            computed too.

    Returns:
        The two numbers of operations.

    Raises:
        TypeError: `widths` is no list of whole numbers, or `batch` no whole number.
        ValueError: there is no layer, or a number is negative.

    Source: Goodfellow, Bengio & Courville 2016, section 6.5.
    """
    require.sequence(widths=widths)
    require.whole(**{f"widths[{i}]": n for i, n in enumerate(widths)}, least=0)
    require.whole(batch=batch, least=0)
    if len(widths) < 2:
        raise ValueError(f"widths must be two or more numbers, got {list(widths)}")
    each = [matmul_flops(batch, a, b) for a, b in pairwise(widths)]
    return sum(each), 2 * sum(each) - (0 if input_gradient else each[0])


def backward_ratio(depth: int) -> float:
    """Operations backward over operations forward, of `depth` dense layers of equal
    width.

        (2 D - 1) / D  =  1, 3/2, 5/3, ...  ->  2

    Two products a layer, one for the input and one for the weights; the first
    layer's input needs none.

    Args:
        depth: the number D >= 1 of layers.

    Returns:
        The ratio, a number from 1 to 2.

    Raises:
        TypeError: `depth` is no whole number.
        ValueError: `depth` is below 1.
    """
    require.whole(depth=depth, least=1)
    return (2 * depth - 1) / depth
