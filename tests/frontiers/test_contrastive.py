"""Contrastive: gradients of a whole batch from chunks, against autograd of the whole; blocks against the table."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lbdl.core import generator
from lbdl.foundations.metric_learning import info_nce, nt_xent
from lbdl.frontiers import contrastive as C
from lbdl.models.normalization import BatchNorm

pytestmark = pytest.mark.filterwarnings("error")
DOUBLE = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def randn(*shape, stream="x", dtype=DOUBLE):
    return torch.randn(shape, generator=generator(stream), dtype=dtype)


def seeded(stream):
    torch.manual_seed(generator(stream).initial_seed())


def tower(stream, inputs=6, device="cpu", *, dropout=0.0, unit=True):
    """A small encoder; its embeddings have length 1 if `unit` is set."""
    seeded(stream)
    layers = [nn.Linear(inputs, 9), nn.GELU(), nn.Dropout(dropout), nn.Linear(9, 5)]
    return nn.Sequential(*layers, Unit() if unit else nn.Identity()).to(
        device, DOUBLE
    )


class Unit(nn.Module):
    def forward(self, x):
        return F.normalize(x, dim=-1)


class Learned(nn.Module):
    """CLIP's loss with a scale that learns."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.log_scale = nn.Parameter(
            torch.tensor(1.3, dtype=DOUBLE, device=device)
        )

    def forward(self, a, b):
        return C.clip_loss(a, b, scale=self.log_scale.exp())


def gradients(*modules):
    """All gradients of modules, flat; they are taken away."""
    found = []
    for module in modules:
        for p in module.parameters():
            found.append(torch.zeros_like(p) if p.grad is None else p.grad)
            p.grad = None
    return torch.cat([g.flatten() for g in found])


def targets_of(kind, N):
    """Targets by name: own partner, partners that are not mutual, or spread out."""
    if kind == "own":
        return torch.eye(N, dtype=DOUBLE)
    if kind == "cyclic":
        return torch.eye(N, dtype=DOUBLE).roll(1, 1)
    shares = randn(N, N, stream="targets").exp() * (1 - torch.eye(N, dtype=DOUBLE))
    return F.normalize(shares, p=1, dim=-1)


# --- Losses ---


@pytest.mark.parametrize("T", [0.1, 1.0])
def test_losses_are_those_of_their_owner(device, T):
    a = randn(7, 4, stream="a").to(device)
    b = randn(7, 4, stream="b").to(device)
    unit = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    eye = torch.eye(7, dtype=DOUBLE, device=device)
    torch.testing.assert_close(
        C.pair_loss(*unit, eye, scale=1 / T), info_nce(a, b, temperature=T)
    )
    both = (info_nce(a, b, temperature=T) + info_nce(b, a, temperature=T)) / 2
    torch.testing.assert_close(C.clip_loss(*unit, scale=1 / T), both)
    views = torch.cat(unit)
    other = torch.eye(14, dtype=DOUBLE, device=device).roll(7, 1)
    itself = torch.eye(14, dtype=torch.bool, device=device)
    torch.testing.assert_close(
        C.pair_loss(views, views, other, scale=1 / T, mask=itself),
        nt_xent(a, b, temperature=T),
    )


def test_sigmoid_pairs_by_hand():
    a, b = randn(3, 2, stream="a"), randn(4, 2, stream="b")
    same = randn(3, 4, stream="same") > 0
    found = C.sigmoid_pairs(a, b, same, scale=2.0, bias=-0.5)
    due = 0.0
    for i in range(3):
        for j in range(4):
            x = 2 * torch.dot(a[i], b[j]) - 0.5
            due = due - torch.log(torch.sigmoid(x if same[i, j] else -x))
    torch.testing.assert_close(found, due)


def test_blocks_of_sigmoid_pairs_add_up():
    a, b = randn(10, 4, stream="a"), randn(10, 4, stream="b")
    same = torch.eye(10, dtype=torch.bool)
    cut = [slice(0, 3), slice(3, 8), slice(8, 10)]
    parts = sum(
        C.sigmoid_pairs(a[i], b[j], same[i, j], scale=3.0, bias=-1.0)
        for i in cut
        for j in cut
    )
    torch.testing.assert_close(
        parts, C.sigmoid_pairs(a, b, same, scale=3.0, bias=-1.0), **CLOSE
    )


