"""Schedules against torch.optim.lr_scheduler, step by step."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lbdl.foundations import schedules as S

STEPS = 200


def rates_of_torch(
    make_scheduler, lr: float = 0.1, steps: int = STEPS
) -> torch.Tensor:
    """The rates that a scheduler of torch sets, one for every step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("growth", [1, 2, 3])
@pytest.mark.parametrize("cycle", [1, 7, 50])
def test_cosine_restarts_are_those_of_torch(cycle: int, growth: int) -> None:
    theirs = rates_of_torch(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(
            o, cycle, growth, eta_min=1e-3
        ),
        steps=400,
    )
    assert_same(
        S.cosine_restarts(
            torch.arange(400), 0.1, cycle=cycle, lr_min=1e-3, growth=growth
        ),
        theirs,
    )


@pytest.mark.parametrize(
    ("mode", "shrink"), [("triangular", 1.0), ("triangular2", 0.5)]
)
@pytest.mark.parametrize("half_cycle", [1, 8, 25])
def test_triangular_is_the_cyclic_rate_of_torch(
    half_cycle: int, mode: str, shrink: float
) -> None:
    theirs = rates_of_torch(
        lambda o: lr_scheduler.CyclicLR(
            o, 0.01, 0.1, half_cycle, mode=mode, cycle_momentum=False
        ),
        lr=0.01,
    )
    ours = S.triangular(
        torch.arange(STEPS), 0.1, half_cycle=half_cycle, lr_min=0.01, shrink=shrink
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("warmup", [1, 30])
def test_linear_warmup_is_linear_lr_of_torch(warmup: int) -> None:
    theirs = rates_of_torch(lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, warmup))
    assert_same(
        S.linear_warmup(torch.arange(STEPS), 0.1, warmup=warmup, start=0.25), theirs
    )


def test_warmup_then_cosine_is_sequential_lr_of_torch() -> None:
    def sequence(optimizer):
        first = lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 20)
        then = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 40, eta_min=1e-3)
        return lr_scheduler.SequentialLR(optimizer, [first, then], milestones=[20])

    ours = S.with_warmup(
        partial(S.cosine_restarts, lr=0.1, cycle=40, lr_min=1e-3), 20, start=0.1
    )
    assert_same(ours(torch.arange(STEPS)), rates_of_torch(sequence))


@pytest.mark.parametrize("warmup", [0, 20])
def test_the_trapezoid_is_a_sequence_of_torchs(warmup: int) -> None:
    def sequence(optimizer):
        ramp = lr_scheduler.LambdaLR(optimizer, lambda t: t / max(warmup, 1))
        plateau = lr_scheduler.ConstantLR(optimizer, 1.0, 100)
        fall = lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 60)
        parts, ends = [plateau, fall], [warmup + 100]
        if warmup:
            parts, ends = [ramp, *parts], [warmup, *ends]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=ends)

    ours = S.trapezoid(
        torch.arange(STEPS), 0.1, steps=warmup + 160, decay=60, warmup=warmup
    )
    assert_same(ours, rates_of_torch(sequence))
    assert ours[-1] == 0 and ours.max() == 0.1


@pytest.mark.parametrize(
    "factor",
    [
        S.constant,
        partial(S.linear_warmup, warmup=9),
        partial(S.cosine_restarts, cycle=13, growth=2),
        partial(S.triangular, half_cycle=6, lr_min=0.2),
        partial(S.inverse_sqrt, warmup=11),
        partial(S.trapezoid, steps=150, decay=40, warmup=11),
        S.with_warmup(partial(S.inverse_sqrt, warmup=1), 5),
    ],
)
def test_every_schedule_is_a_factor_for_lambda_lr(factor) -> None:
    theirs = rates_of_torch(lambda o: lr_scheduler.LambdaLR(o, factor), lr=0.3)
    assert_same(0.3 * factor(torch.arange(STEPS)), theirs)
    assert isinstance(factor(3), float)


