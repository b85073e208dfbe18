"""Layers that slide one small window over an image: convolution in all its forms,
pooling, a network of both.

Read `layers.py` first: the convolution as four loops, as one matrix product,
transposed, and causal. `geometry.py` has the sizes of everything, and the windows
themselves. `matrix.py` writes a convolution as a sparse matrix and, on a torus, as
a product of Fourier transforms. `pooling.py` takes maxima and means. `networks.py`
stacks them. The dense layer stands in `lbdl.foundations.backpropagation`.
"""

from lbdl.models.convolution.geometry import (
    ReceptiveField,
    output_size,
    parameter_count,
    receptive_field,
    transposed_size,
    windows,
)
from lbdl.models.convolution.layers import (
    causal_conv1d,
    causal_conv1d_step,
    conv2d,
    conv_transpose2d,
    fast_conv2d,
    fast_conv_transpose2d,
)
from lbdl.models.convolution.matrix import (
    circular_conv2d,
    circular_singular_values,
    conv2d_matrix,
    fast_circular_conv2d,
)
from lbdl.models.convolution.networks import Conv2d, LeNet
from lbdl.models.convolution.pooling import (
    adaptive_average_pool2d,
    adaptive_max_pool2d,
    average_pool2d,
    fast_average_pool2d,
    fast_max_pool2d,
    max_pool2d,
)

__all__ = [
    "Conv2d",
    "LeNet",
    "ReceptiveField",
    "adaptive_average_pool2d",
    "adaptive_max_pool2d",
    "average_pool2d",
    "causal_conv1d",
    "causal_conv1d_step",
    "circular_conv2d",
    "circular_singular_values",
    "conv2d",
    "conv2d_matrix",
    "conv_transpose2d",
    "fast_average_pool2d",
    "fast_circular_conv2d",
    "fast_conv2d",
    "fast_conv_transpose2d",
    "fast_max_pool2d",
    "max_pool2d",
    "output_size",
    "parameter_count",
    "receptive_field",
    "transposed_size",
    "windows",
]