def test_learned_numbers_of_sigmoid_pairs():
    a, b = randn(4, 3, stream="a"), randn(5, 3, stream="b")
    same = randn(4, 5, stream="same") > 0
    numbers = [
        torch.tensor(x, dtype=DOUBLE, requires_grad=True) for x in (1.5, -2.0)
    ]
    f = lambda *x: C.sigmoid_pairs(*x[:2], same, scale=x[2], bias=x[3])
    assert torch.autograd.gradcheck(
        f, (a.requires_grad_(), b.requires_grad_(), *numbers)
    )


# --- Pulls, written down ---


@pytest.mark.parametrize("masking", [False, True])
@pytest.mark.parametrize("kind", ["own", "cyclic", "spread"])
@pytest.mark.parametrize("M", [6, 8])
def test_pulls_are_those_of_autograd(device, M, kind, masking):
    N = 6
    t = targets_of(kind, M)[:N].to(device)
    mask = (
        (t == 0) & (randn(N, M, stream="mask") > 0).to(device) if masking else None
    )
    a, b = (randn(n, 4, stream=s).to(device) for n, s in ((N, "a"), (M, "b")))
    scale = torch.tensor(1.7, dtype=DOUBLE, device=device)
    leaves = [x.requires_grad_() for x in (a, b, scale)]
    loss = C.pair_loss(a, b, t, scale=scale, mask=mask)
    found = C.pair_gradients(a, b, t, scale=scale, mask=mask)
    for due, got in zip(torch.autograd.grad(loss, leaves), found, strict=True):
        torch.testing.assert_close(got, due, **CLOSE)


def test_a_pair_that_does_not_count_has_no_slope_by_its_target():
    """Elsewhere it is -log p / N: the loss is linear in the targets."""
    a, b = randn(3, 4, stream="a"), randn(3, 4, stream="b")
    t, mask = torch.eye(3, dtype=DOUBLE).requires_grad_(), torch.eye(3).flip(0) == 1
    mask[1, 1] = False
    (slope,) = torch.autograd.grad(C.pair_loss(a, b, t, mask=mask), t)
    log_p = (a @ b.mT).masked_fill(mask, -torch.inf).log_softmax(-1)
    torch.testing.assert_close(slope, (-log_p / 3).masked_fill(mask, 0), **CLOSE)


@pytest.mark.parametrize("kind", ["own", "cyclic", "spread"])
def test_one_tower_is_pulled_from_both_sides(kind):
    h, t = randn(6, 4, stream="h").requires_grad_(), targets_of(kind, 6)
    mask = torch.eye(6, dtype=torch.bool) if kind != "own" else None
    loss = C.pair_loss(h, h, t, scale=1.2, mask=mask)
    (due,) = torch.autograd.grad(loss, h)
    left, right, _ = C.pair_gradients(h, h, t, scale=1.2, mask=mask)
    torch.testing.assert_close(left + right, due, **CLOSE)
    assert (2 * left - due).abs().max() > 1e-3


def test_leading_dimensions_are_losses_of_their_own():
    a, b = randn(3, 6, 4, stream="a"), randn(3, 6, 4, stream="b")
    t = targets_of("cyclic", 6)
    alone = [
        C.pair_gradients(x, y, t, scale=2.0) for x, y in zip(a, b, strict=True)
    ]
    for got, due in zip(
        C.pair_gradients(a, b, t, scale=2.0), zip(*alone, strict=True), strict=True
    ):
        torch.testing.assert_close(got, torch.stack(due), **CLOSE)
    for loss in (C.clip_loss, C.fast_clip_loss):
        each = torch.stack(
            [loss(x, y, scale=2.0) for x, y in zip(a, b, strict=True)]
        )
        torch.testing.assert_close(loss(a, b, scale=2.0), each.mean())


# --- Blocks ---


