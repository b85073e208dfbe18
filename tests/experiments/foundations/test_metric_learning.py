"""Metric learning: batches, losses and splits by their definitions; what is stored is what single trainings give."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.data import Dataset, Splits
from lbdl.experiments.foundations import metric_learning as E
from lbdl.foundations import metric_learning as M
from lbdl.lab import Options

SIZES = {"steps": 60, "width": 32, "dim": 8, "each": 6}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return data.digits()


def points(n: int, d: int = 4) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=seeded()), dim=-1)


# --- Batches


def test_a_batch_holds_every_class_in_turn(digits: Splits) -> None:
    y = digits.train.y
    rows = E.balanced_rows(y, 8, seeded())
    assert y[rows].tolist() == list(range(10)) * 8
    assert len(rows.unique()) > 60
    assert not torch.equal(rows, E.balanced_rows(y, 8, seeded(1)))


def test_pairs_nce_by_its_definition() -> None:
    """Two groups of three classes: query c of a group against the three keys of the same group."""
    z, y = points(12), torch.arange(3).repeat(4)
    queries, keys = torch.cat([z[0:3], z[6:9]]), torch.cat([z[3:6], z[9:12]])
    losses = []
    for i in range(6):
        group = keys[:3] if i < 3 else keys[3:]
        losses.append(
            -torch.log_softmax(group @ queries[i] / E.TEMPERATURE, 0)[i % 3]
        )
    torch.testing.assert_close(E.pairs_nce(z, y), torch.stack(losses).mean())


def test_split_classes(digits: Splits) -> None:
    train, test = E.split_classes(digits, "seen", seeded())
    assert torch.equal(train.y, digits.train.y)
    assert len(test) == len(digits.test)
    lots = set()
    for seed in range(4):
        train, test = E.split_classes(digits, "unseen", seeded(seed))
        asked = set(test.y.unique().tolist())
        assert train.y.unique().tolist() == [0, 1, 2, 3, 4]
        learned = {
            int(
                digits.train.y[
                    (digits.train.x == train.x[(train.y == c).nonzero()[0]]).all(-1)
                ][0]
            )
            for c in range(5)
        }
        assert len(asked) == 5 and not asked & learned
        lots.add(frozenset(asked))
    assert len(lots) > 1


# --- Trainings


def test_an_embedding_lies_on_the_sphere_and_follows_its_generator(
    digits: Splits,
) -> None:
    first, again, other = (E.Embedding(64, 16, 5, seeded(s)) for s in (0, 0, 1))
    z = first(digits.test.x)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(350))
    assert torch.equal(z, again(digits.test.x))
    assert not torch.equal(z, other(digits.test.x))


@pytest.mark.parametrize("method", E.METHODS[2:])
def test_training_lifts_retrieval_far_above_the_untrained(
    method: str, digits: Splits, device: str
) -> None:
    def score(name: str) -> Tensor:
        trained = E.train_embedding(
            name, digits.train, **SIZES, generator=seeded(), device=device
        )
        return E.retrieval(
            trained(digits.test.x.to(device)).detach(), digits.test.y.to(device)
        )

    before, after = score("untrained"), score(method)
    assert after[1] > before[1] + 0.1
    assert after[0] > before[0]


def test_methods_start_at_the_same_network(digits: Splits) -> None:
    x, once = digits.test.x[:5], SIZES | {"steps": 1}
    start = E.train_embedding(
        "untrained", digits.train, **once, generator=seeded()
    )(x)
    moved = E.train_embedding("InfoNCE", digits.train, **once, generator=seeded())(
        x
    )
    assert 0 < (start - moved).abs().max() < 0.2


def test_retrieval_is_that_of_the_library(digits: Splits) -> None:
    relevance = M.ranked_relevance(digits.test.x, digits.test.y)
    found = E.retrieval(digits.test.x, digits.test.y)
    assert found.tolist() == [
        M.recall_at(relevance).mean().item(),
        M.average_precision(relevance).mean().item(),
    ]


def test_a_cross_entropy_step_trains_head_and_embedding() -> None:
    embedding = E.Embedding(6, 8, 3, seeded())
    model = E.Classifier(embedding, 3, 4, seeded())
    x, y = torch.randn(12, 6, generator=seeded()), torch.arange(12) % 4
    expected = F.cross_entropy(model.head(embedding(x) / E.TEMPERATURE), y)
    torch.testing.assert_close(E.LOSSES["cross-entropy"](model(x), y), expected)
    expected.backward()
    assert all(
        p.grad is not None and bool(p.grad.any()) for p in model.parameters()
    )


# --- The experiment


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of ten classes that take no time: clouds around ten points."""

    def clouds(seed: int) -> Dataset:
        y = torch.arange(60) % 10
        centres = torch.randn(10, 5, generator=seeded(7))
        return Dataset(
            centres[y] + 0.3 * torch.randn(60, 5, generator=seeded(seed)), y
        )

    splits = Splits(clouds(1), clouds(2), clouds(3))
    monkeypatch.setattr(E.data, "clouds", lambda: splits, raising=False)


def test_experiment_stores_what_single_trainings_give(small_sets: None) -> None:
    tiny = {
        "datasets": ["clouds"],
        "seeds": 2,
        "steps": 5,
        "width": 8,
        "dim": 4,
        "each": 2,
        "groups": 2,
    }
    declared = replace(E.metric_learning, scales={"tiny": tiny})
    run = declared.prepare(Options("tiny", torch.device("cpu"), seed=3))
    scores = run.execute()["scores"]
    assert scores.shape == (1, 2, 6, 2, 2)
    assert scores.min() >= 0 and scores.max() <= 1
    for t, m, seed in ((0, 0, 0), (1, 3, 1), (0, 5, 1), (1, 2, 0)):
        draw = run.generator(f"clouds/{E.TASKS[t]}/{seed}")
        train, test = E.split_classes(E.data.clouds(), E.TASKS[t], draw)
        sizes = {
            name: tiny[name] for name in ("steps", "width", "dim", "each", "groups")
        }
        z = test.x
        if m:
            z = E.train_embedding(E.METHODS[m], train, **sizes, generator=draw)(
                z
            ).detach()
        torch.testing.assert_close(
            torch.as_tensor(scores[0, t, m, seed]), E.retrieval(z, test.y)
        )


def test_unknown_method_is_named(digits: Splits) -> None:
    with pytest.raises(
        ValueError, match=r"method must be one of untrained, .* got 'pixels'"
    ):
        E.train_embedding("pixels", digits.train, **SIZES, generator=seeded())
