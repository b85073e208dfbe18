"""Temperature scaling against a general optimizer, calibration error against its definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from lbdl.models.softmax import (
    expected_calibration_error,
    fit_temperature,
    softmax,
)

DOUBLE = torch.float64


def made(seed: int = 0, heat: float = 1.0, n: int = 4000, K: int = 5):
    """Scores, and classes drawn from their softmax at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(n, K, dtype=DOUBLE, generator=generator)
    drawn = torch.multinomial(softmax(x, temperature=heat), 1, generator=generator)
    return x, drawn.squeeze(-1)


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
def test_the_temperature_of_the_smallest_cross_entropy(heat):
    x, target = made(heat=heat)
    best = minimize_scalar(
        lambda log: float(F.cross_entropy(x / math.exp(log), target)),
        bounds=(-4, 4),
        method="bounded",
        options={"xatol": 1e-10},
    )
    found = fit_temperature(x, target)
    assert found == pytest.approx(math.exp(best.x), rel=1e-6)
    assert found == pytest.approx(heat, rel=0.08)  # drawn at that temperature


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_the_temperature_goes_with_the_scale_of_the_scores(scale):
    x, target = made(n=200)
    expected = fit_temperature(x, target) * scale
    assert fit_temperature((x * scale).float(), target) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_shift_of_a_row_and_a_masked_class_change_nothing():
    x, target = made(n=300)
    masked = torch.cat([x, torch.full((300, 1), -math.inf, dtype=DOUBLE)], -1)
    expected = fit_temperature(x, target)
    for same in (
        x + torch.arange(300).unsqueeze(-1),
        masked,
        x.unflatten(0, (3, -1)),
    ):
        found = fit_temperature(same, target.view(same.shape[:-1]))
        assert found == pytest.approx(expected, rel=1e-9)


def test_calibration_error_by_its_definition():
    x, target = made(n=500)
    p = softmax(x, temperature=0.5)
    confidence, answer = p.max(-1)
    total = 0.0
    for b in range(10):
        inside = (confidence > b / 10) & (confidence <= (b + 1) / 10)
        if inside.any():
            right = (answer == target)[inside].double().mean()
            share = inside.double().mean()
            total += share * (confidence[inside].mean() - right).abs()
    assert expected_calibration_error(p, target) == pytest.approx(float(total))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_temperature_of_lower_precision_is_that_of_the_same_numbers(dtype):
    """The slope is summed in float64: its zero would wander in what was given."""
    x, target = made(n=2000)
    low = x.to(dtype)
    assert fit_temperature(low, target) == pytest.approx(
        fit_temperature(low.double(), target), rel=1e-12
    )


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    """One in (0, 1/2] is right by .5 too much, one by .4 too little: 0.1 together. Were
    the first in (1/2, 1], they would be told apart: .9."""
    p = torch.tensor([[0.5, 0.25, 0.25], [0.4, 0.3, 0.3]], dtype=DOUBLE)
    target = torch.tensor([0, 1])
    error = expected_calibration_error(p, target, bins=2)
    assert float(error) == pytest.approx(0.1 / 2)
    none = torch.tensor([[0.0, 0.0]])  # the first bin holds its lower end too
    assert expected_calibration_error(none, torch.tensor([0]), bins=4) == 1.0


def test_what_is_sure_and_right_or_wrong():
    sure = torch.eye(3)[[0, 0, 0, 0]]
    right = torch.tensor([0, 0, 0, 0])
    assert expected_calibration_error(sure, right) == 0
    assert expected_calibration_error(sure, right + 1) == 1
    half = torch.tensor([0, 0, 1, 2])
    assert expected_calibration_error(sure, half) == 0.5
    assert expected_calibration_error(sure.half(), half).dtype == torch.float32


def test_scaling_calibrates_and_changes_no_answer():
    x, target = made(heat=3.0)
    heat = fit_temperature(x, target)
    before, after = softmax(x), softmax(x, temperature=heat)
    assert torch.equal(before.argmax(-1), after.argmax(-1))
    errors = [float(expected_calibration_error(p, target)) for p in (before, after)]
    assert errors[0] > 0.2 > 0.05 > errors[1]


ROWS, LABELS = torch.eye(3), torch.arange(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_temperature(ROWS, LABELS), ValueError, "wrong somewhere"),
        (lambda: fit_temperature(-ROWS, LABELS), ValueError, "better than a guess"),
        (lambda: fit_temperature(ROWS * 0, LABELS), ValueError, "no temperature"),
        (lambda: fit_temperature(ROWS[:0], LABELS[:0]), ValueError, "at least one"),
        (
            lambda: fit_temperature(ROWS.masked_fill(ROWS > 0, -math.inf), LABELS),
            ValueError,
            "target must be finite",
        ),
        (
            lambda: expected_calibration_error(2 * ROWS, LABELS),
            ValueError,
            "p must be >= 0 and <= 1",
        ),
        (
            lambda: expected_calibration_error(ROWS, LABELS, 0),
            ValueError,
            "bins must be a whole number >= 1",
        ),
        (
            lambda: expected_calibration_error(ROWS[0], LABELS[0]),
            ValueError,
            "N, K",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
