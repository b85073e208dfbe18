"""How much work the experiments are, counted from their parameters, and how long that
takes: an estimate before a run.

    seconds = launches x time of one + operations x time of one + elements x time of one

A test holds the counts against those of torch's own counters. The times are those of a
quiet machine, which also waits for Python, data and tokenizers.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Parameters = dict[str, Any]


class Work(NamedTuple):
    """What a run does.

    `launches` one after the other, those of captured steps apart; `operations` of
    products in single precision and, apart, in bfloat16 on a GPU; `elements` that
    everything else computes, one result a number; `seconds` that are spent on any device.
    """

    launches: float = 0.0
    operations: float = 0.0
    captured: float = 0.0
    half: float = 0.0
    elements: float = 0.0
    seconds: float = 0.0


class Device(NamedTuple):
    """Seconds for each of what `Work` counts."""

    launch: float
    operation: float
    captured: float
    half: float
    element: float
    second: float = 1.0


DEVICES = {  # two cores without a GPU; one H100
    "cpu": Device(15e-6, 1 / 25e9, 15e-6, 1 / 25e9, 1e-9),
    "cuda": Device(9e-6, 1 / 20e12, 2.5e-6, 1 / 150e12, 6e-12),
}


def seconds_of(work: Work, device: str) -> float:
    """The time that work takes on a kind of device."""
    return sum(x * y for x, y in zip(work, DEVICES[device], strict=True))


def estimate(
    name: str, parameters: Parameters, device: str = "cuda"
) -> float | None:
    """The seconds of a run on a kind of device, before it; None where nobody has
    counted."""
    return seconds_of(WORK[name](parameters), device) if name in WORK else None


def gpt(p: Parameters, vocabulary: int) -> float:
    """Operations for one token of training: six for a weight, and its attention."""
    d, layers = p["width"], p["layers"]
    weights = 12 * layers * d**2 + vocabulary * d
    return 6 * weights + 12 * layers * p["context"] * d


def of_ten_times(p: Parameters) -> Work:
    """Each operation has a first turn and three at least, and these seconds."""
    batches, turns = p["batches"], 4
    flops = sum(2 * B * p["weights"] ** 2 for B in batches) + 2 * p["width"] ** 3
    parts = 10 + len(batches) + math.log(p["elements"], 4)
    measured = parts + 2 + 18  # of softmax two, of the machine six times three
    elements = 12 * turns * p["elements"]
    return Work(
        0, turns * flops, elements=elements, seconds=measured * p["seconds"]
    )


def of_merges(p: Parameters) -> Work:
    o, count = p["options"], p["steps"] * p["batch"] * p["options"]["context"]
    flops = sum(count * gpt(o, 256 + m) for m in p["merges"])
    read = 6e4 * p["measured"] * sum(gpt(o, 256 + m) for m in p["merges"])
    steps = len(p["merges"]) * p["steps"]
    return Work(captured=steps * (60 + 130 * o["layers"]), half=flops + read)


def of_depths(p: Parameters) -> Work:
    blocks = 5 * sum(p["depths"]) * (2 + p["repeats"])
    return Work(60 * blocks, blocks * 20 * p["batch"] * p["width"] ** 2)


def of_maps(p: Parameters) -> Work:
    n, networks = p["width"], len(p["windows"]) * p["resolution"] ** 2
    each = networks * p["steps"] * (n**2 + n)
    return Work(0, each * (4 * n**2 + 40 * n))


def of_widths(p: Parameters) -> Work:
    steps = len(p["widths"]) * -(-p["runs"] // p["together"]) * p["steps"]
    rows = p["batch"] * p["runs"] * p["steps"]
    inputs = 64 if p["task"] == "digits" else 40
    each = rows * sum(p["widths"])
    flops = each * 6 * (inputs + 10)
    return Work(20 * steps, flops, captured=60 * steps, elements=8 * each)


def of_retrieval(p: Parameters) -> Work:
    steps = len(p["datasets"]) * 2 * p["seeds"] * p["steps"]
    rows = 10 * p["each"] * p["groups"]
    weights = 64 * p["width"] + p["width"] ** 2 + p["width"] * p["dim"]
    launches = steps * (4 * 100 + 4 * 60 * p["groups"])
    elements = steps * 4 * 20 * rows**2
    return Work(launches, steps * 24 * rows * weights, elements=elements)


def of_views(p: Parameters) -> Work:
    s = p["size"]
    parts = [*s["naive"], *s["exact"], s["batch"]]
    steps = s["steps"] * p["seeds"]
    weights = 64 * s["width"] + s["width"] ** 2 + s["width"] * s["dim"]
    chunks = sum(s["batch"] / part for part in parts)
    flops = 16 * s["batch"] * weights * len(parts)
    return Work(steps * 150 * chunks, steps * flops)


def of_copies(p: Parameters) -> Work:
    s, steps = p["size"], len(p["counts"]) * p["size"]["steps"]
    weights = (2 * s["depth"] + 2) * s["width"] ** 2 + 128 * s["width"]
    drawn = 60 * p["draws"] * len(p["counts"]) * weights
    flops = steps * 6 * s["batch"] * weights + 2 * drawn
    return Work(10 * steps, flops, captured=steps * (60 + 50 * s["depth"]))


def of_growth(p: Parameters) -> Work:
    s = p["size"]
    large, tokens = 7.0, s["steps"] * s["batch"] * s["context"]
    sizes = {**s, "width": s["widths"][1]}
    ratio = (
        s["widths"][1] / s["widths"][0]
    ) ** 1.5  # steps of small for one of large
    steps = p["seeds"] * s["steps"] * (large + ratio * 2.5)
    flops = p["seeds"] * 8 * tokens * gpt(sizes, 80)
    return Work(0, flops, captured=steps * (60 + 130 * s["layers"]))


def of_fates(p: Parameters) -> Work:
    s, networks = p["size"], len(p["tightness"]) * p["seeds"]
    steps = 4 * s["steps"]
    rows = steps * networks * s["batch"]
    flops = rows * 27 * (s["width"] ** 2 + 4 * s["width"])
    return Work(steps * 170, flops, elements=50 * rows * s["width"])


def of_rates(p: Parameters) -> Work:
    pairs, cells = len(p["logs"]) ** 2, p["seeds"] * p["steps"]
    each = cells * pairs * sum(p["widths"])
    parts = -(-pairs // 64) * len(p["widths"])
    return Work(
        cells * parts * 60,
        each * 10 * p["rows"] * p["rank"],
        elements=each * (50 * p["rank"] + 2.5 * p["rows"]),
    )


def of_students(p: Parameters) -> Work:
    s, networks = p["size"], len(p["alphas"]) * p["seeds"]
    turns = s["steps"] * (2 * len(p["inner"]) + sum(p["inner"]))
    rows = turns * networks * s["batch"]
    flops = rows * (9 * s["width"] ** 2 + 20 * s["width"])
    return Work(turns * 100, flops, elements=30 * rows * s["width"])


def of_one_step(p: Parameters) -> Work:
    s, teacher = p["size"], p["teacher"]
    weights = (2 * teacher["depth"] + 2) * teacher["width"] ** 2
    weights += 128 * teacher["width"]
    steps = len(p["alphas"]) * s["steps"]
    flops = (
        6 * weights * (teacher["steps"] * teacher["batch"] + 3 * steps * s["batch"])
    )
    captured = teacher["steps"] * (60 + 50 * teacher["depth"])
    judged = p["draws"] * weights * 400 * len(p["alphas"])
    return Work(steps * 500, flops + judged, captured)


def of_deep_readers(p: Parameters) -> Work:
    steps = 4 * len(p["rates"]) * p["seeds"] * p["steps"]
    tokens = steps * p["batch"] * p["context"]
    return Work(0, tokens * gpt(p, 40), captured=steps * (60 + 130 * p["layers"]))


def of_transfer(p: Parameters) -> Work:
    steps, rates = 2 * p["seeds"] * p["steps"], len(p["rates"])
    weights = sum((p["depth"] - 1) * n**2 + 50 * n for n in p["widths"])
    flops = steps * rates * weights * (6 * p["examples"] + 60)
    return Work(steps * len(p["widths"]) * (60 + 10 * p["depth"]), flops)


def of_pictures(p: Parameters) -> Work:
    networks = 2 * p["runs"] * len(p["rates"])
    blocks = 2 * p["steps"] * sum(p["depths"])
    each = blocks * 52 * p["batch"] * networks * p["width"]
    return Work(blocks * 60, each * 40 * p["width"], elements=30 * each)


def of_towers(p: Parameters) -> Work:
    networks = 2 * p["runs"] * len(p["rates"])
    blocks = 3 * p["steps"] * sum(p["depths"])
    each = blocks * networks * p["batch"] * p["width"]
    return Work(blocks * 40, each * 8 * p["width"], elements=25 * each)


def of_surfaces(p: Parameters) -> Work:
    steps, points = 2 * p["steps"], 2 * p["points"] ** 2
    each = p["depth"] * p["width"] * (p["width"] + 8)
    flops = steps * 64 * 6 * each + points * 1400 * 2 * each
    launches = points * p["depth"] * 7
    return Work(launches, flops, captured=steps * (60 + 40 * p["depth"]))


def of_lengths(p: Parameters) -> Work:
    steps = 7 * p["seeds"] * p["steps"]
    tokens = steps * p["batch"] * p["trained"]
    sizes = {**p, "context": p["trained"]}
    read = (
        8 * p["seeds"] * p["pieces"] * p["trained"] * sum(n**2 for n in p["times"])
    )
    flops = (tokens + read) * gpt(sizes, 40)
    return Work(0, flops, captured=steps * (60 + 150 * p["layers"]))


def of_lags(p: Parameters) -> Work:
    turns = sum(p["lengths"]) * p["steps"] * p["seeds"]
    weights = 12 * p["hidden"] ** 2  # of the four kinds together
    flops = turns * 6 * p["batch"] * weights
    return Work(0, flops, captured=turns * 165)


def of_tokens(p: Parameters) -> Work:
    read = sum(p["lengths"]) * p["width"] * 8 * (1 + p["repeats"])
    return Work(60 * len(p["lengths"]) * (1 + p["repeats"]), read)


def of_pixels(p: Parameters) -> Work:
    kinds = len(p["rates"]) * p["seeds"] * p["steps"]
    pixels = sum({"digits": 64, "mnist1d": 40}[name] for name in p["sets"])
    flops = kinds * 4 * p["batch"] * pixels * p["weights"] * 8
    return Work(0, flops, captured=kinds * (900 * len(p["sets"]) + 30 * pixels))


def of_lists(p: Parameters) -> Work:
    steps = 4 * p["seeds"] * p["steps"]
    length = p["span"] + 2 * p["tokens"]
    flops = steps * p["batch"] * length * p["weights"] * 8
    return Work(0, flops, captured=steps * (500 + 3 * length))


def of_sequences(p: Parameters) -> Work:
    turns = 1 + p["repeats"]
    lengths, squares = sum(p["lengths"]), sum(n**2 for n in p["lengths"])
    flops = squares * 6 * p["width"]
    elements = lengths * p["width"] * p["states"] * 60
    launches = len(p["lengths"]) * 150 + lengths / 2
    return Work(turns * launches, turns * flops, elements=turns * elements)


def of_words(p: Parameters) -> Work:
    o, steps = p["options"], p["steps"]
    tokens = steps * p["batch"] * (p["lengths"] + 2)
    written = 4 * p["tested"] * 4 * p["lengths"] ** 3 / 3
    flops = (tokens * 3 + written) * 14 * o["layers"] * o["width"] ** 2 * 2
    launches = steps * (100 + 330 * o["layers"])
    return Work(launches + 4 * p["lengths"] ** 2 * 100 * o["layers"], flops)


def of_writing(p: Parameters) -> Work:
    o, vocabulary = p["options"], 256 + p["merges"]
    tokens = p["steps"] * p["batch"] * o["context"] + p["measured"] * 6e4
    written = p["measured"] * p["length"] * 40 * o["layers"]
    steps = p["steps"] * (60 + 130 * o["layers"])
    return Work(written, 0, captured=steps, half=tokens * gpt(o, vocabulary))


def of_sums(p: Parameters) -> Work:
    sizes = {"width": p["width"], "layers": 1, "context": 3}
    rows = p["share"] * p["p"] ** 2
    tokens = 3 * (rows * p["steps"] + p["measured"] * p["p"] ** 2)
    return Work(0, tokens * gpt(sizes, p["p"]) * 1.5, captured=p["steps"] * 250)


WORK: dict[str, Callable[[Parameters], Work]] = {
    "time_of_ten_operations": of_ten_times,
    "merges": of_merges,
    "memory_against_depth": of_depths,
    "trainability": of_maps,
    "double_descent": of_widths,
    "metric_learning": of_retrieval,
    "chunks_of_digits": of_views,
    "learned_by_heart": of_copies,
    "grow_or_scratch": of_growth,
    "tightness_and_seeds": of_fates,
    "rates_against_width": of_rates,
    "alpha_and_modes": of_students,
    "one_step_digits": of_one_step,
    "deep_transformer": of_deep_readers,
    "rate_transfer": of_transfer,
    "convolution_depths": of_pictures,
    "depth_grid": of_towers,
    "surface_pair": of_surfaces,
    "length_extrapolation": of_lengths,
    "memory_against_lag": of_lags,
    "token_against_context": of_tokens,
    "pixel_sequences": of_pixels,
    "selective_copying": of_lists,
    "sequence_throughput": of_sequences,
    "copy_and_reverse": of_words,
    "gpt_against_counting": of_writing,
    "grokking": of_sums,
}
