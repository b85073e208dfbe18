"""The tape and dual numbers against torch.autograd and torch.func, operation by operation."""

import operator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lbdl.core import data
from lbdl.foundations import backpropagation as B
from lbdl.foundations.backpropagation import Dual, Variable, tape
from lbdl.foundations.memory import live_memory

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def randn(
    *shape: int, seed: int = 0, device: str = "cpu", dtype: torch.dtype = DOUBLE
) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    ).to(device, dtype)


def positive(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).abs() + 0.3


def by_torch(
    f, inputs: list[Tensor], u: Tensor | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Value, seed, and gradients of <u, f> by torch.autograd."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = f(*leaves)
    u = (
        randn(*y.shape, seed=99, device=str(y.device), dtype=y.dtype)
        if u is None
        else u
    )
    return (
        y.detach(),
        u,
        torch.autograd.grad(
            y, leaves, u, allow_unused=True, materialize_grads=True
        ),
    )


def assert_agrees(f, *inputs: Tensor, device: str = "cpu") -> None:
    """Values, gradients (tape) and directional derivatives (dual numbers) are those of torch.

    Torch runs where the inputs are, the library on `device`; constants inside of f stay where they are.
    """
    there = [x.to(device) for x in inputs]
    y, u, gradients = by_torch(f, list(inputs))
    value, pull = B.vjp(f, *there)
    assert value.device.type == device
    torch.testing.assert_close(value.to(y.device), y, **CLOSE)
    for found, expected in zip(pull(u.to(device)), gradients, strict=True):
        torch.testing.assert_close(found.to(y.device), expected, **CLOSE)
    tangents = [randn(*x.shape, seed=50 + i).to(x) for i, x in enumerate(inputs)]
    expected = torch.func.jvp(f, inputs, tuple(tangents))
    found = B.jvp(f, there, [t.to(device) for t in tangents])
    for mine, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.to(y.device), wanted, **CLOSE)


# --- Every operation, values and gradients

x34, w45, p34 = randn(3, 4), randn(4, 5, seed=1), positive(3, 4, seed=2)
COLUMNS = torch.tensor([[0, 3], [1, 1], [2, 0]])

