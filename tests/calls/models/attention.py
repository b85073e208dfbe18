"""Valid calls of the attention topic."""

import torch

from lbdl.models.attention import (
    KeyValueCache,
    MultiHeadAttention,
    attention,
    attention_flops,
    attention_scores,
    attention_weights,
    block_attention,
    block_traffic,
    cache_bytes,
    causal_mask,
    fast_attention,
    grouped_attention,
    merge_heads,
    padding_mask,
    split_heads,
    talking_heads_attention,
)
from tests.calls import Call, normal

Q, K, V = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 2, seed=2)
MASK = torch.tensor([[True, False, True, True, True]]).expand(3, 5)
ANY_DTYPE = "integers bools complex"


def over_keys(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(-1)


CALLS = [
    Call(
        attention,
        {
            "q": Q,
            "k": K,
            "v": V,
            "mask": MASK,
            "bias": normal(3, 5, seed=3),
            "causal": True,
            "scale": 0.5,
            "mapping": over_keys,
        },
    ),
    Call(attention_scores, {"q": Q, "k": K, "scale": 0.5}, degrees={"q": 1}),
    Call(
        attention_weights,
        {"scores": normal(2, 3, 5), "mask": MASK, "mapping": over_keys},
    ),
    Call(
        block_attention,
        {"q": Q, "k": K, "v": V, "causal": True, "rows": 2, "columns": 2},
        takes={"columns": "none"},
        degrees={"v": 1},
    ),
    Call(
        fast_attention, {"q": Q, "k": K, "v": V, "causal": True}, degrees={"v": 1}
    ),
    Call(
        causal_mask, {"n": 3, "m": 5, "device": "cpu"}, takes={"device": "anything"}
    ),
    Call(padding_mask, {"lengths": torch.tensor([3, 0, 5]), "m": 5}),
    Call(
        split_heads,
        {"x": Q, "heads": 2},
        takes={"x": ANY_DTYPE},
        skips={"alias": "a view"},
    ),
    Call(
        merge_heads,
        {"x": Q},
        takes={"x": ANY_DTYPE},
        skips={"alias": "a view, where strides allow one"},
    ),
    Call(
        grouped_attention,
        {
            "q": normal(2, 4, 3, 4),
            "k": normal(2, 2, 5, 4),
            "v": normal(2, 2, 5, 2),
            "mask": MASK,
            "bias": normal(3, 5, seed=3),
            "causal": True,
        },
    ),
    Call(
        talking_heads_attention,
        {
            "q": Q,
            "k": K,
            "v": V,
            "before": normal(2, 2),
            "after": normal(2, 2, seed=1),
            "mask": MASK,
        },
    ),
    Call(
        MultiHeadAttention,
        {"width": 8, "heads": 4, "kv_heads": 2, "context_width": 6, "bias": True},
    ),
    Call(
        KeyValueCache, {"batch": 1, "kv_heads": 2, "capacity": 4, "head_width": 3}
    ),
    Call(
        cache_bytes,
        {"layers": 2, "kv_heads": 2, "head_width": 4, "length": 8, "itemsize": 2},
    ),
    Call(attention_flops, {"n": 4, "width": 8, "m": 6, "kv_width": 4}),
    Call(block_traffic, {"n": 64, "head_width": 8, "rows": 16, "itemsize": 2}),
]
