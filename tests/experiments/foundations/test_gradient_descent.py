"""The map of trainability: fast against plain, measure against its definition, dimensions against known fractals."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.experiments.foundations import gradient_descent as E
from tests.conftest import needs_compiler

DOUBLE = torch.float64


# --- Training


def test_fast_training_is_the_plain_one(device: str) -> None:
    task = E.random_task(4, 0, device=device, dtype=DOUBLE)
    rates = E.grid_of_rates(((-1, 1), (-1, 1)), 5).flatten(0, 1).to(device)
    plain, fast = (
        E.train_networks(task, rates, 30),
        E.fast_train_networks(task, rates, 30),
    )
    assert plain.shape == fast.shape == (30, 25)
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
    assert bool((fast[-1] < fast[0]).all())


@pytest.mark.slow(reason="the compiler of torch starts, and compiles")
@needs_compiler
def test_compiled_training_is_the_same() -> None:
    task = E.random_task(4, 0, dtype=DOUBLE)
    rates = E.grid_of_rates(((-1, 1), (-1, 1)), 5).flatten(0, 1)
    quick = E.fast_train_networks(task, rates, 30, torch.compile(E.network_step))
    torch.testing.assert_close(
        quick, E.fast_train_networks(task, rates, 30), rtol=1e-9, atol=1e-12
    )


def test_plain_training_is_torch_sgd_with_two_groups() -> None:
    task = E.random_task(3, 1, dtype=DOUBLE)
    hidden, output = (
        task.hidden.clone().requires_grad_(),
        task.output.clone().requires_grad_(),
    )
    optimizer = torch.optim.SGD(
        [{"params": [hidden], "lr": 3.0}, {"params": [output], "lr": 0.5}]
    )
    expected = []
    for _ in range(20):
        optimizer.zero_grad()
        predicted = torch.tanh((2 / 3) ** 0.5 * task.x @ hidden) @ output / 3
        loss = torch.nn.functional.mse_loss(predicted, task.y)
        loss.backward()
        optimizer.step()
        expected.append(loss.detach())
    found = E.train_networks(task, torch.tensor([[3.0, 0.5]], dtype=DOUBLE), 20)
    torch.testing.assert_close(
        found[:, 0], torch.stack(expected), rtol=1e-12, atol=1e-12
    )


def test_diverging_networks_leave_their_neighbours_alone() -> None:
    task = E.random_task(4, 0, dtype=DOUBLE)
    rates = torch.tensor([[1.0, 1.0], [1.0, 1e9], [1.0, 1.0]], dtype=DOUBLE)
    losses = E.fast_train_networks(task, rates, 100)
    assert not losses[-1, 1].isfinite()
    alone = E.fast_train_networks(task, rates[:1], 100)
    torch.testing.assert_close(losses[:, 0], alone[:, 0], rtol=1e-12, atol=0)
    torch.testing.assert_close(losses[:, 0], losses[:, 2], rtol=1e-12, atol=0)


@given(seed=st.integers(0, 100))
def test_fast_tanh(seed: int) -> None:
    x = 4 * torch.randn(50, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        E.fast_tanh_(x.clone()), x.double().tanh().float(), rtol=0, atol=5e-7
    )


def test_fast_tanh_at_the_ends() -> None:
    ends = torch.tensor([-math.inf, -1e30, -0.0, 1e30, math.inf, math.nan])
    torch.testing.assert_close(
        E.fast_tanh_(ends.clone()), ends.tanh(), equal_nan=True
    )


def test_the_task_is_the_same_in_every_dtype_and_differs_between_seeds(
    device: str,
) -> None:
    single, double = (
        E.random_task(5, 3, device=device),
        E.random_task(5, 3, dtype=DOUBLE),
    )
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.cpu(), b.float(), rtol=0, atol=0)
    assert single.x.shape == (30, 5)
    assert not torch.equal(single.x.cpu(), E.random_task(5, 4).x)


# --- The measure and the map


def measure_by_definition(losses: list[float]) -> float:
    relative = [
        min(v / losses[0], 1e6) if math.isfinite(v) else 1e6 for v in losses
    ]
    converged = sum(relative[-20:]) / len(relative[-20:]) < 1
    return -sum(relative) if converged else sum(1 / v for v in relative)


@pytest.mark.parametrize(
    "losses",
    [
        [2.0 * 0.9**t for t in range(50)],
        [2.0 * 1.5**t for t in range(50)],
        [2.0, math.inf] + [math.nan] * 30,
        [1.0, 5.0] * 20 + [0.5] * 20,  # a bad start, a good end
        [1.0, 0.1],
    ],
)
def test_measure_is_its_definition(losses: list[float]) -> None:
    found = E.convergence_measure(torch.tensor([losses, losses], dtype=DOUBLE).T)
    assert found.tolist() == pytest.approx(
        [measure_by_definition(losses)] * 2, rel=1e-12
    )


def test_measure_grades_convergence_and_divergence() -> None:
    t = torch.arange(60, dtype=DOUBLE)
    factors = torch.tensor([0.5, 0.9, 1.1, 2.0], dtype=DOUBLE)
    fast, slow, drifting, exploding = E.convergence_measure(
        factors ** t[:, None]
    ).tolist()
    assert slow < fast < 0 < exploding < drifting


def test_map_agrees_with_single_trainings(device: str) -> None:
    window = ((-1.0, 1.0), (-1.0, 1.5))
    found = E.trainability_map(
        6, window, width=4, steps=40, seed=2, device=device, dtype=DOUBLE
    )
    task = E.random_task(4, 2, dtype=DOUBLE)
    for i, j in ((0, 0), (0, 5), (3, 2), (5, 5)):
        rate = torch.tensor(
            [[10 ** (-1 + 2 * j / 5), 10 ** (-1 + 2.5 * i / 5)]], dtype=DOUBLE
        )
        expected = E.convergence_measure(E.train_networks(task, rate, 40))
        torch.testing.assert_close(
            found[i, j].double(), expected[0].cpu(), rtol=1e-5, atol=0
        )


def test_map_does_not_depend_on_how_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"width": 4, "steps": 30, "dtype": DOUBLE}
    window = ((-1.0, 1.0), (-1.0, 1.0))
    whole = E.trainability_map(8, window, **options)
    monkeypatch.setitem(E.ELEMENTS, "cpu", 80 * 5)
    torch.testing.assert_close(
        E.trainability_map(8, window, **options), whole, rtol=1e-5, atol=0
    )


def test_small_rates_converge_and_large_output_rates_diverge() -> None:
    found = E.trainability_map(12, ((-1.0, 1.0), (-1.0, 4.0)), width=6, steps=100)
    assert bool((found[0] < 0).all())
    assert bool((found[-1] > 0).all())


# --- Pictures


def test_shades_keep_the_sign_and_the_order_and_use_every_level_alike() -> None:
    measures = torch.randn(4000, generator=torch.Generator().manual_seed(0)).view(
        40, 100
    )
    picture = E.shades(measures, 16)
    assert picture.dtype == torch.uint8
    assert torch.equal(picture < 8, measures < 0)
    converged = measures < 0
    assert bool(
        (picture[converged][measures[converged].argsort()].int().diff() <= 0).all()
    )
    diverged = ~converged
    assert bool(
        (picture[diverged][measures[diverged].argsort()].int().diff() <= 0).all()
    )
    counts = torch.bincount(picture.flatten().long(), minlength=16)
    for half in (counts[:8], counts[8:]):
        assert half.max() - half.min() <= 1


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_shades_of_a_flat_map(value: float) -> None:
    picture = E.shades(torch.full((3, 3), value), 8)
    assert picture.unique().tolist() == [0 if value < 0 else 7]


# --- The border and its dimension


def test_border_by_brute_force() -> None:
    converged = torch.rand(9, 7, generator=torch.Generator().manual_seed(1)) < 0.7
    found = E.border(converged)
    for i in range(8):
        for j in range(6):
            square = converged[i : i + 2, j : j + 2]
            assert found[i, j] == (square.any() and not square.all())


def sierpinski(levels: int) -> Tensor:
    """Sierpinski's triangle on 2^levels pixels: the odd entries of Pascal's triangle."""
    i = torch.arange(2**levels)
    return (i[:, None] & i[None, :]) == 0


def test_dimension_of_sierpinskis_triangle_is_log_3_over_log_2() -> None:
    points = sierpinski(8)
    sizes, counts = E.box_counts(points)
    assert sizes.tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert counts.tolist() == [3 ** (8 - k) for k in range(7)]
    assert E.box_dimension(points) == pytest.approx(
        math.log(3) / math.log(2), abs=1e-12
    )


def test_dimension_of_a_line_of_an_area_and_of_nothing() -> None:
    assert E.box_dimension(torch.eye(256, dtype=torch.bool)) == pytest.approx(
        1.0, abs=1e-12
    )
    assert E.box_dimension(torch.ones(256, 256, dtype=torch.bool)) == pytest.approx(
        2.0, abs=1e-12
    )
    assert math.isnan(E.box_dimension(torch.zeros(64, 64, dtype=torch.bool)))


def test_dimension_of_a_circle_is_near_one() -> None:
    at = torch.linspace(-1, 1, 513)
    inside = at[:, None] ** 2 + at[None, :] ** 2 < 0.6
    assert E.box_dimension(E.border(inside)) == pytest.approx(1.0, abs=0.06)


# --- The experiment


def test_experiment_stores_what_the_maps_show() -> None:
    windows = [[[-1.0, 1.5], [-1.0, 3.0]], [[0.0, 1.0], [0.0, 2.0]]]
    tiny = {
        "resolution": 24,
        "width": 4,
        "steps": 40,
        "windows": windows,
        "stored": 24,
        "dtype": "float64",
    }
    result = replace(E.trainability, scales={"tiny": tiny}).run(
        "tiny", torch.device("cpu"), seed=3
    )
    for i, window in enumerate(windows):
        found = E.trainability_map(
            24, window, width=4, steps=40, seed=3, dtype=DOUBLE
        )
        assert torch.equal(result["pictures"][i], E.shades(found, E.LEVELS))
        assert result["dimensions"][i] == pytest.approx(
            E.box_dimension(E.border(found < 0)), abs=1e-6
        )
        assert result["converged"][i] == pytest.approx(
            float((found < 0).float().mean()), abs=1e-6
        )
    assert result["windows"].tolist() == windows


def test_stored_pictures_are_thinned() -> None:
    maps = torch.randn(2, 50, 50)
    kept = E.summary(maps, stored=20)
    assert kept["pictures"].shape == (2, 17, 17)
    assert kept["counts"].shape == (2, len(kept["sizes"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: E.random_task(0, 0), "width must be >= 1, got 0"),
        (
            lambda: E.fast_train_networks(E.random_task(2, 0), torch.ones(3), 5),
            r"rates must be \(M, 2\)",
        ),
        (
            lambda: E.train_networks(E.random_task(2, 0), torch.ones(3, 2), 0),
            "steps must be >= 1, got 0",
        ),
        (
            lambda: E.convergence_measure(torch.empty(0, 3)),
            r"losses must be \(T, ...\) .* \(0, 3\)",
        ),
        (
            lambda: E.grid_of_rates(((0, 1), (0, 1)), 1),
            "need resolution >= 2 and two ranges, got 1",
        ),
        (
            lambda: E.grid_of_rates(((0, 1),), 4),
            "need resolution >= 2 and two ranges, got 4",
        ),
        (
            lambda: E.shades(torch.ones(3), 7),
            "levels must be even, 2 to 256, got 7",
        ),
        (
            lambda: E.border(torch.ones(1, 5)),
            r"converged must be \(R, S\) .* \(1, 5\)",
        ),
        (
            lambda: E.box_counts(torch.ones(5)),
            r"points must be \(R, S\), got shape \(5,\)",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
