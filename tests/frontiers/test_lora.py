"""LoRA: the adapter, ranks, what merging loses, rates of the factors, four bits."""

import copy
import itertools
import math

import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.nn import functional as F

from lbdl.core import generator
from lbdl.frontiers import lora as L

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x", dtype=torch.float64):
    return torch.randn(shape, generator=generator(stream), dtype=dtype)


def adapter(n=6, m=4, r=2, dtype=torch.float64):
    return randn(r, n, stream="A", dtype=dtype), randn(
        m, r, stream="B", dtype=dtype
    )


def network(device="cpu", dtype=torch.float64):
    torch.manual_seed(0)
    parts = nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 4, bias=False)
    return nn.Sequential(*parts).to(device, dtype)


def trained(model):
    """A model whose adapters are no longer zero."""
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, L.LoRALinear):
                part.B.copy_(randn(*part.B.shape, stream="trained B"))
    return model


# --- The adapter ---


def test_the_layer_is_that_of_the_sum(device):
    x, W, b = randn(3, 5, 6), randn(4, 6, stream="W"), randn(4, stream="b")
    A, B = adapter()
    x, W, b, A, B = (t.to(device) for t in (x, W, b, A, B))
    expected = F.linear(x, W + 0.5 * B @ A, b)
    torch.testing.assert_close(L.lora_linear(x, W, A, B, 0.5, b), expected)
    torch.testing.assert_close(L.lora_linear(x, W, A, B, 0.5), expected - b)


def test_gradients_of_the_factors():
    x, W, (A, B) = randn(5, 6), randn(4, 6, stream="W"), adapter()
    A.requires_grad_()
    B.requires_grad_()
    G = randn(5, 4, stream="G")
    L.lora_linear(x, W, A, B, 0.5).backward(G)
    torch.testing.assert_close(A.grad, 0.5 * B.T @ G.T @ x)
    torch.testing.assert_close(B.grad, 0.5 * G.T @ x @ A.T)
    assert torch.autograd.gradcheck(
        lambda *t: L.lora_linear(*t, 0.5),
        [t.detach().requires_grad_() for t in (x, W, A, B)],
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_narrow_base_keeps_a_wide_adapter(dtype, device):
    base = nn.Linear(6, 4, device=device, dtype=dtype)
    layer = trained(L.LoRALinear(base, 2, 3.0)).float()
    layer.base.to(dtype)
    x = randn(3, 5, 6).to(device, dtype)
    A, B = layer.A, layer.B
    expected = L.lora_linear(x, base.weight, A, B, 1.5, base.bias)
    assert layer(x).dtype == dtype
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (3, 5, 6), (0, 6)])
def test_the_module_is_the_function(shape, device):
    base = nn.Linear(6, 4, dtype=torch.float64, device=device)
    layer = trained(L.LoRALinear(base, 2, 3.0))
    x = randn(*shape).to(device)
    expected = L.lora_linear(x, base.weight, layer.A, layer.B, 1.5, base.bias)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.merged()(x), expected)


@pytest.mark.parametrize("zero", ["A", "B"])
def test_one_factor_is_zero_and_keeps_the_other_still(zero):
    A, B = L.adapter_init(600, 40, 30, zero=zero, generator=generator("init"))
    assert A.shape == (30, 600) and B.shape == (40, 30)
    still, moving, size = (A, B, 30**-0.5) if zero == "A" else (B, A, 600**-0.5)
    assert not still.any()
    assert moving.std().item() == pytest.approx(size, rel=0.06)
    D = randn(40, 600, stream="D", dtype=torch.float32)
    of_A, of_B = B.T @ D, D @ A.T
    assert bool(of_A.any()) == (zero == "A") and bool(of_B.any()) == (zero == "B")


def test_an_adapted_model_begins_as_the_model_and_freezes_it():
    model = network()
    adapted, x = L.adapt(model, 2), randn(7, 6)
    torch.testing.assert_close(adapted(x), model(x), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())
    learning = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert learning == {"0.A", "0.B", "3.A", "3.B"}
    assert len(list(L.adapt(model, 2, names=["3"]).modules())) == 6


def test_a_single_layer_and_a_shared_one():
    one = nn.Linear(6, 6)
    assert isinstance(L.adapt(one, 2), L.LoRALinear)
    assert type(L.merged(L.adapt(one, 2))) is nn.Linear
    shared = L.adapt(nn.Sequential(one, nn.ReLU(), one), 2)
    assert shared[0] is shared[2]
    with pytest.raises(ValueError, match="names"):
        L.adapt(network(), 2, names=["nowhere"])


def test_a_subclass_of_linear_is_left_alone():
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(ValueError, match="names"):
        L.adapt(attention, 2)