@pytest.mark.parametrize(
    "schedule",
    [
        S.constant,
        partial(S.linear_warmup, warmup=9),
        partial(S.cosine_restarts, cycle=13),
        partial(S.triangular, half_cycle=6),
        partial(S.inverse_sqrt, warmup=11),
        partial(S.trapezoid, steps=150, decay=40),
    ],
)
def test_a_factor_is_1_at_its_peak_and_a_rate_multiplies_it(schedule) -> None:
    steps = torch.arange(STEPS)
    assert float(schedule(steps).max()) == 1
    torch.testing.assert_close(schedule(steps, 0.3), 0.3 * schedule(steps))


def test_a_trapezoid_has_no_ramp_unless_one_is_asked_for() -> None:
    assert S.trapezoid(0, steps=9, decay=2) == 1


def test_inverse_sqrt_is_the_formula_of_the_transformer() -> None:
    d, warmup = 512, 4000
    for step in (1, 100, 4000, 100_000):  # the paper counts from 1
        paper = d**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert S.inverse_sqrt(
            step - 1, (d * warmup) ** -0.5, warmup=warmup
        ) == pytest.approx(paper, rel=1e-12)


def test_cosine_of_the_snapshot_paper_in_numbers() -> None:
    """A cycle of 50 from .1 towards .001: half-way .0505, its last step .001098 and never .001, then .1 again."""
    rate = partial(S.cosine_restarts, lr=0.1, cycle=50, lr_min=0.001)
    assert rate(25) == pytest.approx(0.0505, abs=1e-12)
    assert rate(49) == pytest.approx(0.001098, abs=5e-7)
    assert rate(50) == pytest.approx(0.1, abs=1e-12)
    assert rate(torch.arange(500)).min() > 0.001


def test_snapshots_are_taken_where_the_rate_is_lowest() -> None:
    rates = S.cosine_restarts(torch.arange(120), cycle=50).view(-1)
    assert S.snapshot_steps(120, 50).tolist() == [49, 99]
    assert rates[:50].argmin() == 49
    assert rates[50:100].argmin() == 49
    assert S.snapshot_steps(49, 50).shape == (0,)


def test_ensemble_is_the_mean_of_probabilities_and_no_worse_than_its_members_on_average() -> (
    None
):
    logits = 3 * torch.randn(
        5, 40, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    mean = S.ensemble_probabilities(logits)
    torch.testing.assert_close(
        mean, torch.stack([z.softmax(-1) for z in logits]).sum(0) / 5
    )
    torch.testing.assert_close(
        S.ensemble_probabilities(logits.movedim(0, 1), models=1), mean
    )
    y = torch.arange(40) % 7
    together = torch.nn.functional.nll_loss(mean.log(), y)
    alone = torch.stack(
        [torch.nn.functional.cross_entropy(z, y) for z in logits]
    ).mean()
    assert together < alone


@given(
    step=st.integers(0, 10**6),
    cycle=st.integers(1, 10**4),
    growth=st.integers(1, 4),
)
def test_cosine_stays_within_its_bounds(step: int, cycle: int, growth: int) -> None:
    rate = S.cosine_restarts(step, 0.1, cycle=cycle, lr_min=0.01, growth=growth)
    assert 0.01 <= rate <= 0.1


@given(k=st.integers(0, 9), cycle=st.integers(1, 1000), growth=st.integers(1, 4))
def test_every_cosine_cycle_begins_at_the_peak(
    k: int, cycle: int, growth: int
) -> None:
    start = cycle * sum(growth**i for i in range(k))
    assert S.cosine_restarts(
        start, 0.1, cycle=cycle, growth=growth
    ) == pytest.approx(0.1, rel=1e-9)


@given(step=st.integers(0, 10**5), half_cycle=st.integers(1, 1000))
def test_triangular_repeats_and_is_symmetric(step: int, half_cycle: int) -> None:
    rate = partial(S.triangular, half_cycle=half_cycle, lr_min=0.1)
    into = step % (2 * half_cycle)
    assert rate(step) == pytest.approx(rate(into), abs=1e-9)
    assert rate(into) == pytest.approx(rate(2 * half_cycle - into), abs=1e-9)


def test_steps_may_be_tensors_of_any_shape_and_device(device: str) -> None:
    steps = torch.arange(12, device=device).view(3, 4)
    rates = S.cosine_restarts(steps, cycle=5)
    assert rates.shape == (3, 4)
    assert rates.device == steps.device
    assert rates.dtype == torch.float64
    assert [S.cosine_restarts(t, cycle=5) for t in range(12)] == pytest.approx(
        rates.flatten().tolist()
    )


STEPS_GIVEN = torch.arange(40)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (S.constant, partial(S.constant, lr=1.0)),
        (
            partial(S.linear_warmup, warmup=9),
            partial(S.linear_warmup, lr=1.0, warmup=9, start=0.0),
        ),
        (
            partial(S.cosine_restarts, cycle=7),
            partial(S.cosine_restarts, lr=1.0, cycle=7, lr_min=0.0, growth=1),
        ),
        (
            partial(S.triangular, half_cycle=5),
            partial(S.triangular, lr=1.0, half_cycle=5, lr_min=0.0, shrink=1.0),
        ),
        (S.inverse_sqrt, partial(S.inverse_sqrt, lr=1.0, warmup=1)),
        (
            S.with_warmup(S.constant, 6),
            S.with_warmup(S.constant, 6, start=0.0),
        ),
    ],
)
def test_what_is_not_named_is_the_plain_schedule(short, long) -> None:
    assert torch.equal(short(STEPS_GIVEN), long(STEPS_GIVEN))


