"""Losses of distances against torch and loops; mining, fast against plain; retrieval against scikit-learn."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor
from torch.nn import functional as F

from lbdl.foundations import metric_learning as M
from lbdl.foundations.metric_learning import distances

from .references import (
    DOUBLE,
    REDUCTIONS,
    TOLERANCE,
    Case,
    bits,
    by_formula,
    classes,
    randn,
    seeded,
    value_and_gradients,
)

# --- Every loss is its reference: values and gradients, three reductions, two dtypes


def nt_xent_by_loop(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Equation (1) of the SimCLR paper, one view after the other."""
    views, n = torch.cat([a, b]), len(a)
    losses = []
    for i in range(2 * n):
        s = (
            torch.stack(
                [
                    F.cosine_similarity(views[i], views[j], dim=0)
                    for j in range(2 * n)
                ]
            )
            / temperature
        )
        others = torch.stack([s[j] for j in range(2 * n) if j != i])
        losses.append(-s[(i + n) % (2 * n)] + others.exp().sum().log())
    return torch.stack(losses)


def info_nce_by_torch(
    q: Tensor, k: Tensor, temperature: float, reduction: str
) -> Tensor:
    s = F.cosine_similarity(q[:, None], k[None], dim=-1) / temperature
    return F.cross_entropy(
        s, torch.arange(len(q), device=q.device), reduction=reduction
    )


def some_same(dtype, device):
    return (bits(7, dtype=dtype, device=device),)