OPERATIONS = {
    "neg": (operator.neg, x34),
    "exp": (lambda x: x.exp(), x34),
    "log": (lambda x: x.log(), p34),
    "tanh": (lambda x: x.tanh(), x34),
    "sigmoid": (lambda x: x.sigmoid(), x34),
    "relu": (lambda x: x.relu(), x34),
    "add": (operator.add, x34, p34),
    "sub": (operator.sub, x34, p34),
    "mul": (operator.mul, x34, p34),
    "div": (operator.truediv, x34, p34),
    "pow": (operator.pow, p34, x34),
    "square": (lambda x: x**2, x34),
    "cube of negatives": (lambda x: x**3.0, x34),
    "power 0": (lambda x: x**0, x34),
    "root": (lambda x: x**0.5, p34),
    "power of a number": (lambda x: 2**x + 0.5 ** (x + 1), x34),
    "power of zero": (lambda x: 0**x, p34),
    "constant tensor to a power": (lambda x: p34 ** (x * 0.5), x34),
    "power of a constant tensor": (lambda x: x**p34, p34),
    "reciprocal": (lambda x: 1 / x, p34),
    "numbers left and right": (
        lambda x: 2 - 3 * x + (x * 0.5 - 1) / 7 + (1 - x),
        x34,
    ),
    "constant tensors left and right": (
        lambda x: x34 - w45[:3, :4] * x + x * p34 - x34 / x + p34,
        p34,
    ),
    "constant matrix on the left": (lambda w: x34 @ w, w45),
    "constant matrix on the right": (lambda x: x @ w45, x34),
    "matmul": (operator.matmul, x34, w45),
    "matmul, batched": (operator.matmul, randn(2, 3, 4), randn(2, 4, 5)),
    "matmul, broadcast batch": (operator.matmul, randn(2, 1, 3, 4), randn(3, 4, 5)),
    "matmul, shared weights": (operator.matmul, randn(2, 3, 4), w45),
    "matrix vector": (operator.matmul, x34, randn(4)),
    "vector matrix": (operator.matmul, randn(4), w45),
    "vector vector": (operator.matmul, randn(4), randn(4, seed=1)),
    "batched matrix vector": (operator.matmul, randn(2, 3, 4), randn(4)),
    "vector batched matrix": (operator.matmul, randn(4), randn(2, 4, 3)),
    "sum": (lambda x: x.sum(), x34),
    "sum 0": (lambda x: x.sum(0), x34),
    "sum -1, kept": (lambda x: x.sum(-1, keepdim=True), x34),
    "sum of two": (lambda x: x.sum((0, -1)), randn(2, 3, 4)),
    "mean": (lambda x: x.mean(), x34),
    "mean 1": (lambda x: x.mean(1), x34),
    "mean of two, kept": (lambda x: x.mean((0, 2), keepdim=True), randn(2, 3, 4)),
    "amax": (lambda x: x.amax(), x34),
    "amax -2": (lambda x: x.amax(-2), x34),
    "amax 1, kept": (lambda x: x.amax(1, keepdim=True), x34),
    "amax of two": (lambda x: x.amax((0, 2)), randn(2, 3, 4)),
    "amax with ties": (
        lambda x: x.amax(1),
        torch.tensor([[1.0, 3, 3], [2, 2, 2]], dtype=DOUBLE),
    ),
    "reshape": (lambda x: x.reshape(2, -1), x34),
    "reshape, shape as one": (lambda x: x.reshape((4, 3)), x34),
    "transpose": (lambda x: x.transpose(0, 2), randn(2, 3, 4)),
    "mT": (lambda x: x.mT, randn(2, 3, 4)),
    "row": (lambda x: x[1], x34),
    "slice": (lambda x: x[1:, ::2], x34),
    "ellipsis and new axis": (lambda x: x[..., 1, None], x34),
    "rows by number, repeated": (lambda x: x[torch.tensor([0, 2, 0])], x34),
    "mask": (lambda x: x[x34 > 0], x34),
    "one element": (lambda x: x[2, 3], x34),
    "gather": (lambda x: x.gather(1, COLUMNS), x34),
    "take": (lambda x: x.take(COLUMNS), x34),
    "concatenate": (lambda a, b: B.concatenate([a, b, a], -1), x34, randn(3, 2)),
    "concatenate with a constant": (lambda a: B.concatenate([p34, a]), x34),
    "log_softmax": (lambda x: x.log_softmax(-1), x34),
    "log_softmax 0": (lambda x: x.log_softmax(0), x34),
    "cross-entropy": (lambda x: B.cross_entropy(x, torch.tensor([0, 3, 1])), x34),
    "a variable used twice": (lambda x: x * x + x.exp() * x, x34),
    "an unused variable": (lambda x, y: x * 2, x34, p34),
    "broadcast down": (lambda a, b: (a * b).sum(0), x34, randn(4)),
    "broadcast both ways": (operator.mul, randn(3, 1), randn(1, 4)),
    "broadcast of a number": (operator.add, x34, randn()),
    "no dimensions": (lambda a: (a * 2).sum() + a.mean() + a.amax(), randn()),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_agrees_with_torch(name: str, device: str) -> None:
    f, *inputs = OPERATIONS[name]
    assert_agrees(f, *inputs, device=device)


def test_operations_cover_what_the_tape_offers() -> None:
    own = {
        name
        for kind in (tape.Differentiable, Variable)
        for name in vars(kind)
        if callable(getattr(kind, name))
    }
    inner = {
        "__init__",
        "history",
        "backward",
        "map",
        "linear",
        "times",
        "join",
        "places",
        "matmul",
        "power",
        "require_unchanged",
    }
    names = {
        "getitem",
        "radd",
        "rmul",
        "rsub",
        "rtruediv",
        "rpow",
        "rmatmul",
        *(n.strip("_") for n in OPERATIONS),
    }
    aliases = {"truediv": "div"}
    public = {aliases.get(n.strip("_"), n.strip("_")) for n in own - inner}
    assert public <= names | {"matmul"}


@st.composite
def broadcastable(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    one, other = (
        [n if draw(st.booleans()) else 1 for n in shape] for _ in range(2)
    )
    return one[draw(st.integers(0, len(shape))) :], other[
        draw(st.integers(0, len(shape))) :
    ]


@pytest.mark.parametrize(
    "operation",
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow],
)
@given(shapes=broadcastable(), seed=st.integers(0, 20))
def test_broadcasting_on_any_shapes(operation, shapes, seed: int) -> None:
    assert_agrees(
        operation,
        positive(*shapes[0], seed=seed),
        positive(*shapes[1], seed=seed + 1),
    )


@st.composite
def matrices(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    m, k, n = (draw(st.integers(0, 3)) for _ in range(3))
    one, other = draw(broadcastable())
    left, right = ([*one, m, k], [*other, k, n])
    return draw(
        st.sampled_from([(left, right), ([k], right), (left, [k]), ([k], [k])])
    )


@given(shapes=matrices(), seed=st.integers(0, 20))
def test_products_of_any_shapes(shapes, seed: int) -> None:
    assert_agrees(
        operator.matmul,
        randn(*shapes[0], seed=seed),
        randn(*shapes[1], seed=seed + 1),
    )


@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    chance=st.data(),
    keep=st.booleans(),
)
def test_reductions_over_any_dimensions(shape, chance, keep: bool) -> None:
    dims = chance.draw(
        st.lists(
            st.integers(0, len(shape) - 1),
            min_size=1,
            max_size=len(shape),
            unique=True,
        )
    )
    dims = tuple(d - len(shape) if chance.draw(st.booleans()) else d for d in dims)
    for reduce in ("sum", "mean", "amax"):
        assert_agrees(
            lambda x, reduce=reduce: getattr(x, reduce)(dims, keepdim=keep),
            randn(*shape),
        )


def test_zero_to_a_power_has_the_slopes_of_torch() -> None:
    base = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, -2.0], dtype=DOUBLE)
    exponent = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0, 2.0], dtype=DOUBLE)
    for found, expected in zip(
        B.vjp(operator.pow, base, exponent)[1](torch.ones(6, dtype=DOUBLE)),
        by_torch(operator.pow, [base, exponent], torch.ones(6, dtype=DOUBLE))[2],
        strict=True,
    ):
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_scores_of_minus_infinity_and_of_a_thousand() -> None:
    masked = torch.tensor(
        [[1.0, -torch.inf, 2.0], [1000.0, -1000.0, 999.0]], dtype=DOUBLE
    )
    loss = Variable(masked)
    out = B.cross_entropy(loss, torch.tensor([2, 0]))
    out.backward()
    y, _, (expected,) = by_torch(
        lambda x: F.cross_entropy(x, torch.tensor([2, 0])),
        [masked],
        torch.tensor(1.0, dtype=DOUBLE),
    )
    torch.testing.assert_close(out.value, y)
    torch.testing.assert_close(loss.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_are_kept(dtype: torch.dtype, device: str) -> None:
    x, w = (
        randn(3, 4, device=device, dtype=dtype),
        randn(4, 2, device=device, dtype=dtype),
    )
    f = lambda x, w: ((x @ w).tanh() * 2 + x[:, :2]).log_softmax(-1).mean(0)
    tolerance = 20 * torch.finfo(dtype).eps
    y, u, gradients = by_torch(f, [x, w])
    value, pull = B.vjp(f, x, w)
    assert value.dtype == dtype
    torch.testing.assert_close(value, y, rtol=tolerance, atol=tolerance)
    for found, expected in zip(pull(u), gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_a_gradient_has_the_dtype_of_its_variable() -> None:
    x = Variable(randn(3, dtype=torch.float32))
    (x * randn(3)).sum().backward()
    assert x.grad.dtype == torch.float32


def test_inputs_that_are_not_contiguous() -> None:
    assert_agrees(
        lambda x: x[1:].reshape(-1).exp() + x.take(torch.arange(8)), randn(4, 3).mT
    )


def test_empty_tensors() -> None:
    assert_agrees(lambda x: x.sum(0) + x.exp().sum(), randn(0, 3))


# --- The tape itself


def test_gradients_accumulate_as_in_torch() -> None:
    x, t = Variable(x34), x34.clone().requires_grad_()
    for z in (x, t):
        y = (z * z).sum()
        for _ in range(2):
            y.backward(**({"retain_graph": True} if isinstance(z, Tensor) else {}))
        (z.exp() * 3).sum().backward()
    torch.testing.assert_close(x.grad, t.grad, **CLOSE)


def test_gradients_of_two_variables_do_not_share_memory() -> None:
    a, b = Variable(x34), Variable(x34)
    (a + b).sum().backward()
    a.grad.mul_(7)
    assert torch.equal(b.grad, torch.ones_like(x34))


@pytest.mark.parametrize("which", ["operand", "constant", "result"])
def test_a_tensor_changed_in_place_after_its_use_is_refused(which: str) -> None:
    x, c = Variable(x34.clone()), p34.clone()
    y = x * c
    z = (y.exp() + y).sum()
    {"operand": x.value, "constant": c, "result": y.value}[which].mul_(2)
    with pytest.raises(RuntimeError, match="changed in place after its use"):
        z.backward()


def test_a_leaf_may_be_changed_in_place_between_uses() -> None:
    w = Variable(torch.tensor(2.0))
    for _ in range(3):
        w.grad = None
        (w * w).backward()
        w.value -= 0.25 * w.grad
    assert w.value.item() == 2.0 * 0.5**3


def test_a_seed_is_copied() -> None:
    y, seed = Variable(x34) * 1.0, torch.ones(3, 4, dtype=DOUBLE)
    y.backward(seed)
    seed.zero_()
    assert torch.equal(y.grad, torch.ones_like(x34))


def test_a_kink_that_cancels_on_paper_does_not_cancel_on_the_tape() -> None:
    """relu(x) - relu(-x) is x, whose slope is 1; at 0 every rule so far says 0, torch's too."""
    f = lambda x: x.relu() - (-x).relu()
    x = torch.tensor([-1.0, 0.0, 2.0], dtype=DOUBLE)
    one = torch.ones(3, dtype=DOUBLE)
    value, pull = B.vjp(f, x)
    assert torch.equal(value, x)
    for slope in (
        pull(one)[0],
        B.jvp(f, [x], [one])[1],
        by_torch(f, [x], one)[2][0],
    ):
        assert slope.tolist() == [1, 0, 1]
    for slope in B.numerical_jacobian(f, x).diagonal():
        assert slope.item() == pytest.approx(1)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + "1",
        lambda x: x @ 3.0,
        lambda x: x * None,
        lambda x: x * Dual(x34),
        lambda x: x**True,
    ],
)
def test_an_operand_of_another_kind_is_refused(call) -> None:
    with pytest.raises(TypeError, match="operand must be a"):
        call(Variable(x34))


