"""Activations against torch's, and the moments that they make against closed forms and against samples."""

from math import inf, nan, pi, sqrt

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.normalization import (
    SELU_ALPHA,
    SELU_SCALE,
    elu,
    gaussian_moments,
    gelu,
    leaky_relu,
    preserving_gain,
    relu,
    second_moments,
    selu,
    silu,
    softplus,
)

PAIRS = {
    "relu": (relu, F.relu),
    "leaky": (lambda x: leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (lambda x: elu(x, 1.3), lambda x: F.elu(x, 1.3)),
    "selu": (selu, F.selu),
    "gelu": (gelu, F.gelu),
    "gelu tanh": (lambda x: gelu(x, True), lambda x: F.gelu(x, approximate="tanh")),
    "silu": (silu, F.silu),
    "softplus": (softplus, F.softplus),
}
every_pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS)


@every_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_slopes_are_torchs(ours, theirs, dtype, device) -> None:
    line = torch.linspace(-30, 30, 1201, dtype=dtype, device=device)  # 0 among them
    x = line.requires_grad_()
    y, expected = ours(x), theirs(x)
    slack = (
        2e-6 if dtype == torch.float32 else 1e-8
    )  # torch cuts softplus off at 20
    torch.testing.assert_close(y, expected, rtol=slack, atol=slack)
    g, e = (torch.autograd.grad(z.sum(), x)[0] for z in (y, expected))
    torch.testing.assert_close(g, e, rtol=slack, atol=slack)


@every_pair
def test_the_second_derivative_is_right(ours, theirs) -> None:
    x = torch.tensor(
        [-2.0, -0.3, 0.4, 3.0], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(ours, x)
    assert torch.autograd.gradgradcheck(ours, x)


@every_pair
def test_far_out_nothing_breaks(ours, theirs) -> None:
    x = torch.tensor([-inf, -1e30, 1e30, inf, nan])
    y = ours(x)
    expected_below = {selu: -SELU_SCALE * SELU_ALPHA}.get(ours)
    assert y[-1].isnan() and not y[:-1].isnan().any()
    assert y[3] == inf
    if expected_below is not None:
        torch.testing.assert_close(y[0].item(), expected_below)


@every_pair
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(ours, theirs, dtype) -> None:
    x = torch.linspace(-6, 6, 101)
    low = ours(x.to(dtype))
    assert low.dtype == dtype
    slack = 3 * torch.finfo(dtype).eps
    torch.testing.assert_close(low.float(), theirs(x), rtol=slack, atol=6 * slack)


def test_zero_at_minus_infinity_by_formula() -> None:
    for f in (relu, gelu, silu, softplus, lambda x: gelu(x, True)):
        assert f(torch.tensor([-inf, -1e4])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("mean", "variance"), [(0.0, 1.0), (0.7, 2.0), (-3.0, 0.5)]
)
def test_moments_of_relu_have_a_closed_form(mean: float, variance: float) -> None:
    deviation = sqrt(variance)
    u = torch.tensor(mean / deviation, dtype=torch.float64)
    Phi, phi = torch.special.ndtr(u), (-u.square() / 2).exp() / sqrt(2 * pi)
    first, second = gaussian_moments(relu, mean, variance)
    torch.testing.assert_close(
        first, mean * Phi + deviation * phi, rtol=1e-9, atol=1e-10
    )
    expected = (mean**2 + variance) * Phi + mean * deviation * phi
    torch.testing.assert_close(second, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("f", [torch.tanh, gelu, selu, torch.sigmoid])
def test_moments_are_those_of_a_sample(f) -> None:
    chance = torch.Generator().manual_seed(0)
    z = 0.4 + 1.3 * torch.randn(2_000_000, dtype=torch.float64, generator=chance)
    first, second = gaussian_moments(f, 0.4, 1.3**2)
    assert f(z).mean().item() == pytest.approx(first.item(), abs=0.003)
    assert f(z).square().mean().item() == pytest.approx(second.item(), abs=0.01)


def test_moments_are_batched_and_differentiable() -> None:
    mean = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
    first, _ = gaussian_moments(relu, mean, torch.tensor([[1.0], [4.0]]))
    assert first.shape == (2, 2)
    (slope,) = torch.autograd.grad(first[1, 1], mean)
    assert slope[1].item() == pytest.approx(
        torch.special.ndtr(torch.tensor(0.25)).item(), abs=1e-6
    )


def test_selu_has_mean_zero_and_variance_one() -> None:
    first, second = gaussian_moments(selu)
    assert first.item() == pytest.approx(0, abs=1e-9)
    assert second.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("f", "gain"),
    [(lambda z: z, 1.0), (relu, 2.0), (selu, 1.0), (torch.tanh, 2.536175)],
)
def test_gains(f, gain) -> None:
    assert preserving_gain(f) == pytest.approx(gain, rel=1e-5)
    torch.testing.assert_close(
        second_moments(f, 5, preserving_gain(f)), torch.ones(6, dtype=torch.float64)
    )


@pytest.mark.parametrize("f", [relu, torch.tanh, selu, gelu])
def test_second_moments_are_those_of_a_wide_network(f) -> None:
    chance, n = torch.Generator().manual_seed(1), 1500
    z = 1.5 * torch.randn(64, n, generator=chance)
    found = [z.square().mean()]
    for _ in range(4):
        z = f(z) @ (sqrt(1.3 / n) * torch.randn(n, n, generator=chance))
        found.append(z.square().mean())
    expected = second_moments(f, 4, 1.3, 1.5**2)
    torch.testing.assert_close(
        torch.stack(found).double(), expected, rtol=0.06, atol=0
    )


X = torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: relu([1.0]), TypeError, "x must be a floating tensor"),
        (lambda: leaky_relu(X, True), TypeError, "slope must be a number"),
        (lambda: elu(X, inf), ValueError, "alpha must be finite"),
        (lambda: gelu(X, 1), TypeError, "approximate must be a bool"),
        (lambda: gaussian_moments(3), TypeError, "f must be a function"),
        (lambda: gaussian_moments(relu, 0.0, 0.0), ValueError, "variance must be"),
        (lambda: gaussian_moments(relu, nan), ValueError, "mean must be"),
        (lambda: preserving_gain(lambda z: 0 * z), ValueError, "f must not be 0"),
        (lambda: second_moments(relu, 2.5), TypeError, "depth must be"),
        (lambda: second_moments(relu, 2, 0.0), ValueError, "gain must be"),
        (lambda: second_moments(relu, 2, v=-1.0), ValueError, "v must be"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
