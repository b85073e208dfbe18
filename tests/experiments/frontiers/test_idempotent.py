"""Many idempotent networks at once: each trained as if it were alone, and judged rightly."""

import math

import pytest
import torch

from lbdl.core import generator
from lbdl.experiments.frontiers import idempotent as E
from lbdl.frontiers.idempotent import ign_loss
from lbdl.lab.options import Options

SMALL = E.tightness_and_seeds.scales["small"]


@pytest.fixture(scope="module")
def run():
    return E.tightness_and_seeds.prepare(
        Options("small", torch.device("cpu"), progress=False)
    )


@pytest.fixture(scope="module")
def result(run):
    return run.execute()


def test_every_network_has_a_fate(result):
    assert result["fates"].shape == (2, 2, 2, 3, 2, 5)
    assert bool(result["fates"].isfinite().all())
    assert result["made"].shape == (2, 2, 2, 2, 120, 2)
    assert bool((result["fates"][..., :2] <= 1).all())


def test_a_clip_of_a_term_without_weight_changes_nothing(result):
    free, clipped = result["fates"].unbind(1)
    torch.testing.assert_close(free[:, 0], clipped[:, 0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(free[:, 1], clipped[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("start", E.STARTS)
@pytest.mark.parametrize("clip", E.CLIPS)
def test_a_network_among_many_is_trained_as_if_alone(run, start, clip):
    """Kind 1, seed 2, by plain matrix products and an optimizer of its own."""
    size, tightness = SMALL["size"], [0.1, 0.5]
    many = E.Training(run, size, tightness, 3, start, clip)
    alone = [w[3 + 2].detach().clone().requires_grad_() for w in many.f.weights]
    optimizer = torch.optim.Adam(alone, size["rate"], betas=(0.5, 0.99))

    def f(y):
        a, b, c, d, e, g = alone
        h = torch.nn.functional.silu(y @ a + b)
        made = torch.nn.functional.silu(h @ c + d) @ e + g
        return y + made if start == "near identity" else made

    draw = run.generator("data")
    many.follow(10)
    for _ in range(10):
        x = E.ring(3, size["batch"], draw)[2]
        z = torch.randn((3, size["batch"], 2), generator=draw)[2]
        optimizer.zero_grad()
        ign_loss(f, x, z, tightness=0.5, clip=clip).backward()
        optimizer.step()
    for w, v in zip(many.f.weights, alone, strict=True):
        torch.testing.assert_close(w[5].detach(), v.detach(), rtol=1e-3, atol=1e-5)


def test_networks_of_a_seed_begin_alike(run):
    f = E.Training(run, SMALL["size"], [0.0, 1.0], 3, "random", None).f
    for w in f.weights:
        assert torch.equal(w[:3], w[3:])
        assert not torch.equal(w[0], w[1])


def test_near_the_identity_is_near_the_identity(run):
    f = E.Training(run, SMALL["size"], [0.0], 2, "near identity", None).f
    y = torch.randn((1, 2, 50, 2), generator=generator("y"))
    moved = (f(y) - y).detach().norm(dim=-1)
    assert 0 < float(moved.max()) < 0.2


def test_the_ring_and_its_judges():
    x = E.ring(3, 4000, generator("ring"))
    assert float((x.norm(dim=-1).mean() - 1).abs()) < 0.01
    assert torch.equal(E.on_ring(x), torch.ones(3).double())
    assert torch.equal(E.sectors_met(x), torch.ones(3).double())
    half = x.clone()
    half[..., 1] = half[..., 1].abs()
    assert torch.equal(E.sectors_met(half), torch.full((3,), 0.5).double())
    angle = torch.tensor(0.1)
    one = torch.stack([angle.cos(), angle.sin()]).expand(1, 100, 2)
    assert float(E.sectors_met(one)) == 1 / E.SECTORS
    assert float(E.on_ring(1.2 * one)) == 0 and float(E.sectors_met(1.2 * one)) == 0


def test_fates_of_known_maps():
    x = E.ring(1, 500, generator("ring"))[None]
    z = torch.randn((1, 1, 500, 2), generator=generator("z"))
    same = E.fates(lambda y: y, x, z)[0, 0]
    assert same[2:].tolist() == [0, pytest.approx(float(z.norm(dim=-1).max())), 0]
    doubled = E.fates(lambda y: 2 * y, x, z)[0, 0]
    size = float((2 * z).square().sum(-1).mean())
    assert float(doubled[2]) == pytest.approx(size, rel=1e-5)
    assert float(doubled[4]) == pytest.approx(1, abs=0.02)
    onto = E.fates(lambda y: y / y.norm(dim=-1, keepdim=True), x, z)[0, 0]
    assert onto[:2].tolist() == [1, 1] and float(onto[2]) < 1e-12
    assert not math.isnan(float(onto.sum()))
