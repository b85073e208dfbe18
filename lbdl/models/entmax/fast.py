"""Entmax without sorting and without bisection: Newton's method on the largest
probability.

The plain ways in `maps.py` sort the scores or halve a bracket. Here each row needs
two to five passes over its scores:

1. With z = (alpha-1) (x - max(x)) and m = 1 / (alpha-1), the probabilities are
   p_i = relu(z_i + r)^m, and only the number r in (0, 1] is unknown: it must make
   their total S equal 1.
2. As a function of r, S^(1/m) is the m-norm of relu(z + r): convex for m >= 1, that
   is for alpha <= 2. Newton's method, started at r = 1 where the total is too
   large, therefore comes down to the root without ever passing it.
3. Leaving scores out can only raise the r that is needed. So the few largest
   scores, one from each group of columns, give a better start than r = 1 at almost
   no cost.
4. Rows are treated in chunks that fit the cache: each pass then costs a small part
   of reading the scores from memory.

The backward pass needs nothing but the result: dx = s * (g - <s, g> / sum(s)), s =
p^(2-alpha) on the support."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lbdl import kernels, require
from lbdl.models.entmax.maps import SolvedEntmax, entmax, jacobian_product
from lbdl.models.softmax.scores import require_scores
from lbdl.require import widen

# scores treated at once on a CPU: 256 KiB in float32, a few of which fit the second
# cache
CHUNK = 2**16
GROUP = 32  # scores of which only the largest takes part in the first guess
# total excess times slope falls fourfold a step: 64 steps cover float64 and any n
MAX_STEPS = 64


def fast_sparsemax(x: Tensor, dim: int = -1) -> Tensor:
    """Euclidean projection of scores onto the probability simplex: `sparsemax`,
    without sorting.

        fast_sparsemax(x) = argmin ||p - x||^2  s.t.  p >= 0, sum(p) = 1

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Martins & Astudillo 2016, section 2, arXiv:1602.02068; for alpha = 2,
        Newton's method drops scores as Michelot 1986 does."""
    return fast_entmax(x, 2.0, dim)


def fast_entmax15(x: Tensor, dim: int = -1) -> Tensor:
    """Entmax with alpha = 1.5: `entmax15`, without sorting.

        fast_entmax15(x) = relu(x / 2 - tau)^2

    with the tau for which the result sums to 1.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702.
    """
    return fast_entmax(x, 1.5, dim)


def fast_entmax(x: Tensor, alpha: float = 1.5, dim: int = -1) -> Tensor:
    """The distribution that best trades score against Tsallis entropy: `entmax`, by
    Newton's method.

        fast_entmax(x) = argmax <p, x> + H_alpha(p)  s.t.  p >= 0, sum(p) = 1

    alpha = 1 is handed to `torch.softmax`. Above 2 the total is no longer convex in
    the threshold and Newton's method may jump past the root: there the plain
    `entmax` does the work. Differentiable twice and more. The number of steps
    depends on the values, so `torch.compile` leaves this function as one eager call
    in the compiled graph (`fullgraph=True` refuses it).

    On CUDA, where Triton is installed, a kernel does it for any alpha above 1 and
    rows of up to 65536 scores. It does not look back: a row with NaN, +inf or no
    finite score becomes NaN instead of an error.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        alpha: 1 or more; from 1 on, the larger, the sparser.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support where
        alpha > 1.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: `alpha` is below 1; bad `dim`; a row with NaN, +inf or no finite
            score. The check looks at the rows' maxima, which are needed anyway: it
            costs no pass over the scores.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702; Newton's
        method in place of their Algorithm 1."""
    require.number(alpha=alpha, least=1)
    require_scores(x, dim)
    if alpha > 2 and not kernel_serves(x, x.shape[dim]):
        return entmax(x, alpha, dim)
    if alpha == 1:
        require.peaks(x=x.detach().amax(dim))
        return torch.softmax(x, dim)
    return FastEntmax.apply(x.movedim(dim, -1), alpha, solve).movedim(-1, dim)


class FastEntmax(SolvedEntmax):
    """Entmax over the last dimension; where no second derivative is asked for, the
    first comes in chunks too.
    """

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """The gradient with respect to the scores."""
        if torch.is_grad_enabled():
            return SolvedEntmax.backward(ctx, grad)
        (p,) = ctx.saved_tensors
        n = p.shape[-1]
        moved = jacobian_product_rows(
            p.reshape(-1, n), grad.reshape(-1, n), ctx.alpha
        )
        return moved.view(p.shape), None, None


def kernel_serves(x: Tensor, n: int) -> bool:
    """Whether a kernel takes rows of n scores: on CUDA, if they fit a program."""
    return n <= kernels.LONGEST_ROW and kernels.serve(x)


def solve(x: Tensor, alpha: float) -> Tensor:
    """Probabilities (..., n) of scores (..., n)."""
    rows = x.reshape(-1, x.shape[-1])
    if kernel_serves(x, x.shape[-1]):
        from lbdl.models.entmax.triton import entmax_forward

        return entmax_forward(rows, alpha).view(x.shape)
    return entmax_rows(rows, alpha).view(x.shape)