def test_inner_variables_keep_their_gradients() -> None:
    x = Variable(2.0)
    y = x * 3
    z = y * y
    z.backward()
    assert (z.grad.item(), y.grad.item(), x.grad.item()) == (1.0, 12.0, 36.0)


def test_a_chain_of_a_hundred_thousand_operations() -> None:
    x = Variable(torch.tensor(1.0, dtype=DOUBLE))
    y = x
    for _ in range(50_000):
        y = y * 0.99999 + 0.0
    y.backward()
    assert x.grad.item() == pytest.approx(0.99999**50_000, rel=1e-9)
    assert len(y.history()) == 100_001


def test_a_diamond_of_exponentially_many_paths_takes_linear_time() -> None:
    x = y = Variable(torch.tensor(1.0, dtype=DOUBLE))
    for _ in range(200):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0


def test_children_come_before_parents() -> None:
    x = Variable(x34)
    y = ((x * x).exp() + x).sum() * x.mean()
    order = y.history()
    at = {variable: i for i, variable in enumerate(order)}
    assert len(at) == len(order)
    assert all(
        at[child] < at[parent] for child in order for parent, _ in child.parents
    )


def test_torchs_own_tape_is_not_used() -> None:
    w = torch.ones(3, requires_grad=True)
    x = Variable(w)
    y = (x * w + w).exp().sum()
    y.backward()
    assert not (
        y.value.requires_grad or x.value.requires_grad or x.grad.requires_grad
    )