@pytest.mark.parametrize("block", [1, 3, 10, 64])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_blocks_give_what_the_table_gives(device, scale, block):
    a = F.normalize(randn(2, 10, 4, stream="a"), dim=-1).to(device).requires_grad_()
    b = F.normalize(randn(2, 10, 4, stream="b"), dim=-1).to(device).requires_grad_()
    factor = torch.tensor(scale, dtype=DOUBLE, device=device, requires_grad=True)
    plain = C.clip_loss(a, b, scale=factor)
    fast = C.fast_clip_loss(a, b, scale=factor, block=block)
    torch.testing.assert_close(fast, plain, **CLOSE)
    leaves = (a, b, factor)
    for got, due in zip(
        torch.autograd.grad(3 * fast, leaves),
        torch.autograd.grad(3 * plain, leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, due, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("block", [1, 4, 9])
def test_sums_in_one_pass(block):
    a, b = randn(2, 9, 4, stream="a"), randn(2, 6, 4, stream="b")
    s = 3.0 * a @ b.mT
    rows, columns = C.log_sums(a, b, scale=3.0, block=block)
    torch.testing.assert_close(rows, s.logsumexp(-1), **CLOSE)
    torch.testing.assert_close(columns, s.logsumexp(-2), **CLOSE)


def test_gradients_from_sums_have_no_graph():
    a, b = (randn(6, 4, stream=s).requires_grad_() for s in "ab")
    found = C.clip_gradients(a, b, *C.log_sums(a, b), block=4)
    due = torch.autograd.grad(C.clip_loss(a, b), (a, b))
    for got, expected in zip(found, due, strict=False):
        torch.testing.assert_close(got, expected, **CLOSE)
        assert not got.requires_grad


def test_blocks_do_not_overflow():
    a = 1e3 * randn(12, 4, stream="a", dtype=torch.float32)
    b = 1e3 * randn(12, 4, stream="b", dtype=torch.float32)
    for x in (a, b):
        x.requires_grad_()
    plain, fast = C.clip_loss(a, b), C.fast_clip_loss(a, b, block=5)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=0)
    for got, due in zip(
        torch.autograd.grad(fast, (a, b)),
        torch.autograd.grad(plain, (a, b)),
        strict=True,
    ):
        torch.testing.assert_close(got, due, rtol=1e-4, atol=1e-3)


def kept_bytes(loss):
    """What autograd keeps for the way back, of N = 200 and of N = 400."""
    found = []
    for N in (200, 400):
        kept = {}

        def pack(x, kept=kept):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        a, b = (randn(N, 4, stream=s).requires_grad_() for s in "ab")
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            value = loss(a, b)
        found.append(sum(kept.values()))
        del value
    return found


def test_what_is_kept_grows_as_the_number_of_pairs_or_not():
    few, many = kept_bytes(lambda a, b: C.fast_clip_loss(a, b, block=50))
    assert many < 2.1 * few
    few, many = kept_bytes(C.clip_loss)
    assert many > 3.5 * few


# --- Chunks ---


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 5, 12, 100])
def test_chunks_have_the_gradient_of_the_batch(device, chunk, unit):
    f, g = tower("f", 6, device, unit=unit), tower("g", 3, device, unit=unit)
    x = randn(12, 6, stream="x").to(device)
    y = randn(12, 3, stream="y").to(device)
    loss = Learned(device)
    whole = loss(f(x), g(y))
    whole.backward()
    due = gradients(f, g, loss)
    value = C.accumulate(loss, [f, g], [x, y], chunk)
    torch.testing.assert_close(value, whole.detach(), **CLOSE)
    torch.testing.assert_close(gradients(f, g, loss), due, **CLOSE)
    assert not value.requires_grad


@pytest.mark.parametrize("kind", ["cyclic", "spread"])
def test_one_tower_with_targets_and_a_mask(kind):
    f, x, t = tower("f"), randn(12, 6), targets_of(kind, 12)
    mask = torch.eye(12, dtype=torch.bool)
    one = lambda h: C.pair_loss(h, h, t, scale=4.0, mask=mask)
    one(f(x)).backward()
    due = gradients(f)
    C.accumulate(one, [f], [x], 5)
    torch.testing.assert_close(gradients(f), due, **CLOSE)


