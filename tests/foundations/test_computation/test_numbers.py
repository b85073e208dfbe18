"""Formats bit by bit against torch's own, and sums against exact ones."""

import itertools
import math
import struct
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.core import generator
from lbdl.foundations import computation as C

NATIVE = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8": torch.float8_e5m2,
}
FLOATS = st.floats(allow_nan=False)


def many():
    """Numbers of all sizes, halfway cases, and the ends of every format."""
    draw = generator("numbers")
    x = torch.randn(20_000, generator=draw, dtype=torch.float64)
    x = x * (2.0 ** torch.randint(-160, 140, x.shape, generator=draw))
    ends = []
    for form in C.FORMATS.values():
        ulp = form.epsilon * 2.0**form.bias
        ends += [form.largest + t * ulp for t in (0, 0.25, 0.5, 0.75)]
        ends += [form.smallest * t for t in (0.25, 0.5, 0.75, 1.5, 2.5)]
        ends += [1 + form.epsilon * t for t in (0.5, 1.5, 2.5)]
    return torch.cat([x, torch.tensor(ends, dtype=torch.float64), torch.zeros(1)])


@pytest.mark.parametrize("name", NATIVE)
def test_rounding_is_that_of_the_native_type(name):
    x = many().float() if name != "float32" else many()
    x = torch.cat([x, -x])
    right = x.to(NATIVE[name]).to(x.dtype)
    assert torch.equal(C.round_to(x, C.FORMATS[name]), right)


def test_tf32_keeps_ten_bits_of_fraction():
    x = many().float()
    bits = x.view(torch.int32)
    down = (bits & ~0x1FFF).view(torch.float32)
    found = C.round_to(x, C.FORMATS["TF32"])
    finite = found.isfinite()
    assert bool(((found.view(torch.int32) & 0x1FFF) == 0)[finite].all())
    gap = C.spacing(x, C.FORMATS["TF32"]).float()
    assert bool(((found - x).abs() <= gap / 2)[finite].all())
    normal = x.abs() >= 2.0**-126
    nearest = torch.where((x - down).abs() * 2 < gap, down, down + gap.copysign(x))
    off_ties = normal & finite & ((x - down).abs() * 2 != gap)
    assert torch.equal(found[off_ties], nearest[off_ties])


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_ends_are_those_of_finfo(name):
    form, info = C.FORMATS[name], torch.finfo(NATIVE[name])
    assert (form.largest, form.epsilon) == (info.max, info.eps)
    assert form.smallest_normal == info.tiny
    assert form.smallest == info.smallest_normal * info.eps


@given(FLOATS)
def test_bits_are_those_of_the_machine(x):
    for name, code in (("float32", ">f"), ("float16", ">e")):
        form = C.FORMATS[name]
        bits = C.encode(x, form)
        y = float(C.round_to(torch.tensor(x, dtype=torch.float64), form))
        packed = struct.pack(code, y)
        assert bits.replace(" ", "") == "".join(f"{b:08b}" for b in packed)
        assert C.decode(bits, form) == y


def test_all_numbers_of_a_small_format_in_order():
    form = C.Format(3, 2)
    words = [f"{i:06b}" for i in range(2**5)]
    values = [C.decode(w, form) for w in words]
    finite = [v for v in values if math.isfinite(v)]
    assert finite == sorted(set(finite)) and finite[-1] == form.largest
    assert [C.encode(v, form).replace(" ", "") for v in finite] == words[:28]
    assert values[28] == math.inf and all(map(math.isnan, values[29:]))
    gaps = C.spacing(torch.tensor(finite[:-1]).double(), form)
    right = [b - a for a, b in itertools.pairwise(finite)]
    assert gaps.tolist() == right


def test_bits_of_another_length_are_refused():
    with pytest.raises(ValueError, match="bits must be 16 of 0 and 1"):
        C.decode("0101", C.FORMATS["float16"])
    with pytest.raises(ValueError, match=r"form.exponent must be .* >= 2"):
        C.encode(1.0, C.Format(1, 3))


def test_int8_is_off_by_half_a_step():
    x = torch.randn(5, 100, generator=generator("int8"))
    q, step = C.round_to_int8(x)
    assert q.dtype == torch.int8 and int(q.abs().max()) == 127
    assert bool(((q * step - x).abs() <= step * (0.5 + 1e-4)).all())
    zeros, none = C.round_to_int8(torch.zeros(2, 3))
    assert not zeros.any() and not none.any()


# --- Sums ---

WAYS = {
    "in order": C.sum_in_order,
    "pairwise": C.sum_pairwise,
    "kahan": C.sum_kahan,
}


def exact(row):
    return sum((Fraction(v) for v in row.double().tolist()), Fraction(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 100])
@pytest.mark.parametrize("how", WAYS)
def test_sums_are_within_their_bounds(how, n, dtype):
    x = torch.randn(6, n, generator=generator("rows")).to(dtype)
    found, bound = WAYS[how](x), C.sum_bound(x, how)
    assert found.dtype == dtype
    u = torch.finfo(dtype).eps / 2
    slack = 10 * n * u**2 if how == "kahan" else 0
    for row, got, most in zip(x, found, bound, strict=True):
        size = float(row.double().abs().sum())
        assert (
            abs(Fraction(float(got)) - exact(row))
            <= float(most) * (1 + 1e-6) + slack * size
        )


def test_in_order_is_a_loop_and_pairs_are_a_tournament():
    x = torch.randn(2, 11, generator=generator("x"), dtype=torch.float32)
    for row in x:
        loop = row[0]
        for each in row[1:]:
            loop = loop + each
        assert torch.equal(C.sum_in_order(row), loop)
        a = [row[2 * i] + row[2 * i + 1] for i in range(5)] + [row[10]]
        b = [a[0] + a[1], a[2] + a[3], a[4] + a[5]]
        assert torch.equal(C.sum_pairwise(row), (b[0] + b[1]) + b[2])


def test_kahan_keeps_what_the_loop_loses():
    x = torch.full((4097,), 2.0**-12, dtype=torch.bfloat16)
    x[0] = 1.0
    assert C.sum_in_order(x) == 1  # each addend is below half a gap
    assert C.sum_kahan(x) == 2
    assert 0 < 2 - float(C.sum_pairwise(x)) < 0.02


def test_bounds_grow_as_they_are_said_to():
    x = torch.ones(1024)
    u = 2.0**-24
    each = [float(C.sum_bound(x, how)) / (1024 * u) for how in WAYS]
    assert each == pytest.approx([1023, 10, 2], rel=1e-4)
    assert C.sum_bound(torch.ones(300).bfloat16(), "in order") == math.inf
