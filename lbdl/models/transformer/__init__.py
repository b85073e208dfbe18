"""The transformer: every place of a sequence chooses what to look at, then thinks
it over; layer upon layer.

`layers` are put together of parts (attention, a small network, norms), `models` of
layers: the encoder-decoder of 2017 and one for pictures. `gpt` is the language
model that looks back only, `count` says what it costs.

Vaswani et al. 2017, arXiv:1706.03762.
"""

from lbdl.models.transformer.count import gpt_parameters, transformer_flops
from lbdl.models.transformer.gpt import GPT, Block, write_on
from lbdl.models.transformer.layers import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Residual,
)
from lbdl.models.transformer.models import (
    EncoderDecoder,
    VisionTransformer,
    greedy,
    patches,
)

__all__ = [
    "GPT",
    "Block",
    "DecoderLayer",
    "EncoderDecoder",
    "EncoderLayer",
    "FeedForward",
    "Residual",
    "VisionTransformer",
    "gpt_parameters",
    "greedy",
    "patches",
    "transformer_flops",
    "write_on",
]
