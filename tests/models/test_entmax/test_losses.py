"""The losses of `lbdl.models.entmax`: torch and the `entmax` package agree, and every gradient is p - target."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lbdl.foundations.losses import cross_entropy, soft_cross_entropy
from lbdl.models.entmax import (
    entmax,
    entmax15,
    entmax_loss,
    fenchel_young_loss,
    margin_softmax_loss,
    sparse_softmax,
    sparse_softmax_loss,
    sparsemax,
    sparsemax_loss,
    taylor_softmax,
    tsallis_entropy,
    universal_surrogate_loss,
)
from lbdl.models.softmax import softmax
from tests.peers import Peer

peer = Peer("entmax")

# Each loss with the map it trains: its gradient must be map(x) - onehot.
PAIRS = {
    "sparsemax": (sparsemax_loss, sparsemax),
    "entmax 1": (lambda x, t: entmax_loss(x, t, 1.0), softmax),
    "entmax 1.5": (entmax_loss, entmax15),
    "entmax 1.7": (lambda x, t: entmax_loss(x, t, 1.7), lambda x: entmax(x, 1.7)),
    "entmax 3": (lambda x, t: entmax_loss(x, t, 3.0), lambda x: entmax(x, 3.0)),
    "sparse": (
        lambda x, t: sparse_softmax_loss(x, t, 3),
        lambda x: sparse_softmax(x, 3),
    ),
    "surrogate softmax": (universal_surrogate_loss, softmax),
    "surrogate taylor": (
        lambda x, t: universal_surrogate_loss(x, t, taylor_softmax),
        taylor_softmax,
    ),
    "surrogate sparsemax": (
        lambda x, t: universal_surrogate_loss(x, t, sparsemax),
        sparsemax,
    ),
    "margin 0": (lambda x, t: margin_softmax_loss(x, t, 0.0, 1.0), softmax),
}
every_loss = pytest.mark.parametrize(
    ("loss", "mapping"), PAIRS.values(), ids=PAIRS.keys()
)
TRUE_LOSSES = [name for name in PAIRS if "surrogate" not in name]


def scores(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return spread * torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def targets(*shape: int, classes: int = 6) -> torch.Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(5))


def assert_equal(
    actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12
) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@every_loss
def test_gradient_is_probabilities_minus_target(loss, mapping, device):
    x, target = scores(20, 6).to(device).requires_grad_(), targets(20).to(device)
    loss(x, target).sum().backward()
    assert_equal(x.grad, mapping(x.detach()) - F.one_hot(target, 6))


@every_loss
def test_leading_dimensions_are_a_batch(loss, mapping):
    x, target = scores(2, 3, 6), targets(2, 3)
    assert loss(x, target).shape == (2, 3)
    assert_equal(
        loss(x, target), loss(x.flatten(0, 1), target.flatten()).view(2, 3)
    )
    assert_equal(loss(x[0, 0], target[0, 0]), loss(x, target)[0, 0])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_stays_finite_and_near(loss, mapping, dtype):
    x, target = scores(20, 6).to(dtype), targets(20)
    assert loss(x, target).dtype == dtype
    assert_equal(
        loss(x, target).double(),
        loss(x.double(), target),
        atol=8 * torch.finfo(dtype).eps,
    )


@every_loss
def test_a_masked_class_is_as_if_it_were_not_there(loss, mapping):
    x, target = scores(20, 6), targets(20, classes=5)
    masked = torch.cat(
        [x[:, :5], torch.full((20, 1), -torch.inf)], dim=-1
    ).requires_grad_()
    value = loss(masked, target)
    assert_equal(value, loss(x[:, :5], target))
    value.sum().backward()
    assert masked.grad.isfinite().all()


@pytest.mark.parametrize("name", TRUE_LOSSES)
@given(
    row=st.lists(st.floats(-50, 50, width=32), min_size=6, max_size=6),
    target=st.integers(0, 5),
)
def test_never_negative(name, row, target):
    loss, _ = PAIRS[name]
    assert (
        loss(torch.tensor(row, dtype=torch.float64), torch.tensor(target)) >= -1e-12
    )


@pytest.mark.parametrize("name", TRUE_LOSSES)
def test_extreme_scores_give_a_finite_loss(name):
    loss, _ = PAIRS[name]
    x = torch.tensor(
        [[1e4, 0, -1e4, 0, 0, 0], [0, 0, 0, 0, 0, 1e4]], requires_grad=True
    )
    value = loss(x, torch.tensor([2, 5]))
    value.sum().backward()
    assert value.isfinite().all() and x.grad.isfinite().all()
    assert value[0] > 1e4 and value[1] == 0


@every_loss
def test_bad_targets_are_refused(loss, mapping):
    x = scores(4, 6)
    with pytest.raises(
        ValueError, match="target must hold class numbers from 0 to 5"
    ):
        loss(x, torch.tensor([0, 1, 2, 6]))
    with pytest.raises(
        ValueError, match=r"target must have shape \(4,\), got \(3,\)"
    ):
        loss(x, torch.tensor([0, 1, 2]))
    with pytest.raises(
        TypeError, match=r"target must be an int64 tensor, got torch\.int32"
    ):
        loss(x, torch.tensor([0, 1, 2, 3], dtype=torch.int32))
    with pytest.raises(ValueError, match=r"(x|cosine) must hold no NaN"):
        loss(
            x.masked_fill(torch.eye(4, 6, dtype=torch.bool), torch.nan), targets(4)
        )


# Against torch and the package


def test_sparsemax_and_entmax_losses_equal_the_package():
    x, target = scores(20, 6), targets(20)
    assert_equal(sparsemax_loss(x, target), peer.sparsemax_loss(x, target))
    assert_equal(entmax_loss(x, target, 1.5), peer.entmax15_loss(x, target))
    assert_equal(
        entmax_loss(x, target, 1.25), peer.entmax_bisect_loss(x, target, 1.25, 70)
    )


@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_margin_softmax_by_its_definition(margin):
    cosine, target = scores(20, 6).tanh(), targets(20)
    moved = cosine.clone()
    moved[torch.arange(20), target] -= margin
    expected = F.cross_entropy(moved / 0.1, target, reduction="none")
    assert_equal(margin_softmax_loss(cosine, target, margin, 0.1), expected)


def test_a_margin_makes_the_loss_harder():
    cosine, target = scores(20, 6).tanh(), targets(20)
    assert (
        margin_softmax_loss(cosine, target, 0.35)
        > margin_softmax_loss(cosine, target, 0.0)
    ).all()


def test_sparse_softmax_loss_by_its_definition():
    x, target = scores(20, 6), targets(20)
    top = x.sort(descending=True).values[:, :2]
    own = x[torch.arange(20), target]
    assert_equal(sparse_softmax_loss(x, target, 2), torch.logsumexp(top, -1) - own)
    assert_equal(
        sparse_softmax_loss(x, target, 6),
        cross_entropy(x, target, reduction="none"),
    )


def test_sparse_softmax_loss_moves_the_top_and_the_target_alone():
    x = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]], requires_grad=True)
    sparse_softmax_loss(x, torch.tensor([4]), 2).sum().backward()
    assert (x.grad != 0).tolist() == [[True, True, False, False, True]]


# Fenchel-Young losses


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_fenchel_young_loss_of_a_distribution(alpha):
    x, q = scores(20, 6).requires_grad_(), torch.softmax(scores(20, 6, seed=1), -1)
    loss = entmax_loss(x, q, alpha)
    loss.sum().backward()
    p = entmax(x.detach(), alpha)
    assert (loss > 0).all()
    assert_equal(x.grad, p - q)
    assert_equal(
        entmax_loss(x.detach(), p, alpha), torch.zeros(20, dtype=torch.float64)
    )


def test_the_family_holds_cross_entropy_and_the_sparsemax_loss():
    x, target = scores(20, 6), targets(20)
    assert_equal(
        entmax_loss(x, target, 1.0), cross_entropy(x, target, reduction="none")
    )
    assert_equal(entmax_loss(x, target, 2.0), sparsemax_loss(x, target))
    own = fenchel_young_loss(
        x, target, sparsemax, lambda p: (1 - p.square().sum(-1)) / 2
    )
    assert_equal(own, sparsemax_loss(x, target))


def test_cross_entropy_is_the_fenchel_young_loss_plus_the_entropy_of_the_target():
    x, q = scores(20, 6), torch.softmax(scores(20, 6, seed=1), -1)
    expected = entmax_loss(x, q, 1.0) + tsallis_entropy(q, 1.0)
    assert_equal(soft_cross_entropy(x, q, reduction="none"), expected)


def test_smoothing_the_labels_is_such_a_target():
    x, target = scores(20, 6), targets(20)
    q = 0.9 * F.one_hot(target, 6).double() + 0.1 / 6
    expected = entmax_loss(x, q, 1.0) + tsallis_entropy(q, 1.0)
    assert_equal(
        cross_entropy(x, target, smoothing=0.1, reduction="none"), expected
    )


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0, 3.0])
def test_entmax_loss_is_zero_from_the_margin_on(alpha):
    gap = 1 / (alpha - 1)
    x = torch.tensor([[gap + 1e-6, 0, 0], [gap - 1e-1, 0, 0]], dtype=torch.float64)
    loss = entmax_loss(x, torch.tensor([0, 0]), alpha)
    assert loss[0] == pytest.approx(0, abs=1e-15) and loss[1] > 1e-8


def test_gradcheck_of_the_losses():
    x, target = scores(4, 6).requires_grad_(), targets(4)
    for name in TRUE_LOSSES:
        loss, _ = PAIRS[name]
        assert torch.autograd.gradcheck(lambda z, loss=loss: loss(z, target), x), (
            name
        )


# The universal surrogate loss


def test_the_stop_belongs_on_the_other_factor():
    x, target = scores(20, 6).requires_grad_(), targets(20)
    wanted = softmax(x.detach()) - F.one_hot(target, 6)
    (right,) = torch.autograd.grad(universal_surrogate_loss(x, target).sum(), x)
    misplaced = ((softmax(x) - F.one_hot(target, 6)) * x.detach()).sum()
    (wrong,) = torch.autograd.grad(misplaced, x)
    assert_equal(right, wanted)
    assert (wrong - wanted).abs().max() > 0.1


# Bad input


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(
        ValueError,
        match=r"target must have the shape of x, \(4, 6\), got shape \(4, 5\)",
    ):
        entmax_loss(scores(4, 6), scores(4, 5))


def test_margin_softmax_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="must hold at least one element"):
        margin_softmax_loss(scores(0, 6), targets(0))


@pytest.mark.parametrize("arguments", [{"margin": -0.1}, {"temperature": 0.0}])
def test_margin_softmax_refuses_bad_numbers(arguments):
    with pytest.raises(ValueError, match="must be"):
        margin_softmax_loss(scores(4, 6), targets(4), **arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "loss",
    [
        lambda x, t: entmax_loss(x, t, 1.0),
        lambda x, t: sparse_softmax_loss(x, t, x.shape[-1]),
        lambda x, t: margin_softmax_loss(x, t, 0.0, 1.0),
    ],
    ids=["entmax 1", "sparse", "margin"],
)
def test_a_hundred_thousand_classes_in_half_precision(loss, dtype):
    """A sum of 100 000 ones is beyond float16: computed there, the loss was infinite."""
    x, target = torch.zeros(2, 100_000, dtype=dtype), torch.tensor([0, 99_999])
    assert_equal(
        loss(x, target).double(),
        torch.full((2,), 100_000.0, dtype=torch.float64).log(),
        atol=8 * torch.finfo(dtype).eps,
    )
