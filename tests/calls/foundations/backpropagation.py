"""Valid calls of backpropagation."""

from lbdl.foundations.backpropagation import (
    DenseGradients,
    Dual,
    Variable,
    backward_ratio,
    clip_by_global_norm,
    clip_by_global_norm_,
    clip_by_norm,
    concatenate,
    cross_entropy,
    dense,
    dense_backward,
    gradcheck,
    hessian_vector_product,
    jacobian_forward,
    jacobian_reverse,
    jvp,
    matmul_flops,
    network_flops,
    numerical_jacobian,
    power_norms,
    signal_norms,
    unbroadcast,
    vanishing_bound,
    vjp,
    with_spectral_radius,
)
from tests.calls import Call, labels, normal, uniform

X, Y = normal(3, 4), normal(3, 4, seed=1)
W, B = normal(4, 2, seed=2), normal(2, seed=3)
SQUARE = normal(4, 4, seed=4)
RECORD = "a record holds what it is given"
NAMES = "names the arguments that it changes, by its underscore"


def curve(x):
    return (x * x).exp().sum(-1)


def energy(x):
    return (x * x).exp().sum()


def anything(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "anything none")


CALLS = [
    Call(
        DenseGradients,
        {"x": X, "weight": W, "bias": B},
        takes=anything("x", "weight", "bias"),
        skips=dict.fromkeys(("alias", "nan"), RECORD),
    ),
    Call(
        Variable,
        {"value": X, "edges": []},
        takes=anything("edges"),
        skips={"nan": RECORD},
    ),
    Call(Dual, {"value": X, "tangent": Y}, skips={"nan": RECORD}),
    Call(dense, {"x": X, "weight": W, "bias": B}),
    Call(dense_backward, {"g": normal(3, 2), "x": X, "weight": W}),
    Call(matmul_flops, {"m": 2, "k": 3, "n": 4}),
    Call(network_flops, {"widths": [3, 4, 2], "batch": 5, "input_gradient": True}),
    Call(backward_ratio, {"depth": 3}),
    Call(concatenate, {"parts": [X, Y], "dim": 1}),
    Call(cross_entropy, {"logits": X, "target": labels(3, below=4)}),
    Call(jvp, {"f": curve, "inputs": [X], "tangents": [Y]}),
    Call(vjp, {"f": curve, "inputs": [X]}),
    Call(jacobian_forward, {"f": curve, "x": X}),
    Call(jacobian_reverse, {"f": curve, "x": X}),
    Call(hessian_vector_product, {"f": energy, "x": X, "v": Y}, degrees={"v": 1}),
    Call(numerical_jacobian, {"f": curve, "x": X.double(), "eps": 1e-6}),
    Call(
        gradcheck,
        {
            "f": curve,
            "inputs": [X.double()],
            "eps": 1e-6,
            "rtol": 1e-3,
            "atol": 1e-5,
        },
    ),
    Call(
        signal_norms,
        {
            "weights": normal(2, 4, 4),
            "activation": "tanh",
            "x": normal(4),
            "g": normal(4, seed=1),
        },
    ),
    Call(vanishing_bound, {"weights": normal(2, 4, 4), "activation": "tanh"}),
    Call(power_norms, {"matrix": SQUARE, "steps": 3}),
    Call(
        with_spectral_radius,
        {"matrix": SQUARE, "radius": 0.9},
        degrees={"matrix": 0},
    ),
    Call(
        clip_by_norm,
        {"g": X, "max_norm": 0.5, "dim": (0, 1)},
        takes={"max_norm": "infinite", "dim": "integers"},
    ),
    Call(
        clip_by_global_norm,
        {"gradients": [X, B], "max_norm": 0.5},
        takes={"max_norm": "infinite"},
    ),
    Call(
        clip_by_global_norm_,
        {"gradients": [X, B], "max_norm": 0.5},
        takes={"max_norm": "infinite"},
        skips={"alias": NAMES},
    ),
    Call(
        unbroadcast,
        {"g": uniform(3, 4), "x": normal(1, 4)},
        skips={"nan": "x gives its shape alone"},
    ),
]