def test_one_tower_for_two_views_and_gradients_are_added():
    f, x, y = tower("f"), randn(8, 6, stream="x"), randn(8, 6, stream="y")
    loss = lambda a, b: nt_xent(a, b, temperature=0.2)
    loss(f(x), f(y)).backward()
    due = gradients(f)
    for _ in range(2):
        C.accumulate(loss, [f, f], [x, y], 3)
    torch.testing.assert_close(gradients(f), 2 * due, **CLOSE)


def test_with_the_fast_loss_too():
    f, g, x, y = tower("f"), tower("g"), randn(20, 6), randn(20, 6, stream="y")
    C.clip_loss(f(x), g(y), scale=5.0).backward()
    due = gradients(f, g)
    C.accumulate(
        lambda a, b: C.fast_clip_loss(a, b, scale=5.0, block=6), [f, g], [x, y], 7
    )
    torch.testing.assert_close(gradients(f, g), due, **CLOSE)


def with_dropout(replay):
    """Gradients of chunks, and of the whole with the same dropout, drawn chunk by chunk."""
    f, x, loss = (
        tower("f", dropout=0.4),
        randn(12, 6),
        lambda h: C.pair_loss(h, h, targets_of("cyclic", 12), scale=3.0),
    )
    seeded("dropout")
    loss(torch.cat([f(rows) for rows in x.split(5)])).backward()
    due, after = gradients(f), torch.get_rng_state()
    seeded("dropout")
    with pytest.MonkeyPatch.context() as patch:
        if not replay:
            patch.setattr(C, "replayed", lambda states: torch.enable_grad())
        C.accumulate(loss, [f], [x], 5)
    return gradients(f), due, torch.equal(torch.get_rng_state(), after)


def test_dropout_is_the_same_twice_and_the_generator_goes_on():
    found, due, as_after_one_pass = with_dropout(replay=True)
    torch.testing.assert_close(found, due, **CLOSE)
    assert as_after_one_pass
    found, due, _ = with_dropout(replay=False)
    assert float((found - due).norm() / due.norm()) > 0.05


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, BatchNorm])
def test_batch_norm_in_training_is_refused_and_would_be_wrong(norm):
    seeded("norm")
    f = nn.Sequential(nn.Linear(6, 5), norm(5), nn.Linear(5, 4)).to(DOUBLE)
    x = randn(12, 6)
    loss = lambda h: C.pair_loss(h, h, targets_of("cyclic", 12), scale=3.0)
    for way in (C.accumulate, C.accumulate_naively):
        with pytest.raises(ValueError, match="no batch normalisation in training"):
            way(loss, [f], [x], 4)
    loss(f(x)).backward()
    due = gradients(f)
    C.accumulate(loss, [lambda rows: f(rows)], [x], 4)
    assert float((gradients(f) - due).norm() / due.norm()) > 0.05
    f.eval()
    loss(f(x)).backward()
    due = gradients(f)
    C.accumulate(loss, [f], [x], 4)
    torch.testing.assert_close(gradients(f), due, **CLOSE)


def test_a_tower_may_be_frozen():
    f, g, x = tower("f"), tower("g").requires_grad_(False), randn(6, 6)
    loss = lambda a, b: C.clip_loss(a, b, scale=2.0)
    loss(f(x), g(x)).backward()
    due = gradients(f)
    C.accumulate(loss, [f, g], [x, x], 4)
    torch.testing.assert_close(gradients(f), due, **CLOSE)
    assert all(p.grad is None for p in g.parameters())


@pytest.mark.parametrize("chunk", [2, 4])
def test_an_encoder_may_do_nothing(chunk):
    a, b = (randn(4, 3, stream=s).requires_grad_() for s in "ab")
    due = torch.autograd.grad(C.clip_loss(a, b), (a, b))
    C.accumulate(C.clip_loss, [nn.Identity()] * 2, [a, b], chunk)
    for x, g in zip((a, b), due, strict=True):
        torch.testing.assert_close(x.grad, g, **CLOSE)


