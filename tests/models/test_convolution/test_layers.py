"""Convolutions against torch's: forward and gradients, odd sizes and strides, transposed, causal, sample by sample."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.convolution import (
    causal_conv1d,
    causal_conv1d_step,
    conv2d,
    conv_transpose2d,
    fast_conv2d,
    fast_conv_transpose2d,
    windows,
)

# stride, padding, dilation, groups, kernel, image
SETTINGS = [
    (1, 0, 1, 1, (3, 3), (7, 9)),
    (2, 1, 1, 1, (3, 3), (7, 9)),
    (3, 2, 1, 2, (3, 2), (8, 7)),
    (1, 1, 2, 1, (3, 3), (6, 7)),
    ((2, 3), (2, 1), (1, 2), 4, (3, 2), (9, 10)),
    (2, 0, 1, 4, (1, 1), (5, 4)),
    (1, 2, 1, 2, (5, 4), (5, 4)),
    (5, 4, 3, 1, (2, 5), (11, 13)),
]
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)
both = pytest.mark.parametrize("convolve", [conv2d, fast_conv2d])
both_transposed = pytest.mark.parametrize(
    "convolve", [conv_transpose2d, fast_conv_transpose2d]
)


def draw(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=chance)


def tensors(setting, device="cpu", dtype=torch.float64):
    """x (2, 4, H, W), weight (8, 4 / G, F, F), bias (8,)."""
    *_, groups, kernel, image = setting
    shapes = [(2, 4, *image), (8, 4 // groups, *kernel), (8,)]
    drawn = [draw(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]
    return [x.to(device).requires_grad_() for x in drawn]


def gradients(
    y: torch.Tensor, inputs: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(y, inputs, draw(*y.shape, seed=9).to(y))


def assert_same(actual, expected, tolerance: float = 1e-12) -> None:
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@both
@each_setting
def test_forward_and_gradients_are_torchs(convolve, setting, device) -> None:
    inputs = tensors(setting, device)
    y, expected = convolve(*inputs, *setting[:4]), F.conv2d(*inputs, *setting[:4])
    assert_same([y], [expected])
    assert_same(gradients(y, inputs), gradients(expected, inputs))


@both
def test_single_precision_agrees_to_a_millionth(convolve) -> None:
    for setting in SETTINGS:
        inputs = tensors(setting, dtype=torch.float32)
        y, expected = (
            convolve(*inputs, *setting[:4]),
            F.conv2d(*inputs, *setting[:4]),
        )
        size = expected.abs().max()
        assert_same([y / size], [expected / size], 1e-6)
        for a, b in zip(
            gradients(y, inputs), gradients(expected, inputs), strict=True
        ):
            assert_same([a / b.abs().max()], [b / b.abs().max()], 1e-6)


@both
def test_leading_dimensions_are_a_batch(convolve) -> None:
    x, w = draw(3, 2, 4, 5, 6), draw(8, 4, 3, 3, seed=1)
    assert_same([convolve(x, w).flatten(0, 1)], [convolve(x.flatten(0, 1), w)])
    assert_same([convolve(x, w)[1, 1]], [convolve(x[1, 1], w)])
    assert convolve(x[:0], w).shape == (0, 2, 8, 3, 4)


def test_blocks_of_images_are_put_together_again(monkeypatch) -> None:
    monkeypatch.setattr("lbdl.models.convolution.layers.BLOCK", 1)
    x, w = torch.randn(2, 3, 4, 7, 6).double(), torch.randn(6, 2, 3, 2).double()
    x.requires_grad_(), w.requires_grad_()
    y = fast_conv2d(x, w, None, 2, 1, (1, 2), 2)
    peer = F.conv2d(x.flatten(0, 1), w, None, 2, 1, (1, 2), 2)
    torch.testing.assert_close(y.flatten(0, 1), peer)
    found, expected = (
        torch.autograd.grad(z.square().sum(), (x, w)) for z in (y, peer)
    )
    torch.testing.assert_close(found, expected)


@both
def test_without_a_bias(convolve) -> None:
    x, w = draw(4, 5, 6), draw(8, 4, 3, 3, seed=1)
    assert_same([convolve(x, w)], [F.conv2d(x, w)])


def test_the_derivatives_are_right_to_second_order(device) -> None:
    x, w, b = draw(1, 4, 4), draw(2, 1, 2, 3, seed=1), draw(2, seed=2)
    inputs = [t.to(device).requires_grad_() for t in (x, w, b)]
    assert torch.autograd.gradcheck(fast_conv2d, inputs)
    assert torch.autograd.gradgradcheck(fast_conv2d, inputs)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(convolve, dtype) -> None:
    x, w = draw(2, 4, 5, 6), draw(3, 4, 3, 3, seed=1)
    low = convolve(x.to(dtype), w.to(dtype))
    assert low.dtype == dtype
    slack = 30 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        low.double(), F.conv2d(x, w), rtol=slack, atol=slack * 3
    )


def test_windows_share_the_memory_of_the_image() -> None:
    x = draw(2, 6, 7)
    views = windows(x, 3, 2)
    assert views.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert views.shape == (2, 2, 3, 3, 3)
    assert_same([views[:, 1, 2]], [x[:, 2:5, 4:7]])


def test_windows_have_a_value_outside_and_steps_inside() -> None:
    x = draw(1, 4, 4)
    views = windows(x, 2, 1, 1, 3, value=7.0)  # the span of 4 on 6 rows: 3 places
    assert views.shape == (1, 3, 3, 2, 2)
    assert views[0, 0, 0].tolist() == [[7.0, 7.0], [7.0, x[0, 2, 2].item()]]


TRANSPOSED = [
    (1, 0, 1, 1, 0, (3, 3)),
    (2, 1, 1, 1, 1, (3, 3)),
    (3, 1, 1, 2, 2, (2, 4)),
    ((2, 3), (1, 2), (3, 1), 4, (2, 1), (3, 2)),
    (1, 2, 1, 2, 0, (3, 4)),
    (4, 0, 1, 1, 3, (2, 2)),
]


@both_transposed
@pytest.mark.parametrize("setting", TRANSPOSED, ids=str)
def test_the_transposed_convolution_is_torchs(convolve, setting, device) -> None:
    stride, padding, dilation, groups, extra, kernel = setting
    shapes = [(2, 8, 4, 3), (8, 4 // groups, *kernel), (4,)]
    inputs = [
        draw(*s, seed=i).to(device).requires_grad_() for i, s in enumerate(shapes)
    ]
    y = convolve(*inputs, stride, padding, dilation, groups, extra)
    expected = F.conv_transpose2d(*inputs, stride, padding, extra, groups, dilation)
    assert_same([y], [expected])
    assert_same(gradients(y, inputs), gradients(expected, inputs))


@both_transposed
@each_setting
def test_it_is_the_transpose(convolve, setting) -> None:
    """<g, conv(x)> = <conv_transpose(g), x>, for the extra that gives the size of x back."""
    stride, padding, dilation, groups, *_ = setting
    x, w, _ = tensors(setting)
    y = fast_conv2d(x, w, None, stride, padding, dilation, groups)
    g = draw(*y.shape, seed=5)
    extra = lost(setting)
    returned = convolve(g, w, None, stride, padding, dilation, groups, extra)
    assert returned.shape == x.shape
    torch.testing.assert_close((g * y).sum(), (returned * x).sum())


def pairs(*sizes):
    return [size if isinstance(size, tuple) else (size, size) for size in sizes]


def lost(setting) -> tuple[int, int]:
    """Rows and columns at the far ends that no window reaches."""
    stride, padding, dilation, _, kernel, image = setting
    S, P, D = pairs(stride, padding, dilation)
    return tuple(
        (n + 2 * p - d * (f - 1) - 1) % s
        for n, s, p, d, f in zip(image, S, P, D, kernel, strict=True)
    )


@pytest.mark.parametrize(("dilation", "groups"), list(product((1, 2, 3), (1, 2))))
def test_a_causal_convolution_is_a_padded_one_cut_off(dilation, groups) -> None:
    x, w, b = draw(2, 4, 11), draw(6, 4 // groups, 3, seed=1), draw(6, seed=2)
    y = causal_conv1d(x, w, b, dilation, groups)
    expected = F.conv1d(x, w, b, 1, 2 * dilation, dilation, groups)[..., :11]
    assert_same([y], [expected])


def test_a_causal_convolution_never_looks_ahead() -> None:
    x, w = draw(4, 11), draw(6, 4, 3, seed=1)
    later = x.clone()
    later[:, 7] += 1
    change = (
        causal_conv1d(later, w, dilation=2) - causal_conv1d(x, w, dilation=2)
    ).abs()
    assert (change[:, :7] == 0).all()
    assert (change[:, [7, 9]] > 0).all()
    assert (change[:, [8, 10]] == 0).all()


@pytest.mark.parametrize(("dilation", "groups"), list(product((1, 2, 3), (1, 2))))
def test_sample_by_sample_it_gives_the_same(dilation, groups) -> None:
    x, w, b = draw(2, 4, 11), draw(6, 4 // groups, 3, seed=1), draw(6, seed=2)
    buffer = x.new_zeros(2, 4, 2 * dilation)
    steps = []
    for t in range(11):
        before = buffer.clone()
        y, after = causal_conv1d_step(x[..., t], buffer, w, b, dilation, groups)
        assert torch.equal(buffer, before)
        steps.append(y)
        buffer = after
    assert_same(
        [torch.stack(steps, -1)], [causal_conv1d(x, w, b, dilation, groups)]
    )


X, W = draw(1, 4, 6, 6), draw(8, 4, 3, 3)


@pytest.mark.parametrize("convolve", [conv2d, fast_conv2d])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": [1.0]}, TypeError, "x must be a floating tensor"),
        ({"x": X.long()}, TypeError, "x must be a floating tensor"),
        ({"x": X.float()}, TypeError, "weight must have the dtype of x"),
        ({"x": X[0, 0]}, ValueError, "x must be"),
        ({"weight": W[0]}, ValueError, "weight must be"),
        ({"weight": W[:, :3]}, ValueError, "weight must be"),
        ({"bias": draw(7)}, ValueError, "bias must be"),
        ({"stride": 0}, ValueError, "stride must be a whole number >= 1"),
        ({"stride": 1.5}, TypeError, "stride must be a whole number"),
        ({"stride": (1, 2, 3)}, ValueError, "stride must be one number or two"),
        ({"padding": -1}, ValueError, "padding must be a whole number >= 0"),
        ({"dilation": 0}, ValueError, "dilation must be"),
        ({"dilation": 3}, ValueError, "kernel must fit"),
        ({"groups": 3}, ValueError, "groups must divide"),
        ({"groups": 2}, ValueError, "weight must be"),
    ],
)
def test_bad_input_is_refused_in_words(convolve, change, error, words) -> None:
    with pytest.raises(error, match=words):
        convolve(**({"x": X, "weight": W} | change))


@pytest.mark.parametrize("convolve", [conv_transpose2d, fast_conv_transpose2d])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": [1.0]}, TypeError, "x must be a floating tensor"),
        ({"weight": W.float()}, TypeError, "weight must have the dtype"),
        ({"weight": W[:3]}, ValueError, "weight must be"),
        ({"bias": draw(7)}, ValueError, "bias must be"),
        ({"extra": 1}, ValueError, "extra must be"),
        ({"padding": 4}, ValueError, "padding must leave"),
        ({"groups": 3}, ValueError, "groups must divide"),
    ],
)
def test_bad_input_of_the_transpose_is_refused(
    convolve, change, error, words
) -> None:
    x = draw(1, 8, 3, 3)
    with pytest.raises(error, match=words):
        convolve(**({"x": x, "weight": W} | change))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": X[0, 0, 0].long()}, TypeError, "x must be"),
        ({"buffer": draw(4, 3)}, ValueError, "buffer must be"),
        ({"buffer": draw(4, 2).float()}, TypeError, "buffer must have the dtype"),
        ({"dilation": 2.0}, TypeError, "dilation must be"),
        ({"weight": draw(6, 3, 3)}, ValueError, "weight must be"),
    ],
)
def test_bad_input_of_a_step_is_refused(change, error, words) -> None:
    fine = {"x": draw(4), "buffer": draw(4, 2), "weight": draw(6, 4, 3)}
    with pytest.raises(error, match=words):
        causal_conv1d_step(**(fine | change))
