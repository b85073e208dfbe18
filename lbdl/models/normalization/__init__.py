"""What keeps a signal alive on its way through many layers: activations, dropout,
norms, skip connections.

Read `activations.py` first: the functions, and what they do to the second moment of
a signal. `dropout.py` switches units off and keeps the mean. `norms.py` has the
five normalising layers, written as one function over different dimensions.
`residual.py` adds skip connections, and looks at the loss around a network. How
signals fade through depth is measured in `lbdl.foundations.backpropagation`.
"""

from lbdl.models.normalization.activations import (
    SELU_ALPHA,
    SELU_SCALE,
    elu,
    gaussian_moments,
    gelu,
    leaky_relu,
    preserving_gain,
    relu,
    second_moments,
    selu,
    silu,
    softplus,
)
from lbdl.models.normalization.dropout import (
    alpha_dropout,
    alpha_dropout_affine,
    dropout,
    dropout_moments,
)
from lbdl.models.normalization.fast import fast_layer_norm, fast_rms_norm
from lbdl.models.normalization.modules import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
)
from lbdl.models.normalization.norms import (
    batch_norm,
    batch_statistics,
    group_norm,
    instance_norm,
    layer_norm,
    pooled_statistics,
    rms_norm,
    standardize,
    standardize_backward,
)
from lbdl.models.normalization.residual import (
    NORMS,
    DeepNetwork,
    ResidualNetwork,
    filter_normalized,
    loss_surface,
)

__all__ = [
    "NORMS",
    "SELU_ALPHA",
    "SELU_SCALE",
    "BatchNorm",
    "DeepNetwork",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
    "ResidualNetwork",
    "alpha_dropout",
    "alpha_dropout_affine",
    "batch_norm",
    "batch_statistics",
    "dropout",
    "dropout_moments",
    "elu",
    "fast_layer_norm",
    "fast_rms_norm",
    "filter_normalized",
    "gaussian_moments",
    "gelu",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "loss_surface",
    "pooled_statistics",
    "preserving_gain",
    "relu",
    "rms_norm",
    "second_moments",
    "selu",
    "silu",
    "softplus",
    "standardize",
    "standardize_backward",
]
