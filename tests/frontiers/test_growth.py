"""Growth: the same function, weight by weight; twins, and how they part; depth."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lbdl.core import generator
from lbdl.frontiers import growth as G
from lbdl.models.attention import attention
from lbdl.models.positions import rope
from lbdl.models.transformer import GPT, write_on

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x", dtype=torch.float64):
    return torch.randn(shape, generator=generator(stream), dtype=dtype)


def model(device="cpu", tied=False, width=8, dtype=torch.float64, **more):
    """A GPT whose every parameter is random: no zero bias, no gamma of one."""
    heads = more.pop("heads", 2)
    small = GPT(11, 12, width, more.pop("layers", 2), heads, tied=tied, **more)
    draw = generator("weights")
    with torch.no_grad():
        for p in small.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=draw) + (p == 1))
    for part in small.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-2  # large enough to be missed
    return small.to(device, dtype).eval()


def tokens(device="cpu", n=10):
    return torch.randint(11, (3, n), generator=generator("tokens")).to(device)


def distance(one, other, x):
    with torch.no_grad():
        return float((one(x) - other(x)).abs().max())


# --- Copies ---


def test_copies_stand_side_by_side():
    x = torch.arange(12).reshape(3, 4)
    for dim in (0, 1, -1):
        assert torch.equal(G.repeat(x, 3, dim), x.repeat_interleave(3, dim))
    pairs = G.repeat(torch.arange(4), 3, group=2)
    assert pairs.tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_wide_layer_maps_copies_to_copies(k):
    W, b, x = randn(3, 4, stream="W"), randn(3, stream="b"), randn(5, 4)
    write = 1 + randn(3, stream="sizes").abs()
    wide, bias = G.widen_linear(W, b, k, read=0.7, write=write)
    assert wide.shape == (3 * k, 4 * k) and bias.shape == (3 * k,)
    out = F.linear(0.7 * G.repeat(x, k), wide, bias)
    torch.testing.assert_close(out, G.repeat(write * F.linear(x, W, b), k))
    assert G.widen_linear(W, None, k)[1] is None


@pytest.mark.parametrize("affine", [True, False])
def test_a_wide_norm_maps_copies_to_copies(affine):
    norm = nn.LayerNorm(4, eps=0.3, elementwise_affine=affine).double()
    if affine:
        norm.weight.data, norm.bias.data = (
            randn(4, stream="g"),
            randn(4, stream="b"),
        )
    write = 2.0 if affine else 1.0
    wide, x = G.widen_norm(norm, 3, read=0.2, write=write), randn(5, 4)
    out = wide(0.2 * G.repeat(x, 3))
    torch.testing.assert_close(out, write * G.repeat(norm(x), 3))
    assert norm.eps == 0.3 and norm.normalized_shape == (4,)


def test_a_norm_over_two_dimensions_or_without_gamma_is_refused():
    with pytest.raises(ValueError, match="one dimension"):
        G.widen_norm(nn.LayerNorm((2, 3)), 2)
    with pytest.raises(ValueError, match="without gamma"):
        G.widen_norm(nn.LayerNorm(3, elementwise_affine=False), 2, write=2.0)


# --- Wider ---


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("size", [None, 1.0, 0.3])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_wide_model_is_the_same_function(device, k, size, tied):
    small, x = model(device, tied), tokens(device)
    wide = G.widen(small, k, size=size)
    assert wide.embedding.weight.shape == (11, 8 * k)
    assert (wide.readout.weight is wide.embedding.weight) == tied
    assert distance(small, wide, x) < 1e-12
    assert float(small(x).detach().std()) > 0.1


@pytest.mark.parametrize("k", [2, 3, 4])
def test_it_is_in_single_precision_too(k):
    small = model(dtype=torch.float32, width=16)
    assert distance(small, G.widen(small, k), tokens()) < 5e-6


def test_it_writes_the_same_text_with_a_cache():
    small = model(tied=True)
    wide = G.widen(small, 3)
    texts = [
        write_on(m, tokens(n=2), 8, generator=generator("text"))
        for m in (small, wide)
    ]
    assert torch.equal(*texts)


def test_what_the_model_is_goes_along():
    small = model(causal=False, dropout=0.25, heads=4).train()
    small.embedding.weight.requires_grad_(True)
    state, before = copy.deepcopy(small.state_dict()), torch.get_rng_state()
    wide = G.widen(small, 2)
    assert torch.equal(before, torch.get_rng_state())
    for name, w in small.state_dict().items():
        assert torch.equal(w, state[name])
    block = wide.blocks[1]
    assert wide.training and block.training and block.dropout.p == 0.25
    assert (wide.heads, block.heads, block.causal) == (4, 4, False)
    assert all(p.requires_grad and p.is_leaf for p in wide.parameters())
    with torch.no_grad():
        wide.readout.bias.add_(1)  # its own memory
    assert torch.equal(small.readout.bias, state["readout.bias"])


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("blocks.0.qkv.weight", 4 ** (1 / 4)),
        ("blocks.0.qkv.bias", 2.0),
        ("blocks.0.out.weight", 2.0),
        ("blocks.1.up.weight", 2.0),
        ("blocks.1.up.bias", 0.5),
        ("blocks.1.down.weight", 0.5),
        ("blocks.1.down.bias", 2**-0.5),
        ("norm.weight", 2.0),
        ("places.weight", 2.0),
    ],
)
def test_any_other_factor_is_another_function(name, factor):
    small = model()
    wide = G.widen(small, 2)
    with torch.no_grad():
        wide.get_parameter(name).mul_(factor)
    assert distance(small, wide, tokens()) > 1e-4


def test_small_numbers_under_the_roots_count():
    small = model()
    wide = G.widen(small, 2)
    for norm in (wide.norm, *wide.blocks[0].norms, *wide.blocks[1].norms):
        assert norm.eps == pytest.approx(0.5e-2)
        norm.eps = 1e-2
        assert distance(small, wide, tokens()) > 1e-5
        norm.eps = 0.5e-2


@pytest.mark.parametrize("k", [2, 3])
def test_rotary_positions_want_pairs_and_the_same_angles(k):
    places = torch.arange(6.0, dtype=torch.float64)
    q, key, v = (randn(6, 8, stream=s) for s in "qkv")
    right = attention(rope(q, places), rope(key, places), v)

    def wide(x, group):
        return k**-0.25 * G.repeat(x, k, group=group)

    def same_angles(x):  # each copy turns as the pair did that it is a copy of
        copies = wide(x, 2).unflatten(-1, (-1, k, 2)).transpose(-2, -3)
        turned = rope(copies.flatten(-2).movedim(-2, 0), places)
        return turned.unflatten(-1, (-1, 2)).movedim(0, -2).flatten(-3)

    torch.testing.assert_close(
        attention(same_angles(q), same_angles(key), v), right
    )
    for group in (1, 2):
        default = [rope(wide(x, group), places) for x in (q, key)]
        assert float((attention(*default, v) - right).abs().max()) > 1e-3


# --- Twins ---


def after_steps(wide, optimizer, steps=5):
    x = tokens()
    step = optimizer(wide.parameters())
    for _ in range(steps):
        loss = F.cross_entropy(wide(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        step.zero_grad()
        loss.backward()
        step.step()
    return wide


def rows_of_twins(wide):
    """For each matrix of a block, how far twins differ in what they read."""
    return [
        G.twin_spread(p, 2, dim=0).item()
        for name, p in wide.named_parameters()
        if name.startswith("blocks")
    ]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_twins_stay_twins(optimizer):
    wide = after_steps(
        G.widen(model(), 2), lambda p: optimizer(p, lr=0.05), steps=20
    )
    assert max(rows_of_twins(wide)) < 1e-9


@pytest.mark.parametrize("how", ["zero-sum", "uneven"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_twins_part_and_the_function_stays(k, tied, how):
    small = model(tied=tied)
    wide = G.widen(small, k)
    parted = G.part_twins(wide, k, 0.5, how, generator("part"))
    assert distance(small, parted, tokens()) < 1e-12
    assert (parted.readout.weight is parted.embedding.weight) == tied
    assert G.twin_spread(parted.blocks[0].down.weight, k) > 0.2
    assert G.twin_spread(wide.blocks[0].down.weight, k) == 0


def test_plain_noise_changes_the_function():
    small = model()
    parted = G.part_twins(G.widen(small, 2), 2, 0.1, "plain", generator("part"))
    assert distance(small, parted, tokens()) > 1e-2


@pytest.mark.parametrize("how", ["zero-sum", "uneven", "plain"])
def test_every_matrix_parts_in_training(how):
    wide = G.part_twins(G.widen(model(), 2), 2, 0.5, how, generator("part"))
    moved = after_steps(copy.deepcopy(wide), lambda p: torch.optim.SGD(p, lr=0.5))
    for (name, p), q in zip(
        moved.named_parameters(), wide.parameters(), strict=True
    ):
        if name.startswith("blocks") and "qkv.bias" not in name:
            assert G.twin_spread(p - q, 2, dim=0) > 1e-6, name


def test_noise_of_zero_sum():
    w = torch.zeros(2000, 6, dtype=torch.float64)
    D = G.zero_sum_noise(w, 3, generator("noise"))
    assert float(D.unflatten(-1, (2, 3)).sum(-1).abs().max()) < 1e-12
    torch.testing.assert_close(D.std(0), torch.ones(6).double(), rtol=0.06, atol=0)
    again = G.zero_sum_noise(w, 3, generator("noise"))
    assert torch.equal(D, again)


def test_the_amount_is_relative():
    wide = G.widen(model(), 2)
    for how in ("zero-sum", "plain"):
        parted = G.part_twins(wide, 2, 0.25, how, generator("part"))
        a, b = wide.blocks[0].up.weight, parted.blocks[0].up.weight
        ratio = (b - a).detach().norm() / a.detach().norm()
        assert float(ratio) == pytest.approx(0.25, rel=0.15)


def test_uneven_shares():
    w = torch.ones(2, 6)
    split = G.uneven_split(w, 3, 0.5)
    assert split[0].tolist() == [1.5, 1.0, 0.5] * 2
    with pytest.raises(ValueError, match="must divide 6"):
        G.uneven_split(w, 4, 0.5)


def test_spread_of_twins():
    x = torch.tensor([1.0, 3.0, 2.0, 2.0])
    assert float(G.twin_spread(x, 2)) == pytest.approx((2 / 18) ** 0.5)
    assert float(G.twin_spread(torch.tensor([1.0, -1.0]), 2)) == 1
    assert float(G.twin_spread(torch.zeros(4), 2)) == 0
    columns = torch.tensor([[1.0, 5.0], [1.0, 7.0]])
    assert float(G.twin_spread(columns, 2, dim=0)) == pytest.approx((2 / 76) ** 0.5)


# --- Deeper ---


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_new_block_is_the_identity(device, at):
    small = model(device, tied=True)
    deep = G.deepen(small, at)
    assert len(deep.blocks) == 3 and len(small.blocks) == 2
    assert distance(small, deep, tokens(device)) == 0
    assert torch.equal(
        deep.blocks[at].down.weight, torch.zeros(8, 32).to(deep.norm.weight)
    )
    assert deep.readout.weight is deep.embedding.weight
    assert deep.blocks[at].norms[0].eps == 1e-2


def test_only_its_zeros_have_a_gradient_and_then_everything_has():
    deep = G.deepen(model(), 1, generator("new"))
    moved = after_steps(deep, lambda p: torch.optim.SGD(p, lr=0.5), steps=1)
    new = dict(moved.blocks[1].named_parameters())
    gradients = {n: float(p.grad.abs().max()) for n, p in new.items()}
    some = {"out.weight", "out.bias", "down.weight", "down.bias"}
    assert {n for n, g in gradients.items() if g > 0} == some
    after_steps(deep, lambda p: torch.optim.SGD(p, lr=0.5), steps=1)
    weights = [n for n in new if n.endswith("weight")]
    assert all(float(new[n].grad.abs().max()) > 0 for n in weights)


def test_what_is_drawn_is_small_and_repeatable():
    one, two = (G.deepen(model(width=32), 2, generator("new")) for _ in range(2))
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
    new = one.blocks[2]
    for part in (new.qkv, new.up):
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert torch.equal(part.bias, torch.zeros_like(part.bias))
    assert torch.equal(new.norms[1].weight, torch.ones(32).double())


def test_places_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at most 2, got 3"):
        G.deepen(model(), 3)