def test_inputs_may_learn_and_modes_stay():
    f, x = tower("f"), randn(6, 6)
    other = copy.deepcopy(x)
    loss = lambda h: C.pair_loss(h, h, targets_of("cyclic", 6))
    loss(f(x.requires_grad_())).backward()
    C.accumulate(loss, [f.eval()], [other.requires_grad_()], 4)
    torch.testing.assert_close(other.grad, x.grad, **CLOSE)
    assert not f.training


def test_the_naive_way_is_the_mean_of_chunks_and_another_loss():
    f, g, x, y = tower("f"), tower("g"), randn(10, 6), randn(10, 6, stream="y")
    loss = lambda a, b: C.clip_loss(a, b, scale=3.0)
    loss(f(x), g(y)).backward()
    whole = gradients(f, g)
    value = C.accumulate_naively(loss, [f, g], [x, y], 4)
    found = gradients(f, g)
    cut = [(slice(0, 4), 0.4), (slice(4, 8), 0.4), (slice(8, 10), 0.2)]
    due = sum(share * loss(f(x[i]), g(y[i])) for i, share in cut)
    torch.testing.assert_close(value, due.detach(), **CLOSE)
    due.backward()
    torch.testing.assert_close(found, gradients(f, g), **CLOSE)
    assert float((found - whole).norm() / whole.norm()) > 0.1
    mean = lambda a, b: (a * b).sum(-1).mean()  # of examples: here it is right
    mean(f(x), g(y)).backward()
    due = gradients(f, g)
    C.accumulate_naively(mean, [f, g], [x, y], 4)
    torch.testing.assert_close(gradients(f, g), due, **CLOSE)


def test_one_chunk_is_in_memory_at_a_time():
    f, x, sizes = tower("f"), randn(12, 6), []
    f[0].register_forward_hook(
        lambda m, i, o: sizes.append((len(o), o.requires_grad))
    )
    loss = lambda h: C.pair_loss(h, h, targets_of("cyclic", 12))
    C.accumulate(loss, [f], [x], 5)
    assert sizes == [
        (5, False),
        (5, False),
        (2, False),
        (5, True),
        (5, True),
        (2, True),
    ]


# --- Refusals ---


def test_what_does_not_fit_is_refused():
    f, x = tower("f"), randn(4, 6)
    loss = lambda *h: h[0].sum()
    with pytest.raises(ValueError, match="as many as the 2 encoders, got 1"):
        C.accumulate(loss, [f, f], [x], 2)
    with pytest.raises(ValueError, match="at least one row"):
        C.accumulate(loss, [f], [x[:0]], 2)
    with pytest.raises(ValueError, match="one row for each of 2"):
        C.accumulate(loss, [lambda rows: f(rows)[:1]], [x], 2)
    for bad in (lambda h: h, lambda h: 3.0, lambda h: h.detach().sum()):
        for way in (C.accumulate, C.accumulate_naively):
            with pytest.raises(ValueError, match="loss must give a scalar"):
                way(bad, [f], [x], 2)
    with pytest.raises(ValueError, match="equally many rows, got"):
        C.accumulate_naively(loss, [f, f], [x, x[:3]], 2)


def test_targets_and_masks_that_contradict_each_other_are_refused():
    a, eye = randn(3, 2), torch.eye(3, dtype=DOUBLE)
    with pytest.raises(ValueError, match="targets must be 0 where mask"):
        C.pair_loss(a, a, eye, mask=eye.bool())
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[1] = True
    with pytest.raises(ValueError, match="mask must leave a pair"):
        C.pair_gradients(a, a, eye, mask=mask)
    with pytest.raises(ValueError, match="targets must be probabilities"):
        C.pair_loss(a, a, 2 * eye)
    with pytest.raises(ValueError, match="scale must be one number"):
        C.clip_loss(a, a, scale=torch.ones(2))


def test_surrogate_takes_pulls_as_constants():
    h = randn(3, 2, stream="h").requires_grad_()
    value = C.surrogate(h, h**2)
    (g,) = torch.autograd.grad(value, h)
    torch.testing.assert_close(g, h.detach() ** 2)
    torch.testing.assert_close(value.detach(), (h.detach() ** 3).sum())
