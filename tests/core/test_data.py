"""Data: the splits are what they say, the formulas hold, and nothing asks the network."""

import math
import random
import socket

import numpy as np
import pytest
import torch

from lbdl.core import Dataset, Splits, data, generator


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("data must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return data.digits()


@pytest.fixture(scope="module")
def mnist1d() -> Splits:
    return data.mnist1d()


def parts(splits: Splits) -> list[Dataset]:
    return [splits.train, splits.validation, splits.test]


def test_digits_sizes_types_and_range(digits):
    assert [len(part) for part in parts(digits)] == [1097, 350, 350]
    for part in parts(digits):
        assert (part.x.dtype, part.x.shape) == (torch.float32, (len(part), 64))
        assert (part.y.dtype, part.y.shape) == (torch.int64, (len(part),))
        assert (part.x.min(), part.x.max()) == (0, 1)


def test_digits_parts_are_the_whole_set_once(digits):
    from sklearn.datasets import load_digits

    raw = load_digits()
    joined = np.concatenate(
        [np.c_[part.x.numpy() * 16, part.y.numpy()] for part in parts(digits)]
    )
    expected = np.c_[raw.data, raw.target]
    assert np.array_equal(
        joined[np.lexsort(joined.T)], expected[np.lexsort(expected.T)]
    )


def test_digits_are_stratified(digits):
    whole = sum(part.y.bincount() for part in parts(digits)) / 1797
    for part in parts(digits):
        assert torch.all((part.y.bincount() - whole * len(part)).abs() <= 1.5)


def test_splits_are_the_same_for_every_seed(digits, monkeypatch):
    monkeypatch.setenv("LBDL_SEED", "99")
    np.random.seed(1)
    assert torch.equal(data.digits().test.x, digits.test.x)


def test_mnist1d_is_the_packages_own_set(mnist1d):
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    x = torch.cat([mnist1d.train.x, mnist1d.validation.x])
    assert torch.equal(x, torch.tensor(made["x"], dtype=torch.float32))
    assert torch.equal(mnist1d.test.y, torch.tensor(made["y_test"]).long())
    assert [len(part) for part in parts(mnist1d)] == [3500, 500, 1000]


def test_mnist1d_leaves_the_global_generators_alone():
    random.seed(5), np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5), np.random.seed(5)
    data.mnist1d()
    assert (random.random(), np.random.rand()) == expected


def test_english_is_normalised_english():
    text = data.english()
    assert len(text) > 300_000
    assert text.count(" the ") > 1000
    assert text == text.strip() + "\n"
    assert "\n\n\n" not in text
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert not set(text) & set("‘’“”–—…\t\r")
    assert text == data.english()


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_moons_without_noise_lie_on_their_circles(n):
    moons = data.moons(n, 0.0)
    centre = torch.stack([moons.y.float(), moons.y / 2], dim=-1)
    torch.testing.assert_close((moons.x - centre).norm(dim=-1), torch.ones(n))
    side = torch.where(moons.y == 0, 1.0, -1.0)
    assert torch.all((moons.x - centre)[:, 1] * side >= -1e-6)
    assert abs(int(moons.y.sum()) - n / 2) <= 0.5


def test_moons_noise_has_the_asked_spread():
    n = 20_000
    clean = data.moons(n, 0.0, generator("t")).x
    noisy = data.moons(n, 0.3, generator("t")).x
    assert (noisy - clean).std().item() == pytest.approx(0.3, rel=0.02)


def test_two_gaussians_best_error_is_as_stated():
    n, distance = 100_000, 2.0
    clouds = data.two_gaussians(n, distance, dim=3, generator=generator("t"))
    error = ((clouds.x[:, 0] > 0).long() != clouds.y).float().mean().item()
    expected = 0.5 * math.erfc(distance / 2 / math.sqrt(2))
    assert error == pytest.approx(
        expected, abs=5 * math.sqrt(expected * (1 - expected) / n)
    )
    assert clouds.x.shape == (n, 3)
    torch.testing.assert_close(
        clouds.x.std(dim=0)[1:], torch.ones(2), rtol=0.02, atol=0
    )


def test_noisy_quadratic_gradients_have_the_asked_noise():
    curvature = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    centres = data.noisy_quadratic(
        50_000, curvature, noise=0.5, generator=generator("t")
    )
    w = torch.zeros(3, dtype=torch.float64)
    gradients = curvature * (w - centres)
    half = torch.full((3,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(gradients.std(dim=0), half, rtol=0.02, atol=0)
    assert gradients.mean(dim=0).abs().max() < 5 * 0.5 / math.sqrt(50_000)


def test_curve_is_the_function_plus_noise():
    points = data.curve(
        20_000, noise=0.2, generator=generator("t"), f=lambda x: x**2
    )
    residual = points.y - points.x**2
    assert residual.std().item() == pytest.approx(0.2, rel=0.03)
    assert points.x.shape == points.y.shape == (20_000, 1)
    assert torch.equal(points.x, points.x.sort(dim=0).values)
    clean = data.curve(50, noise=0.0)
    torch.testing.assert_close(clean.y, torch.sin(2 * math.pi * clean.x))


MAKERS = [
    lambda g: data.moons(10, generator=g).x,
    lambda g: data.two_gaussians(10, generator=g).x,
    lambda g: data.noisy_quadratic(10, torch.ones(2), generator=g),
    lambda g: data.curve(10, generator=g).y,
]


@pytest.mark.parametrize("make", MAKERS)
def test_made_sets_depend_on_the_generator_or_the_seed_of_the_run(
    make, monkeypatch
):
    assert torch.equal(make(generator("s")), make(generator("s")))
    assert not torch.equal(make(generator("s")), make(generator("t")))
    monkeypatch.setenv("LBDL_SEED", "1")
    one = make(None)
    assert torch.equal(one, make(None))
    monkeypatch.setenv("LBDL_SEED", "2")
    assert not torch.equal(one, make(None))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.moons(0), "n must be"),
        (lambda: data.two_gaussians(4, dim=0), "dim must be a whole number >= 1"),
        (lambda: data.moons(5, -0.1), "noise must be finite and >= 0, got -0.1"),
        (lambda: data.moons(5, math.nan), "noise must be"),
        (lambda: data.two_gaussians(5, math.inf), "distance must be"),
        (
            lambda: data.noisy_quadratic(5, torch.tensor([1.0, 0.0])),
            "curvature must be",
        ),
        (lambda: data.noisy_quadratic(5, torch.ones(2, 2)), "curvature must be"),
        (lambda: data.curve(0), "n must be"),
        (
            lambda: Dataset(torch.zeros(3, 2), torch.zeros(2)),
            r"got shapes \(3, 2\) and \(2,\)",
        ),
        (
            lambda: Dataset(torch.tensor(1.0), torch.tensor(1.0)),
            "same number of rows",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.moons(2.5), "n must be a whole number, got 2.5"),
        (lambda: data.moons(True), "n must be a whole number"),
        (lambda: data.moons(5, "much"), "noise must be a number, got str"),
        (
            lambda: data.noisy_quadratic(5, torch.arange(3)),
            "curvature must be a float",
        ),
        (
            lambda: data.noisy_quadratic(5, [1.0]),
            "curvature must be a floating tensor",
        ),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_dataset_rows_and_device(device):
    whole = data.moons(10)
    assert [len(whole), len(whole[2:5]), len(whole[whole.y == 1])] == [10, 3, 5]
    moved = whole.to(device)
    assert moved.x.device.type == moved.y.device.type == device
    assert Splits(whole, whole, whole).to(device).test.x.device.type == device
