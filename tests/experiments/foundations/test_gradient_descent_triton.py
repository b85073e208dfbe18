"""The kernel of the trainability map against the plain trainings, on CUDA or in Triton's interpreter.

Equal until chaos parts them: step by step from the same weights the losses agree to rounding; over many steps the
rounding of a training at the border is magnified, and the two ways agree in which trainings converge.
"""

import pytest
import torch

from lbdl.experiments.foundations.gradient_descent import (
    Task,
    convergence_measure,
    grid_of_rates,
    random_task,
    train_networks,
)

pytest.importorskip("triton")
from lbdl.experiments.foundations.gradient_descent_triton import (
    kernel_train_networks,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # networks that blow up, in NumPy


def rates_of(resolution: int, device: str) -> torch.Tensor:
    return (
        grid_of_rates(((-1.0, 3.0), (-1.0, 3.0)), resolution)
        .flatten(0, 1)
        .float()
        .to(device)
    )


def task_of(width: int, device: str) -> Task:
    return random_task(width, 0, device=device)


@pytest.mark.parametrize("width", [3, 8, 16, 17])
def test_two_steps_are_those_of_the_plain_way_for_every_rate(
    width: int, kernel_device: str
):
    """The second loss has seen both gradients, the third would have seen a second one of each."""
    task, rates = task_of(width, kernel_device), rates_of(2, kernel_device)
    found, expected = (
        kernel_train_networks(*task, rates, 2),
        train_networks(task, rates, 2),
    )
    assert found.shape == (2, 4)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=0)


def test_a_calm_training_stays_equal_and_the_map_is_the_same(kernel_device: str):
    task, rates = task_of(8, kernel_device), rates_of(3, kernel_device)
    found, expected = (
        kernel_train_networks(*task, rates, 15),
        train_networks(task, rates, 15),
    )
    slow = rates.amax(1) <= 0.1
    assert bool(slow.any())
    torch.testing.assert_close(found[:, slow], expected[:, slow], rtol=1e-5, atol=0)
    signs = convergence_measure(found).sign(), convergence_measure(expected).sign()
    assert torch.equal(*signs) and len(signs[0].unique()) == 2, (
        "trainings of both kinds"
    )