def test_a_merged_model_is_plain_and_the_same():
    adapted = trained(L.adapt(network(), 2, 5.0)).eval()
    before = copy.deepcopy(adapted.state_dict())
    plain, x = L.merged(adapted), randn(7, 6)
    torch.testing.assert_close(plain(x), adapted(x))
    assert not any(isinstance(p, L.LoRALinear) for p in plain.modules())
    assert not plain.training and plain[3].bias is None
    after = adapted.state_dict()
    assert all(torch.equal(after[name], w) for name, w in before.items())


# --- Rank ---


def test_rank_errors_against_another_way():
    """Alternating least squares finds the same smallest error."""
    delta, errors = randn(9, 7), L.rank_errors(randn(9, 7))
    assert errors.shape == (8,)
    assert errors[0].item() == pytest.approx(delta.norm().item())
    assert errors[-1] == 0
    for r in (1, 3, 6):
        B = randn(9, r, stream="start")
        for _ in range(2000):
            A = torch.linalg.lstsq(B, delta).solution
            B = torch.linalg.lstsq(A.T, delta.T).solution.T
        assert (delta - B @ A).norm().item() == pytest.approx(
            errors[r].item(), rel=1e-6
        )


def test_the_best_adapter_has_the_best_error():
    delta = randn(3, 9, 7)
    for r in (1, 4, 7):
        A, B = L.best_adapter(delta, r)
        assert A.shape == (3, r, 7) and B.shape == (3, 9, r)
        found = (delta - B @ A).square().sum((-2, -1)).sqrt()
        torch.testing.assert_close(
            found, L.rank_errors(delta)[:, r], atol=1e-12, rtol=1e-9
        )
        torch.testing.assert_close(A @ A.mT, B.mT @ B)  # balanced


# --- Merging ---


def test_merge_is_the_sum_and_unmerge_undoes_it():
    W, (A, B) = randn(4, 6), adapter()
    torch.testing.assert_close(L.merge(W, A, B, 0.5), W + 0.5 * B @ A)
    torch.testing.assert_close(L.unmerge(L.merge(W, A, B, 0.5), A, B, 0.5), W)


def test_narrow_weights_are_rounded_once():
    W, (A, B) = randn(4, 6).bfloat16(), adapter(dtype=torch.float32)
    expected = (W.double() + B.double() @ A.double()).bfloat16()
    assert L.merge(W, A, B).dtype == torch.bfloat16
    torch.testing.assert_close(L.merge(W, A, B), expected, rtol=2**-8, atol=0)
    halves = L.merge(W, A.bfloat16(), B.bfloat16())
    wide = W.double() + B.bfloat16().double() @ A.bfloat16().double()
    assert (halves.double() - wide).abs().max() < 2**-8 * wide.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("ratio", [3e-2, 3e-3, 3e-4])
def test_what_merging_loses_is_what_the_formula_says(dtype, ratio, device):
    W = randn(700, 700, stream="W").to(device, dtype)
    delta = ratio * randn(700, 700, stream="delta").to(device)
    found = L.merge_error(W, delta).item()
    told = L.predicted_merge_error(torch.tensor(ratio), dtype).item()
    assert found == pytest.approx(told, rel=0.01)


def test_merge_error_at_its_ends():
    W = torch.ones(4, 4, dtype=torch.bfloat16)
    assert L.merge_error(W, torch.full((4, 4), 2.0**-9)) == 1  # below half a step
    assert L.merge_error(W, torch.full((4, 4), 2.0**-7)) == 0  # a whole step
    assert L.merge_error(W, torch.full((4, 4), 2.0**-8 * 1.2)) == pytest.approx(
        (2 - 1.2) / 1.2
    )
    with pytest.raises(ValueError, match="delta"):
        L.merge_error(W, torch.zeros(4, 4))


