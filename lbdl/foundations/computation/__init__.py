"""What a computation costs on a real machine, and what its numbers can hold.

Read `layout.py` first: a tensor as shape, stride and storage. `counts.py` has the
operations and bytes of each layer of the book by formula, `tally.py` counts those
of any function. `roofline.py` turns both into seconds, and measures the machine.
`cache.py` simulates the fast memory between. `formats.py` has floating-point
numbers bit by bit, `sums.py` three ways to add them up.

Williams, Waterman & Patterson 2009, Communications of the ACM 52(4); Higham 2002,
Accuracy and Stability of Numerical Algorithms, chapters 2 and 4.
"""

from lbdl.foundations.computation.cache import (
    blocked_misses,
    cache_misses,
    matmul_addresses,
)
from lbdl.foundations.computation.counts import (
    SOFTMAX_TRAFFIC,
    Cost,
    convolution_cost,
    elementwise_cost,
    embedding_cost,
    matmul_cost,
    normalization_cost,
    softmax_cost,
)
from lbdl.foundations.computation.formats import (
    FORMATS,
    Format,
    decode,
    encode,
    round_to,
    round_to_int8,
    spacing,
)
from lbdl.foundations.computation.layout import (
    addresses,
    broadcast_strides,
    contiguous_strides,
    is_contiguous,
    view_strides,
)
from lbdl.foundations.computation.roofline import (
    Machine,
    measure_machine,
    predicted_seconds,
    ridge_batch,
    roofline,
    seconds_of,
)
from lbdl.foundations.computation.sums import (
    sum_bound,
    sum_in_order,
    sum_kahan,
    sum_pairwise,
)
from lbdl.foundations.computation.tally import Tally, tally

__all__ = [
    "FORMATS",
    "SOFTMAX_TRAFFIC",
    "Cost",
    "Format",
    "Machine",
    "Tally",
    "addresses",
    "blocked_misses",
    "broadcast_strides",
    "cache_misses",
    "contiguous_strides",
    "convolution_cost",
    "decode",
    "elementwise_cost",
    "embedding_cost",
    "encode",
    "is_contiguous",
    "matmul_addresses",
    "matmul_cost",
    "measure_machine",
    "normalization_cost",
    "predicted_seconds",
    "ridge_batch",
    "roofline",
    "round_to",
    "round_to_int8",
    "seconds_of",
    "softmax_cost",
    "spacing",
    "sum_bound",
    "sum_in_order",
    "sum_kahan",
    "sum_pairwise",
    "tally",
    "view_strides",
]
