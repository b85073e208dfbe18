"""Valid calls of the convolution topic."""

from lbdl.models.convolution import (
    Conv2d,
    LeNet,
    ReceptiveField,
    adaptive_average_pool2d,
    adaptive_max_pool2d,
    average_pool2d,
    causal_conv1d,
    causal_conv1d_step,
    circular_conv2d,
    circular_singular_values,
    conv2d,
    conv2d_matrix,
    conv_transpose2d,
    fast_average_pool2d,
    fast_circular_conv2d,
    fast_conv2d,
    fast_conv_transpose2d,
    fast_max_pool2d,
    max_pool2d,
    output_size,
    parameter_count,
    receptive_field,
    transposed_size,
    windows,
)
from tests.calls import Call, generator, normal

X = normal(2, 4, 5, 6)
FILTERS = {"weight": normal(6, 2, 3, 3, seed=1), "bias": normal(6, seed=2)}
SIZES = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}
FROM_BEHIND = {"weight": normal(4, 3, 3, 3, seed=1), "bias": normal(6, seed=2)}
TORUS = {"x": normal(2, 3, 4, 5), "weight": normal(4, 3, 2, 3, seed=1)}
CAUSAL = {"weight": normal(6, 2, 3, seed=1), "bias": normal(6, seed=2)}
POOL = {"x": X, "kernel": 2, "stride": 1, "padding": 1}

LARGEST = {"x": 1.0}

CALLS = [
    Call(
        output_size,
        {"size": 8, "kernel": 3, "stride": 2, "padding": 1, "dilation": 1},
    ),
    Call(
        transposed_size,
        {
            "size": 8,
            "kernel": 3,
            "stride": 2,
            "padding": 1,
            "dilation": 1,
            "extra": 1,
        },
    ),
    Call(
        parameter_count,
        {
            "channels_in": 4,
            "channels_out": 6,
            "kernel": 3,
            "groups": 2,
            "bias": True,
        },
    ),
    Call(receptive_field, {"layers": [(3, 1), (3, 2, 1), (5, 1, 2, 2)]}),
    Call(
        ReceptiveField,
        {"size": 3, "jump": 1, "start": 0},
        takes=dict.fromkeys(("size", "jump", "start"), "anything none"),
    ),
    Call(
        windows,
        {
            "x": X,
            "kernel": 3,
            "stride": 2,
            "padding": 1,
            "dilation": 1,
            "value": 0.5,
        },
        takes={"x": "integers bools complex", "value": "infinite"},
    ),
    Call(conv2d, {"x": X} | FILTERS | SIZES),
    Call(fast_conv2d, {"x": X} | FILTERS | SIZES),
    Call(conv_transpose2d, {"x": X} | FROM_BEHIND | SIZES | {"extra": 1}),
    Call(fast_conv_transpose2d, {"x": X} | FROM_BEHIND | SIZES | {"extra": 1}),
    Call(
        causal_conv1d,
        {"x": normal(2, 4, 7)} | CAUSAL | {"dilation": 2, "groups": 2},
    ),
    Call(
        causal_conv1d_step,
        {"x": normal(2, 4), "buffer": normal(2, 4, 4)}
        | CAUSAL
        | {"dilation": 2, "groups": 2},
    ),
    Call(
        conv2d_matrix,
        {
            "weight": normal(2, 3, 3, 3),
            "height": 5,
            "width": 6,
            "stride": 2,
            "padding": 1,
            "dilation": 1,
        },
        skips={"alias": "sparse tensors are not compared as a whole"},
    ),
    Call(circular_conv2d, TORUS),
    Call(fast_circular_conv2d, TORUS),
    Call(
        circular_singular_values,
        {"weight": normal(4, 3, 2, 3), "height": 4, "width": 5},
        degrees={"weight": 1},
    ),
    Call(max_pool2d, POOL, degrees=LARGEST),
    Call(fast_max_pool2d, POOL, degrees=LARGEST),
    Call(average_pool2d, POOL, degrees=LARGEST),
    Call(fast_average_pool2d, POOL, degrees=LARGEST),
    Call(adaptive_max_pool2d, {"x": X, "size": 3}, degrees=LARGEST),
    Call(adaptive_average_pool2d, {"x": X, "size": 3}, degrees=LARGEST),
    Call(
        Conv2d,
        {
            "channels_in": 4,
            "channels_out": 6,
            "kernel": 3,
            "stride": 2,
            "padding": 1,
            "dilation": 1,
            "groups": 2,
            "bias": True,
            "generator": generator(),
        },
    ),
    Call(
        LeNet,
        {
            "image": (1, 8, 8),
            "classes": 10,
            "kernel": 3,
            "widths": (4, 8),
            "hidden": 16,
            "generator": generator(),
        },
    ),
]