def test_memory_is_freed_with_the_result() -> None:
    x = Variable(randn(1000))

    def forward_and_backward() -> None:
        y = x
        for _ in range(20):
            y = y.exp() * 0.1
        y.sum().backward()
        x.grad = None

    first = live_memory(forward_and_backward)
    assert first.peak >= 20 * 8000
    assert (
        live_memory(lambda: [forward_and_backward() for _ in range(3)]).peak
        <= first.peak + 8000
    )


def test_the_engine_has_fewer_than_three_hundred_lines() -> None:
    lines = Path(tape.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 300
    assert max(map(len, lines)) <= 84


# --- A network on digits


def layers(dtype: torch.dtype, device: str) -> list[Tensor]:
    shapes = [s for a, b in pairwise((64, 32, 16, 10)) for s in ((a, b), (b,))]
    return [
        0.2 * randn(*s, seed=i, device=device, dtype=dtype)
        for i, s in enumerate(shapes)
    ]


def network(x, w1, b1, w2, b2, w3, b3):
    return ((x @ w1 + b1).tanh() @ w2 + b2).relu() @ w3 + b3


def test_training_on_digits_gives_the_weights_of_torch(device: str) -> None:
    digits = data.digits().to(device)
    ours = [Variable(w) for w in layers(DOUBLE, device)]
    theirs = [w.requires_grad_() for w in layers(DOUBLE, device)]
    for step in range(60):
        rows = slice(64 * step % 1024, 64 * step % 1024 + 64)
        x, y = digits.train.x[rows].double(), digits.train.y[rows]
        B.cross_entropy(network(x, *ours), y).backward()
        F.cross_entropy(network(x, *theirs), y).backward()
        for a, b in zip(ours, theirs, strict=True):
            a.value, a.grad = a.value - 0.5 * a.grad, None
            b.data, b.grad = b.data - 0.5 * b.grad, None
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.value, b.detach(), rtol=1e-9, atol=1e-10)
    scores = network(digits.validation.x.double(), *(a.value for a in ours))
    assert (scores.argmax(-1) == digits.validation.y).float().mean() > 0.8


