"""Students in the plane and of digits: the exact teacher, what is judged, equal beginnings, two players."""

from types import SimpleNamespace

import pytest
import torch

from lbdl.core import generator
from lbdl.experiments.frontiers import score_distillation as E
from lbdl.frontiers.diffusion import Denoiser, posterior_mean, sample
from lbdl.frontiers.score_distillation import random_directions


@pytest.fixture(scope="module")
def digits():
    return E.one_step_digits.run("small", torch.device("cpu"), progress=False)


SIZE = {"width": 8, "batch": 16, "steps": 4, "rate": 1e-2, "score rate": 1e-2}
RUN = SimpleNamespace(generator=generator, device=torch.device("cpu"))


def test_the_teacher_is_the_best_denoiser():
    x = 3 * torch.randn(20, 2, generator=generator("x"))
    for sigma in (0.2, 1.0, 4.0):
        torch.testing.assert_close(
            E.exact_teacher(x, torch.full((20,), sigma)),
            posterior_mean(E.RING, x, 1.0, sigma),
            rtol=1e-4,
            atol=1e-4,
        )


def test_fates_of_the_data_of_one_cloud_and_of_nothing():
    u = random_directions(50, 2, generator("u"))
    true, other = (sample(E.RING, 1000, generator(s)) for s in "ab")
    one = E.RING.means[3] + 0.3 * torch.randn(1000, 2, generator=generator("c"))
    told = E.fates(torch.stack([other, one, 0 * one]), true, u)
    assert told[0, 0] > 0.97 and told[0, 1] == 8 and told[0, 2] < 0.2
    assert told[1, 0] > 0.97 and told[1, 1] == 1 and told[1, 2] > 1
    assert told[2, 0] == 0 and told[2, 1] == 0
    # from a point in the middle: the root mean square of the data, in a direction
    assert float(told[2, 2]) == pytest.approx(E.SIZE, rel=0.06)


def test_students_of_a_seed_begin_alike_and_alpha_parts_them():
    training = E.Training(RUN, SIZE, [0.5, 1.0], 2, 1)
    before = training.students(training.judge).unflatten(0, (2, 2))
    assert torch.equal(before[0], before[1])
    assert not torch.allclose(before[:, 0], before[:, 1])
    training.step()
    after = training.students(training.judge).unflatten(0, (2, 2))
    assert not torch.allclose(after[0], after[1])


def test_students_side_by_side_are_the_same_as_alone():
    both = E.Training(RUN, SIZE, [0.5, 1.2], 2, 2)
    alone = E.Training(RUN, SIZE, [1.2], 2, 2)
    for _ in range(3):
        both.step()
        alone.step()
    torch.testing.assert_close(
        both.students(both.judge)[2:],
        alone.students(alone.judge),
        rtol=1e-4,
        atol=1e-5,
    )


def test_levels_cover_their_range():
    training = E.Training(RUN, {**SIZE, "batch": 2000}, [0.5], 1, 1)
    levels = training.levels()
    assert 0.1 <= float(levels.min()) < 0.11 and 4.5 < float(levels.max()) <= 5
    of_digits = E.digit_levels(5000, generator("levels"))
    assert float(of_digits.min()) == pytest.approx(0.02, rel=0.05)
    assert 20 < float(of_digits.max()) < 30


def test_the_student_begins_as_the_teacher_in_one_step(digits):
    teacher = Denoiser(4, 8, 1, 0, 0.5)
    z = torch.randn(5, 4, generator=generator("z"))
    level = torch.full((5,), 2.5)
    torch.testing.assert_close(E.in_one_step(teacher, z), teacher(2.5 * z, level))
    size = {"batch": 8, "rate": 0.01, "score rate": 0.02}
    teacher.requires_grad_(False)
    student = E.Distillation(RUN, teacher, size, 1.0)
    kept = [p.clone() for p in teacher.parameters()]
    student.step(0.5)
    assert all(
        torch.equal(a, b) for a, b in zip(kept, teacher.parameters(), strict=True)
    )
    for net in (student.student, student.score):
        moved = [
            not torch.equal(a, b)
            for a, b in zip(kept, net.parameters(), strict=True)
        ]
        assert any(moved)
    rates = [o.param_groups[0]["lr"] for o in student.optimizers]
    assert rates == [0.005, 0.01]


def test_digits_are_judged_against_two_sets(digits):
    assert digits["curves"].shape == (2, 2, 2) and digits["heun"].shape == (4, 2)
    assert digits["strip"].shape == (3, 10, 64)
    assert 0 < float(digits["floor"]) < 1
    # few draws of a teacher that has hardly learnt are farther off than the floor
    assert bool((digits["curves"] > digits["floor"]).all())
    assert bool((digits["curves"][:, 1, 0] < digits["curves"][:, 0, 0]).all())
