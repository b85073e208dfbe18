"""The heavy run of S4: counts that grow as they must."""

from dataclasses import replace

import torch

from lbdl.experiments.models import s4 as E

CPU = torch.device("cpu")


def test_attention_grows_with_the_square_scan_with_the_length():
    growth = {
        k: E.multiplications(k, 8192, 64, 16) / E.multiplications(k, 4096, 64, 16)
        for k in E.COSTS
    }
    assert growth["scan"] == 2
    assert 2 < growth["convolution"] < 2.2
    assert 3.99 < growth["attention"] < 4


def test_multiplications_by_hand():
    assert E.multiplications("attention", 3, 5, 2) == 2 * 6 * 5
    assert E.multiplications("scan", 3, 5, 2) == 3 * 5 * 7
    transforms = 3 * 2 * 8 * 3
    assert E.multiplications("convolution", 4, 1, 2) == transforms + 16 + 16


def test_the_small_scale_has_the_shapes_that_the_chapter_reads():
    cost = E.sequence_throughput.run("small")
    assert "seconds" not in cost.arrays
    timed = replace(
        E.sequence_throughput,
        scales={"tiny": {"lengths": [16], "width": 8, "states": 4, "repeats": 1}},
    ).run("tiny", CPU)
    assert timed["seconds"].shape == (3, 1) and bool((timed["seconds"] > 0).all())
