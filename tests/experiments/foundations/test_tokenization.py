"""The number of merges: a tiny run against its parts, interrupted and not."""

import math
from dataclasses import replace

import pytest
import torch

from lbdl.core import data
from lbdl.core.training import step
from lbdl.experiments.foundations import tokenization as E
from lbdl.foundations.losses import cross_entropy
from lbdl.foundations.tokenization import train_bpe
from lbdl.lab import Options

CPU = torch.device("cpu")
TINY = {
    "merges": [0, 40],
    "options": {
        "context": 16,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "dropout": 0.1,
    },
    "batch": 8,
    "steps": 40,
    "rate": 1e-2,
    "measured": 2,
}
tiny = replace(E.merges, scales={"tiny": TINY})


@pytest.fixture(autouse=True)
def short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = data.english()[:30_000]
    monkeypatch.setattr(E.data, "english", lambda: text)


def test_split_is_by_position() -> None:
    train, validation = E.split_text("abcdefghij", 0.7)
    assert (train, validation) == ("abcdefg", "hij")
    with pytest.raises(ValueError, match="share must leave two parts"):
        E.split_text("a")


def test_training_lowers_the_bits_and_says_what_it_trained() -> None:
    result = tiny.run("tiny", CPU, seed=1)
    assert result["bits"].shape == (2, 2, 2)
    assert (result["bits"] < 8).all()
    assert (result["bits"][:, :, 1] < result["bits"][:, :, 0]).all()
    train, validation = E.split_text(data.english())
    tokens = train_bpe(train, 40).encode(validation)
    assert result["tokens_per_byte"].tolist() == pytest.approx(
        [1.0, len(tokens) / len(validation.encode())]
    )
    assert (result["parameters"][1] - result["parameters"][0]) == 40 * (2 * 16 + 1)
    assert torch.equal(result["bits"], tiny.run("tiny", CPU, seed=1)["bits"])


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.run("tiny", CPU, seed=2)["bits"]
    train, calls = E.Trial.train, []

    def fail_fourth(self: E.Trial, *args: object) -> None:
        calls.append(args)
        if len(calls) == 4:  # in the second training, after its first part
            raise KeyboardInterrupt
        train(self, *args)

    monkeypatch.setattr(E.Trial, "train", fail_fourth)
    with pytest.raises(KeyboardInterrupt):
        tiny.run("tiny", CPU, seed=2, folder=tmp_path, every=0)
    resumed = tiny.run("tiny", CPU, seed=2, folder=tmp_path, every=0)["bits"]
    assert len(calls) == 5
    assert torch.equal(resumed, whole)


def test_bits_are_those_of_an_untrained_guess() -> None:
    run = tiny.prepare(Options("tiny", CPU, 0))
    trial = E.Trial(
        run, train_bpe("", 0), E.split_text(data.english()), TINY["options"], 8
    )
    assert trial.bits(1) == pytest.approx(8, abs=0.1)
    assert trial.bits(0) == pytest.approx(8, abs=0.1)


@pytest.mark.cuda
def test_cuda_computes_in_bfloat16_and_agrees() -> None:
    one, other = (
        tiny.run("tiny", CPU, seed=0)["bits"],
        tiny.run("tiny", torch.device("cuda"), seed=0)["bits"],
    )
    torch.testing.assert_close(one, other, atol=0.2, rtol=0)


def test_sources_are_programs_and_the_last_of_them_are_held_out() -> None:
    text = E.sources(300_000)
    assert len(text) == 300_000 and text.count("\ndef ") > 20
    train, held_out = E.two_texts(300_000)
    assert train + held_out == text and len(held_out) == pytest.approx(
        46_500, abs=1
    )
    assert E.two_texts("english") == E.split_text(data.english())


