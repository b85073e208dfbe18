"""What a training step costs in memory, and how to pay less: states computed again,
states computed back, numbers of half the bits.

Read `measuring.py` first: it counts what is alive, tensor by tensor.
`checkpointing.py` keeps a few states and computes the others again;
`reversible.py` keeps none and computes them from the output; `scaling.py` keeps
gradients from vanishing in half precision. The passes themselves stand in
`lbdl.foundations.backpropagation`.
"""

from lbdl.foundations.memory.checkpointing import (
    Frame,
    best_tapered_lengths,
    checkpoint,
    checkpoint_chain,
    checkpoint_revolve,
    equal_lengths,
    peak_states,
    revolve_cost,
    revolve_split,
    tapered_lengths,
)
from lbdl.foundations.memory.measuring import (
    LiveMemory,
    live_memory,
    peak_bytes,
    saved_bytes,
)
from lbdl.foundations.memory.reversible import (
    ReversibleBlock,
    reversible_chain,
    reversible_chain_inverse,
    reversible_chain_stored,
)
from lbdl.foundations.memory.scaling import next_scale, unscale

__all__ = [
    "Frame",
    "LiveMemory",
    "ReversibleBlock",
    "best_tapered_lengths",
    "checkpoint",
    "checkpoint_chain",
    "checkpoint_revolve",
    "equal_lengths",
    "live_memory",
    "next_scale",
    "peak_bytes",
    "peak_states",
    "reversible_chain",
    "reversible_chain_inverse",
    "reversible_chain_stored",
    "revolve_cost",
    "revolve_split",
    "saved_bytes",
    "tapered_lengths",
    "unscale",
]