def entmax_rows(x: Tensor, alpha: float) -> Tensor:
    """Entmax of each row, chunk by chunk."""
    maxima = widen(group_maxima(x))
    highest = maxima.amax(-1, keepdim=True)
    require.peaks(x=highest)
    guess, *_ = newton_root(
        (maxima - highest).mul_(alpha - 1), torch.ones_like(highest), alpha, 1e-3
    )
    # then `settle` leaves the square of a step; else scores may cross the threshold
    smooth = alpha <= 1.5
    near = (alpha - 1) * torch.finfo(maxima.dtype).eps ** (
        1 / 2 if smooth else 2 / 3
    )
    p = torch.empty_like(x, memory_format=torch.contiguous_format)
    for scores, top, start, out in chunks(x, highest, guess, p):
        _, slopes, weights = newton_root(
            (scores - top).mul_(alpha - 1), start, alpha, near
        )
        out.copy_(settle(slopes, weights))
    return p


def settle(slopes: Tensor, weights: Tensor) -> Tensor:
    """Take the last error of r off the probabilities, where it went in: in
    proportion to the slopes.

    Dividing by the total instead would charge it to the largest probability.
    """
    excess = (weights.sum(-1, keepdim=True) - 1) / slopes.sum(-1, keepdim=True)
    return torch.addcmul(weights, slopes, excess, value=-1).relu_()


def group_maxima(x: Tensor) -> Tensor:
    """A few of each row's largest scores: lay the row out as a table and take the
    maximum of each column.

    Columns that do not fill the table are taken as they are, so that the row's
    maximum is among the results."""
    n = x.shape[-1]
    columns = max(1, n // GROUP)
    whole = n - n % columns
    # (rows, n / columns, columns)
    table = x[:, :whole].unflatten(-1, (-1, columns))
    return torch.cat([table.amax(-2), x[:, whole:]], dim=-1)


def newton_root(
    z: Tensor, root: Tensor, alpha: float, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The r for which relu(z + r)^m sums to 1, by Newton's method on the m-norm of
    relu(z + r).

    r <- r - (S - S^(2-alpha)) / D, S = sum relu(z + r)^m, D = sum relu(z + r)^(m-1)
    """
    for _ in range(MAX_STEPS):
        slopes, weights = lower_and_full_power(z, root, 1 / (alpha - 1))
        total = weights.sum(-1, keepdim=True)
        step = (total - total ** (2 - alpha)) / slopes.sum(-1, keepdim=True)
        root = root - step
        if bool((step <= tolerance * root).all()):
            break
    return root, slopes, weights


def lower_and_full_power(
    z: Tensor, root: Tensor, m: float
) -> tuple[Tensor, Tensor]:
    """t^(m-1) and t^m for t = relu(z + r).

    Where m is a small whole number (alpha = 2, 3/2, 4/3, 5/4), products are much
    cheaper than a power. Elsewhere the logarithm of t is log(1 + z / r) + log(r),
    which stays exact when m is large and t therefore near 1."""
    if round(m) <= 4 and abs(m - round(m)) < 1e-9:
        return whole_powers((z + root).relu_(), round(m))
    log = (z / root).clamp_(min=-1).log1p_().add_(root.log())
    return (log * (m - 1)).exp_(), log.mul_(m).exp_()


def whole_powers(t: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """t^(m-1) and t^m by repeated products, with 0^0 = 0."""
    if m == 1:
        return t.sign(), t
    lower = t
    for _ in range(m - 2):
        lower = lower * t
    return lower, lower * t


def jacobian_product_rows(p: Tensor, grad: Tensor, alpha: float) -> Tensor:
    """`jacobian_product` of each row, chunk by chunk, or by a kernel."""
    if kernel_serves(p, p.shape[-1]):
        from lbdl.models.entmax.triton import entmax_backward

        return entmax_backward(p, grad, alpha)
    result = torch.empty_like(p, memory_format=torch.contiguous_format)
    for some_p, some_grad, out in chunks(p, grad, result):
        out.copy_(
            jacobian_product(quick_slopes(widen(some_p), alpha), widen(some_grad))
        )
    return result


def quick_slopes(p: Tensor, alpha: float) -> Tensor:
    """`entmax_slope` for alpha <= 2, quickly, and not to be differentiated: s =
    p^(2-alpha), 0 off the support.

    For alpha = 1.5 this is sqrt(p), taken as p / sqrt(p): the reciprocal root is
    one instruction on most CPUs, where `torch.sqrt` may take the long way."""
    if alpha == 2:
        return p.sign()
    if alpha == 1.5:
        return p.clamp(min=torch.finfo(p.dtype).tiny).rsqrt_().mul_(p)
    return p ** (2 - alpha)


def chunks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of each table, until all rows were served; all rows at once
    on other devices than the CPU.
    """
    first = tables[0]
    rows = (
        max(1, CHUNK // first.shape[-1])
        if first.device.type == "cpu"
        else max(1, len(first))
    )
    return zip(*(table.split(rows) for table in tables), strict=True)