# --- Products with the Jacobian, and checking gradients


def curve(x):
    return ((x**2).sum(-1, keepdim=True).exp() * x).tanh()[..., :2].transpose(0, 1)


def test_jacobians_both_ways_are_those_of_torch(device: str) -> None:
    x = 0.5 * randn(2, 3, device=device)
    expected = torch.func.jacrev(curve)(x)
    assert expected.shape == (2, 2, 2, 3)
    for jacobian in (B.jacobian_forward, B.jacobian_reverse):
        torch.testing.assert_close(jacobian(curve, x), expected, **CLOSE)
    torch.testing.assert_close(
        B.numerical_jacobian(curve, x), expected, rtol=1e-7, atol=1e-8
    )


def test_jvp_and_vjp_are_those_of_torch_func() -> None:
    x, w, t, s = randn(3, 4), randn(4, 2), randn(3, 4, seed=5), randn(4, 2, seed=6)
    f = lambda x, w: (x @ w).sigmoid() / (1 + (w * w).sum())
    torch.testing.assert_close(
        B.jvp(f, (x, w), (t, s)), torch.func.jvp(f, (x, w), (t, s)), **CLOSE
    )
    value, pull = B.vjp(f, x, w)
    expected, torch_pull = torch.func.vjp(f, x, w)
    torch.testing.assert_close(value, expected, **CLOSE)
    for seed in (1, 2):  # a pullback may be called again
        u = randn(3, 2, seed=seed)
        torch.testing.assert_close(pull(u), torch_pull(u), **CLOSE)


@given(seed=st.integers(0, 1000))
def test_the_two_modes_are_transposes(seed: int) -> None:
    x, t = 0.3 * randn(3, 4, seed=seed), randn(3, 4, seed=seed + 1)
    y, forward = B.jvp(curve, [x], [t])
    u = randn(*y.shape, seed=seed + 2)
    (back,) = B.vjp(curve, x)[1](u)
    torch.testing.assert_close((u * forward).sum(), (back * t).sum(), **CLOSE)