@pytest.mark.parametrize("t", [0.02, 0.08, 0.12, 0.3, 1.0, 5.0])
def test_the_share_lost_to_rounding_against_an_integral(t):
    edges = [j + 0.5 for j in range(-60, 60)]
    edges = [e for e in edges if abs(e) < 10 * t] or [0.0]
    ends = [-10 * t, *edges, 10 * t]
    total = sum(
        integrate.quad(
            lambda u: (round(u) - u) ** 2 * stats.norm.pdf(u / t) / t, a, b
        )[0]
        for a, b in itertools.pairwise(ends)
    )
    found = L.lost_to_rounding(torch.tensor([t], dtype=torch.float64)).item()
    assert found == pytest.approx(total / t**2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_stochastic_rounding_takes_a_neighbour_and_the_right_mean(dtype, device):
    x = randn(200, dtype=torch.float32).to(device)
    draw = torch.Generator(device).manual_seed(0)
    many = L.stochastic_round(x.expand(4000, -1), dtype, draw).double()
    near = x.to(dtype)
    gap = torch.finfo(dtype).eps * torch.exp2(x.abs().log2().floor()).double()
    assert bool(((many - x.double()).abs() < gap).all())
    assert len(torch.unique(many[:, 0])) == 2
    assert bool(((many.mean(0) - x).abs() < 4.5 * gap / 2 / 4000**0.5).all())
    again = L.stochastic_round(near.float(), dtype, draw)
    torch.testing.assert_close(again, near, rtol=0, atol=0)


def test_stochastic_rounding_at_the_edges():
    x = torch.tensor([0.0, -0.0, 1e39, -torch.inf, torch.nan], dtype=torch.float64)
    found = L.stochastic_round(x, torch.bfloat16, generator("edges")).float()
    expected = torch.tensor([0, 0, torch.inf, -torch.inf, torch.nan])
    torch.testing.assert_close(found, expected, equal_nan=True)
    with pytest.raises(ValueError, match="narrower"):
        L.stochastic_round(x, torch.float64)


# --- Rates ---


@pytest.mark.parametrize(
    ("n", "m", "r"), [(1024, 256, 8), (256, 1024, 8), (512, 512, 4)]
)
def test_a_random_factor_and_an_aligned_one(n, m, r):
    """n / sqrt(mr) against n / sqrt(r): the factor between them is sqrt(m)."""
    ratios = []
    for trial in range(8):
        D = randn(m, n, stream=f"D{trial}")
        A = randn(r, n, stream=f"A{trial}") / n**0.5
        B = randn(m, r, stream=f"B{trial}") / r**0.5
        ratios.append(L.contribution_ratio(D, A, B))
    assert torch.stack(ratios).mean().item() == pytest.approx(
        n / (m * r) ** 0.5, rel=0.1
    )
    g, h = randn(m, 1, stream="g"), randn(1, n, stream="h")
    A = randn(200, r, n, stream="A") / n**0.5
    B = (g @ h @ A.mT).sign() / r**0.5
    ratio = 1 / (1 / L.contribution_ratio((g @ h).expand(200, m, n), A, B)).mean()
    assert ratio.item() == pytest.approx(n / r**0.5, rel=0.1)


def test_the_contribution_is_the_fall_of_the_loss():
    """A small step against the signs, one factor at a time."""
    D, (A, B) = randn(4, 6, stream="D"), adapter()
    value = lambda A, B: (D * (B @ A)).sum()
    step = 1e-6
    of_A = value(A, B) - value(A - step * (B.T @ D).sign(), B)
    of_B = value(A, B) - value(A, B - step * (D @ A.T).sign())
    torch.testing.assert_close(L.contribution_ratio(D, A, B), of_A / of_B)


def test_ratio_where_a_factor_is_zero():
    D, (A, B) = randn(4, 6, stream="D"), adapter()
    assert L.contribution_ratio(D, 0 * A, B) == math.inf
    assert L.contribution_ratio(D, A, 0 * B) == 0
    with pytest.raises(ValueError, match="gradient"):
        L.contribution_ratio(D, 0 * A, 0 * B)


def rates(groups, names):
    """Rate and decay of every parameter, by name."""
    found = {}
    for group in groups:
        for p in group["params"]:
            found[names[id(p)]] = group["lr"], group["weight_decay"]
    return found


def test_rates_of_the_groups():
    model = L.adapt(network(), 2)
    model[1].requires_grad_(True)  # the norm is trained as well
    names = {id(p): name for name, p in model.named_parameters()}
    found = rates(L.lora_plus_groups(model, 1e-3, 16.0, 0.1), names)
    assert found == {
        **dict.fromkeys(["0.A", "3.A"], (1e-3, 0.1)),
        **dict.fromkeys(["0.B", "3.B"], (16e-3, 0.1)),
        **dict.fromkeys(["1.weight", "1.bias"], (16e-3, 0.0)),
    }
    frozen = L.lora_plus_groups(L.adapt(network(), 2), 1e-3, 16.0)
    assert len(frozen) == 2
    torch.optim.AdamW(frozen)
    with pytest.raises(ValueError, match="LoRALinear"):
        L.lora_plus_groups(network(), 1e-3, 16.0)


@pytest.mark.filterwarnings("default")
def test_groups_are_those_of_peft():
    peft = pytest.importorskip("peft")
    from peft.optimizers import create_loraplus_optimizer

    config = peft.LoraConfig(
        r=2, lora_alpha=2, target_modules=["0", "3"], modules_to_save=["1"]
    )
    model = peft.get_peft_model(network(), config)
    theirs = create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=1e-3,
        loraplus_lr_ratio=16.0,
        loraplus_weight_decay=0.1,
    )
    names = {
        id(p): name.removeprefix("base_model.model.")
        .replace(".lora_A.default.weight", ".A")
        .replace(".lora_B.default.weight", ".B")
        .replace(".modules_to_save.default", "")
        for name, p in model.named_parameters()
    }
    found = rates(theirs.param_groups, names)
    ours = L.adapt(network(), 2)
    ours[1].requires_grad_(True)
    mine = {id(p): name for name, p in ours.named_parameters()}
    assert found == rates(L.lora_plus_groups(ours, 1e-3, 16.0, 0.1), mine)