def test_default_schedules_in_numbers() -> None:
    assert S.constant(5) == 1.0
    assert S.linear_warmup(0, warmup=4) == 0.0
    assert S.linear_warmup(4, warmup=4) == S.linear_warmup(9, warmup=4) == 1.0
    assert S.cosine_restarts(2, cycle=4) == pytest.approx(0.5)
    assert S.cosine_restarts(4, cycle=4) == S.cosine_restarts(8, cycle=4) == 1.0
    assert S.triangular(0, half_cycle=4) == S.triangular(8, half_cycle=4) == 0.0
    assert S.triangular(4, half_cycle=4) == S.triangular(12, half_cycle=4) == 1.0
    assert S.inverse_sqrt(0) == 1.0 and S.inverse_sqrt(3) == 0.5
    warmed = S.with_warmup(S.constant, 4)
    assert [warmed(0), warmed(2), warmed(4)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: S.constant(True), TypeError),
        (lambda: S.constant([1, 2]), TypeError),
        (lambda: S.constant(torch.tensor([True])), TypeError),
        (lambda: S.constant(torch.tensor([1j])), TypeError),
        (lambda: S.constant(torch.tensor([-1])), ValueError),
        (lambda: S.constant(torch.tensor([math.nan])), ValueError),
        (lambda: S.cosine_restarts(1, cycle=2.5), TypeError),
        (lambda: S.cosine_restarts(1, cycle=2, growth=1.5), TypeError),
        (lambda: S.linear_warmup(1, warmup=2, start=-1.0), ValueError),
        (lambda: S.triangular(1, -0.1, half_cycle=2), ValueError),
        (lambda: S.snapshot_steps(-1, 5), ValueError),
        (lambda: S.trapezoid(1, steps=5, decay=0), ValueError),
        (lambda: S.trapezoid(1, steps=5, decay=2, warmup=-1), ValueError),
    ],
)
def test_the_wrong_step_is_refused(call, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="must"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: S.constant(-1), "step must be finite and >= 0, got -1"),
        (lambda: S.constant(math.nan), "step must be finite and >= 0, got nan"),
        (
            lambda: S.cosine_restarts(1, cycle=0),
            "cycle must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.cosine_restarts(1, cycle=1, growth=0),
            "growth must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.linear_warmup(1, warmup=0),
            "warmup must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.with_warmup(S.constant, 0),
            "warmup must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.inverse_sqrt(1, warmup=0),
            "warmup must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.triangular(1, half_cycle=0),
            "half_cycle must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.snapshot_steps(10, 0),
            "cycle must be a whole number >= 1, got 0",
        ),
        (
            lambda: S.ensemble_probabilities(torch.zeros(0, 3)),
            r"logits must have at least 1 along models 0, got shape \(0, 3\)",
        ),
        (
            lambda: S.ensemble_probabilities(torch.zeros(3)),
            "models and classes must be two dimensions",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
