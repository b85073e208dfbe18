"""Digits in two views: exact chunks learn what the whole batch does, the views are what they claim."""

import pytest
import torch

from lbdl.core import generator
from lbdl.experiments.frontiers import contrastive as E
from lbdl.lab.options import Options


@pytest.fixture(scope="module")
def result():
    return E.chunks_of_digits.run("small", torch.device("cpu"), progress=False)


def test_exact_chunks_learn_what_the_whole_batch_does(result):
    size = E.chunks_of_digits.scales["small"]["size"]
    assert E.ways(size) == [("naive", 8), ("exact", 8), ("exact", 64)]
    naive, exact, whole = result["seen"]
    assert whole.shape == (1, 2, 4) and bool(result["seen"].isfinite().all())
    torch.testing.assert_close(exact, whole, rtol=1e-4, atol=1e-4)
    assert float((naive - whole)[..., 0].abs().min()) > 1e-2
    assert float(whole[0, -1, 0]) < float(whole[0, 0, 0])


def test_a_view_is_the_image_moved_by_at_most_a_pixel():
    x = torch.zeros(200, 64)
    x[:, 27] = 1.0  # row 3, column 3
    views = E.moved(x, generator("views"))
    noise = views - E.moved(torch.zeros_like(x), generator("views"))
    places = noise.argmax(-1)
    found = {(int(p) // 8, int(p) % 8) for p in places}
    assert found == {(r, c) for r in (2, 3, 4) for c in (2, 3, 4)}
    torch.testing.assert_close(noise.sum(-1), torch.ones(200))
    assert float((views - noise).std()) == pytest.approx(0.1, rel=0.05)


def test_every_way_sees_the_same_batches():
    run = E.chunks_of_digits.prepare(
        Options("small", torch.device("cpu"), progress=False)
    )
    size = E.chunks_of_digits.scales["small"]["size"]
    seen = [
        [torch.stack(pair) for pair in E.Training(run, way, 0, size).batches(3)]
        for way in range(3)
    ]
    for others in seen[1:]:
        for one, other in zip(seen[0], others, strict=True):
            assert torch.equal(one, other)


def test_the_rate_falls_to_nothing():
    rates = [E.rate_factor(t, 100) for t in range(101)]
    assert rates[0] == 1 and rates == sorted(rates)[::-1]
    assert rates[100] == pytest.approx(0, abs=1e-12)
