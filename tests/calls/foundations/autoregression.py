"""Valid calls of the autoregression topic."""

import torch

from lbdl.foundations.autoregression import (
    CausalConvolution,
    Counts,
    FixedContext,
    NGram,
    acceptance_rate,
    add_k,
    bits_per_byte,
    change_base,
    conditionals,
    continuation_counts,
    count_ngrams,
    count_up_to,
    dependence,
    estimated_discount,
    generate,
    gradient_dependence,
    jelinek_mercer,
    joint,
    keep_min_p,
    keep_nucleus,
    keep_top_k,
    kneser_ney,
    kneser_ney_counts,
    leaks,
    leaks_by_gradient,
    lookup,
    modified_discounts,
    modified_kneser_ney,
    next_token_pairs,
    perplexity,
    random_windows,
    relative_frequency,
    restrict,
    sample,
    sample_ancestral,
    sequence_log_prob,
    speculative_generate,
    speculative_sample,
    stream_log_probs,
    token_log_probs,
    with_temperature,
)
from tests.calls import Call, generator, labels, normal, uniform

LOGITS = normal(3, 5)
TOKENS = labels(3, below=5)
TEXT = labels(20, below=5)
TABLE = torch.softmax(normal(6), -1).reshape(2, 3)
FACTORS = conditionals(TABLE)
LEVELS = count_up_to(TEXT, 2, 5)
GRAMS = labels(4, 2, below=5)


def model(tokens: torch.Tensor) -> torch.Tensor:
    """A causal model: the next token is the one after the last."""
    return torch.eye(5)[(tokens + 1) % 5]


def smooth(vectors: torch.Tensor) -> torch.Tensor:
    """A causal model of vectors."""
    return vectors.cumsum(1).tanh()


CALLS = [
    Call(conditionals, {"table": TABLE}),
    Call(joint, {"factors": FACTORS}),
    Call(sample_ancestral, {"factors": FACTORS, "n": 4, "generator": generator()}),
    Call(
        next_token_pairs,
        {"tokens": TEXT},
        skips={"alias": "the halves are views, as slices are"},
    ),
    Call(token_log_probs, {"logits": LOGITS, "targets": TOKENS}),
    Call(sequence_log_prob, {"logits": LOGITS, "targets": TOKENS}),
    Call(
        change_base,
        {"x": uniform(3), "to": 2.0, "of": 3.0},
        takes={"x": "floats"},
        degrees={"x": 1},
    ),
    Call(perplexity, {"x": uniform(3), "base": 2.0}),
    Call(
        bits_per_byte,
        {"x": uniform(3), "tokens": 4, "size": 9},
        degrees={"x": 1},
    ),
    Call(
        stream_log_probs,
        {"model": model, "tokens": TEXT, "window": 4, "stride": 2, "batch": 2},
    ),
    Call(
        Counts, LEVELS[0]._asdict(), takes=dict.fromkeys(Counts._fields, "anything")
    ),
    Call(count_ngrams, {"tokens": TEXT, "order": 2, "vocabulary": 5}),
    Call(count_up_to, {"tokens": TEXT, "order": 2, "vocabulary": 5}),
    Call(kneser_ney_counts, {"tokens": TEXT, "order": 2, "vocabulary": 5}),
    Call(continuation_counts, {"counts": LEVELS[1]}),
    Call(
        lookup,
        {
            "keys": torch.tensor([1, 4, 6]),
            "values": normal(3),
            "wanted": torch.tensor([4, 5, 1, 6]),
        },
        takes={"values": "integers bools complex"},
        skips={"func": "a question of keys", "compile": "a question of keys"},
    ),
    Call(relative_frequency, {"levels": LEVELS, "grams": GRAMS}),
    Call(add_k, {"levels": LEVELS, "grams": GRAMS, "k": 0.5}),
    Call(jelinek_mercer, {"levels": LEVELS, "grams": GRAMS, "weight": 0.6}),
    Call(
        kneser_ney,
        {"levels": LEVELS, "grams": GRAMS, "discount": 0.7},
        takes={"discount": "lists"},
    ),
    Call(modified_kneser_ney, {"levels": LEVELS, "grams": GRAMS}),
    Call(modified_discounts, {"counts": LEVELS[1]}),
    Call(estimated_discount, {"counts": LEVELS[1]}),
    Call(NGram, {"levels": LEVELS, "smoothing": add_k}),
    Call(FixedContext, {"vocabulary": 5, "context": 2, "width": 3, "hidden": 4}),
    Call(
        CausalConvolution,
        {"vocabulary": 5, "width": 3, "layers": 2, "causal": True},
        takes={"causal": "none"},
    ),
    Call(
        random_windows,
        {"tokens": TEXT, "batch": 2, "length": 3, "generator": generator()},
    ),
    Call(
        dependence,
        {
            "model": model,
            "tokens": TEXT[:4],
            "vocabulary": 5,
            "trials": 2,
            "generator": generator(),
        },
    ),
    Call(
        leaks,
        {
            "model": model,
            "tokens": TEXT[:4],
            "vocabulary": 5,
            "ahead": 0,
            "trials": 2,
            "tolerance": 1e-4,
            "generator": generator(),
        },
    ),
    Call(
        gradient_dependence,
        {
            "model": smooth,
            "vectors": normal(4, 2),
            "trials": 2,
            "generator": generator(),
        },
    ),
    Call(
        leaks_by_gradient,
        {
            "model": smooth,
            "vectors": normal(4, 2),
            "ahead": 0,
            "trials": 2,
            "tolerance": 1e-8,
            "generator": generator(),
        },
    ),
    Call(with_temperature, {"logits": LOGITS, "temperature": 0.5, "dim": -1}),
    Call(keep_top_k, {"logits": LOGITS, "k": 2, "dim": -1}),
    Call(keep_nucleus, {"logits": LOGITS, "p": 0.6, "dim": -1}),
    Call(
        restrict,
        {
            "logits": LOGITS,
            "temperature": 0.7,
            "top_k": 3,
            "top_p": 0.8,
            "min_p": 0.1,
            "dim": -1,
        },
    ),
    Call(keep_min_p, {"logits": LOGITS, "p": 0.4, "dim": -1}),
    Call(
        speculative_sample,
        {
            "p": torch.softmax(LOGITS, -1),
            "q": torch.softmax(LOGITS.flip(0), -1),
            "guess": TOKENS,
            "generator": generator(),
        },
    ),
    Call(
        acceptance_rate,
        {"p": torch.softmax(LOGITS, -1), "q": torch.softmax(LOGITS.flip(0), -1)},
        skips={
            "half": "probabilities rounded to halves do not sum to 1 in float32"
        },
    ),
    Call(
        speculative_generate,
        {
            "model": model,
            "draft": model,
            "prompt": TEXT[:3],
            "length": 5,
            "ahead": 2,
            "generator": generator(),
        },
    ),
    Call(sample, {"logits": LOGITS, "generator": generator(), "dim": -1}),
    Call(
        generate,
        {
            "model": model,
            "prompt": TEXT[None, :3],
            "length": 2,
            "context": 3,
            "temperature": 0.7,
            "top_k": 3,
            "top_p": 0.8,
            "min_p": 0.1,
            "generator": generator(),
        },
    ),
]
