"""Positions: what tells a transformer which place a vector stands at.

Attention alone sees a set. Three ways to tell it the order: add a vector for each
place (sinusoidal, learned), add a number for each distance to the scores (T5,
ALiBi), or turn queries and keys by an angle that grows with the place, so that
their product knows the distance alone (RoPE, xPos; in two dimensions for pictures).

Vaswani et al. 2017, arXiv:1706.03762; Raffel et al. 2020, arXiv:1910.10683; Press,
Smith & Lewis 2022, arXiv:2108.12409; Su et al. 2021, arXiv:2104.09864; Sun et al.
2023, arXiv:2212.10554.
"""

import math

import torch
from torch import Tensor, nn

from lbdl import require

__all__ = [
    "ALiBi",
    "LearnedPositions",
    "Rotary",
    "T5Bias",
    "alibi_bias",
    "alibi_slopes",
    "fast_rope",
    "frequencies",
    "rope",
    "rope_2d",
    "rope_turns",
    "sinusoidal",
    "t5_bucket",
    "xpos",
    "xpos_scales",
]

BASE = 10_000.0


# --- Vectors for places
# -------------------------------------------------------------


def frequencies(width: int, base: float = BASE) -> Tensor:
    """How fast each pair of coordinates turns from one place to the next.

        w_i = base^(-2i/d),   i = 0, ..., d/2 - 1

    Args:
        width: d, even, >= 2.
        base: above 1.

    Returns:
        Radians a place (d/2,), float64, from 1 down.

    Raises:
        TypeError: an argument is no number.
        ValueError: `width` is odd or below 2, or `base` not above 1.

    Source: Vaswani et al. 2017, section 3.5, arXiv:1706.03762.
    """
    require_even(width)
    require.number(base=base, above=1)
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def sinusoidal(positions: Tensor, width: int, base: float = BASE) -> Tensor:
    """A vector for each place, out of sines and cosines of all wavelengths.

        v(p)_2i = sin(p w_i),   v(p)_2i+1 = cos(p w_i)

    The product of two of them, sum_i cos((p - q) w_i), knows the distance alone,
    and v(p + k) is v(p) turned by a matrix that depends on k.

    Args:
        positions: p (...), floating dtype; places need not be whole.
        width: d, even, >= 2.
        base: above 1.

    Returns:
        (..., d), dtype of `positions`.

    Raises:
        TypeError: `positions` is not floating, or an argument is no number.
        ValueError: `width` is odd or below 2, or `base` not above 1.

    Source: Vaswani et al. 2017, section 3.5, arXiv:1706.03762.
    """
    angles = angles_of(positions, width, base)
    both = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (..., d/2, 2)
    return both.flatten(-2).to(positions.dtype)


def angles_of(positions: Tensor, width: int, base: float) -> Tensor:
    """p w_i (..., d/2), in float64: far places times small frequencies, to the last
    digit."""
    require.floating(positions=positions)
    w = frequencies(width, base).to(positions.device)
    return positions.double().unsqueeze(-1) * w


