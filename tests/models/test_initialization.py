"""First weights: laws against scipy and quadrature, rules against torch.nn.init, muP
against its table and by training."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.models.initialization import (
    LAWS,
    MupScaling,
    NTKLinear,
    ScaledResidual,
    fans,
    fixup_,
    fixup_factor,
    he_moment,
    lecun_moment,
    mup_groups,
    mup_scaling,
    mup_start_,
    ntk_linear,
    orthogonal,
    post_norm_shares,
    random_weights,
    stream_moments,
    t5_moments,
    truncated_variance,
    xavier_moment,
)

size = st.integers(1, 9)
shapes = st.lists(size, min_size=2, max_size=4).map(tuple)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


# --- Laws


@pytest.mark.parametrize("cut", [1e-4, 0.009, 0.011, 0.5, 1.0, 2.0, 3.0, 8.0, 60.0])
def test_variance_of_a_truncated_normal(cut):
    found = truncated_variance(cut)
    assert found == pytest.approx(stats.truncnorm(-cut, cut).var(), rel=1e-6)
    phi = stats.norm.pdf
    edge = min(cut, 40)
    top, _ = integrate.quad(
        lambda z: z * z * phi(z), 0, edge, epsabs=0, epsrel=1e-12
    )
    below, _ = integrate.quad(phi, 0, edge, epsabs=0, epsrel=1e-12)
    assert found == pytest.approx(top / below, rel=1e-9)


def test_the_factor_of_the_facts():
    assert truncated_variance(2.0) == pytest.approx(0.7737413, abs=1e-7)
    assert truncated_variance() ** -0.5 == pytest.approx(1.1368472, abs=1e-7)


STANDARD = {
    "normal": stats.norm,
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "truncated": stats.truncnorm(-2, 2, scale=0.7737413035499232**-0.5),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("moment", [1e-3, 1.0, 9.0])
def test_weights_have_their_law_and_their_second_moment(law, moment):
    w = random_weights((300, 200), moment, law, generator=seeded(1))
    assert w.shape == (300, 200) and w.dtype == torch.float32
    z = (w / math.sqrt(moment)).flatten().double()
    assert stats.kstest(z, STANDARD[law].cdf).pvalue > 0.001
    assert float(z.square().mean()) == pytest.approx(1, abs=0.02)
    assert abs(float(z.mean())) < 0.02
    others = [name for name in LAWS if name != law]
    assert all(stats.kstest(z, STANDARD[o].cdf).pvalue < 1e-9 for o in others)


def test_the_law_is_that_of_torchs_truncated_normal():
    theirs = torch.empty(300, 200)
    nn.init.trunc_normal_(theirs, a=-2, b=2, generator=seeded(2))
    ours = random_weights((300, 200), 0.7737413, "truncated", generator=seeded(1))
    assert stats.ks_2samp(ours.flatten(), theirs.flatten()).pvalue > 0.001
    assert float(ours.abs().max()) <= 2


def test_draws_are_the_generators_and_in_the_default_dtype():
    first, again = (
        random_weights((5,), 1.0, "truncated", generator=seeded(3)) for _ in "ab"
    )
    assert torch.equal(first, again)
    torch.set_default_dtype(torch.float64)
    try:
        assert random_weights((5,), 1.0, "truncated").dtype == torch.float64
        assert orthogonal((5, 2)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(random_weights((2, 3), 0.0), torch.zeros(2, 3))


# --- Rules


@given(shapes)
def test_fans_are_torchs(shape):
    assert fans(shape) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", [(200, 300), (64, 32, 3, 3), (1500, 10)])
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_moments_are_those_of_torchs_initialisers(shape, law):
    slope = 0.3
    for moment, theirs, options in (
        (he_moment(shape), f"kaiming_{law}_", {"nonlinearity": "relu"}),
        (he_moment(shape, slope), f"kaiming_{law}_", {"a": slope}),
        (lecun_moment(shape), f"kaiming_{law}_", {"nonlinearity": "linear"}),
        (xavier_moment(shape), f"xavier_{law}_", {}),
        (xavier_moment(shape, 4.0), f"xavier_{law}_", {"gain": 2.0}),
    ):
        w = torch.empty(shape, dtype=torch.float64)
        getattr(nn.init, theirs)(w, **options, generator=seeded(4))
        assert float(w.square().mean()) == pytest.approx(moment, rel=0.05)


@pytest.mark.parametrize(
    ("name", "slope"), [("relu", 0.0), ("linear", 1.0), ("leaky_relu", 0.01)]
)
def test_hes_gain_is_the_square_of_torchs(name, slope):
    assert he_moment((7, 1), slope) == pytest.approx(
        nn.init.calculate_gain(name) ** 2
    )


def test_a_layer_keeps_the_second_moment():
    x = randn(1000, 100)
    for f, shape, moment in (
        (lambda z: z, (3000, 100), lecun_moment((3000, 100))),
        (torch.relu, (3000, 100), he_moment((3000, 100))),
        (lambda z: F.leaky_relu(z, 0.5), (3000, 100), he_moment((3000, 100), 0.5)),
    ):
        w = random_weights(shape, moment, generator=seeded(5)).double()
        assert float((f(x) @ w.T).square().mean()) == pytest.approx(1, rel=0.05)


@given(size, size, st.integers(0, 3))
@settings(max_examples=25)
def test_orthogonal_rows_or_columns(out, inputs, seed):
    w = (
        orthogonal((out, inputs, 2), 3.0, generator=seeded(seed))
        .flatten(1)
        .double()
    )
    gram = w @ w.T if out <= 2 * inputs else w.T @ w
    eye = 3.0 * torch.eye(len(gram), dtype=torch.float64)
    torch.testing.assert_close(gram, eye, rtol=0, atol=1e-5)


def test_orthogonal_is_torchs_up_to_the_law():
    """Haar: traces of random rotations have variance 1 (without the signs, not)."""
    traces = torch.stack(
        [orthogonal((6, 6), generator=seeded(s)).trace() for s in range(4000)]
    )
    assert float(traces.var()) == pytest.approx(1, abs=0.1)
    assert abs(float(traces.mean())) < 0.08
    q = torch.empty(6, 6)
    theirs = torch.stack(
        [nn.init.orthogonal_(q, generator=seeded(s)).trace() for s in range(4000)]
    )
    assert stats.ks_2samp(traces, theirs).pvalue > 0.001
    w = orthogonal((64, 16), 2.0, generator=seeded(1))
    assert float(w.square().mean()) == pytest.approx(2.0 / 64, rel=1e-4)


def test_scores_of_t5_have_variance_one():
    d, h, k = 64, 4, 16
    moments = t5_moments(d, h, k, 256)
    assert moments == {
        "query": 1 / (d * k),
        "key": 1 / d,
        "value": 1 / d,
        "out": 1 / (h * k),
        "up": 1 / d,
        "down": 1 / 256,
    }
    x, y = randn(3000, d), randn(3000, d, seed=1)
    found = []
    for seed in range(20):
        q = random_weights(
            (k, d), moments["query"], generator=seeded(seed)
        ).double()
        w = random_weights((k, d), moments["key"], generator=seeded(99 + seed))
        found.append(((x @ q.T) * (y @ w.double().T)).sum(-1).var())
    assert float(torch.stack(found).mean()) == pytest.approx(1, rel=0.1)


# --- NTK


def test_ntk_layer_is_a_dense_layer_of_scaled_weights():
    x, w, b = randn(2, 3, 5), randn(4, 5, seed=1), randn(4, seed=2)
    torch.testing.assert_close(
        ntk_linear(x, w, b, 2.0), F.linear(x, w * math.sqrt(2 / 5), b)
    )
    torch.testing.assert_close(ntk_linear(x, w), F.linear(x, w / math.sqrt(5)))
    layer = NTKLinear(400, 300, 2.0, generator=seeded(3))
    assert float(layer.weight.square().mean()) == pytest.approx(1, rel=0.02)
    assert layer.bias is not None and not layer.bias.any()
    assert NTKLinear(3, 2, bias=False).bias is None
    z = torch.randn(5, 400, generator=seeded(4))
    torch.testing.assert_close(
        layer(z), ntk_linear(z, layer.weight, layer.bias, 2.0)
    )


@pytest.mark.parametrize(
    ("optimizer", "power"), [(torch.optim.SGD, 2), (torch.optim.Adam, 1)]
)
def test_a_dense_layer_at_a_smaller_rate_is_the_ntk_layer(optimizer, power):
    """The weight stored c times larger: SGD at c^2, Adam at c times the rate."""
    n, gain = 7, 2.0
    c = math.sqrt(n / gain)
    x, y = randn(30, n), randn(30, 3, seed=1)
    stored = randn(3, n, seed=2)
    found = []
    for weight, forward, rate in (
        (stored / c, F.linear, 0.01),
        (stored, lambda x, w: ntk_linear(x, w, None, gain), 0.01 * c**power),
    ):
        w = weight.clone().requires_grad_()
        options = {"eps": 1e-300} if optimizer is torch.optim.Adam else {}
        steps = optimizer([w], lr=rate, **options)
        for _ in range(20):
            steps.zero_grad()
            (forward(x, w) - y).square().mean().backward()
            steps.step()
        found.append(forward(x, w).detach())
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


# --- Depth


def stream(depth: int, norm: str, scale: float) -> Tensor:
    """States of a stream of random linear branches, as the definition has it."""
    normed = lambda h: h / h.square().mean(-1, keepdim=True).sqrt()
    x = normed(randn(4, 400))
    states = [x]
    for layer in range(depth):
        w = randn(400, 400, seed=layer + 1) / 20
        inner = normed(x) if norm == "first" else x
        x = x + scale * (inner @ w)
        x = normed(x) if norm == "last" else x
        states.append(x)
    return torch.stack(states)


@pytest.mark.parametrize("norm", ["none", "first", "last"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_moments_of_a_stream(norm, scale):
    found = stream(10, norm, scale).square().mean((-2, -1))
    torch.testing.assert_close(
        found, stream_moments(10, norm, scale), rtol=0.15, atol=0
    )


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_shares_of_a_stream_that_ends_in_norms(scale):
    states = stream(6, "last", scale)
    share = (states[6] * states[0]).mean()
    shares = post_norm_shares(6, scale)
    assert shares.shape == (7,)
    assert float(share) == pytest.approx(float(shares[0]), abs=0.05)
    assert float(shares.square().sum()) == pytest.approx(1)
    branch = randn(400, 400, seed=4) / 20  # the branch of the fourth layer
    share = (states[6] * (states[3] @ branch)).mean()
    assert float(share) == pytest.approx(float(shares[4]), abs=0.05)
    assert post_norm_shares(0).tolist() == [1.0]
    assert stream_moments(0, "first").tolist() == [1.0]


def test_a_scaled_branch():
    branch = nn.Linear(3, 3)
    x = torch.randn(2, 3, generator=seeded())
    layer = ScaledResidual(branch)
    assert torch.equal(layer(x), x)
    layer(x).sum().backward()
    assert layer.alpha.grad is not None and float(layer.alpha.grad) != 0
    assert not branch.weight.grad.any(), "the branch learns from the second step on"
    fixed = ScaledResidual(branch, 0.5, learned=False)
    torch.testing.assert_close(fixed(x), x + 0.5 * branch(x))
    assert not fixed.alpha.requires_grad


def test_fixup():
    assert fixup_factor(16, 2) == pytest.approx(1 / 4)
    assert fixup_factor(16, 3) == pytest.approx(1 / 2)
    assert fixup_factor(1, 2) == 1
    branches = [[randn(3, 3, seed=s) for s in range(3)] for _ in range(16)]
    before = [[w.clone() for w in branch] for branch in branches]
    fixup_(branches)
    for branch, old in zip(branches, before, strict=True):
        torch.testing.assert_close(branch[0], old[0] / 2)
        torch.testing.assert_close(branch[1], old[1] / 2)
        assert not branch[2].any()


# --- Width


TABLE = [  # table 3 of the paper: shape, base, then moment and rates relative to the base, width r = 8
    ("input", (64, 5), (8, 5), 1.0, 8.0, 1.0),
    ("bias", (64,), (8,), 1.0, 8.0, 1.0),
    ("hidden", (64, 64), (8, 8), 1 / 8, 1.0, 1 / 8),
    ("readout", (5, 64), (5, 8), 1 / 64, 1 / 8, 1 / 8),
    ("bias of the readout", (5,), (5,), 1.0, 1.0, 1.0),
    ("hidden, four times as many units", (256, 64), (32, 8), 1 / 8, 1.0, 1 / 8),
    ("convolution", (64, 64, 3, 3), (8, 8, 3, 3), 1 / 8, 1.0, 1 / 8),
    ("narrower than the base: readout", (5, 4), (5, 8), 4.0, 2.0, 2.0),
]


@pytest.mark.parametrize(
    ("shape", "base", "moment", "sgd", "adam"), [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)  # fmt: skip
def test_the_table_of_the_paper(shape, base, moment, sgd, adam):
    assert mup_scaling(shape, base, "sgd") == MupScaling(moment, sgd)
    assert mup_scaling(shape, base, "adam") == MupScaling(moment, adam)
    assert mup_scaling(base, base) == (1, 1)


def network(width: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 3),
    )  # fmt: skip


def test_groups_hold_every_parameter_once_at_its_rate():
    model = network(32)
    groups = mup_groups(model, network(8), 0.1, "adam")
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert [rates[id(p)] for p in model.parameters()] == pytest.approx(
        [0.1, 0.1, 0.025, 0.1, 0.025, 0.1]
    )
    assert sum(len(group["params"]) for group in groups) == 6
    torch.optim.Adam(groups).step()


def test_a_table_of_vectors_is_a_first_layer():
    model, base = (
        nn.Sequential(nn.Embedding(11, n), nn.Linear(n, 11)) for n in (32, 8)
    )
    rates = {
        id(p): g["lr"]
        for g in mup_groups(model, base, 1.0, "sgd")
        for p in g["params"]
    }
    assert rates[id(model[0].weight)] == 4.0
    assert rates[id(model[1].weight)] == 0.25
    before = [p.detach().clone() for p in model.parameters()]
    assert mup_start_(model, base) is model
    torch.testing.assert_close(model[0].weight, before[0])
    torch.testing.assert_close(model[1].weight, before[1] / 2)
    torch.testing.assert_close(model[1].bias, before[2])


def test_hidden_layers_start_as_they_were():
    model = network(32)
    before = [p.detach().clone() for p in model.parameters()]
    mup_start_(model, network(8))
    for p, old, factor in zip(
        model.parameters(), before, [1, 1, 1, 1, 0.5, 1], strict=True
    ):
        torch.testing.assert_close(p, old * factor)


def test_other_parameters_are_refused():
    with pytest.raises(ValueError, match="base must have the parameters"):
        mup_groups(network(8), nn.Linear(6, 8), 0.1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_step_changes_the_scores_alike_at_every_width(optimizer):
    """The coordinate check of the paper, appendix D: under muP the change neither dies out nor explodes; at one
    rate for all weights it grows."""
    x = torch.randn(20, 6, generator=seeded(1))
    y = torch.randint(3, (20,), generator=seeded(2))
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    rate = {"sgd": 0.1, "adam": 0.002}[optimizer]
    widths = (64, 256, 1024)
    slopes = {}
    for way in ("standard", "muP"):
        changes = []
        for width in widths:
            of_seeds = []
            for seed in range(4):
                model, base = network(width, seed), network(64)
                groups = mup_groups(model, base, rate, optimizer)
                if way == "muP":
                    mup_start_(model, base)
                else:
                    groups = [{"params": list(model.parameters()), "lr": rate}]
                steps, before = kind(groups), model(x).detach()
                for _ in range(3):
                    steps.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    steps.step()
                of_seeds.append((model(x).detach() - before).abs().mean().log2())
            changes.append(torch.stack(of_seeds).mean())
        slopes[way] = float(changes[-1] - changes[0]) / 4
    assert abs(slopes["muP"]) < 0.2
    assert slopes["standard"] > 0.4
