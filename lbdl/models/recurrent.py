"""Recurrent networks: one step at a time, with a state that is all they remember.

A plain recurrent network mixes its state anew at every step. An LSTM adds a cell
that keeps what its forget gate lets it keep; a GRU does the same with one state. A
layer of each is given as a step, which is the text, and as a module that takes
whole sequences of different lengths.

Elman 1990, "Finding structure in time"; Hochreiter & Schmidhuber 1997, "Long
short-term memory"; Gers, Schmidhuber & Cummins 2000 (the forget gate); Cho et al.
2014, arXiv:1406.1078 (the GRU).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from lbdl import require

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CharacterModel",
    "adding_problem",
    "copy_problem",
    "detached",
    "fast_lstm",
    "forget_bias",
    "gru_step",
    "half_life",
    "lstm_step",
    "recurrent_flops",
    "recurrent_parameters",
    "rnn_step",
]

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}  # blocks of rows in the matrices of a layer


# --- One step
# -------------------------------------------------------------------------


def rnn_step(from_x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One step of a plain recurrent network.

        h <- tanh(W x + a + U h + b)

    Args:
        from_x: what the input says, W x + a (B, H), floating dtype.
        h: the state (B, H), dtype of `from_x`.
        weight: U (H, H).
        bias: b (H,).

    Returns:
        The new state (B, H).

    Raises:
        TypeError: not floating tensors of one dtype.
        ValueError: shapes do not fit.

    Source: Elman 1990.
    """
    require_step(from_x, h, weight, bias, 1)
    return (from_x + h @ weight.T + bias).tanh()