class LearnedPositions(nn.Module):
    """A vector for each place, found by training; there is none for places beyond.

        x_p + v_p,    at first v_p ~ N(0, 0.02^2)

    Args:
        length: the longest text, >= 1.
        width: of the vectors, >= 1.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1; called with a longer text.

    Source: Devlin et al. 2019, arXiv:1810.04805.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        require.whole(length=length, width=width, least=1)
        self.table = nn.Parameter(0.02 * torch.randn(length, width))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """(..., n, width) at the places from `start` on, to the same."""
        end, length = start + x.shape[-2], len(self.table)
        if end > length:
            raise ValueError(f"x must end within {length} places, got place {end}")
        return x + self.table[start:end]


# --- Numbers for distances
# ----------------------------------------------------------


def t5_bucket(
    distance: Tensor,
    buckets: int = 32,
    farthest: int = 128,
    *,
    bidirectional: bool = True,
) -> Tensor:
    """Which bucket a distance falls into: near ones each their own, far ones many
    together.

        |r| < h: |r|,   else h + floor((b - h) log(|r| / h) / log(farthest / h))

    but never more than b - 1, with b buckets on a side and h = b/2 of them exact.
    Bidirectional, half of all buckets are for each side, and keys that lie ahead
    have the second half; else keys ahead have bucket 0.

    Args:
        distance: r = place of the key - place of the query, int64, any shape.
        buckets: in all, >= 4 and even if bidirectional, else >= 2.
        farthest: from here on all distances share the last bucket; above h.
        bidirectional: whether keys may lie ahead.

    Returns:
        Numbers of buckets, int64, shape of `distance`.

    Raises:
        TypeError: `distance` is not int64, or a number no whole one.
        ValueError: a number is out of range.

    Source: Raffel et al. 2020, section 2.1, arXiv:1910.10683, and its published
    code.
    """
    require.integer(distance=distance)
    require.whole(buckets=buckets, least=4 if bidirectional else 2)
    side = buckets // 2 if bidirectional else buckets
    exact = side // 2
    require.whole(farthest=farthest, least=exact + 1)
    ahead = distance > 0
    far = distance.abs() if bidirectional else (-distance).clamp(min=0)
    ratio = (far.clamp(min=exact).float() / exact).log() / math.log(
        farthest / exact
    )
    grown = exact + (ratio * (side - exact)).long()
    bucket = torch.where(far < exact, far, grown.clamp(max=side - 1))
    return bucket + side * ahead if bidirectional else bucket


class T5Bias(nn.Module):
    """A number for each head and bucket of distances, added to the scores.

        s_hij <- s_hij + b_h(bucket(j - i))

    Args:
        heads: >= 1.
        buckets: of distances, as in `t5_bucket`.
        farthest: as in `t5_bucket`.
        bidirectional: as in `t5_bucket`.

    Raises:
        TypeError: a number is no whole one.
        ValueError: a number is out of range.

    Source: Raffel et al. 2020, section 2.1, arXiv:1910.10683.
    """

    def __init__(
        self,
        heads: int,
        buckets: int = 32,
        farthest: int = 128,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        require.whole(heads=heads, least=1)
        self.how = {"buckets": buckets, "farthest": farthest}
        self.bidirectional = bidirectional
        # refuses what is out of range
        self.bucket(torch.zeros(1, dtype=torch.int64))
        self.table = nn.Parameter(torch.zeros(heads, buckets))

    def bucket(self, distance: Tensor) -> Tensor:
        """Numbers of buckets."""
        return t5_bucket(distance, **self.how, bidirectional=self.bidirectional)

    def forward(self, n: int, m: int | None = None) -> Tensor:
        """The numbers (heads, n, m) for the last n of m places as queries."""
        return self.table[:, self.bucket(distances(n, m, self.table.device))]


def alibi_slopes(heads: int) -> Tensor:
    """How steeply each head forgets.

        m_h = 2^(-8h/H),   h = 1, ..., H

    For H that is no power of two: those of the power below, and every second one of
    the power above.

    Args:
        heads: H >= 1.

    Returns:
        Slopes (H,), float32.

    Raises:
        TypeError: `heads` is no whole number.
        ValueError: `heads` is below 1.

    Source: Press, Smith & Lewis 2022, section 3, arXiv:2108.12409, and its code.
    """
    require.whole(heads=heads, least=1)
    power = 1 << (heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * torch.arange(1, power + 1))
    if power == heads:
        return slopes
    between = 2.0 ** (-4 / power * torch.arange(1, 2 * power + 1, 2))
    return torch.cat([slopes, between[: heads - power]])


def alibi_bias(heads: int, n: int, m: int | None = None) -> Tensor:
    """What ALiBi adds to the scores: a penalty that grows with the distance.

        b_hij = -m_h |i - j|

    Args:
        heads: H >= 1.
        n: queries, the last n of m places, 1 <= n <= m.
        m: keys; by default n.

    Returns:
        (H, n, m), float32.

    Raises:
        TypeError: a number is no whole one.
        ValueError: a number is out of range.

    Source: Press, Smith & Lewis 2022, section 3, arXiv:2108.12409.
    """
    return -alibi_slopes(heads)[:, None, None] * distances(n, m).abs()


class ALiBi(nn.Module):
    """`alibi_bias` as a part of a model; it has nothing to learn.

    Args:
        heads: H >= 1.

    Raises:
        TypeError: `heads` is no whole number.
        ValueError: `heads` is below 1.

    Source: Press, Smith & Lewis 2022, arXiv:2108.12409.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.slopes: Tensor
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, n: int, m: int | None = None) -> Tensor:
        """The penalties (heads, n, m) for the last n of m places as queries."""
        far = distances(n, m, self.slopes.device).abs()
        return -self.slopes[:, None, None] * far


