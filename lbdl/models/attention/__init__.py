"""Attention: every place of a sequence looks at all places, and takes a mean of
what it finds, weighted by fit.

Vaswani et al. 2017, arXiv:1706.03762. `scaled` is the idea, with masks; `heads`
many of them side by side; `cache` what generation keeps; `blocks` the same result
without the table of scores (Dao et al. 2022, arXiv:2205.14135); `cost` counts.
"""

from lbdl.models.attention.blocks import block_attention, fast_attention
from lbdl.models.attention.cache import KeyValueCache, cache_bytes
from lbdl.models.attention.cost import attention_flops, block_traffic
from lbdl.models.attention.heads import (
    MultiHeadAttention,
    grouped_attention,
    merge_heads,
    split_heads,
    talking_heads_attention,
)
from lbdl.models.attention.scaled import (
    attention,
    attention_scores,
    attention_weights,
    causal_mask,
    padding_mask,
)

__all__ = [
    "KeyValueCache",
    "MultiHeadAttention",
    "attention",
    "attention_flops",
    "attention_scores",
    "attention_weights",
    "block_attention",
    "block_traffic",
    "cache_bytes",
    "causal_mask",
    "fast_attention",
    "grouped_attention",
    "merge_heads",
    "padding_mask",
    "split_heads",
    "talking_heads_attention",
]
