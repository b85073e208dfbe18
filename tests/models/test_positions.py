"""Positions: the identities of the papers, published buckets and slopes, plain against fast."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.models.attention import MultiHeadAttention, attention_scores
from lbdl.models.positions import (
    ALiBi,
    LearnedPositions,
    Rotary,
    T5Bias,
    alibi_bias,
    alibi_slopes,
    fast_rope,
    frequencies,
    rope,
    rope_2d,
    rope_turns,
    sinusoidal,
    t5_bucket,
    xpos,
    xpos_scales,
)

place = st.floats(-1000, 1000)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def arange(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float64)


def test_wavelengths_of_a_head_of_64():
    lengths = 2 * math.pi / frequencies(64)
    assert float(lengths[0]) == pytest.approx(6.28, abs=0.01)
    assert float(lengths[-1]) == pytest.approx(47117, rel=1e-4)


@given(place, place, st.floats(-100, 100))
def test_sinusoidal_vectors_know_the_distance_alone(p, q, k):
    v = sinusoidal(torch.tensor([p, q, p + k, q + k], dtype=torch.float64), 16)
    torch.testing.assert_close(v[0] @ v[1], v[2] @ v[3], rtol=0, atol=1e-10)
    torch.testing.assert_close(
        v[0] @ v[1], ((p - q) * frequencies(16)).cos().sum(), rtol=0, atol=1e-10
    )
    assert float(v[0].square().sum()) == pytest.approx(8)


def test_a_shift_turns_sinusoidal_vectors_by_one_matrix():
    v = sinusoidal(arange(30), 8)
    matrix = torch.linalg.lstsq(v[:-3], v[3:]).solution
    torch.testing.assert_close(v[:-3] @ matrix, v[3:], rtol=0, atol=1e-10)
    torch.testing.assert_close(
        matrix @ matrix.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_sinusoidal_is_the_paper_and_exact_far_out_in_float32():
    v = sinusoidal(torch.tensor([3.0]), 4)
    w = [1.0, 0.01]
    expected = [f(3 * x) for x in w for f in (math.sin, math.cos)]
    torch.testing.assert_close(v[0], torch.tensor(expected))
    far = sinusoidal(torch.tensor([100_000.0]), 64)
    torch.testing.assert_close(
        far.double(),
        sinusoidal(torch.tensor([1e5], dtype=torch.float64), 64),
        rtol=0,
        atol=1e-7,
    )


# --- RoPE -----------------------------------------------------------------------------


@given(place, place, st.floats(-500, 500))
def test_turned_queries_and_keys_know_the_distance_alone(p, q, shift):
    x, y = randn(1, 8), randn(1, 8, seed=1)
    at = lambda z, where: rope(z, torch.tensor([where], dtype=torch.float64))[0]
    torch.testing.assert_close(
        at(x, p) @ at(y, q), at(x, p + shift) @ at(y, q + shift), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        at(x, p) @ at(y, q), x[0] @ at(y, q - p), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(at(x, p).norm(), x.norm())


def test_rope_is_the_matrix_exponential_of_its_generator():
    w, generator = frequencies(6), torch.zeros(6, 6, dtype=torch.float64)
    for i in range(3):
        generator[2 * i + 1, 2 * i], generator[2 * i, 2 * i + 1] = w[i], -w[i]
    x = randn(1, 6)
    turned = x @ torch.linalg.matrix_exp(7.5 * generator).T
    torch.testing.assert_close(
        rope(x, torch.tensor([7.5], dtype=torch.float64)), turned
    )


@pytest.mark.parametrize(
    ("dtype", "atol"),
    [
        (torch.float64, 1e-14),
        (torch.float32, 1e-6),
        (torch.float16, 2e-3),
        (torch.bfloat16, 2e-2),
    ],
)
def test_fast_rope_is_rope_forward_and_backward(dtype, atol, device):
    x = randn(2, 3, 9, 8).to(device, dtype).requires_grad_()
    positions = torch.arange(9, dtype=torch.float32, device=device)
    turns = rope_turns(positions, 8, double=dtype == torch.float64)
    found, expected = fast_rope(x, turns), rope(x, positions)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    gradients = [
        torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=atol, atol=8 * atol)
    strided = x.detach().mT.contiguous().mT
    torch.testing.assert_close(fast_rope(strided, turns), found.detach())


def test_rotary_grows_moves_and_starts_where_it_is_told():
    rotary, x = Rotary(8), randn(2, 5, 8)
    torch.testing.assert_close(rotary(x), rope(x, arange(5)))
    torch.testing.assert_close(rotary(x, 40), rope(x, arange(45)[40:]))
    torch.testing.assert_close(rotary(x.float()), rope(x.float(), arange(5)))
    assert list(rotary.state_dict()) == []


def test_attention_with_rotary_does_not_change_when_the_text_moves():
    layer = MultiHeadAttention(16, 2, rotary=Rotary(8)).double()
    q, k = layer.query(randn(1, 6, 16)), layer.key(randn(1, 6, 16))
    here = attention_scores(
        layer.rotary(q[..., :8], 0), layer.rotary(k[..., :8], 0)
    )
    there = attention_scores(
        layer.rotary(q[..., :8], 50), layer.rotary(k[..., :8], 50)
    )
    torch.testing.assert_close(here, there)
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    x = randn(1, 6, 16)
    assert not torch.allclose(layer(x[:, order]), layer(x)[:, order])


@given(place, place, st.floats(-200, 200))
def test_xpos_knows_the_distance_alone_and_fades(p, q, shift):
    x, y = randn(1, 8), randn(1, 8, seed=1)

    def score(a: float, b: float) -> torch.Tensor:
        at_a = xpos(x, y, torch.tensor([a], dtype=torch.float64))[0]
        return (at_a * xpos(x, y, torch.tensor([b], dtype=torch.float64))[1]).sum()

    torch.testing.assert_close(
        score(p, q), score(p + shift, q + shift), rtol=1e-7, atol=1e-9
    )


def test_xpos_takes_any_batch_and_is_complex_numbers_of_growing_size(device):
    """Every text, head, place and pair apart, by complex exponentials."""
    x, y = (randn(2, 3, 5, 8, seed=s).to(device) for s in (0, 1))
    positions = torch.tensor([0.0, 1.0, 2.5, -4.0, 90.0], dtype=torch.float64)
    found = xpos(x, y, positions.to(device), 50.0, 0.3, 20.0)
    for one, sign, turned in zip((x, y), (1, -1), found, strict=True):
        for n, p in enumerate(positions.tolist()):
            for i in range(4):
                size = ((2 * i / 8 + 0.3) / 1.3) ** (sign * p / 20)
                factor = size * complex(
                    math.cos(p * 50 ** (-2 * i / 8)),
                    math.sin(p * 50 ** (-2 * i / 8)),
                )
                pair = torch.complex(one[..., n, 2 * i], one[..., n, 2 * i + 1])
                due = torch.view_as_real(factor * pair)
                torch.testing.assert_close(
                    turned[..., n, 2 * i : 2 * i + 2], due, rtol=1e-12, atol=1e-12
                )


def test_xpos_in_half_precision_and_with_gradients(device):
    x, y = (randn(2, 4, 8, seed=s).to(device).requires_grad_() for s in (0, 1))
    positions = arange(4).to(device)
    assert torch.autograd.gradcheck(
        lambda q, k: xpos(q, k, positions, 50.0, 0.4, 4.0), (x, y)
    )
    for half in (torch.float16, torch.bfloat16):
        found = xpos(x.to(half), y.to(half), positions)
        assert found[0].dtype == found[1].dtype == half
        torch.testing.assert_close(
            found, xpos(x, y, positions), rtol=2e-2, atol=2e-2, check_dtype=False
        )


def test_xpos_scales_of_a_distance_are_those_of_the_code():
    scales = xpos_scales(torch.tensor([512.0, 0.0]), 4)
    torch.testing.assert_close(
        scales, torch.tensor([[0.4 / 1.4, 0.9 / 1.4], [1.0, 1.0]])
    )
    torch.testing.assert_close(
        xpos_scales(torch.tensor([2.0]), 4, 0.5, 4.0),
        torch.tensor([[1 / 3, 2 / 3]]).sqrt(),
    )
    far = xpos_scales(torch.tensor([100.0, 1000.0]), 8)
    assert bool((far[1] < far[0]).all()) and bool((far[1].diff() > 0).all()), (
        "fast pairs fade first"
    )


@given(*[st.integers(-50, 50)] * 4)
def test_on_a_plane_the_offset_alone_counts_and_none_is_lost(x1, y1, x2, y2):
    matrix = lambda *p: (
        rope_2d(
            torch.eye(8, dtype=torch.float64),
            torch.tensor([p] * 8, dtype=torch.float64),
        ).T
    )
    product = matrix(x1, y1).T @ matrix(x2, y2)
    torch.testing.assert_close(
        product, matrix(x2 - x1, y2 - y1), rtol=0, atol=1e-10
    )
    if (x1, y1) != (x2, y2):
        assert float((matrix(x1, y1) - matrix(x2, y2)).abs().max()) > 1e-3


# --- Numbers for distances --------------------------------------------------------------


def test_buckets_of_t5():
    behind = torch.tensor([-7, -8, -16, -32, -64, -127, -500, 1, 20])
    assert t5_bucket(behind).tolist() == [7, 8, 10, 12, 14, 15, 15, 17, 26]
    causal = torch.tensor([-15, -16, -32, -64, -127, 3, 0])
    assert t5_bucket(causal, bidirectional=False).tolist() == [
        15,
        16,
        21,
        26,
        31,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("side", "farthest", "both"),
    [(16, 128, True), (32, 128, False), (6, 50, False)],
)
def test_buckets_are_those_of_whole_numbers(side, farthest, both):
    """Without a logarithm: bucket h + k begins where |r|^(b-h) h^k >= farthest^k h^(b-h)."""
    h = side // 2
    n = side - h

    def bucket(far: int) -> int:
        reached = [
            k for k in range(n) if far**n * h**k >= farthest**k * h**n or k == 0
        ]
        return far if far < h else h + max(reached)

    found = t5_bucket(
        -torch.arange(2000), side * (1 + both), farthest, bidirectional=both
    )
    assert found.tolist() == [bucket(far) for far in range(2000)]


@given(st.integers(4, 40), st.integers(0, 3000))
def test_buckets_are_monotone_and_in_range(half, far):
    buckets = t5_bucket(-torch.arange(far + 1), 2 * half, 200)
    assert (
        bool((buckets.diff() >= 0).all())
        and int(buckets.min()) >= 0
        and int(buckets.max()) < half
    )


def test_t5_bias_is_shared_by_equal_distances():
    bias = T5Bias(3, bidirectional=False)
    torch.nn.init.normal_(bias.table)
    found = bias(4, 6)
    assert found.shape == (3, 4, 6)
    torch.testing.assert_close(found[:, 0, 0], bias.table[:, 2])
    torch.testing.assert_close(found[:, 1:, 1:], found[:, :-1, :-1])
    torch.testing.assert_close(bias(6)[:, 2:], found)


def test_slopes_of_alibi():
    assert alibi_slopes(8).tolist() == [2.0**-h for h in range(1, 9)]
    torch.testing.assert_close(
        alibi_slopes(12),
        torch.cat([alibi_slopes(8), 2 ** -(torch.arange(4) + 0.5)]),
    )
    bias = alibi_bias(8, 2, 5)
    assert bias.shape == (8, 2, 5)
    assert bias[0, 1].tolist() == [-2, -1.5, -1, -0.5, 0]
    assert torch.equal(ALiBi(8)(2, 5), bias)


def test_learned_positions_end():
    """Errata 001-37: a table of 512 places has no place 512."""
    positions, x = LearnedPositions(5, 4), randn(2, 3, 4).float()
    torch.testing.assert_close(positions(x, 2), x + positions.table[2:5])
    with pytest.raises(ValueError, match="x must end within 5 places, got place 6"):
        positions(x, 3)


def test_learned_positions_start_as_berts():
    """The deviation of Devlin et al.'s normal draws: that of words, 0.02."""
    torch.manual_seed(0)
    table = LearnedPositions(100, 400).table.detach()
    share = table.std() / 0.02  # of 40,000 draws: good to 0.4 %
    assert float(share) == pytest.approx(1, abs=0.02)
    assert abs(float(table.mean())) < 0.001


def test_refusals():
    with pytest.raises(ValueError, match="width must be even, got 3"):
        rope(randn(2, 3), arange(2))
    with pytest.raises(ValueError, match=r"positions must be \(n,\) with n = 2"):
        rope(randn(2, 4), arange(3))
    with pytest.raises(
        TypeError, match=r"turns must be torch.complex64 for x in torch.float32"
    ):
        fast_rope(randn(2, 4).float(), rope_turns(arange(2), 4, double=True))
    with pytest.raises(ValueError, match="farthest must be a whole number >= 9"):
        t5_bucket(torch.tensor([1]), 32, 8)
    for wrong in ({"gamma": 0.0}, {"scale_base": 0.0}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} must be finite and > 0"):
            xpos(randn(2, 4), randn(2, 4), arange(2), **wrong)