CASES = {
    "contrastive": Case(
        partial(M.pair_contrastive, margin=6.0),
        by_formula(
            lambda a, b, y: (
                y * F.pairwise_distance(a, b, eps=0) ** 2
                + (1 - y)
                * (6.0 - F.pairwise_distance(a, b, eps=0)).clamp(min=0) ** 2
            )
        ),
        2,
        extra=some_same,
    ),
    "triplet": Case(M.triplet, partial(F.triplet_margin_loss, eps=0), 3),
    "triplet, margin 0.2": Case(
        partial(M.triplet, margin=0.2),
        partial(F.triplet_margin_loss, margin=0.2, eps=0),
        3,
    ),
    "InfoNCE": Case(
        partial(M.info_nce, temperature=0.2),
        partial(info_nce_by_torch, temperature=0.2),
        2,
        shape=(6, 4),
    ),
    "NT-Xent": Case(
        partial(M.nt_xent, temperature=0.5),
        by_formula(partial(nt_xent_by_loop, temperature=0.5)),
        2,
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_its_reference(
    name: str, dtype: torch.dtype, reduction: str, device: str
) -> None:
    CASES[name].is_its_reference(dtype, reduction, device)


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name: str) -> None:
    CASES[name].has_its_gradient()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_stays_near(name: str, dtype: torch.dtype) -> None:
    CASES[name].stays_near_in(dtype)


@pytest.mark.parametrize("name", CASES)
def test_memory_layout_does_not_matter(name: str) -> None:
    CASES[name].is_blind_to_memory_layout()


def test_a_single_query_has_nothing_to_choose() -> None:
    assert M.info_nce(randn(1, 3), randn(1, 3)).item() == pytest.approx(
        0, abs=1e-15
    )


# --- Distances


def test_triplet_in_numbers() -> None:
    a, p, n = (torch.tensor([[v, 0.0]], dtype=DOUBLE) for v in (0.0, 0.5, 1.2))
    assert M.triplet(a, p, n).item() == pytest.approx(0.3)
    assert M.triplet(a, p, n, margin=0.7).item() == pytest.approx(0.0)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_at_distance_zero(dtype: torch.dtype, device: str) -> None:
    """At coinciding points the pull is 0 and the push is 0: no NaN from a square root."""
    a, b = randn(2, 4, 3, dtype=dtype, device=device).unbind(0)
    zero, one = torch.zeros(4, device=device), torch.ones(4, device=device)
    for same in (zero, one):
        value, da, db = value_and_gradients(
            M.pair_contrastive, [a, a], (same,), margin=2.0, reduction="none"
        )
        torch.testing.assert_close(value, 4 * (1 - same).to(dtype))
        assert not da.any() and not db.any()
    _, da, dp, dn = value_and_gradients(
        M.triplet, [a, a, b], (), margin=100.0, reduction="sum"
    )
    away = F.normalize(a - b, dim=-1)
    torch.testing.assert_close(da, -away, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dn, away, rtol=1e-5, atol=1e-6)
    assert not dp.any()
    labels = torch.tensor([0, 0, 1, 1], device=device)
    for loss in MINERS:
        for each in value_and_gradients(loss, [a[[0, 0, 1, 1]]], (labels,)):
            assert bool(each.isfinite().all())


def test_pairwise_distances_are_cdist() -> None:
    x = randn(3, 8, 5)
    torch.testing.assert_close(M.pairwise_distances(x), torch.cdist(x, x))
    _, gradient = value_and_gradients(M.pairwise_distances, [x], ())
    assert bool(gradient.isfinite().all())


# --- Mining

MINERS = [
    M.batch_hard_triplet,
    M.fast_batch_hard_triplet,
    M.semi_hard_triplet,
    M.fast_semi_hard_triplet,
]
TWINS = [
    (M.batch_hard_triplet, M.fast_batch_hard_triplet),
    (M.semi_hard_triplet, M.fast_semi_hard_triplet),
]


def hard_by_loops(x: Tensor, labels: Tensor, margin: float) -> list[float]:
    """Every triplet of the batch, by brute force."""
    d = np.linalg.norm(x.numpy()[:, None] - x.numpy()[None], axis=-1)
    losses = []
    for a in range(len(x)):
        triplets = [
            d[a, p] - d[a, n] + margin
            for p in range(len(x))
            for n in range(len(x))
            if p != a and labels[p] == labels[a] and labels[n] != labels[a]
        ]
        losses.append(max(0.0, max(triplets)) if triplets else None)
    return losses


def semi_hard_by_loops(x: Tensor, labels: Tensor, margin: float) -> list[float]:
    d = np.linalg.norm(x.numpy()[:, None] - x.numpy()[None], axis=-1)
    losses = []
    for a in range(len(x)):
        for p in range(len(x)):
            if p == a or labels[p] != labels[a]:
                continue
            beyond = [
                d[a, n]
                for n in range(len(x))
                if labels[n] != labels[a] and d[a, n] > d[a, p]
            ]
            losses.append(
                max(0.0, d[a, p] - min(beyond) + margin) if beyond else None
            )
    return losses


@pytest.mark.parametrize("plain", [0, 1], ids=["plain", "fast"])
@given(seed=st.integers(0, 100), kinds=st.integers(1, 6))
def test_mining_by_brute_force(plain: int, seed: int, kinds: int) -> None:
    x, labels = randn(12, 3, seed=seed), classes(12, k=kinds, seed=seed)
    for twins, loops in zip(
        TWINS, (hard_by_loops, semi_hard_by_loops), strict=True
    ):
        expected = [value for value in loops(x, labels, 0.5) if value is not None]
        mean = sum(expected) / len(expected) if expected else 0.0
        assert twins[plain](x, labels, margin=0.5).item() == pytest.approx(
            mean, abs=1e-12
        )
        assert twins[plain](
            x, labels, margin=0.5, reduction="sum"
        ).item() == pytest.approx(sum(expected), abs=1e-12)


@pytest.mark.parametrize(("plain", "fast"), TWINS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_fast_mining_is_the_plain_one(
    plain, fast, dtype: torch.dtype, device: str
) -> None:
    x = randn(24, 5, dtype=dtype, device=device) + 3  # off centre
    labels = classes(24, k=4, device=device)
    for reduction in REDUCTIONS:
        ours = value_and_gradients(
            plain, [x], (labels,), margin=0.7, reduction=reduction
        )
        quick = value_and_gradients(
            fast, [x], (labels,), margin=0.7, reduction=reduction
        )
        for a, b in zip(ours, quick, strict=True):
            torch.testing.assert_close(
                a,
                b,
                rtol=20 * TOLERANCE[dtype]["rtol"],
                atol=20 * TOLERANCE[dtype]["atol"],
            )


@pytest.mark.parametrize("loss", MINERS)
def test_gradcheck_of_mining(loss) -> None:
    x, labels = randn(8, 3).requires_grad_(), torch.arange(8) % 3
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, margin=0.9), x)


