"""Recurrent layers against torch's: forward, gradients, variable lengths; memory and cost by their formulas."""

import math

import pytest
import torch
from torch import nn

from lbdl.models.recurrent import (
    GRU,
    LSTM,
    RNN,
    CharacterModel,
    adding_problem,
    copy_problem,
    detached,
    fast_lstm,
    forget_bias,
    gru_step,
    half_life,
    lstm_step,
    recurrent_flops,
    recurrent_parameters,
    rnn_step,
)

LAYERS = {"RNN": (RNN, nn.RNN), "GRU": (GRU, nn.GRU), "LSTM": (LSTM, nn.LSTM)}
each_kind = pytest.mark.parametrize("kind", LAYERS)


def pair(kind: str, inputs: int = 5, hidden: int = 7, dtype=torch.float64):
    """Our layer and torch's, with the same weights."""
    torch.manual_seed(0)
    ours, theirs = LAYERS[kind]
    layer = theirs(inputs, hidden, batch_first=True).to(dtype)
    return ours(inputs, hidden).to(dtype).copy_from_torch(layer), layer


def sequences(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(dtype)


def gradients(
    result: torch.Tensor, layer: nn.Module, x: torch.Tensor
) -> list[torch.Tensor]:
    weights = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).view_as(
        result
    )
    found = torch.autograd.grad((result * weights).sum(), [x, *layer.parameters()])
    return list(found)