def test_counts_stand_beside_and_foresee_what_repeats() -> None:
    """Bits of counting are those of the n-grams of the same tokens: on a text that goes on as it began, few."""
    tokens = torch.arange(1000) % 5
    few = -E.counted((tokens, tokens[:50]), 3, 6).mean()
    many = -E.counted((tokens, tokens[:50].flip(0)), 3, 6).mean()
    assert few < 0.1 and many > 2
    counting = replace(tiny, scales={"tiny": TINY | {"order": 2}}).run("tiny", CPU)
    assert counting["counted"].shape == (2,) and (counting["counted"] < 8).all()
    assert "counted" not in tiny.run("tiny", CPU).arrays


@pytest.mark.parametrize(
    ("bits", "patience", "stops"),
    [
        ([3.0, 2.0, 2.1, 2.2], 2, True),
        ([3.0, 2.0, 2.1, 1.9], 2, False),
        ([3.0, 2.0, 2.1, 2.2], 3, False),
        ([3.0, 2.0, 2.1, 2.2], 0, False),
        ([3.0, 3.0], 1, True),
        ([3.0], 1, False),
        ([], 1, False),
    ],
)
def test_a_training_is_given_up_when_it_gets_no_better(
    bits, patience, stops
) -> None:
    assert E.no_better(torch.tensor(bits), patience) is stops


def test_what_was_given_up_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = iter([5.0, 3.0, 5.0, 4.0, 5.0, 4.5] * 2)
    monkeypatch.setattr(E.Trial, "bits", lambda self, part: next(worse))
    trained, train = [], E.Trial.train
    monkeypatch.setattr(
        E.Trial, "train", lambda *a: trained.append(a[1].start) or train(*a)
    )
    scales = {"tiny": TINY | {"measured": 5, "patience": 2}}
    bits = replace(tiny, scales=scales).run("tiny", CPU)["bits"]
    assert trained == [0, 8, 16] * 2
    assert bits[:, 1, :3].tolist() == [[3.0, 4.0, 4.5]] * 2
    assert bits[:, :, 3:].isnan().all()


def test_the_rate_rises_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.prepare(Options("tiny", CPU, 0))
    trial = E.Trial(
        run, train_bpe("", 0), E.split_text(data.english()), TINY["options"], 2
    )
    rates, step = [], trial.optimizer.step
    monkeypatch.setattr(
        trial.optimizer,
        "step",
        lambda: rates.append(trial.optimizer.param_groups[0]["lr"]) or step(),
    )
    for t in (0, E.WARMUP - 1, 100, 199):
        trial.train(range(t, t + 1), 200, 1.0)
    assert trial.optimizer.param_groups[0]["lr"] == 1.0
    assert rates[0] == 1 / E.WARMUP
    assert rates[1] == pytest.approx((1 + math.cos(math.pi * 49 / 200)) / 2)
    assert rates[2] == pytest.approx(0.5)
    assert rates[3] < 1e-3


def test_the_loss_is_the_cross_entropy_of_the_chapter() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        E.token_loss(logits, targets), cross_entropy(logits, targets)
    )
    assert E.token_loss(logits.bfloat16(), targets).dtype == torch.float32


def test_parameters_that_do_not_fit_are_named() -> None:
    odd = replace(E.merges, scales={"tiny": TINY | {"steps": 41}})
    with pytest.raises(
        ValueError, match="steps must be a multiple of measured, got 41 and 2"
    ):
        odd.run("tiny", CPU)


def test_training_is_the_shared_step() -> None:
    run = tiny.prepare(Options("tiny", CPU, 3))
    torch.manual_seed(0)
    trial = E.Trial(
        run,
        train_bpe("", 0),
        E.split_text(data.english()),
        TINY["options"] | {"dropout": 0.0},
        4,
    )
    torch.manual_seed(0)
    other = E.Trial(
        run,
        train_bpe("", 0),
        E.split_text(data.english()),
        TINY["options"] | {"dropout": 0.0},
        4,
    )
    trial.train(range(200, 201), 400, 1e-2)
    x, y = E.random_windows(other.texts[0], 4, 16, run.generator("windows/256"))
    other.optimizer.param_groups[0]["lr"] = 1e-2 / 2
    step(other.model, x, y, E.token_loss, other.optimizer)
    for a, b in zip(
        trial.model.parameters(), other.model.parameters(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