@pytest.mark.parametrize(
    "loss", [M.fast_batch_hard_triplet, M.fast_semi_hard_triplet]
)
def test_fast_mining_is_batched(loss) -> None:
    x, labels = randn(2, 3, 10, 4), classes(2, 3, 10, k=3)
    together = loss(x, labels, reduction="none")
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(
                together[i, j], loss(x[i, j], labels[i, j], reduction="none")
            )


@pytest.mark.parametrize("loss", MINERS)
@given(seed=st.integers(0, 50))
def test_mining_sees_neither_order_nor_rotation(loss, seed: int) -> None:
    x, labels = randn(10, 3, seed=seed), classes(10, k=3, seed=seed)
    order = torch.randperm(10, generator=seeded(seed))
    turn = torch.linalg.qr(randn(3, 3, seed=seed + 1))[0]
    expected = loss(x, labels)
    torch.testing.assert_close(loss(x[order], labels[order]), expected)
    torch.testing.assert_close(loss(x @ turn + 2, labels), expected)


@pytest.mark.parametrize("loss", MINERS)
def test_a_batch_without_a_triplet_costs_nothing(loss) -> None:
    for labels in (torch.zeros(4, dtype=torch.int64), torch.arange(4)):
        value, gradient = value_and_gradients(loss, [randn(4, 2)], (labels,))
        assert value == 0 and not gradient.any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_mean_of_one_triplet_is_that_triplet(reduction: str) -> None:
    """0 and 1 of a kind, a stranger at 1.5: two anchors have a hardest triplet, one pair a stranger beyond it."""
    x = torch.tensor([[0.0], [1.0], [1.5]], dtype=DOUBLE)
    labels = torch.tensor([0, 0, 1])
    hard = [M.batch_hard_triplet, M.fast_batch_hard_triplet]
    for loss in hard:  # two anchors have a triplet: 1 - 1.5 + .6 and 1 - .5 + .6
        total = loss(x, labels, margin=0.6, reduction="sum").item()
        assert total == pytest.approx(0.1 + 1.1)
        assert loss(x, labels, margin=0.6).item() == pytest.approx(total / 2)
    for loss in (M.semi_hard_triplet, M.fast_semi_hard_triplet):
        found = loss(x, labels, margin=0.6, reduction=reduction)
        assert found.item() == pytest.approx(0.1)  # the pair (0, 1) and 1.5 beyond


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_mean_is_over_what_was_found(count: int) -> None:
    """So many anchors of a kind of two, all others alone: 0 where there is none, the loss itself where there is one."""
    found = torch.arange(4) < count
    losses = torch.where(found, torch.tensor([2.0, 4.0, 9.0, 9.0]), 0)
    expected = [0.0, 2.0, 3.0, 5.0][count]
    assert distances.reduce_found(losses, found, "mean", torch.float32) == expected


@pytest.mark.parametrize(("plain", "fast"), TWINS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 300.0, 1e12, 1e30])
def test_fast_mining_is_the_plain_one_at_every_scale(
    plain, fast, dtype: torch.dtype, scale: float
) -> None:
    x, labels = (scale * randn(24, 5)).to(dtype), classes(24, k=4)
    if not x.isfinite().all() or not x.all():
        return  # no number of that dtype
    for margin in (0.0, scale):
        a, b = (
            f(x, labels, margin=margin, reduction="none") for f in (plain, fast)
        )
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * scale)


def test_fast_mining_in_half_precision_with_long_vectors() -> None:
    """Squares beyond 65504: 0 and 1 are neighbours, 501 and 400 are not."""
    x = torch.tensor([[0.0], [1.0], [501.0], [400.0]], dtype=torch.float16)
    labels = torch.tensor([0, 1, 0, 1])
    for loss in (M.batch_hard_triplet, M.fast_batch_hard_triplet):
        found = loss(x, labels, margin=0.0, reduction="none")
        assert found.tolist() == [500, 398, 400, 298]


@pytest.mark.parametrize("loss", [*MINERS, M.ranked_relevance])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_point_that_is_nowhere_is_refused(loss, bad: float) -> None:
    x = randn(4, 2)
    x[2, 1] = bad
    with pytest.raises(ValueError, match="points must be finite"):
        loss(x, torch.tensor([0, 0, 1, 1]))


