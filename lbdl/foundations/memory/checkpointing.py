"""Checkpointing: keep a few states on the way forward, compute the others again on
the way back.

A chain of L layers needs its L inner states for the backward pass. Keep k of them,
and between two of them only one stretch is alive at a time: about k + L / k states
for one more forward pass. `tapered_lengths` does better with the same work, and
`checkpoint_revolve` trades more work for less memory, the best possible way.

Chen et al. 2016, arXiv:1604.06174; Griewank & Walther 2000, ACM TOMS 26(1),
Algorithm 799 (revolve).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lbdl import require
from lbdl.foundations.backpropagation.tape import version

__all__ = [
    "Frame",
    "best_tapered_lengths",
    "checkpoint",
    "checkpoint_chain",
    "checkpoint_revolve",
    "equal_lengths",
    "peak_states",
    "revolve_cost",
    "revolve_split",
    "tapered_lengths",
]

Layer = Callable[[Tensor], Tensor]


# --- One stretch ------------------------------------------------------------------


def checkpoint(f: Callable[..., Any], *inputs: Any) -> Any:
    """f(inputs), remembering the inputs alone: what happens inside is computed
    again when a gradient comes.

    The memory of f's inner states is exchanged for a second forward pass through f.
    Checkpoints may be nested. Inside `torch.compile` and inside a transform of
    `torch.func` it is a plain call of f.

    The second pass must be like the first. The random numbers of torch's own
    generators, and of a `torch.Generator` among the inputs, are the same again;
    those of another generator are not. What f adds up beside its result, as
    `BatchNorm` does in training, is added up twice. Inputs and weights must stand
    still until the gradient has come; in between, f may change in place what it
    made itself.

    Args:
        f: a function or a module that does the same operations whenever it is
            called.
        inputs: its arguments, tensors of any shape and dtype among them.

    Returns:
        What f returns, same shapes and values.

    Raises:
        TypeError: `f` is no function.
        RuntimeError: called under autocast, which would have ended when f is called
            again; f changed an input in place; in the backward pass, an input or a
            weight was changed in place in between, or f did other operations.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    require.function(f=f)
    if not require.visible():
        return f(*inputs)
    require_no_autocast("checkpoint")
    return untouched(Frame(f, inputs).run, *inputs)


class Frame:
    """What is left of a call of f: its inputs, and how many tensors autograd asked
    to have kept.

    Autograd hands each of them to `pack` and gets a number for it. When it first
    asks for one back, f runs again, and this time they are kept, each until it is
    asked for.

    Args:
        f: the function, as for `checkpoint`.
        inputs: a list of its arguments, tensors of any shape and dtype among them.

    Raises:
        TypeError: `f` is no function, or `inputs` no list.

    Source: the hooks are those of `torch.autograd.graph.saved_tensors_hooks`; the
        idea, Chen et al. 2016, arXiv:1604.06174.
    """

    # calls of f, first or again, the innermost last
    under_way: "list[Frame]" = []  # noqa: RUF012

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        require.function(f=f)
        require.sequence(inputs=inputs)
        self.f = f
        self.outer = Frame.under_way[-1] if Frame.under_way else None
        self.inputs = [self.hold(x) for x in inputs]
        self.states = random_states(inputs)
        self.count, self.again = 0, False
        self.kept: dict[int, Held] = {}
        self.weights: dict[int, Held] = {}

    def hold(self, x: Any) -> Callable[[], Any]:
        """How an input is remembered: inside another checkpoint, as one of the
        tensors that it drops."""
        if isinstance(x, torch.Generator):
            return x.clone_state().clone_state
        if self.outer is None or not isinstance(x, Tensor):
            return Held(x).get
        outer, number, needed = self.outer, self.outer.pack(x), x.requires_grad
        return lambda: outer.unpack(number).requires_grad_(needed)

    def pack(self, x: Tensor) -> int:
        """The number of a tensor that autograd wants kept; kept the second time."""
        if self.again:
            self.kept[self.count] = Held(x.detach())
        elif is_weight(x):
            self.weights[self.count] = Held(x)
        self.count += 1
        return self.count - 1

    def unpack(self, number: int) -> Tensor:
        """The tensor of a number, for which f may have to run again."""
        if number not in self.kept:
            self.run_again()
        if number not in self.kept:
            raise RuntimeError(
                "f must do the same operations whenever it is called: it kept "
                "fewer tensors now"
            )
        return self.kept.pop(number).get()

    def run(self, *inputs: Any) -> Any:
        """f, watched."""
        Frame.under_way.append(self)
        try:
            with saved_tensors_hooks(self.pack, self.unpack):
                return self.f(*inputs)
        finally:
            Frame.under_way.pop()

    def run_again(self) -> None:
        """f once more, as it was the first time; what autograd asks for is kept."""
        for weight in self.weights.values():
            weight.get()
        inputs = [get() for get in self.inputs]
        self.count, self.again = 0, True
        try:
            with torch.enable_grad(), replayed(self.states):
                self.run(*inputs)
        finally:
            self.again = False