@each_kind
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)]
)
def test_a_layer_is_that_of_torch_forward_and_gradients(kind, dtype, atol):
    ours, theirs = pair(kind, dtype=dtype)
    x = sequences(3, 9, 5, dtype=dtype).requires_grad_()
    (found, state), (expected, last) = ours(x), theirs(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    states = zip(state, last, strict=True) if kind == "LSTM" else [(state, last)]
    for got, want in states:
        torch.testing.assert_close(got, want[0], rtol=0, atol=atol)
    for got, want in zip(
        gradients(found, ours, x), gradients(expected, theirs, x), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=20 * atol)


@each_kind
def test_sequences_of_different_lengths_are_those_that_torch_packs(kind):
    ours, theirs = pair(kind)
    x, lengths = sequences(4, 6, 5).requires_grad_(), torch.tensor([6, 1, 4, 3])
    packed = nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    expected, last = theirs(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    found, state = ours(x, lengths=lengths)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        ours.shown(state), (last[0] if kind == "LSTM" else last)[0]
    )
    for got, want in zip(
        gradients(found, ours, x), gradients(expected, theirs, x), strict=True
    ):
        torch.testing.assert_close(got, want)
    assert bool(
        (
            torch.autograd.grad(ours(x, lengths=lengths)[0].sum(), x)[0][1, 1:] == 0
        ).all()
    )


@each_kind
def test_a_state_carries_on(kind):
    layer, x = LAYERS[kind][0](3, 4).double(), sequences(2, 8, 3)
    whole, last = layer(x)
    first, state = layer(x[:, :5])
    second, end = layer(x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(layer.shown(end), layer.shown(last))


@each_kind
def test_a_detached_state_cuts_the_past_off(kind):
    layer, x = LAYERS[kind][0](3, 4).double(), sequences(2, 8, 3).requires_grad_()
    _, state = layer(x[:, :5])
    cut = layer(x[:, 5:], detached(state))[0]
    torch.testing.assert_close(cut, layer(x[:, 5:], state)[0])
    slopes = torch.autograd.grad(cut.sum(), x)[0].abs().amax((0, 2))
    assert bool((slopes[:5] == 0).all()) and bool((slopes[5:] > 0).all())
    assert detached(None) is None


def test_steps_have_the_gradients_of_finite_differences():
    h, c = sequences(2, 3).requires_grad_(), sequences(2, 3).cos().requires_grad_()
    for step, gates, states in (
        (rnn_step, 1, (h,)),
        (gru_step, 3, (h,)),
        (lstm_step, 4, (h, c)),
    ):
        from_x, weight = (
            sequences(2, gates * 3).requires_grad_(),
            sequences(gates * 3, 3).requires_grad_(),
        )
        bias = sequences(gates * 3).requires_grad_()
        assert torch.autograd.gradcheck(step, (from_x, *states, weight, bias))


def lstm_arguments(
    steps: int, batch: int = 2, units: int = 3
) -> list[torch.Tensor]:
    """From x, h, c, weight and bias of a walk along a sequence."""
    shapes = [(batch, steps, 4 * units), (batch, units), (batch, units)]
    shapes += [(4 * units, units), (4 * units,)]
    one = torch.Generator().manual_seed(2)
    return [
        torch.randn(s, generator=one, dtype=torch.float64, requires_grad=True)
        for s in shapes
    ]


def plain_lstm(from_x, h, c, weight, bias):
    """The loop that `fast_lstm` stands for."""
    shown = []
    for now in from_x.unbind(1):
        h, c = lstm_step(now, h, c, weight, bias)
        shown.append(h)
    return torch.stack(shown, 1), h, c


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("steps", [1, 6])
def test_a_walk_by_hand_is_the_loop_of_steps(steps, used):
    """Values, and the gradients of all arguments, whichever results are used."""
    arguments = lstm_arguments(steps)
    found, expected = fast_lstm(*arguments), plain_lstm(*arguments)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    slopes = [
        torch.autograd.grad(sum((results[k] ** 2).sum() for k in used), arguments)
        for results in (found, expected)
    ]
    for got, want in zip(*slopes, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


def test_a_walk_by_hand_has_the_gradients_of_finite_differences():
    assert torch.autograd.gradcheck(fast_lstm, lstm_arguments(4))


def test_a_walk_by_hand_takes_any_strides_and_leaves_its_arguments_alone():
    from_x, *others = [x.detach() for x in lstm_arguments(5)]
    turned = from_x.movedim(1, 0).contiguous().movedim(0, 1)
    before = [x.clone() for x in (turned, *others)]
    found, expected = fast_lstm(turned, *others), plain_lstm(from_x, *others)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want)
    for x, was in zip((turned, *others), before, strict=True):
        assert torch.equal(x, was)


def test_a_second_derivative_of_a_walk_by_hand_is_refused_and_the_steps_have_it():
    arguments = lstm_arguments(3)
    for walk, refuses in ((fast_lstm, True), (plain_lstm, False)):
        total = (walk(*arguments)[0] ** 2).sum()
        slope = torch.autograd.grad(total, arguments[0], create_graph=True)[0]
        if refuses:
            with pytest.raises(RuntimeError, match="once_differentiable"):
                slope.sum().backward()
        else:
            assert torch.autograd.grad(slope.sum(), arguments[3])[0].abs().max() > 0


def test_a_layer_within_transforms_walks_step_by_step():
    """There the walk by hand cannot go; first derivatives are the same."""
    layer, x = LSTM(3, 4).double(), sequences(2, 5, 3)
    by_transform = torch.func.jacrev(lambda x: layer(x)[0].sum(1))(x)
    by_autograd = torch.autograd.functional.jacobian(
        lambda x: layer(x)[0].sum(1), x
    )
    torch.testing.assert_close(by_transform, by_autograd)


def test_gates_at_their_limits():
    """A forget gate of 1 and an input gate of 0 keep the cell; a GRU's z of 1 keeps the state."""
    h, c, far = sequences(2, 3), sequences(2, 3).cos(), 1e3
    blocks = [-far, far, 0.0, far]
    from_x = torch.cat(
        [torch.full((2, 3), b, dtype=torch.float64) for b in blocks], -1
    )
    shown, cell = lstm_step(
        from_x, h, c, torch.zeros(12, 3).double(), torch.zeros(12).double()
    )
    torch.testing.assert_close(cell, c, rtol=0, atol=0)
    torch.testing.assert_close(shown, c.tanh(), rtol=0, atol=0)
    from_x = torch.cat(
        [torch.full((2, 3), b, dtype=torch.float64) for b in (0.0, far, 0.0)], -1
    )
    torch.testing.assert_close(
        gru_step(from_x, h, torch.zeros(9, 3).double(), torch.zeros(9).double()),
        h,
        rtol=0,
        atol=0,
    )


@each_kind
def test_weights_start_within_the_range_of_torch(kind):
    """Uniform within 1 / sqrt(H): all of 4096 stay inside, and come near both ends."""
    torch.manual_seed(0)
    ours, theirs = LAYERS[kind][0](64, 64), LAYERS[kind][1](64, 64)
    for name in ("weight_ih", "weight_hh"):
        for weight in (getattr(ours, name), getattr(theirs, f"{name}_l0")):
            assert float(weight.detach().abs().max()) <= 1 / 8
            assert float(weight.detach().max()) > 0.99 / 8
            assert float(weight.detach().min()) < -0.99 / 8


@each_kind
def test_parameters_are_counted(kind):
    count = recurrent_parameters(kind, 5, 7)
    assert count == {"RNN": 98, "GRU": 294, "LSTM": 392}[kind]
    for layer in (LAYERS[kind][0](5, 7), LAYERS[kind][1](5, 7)):
        assert sum(p.numel() for p in layer.parameters()) == count


@each_kind
def test_operations_are_those_that_torch_counts(kind):
    from torch.utils.flop_counter import FlopCounterMode

    layer = LAYERS[kind][0](5, 7)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(1, 6, 5))
    assert counter.get_total_flops() == recurrent_flops(kind, 6, 5, 7)


def test_half_lives():
    assert half_life(0.99) == pytest.approx(68.97, abs=0.01)
    for steps in (0.5, 1, 10, 1e4, 1e9):
        gate = 1 / (1 + math.exp(-forget_bias(steps)))
        assert half_life(gate) == pytest.approx(steps, rel=1e-5)
    assert forget_bias(1) == pytest.approx(0, abs=1e-15)
    assert forget_bias(1e-6) == pytest.approx(-1e6 * math.log(2))  # no overflow


def test_a_forget_bias_keeps_half_of_a_cell_so_long():
    torch.manual_seed(0)
    layer = LSTM(1, 4).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.bias_ih[4:8] = forget_bias(20)
    cell = torch.ones(1, 4, dtype=torch.float64)
    _, (_, after) = layer(torch.zeros(1, 20, 1, dtype=torch.float64), (cell, cell))
    torch.testing.assert_close(after, cell / 2)
    biased, plain = LSTM(1, 4, forget=3.0), LSTM(1, 4)
    assert float(
        (biased.bias_ih[4:8] - plain.bias_ih[4:8]).detach().mean()
    ) == pytest.approx(3, abs=1)


@each_kind
def test_a_language_model_gives_logits_and_goes_on_token_by_token(kind):
    model, tokens = CharacterModel(11, 4, 6, kind), torch.randint(11, (2, 7))
    logits, _ = model(tokens)
    assert logits.shape == (2, 7, 11)
    state, found = None, []
    for token in tokens.unbind(1):
        one, state = model(token[:, None], state)
        found.append(one)
    torch.testing.assert_close(torch.cat(found, 1), logits)


def test_the_adding_problem():
    x, y = adding_problem(2000, 9, torch.Generator().manual_seed(0))
    numbers, marks = x.unbind(-1)
    assert bool((marks.sum(-1) == 2).all()) and bool(
        (marks[:, :4].sum(-1) == 1).all()
    )
    torch.testing.assert_close((numbers * marks).sum(-1, True), y)
    assert float((y - 1).square().mean()) == pytest.approx(1 / 6, rel=0.1)


def test_the_copy_problem():
    x, y = copy_problem(3, 5, 4, 2, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (3, 9)
    assert torch.equal(y[:, -2:], x[:, :2]) and bool((y[:, :-2] == 0).all())
    assert (
        x[:, 6].tolist() == [5] * 3
        and bool((x[:, 2:6] == 0).all())
        and bool((x[:, 7:] == 0).all())
    )
    assert bool(((x[:, :2] >= 1) & (x[:, :2] <= 4)).all())


def test_refusals():
    layer = RNN(3, 4)
    with pytest.raises(ValueError, match=r"x must be \(B, T, 3\)"):
        layer(torch.randn(2, 5, 4))
    with pytest.raises(ValueError, match="lengths must be >= 1 and <= 5"):
        layer(torch.randn(2, 5, 3), lengths=torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="kind must be one of RNN, GRU, LSTM"):
        CharacterModel(3, 3, 3, "lstm")
    with pytest.raises(ValueError, match="forget must be finite and > 0 and < 1"):
        half_life(1.0)


@pytest.mark.parametrize(
    ("step", "gates", "states"),
    [(rnn_step, 1, 1), (gru_step, 3, 1), (lstm_step, 4, 2)],
)
def test_a_step_refuses_inputs_without_a_row_for_each_gate_and_unit(
    step, gates, states
):
    rows = 3 * gates + 3  # one block too many, everywhere
    h = [torch.zeros(2, 3)] * states
    with pytest.raises(ValueError, match=rf"from_x must be \(B, {3 * gates}\)"):
        step(torch.zeros(2, rows), *h, torch.zeros(rows, 3), torch.zeros(rows))
