"""Norms against torch's, forward and gradients, in training and evaluation; pooled statistics against all numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lbdl.models.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    batch_norm,
    batch_statistics,
    group_norm,
    instance_norm,
    layer_norm,
    pooled_statistics,
    rms_norm,
    standardize,
    standardize_backward,
)


def draw(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=chance)


FUNCTIONS = {
    "batch": (
        (6, 4, 5, 3),
        (4,),
        lambda x, w, b: batch_norm(x, w, b, eps=0.01),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 0.01),
    ),
    "batch, no places": (
        (6, 4),
        (4,),
        batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
    ),
    "layer": (
        (6, 7, 4),
        (4,),
        lambda x, w, b: layer_norm(x, w, b, eps=0.01),
        lambda x, w, b: F.layer_norm(x, (4,), w, b, 0.01),
    ),
    "layer, two axes": (
        (6, 3, 4),
        (3, 4),
        lambda x, w, b: layer_norm(x, w, b, axes=2),
        lambda x, w, b: F.layer_norm(x, (3, 4), w, b),
    ),
    "group": (
        (3, 6, 5, 2),
        (6,),
        lambda x, w, b: group_norm(x, 3, w, b, 0.01),
        lambda x, w, b: F.group_norm(x, 3, w, b, 0.01),
    ),
    "group, no places": (
        (3, 6),
        (6,),
        lambda x, w, b: group_norm(x, 2, w, b),
        lambda x, w, b: F.group_norm(x, 2, w, b),
    ),
    "instance": (
        (3, 6, 5, 2),
        (6,),
        lambda x, w, b: instance_norm(x, w, b, 0.01),
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=0.01),
    ),
    "rms": (
        (6, 7, 4),
        (4,),
        lambda x, w, b: rms_norm(x, w, 0.01) + 0 * b,
        lambda x, w, b: F.rms_norm(x, (4,), w, 0.01) + 0 * b,
    ),
}
every_norm = pytest.mark.parametrize(
    ("shape", "vector", "ours", "theirs"), FUNCTIONS.values(), ids=FUNCTIONS
)


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_torchs(
    shape, vector, ours, theirs, dtype, device
):
    drawn = [
        2 + 3 * draw(*shape, dtype=dtype),
        draw(*vector, seed=1),
        draw(*vector, seed=2),
    ]
    inputs = [x.to(device, dtype).requires_grad_() for x in drawn]
    y, expected = ours(*inputs), theirs(*inputs)
    slack = 2e-6 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(y, expected, rtol=slack, atol=slack)
    g = draw(*shape, seed=3).to(device, dtype)
    for a, b in zip(
        torch.autograd.grad(y, inputs, g),
        torch.autograd.grad(expected, inputs, g),
        strict=True,
    ):
        size = b.abs().max().clamp(min=1)
        torch.testing.assert_close(a / size, b / size, rtol=slack, atol=slack)


@every_norm
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(shape, vector, ours, theirs, dtype):
    x, w, b = 100 + 3 * draw(*shape), draw(*vector, seed=1), draw(*vector, seed=2)
    low = [t.to(dtype) for t in (x, w, b)]
    y, expected = ours(*low), ours(*[t.double() for t in low])
    assert y.dtype == dtype
    slack = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=slack, atol=slack * 2)


def test_without_weights() -> None:
    x = draw(6, 4, 5)
    torch.testing.assert_close(layer_norm(x), F.layer_norm(x, (5,)))
    torch.testing.assert_close(group_norm(x, 2), F.group_norm(x, 2))
    torch.testing.assert_close(instance_norm(x), F.instance_norm(x))
    torch.testing.assert_close(
        batch_norm(x), F.batch_norm(x, None, None, training=True)
    )
    torch.testing.assert_close(rms_norm(x), F.rms_norm(x, (5,), eps=1e-6))


@pytest.mark.parametrize("dims", [-1, 0, (0, 2), (-1, -2)])
def test_the_gradient_by_hand_is_that_of_autograd(dims) -> None:
    x, g = draw(4, 3, 5).requires_grad_(), draw(4, 3, 5, seed=1)
    (expected,) = torch.autograd.grad(standardize(x, dims, 0.1), x, g)
    torch.testing.assert_close(standardize_backward(g, x, dims, 0.1), expected)


def test_constant_rows_become_zero_and_have_a_finite_gradient() -> None:
    x = torch.full((3, 4), 7.0, requires_grad=True)
    y = layer_norm(x)
    (g,) = torch.autograd.grad(y, x, draw(3, 4).float())
    assert (y == 0).all() and g.isfinite().all()


MODULES = {
    "batch 1": (
        lambda: BatchNorm(4, 0.3, 0.01),
        lambda: nn.BatchNorm1d(4, 0.01, 0.3),
        (6, 4),
    ),
    "batch 2": (lambda: BatchNorm(4), lambda: nn.BatchNorm2d(4), (6, 4, 3, 2)),
    "layer": (lambda: LayerNorm(4), lambda: nn.LayerNorm(4), (6, 3, 4)),
    "rms": (lambda: RMSNorm(4, 0.01), lambda: nn.RMSNorm(4, 0.01), (6, 3, 4)),
    "group": (lambda: GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), (6, 4, 3)),
}
every_module = pytest.mark.parametrize(
    ("ours", "theirs", "shape"), MODULES.values(), ids=MODULES
)


@every_module
def test_modules_take_each_others_state_and_go_through_a_training(
    ours, theirs, shape
):
    one, two = ours(), theirs()
    for p in two.parameters():
        nn.init.normal_(p)
    one.load_state_dict(two.state_dict())
    for step in range(3):  # running statistics move
        x = 2 + 3 * draw(*shape, seed=step, dtype=torch.float32)
        torch.testing.assert_close(one(x), two(x), rtol=2e-6, atol=2e-6)
    one.eval(), two.eval()
    torch.testing.assert_close(one(x), two(x), rtol=2e-6, atol=2e-6)
    for (name, a), b in zip(
        one.state_dict().items(), two.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6, msg=name)


def test_training_does_not_read_the_running_statistics() -> None:
    one, two = BatchNorm(4), BatchNorm(4)
    two.running_mean.fill_(123.0)
    x = draw(6, 4).float()
    assert torch.equal(one(x), two(x))
    one.eval(), two.eval()
    assert not torch.allclose(one(x), two(x))


def test_evaluation_moves_nothing() -> None:
    layer = BatchNorm(4).eval()
    before = {name: t.clone() for name, t in layer.state_dict().items()}
    layer(draw(6, 4).float())
    assert all(
        torch.equal(before[name], t) for name, t in layer.state_dict().items()
    )


@pytest.mark.parametrize("sizes", [(2, 2), (1, 7, 3), (5,)])
def test_pooled_statistics_are_those_of_all_numbers(sizes) -> None:
    parts = [draw(n, 3, seed=n) + 10 * n for n in sizes]
    found = [batch_statistics(part) for part in parts]
    counts = torch.tensor(sizes, dtype=torch.float64)
    mean, variance = pooled_statistics(
        counts,
        torch.stack([m for m, _ in found]),
        torch.stack([v for _, v in found]),
    )
    everything = torch.cat(parts)
    torch.testing.assert_close(mean, everything.mean(0))
    torch.testing.assert_close(variance, everything.var(0, correction=0))


def test_pooled_statistics_give_the_batch_norm_of_all() -> None:
    parts = [draw(4, 3, seed=1), 5 + draw(6, 3, seed=2)]
    found = [batch_statistics(part) for part in parts]
    counts = torch.tensor([4.0, 6.0], dtype=torch.float64)
    pooled = pooled_statistics(counts, *map(torch.stack, zip(*found, strict=True)))
    ours = torch.cat([batch_norm(part, statistics=pooled) for part in parts])
    torch.testing.assert_close(ours, batch_norm(torch.cat(parts)))


X = draw(6, 4, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: standardize([1.0]), TypeError, "x must be a floating tensor"),
        (lambda: standardize(X, 3), ValueError, "dims must be in"),
        (lambda: standardize(X, 1.0), TypeError, "dims must be"),
        (lambda: standardize(X, eps=-1.0), ValueError, "eps must be"),
        (lambda: standardize(X[:0], 0), ValueError, "x must have at least 1"),
        (
            lambda: standardize_backward(X[1:], X),
            ValueError,
            "g must have the shape",
        ),
        (lambda: layer_norm(X, draw(4)), ValueError, "weight must be"),
        (lambda: layer_norm(X, draw(3), draw(4)), ValueError, "bias must be"),
        (
            lambda: layer_norm(X, draw(3).float()),
            TypeError,
            "weight must have the dtype",
        ),
        (lambda: layer_norm(X, axes=4), ValueError, "axes must be"),
        (lambda: rms_norm(X, draw(4)), ValueError, "weight must be"),
        (lambda: group_norm(X, 3), ValueError, "groups must divide"),
        (lambda: group_norm(X[0, 0], 1), ValueError, "x must be"),
        (lambda: group_norm(X, 2.0), TypeError, "groups must be"),
        (lambda: instance_norm(X, draw(3)), ValueError, "weight must be"),
        (lambda: batch_norm(X[:0]), ValueError, "x must hold"),
        (
            lambda: batch_norm(X, statistics=(draw(4), -draw(4).abs())),
            ValueError,
            "statistics",
        ),
        (
            lambda: batch_norm(X, statistics=(draw(3), draw(4))),
            ValueError,
            "statistics",
        ),
        (
            lambda: batch_norm(X, statistics=draw(4)),
            TypeError,
            "statistics must be a tuple",
        ),
        (lambda: batch_statistics(X[0, 0]), ValueError, "x must be"),
        (
            lambda: pooled_statistics(draw(2), X[:2], X[:2]),
            ValueError,
            "counts must be",
        ),
        (
            lambda: pooled_statistics(draw(3).abs(), X[:2], X[:2].abs()),
            ValueError,
            "counts",
        ),
        (
            lambda: pooled_statistics(X[0, 0].abs(), X[:3], X[:3]),
            ValueError,
            "variances",
        ),
        (
            lambda: BatchNorm(4)(draw(1, 4).float()),
            ValueError,
            "x must have more than one",
        ),
        (lambda: BatchNorm(4, momentum=0.0), ValueError, "momentum must be"),
        (lambda: LayerNorm(4.0), TypeError, "width must be"),
        (lambda: RMSNorm(0), ValueError, "width must be"),
        (lambda: GroupNorm(3, 4), ValueError, "groups must divide"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
