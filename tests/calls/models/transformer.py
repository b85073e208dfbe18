"""Valid calls of the transformer topic."""

import torch

from lbdl.models.attention import MultiHeadAttention
from lbdl.models.transformer import (
    GPT,
    Block,
    DecoderLayer,
    EncoderDecoder,
    EncoderLayer,
    FeedForward,
    Residual,
    VisionTransformer,
    gpt_parameters,
    greedy,
    patches,
    transformer_flops,
    write_on,
)
from tests.calls import Call, generator, labels, normal

ATTENTION = MultiHeadAttention(8, 2)
NORM = {"norm_first": True, "dropout": 0.1, "norm": torch.nn.LayerNorm}

CALLS = [
    Call(FeedForward, {"width": 8, "hidden": 6, "activation": "gelu"}),
    Call(Residual, {"width": 8, **NORM}),
    Call(EncoderLayer, {"attention": ATTENTION, "feed": FeedForward(8), **NORM}, takes={"feed": "anything"}),
    Call(
        DecoderLayer,
        {"attention": ATTENTION, "cross": ATTENTION, "feed": FeedForward(8), **NORM},
        takes={"feed": "anything"},
    ),
    Call(Block, {"width": 8, "heads": 2, "causal": True, "dropout": 0.1}),
    Call(
        GPT,
        {
            "vocabulary": 5, "context": 6, "width": 8, "layers": 1, "heads": 2, "causal": True,
            "dropout": 0.1, "tied": True,
        },
    ),
    Call(
        EncoderDecoder,
        {
            "vocabulary": 5, "width": 8, "heads": 2, "layers": 1, "hidden": 6,
            "norm_first": True, "dropout": 0.1,
        },
    ),
    Call(
        VisionTransformer,
        {
            "side": 4, "patch": 2, "classes": 3, "width": 8, "heads": 2, "layers": 1,
            "channels": 1, "dropout": 0.1,
        },
    ),
    Call(
        patches,
        {"images": normal(2, 1, 4, 4), "size": 2},
        takes={"images": "integers bools complex"},
        skips={"alias": "a view, where strides allow one"},
    ),
    Call(gpt_parameters, {"vocabulary": 5, "context": 6, "width": 8, "layers": 2, "tied": True}),
    Call(transformer_flops, {"n": 6, "width": 8, "layers": 2, "vocabulary": 5}),
    Call(
        greedy,
        {"model": EncoderDecoder(5, 8, 2, 1).eval(), "source": labels(2, 3, below=5), "first": 0, "length": 3},
    ),
    Call(
        write_on,
        {
            "model": GPT(5, 9, 8, heads=2).eval(), "prompt": labels(2, 3, below=5), "length": 4,
            "temperature": 0.8, "top_k": 3, "top_p": 0.9, "generator": generator(),
        },
    ),
]  # fmt: skip