class Held:
    """A thing by reference, which says so when it was changed in place since."""

    def __init__(self, x: Any) -> None:
        self.x, self.version = x, version(x)

    def get(self) -> Any:
        """The thing, unchanged."""
        if version(self.x) != self.version:
            raise RuntimeError(
                "a tensor that checkpoint needs again was changed in place"
            )
        return self.x


def untouched(f: Callable[..., Any], *inputs: Any) -> Any:
    """f(inputs), for an f that leaves its inputs as they are."""
    before = [version(x) for x in inputs]
    result = f(*inputs)
    if [version(x) for x in inputs] != before:
        raise RuntimeError(
            "f must not change its inputs in place, for they are needed again: "
            "give it a copy, or a first operation that makes one"
        )
    return result


def is_weight(x: Tensor) -> bool:
    """Whether x is a leaf that gets a gradient, or a view of one."""
    owner = x if x._base is None else x._base
    return owner.is_leaf and owner.requires_grad


def random_states(inputs: Sequence[Any]) -> dict[torch.device, Tensor]:
    """The states of torch's global generators: of the CPU, and of the CUDA devices
    that the inputs lie on."""
    cuda = {x.device for x in inputs if isinstance(x, Tensor) and x.is_cuda}
    return {torch.device("cpu"): torch.get_rng_state()} | {
        d: torch.cuda.get_rng_state(d) for d in cuda
    }


@contextmanager
def replayed(states: dict[torch.device, Tensor]) -> Iterator[None]:
    """Random numbers as they were; afterwards the generators go on as if nothing
    had been drawn."""
    cuda = [d for d in states if d.type == "cuda"]
    with torch.random.fork_rng(cuda):
        torch.set_rng_state(states[torch.device("cpu")])
        for d in cuda:
            torch.cuda.set_rng_state(states[d], d)
        yield


# --- A chain of layers: where to cut ----------------------------------------------


