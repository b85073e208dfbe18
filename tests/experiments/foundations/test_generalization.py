"""Networks side by side against the same networks alone; labels, threshold, and the shape of double descent."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lbdl.core.data import Dataset
from lbdl.experiments.foundations import generalization as E


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def examples(device: str = "cpu") -> Dataset:
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(1))
    y = torch.randint(10, (50, 2), generator=torch.Generator().manual_seed(2))
    return Dataset(x, y).to(device)


def alone(networks: E.Networks, r: int) -> nn.Sequential:
    """Network r as an ordinary one."""
    h, d = networks.A.shape[2], networks.A.shape[1]
    model = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, 10)).to(
        networks.A.device
    )
    with torch.no_grad():
        model[0].weight.copy_(networks.A[r].T)
        model[0].bias.copy_(networks.a[r, 0])
        model[2].weight.copy_(networks.B[r].T)
        model[2].bias.copy_(networks.b[r, 0])
    return model


def test_networks_side_by_side_train_as_each_alone(device: str) -> None:
    data = examples(device)
    networks = E.Networks(seeded(3, 4), 7, 12).to(device)
    models = [alone(networks, r) for r in range(2)]
    E.fit(networks, data, 30, 16, 0.01, *seeded(5))
    for r, model in enumerate(models):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        batches = E.forever(Dataset(data.x, data.y[:, r]), 16, *seeded(5))
        for _, (x, y) in zip(range(30), batches, strict=False):
            optimizer.zero_grad()
            (10 * F.mse_loss(model(x), F.one_hot(y, 10).float())).backward()
            optimizer.step()
            schedule.step()
        torch.testing.assert_close(
            networks(data.x)[:, r], model(data.x), rtol=1e-3, atol=1e-4
        )


def test_starts_differ_between_runs_and_have_the_scale_they_say() -> None:
    networks = E.Networks(seeded(0, 1), 100, 400)
    assert networks.A.std().item() == pytest.approx(0.1, rel=0.02)
    assert networks.B.std().item() == pytest.approx(0.05, rel=0.05)
    assert not networks.a.any() and not networks.b.any()
    assert not torch.allclose(networks.A[0], networks.A[1])
    assert torch.equal(networks.A[1], E.Networks(seeded(1), 100, 400).A[0])


@given(noise=st.sampled_from([0.0, 0.2, 1.0]), seed=st.integers(0, 20))
def test_noisy_labels(noise: float, seed: int) -> None:
    classes = torch.arange(5000) % 10
    labels = E.noisy_labels(classes, noise, seeded(seed, seed + 100))
    assert labels.shape == (5000, 2)
    changed = (labels != classes[:, None]).double().mean(0)
    assert changed.tolist() == pytest.approx(
        [0.9 * noise] * 2, abs=0.03
    )  # a tenth hits the right class
    assert torch.equal(
        labels[:, 1], E.noisy_labels(classes, noise, seeded(seed + 100))[:, 0]
    )
    if noise:
        assert not torch.equal(labels[:, 0], labels[:, 1])


def test_squared_error_and_judgement_by_hand(device: str) -> None:
    data = examples(device)
    networks = E.Networks(seeded(3, 4), 7, 12).to(device)
    scores, truth = networks(data.x), F.one_hot(data.y, 10).float()
    by_run = [(10 * F.mse_loss(scores[:, r], truth[:, r])).item() for r in range(2)]
    assert E.squared_error(scores, data.y).item() == pytest.approx(
        sum(by_run), rel=1e-5
    )
    loss, wrong = E.judge(networks, data)
    assert loss.tolist() == pytest.approx(by_run, rel=1e-5)
    expected = [
        (scores[:, r].argmax(-1) != data.y[:, r]).float().mean().item()
        for r in range(2)
    ]
    assert wrong.tolist() == pytest.approx(expected)
    shared = E.judge(networks, Dataset(data.x, data.y[:, 0]))
    assert shared[0, 0].item() == pytest.approx(by_run[0], rel=1e-5)


def test_weights_are_counted_and_the_threshold_is_where_they_meet_the_targets() -> (
    None
):
    networks = E.Networks(seeded(0), 40, 17)
    assert E.weights_of(17, 40) == sum(
        weights.numel() for weights in networks.parameters()
    )
    width = E.threshold_width(400, 40)
    assert 41 * width + 10 * (width + 1) == pytest.approx(400 * 10)


def test_data_are_standardised_by_the_training_inputs() -> None:
    training, test = E.standardised("digits", 300)
    whole, _ = E.standardised("digits", 10**6)
    assert len(training) == 300 and len(test) == 350
    assert whole.x.mean(0).abs().max() < 1e-5
    assert whole.x.square().mean().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("runs", "together"), [(5, 2), (4, 4), (3, 9)])
def test_groups_hold_every_run_once(runs: int, together: int) -> None:
    parts = E.groups(runs, together)
    assert [r for part in parts for r in part] == list(range(runs))
    assert max(map(len, parts)) <= together


TINY = dict(
    E.double_descent.scales["small"], widths=[2, 13, 150], runs=2, steps=300
)


def test_the_test_error_peaks_between_small_and_large() -> None:
    tiny = replace(E.double_descent, scales={"tiny": TINY})
    found = tiny.run("tiny", torch.device("cpu"), seed=1, progress=False)
    train, test = found["train_loss"].mean(-1), found["test_loss"].mean(-1)
    assert bool((train.diff() < 0).all())
    assert train[-1] < 0.02
    assert test[1] > test[2]
    assert found["weights"].tolist() == [
        E.weights_of(h, 64) for h in TINY["widths"]
    ]
    assert found.numbers["threshold"] == pytest.approx(13.2)


def test_runs_do_not_depend_on_how_they_are_grouped() -> None:
    few = dict(TINY, widths=[5], steps=20, batch=100)
    one, two = (
        replace(E.double_descent, scales={"tiny": few | {"together": k}}).run(
            "tiny", torch.device("cpu"), seed=0
        )
        for k in (1, 2)
    )
    torch.testing.assert_close(
        one["test_loss"], two["test_loss"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_bad_noise_is_named(noise: float) -> None:
    with pytest.raises(ValueError, match=r"noise must be in \[0, 1\], got"):
        E.noisy_labels(torch.zeros(3, dtype=torch.int64), noise, seeded(0))
