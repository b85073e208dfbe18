"""Every experiment gives the same result on several processes as on one, and on CUDA as on the CPU."""

import pytest
import torch

from lbdl.experiments import find
from lbdl.lab.results import Result, read_result
from tests.conftest import needs_cuda
from tests.experiments.few_steps import FEW, shortened
from tests.lab.test_processes import torchrun


def test_every_training_experiment_is_tried_on_several_processes():
    assert sorted(FEW) == sorted(
        name for name, declared in find().items() if declared.parallel
    )


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory):
    """What two processes found."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun("-m", "tests.experiments.few_steps", folder)
    assert done.returncode == 0, done.stderr
    return folder


SHARDED = [name for name in FEW if "shard" in find()[name].able]


def test_the_language_model_can_be_sharded():
    assert SHARDED == ["merges"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"), [*((n, ".") for n in FEW), *((n, "sharded") for n in SHARDED)]
)
def test_two_processes_find_what_one_finds(folder_of_two, name, how):
    two = read_result(folder_of_two / how / f"{name}-small-seed1.npz")
    assert ("sharded" in two.device) == (how == "sharded")
    one = shortened(name).run("small", torch.device("cpu"), seed=1, progress=False)
    assert two.device.startswith("2 x ") and not one.device.startswith("2 x ")
    assert two.arrays.keys() == one.arrays.keys()
    for key in one.arrays:
        torch.testing.assert_close(
            two[key],
            one[key],
            rtol=1e-5,
            atol=1e-5,
            msg=lambda m, key=key: f"{key}: {m}",
        )


# How well CPU and CUDA agree on each small experiment. Trainings amplify the last digits, step by step: what is
# compared after hundreds of steps is what the experiment is about, not single weights.
def of_maps(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(
        cuda["converged"], cpu["converged"], rtol=0, atol=0.01
    )
    torch.testing.assert_close(
        cuda["dimensions"], cpu["dimensions"], rtol=0, atol=0.05
    )


def of_widths(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(
        cuda["test_error"].mean(1), cpu["test_error"].mean(1), rtol=0, atol=0.05
    )


def of_retrieval(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["scores"], cpu["scores"], rtol=0, atol=0.05)


def of_language(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["tokens_per_byte"], cpu["tokens_per_byte"])
    torch.testing.assert_close(
        cuda["bits"], cpu["bits"], rtol=0, atol=0.1
    )  # CUDA multiplies in bfloat16


def of_memory(cpu: Result, cuda: Result) -> None:
    """Gradients agree; bytes are counted in two ways, by the allocator and by the tensors alive."""
    assert float(cuda["errors"].max()) < 1e-4 and float(cpu["errors"].max()) < 1e-4
    assert bool(((cuda["peaks"] / cpu["peaks"]).log2().abs() < 1).all())


AGREEMENT = {
    "trainability": of_maps,
    "double_descent": of_widths,
    "metric_learning": of_retrieval,
    "merges": of_language,
    "memory_against_depth": of_memory,
}


def test_every_experiment_states_how_well_devices_agree():
    assert sorted(AGREEMENT) == sorted(find())


@pytest.mark.slow
@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("name", AGREEMENT)
def test_cpu_and_cuda_agree(name):
    cpu, cuda = (
        find()[name].run("small", torch.device(d), seed=0, progress=False)
        for d in ("cpu", "cuda")
    )
    AGREEMENT[name](cpu, cuda)
