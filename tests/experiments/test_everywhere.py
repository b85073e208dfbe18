"""Every experiment gives the same result on several processes as on one, and on CUDA as on the CPU."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from lbdl.cli import main
from lbdl.experiments import find, load_result, recorded_results
from lbdl.lab import Result, checkpoints
from lbdl.lab.checkpoints import Checkpoint
from lbdl.lab.results import read_result
from tests.experiments.few_steps import FEW, shortened
from tests.lab.test_processes import torchrun


def test_every_training_experiment_is_tried_on_several_processes():
    assert sorted(FEW) == sorted(
        name for name, declared in find().items() if "processes" in declared.able
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


@pytest.mark.slow(reason="two processes start, and each runs all experiments")
@pytest.mark.parametrize(
    ("name", "how"), [*((n, ".") for n in FEW), *((n, "sharded") for n in SHARDED)]
)
def test_two_processes_find_what_one_finds(folder_of_two, name, how):
    two = read_result(folder_of_two / how / f"{name}-small-seed1.npz")
    assert two.how["shard"] == (how == "sharded")
    assert two.where.endswith(", sharded") == two.how["shard"]
    one = shortened(name).run("small", torch.device("cpu"), seed=1, progress=False)
    assert (two.how["processes"], one.how["processes"]) == (2, 1)
    assert two.where.startswith("2 x ") and not one.where.startswith("2 x ")
    assert two.command.startswith(
        "torchrun --standalone --nproc-per-node 2 -m lbdl run"
    )
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


def of_lags(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["errors"], cpu["errors"], rtol=0, atol=0.01)


def of_texts(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["bits"], cpu["bits"], rtol=0, atol=0.01)


def of_tokens(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["kept"], cpu["kept"], rtol=0, atol=0)


def of_depths(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(
        cuda["test"].mean(-1), cpu["test"].mean(-1), rtol=0, atol=0.1
    )


def of_surfaces(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(
        cuda["losses"].log(), cpu["losses"].log(), rtol=0, atol=0.3
    )


def of_pixels(cpu: Result, cuda: Result) -> None:
    assert torch.equal(cuda["parameters"], cpu["parameters"])
    torch.testing.assert_close(cuda["test"], cpu["test"], rtol=0, atol=0.05)


def of_copies(cpu: Result, cuda: Result) -> None:
    assert torch.equal(cuda["parameters"], cpu["parameters"])
    torch.testing.assert_close(cuda["accuracy"], cpu["accuracy"], rtol=0, atol=0.05)


def of_costs(cpu: Result, cuda: Result) -> None:
    """Counts; times are none's but the machine's."""
    torch.testing.assert_close(cuda["multiplications"], cpu["multiplications"])


def of_transfer(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["loss"], cpu["loss"], rtol=0, atol=0.02)


def of_deep_readers(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["losses"], cpu["losses"], rtol=0, atol=0.05)


def of_growth(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["curves"], cpu["curves"], rtol=0, atol=0.05)


def of_writing(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["counted"], cpu["counted"])
    torch.testing.assert_close(cuda["bits"], cpu["bits"], rtol=0, atol=0.1)


def of_sums(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["losses"], cpu["losses"], rtol=0, atol=0.05)
    torch.testing.assert_close(cuda["norms"], cpu["norms"], rtol=0, atol=0.01)


def of_words(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["right"], cpu["right"], rtol=0, atol=0.15)


def of_rates(cpu: Result, cuda: Result) -> None:
    """Where rates are too high, losses are noise; what learns and what does not is the map."""
    same = (cuda["losses"] < 0.1) == (cpu["losses"] < 0.1)
    assert float(same.float().mean()) > 0.95


def of_views(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["seen"], cpu["seen"], rtol=0, atol=0.05)


def of_fates(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["fates"], cpu["fates"], rtol=0.05, atol=0.05)
    torch.testing.assert_close(cuda["made"], cpu["made"], rtol=0.05, atol=0.05)


def of_copies_of_digits(cpu: Result, cuda: Result) -> None:
    for name in ("seen", "unseen", "best_seen", "best_unseen"):
        torch.testing.assert_close(cuda[name], cpu[name], rtol=0, atol=0.02)


def of_students(cpu: Result, cuda: Result) -> None:
    torch.testing.assert_close(cuda["fates"], cpu["fates"], rtol=0.05, atol=0.05)


def of_one_step(cpu: Result, cuda: Result) -> None:
    for name in ("curves", "heun", "floor"):
        torch.testing.assert_close(cuda[name], cpu[name], rtol=0.02, atol=0.01)


def of_ten_operations(cpu: Result, cuda: Result) -> None:
    """Counts; times and rates are none's but the machine's."""
    for name in ("costs", "batch_costs", "batches", "sizes"):
        torch.testing.assert_close(cuda[name], cpu[name])


AGREEMENT = {
    "alpha_and_modes": of_students,
    "one_step_digits": of_one_step,
    "chunks_of_digits": of_views,
    "grow_or_scratch": of_growth,
    "rates_against_width": of_rates,
    "learned_by_heart": of_copies_of_digits,
    "pixel_sequences": of_pixels,
    "selective_copying": of_copies,
    "sequence_throughput": of_costs,
    "memory_against_lag": of_lags,
    "length_extrapolation": of_texts,
    "trainability": of_maps,
    "double_descent": of_widths,
    "metric_learning": of_retrieval,
    "merges": of_language,
    "memory_against_depth": of_memory,
    "convolution_depths": of_depths,
    "depth_grid": of_depths,
    "surface_pair": of_surfaces,
    "rate_transfer": of_transfer,
    "deep_transformer": of_deep_readers,
    "token_against_context": of_tokens,
    "gpt_against_counting": of_writing,
    "grokking": of_sums,
    "copy_and_reverse": of_words,
    "tightness_and_seeds": of_fates,
    "time_of_ten_operations": of_ten_operations,
}


def test_every_experiment_states_how_well_devices_agree():
    assert sorted(AGREEMENT) == sorted(find())


@pytest.mark.slow(reason="an experiment runs whole, on two devices")
@pytest.mark.cuda
@pytest.mark.parametrize("name", AGREEMENT)
def test_cpu_and_cuda_agree(name, small_runs):
    cuda = find()[name].run("small", torch.device("cuda"), seed=0, progress=False)
    AGREEMENT[name](small_runs(name).result, cuda)


# --- Every experiment at its small scale, run once by the command


class SmallRun(NamedTuple):
    """The result of a run, and the checkpoints that it wrote, one after the other."""

    result: Result
    checkpoints: list[bytes]


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory):
    """Runs a small experiment when it is first asked for, with a checkpoint after every
    chunk."""
    done: dict[str, SmallRun] = {}
    folder = tmp_path_factory.mktemp("small")

    def run(name):
        if name not in done:
            done[name] = by_command(name, folder)
        return done[name]

    return run


def by_command(name, folder):
    """`lbdl run NAME`, and what it leaves."""
    written, write = [], checkpoints.write_checkpoint

    def keeping(path, content):
        write(path, content)
        written.append(path.read_bytes())

    words = (
        f"run {name} --scale small --seed 0 --device cpu --every 0 --fresh --out"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write_checkpoint", keeping)
        assert main([*words.split(), str(folder)]) == 0
    assert not list(folder.glob("*.checkpoint"))
    return SmallRun(load_result(name, "small", folder=folder), written)


@pytest.mark.slow(reason="an experiment runs whole, and then its second half again")
@pytest.mark.parametrize("name", find())
def test_interrupted_half_way_it_ends_the_same(
    name, small_runs, tmp_path, monkeypatch
):
    """The checkpoint of the middle is what a kill leaves there; see also
    `tests/lab/test_checkpoints.py`, where processes are killed."""
    whole, written = small_runs(name)
    middle = len(written) // 2
    if middle:
        file = tmp_path / f"{name}-small-seed0.checkpoint"
        file.write_bytes(written[middle - 1])
        saves, save = [], Checkpoint.save
        monkeypatch.setattr(
            Checkpoint,
            "save",
            lambda *a, **more: saves.append(1) or save(*a, **more),
        )
        again = find()[name].run(
            "small", torch.device("cpu"), 0, tmp_path, progress=False, every=0.0
        )
        assert len(saves) == len(written) - middle, "only the rest is done"
        assert again.arrays.keys() == whole.arrays.keys()
        for key in whole.arrays:  # to the bit; what is no number, likewise
            torch.testing.assert_close(
                again[key], whole[key], rtol=0, atol=0, equal_nan=True
            )
        assert again.numbers == whole.numbers


WITNESSES = [r for r in recorded_results() if r.scale == "small"]
LARGER = [r for r in recorded_results() if r.scale != "small"]


@pytest.mark.parametrize(
    "recorded",
    [pytest.param(r, id=f"{r.experiment}-{r.scale}") for r in LARGER],
)
def test_a_recording_has_a_witness_of_the_same_code(recorded):
    """The small scale of the same experiment, recorded with it on the same kind of
    device."""
    witnesses = [
        w
        for w in WITNESSES
        if (w.experiment, w.on_gpu) == (recorded.experiment, recorded.on_gpu)
    ]
    assert [(w.code, w.commit) for w in witnesses] == [
        (recorded.code, recorded.commit)
    ]
    assert not recorded.commit.endswith("-dirty")


@pytest.mark.slow(reason="an experiment runs whole")
@pytest.mark.parametrize(
    "witness", WITNESSES, ids=lambda r: r.experiment + "-on-gpu" * r.on_gpu
)
def test_a_recording_stands_while_its_witness_is_reproduced(witness, small_runs):
    """A recording of other code is not stale where that code still computes the same:
    the small scale says so, which was recorded with it and runs here in seconds."""
    found, name = small_runs(witness.experiment).result, witness.experiment
    larger = [
        r for r in LARGER if (r.experiment, r.on_gpu) == (name, witness.on_gpu)
    ]
    again = "; ".join(f"lbdl run {name} --scale {r.scale} --record" for r in larger)
    try:
        AGREEMENT[name](witness, found)
    except AssertionError as differ:
        changed = (
            "has changed since" if witness.code != found.code else "is the same"
        )
        raise AssertionError(
            f"what is recorded of {name} is stale: its code ({changed} commit "
            f"{witness.commit}) computes something else. Make it again: {again}"
        ) from differ


def test_a_result_that_differs_is_noticed():
    """Each of the comparisons can fail."""
    for witness in WITNESSES:
        moved = {key: x + 0.3 * (1 + x.abs()) for key, x in witness.arrays.items()}
        other = replace(witness, arrays=moved)
        with pytest.raises(AssertionError):
            AGREEMENT[witness.experiment](witness, other)