def checkpoint_chain(
    layers: Sequence[Layer], x: Tensor, lengths: Sequence[int] | None = None
) -> Tensor:
    """A chain of layers cut into stretches, each of which remembers its input
    alone.

        x -> f_L(... f_2(f_1(x)))

    The last stretch is not checkpointed: its backward pass comes at once.

    Args:
        layers: L functions or modules of a tensor.
        x: the input, any shape.
        lengths: how many layers each stretch has, in order, L in all; by default
            `equal_lengths` with about sqrt(L) stretches.

    Returns:
        The chain's output, in the shape that the last layer gives it.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are no `layers`, or `lengths` do not add up to L.
        RuntimeError: as `checkpoint`.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    require.functions(layers=layers)
    require.tensor(x=x)
    if lengths is None:
        lengths = equal_lengths(len(layers), round(math.sqrt(len(layers))))
    require_lengths(lengths, len(layers))
    ends = list(accumulate(lengths))
    for begin, end in zip([0, *ends], ends[:-1], strict=False):
        x = checkpoint(partial(run_chain, layers[begin:end]), x)
    return run_chain(layers[len(layers) - lengths[-1] :], x)


def run_chain(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """One layer after the other."""
    for layer in layers:
        x = layer(x)
    return x


def equal_lengths(layers: int, count: int) -> list[int]:
    """Stretches of equal length, up to one layer.

    Args:
        layers: the number L >= 1 of layers.
        count: the number k of stretches, from 1 to L.

    Returns:
        k numbers that add up to L.

    Raises:
        TypeError: `layers` or `count` is no whole number.
        ValueError: `layers` is below 1, or `count` not from 1 to L.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    require.whole(layers=layers, least=1)
    require.whole(count=count, least=1, most=layers)
    return [layers // count + (i < layers % count) for i in range(count)]


def tapered_lengths(layers: int, count: int) -> list[int]:
    """Stretches that shrink by one layer each: the lowest peak that `count`
    stretches can have.

        l_i = M - i,    L = k M - k (k + 1) / 2,    M = L / k + (k + 1) / 2

    While stretch i is alive, the inputs of the later ones are gone, so that early
    stretches may be longer: i + l_i = M for all of them. Best at k = sqrt(2 L),
    where M is about sqrt(2 L), not 2 sqrt(L).

    Args:
        layers: the number L >= 1 of layers.
        count: the number k of stretches, from 1 to L.

    Returns:
        k numbers >= 1, never increasing, that add up to L.

    Raises:
        TypeError: `layers` or `count` is no whole number.
        ValueError: `layers` is below 1, or `count` not from 1 to L.

    Source: Griewank & Walther 2008, Evaluating Derivatives, chapter 12, the case of
        one repetition.
    """
    require.whole(layers=layers, least=1)
    require.whole(count=count, least=1, most=layers)
    peak = count + 1
    while sum(lengths := [max(1, peak - i) for i in range(1, count + 1)]) < layers:
        peak += 1
    while sum(lengths) > layers:
        # the last longest gives way, so that lengths never increase
        lengths[max(range(count), key=lambda i: (lengths[i], i))] -= 1
    return lengths


def best_tapered_lengths(layers: int) -> list[int]:
    """The stretches of lowest peak when no layer may run more than twice: about
    sqrt(2 L) of them.

        min over k of  peak_states(tapered_lengths(L, k))

    Args:
        layers: the number L >= 1 of layers.

    Returns:
        The lengths, numbers >= 1 that add up to L; of several counts with the same
        peak, the smallest.

    Raises:
        TypeError: `layers` is no whole number.
        ValueError: `layers` is below 1.

    Source: Griewank & Walther 2008, Evaluating Derivatives, chapter 12, the case of
        one repetition.
    """
    require.whole(layers=layers, least=1)
    counts = range(1, math.isqrt(2 * layers) + 2)
    return min(
        (tapered_lengths(layers, k) for k in counts if k <= layers), key=peak_states
    )


def peak_states(lengths: Sequence[int]) -> int:
    """The most states alive at a time during the backward pass of a chain cut into
    stretches.

        max_i (i + l_i):
        the inputs of stretches 1 to i, and the l_i outputs of its layers

    For k stretches of L / k layers it is k + L / k, least at k = sqrt(L); for one
    stretch L + 1.

    Args:
        lengths: layers of each stretch, numbers >= 1.

    Returns:
        The number of states, the chain's input among them.

    Raises:
        TypeError: `lengths` is no list of whole numbers.
        ValueError: there is no stretch in `lengths`, or an empty one.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    require_lengths(lengths)
    return max(i + length for i, length in enumerate(lengths, start=1))


# --- Any number of repetitions ----------------------------------------------------


def checkpoint_revolve(layers: Sequence[Layer], x: Tensor, slots: int) -> Tensor:
    """A chain of layers whose backward pass keeps `slots` states, with the least
    possible number of runs.

        the first j layers checkpointed, the others with one slot less; j by
            `revolve_split`

    The least of all schedules that hold the inside of one layer at a time.
    (`checkpoint_chain` holds that of a whole stretch, and needs fewer runs where
    memory for about sqrt(2 L) states is there.)

    Calls nest as deep as layers are repeated (r in `revolve_cost`): a single slot
    does for chains of up to about a hundred layers only, two for ten thousand.

    Args:
        layers: L functions or modules of a tensor.
        x: the input, any shape; it takes the first slot.
        slots: the number c >= 1 of states that may be kept, besides what one layer
            keeps for itself.

    Returns:
        The chain's output, in the shape that the last layer gives it.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are no `layers`, or `slots` is below 1.
        RuntimeError: as `checkpoint`.

    Source: Griewank & Walther 2000, ACM TOMS 26(1), Algorithm 799.
    """
    require.functions(layers=layers)
    require.tensor(x=x)
    require.whole(slots=slots, least=1)
    if len(layers) == 1:
        return layers[0](x)
    first = revolve_split(len(layers), slots)
    x = checkpoint(lambda x: checkpoint_revolve(layers[:first], x, slots), x)
    return checkpoint_revolve(layers[first:], x, max(1, slots - 1))


def revolve_cost(layers: int, slots: int) -> int:
    """How often a layer is run, forward passes counted, when `slots` states are
    kept: the least possible.

        (r + 1) L - C(c + r, c + 1),    r the least number with C(c + r, c) >= L

    No layer runs more than r + 1 times, and C(c + r, c) layers are within reach of
    c slots and r repetitions, when beside the slots there is room for the inside of
    one layer.

    Args:
        layers: the number L >= 1 of layers.
        slots: the number c >= 1 of states kept, the input among them.

    Returns:
        The number of runs.

    Raises:
        TypeError: `layers` or `slots` is no whole number.
        ValueError: `layers` or `slots` is below 1.

    Source: Griewank & Walther 2000, ACM TOMS 26(1); Griewank & Walther 2008,
        chapter 12.
    """
    repetitions = revolve_repetitions(layers, slots)
    return (repetitions + 1) * layers - math.comb(slots + repetitions, slots + 1)


def revolve_split(layers: int, slots: int) -> int:
    """How many layers to run before the next state is kept.

        a j that is least in
        runs(L, c) = min_j  j + runs(L - j, c - 1) + runs(j, c)

    Args:
        layers: the number L >= 2 of layers.
        slots: the number c >= 1 of states kept, the input among them.

    Returns:
        j, from 1 to L - 1.

    Raises:
        TypeError: `layers` or `slots` is no whole number.
        ValueError: `layers` is below 2, or `slots` below 1.

    Source: Griewank & Walther 2000, ACM TOMS 26(1), Algorithm 799.
    """
    require.whole(layers=layers, least=2)
    r = revolve_repetitions(layers, slots)
    least = math.comb(slots + r - 2, slots) if r > 1 else 1
    return max(least, layers - math.comb(slots + r - 1, slots - 1))


def revolve_repetitions(layers: int, slots: int) -> int:
    """The least r with C(c + r, c) >= L."""
    require.whole(layers=layers, slots=slots, least=1)
    r = 0
    while math.comb(slots + r, slots) < layers:
        r += 1
    return r


def require_lengths(lengths: Sequence[int], layers: int | None = None) -> None:
    """Stretches of one layer or more, which add up."""
    require.sequence(lengths=lengths)
    require.whole(**{f"lengths[{i}]": n for i, n in enumerate(lengths)})
    due = sum(lengths) if layers is None else layers
    if not lengths or min(lengths) < 1 or sum(lengths) != due:
        raise ValueError(
            f"lengths must be numbers >= 1 that add up to {due}, got "
            f"{list(lengths)}"
        )


def require_no_autocast(name: str) -> None:
    """RuntimeError under autocast."""
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        raise RuntimeError(
            f"{name} does not work under autocast: cast the inputs and the module "
            "instead"
        )