@given(seed=st.integers(0, 100))
def test_hessian_vector_products_are_those_of_the_hessian(seed: int) -> None:
    x, v = 0.5 * randn(2, 3, seed=seed), randn(2, 3, seed=seed + 1)
    f = lambda x: curve(x).sum() + (x**3).sum()
    H = torch.func.hessian(f)(x).reshape(6, 6)
    found = B.hessian_vector_product(f, x, v)
    torch.testing.assert_close(found.flatten(), H @ v.flatten(), **CLOSE)
    slope = lambda x: B.vjp(f, x)[1](torch.tensor(1.0, dtype=DOUBLE))[0]  # our tape
    ahead, behind = slope(x + 1e-5 * v), slope(x - 1e-5 * v)
    torch.testing.assert_close(found, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-7)


def test_central_differences_err_by_the_square_of_the_step() -> None:
    x = torch.tensor(0.7, dtype=DOUBLE)
    errors = [
        abs(B.numerical_jacobian(torch.exp, x, eps) - x.exp()).item()
        for eps in (1e-2, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(100, rel=1e-3)
    assert errors[0] == pytest.approx(1e-4 * x.exp().item() / 6, rel=1e-3)


def test_gradcheck_accepts_right_and_finds_wrong_gradients() -> None:
    x, w = randn(3, 4), randn(4, 2)
    f = lambda x, w: (x @ w).tanh()
    right = lambda u, x, w: (
        (u * (1 - f(x, w) ** 2)) @ w.mT,
        x.mT @ (u * (1 - f(x, w) ** 2)),
    )
    assert B.gradcheck(f, x, w)
    assert B.gradcheck(f, x, w, pullback=right)
    assert torch.autograd.gradcheck(f, (x.requires_grad_(), w.requires_grad_()))
    x, w = x.detach(), w.detach()
    with pytest.raises(ArithmeticError, match="input 1 is wrong"):
        B.gradcheck(
            f,
            x,
            w,
            pullback=lambda u, x, w: (right(u, x, w)[0], 1.01 * right(u, x, w)[1]),
        )
    with pytest.raises(ArithmeticError, match=r"input 0 has shape \(4, 3\)"):
        B.gradcheck(
            f,
            x,
            w,
            pullback=lambda u, x, w: (right(u, x, w)[0].mT, right(u, x, w)[1]),
        )
    with pytest.raises(ArithmeticError, match="input 0 is wrong"):
        B.gradcheck(
            f,
            x,
            w,
            pullback=lambda u, x, w: (
                torch.full_like(x, torch.nan),
                right(u, x, w)[1],
            ),
        )


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: Variable(torch.tensor([1, 2])),
            TypeError,
            "floating tensor, got torch.int64",
        ),
        (
            lambda: Variable(x34).backward(),
            ValueError,
            r"seed must have the shape of the variable, \(3, 4\)",
        ),
        (
            lambda: Variable(x34).backward(randn(4)),
            ValueError,
            "seed must have the shape",
        ),
        (
            lambda: Dual(x34, randn(3)),
            ValueError,
            "tangent must have the shape of value",
        ),
        (
            lambda: B.jvp(curve, [x34], []),
            ValueError,
            "tangents must hold at least one tensor, got none",
        ),
        (
            lambda: B.jvp(lambda x: x34, [x34], [x34]),
            TypeError,
            "f must return a Dual",
        ),
        (lambda: B.vjp(lambda x: x34, x34), TypeError, "f must return a Variable"),
        (
            lambda: B.numerical_jacobian(curve, x34, 0.0),
            ValueError,
            "eps must be finite and > 0, got 0.0",
        ),
        (
            lambda: B.gradcheck(curve, x34.float()),
            TypeError,
            "float64, got torch.float32 for input 0",
        ),
        (
            lambda: B.cross_entropy(x34, torch.tensor([0])),
            ValueError,
            r"target must have shape \(3,\), .*, got \(1,\)",
        ),
    ],
)
def test_bad_input_is_named(call, kind, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