def test_batch_hard_in_numbers() -> None:
    """On a line, 0 and 1 against 3 and 3.5: 1 - 3 + 3, 1 - 2 + 3, 0.5 - 2 + 3 and 0.5 - 2.5 + 3."""
    x = torch.tensor([[0.0], [1.0], [3.0], [3.5]], dtype=DOUBLE)
    labels = torch.tensor([0, 0, 1, 1])
    found = M.batch_hard_triplet(x, labels, margin=3.0, reduction="none")
    assert found.tolist() == pytest.approx([1.0, 2.0, 1.5, 1.0])


# --- InfoNCE


def test_info_nce_of_chance_is_the_logarithm_of_the_number() -> None:
    x = torch.ones(7, 3, dtype=DOUBLE)
    assert M.info_nce(x, x).item() == pytest.approx(math.log(7))
    assert M.nt_xent(x, x).item() == pytest.approx(math.log(13))


@given(seed=st.integers(0, 100), scale=st.floats(0.1, 10.0))
def test_info_nce_sees_directions_alone(seed: int, scale: float) -> None:
    q, k = randn(6, 4, seed=seed), randn(6, 4, seed=seed + 1)
    for loss in (M.info_nce, M.nt_xent):
        torch.testing.assert_close(
            loss(scale * q, k), loss(q, k), rtol=1e-9, atol=1e-12
        )
        order = torch.randperm(6, generator=seeded(seed))
        torch.testing.assert_close(
            loss(q[order], k[order]), loss(q, k), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("loss", [M.info_nce, M.nt_xent])
def test_a_row_of_zeros_has_no_direction(loss) -> None:
    x, y = randn(4, 3), randn(4, 3, seed=1)
    x[2] = 0
    names = "queries|first", "keys|second"
    for pair, name in (((x, y), names[0]), ((y, x), names[1])):
        with pytest.raises(ValueError, match=f"({name}) must hold no row of zeros"):
            loss(*pair)
    gradient = torch.func.grad(loss)(x, y)  # where nobody can look
    assert gradient.isfinite().all() and gradient.abs().max() < 100


@pytest.mark.parametrize("loss", [M.info_nce, M.nt_xent])
def test_short_rows_have_the_direction_of_long_ones(loss) -> None:
    q, k = (
        randn(6, 4, dtype=torch.float32),
        randn(6, 4, seed=1, dtype=torch.float32),
    )
    value, gradient, _ = value_and_gradients(loss, [q, k], ())
    for scale in (1e-30, 1e-12, 1e12, 1e30):
        found, slope, _ = value_and_gradients(loss, [scale * q, k], ())
        torch.testing.assert_close(found, value)
        torch.testing.assert_close(scale * slope, gradient, rtol=1e-4, atol=1e-6)


def test_info_nce_is_batched_and_stays_finite_when_cold() -> None:
    q, k = randn(2, 3, 6, 4), randn(2, 3, 6, 4, seed=1)
    for loss in (M.info_nce, M.nt_xent):
        torch.testing.assert_close(
            loss(q, k, reduction="none")[1, 2],
            loss(q[1, 2], k[1, 2], reduction="none"),
        )
        for each in value_and_gradients(
            loss, [q.float(), k.float()], (), temperature=1e-4
        ):
            assert bool(each.isfinite().all())


# --- Retrieval


def test_recall_of_a_single_question() -> None:
    """One row without leading dimensions; k counts from the front, the last place included."""
    row = torch.tensor([False, False, True, False])
    found = [M.recall_at(row, k) for k in (1, 2, 3, 4)]
    assert [f.item() for f in found] == [0, 0, 1, 1]
    assert all(f.shape == () and f.dtype == torch.float32 for f in found)
    assert M.average_precision(row).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_neighbours_are_the_same_at_every_scale(scale: float) -> None:
    x, labels = randn(12, 3, dtype=torch.float32), classes(12, k=3)
    assert torch.equal(
        M.ranked_relevance(scale * x, labels), M.ranked_relevance(x, labels)
    )


def test_average_precision_is_sklearns(device: str) -> None:
    x, labels = randn(30, 4, device=device), classes(30, k=3, device=device)
    relevance = M.ranked_relevance(x, labels)
    found = M.average_precision(relevance)
    d = torch.cdist(x, x).cpu().numpy()
    for i in range(30):
        others = np.arange(30) != i
        truth = (labels == labels[i]).cpu().numpy()[others]
        expected = metrics.average_precision_score(truth, -d[i, others])
        assert found[i].item() == pytest.approx(expected, abs=1e-6)


def test_recall_at_one_is_the_nearest_neighbour() -> None:
    from sklearn.neighbors import NearestNeighbors

    x, labels = randn(40, 3), classes(40, k=4)
    second = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x)[1][:, 1]
    relevance = M.ranked_relevance(x, labels)
    expected = labels == labels[torch.from_numpy(second)]
    assert torch.equal(M.recall_at(relevance) == 1, expected)
    assert bool((M.recall_at(relevance, 5) >= M.recall_at(relevance)).all())
    assert bool((M.recall_at(relevance, 39) == 1).all())