def distances(
    n: int, m: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Place of the key - place of the query (n, m), int64; the queries are the last
    n places."""
    m = n if m is None else m
    require.whole(m=m, least=1)
    require.whole(n=n, least=1, most=m)
    places = torch.arange(m, device=device)
    return places - places[m - n :, None]


# --- Turning queries and keys
# -------------------------------------------------------


def rope(x: Tensor, positions: Tensor, base: float = BASE) -> Tensor:
    """Turns each pair of coordinates by an angle that grows with the place. The
    plain way.

        (x_2i, x_2i+1) <- R(p w_i) (x_2i, x_2i+1),
        R(a) = [[cos a, -sin a], [sin a, cos a]]

    R(a)^T R(b) = R(b - a): the product of a query turned at p with a key turned at
    q depends on q - p alone.

    >>> x = torch.tensor([[1.0, 0.0]])
    >>> rope(x, torch.tensor([torch.pi / 2])).round()
    tensor([[-0.,  1.]])

    Args:
        x: (..., n, d), d even, floating dtype.
        positions: p (n,), floating dtype; places need not be whole.
        base: above 1.

    Returns:
        Shape and dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, d is odd, or `base` is not above 1.

    Source: Su et al. 2021, equations 14 and 15, arXiv:2104.09864.
    """
    require_places(x, positions)
    angles = angles_of(positions, x.shape[-1], base)
    wide = require.widen(x)
    cos, sin = angles.cos().to(wide.dtype), angles.sin().to(wide.dtype)
    even, odd = wide[..., 0::2], wide[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def rope_turns(
    positions: Tensor, width: int, base: float = BASE, *, double: bool = False
) -> Tensor:
    """The turns of `rope` as complex numbers, made once for many queries and keys.

        e^(i p w_j)

    Args:
        positions: p (n,), floating dtype.
        width: d, even, >= 2.
        base: above 1.
        double: complex128, for float64 queries; else complex64.

    Returns:
        (n, d/2), complex64 or complex128.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `positions` has another shape, `width` is odd or below 2, or
            `base` not above 1.
    """
    angles = angles_of(positions, width, base)
    require.shapes(positions=(positions, "n"))
    turns = torch.polar(torch.ones_like(angles), angles)
    return turns if double else turns.to(torch.complex64)


def fast_rope(x: Tensor, turns: Tensor) -> Tensor:
    """`rope` as one multiplication of complex numbers: a pair is a number.

    Args:
        x: (..., n, d), d even, floating dtype.
        turns: of `rope_turns`, (n, d/2), complex128 for float64, else complex64.

    Returns:
        Shape and dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: `x` is not floating, or `turns` not of the complex dtype that
            goes with it.
        ValueError: shapes do not fit.

    Source: Su et al. 2021, equation 12, arXiv:2104.09864.
    """
    require.floating(x=x)
    require.tensor(turns=turns)
    due = torch.complex128 if x.dtype == torch.float64 else torch.complex64
    if turns.dtype != due:
        raise TypeError(
            f"turns must be {due} for x in {x.dtype}, got {turns.dtype}"
        )
    require.shapes(x=(x, "... n d"), turns=(turns, "n half"))
    if x.shape[-1] != 2 * turns.shape[-1]:
        raise ValueError(
            f"turns must be (n, d/2) for x {tuple(x.shape)}, "
            f"got shape {tuple(turns.shape)}"
        )
    wide = require.widen(x)
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


class Rotary(nn.Module):
    """`rope` for queries and keys of any length: the turns are made once, and grow
    when a longer text comes.

    Args:
        width: of a head, even, >= 2.
        base: above 1.

    Raises:
        TypeError: an argument is no number.
        ValueError: `width` is odd or below 2, or `base` not above 1.

    Source: Su et al. 2021, arXiv:2104.09864.
    """

    def __init__(self, width: int, base: float = BASE) -> None:
        super().__init__()
        frequencies(width, base)  # refuses what is out of range
        self.width, self.base = width, base
        self.turns = torch.empty(0, width // 2, dtype=torch.complex64)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """(..., n, width) at the places from `start` on, to the same."""
        end, double = start + x.shape[-2], x.dtype == torch.float64
        kept = self.turns
        due = torch.complex128 if double else torch.complex64
        if len(kept) < end or kept.device != x.device or kept.dtype != due:
            places = torch.arange(2 * end, dtype=torch.float64, device=x.device)
            self.turns = rope_turns(places, self.width, self.base, double=double)
        return fast_rope(x, self.turns[start:end])


def xpos_scales(
    positions: Tensor, width: int, gamma: float = 0.4, scale_base: float = 512.0
) -> Tensor:
    """By how much xPos stretches the pairs of a query; a key is divided by it.

        z_i(p) = ((2i/d + g) / (1 + g))^(p / s)

    Args:
        positions: p (...), floating dtype.
        width: d, even, >= 2.
        gamma: g > 0; the smaller, the faster fast-turning pairs fade.
        scale_base: s > 0, places; the smaller, the faster all pairs fade.

    Returns:
        (..., d/2), dtype of `positions`, at least float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `width` is odd or below 2, or `gamma` or `scale_base` not
            above 0.

    Source: Sun et al. 2023, section 2.2, arXiv:2212.10554; s = 512 is that of its
        code.
    """
    require.floating(positions=positions)
    require_even(width)
    require.number(gamma=gamma, scale_base=scale_base, above=0)
    i = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    rate = ((i / width + gamma) / (1 + gamma)).log() / scale_base
    wide = require.widen(positions)
    return (positions.double().unsqueeze(-1) * rate).exp().to(wide.dtype)


def xpos(
    q: Tensor,
    k: Tensor,
    positions: Tensor,
    base: float = BASE,
    gamma: float = 0.4,
    scale_base: float = 512.0,
) -> tuple[Tensor, Tensor]:
    """RoPE that also fades: far keys fit less well, fast-turning pairs fade first.

        q_p <- z(p) R(p) q_p,   k_p <- z(p)^-1 R(p) k_p

    The product still depends on the distance alone. Keys far from place 0 become
    large: shift all places by the same number, so that the middle one is 0.

    Args:
        q: queries (..., n, d), d even, floating dtype.
        k: keys (..., n, d), dtype of `q`.
        positions: p (n,), floating dtype.
        base: above 1.
        gamma: g > 0, as in `xpos_scales`.
        scale_base: s > 0, as in `xpos_scales`.

    Returns:
        Queries and keys (..., n, d), turned and stretched.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Sun et al. 2023, section 2.2, arXiv:2212.10554.
    """
    require.floating(q=q)
    require_places(q, positions, "q")
    require.floating(k=k)
    require.alike(q=q, k=k)
    require.shapes(q=(q, "... n d"), k=(k, "... n d"))
    z = xpos_scales(positions.double(), q.shape[-1], gamma, scale_base)
    z = z.repeat_interleave(2, -1)  # both coordinates of a pair alike
    q, k = rope(q, positions, base), rope(k, positions, base)
    return (q * z).to(q.dtype), (k / z).to(k.dtype)


def rope_2d(x: Tensor, places: Tensor, base: float = BASE) -> Tensor:
    """RoPE on a plane: half of the pairs turn with the one coordinate, half with
    the other.

        R(x, y) = diag(R(x w), R(y w)),   R(a)^T R(b) = R(b - a) for places a, b

    Turning every pair by x + y would keep this, and lose where on a line of equal x
    + y a place lies.

    Args:
        x: (..., n, d), d divisible by 4, floating dtype.
        places: (x, y) of each place (n, 2), floating dtype.
        base: above 1.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, d is not divisible by 4, or `base` is not
            above 1.

    Source: Su et al. 2021, arXiv:2104.09864, once for each axis; Heo et al. 2024,
        arXiv:2403.13298, call it axial.
    """
    require.floating(x=x, places=places)
    require.shapes(x=(x, "... n d"), places=(places, "n 2"))
    if x.shape[-1] % 4:
        raise ValueError(f"x must be (..., n, d) with 4 | d, got {tuple(x.shape)}")
    halves = x.chunk(2, -1)
    along = places.unbind(-1)
    return torch.cat(
        [rope(x, p, base) for x, p in zip(halves, along, strict=True)], -1
    )


def require_places(x: Tensor, positions: Tensor, name: str = "x") -> None:
    """Vectors (..., n, d) of even width, and their places (n,)."""
    require.floating(**{name: x}, positions=positions)
    patterns = {name: (x, "... n d"), "positions": (positions, "n")}
    require.shapes(**patterns)  # type: ignore[arg-type]
    require_even(x.shape[-1])


def require_even(width: int) -> None:
    """Pairs need an even width."""
    require.whole(width=width, least=2)
    if width % 2:
        raise ValueError(f"width must be even, got {width}")
