"""Defaults: a fast function has those of the plain one, what another library has too has that library's, and what can
change nothing does so: a factor is 1, an addend 0, a switch off."""

import inspect
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import nn, optim
from torch.nn import functional as F

from lbdl.foundations import (
    backpropagation,
    generalization,
    gradient_descent,
    losses,
    memory,
    metric_learning,
)
from lbdl.models import attention, convolution, normalization, transformer

from .plan import public, topic_modules


def defaults(function: Any) -> dict[str, Any]:
    """The defaults of a function, or of a class's constructor."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


FAST = [
    pytest.param(thing, getattr(module, plain), id=thing.__name__)
    for module in topic_modules()
    for _, thing in public(module)
    for plain in [thing.__name__.removeprefix("fast_")]
    if plain != thing.__name__ and hasattr(module, plain)
]

# Ours, theirs, and our name of an argument with theirs, where it is another.
PEERS: list[tuple[Any, Any, str]] = [
    (backpropagation.gradcheck, torch.autograd.gradcheck, "eps rtol atol"),
    (
        memory.next_scale,
        torch.amp.GradScaler,
        "growth:growth_factor backoff:backoff_factor interval:growth_interval",
    ),
    (gradient_descent.rmsprop, optim.RMSprop, "beta:alpha eps"),
    (gradient_descent.adam, optim.Adam, "lr betas eps"),
    (gradient_descent.adam_, optim.Adam, "lr betas eps decay:weight_decay"),
    (gradient_descent.adamw, optim.AdamW, "lr betas eps decay:weight_decay"),
    (
        gradient_descent.muon,
        optim.Muon,
        "lr beta:momentum decay:weight_decay steps:ns_steps",
    ),
    (
        generalization.wilson_interval,
        type(binomtest(1, 2)).proportion_ci,
        "confidence:confidence_level",
    ),
    (losses.cross_entropy, F.cross_entropy, "smoothing:label_smoothing"),
    (losses.multiclass_hinge, F.multi_margin_loss, "margin"),
    (metric_learning.triplet, F.triplet_margin_loss, "margin"),
    (convolution.windows, nn.Unfold, "stride padding dilation"),
    (convolution.conv2d, nn.Conv2d, "stride padding dilation groups"),
    (convolution.conv2d_matrix, nn.Conv2d, "stride padding dilation"),
    (convolution.output_size, nn.Conv2d, "stride padding dilation"),
    (convolution.parameter_count, nn.Conv2d, "groups bias"),
    (convolution.Conv2d, nn.Conv2d, "stride padding dilation groups bias"),
    (convolution.causal_conv1d, nn.Conv1d, "dilation groups"),
    (convolution.causal_conv1d_step, nn.Conv1d, "dilation groups"),
    (
        convolution.conv_transpose2d,
        nn.ConvTranspose2d,
        "stride padding dilation groups extra:output_padding",
    ),
    (
        convolution.transposed_size,
        nn.ConvTranspose2d,
        "stride padding dilation extra:output_padding",
    ),
    (convolution.max_pool2d, nn.MaxPool2d, "stride padding"),
    (convolution.average_pool2d, nn.AvgPool2d, "stride padding"),
    (normalization.leaky_relu, F.leaky_relu, "slope:negative_slope"),
    (normalization.elu, F.elu, "alpha"),
    (normalization.dropout, F.dropout, "p training"),
    (normalization.alpha_dropout, F.alpha_dropout, "p"),
    (normalization.layer_norm, F.layer_norm, "eps"),
    (normalization.group_norm, F.group_norm, "eps"),
    (normalization.instance_norm, F.instance_norm, "eps"),
    (normalization.batch_norm, F.batch_norm, "eps"),
    (normalization.LayerNorm, nn.LayerNorm, "eps"),
    (normalization.GroupNorm, nn.GroupNorm, "eps"),
    (normalization.BatchNorm, nn.BatchNorm2d, "eps momentum"),
    (attention.MultiHeadAttention, nn.MultiheadAttention, "bias"),
    (transformer.EncoderLayer, nn.TransformerEncoderLayer, "norm_first"),
    (transformer.DecoderLayer, nn.TransformerDecoderLayer, "norm_first"),
]

# The default with which an argument changes nothing, by its name.
NEUTRAL = {
    **dict.fromkeys(("factor", "gain", "read", "scale", "shrink", "strength"), 1.0),
    **dict.fromkeys(("idempotence", "temperature", "tightness", "top_p"), 1.0),
    **dict.fromkeys(("variance", "weight", "write"), 1.0),
    **dict.fromkeys(("dilation", "group", "groups", "launches", "stride"), 1),
    **dict.fromkeys(("center", "dropout", "error", "eta", "forget", "launch"), 0.0),
    **dict.fromkeys(("lr_min", "mean", "min_p", "penalty", "shrinkage"), 0.0),
    **dict.fromkeys(("smoothing", "start", "value", "weight_decay"), 0.0),
    **dict.fromkeys(("extra", "offset", "padding"), 0),
    **dict.fromkeys(("alternating", "causal", "hard", "input_gradient"), False),
    **dict.fromkeys(("lookahead", "norm_first", "proper"), False),
}
OTHERS = {
    ("GPT", "causal"): "a language model must not look ahead",
    ("Block", "causal"): "a language model must not look ahead",
    ("CausalConvolution", "causal"): "its name says so",
    ("ScaledResidual", "scale"): "ReZero: the whole block begins as the identity",
    ("cosine_betas", "offset"): "the paper's",
    ("distillation", "temperature"): "its purpose is to soften",
    ("generalized_bilinear", "weight"): "1/2 is the bilinear rule",
    ("info_nce", "temperature"): "cosines lie within [-1, 1]",
    ("jelinek_mercer", "weight"): "between two models there is no neutral one",
    ("lognormal_sigmas", "mean"): "the paper's",
    ("margin_softmax_loss", "temperature"): "cosines lie within [-1, 1]",
    ("nt_xent", "temperature"): "cosines lie within [-1, 1]",
}
NUMBERS = [
    pytest.param(name, default, id=f"{thing.__name__}-{name}")
    for module in topic_modules()
    for _, thing in public(module)
    if inspect.isfunction(thing) or "__init__" in vars(thing)
    for name, default in defaults(thing).items()
    if name in NEUTRAL
    and isinstance(default, bool | int | float)
    and (thing.__name__, name) not in OTHERS
]


@pytest.mark.parametrize(("name", "default"), NUMBERS)
def test_what_can_change_nothing_does_so_by_default(name: str, default: Any):
    assert default == NEUTRAL[name]


@pytest.mark.parametrize(("fast", "plain"), FAST)
def test_a_fast_function_has_the_defaults_of_the_plain_one(fast: Any, plain: Any):
    ours, due = defaults(fast), defaults(plain)
    shared = ours.keys() & due.keys()
    assert {n: ours[n] for n in shared} == {n: due[n] for n in shared}


@pytest.mark.parametrize(
    ("ours", "theirs", "names"), PEERS, ids=[ours.__name__ for ours, *_ in PEERS]
)
def test_a_default_is_that_of_the_library_that_users_know(
    ours: Any, theirs: Any, names: str
):
    pairs = [(name.split(":")[0], name.split(":")[-1]) for name in names.split()]
    found, due = defaults(ours), defaults(theirs)
    assert {a: found[a] for a, _ in pairs} == {a: due[b] for a, b in pairs}