def test_retrieval_in_numbers() -> None:
    relevance = torch.tensor(
        [[True, False, True, False], [False, False, False, True]]
    )
    assert M.average_precision(relevance).tolist() == pytest.approx(
        [(1 + 2 / 3) / 2, 1 / 4]
    )
    assert M.recall_at(relevance).tolist() == [1, 0]
    assert M.recall_at(relevance, 4).tolist() == [1, 1]


def test_a_point_does_not_find_itself() -> None:
    x = torch.zeros(3, 2)  # all distances 0
    assert M.ranked_relevance(x, torch.arange(3)).sum() == 0
    assert bool(M.ranked_relevance(x, torch.zeros(3).long()).all())


# --- Bad input


def nothing(*shape: int) -> Tensor:
    return torch.empty(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, t: M.pair_contrastive(x, x, t), "same must be 0 or 1 everywhere"),
        (lambda x, t: M.pair_contrastive(x, x, x), r"same must have the shape of distances, \(3,\), got .* \(3, 4\)"),
        (lambda x, t: M.pair_contrastive(x, x, t > 0, margin=0), "margin must be finite and > 0, got 0"),
        (lambda x, t: M.triplet(x, x, x[:2]), r"negative must have the shape of anchor, \(3, 4\)"),
        (lambda x, t: M.batch_hard_triplet(x, t[:2]), r"labels must have shape \(3,\), .* got \(2,\)"),
        (lambda x, t: M.fast_batch_hard_triplet(nothing(0, 4), t[:0]), r"points must be \(\.\.\., B, d\)"),
        (lambda x, t: M.fast_semi_hard_triplet(x[0], t[0]), r"points must be \(\.\.\., B, d\)"),
        (lambda x, t: M.info_nce(x, x, temperature=0.0), "temperature must be finite and > 0, got 0"),
        (lambda x, t: M.info_nce(x[0], x[0]), r"queries must be \(\.\.\., N, d\)"),
        (lambda x, t: M.nt_xent(x, x[:2]), r"second must have the shape of first, \(3, 4\)"),
        (lambda x, t: M.ranked_relevance(x[:1], t[:1]), "points must have at least 2 along dim 0"),
        (lambda x, t: M.recall_at(x > 0, 5), "k must be a whole number >= 1 and <= 4, got 5"),
        (lambda x, t: M.average_precision(x > 99), "relevance must hold a right answer in every row"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.ones(3, 4), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: M.triplet(i, i, i), r"anchor must be a floating tensor, got torch\.int64"),
        (lambda i: M.batch_hard_triplet(i[None], i[:1]), r"points must be a floating tensor, got torch\.int64"),
    ],
)  # fmt: skip
def test_wrong_dtypes_are_named(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(torch.tensor([1, 0]))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: M.triplet(x, x + 1, x - 1),
        lambda x: M.fast_batch_hard_triplet(x, torch.arange(6) % 2),
        lambda x: M.fast_semi_hard_triplet(x, torch.arange(6) % 2),
        lambda x: M.info_nce(x, x + 1),
    ],
)
def test_losses_compile_to_one_graph(loss) -> None:
    found = torch._dynamo.explain(loss)(randn(6, 4).requires_grad_())
    assert found.graph_break_count == 0