def lstm_step(
    from_x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: gates between 0 and 1 decide what is written, kept,
    shown.

        i, f, g, o = blocks of W x + a + U h + b
        c <- s(f) c + s(i) tanh(g),   h <- s(o) tanh(c),   s the sigmoid

    Args:
        from_x: what the input says, W x + a (B, 4 H), floating dtype.
        h: what was shown (B, H), dtype of `from_x`.
        c: the cell (B, H), dtype of `from_x`.
        weight: U (4 H, H), blocks in the order i, f, g, o.
        bias: b (4 H,).

    Returns:
        The new h and c (B, H).

    Raises:
        TypeError: not floating tensors of one dtype.
        ValueError: shapes do not fit.

    Source: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000.
    """
    require_step(from_x, h, weight, bias, 4)
    require.matching(h=h, c=c)
    i, f, g, o = (from_x + h @ weight.T + bias).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(from_x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One step of a GRU: a mean of the old state and of a new one, which may have
    looked at the old one in part.

        r, z, n = blocks of W x + a;   r', z', n' = blocks of U h + b
        r = s(r + r'),   z = s(z + z'),   n = tanh(n + r n'),   h <- z h + (1 - z) n

    Args:
        from_x: what the input says, W x + a (B, 3 H), floating dtype.
        h: the state (B, H), dtype of `from_x`.
        weight: U (3 H, H), blocks in the order r, z, n.
        bias: b (3 H,).

    Returns:
        The new state (B, H).

    Raises:
        TypeError: not floating tensors of one dtype.
        ValueError: shapes do not fit.

    Source: Cho et al. 2014, arXiv:1406.1078, in the form of `torch.nn.GRU`, where r
        acts after the matrix.
    """
    require_step(from_x, h, weight, bias, 3)
    (r, z, n), (r2, z2, n2) = (
        from_x.chunk(3, -1),
        (h @ weight.T + bias).chunk(3, -1),
    )
    n = (n + (r + r2).sigmoid() * n2).tanh()
    return torch.lerp(n, h, (z + z2).sigmoid())


# --- A whole sequence
# ---------------------------------------------------------------------


def fast_lstm(
    from_x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`lstm_step` along a sequence, with the way back written by hand: of it only
    what must wait for the step behind is done step by step.

    With gates i, f, g, o after sigmoid and tanh, and d for the gradient of what is
    called after it:

        dh_t = d shown_t + U^T da_{t+1}
        dc_t = f_{t+1} dc_{t+1} + dh_t o_t (1 - tanh^2 c_t)
        da_t = (dc_t g_t i_t (1 - i_t), dc_t c_{t-1} f_t (1 - f_t),
                dc_t i_t (1 - g_t^2), dh_t tanh(c_t) o_t (1 - o_t))
        dU = sum_t da_t h_{t-1}^T,   db = sum_t da_t

    No `torch.func`: the way back is written by hand, once. No `torch.compile`: it
    loops over steps.

    Args:
        from_x: what the input says at every step, W x + a (B, T, 4 H), floating
            dtype.
        h: what was shown (B, H), dtype of `from_x`.
        c: the cell (B, H), dtype of `from_x`.
        weight: U (4 H, H), blocks in the order i, f, g, o.
        bias: b (4 H,).

    Returns:
        What was shown after every step (B, T, H), and the last h and c (B, H).

    Raises:
        TypeError: not floating tensors of one dtype.
        ValueError: shapes do not fit.

    Source: Gers, Schmidhuber & Cummins 2000; the chain rule.
    """
    require_step(from_x, h, weight, bias, 4, along="B T")
    require.matching(h=h, c=c)
    return WalkedLSTM.apply(from_x, h, c, weight, bias)


class WalkedLSTM(torch.autograd.Function):
    """All that an LSTM shows, and its last state."""

    @staticmethod
    def forward(
        ctx: Any, from_x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gates, hs, cs = walk_lstm(from_x + bias, h, c, weight)
        ctx.save_for_backward(gates, hs, cs, weight)
        return hs[1:].movedim(0, 1), hs[-1].clone(), cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_shown: Tensor, to_h: Tensor, to_c: Tensor
    ) -> tuple[Tensor, ...]:
        gates, hs, cs, weight = ctx.saved_tensors
        to_a, to_h, to_c = walk_back(
            gates, cs, weight, to_shown, to_h.clone(), to_c.clone()
        )
        flat = to_a.flatten(0, 1)
        to_weight = flat.T @ hs[:-1].flatten(0, 1)
        return to_a.movedim(0, 1), to_h, to_c, to_weight, flat.sum(0)


def walk_lstm(
    a: Tensor, h: Tensor, c: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates (T, B, 4 H), and h and c before and after every step (T + 1, B, H)."""
    gates = a.movedim(1, 0).contiguous()
    hs, cs = (x.new_empty(len(gates) + 1, *x.shape) for x in (h, c))
    hs[0], cs[0] = h, c
    shown, cell = torch.empty_like(h), cs.unbind()
    parts = zip(gates.unbind(), *blocks(gates), strict=True)
    for t, (now, i, f, g, o) in enumerate(parts):
        torch.addmm(now, hs[t], weight.T, out=now)
        for gate in (i, f, o):
            gate.sigmoid_()
        torch.mul(f, cell[t], out=cell[t + 1]).addcmul_(i, g.tanh_())
        torch.mul(o, torch.tanh(cell[t + 1], out=shown), out=hs[t + 1])
    return gates, hs, cs


def walk_back(
    gates: Tensor, cs: Tensor, weight: Tensor, to_shown: Tensor, to_h: Tensor,
    to_c: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of all a (T, B, 4 H), and of the h and c before the first step; the
    gradients of the last h and c are written over."""
    to_a, through = slopes_of_lstm(gates, cs)
    steps = zip(
        to_a.unbind(), through.unbind(), *blocks(to_a), blocks(gates)[1],
        to_shown.unbind(1), strict=True,
    )  # fmt: skip
    for now, tanh, i, f, g, o, kept, shown in reversed(list(steps)):
        to_c.addcmul_(to_h.add_(shown), tanh)
        for gate in (i, f, g):
            gate.mul_(to_c)
        o.mul_(to_h)
        torch.mm(now, weight, out=to_h)
        to_c.mul_(kept)
    return to_a, to_h, to_c


def slopes_of_lstm(gates: Tensor, cs: Tensor) -> tuple[Tensor, Tensor]:
    """By how much c (h, for the last block) changes with a, (T, B, 4 H), and h with
    c, (T, B, H): for all steps at once."""
    i, f, g, o = gates.chunk(4, -1)
    shown = cs[1:].tanh()
    slopes = [
        g * (i - i * i),
        cs[:-1] * (f - f * f),
        i * (1 - g * g),
        shown * (o - o * o),
    ]
    return torch.cat(slopes, -1), o * (1 - shown * shown)


def blocks(gates: Tensor) -> list[tuple[Tensor, ...]]:
    """For each of four gates, its part (B, H) at every step."""
    return [gate.unbind() for gate in gates.chunk(4, -1)]


# --- Layers
# ---------------------------------------------------------------------------


class Recurrent(nn.Module):
    """What the three layers share: weights, and the walk along a sequence."""

    kind = ""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        require.whole(inputs=inputs, hidden=hidden, least=1)
        rows, reach = GATES[self.kind] * hidden, hidden**-0.5
        self.inputs, self.hidden = inputs, hidden

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-reach, reach))

        self.weight_ih, self.weight_hh = (
            uniform(rows, inputs),
            uniform(rows, hidden),
        )
        self.bias_ih, self.bias_hh = uniform(rows), uniform(rows)

    def step(self, from_x: Tensor, state: Any) -> Any:
        """The next state."""
        raise NotImplementedError

    def start(self, x: Tensor) -> Any:
        """The state before the first step: zeros."""
        return x.new_zeros(len(x), self.hidden)

    def shown(self, state: Any) -> Tensor:
        """What a state shows to the outside (B, H)."""
        return state

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Sequences x (B, T, d) to what was shown after every step (B, T, H), and
        the last state. Where a row is shorter than T, by `lengths` int64 (B,), its
        state stands still after its end, and zeros are shown."""
        require.floating(x=x)
        require.shapes(x=(x, f"B T {self.inputs}"))
        state = self.start(x) if state is None else state
        goes_on = None if lengths is None else require_lengths(lengths, x)
        from_x = nn.functional.linear(
            x, self.weight_ih, self.bias_ih
        )  # all at once
        if goes_on is None:
            return self.walk(from_x, state)
        result, state = self.walk(from_x, state, goes_on)
        return result * goes_on.movedim(0, 1), state

    def walk(
        self, from_x: Tensor, state: Any, goes_on: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """What is shown after every step (B, T, H), and the last state."""
        shown = []
        for t, now in enumerate(from_x.unbind(1)):
            new = self.step(now, state)
            state = new if goes_on is None else kept(goes_on[t], new, state)
            shown.append(self.shown(state))
        return torch.stack(shown, 1), state

    def copy_from_torch(self, layer: nn.RNNBase) -> "Recurrent":
        """Takes over the weights of torch's layer, its first and forward one."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        with torch.no_grad():
            for name in names:
                getattr(self, name).copy_(getattr(layer, f"{name}_l0"))
        return self


class RNN(Recurrent):
    """A layer of `rnn_step`s.

        h_t = tanh(W x_t + a + U h_{t-1} + b)

    Called with x (B, T, d), a state and lengths, it gives all h (B, T, H) and the
    last state (B, H). Weights start uniform within 1 / sqrt(H), as torch's do.

    Args:
        inputs: d >= 1.
        hidden: H >= 1.

    Raises:
        TypeError: a size is no whole number; called with the wrong kind of thing.
        ValueError: a size is below 1; called with shapes that do not fit.

    Source: Elman 1990.
    """

    kind = "RNN"

    def step(self, from_x: Tensor, state: Tensor) -> Tensor:
        return rnn_step(from_x, state, self.weight_hh, self.bias_hh)


class GRU(Recurrent):
    """A layer of `gru_step`s.

        h_t = z_t h_{t-1} + (1 - z_t) n_t

    Called with x (B, T, d), a state and lengths, it gives all h (B, T, H) and the
    last state (B, H). Weights start uniform within 1 / sqrt(H), as torch's do.

    Args:
        inputs: d >= 1.
        hidden: H >= 1.

    Raises:
        TypeError: a size is no whole number; called with the wrong kind of thing.
        ValueError: a size is below 1; called with shapes that do not fit.

    Source: Cho et al. 2014, arXiv:1406.1078.
    """

    kind = "GRU"

    def step(self, from_x: Tensor, state: Tensor) -> Tensor:
        return gru_step(from_x, state, self.weight_hh, self.bias_hh)


class LSTM(Recurrent):
    """A layer of `lstm_step`s.

        c_t = f_t c_{t-1} + i_t g_t,   h_t = o_t tanh(c_t)

    Called with x (B, T, d), a state and lengths, it gives all h (B, T, H) and the
    last state, a pair h, c (B, H). Weights start uniform within 1 / sqrt(H), as
    torch's do. Without lengths it is `fast_lstm`, which has first derivatives only.

    Args:
        inputs: d >= 1.
        hidden: H >= 1.
        forget: what is added to the bias of the forget gate at the start; see
            `forget_bias`.

    Raises:
        TypeError: a size is no whole number, or `forget` no number; called with the
            wrong kind of thing.
        ValueError: a size is below 1, or `forget` not finite; called with shapes
            that do not fit.

    Source: Hochreiter & Schmidhuber 1997; the bias: Jozefowicz, Zaremba & Sutskever
    2015.
    """

    kind = "LSTM"

    def __init__(self, inputs: int, hidden: int, forget: float = 0.0) -> None:
        super().__init__(inputs, hidden)
        require.number(forget=forget)
        with torch.no_grad():
            self.bias_ih[hidden : 2 * hidden] += forget

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        zeros = x.new_zeros(len(x), self.hidden)
        return zeros, zeros

    def shown(self, state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0]

    def step(
        self, from_x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        return lstm_step(from_x, *state, self.weight_hh, self.bias_hh)

    def walk(
        self, from_x: Tensor, state: Any, goes_on: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        h, c = state
        if goes_on is not None or not require.visible(from_x, h, c):
            return super().walk(from_x, state, goes_on)
        shown, h, c = fast_lstm(from_x, h, c, self.weight_hh, self.bias_hh)
        return shown, (h, c)


LAYERS: dict[str, Callable[[int, int], Recurrent]] = {
    "RNN": RNN,
    "GRU": GRU,
    "LSTM": LSTM,
}


def kept(goes_on: Tensor, new: Any, old: Any) -> Any:
    """The new state in the rows that go on (B, 1), the old one in those that
    ended.
    """
    if isinstance(new, Tensor):
        return torch.where(goes_on, new, old)
    return tuple(torch.where(goes_on, a, b) for a, b in zip(new, old, strict=True))


def detached(state: Any) -> Any:
    """A state without its past: gradients do not flow further back (truncated
    backpropagation through time).

    Args:
        state: tensors of any shape and dtype, or tuples or lists of such, or None.

    Returns:
        The same numbers, cut off.

    Raises:
        TypeError: a part is none of these.

    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line
        training of recurrent network trajectories".
    """
    if state is None:
        return None
    if isinstance(state, tuple | list):
        return tuple(detached(part) for part in state)
    require.tensor(state=state)
    return state.detach()


class CharacterModel(nn.Module):
    """A recurrent language model: vectors of tokens, one layer, a readout.

        logits_t = V h_t + c,   h_t from the vectors of tokens 1 to t

    Args:
        vocabulary: K >= 1.
        width: of the vectors, >= 1.
        hidden: H >= 1.
        kind: "RNN", "GRU" or "LSTM".

    Raises:
        TypeError: a size is no whole number; called with tokens that are not int64.
        ValueError: a size is below 1, or `kind` another name; called with tokens
            that are not (B, T).

    Source: Mikolov et al. 2010, "Recurrent neural network based language model".
    """

    def __init__(
        self, vocabulary: int, width: int, hidden: int, kind: str = "LSTM"
    ) -> None:
        super().__init__()
        require.whole(vocabulary=vocabulary, width=width, hidden=hidden, least=1)
        require.choice(tuple(LAYERS), kind=kind)
        self.embedding = nn.Embedding(vocabulary, width)
        self.layer = LAYERS[kind](width, hidden)
        self.readout = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, T, K) for tokens (B, T), int64, and the state after the
        last.
        """
        require.integer(tokens=tokens)
        require.shapes(tokens=(tokens, "B T"))
        shown, state = self.layer(self.embedding(tokens), state)
        return self.readout(shown), state


# --- How long it remembers, and what it costs
# -----------------------------------------


def half_life(forget: float) -> float:
    """After how many steps half of a cell is left, if the forget gate stands still.

        f^t = 1/2,   t = log 2 / -log f

    Args:
        forget: f, what the gate lets through, in (0, 1), a number.

    Returns:
        The number of steps.

    Raises:
        TypeError: `forget` is no number.
        ValueError: `forget` is not in (0, 1).
    """
    require.number(forget=forget, above=0, below=1)
    return math.log(2) / -math.log(forget)


def forget_bias(steps: float) -> float:
    """The bias of a forget gate that keeps half of a cell for so many steps.

        s(b) = 2^(-1/t),   b = -log(2^(1/t) - 1)

    Args:
        steps: t > 0, a number.

    Returns:
        b.

    Raises:
        TypeError: `steps` is no number.
        ValueError: `steps` is not above 0, or not finite.

    Source: Gers, Schmidhuber & Cummins 2000 start it above 0; Tallec & Ollivier
        2018, arXiv:1804.11188, from the times that are to be bridged.
    """
    require.number(steps=steps, above=0)
    a = math.log(2) / steps
    return -a - math.log(-math.expm1(-a))  # log(e^a - 1), where e^a would overflow


def recurrent_parameters(kind: str, inputs: int, hidden: int) -> int:
    """The number of weights and biases of a layer with two biases, as torch's has.

        G (H d + H^2 + 2 H),   G = 1 for an RNN, 3 for a GRU, 4 for an LSTM

    Args:
        kind: "RNN", "GRU" or "LSTM".
        inputs: d, a number >= 1.
        hidden: H, a number >= 1.

    Returns:
        The number.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1, or `kind` another name.
    """
    require.choice(tuple(GATES), kind=kind)
    require.whole(inputs=inputs, hidden=hidden, least=1)
    return GATES[kind] * (hidden * inputs + hidden**2 + 2 * hidden)


def recurrent_flops(kind: str, length: int, inputs: int, hidden: int) -> int:
    """Floating-point operations of the matrix products along a sequence; a
    multiplication and an addition are two.

        2 G T (H d + H^2)

    The second part can only be done step after step.

    Args:
        kind: "RNN", "GRU" or "LSTM".
        length: T, a number >= 1.
        inputs: d, a number >= 1.
        hidden: H, a number >= 1.

    Returns:
        The number.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1, or `kind` another name.
    """
    require.choice(tuple(GATES), kind=kind)
    require.whole(length=length, inputs=inputs, hidden=hidden, least=1)
    return 2 * GATES[kind] * length * (hidden * inputs + hidden**2)


# --- Tasks that need memory
# -----------------------------------------------------------


def adding_problem(
    examples: int, length: int, generator: Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Add the two marked numbers of a long list.

        x_t = (number from [0, 1), mark),   y = the sum of the two marked numbers

    One mark stands in the first half, one in the second. Who always says 1 has the
    mean squared error 1/6.

    Args:
        examples: n >= 1.
        length: T >= 2.
        generator: draws the numbers; by default torch's.

    Returns:
        x (n, T, 2) and y (n, 1).

    Raises:
        TypeError: a size is no whole number, or `generator` no generator.
        ValueError: a size is too small.

    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Le, Jaitly &
        Hinton 2015, arXiv:1504.00941.
    """
    require.whole(examples=examples, least=1)
    require.whole(length=length, least=2)
    require.generator(generator=generator)
    numbers = torch.rand(examples, length, generator=generator)
    half = length // 2
    first = torch.randint(half, (examples, 1), generator=generator)
    second = torch.randint(half, length, (examples, 1), generator=generator)
    places = torch.cat([first, second], -1)
    marks = torch.zeros_like(numbers).scatter_(-1, places, 1.0)
    return torch.stack([numbers, marks], -1), numbers.gather(-1, places).sum(
        -1, True
    )


def copy_problem(
    examples: int,
    lag: int,
    symbols: int = 8,
    copied: int = 10,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Say again, after a pause, what was said.

        x = s_1 ... s_k, lag - 1 blanks, "now", k blanks
        y = lag + k blanks, s_1 ... s_k

    A blank is class 0, the symbols are 1 to `symbols`, "now" is `symbols` + 1.
    Without memory the best cross-entropy, a mean over all places, is k log(symbols)
    / (lag + 2 k).

    Args:
        examples: n >= 1.
        lag: >= 1.
        symbols: how many there are, >= 1.
        copied: k >= 1.
        generator: draws the symbols; by default torch's.

    Returns:
        x and y, int64 (n, lag + 2 k).

    Raises:
        TypeError: a size is no whole number, or `generator` no generator.
        ValueError: a size is below 1.

    Source: Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio
        2016, arXiv:1511.06464.
    """
    require.whole(
        examples=examples, lag=lag, symbols=symbols, copied=copied, least=1
    )
    require.generator(generator=generator)
    shape = (examples, copied)
    said = torch.randint(1, symbols + 1, shape, generator=generator)
    blanks = torch.zeros(examples, lag + copied, dtype=torch.int64)
    x, y = torch.cat([said, blanks], -1), torch.cat([blanks, said], -1)
    x[:, copied + lag - 1] = symbols + 1
    return x, y


# --- Refusals
# -------------------------------------------------------------------------


def require_step(
    from_x: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    gates: int,
    along: str = "B",
) -> None:
    """Inputs (B, G H), or (B, T, G H) along "B T", states (B, H), weights (G H, H),
    biases (G H,) of one dtype.
    """
    require.floating(from_x=from_x, h=h, weight=weight, bias=bias)
    require.alike(from_x=from_x, h=h, weight=weight, bias=bias)
    H = require.shapes(h=(h, "B H"))["H"]
    rows = gates * H
    require.shapes(
        h=(h, "B H"),
        from_x=(from_x, f"{along} {rows}"),
        weight=(weight, f"{rows} H"),
        bias=(bias, f"{rows}"),
    )


def require_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    """Lengths (B,) from 1 to T of sequences x (B, T, d); which rows go on at each
    step (T, B, 1)."""
    require.integer(lengths=lengths)
    require.shapes(x=(x, "B T d"), lengths=(lengths, "B"))
    require.within(lengths=lengths, least=1, most=x.shape[1])
    steps = torch.arange(x.shape[1], device=x.device)
    return (steps[:, None] < lengths.to(x.device))[..., None]