# --- Four bits ---

# as bitsandbytes prints them, functional.py, get_4bit_type("nf4")
REFERENCE = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_sixteen_levels_to_the_last_digit(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = L.nf4_levels()
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, torch.tensor(REFERENCE, dtype=torch.float32))


def test_levels_are_normal_quantiles():
    p = 1 - (1 / 30 + 1 / 32) / 2
    up = [stats.norm.ppf(0.5 + (p - 0.5) * i / 8) for i in range(1, 9)]
    down = [-stats.norm.ppf(0.5 + (p - 0.5) * i / 7) for i in range(7, 0, -1)]
    expected = torch.tensor([*down, 0, *up]) / up[-1]
    torch.testing.assert_close(L.nf4_levels().double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_are_the_nearest_levels(dtype, device):
    w = randn(12, 16, dtype=torch.float32).to(device, dtype)
    codes, absmax = L.quantize_nf4(w, 32)
    assert codes.dtype == torch.uint8 and absmax.shape == (6,)
    rows = w.float().view(6, 32)
    torch.testing.assert_close(absmax, rows.abs().max(-1).values)
    scaled = rows / absmax[:, None]
    nearest = (scaled[..., None] - L.nf4_levels().to(device)).abs().argmin(-1)
    assert torch.equal(codes.view(6, 32).long(), nearest)
    back = L.dequantize_nf4(codes, absmax)
    again, _ = L.quantize_nf4(back, 32)
    assert torch.equal(again, codes)


def test_a_block_of_zeros_stays_zero():
    codes, absmax = L.quantize_nf4(torch.zeros(2, 8), 8)
    assert not L.dequantize_nf4(codes, absmax).any()


@pytest.mark.filterwarnings("default")
def test_codes_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional")
    w = randn(48, 128, dtype=torch.float32)  # whole blocks in a row, see below
    theirs, state = functional.quantize_nf4(w, blocksize=64)
    codes, absmax = L.quantize_nf4(w, 64)
    pairs = codes.view(-1, 2)
    assert torch.equal(16 * pairs[:, 0] + pairs[:, 1], theirs.flatten())
    torch.testing.assert_close(absmax, state.absmax)
    back = functional.dequantize_nf4(theirs, state)
    torch.testing.assert_close(L.dequantize_nf4(codes, absmax), back)


@pytest.mark.filterwarnings("default")
def test_blocks_may_go_over_the_ends_of_rows():
    """There bitsandbytes 0.50.2 writes the same codes, and reads them back wrongly on
    a CPU."""
    functional = pytest.importorskip("bitsandbytes.functional")
    w = randn(64, 96, dtype=torch.float32)
    theirs, _ = functional.quantize_nf4(w, blocksize=64)
    codes, absmax = L.quantize_nf4(w, 64)
    pairs = codes.view(-1, 2)
    assert torch.equal(16 * pairs[:, 0] + pairs[:, 1], theirs.flatten())
    assert (L.dequantize_nf4(codes, absmax) - w).norm() < 0.1 * w.norm()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_four_bits(bias, device):
    linear = nn.Linear(32, 4, bias, device=device)
    layer, x = L.NF4Linear(linear), randn(3, 32, dtype=torch.float32).to(device)
    codes, absmax = L.quantize_nf4(linear.weight.detach())
    weight = L.dequantize_nf4(codes, absmax)
    assert torch.equal(layer.weight, weight) and not list(layer.parameters())
    torch.testing.assert_close(layer(x), F.linear(x, weight, linear.bias))
    assert layer.packed.numel() == linear.weight.numel() // 2
    adapted = trained(L.LoRALinear(layer, 2))
    torch.testing.assert_close(adapted.merged()(x), adapted(x))
    loaded = L.NF4Linear(nn.Linear(32, 4, bias, device=device))
    loaded.load_state_dict(layer.state_dict())
    torch.testing.assert_close(loaded(x), layer(x))
