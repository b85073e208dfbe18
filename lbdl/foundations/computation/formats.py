"""Floating-point numbers of any width: a sign, a few bits for the power of two, the
rest for the digits after the point.

    x = +- 2^(e - bias) (1 + f / 2^F),    e from 1 to 2^E - 2, f from 0 to 2^F - 1

Below the smallest of them stand the subnormal numbers +- 2^(1 - bias) f / 2^F,
above the largest infinity.

IEEE 754 (2019); Goldberg 1991, ACM Computing Surveys 23(1); Kalamkar et al. 2019,
arXiv:1905.12322 (bfloat16).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "FORMATS",
    "Format",
    "decode",
    "encode",
    "round_to",
    "round_to_int8",
    "spacing",
]


class Format(NamedTuple):
    """A floating-point format in the manner of IEEE 754.

    Args:
        exponent: E, bits for the power of two, from 2 to 11.
        fraction: F, bits after the point, from 1 to 52.

    Source: IEEE 754 (2019), section 3.4.
    """

    exponent: int
    fraction: int

    @property
    def bias(self) -> int:
        """What is taken off the exponent: 2^(E-1) - 1."""
        return 2 ** (self.exponent - 1) - 1

    @property
    def epsilon(self) -> float:
        """From 1 to the next number: 2^-F."""
        return 2.0**-self.fraction

    @property
    def largest(self) -> float:
        """The largest finite number: (2 - epsilon) 2^bias."""
        return (2 - self.epsilon) * 2.0**self.bias

    @property
    def smallest_normal(self) -> float:
        """The smallest number with all its digits: 2^(1 - bias)."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest positive number: 2^(1 - bias - F)."""
        return 2.0 ** (1 - self.bias - self.fraction)


FORMATS = {
    "float32": Format(8, 23),
    "TF32": Format(8, 10),
    "bfloat16": Format(8, 7),
    "float16": Format(5, 10),
    "float8": Format(5, 2),
}


def spacing(x: Tensor, form: Format) -> Tensor:
    """How far apart the numbers of a format are, where x stands.

        2^(floor(log2 |x|) - F),   at least the smallest number

    Args:
        x: (...), floating dtype.
        form: the format.

    Returns:
        (...), dtype of `x`, float32 for half precision; NaN where `x` is NaN,
        beyond the largest number as if the format went on. Without gradient.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the format has too few or too many bits.
    """
    require.floating(x=x)
    require_format(form)
    return gap_at(x, form).to(require.widen(x).dtype)


def gap_at(x: Tensor, form: Format) -> Tensor:
    """The spacing where x stands, in float64, which holds that of every format."""
    x, least = x.detach().double(), 1 - form.bias
    exponent = torch.where(x == 0, least, torch.frexp(x).exponent - 1)
    exponent = exponent.clamp(min=least) - form.fraction
    gap = torch.ldexp(torch.ones_like(x), exponent)
    return torch.where(x.isfinite(), gap, x.abs())


def round_to(x: Tensor, form: Format) -> Tensor:
    """The nearest number of a format, of two equally near ones the one that ends
    in 0.

        gap round(x / gap),   infinite from the largest number and half a gap on

    Args:
        x: (...), floating dtype.
        form: the format.

    Returns:
        (...), dtype of `x`, which must be able to hold the format, as float32 does
        with all of `FORMATS`. The gradient is 0.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the format has too few or too many bits.

    Source: IEEE 754 (2019), section 4.3.1.
    """
    require.floating(x=x)
    require_format(form)
    gap = gap_at(x, form)
    gap = torch.where(gap.isfinite(), gap, 1)
    near = (x / gap).round() * gap
    beyond = near.abs() > form.largest
    infinite = torch.full_like(near, math.inf).copysign(x.double())
    return torch.where(beyond, infinite, near).to(x.dtype)


def round_to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eight bits a number: whole multiples of one step for each row.

        step = max |x| / 127,   x ~ step q,   q from -127 to 127

    The step is the same for small numbers and large ones: nothing floats.

    Args:
        x: rows (..., n), n >= 1, floating dtype, finite.

    Returns:
        q (..., n), int8, and the steps (..., 1), dtype of `x`, float32 for half
        precision; the step of a row of zeros is 0.

    Raises:
        TypeError: `x` is not floating.
        ValueError: `x` is not finite, or a row holds nothing.

    Source: Dettmers et al. 2022, section 2, arXiv:2208.07339 (absmax).
    """
    require.floating(x=x)
    require.dim(x, -1)
    require.finite(x=x)
    wide = require.widen(x)
    top = wide.abs().amax(-1, keepdim=True)
    q = (wide / torch.where(top > 0, top, 1) * 127).round()
    return q.to(torch.int8), top / 127


def encode(x: float, form: Format) -> str:
    """The bits of a number: sign, exponent, fraction, with blanks between.

    >>> encode(-1.5, FORMATS["float16"])
    '1 01111 1000000000'

    Args:
        x: a number, or an infinity; it is rounded to the format.
        form: the format.

    Returns:
        A text of 1 + E + F bits and two blanks.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `x` is NaN, or the format has too few or too many bits.

    Source: IEEE 754 (2019), section 3.4.
    """
    require.number(x=x, infinite=True)
    y = float(round_to(torch.tensor(float(x), dtype=torch.float64), form))
    size, E, F = abs(y), form.exponent, form.fraction
    if math.isinf(y):
        e, f = 2**E - 1, 0
    elif size < form.smallest_normal:
        e, f = 0, int(size / form.smallest)
    else:
        mantissa, power = math.frexp(size)  # in [1/2, 1)
        e, f = power - 1 + form.bias, int((2 * mantissa - 1) * 2**F)
    return f"{int(math.copysign(1, y) < 0)} {e:0{E}b} {f:0{F}b}"


def decode(bits: str, form: Format) -> float:
    """The number that bits stand for.

        (-1)^sign 2^(e - bias) (1 + f / 2^F),   f / 2^F 2^(1 - bias) where e = 0

    >>> decode("1 01111 1000000000", FORMATS["float16"])
    -1.5

    Args:
        bits: 1 + E + F of 0 and 1; blanks do not count.
        form: the format.

    Returns:
        The number; an infinity, or NaN, where all bits of e are 1.

    Raises:
        TypeError: `bits` is no text, or `form` no format.
        ValueError: `bits` are not as many bits as the format has, or it has too few
            or too many.

    Source: IEEE 754 (2019), section 3.4.
    """
    require.instance(str, bits=bits)
    require_format(form)
    E, F, word = form.exponent, form.fraction, bits.replace(" ", "")
    if len(word) != 1 + E + F or set(word) - {"0", "1"}:
        raise ValueError(f"bits must be {1 + E + F} of 0 and 1, got {bits!r}")
    sign = -1.0 if word[0] == "1" else 1.0
    e, f = int(word[1 : 1 + E], 2), int(word[1 + E :], 2)
    if e == 2**E - 1:
        return math.nan if f else sign * math.inf
    if e == 0:
        return sign * f * form.smallest
    return sign * 2.0 ** (e - form.bias) * (1 + f / 2**F)


def require_format(form: Format) -> None:
    """Refuse what is no format, or one that float64 cannot hold."""
    require.instance(Format, form=form)
    require.whole(**{"form.exponent": form.exponent}, least=2, most=11)
    require.whole(**{"form.fraction": form.fraction}, least=1, most=52)
