"""Memory counted, checkpoints and reversible blocks, against torch."""

from functools import cache, partial
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from bench.race import peak_memory
from lbdl.foundations import memory as M

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def randn(
    *shape: int, seed: int = 0, device: str = "cpu", dtype: torch.dtype = DOUBLE
) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    ).to(device, dtype)


# --- Memory


def chain(depth: int, width: int = 32, device: str = "cpu") -> list[nn.Module]:
    torch.manual_seed(0)
    made = [
        nn.Sequential(nn.Linear(width, width), nn.Tanh()).to(device)
        for _ in range(depth)
    ]
    for p in (p for layer in made for p in layer.parameters()):
        p.grad = torch.zeros_like(p)
    return made


STATES = (512, 32)
STATE = 512 * 32 * 4  # bytes


def test_saved_bytes_of_known_graphs() -> None:
    x = torch.ones(1000, requires_grad=True)
    assert M.saved_bytes(lambda: x + 1) == 0
    assert M.saved_bytes(lambda: x.exp().exp()) == 8000
    assert M.saved_bytes(lambda: (x * 2).tanh()) == 4000
    with torch.no_grad():
        assert M.saved_bytes(lambda: x.exp()) == 0
    layers = chain(7)
    inputs = torch.randn(STATES)
    assert M.saved_bytes(lambda: run(layers, inputs)) == 8 * STATE


def test_live_memory_of_a_known_computation(device: str) -> None:
    x = torch.ones(1000, device=device)

    def job() -> Tensor:
        a = x + 1
        b = a.view(10, 100) * 2
        del a
        return b.flatten()[:10] + 1

    found = M.live_memory(job)
    assert found.peak == 8000
    assert found.timeline[0] == 4000
    assert found.kept == 40


def test_live_memory_is_what_torch_allocates() -> None:
    layers, x = chain(12), torch.randn(STATES)
    job = lambda: run(layers, x).sum().backward()
    assert M.live_memory(job).peak == pytest.approx(peak_memory(job), rel=0.1)


@pytest.mark.cuda
def test_live_memory_is_what_cuda_allocates() -> None:
    layers, x = chain(12, device="cuda"), torch.randn(STATES, device="cuda")
    job = lambda: run(layers, x).sum().backward()
    job()  # the first run makes workspaces
    assert M.live_memory(job).peak == pytest.approx(
        M.peak_bytes(job, "cuda"), rel=0.1
    )


# --- One checkpoint


def run(layers: list[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class Counted(nn.Module):
    """A layer that counts how often it is run."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.runs = layer, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.layer(x)


def gradients(f, x: Tensor, layers: list[nn.Module]) -> list[Tensor]:
    """The value, and the gradients of its sum with respect to the input and all parameters."""
    x = x.clone().requires_grad_()
    y = f(x)
    asked = [x, *(p for layer in layers for p in layer.parameters())]
    return [y.detach(), *torch.autograd.grad((y * y).sum(), asked)]


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_checkpoint_changes_no_bit_and_runs_twice(device: str) -> None:
    layers = [Counted(layer) for layer in chain(5, device=device)]
    x = torch.randn(STATES, generator=torch.Generator().manual_seed(1)).to(device)
    f = partial(run, layers)
    expected = gradients(f, x, layers)
    assert_equal(gradients(lambda x: M.checkpoint(f, x), x, layers), expected)
    assert {layer.runs for layer in layers} == {3}
    assert_equal(
        gradients(lambda x: torch_checkpoint(f, x, use_reentrant=False), x, layers),
        expected,
    )


def test_checkpoint_keeps_its_inputs_alone() -> None:
    layers, x = chain(9), torch.randn(STATES)
    assert M.live_memory(lambda: run(layers, x)).kept == 9 * STATE
    assert (
        M.live_memory(lambda: M.checkpoint(partial(run, layers), x)).kept == STATE
    )  # the result
    assert (
        M.live_memory(lambda: M.checkpoint_chain(layers, x, [3, 3, 3])).kept
        == 5 * STATE
    )


def test_parameters_get_gradients_where_the_input_needs_none() -> None:
    layers, x = chain(4), torch.randn(STATES)
    M.checkpoint(partial(run, layers), x).sum().backward()
    parameters = [p for layer in layers for p in layer.parameters()]
    expected = torch.autograd.grad(run(layers, x).sum(), parameters)
    torch.testing.assert_close([p.grad for p in parameters], list(expected))


def test_random_numbers_are_the_same_the_second_time(device: str) -> None:
    drop, x = nn.Dropout(0.5), torch.ones(1000, device=device, requires_grad=True)
    torch.manual_seed(3)
    y = M.checkpoint(lambda x: drop(x).exp(), x)
    after = torch.rand(3)
    y.sum().backward()
    assert 300 < (x.grad == 0).sum() < 700
    torch.testing.assert_close(
        x.grad, torch.where(y.detach() == 1, 0.0, 2 * y.detach())
    )
    torch.manual_seed(3)
    drop(x)
    assert device != "cpu" or torch.equal(after, torch.rand(3))


def test_tuples_and_several_inputs() -> None:
    a, b = randn(3).requires_grad_(), randn(3, seed=1).requires_grad_()
    f = lambda a, b, scale: (a * b.exp() * scale, (a * a).tanh())
    expected = torch.autograd.grad(sum(y.sum() for y in f(a, b, 2.0)), (a, b))
    found = torch.autograd.grad(
        sum(y.sum() for y in M.checkpoint(f, a, b, 2.0)), (a, b)
    )
    torch.testing.assert_close(found, expected, **CLOSE)


def test_checkpoint_passes_gradcheck_twice() -> None:
    x = randn(3, 4).requires_grad_()
    f = lambda x: M.checkpoint(lambda x: (x @ x.mT).tanh().exp(), x)
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)


def test_backward_twice_computes_again() -> None:
    x = randn(5).requires_grad_()
    y = M.checkpoint(lambda x: x.tanh().exp(), x).sum()
    first = torch.autograd.grad(y, x, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, x), first, **CLOSE)


def test_a_function_that_changes_its_mind_is_found() -> None:
    calls = iter([True, False])
    y = M.checkpoint(
        lambda x: x.exp().tanh() if next(calls) else x + 1,
        randn(3).requires_grad_(),
    )
    with pytest.raises(RuntimeError, match="must do the same operations"):
        y.sum().backward()


IN_PLACE = [
    nn.SiLU(inplace=True),
    nn.Mish(inplace=True),
    nn.ReLU(inplace=True),
    lambda t: t.mul_(2) ** 3,
    lambda t: t.add_(1).exp(),
]


@pytest.mark.parametrize("f", IN_PLACE)
@pytest.mark.parametrize("nested", [False, True])
def test_a_function_that_changes_its_input_is_refused(f, nested: bool) -> None:
    """Run again, it would start from the changed input: a wrong gradient, and no error."""
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    inner = (lambda h: M.checkpoint(f, h * 1)) if nested else f
    with pytest.raises(RuntimeError, match="f must not change its inputs in place"):
        M.checkpoint(inner, w * 1)


@pytest.mark.parametrize("f", IN_PLACE)
def test_a_function_may_change_what_it_made_itself(f) -> None:
    """The first operation makes a copy: then the gradient is that without a checkpoint, .9277 for SiLU at 1."""
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    own = lambda h: f(h * 1)
    (found,) = torch.autograd.grad(M.checkpoint(own, w * 1).sum(), w)
    (expected,) = torch.autograd.grad(own(w * 1).sum(), w)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_gradients_of_in_place_activations_in_numbers() -> None:
    w = torch.ones(1, requires_grad=True)
    for f, slope in ((IN_PLACE[0], 0.9277), (IN_PLACE[1], 1.0490)):
        y = M.checkpoint(lambda h, f=f: f(h.clone()), w * 1)
        (found,) = torch.autograd.grad(y, w)
        assert found.item() == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("change", ["input", "weight", "kept"])
def test_what_changes_between_the_passes_is_refused(change: str) -> None:
    """As torch refuses it without a checkpoint: an input, a weight, or what the second pass kept."""
    x, w = torch.full((1,), 2.0), torch.full((1,), 3.0, requires_grad=True)

    def f(h: Tensor) -> Tensor:
        square = h * h
        y = square * w + h.exp() * square
        if change == "kept":
            square.mul_(2)
        return y

    for run in (f, partial(M.checkpoint, f)):
        h = (x * 1).requires_grad_()
        y = run(h)
        with torch.no_grad():
            if change == "input":
                h.mul_(2)
            if change == "weight":
                w.mul_(2)
        with pytest.raises(RuntimeError, match=r"modified by an inplace|in place"):
            y.sum().backward()


def test_a_generator_among_the_inputs_is_replayed() -> None:
    chance = torch.Generator().manual_seed(4)
    x = torch.ones(200, requires_grad=True)
    drop = lambda x, chance: (x * (torch.rand(200, generator=chance) < 0.5)).exp()
    y = M.checkpoint(drop, x, chance)
    after = torch.rand(3, generator=chance)
    for _ in range(2):
        (found,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
        torch.testing.assert_close(
            found, torch.where(y.detach() == 1, 0.0, y.detach())
        )
    chance.manual_seed(4)
    torch.rand(200, generator=chance)
    assert torch.equal(after, torch.rand(3, generator=chance))


def test_statistics_beside_the_result_are_added_up_twice() -> None:
    """What the docstring says of BatchNorm: run again, it counts the batch again."""
    norm, x = nn.BatchNorm1d(3), torch.randn(8, 3).requires_grad_()
    M.checkpoint(norm, x).sum().backward()
    assert norm.num_batches_tracked == 2
    frozen = nn.BatchNorm1d(3).eval()
    M.checkpoint(frozen, x).sum().backward()
    assert frozen.num_batches_tracked == 0


def test_inside_a_transform_checkpoints_and_reversible_chains_are_plain_calls() -> (
    None
):
    f, blocks = lambda x: (x @ x.mT).tanh().exp(), blocks_of(2, width=3)
    x = randn(3, 3)
    for saving, plain in (
        (lambda x: M.checkpoint(f, x), f),
        (
            lambda x: M.checkpoint_chain([f, torch.sin, f], x),
            lambda x: f(f(x).sin()),
        ),
        (
            lambda x: torch.cat(M.reversible_chain(blocks, x, 2 * x)),
            lambda x: torch.cat(M.reversible_chain_stored(blocks, x, 2 * x)),
        ),
    ):
        total, expected = (lambda x, g=g: g(x).sum() for g in (saving, plain))
        for transform in (
            torch.func.grad,
            torch.func.jacfwd,
            torch.func.hessian,
            torch.func.vmap,
        ):
            given = torch.stack([x, x + 1]) if transform is torch.func.vmap else x
            torch.testing.assert_close(
                transform(total)(given), transform(expected)(given), **CLOSE
            )


def test_autocast_is_refused() -> None:
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(RuntimeError, match="autocast"),
    ):
        M.checkpoint(torch.tanh, torch.ones(2))


# --- Chains


@pytest.mark.parametrize("lengths", [None, [9], [1] * 9, [4, 3, 2], [2, 7]])
def test_checkpointed_chains_change_no_bit(
    lengths: list[int] | None, device: str
) -> None:
    layers = chain(9, device=device)
    x = torch.randn(STATES, generator=torch.Generator().manual_seed(1)).to(device)
    expected = gradients(partial(run, layers), x, layers)
    assert_equal(
        gradients(lambda x: M.checkpoint_chain(layers, x, lengths), x, layers),
        expected,
    )


@pytest.mark.parametrize("slots", [1, 2, 3, 8, 30])
def test_revolve_changes_no_bit_and_runs_as_often_as_it_says(
    slots: int, device: str
) -> None:
    layers = [Counted(layer) for layer in chain(17, device=device)]
    x = torch.randn(STATES, generator=torch.Generator().manual_seed(1)).to(device)
    found = gradients(lambda x: M.checkpoint_revolve(layers, x, slots), x, layers)
    assert sum(layer.runs for layer in layers) == M.revolve_cost(17, slots)
    assert_equal(found, gradients(partial(run, layers), x, layers))


def peak_of(f, layers: list[nn.Module]) -> float:
    """States alive at the peak of both passes, beyond the input."""
    x = torch.randn(STATES).requires_grad_()
    x.grad = torch.zeros_like(x)
    return M.live_memory(lambda: f(x).sum().backward()).peak / STATE


def test_measured_peaks_are_the_counted_ones() -> None:
    layers = chain(25)
    for lengths in (
        [25],
        M.equal_lengths(25, 5),
        M.best_tapered_lengths(25),
        [1] * 25,
    ):
        peak = peak_of(
            lambda x, lengths=lengths: M.checkpoint_chain(layers, x, lengths),
            layers,
        )
        assert M.peak_states(lengths) - 1 <= peak <= M.peak_states(lengths) + 2
    for slots in (1, 2, 3, 5):
        peak = peak_of(
            lambda x, slots=slots: M.checkpoint_revolve(layers, x, slots), layers
        )
        assert slots <= peak <= slots + 4


def test_facts_about_64_layers() -> None:
    assert M.peak_states([64]) == 65
    assert [M.peak_states(M.equal_lengths(64, k)) for k in (1, 4, 8, 16, 64)] == [
        65,
        20,
        16,
        20,
        65,
    ]
    assert min(M.peak_states(M.equal_lengths(64, k)) for k in range(1, 65)) == 16
    assert M.peak_states(M.best_tapered_lengths(64)) == 12


@pytest.mark.parametrize("layers", range(1, 11))
def test_tapered_lengths_are_the_best_of_all(layers: int) -> None:
    for count in range(1, layers + 1):
        cuts = combinations(range(1, layers), count - 1)
        ends = ([0, *cut, layers] for cut in cuts)
        best = min(M.peak_states([b - a for a, b in pairwise(e)]) for e in ends)
        found = M.tapered_lengths(layers, count)
        assert (sum(found), len(found), M.peak_states(found)) == (
            layers,
            count,
            best,
        )
        assert found == sorted(found, reverse=True)
    everything = (
        M.peak_states(M.tapered_lengths(layers, k)) for k in range(1, layers + 1)
    )
    assert M.peak_states(M.best_tapered_lengths(layers)) == min(everything)


@given(layers=st.integers(1, 3000))
def test_the_tapered_peak_is_near_the_root_of_twice_the_depth(layers: int) -> None:
    peak = M.peak_states(M.best_tapered_lengths(layers))
    assert (2 * layers) ** 0.5 <= peak <= (2 * layers) ** 0.5 + 1.5


@given(layers=st.integers(1, 500), chance=st.data())
def test_equal_lengths_are_equal(layers: int, chance) -> None:
    count = chance.draw(st.integers(1, layers))
    lengths = M.equal_lengths(layers, count)
    assert (sum(lengths), len(lengths)) == (layers, count)
    assert max(lengths) - min(lengths) <= 1


@cache
def least_runs(layers: int, slots: int) -> int:
    """By trying every first cut."""
    if layers == 1:
        return 1
    if slots == 0:
        return 10**9
    return min(
        j + least_runs(layers - j, slots - 1) + least_runs(j, slots)
        for j in range(1, layers)
    )


@pytest.mark.parametrize("slots", range(1, 8))
def test_revolve_is_the_best_schedule(slots: int) -> None:
    for layers in range(1, 50):
        assert M.revolve_cost(layers, slots) == least_runs(layers, slots)
        if layers > 1:
            j = M.revolve_split(layers, slots)
            by_this_cut = (
                j + least_runs(layers - j, slots - 1) + least_runs(j, slots)
            )
            assert by_this_cut == least_runs(layers, slots)


# --- Reversible blocks


def blocks_of(
    depth: int, width: int = 8, device: str = "cpu", dtype: torch.dtype = DOUBLE
):
    torch.manual_seed(0)
    half = lambda: nn.Sequential(
        nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width)
    )
    return [
        M.ReversibleBlock(half(), half()).to(device, dtype) for _ in range(depth)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("depth", [1, 2, 10])
def test_reversible_chain_is_the_stored_one(
    depth: int, dtype: torch.dtype, device: str
) -> None:
    blocks = blocks_of(depth, device=device, dtype=dtype)
    x1, x2 = (randn(5, 8, seed=i, device=device, dtype=dtype) for i in (1, 2))
    found = [
        gradients(
            lambda x, f=f: torch.cat(f(blocks, x, x2 * x.sum()), -1), x1, blocks
        )
        for f in (M.reversible_chain, M.reversible_chain_stored)
    ]
    tolerance = 100 * torch.finfo(dtype).eps * depth
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(
            a, b, rtol=tolerance, atol=tolerance * float(b.abs().max())
        )


@given(depth=st.integers(1, 20), seed=st.integers(0, 50))
def test_inverse(depth: int, seed: int) -> None:
    blocks = blocks_of(depth)
    x1, x2 = randn(2, 3, 8, seed=seed), randn(2, 3, 8, seed=seed + 1)
    with torch.no_grad():
        back = M.reversible_chain_inverse(
            blocks, *M.reversible_chain(blocks, x1, x2)
        )
    torch.testing.assert_close(back, (x1, x2), rtol=0, atol=1e-13)


def test_reversible_chain_passes_gradcheck() -> None:
    blocks = blocks_of(3, width=3)
    x1, x2 = randn(2, 3).requires_grad_(), randn(2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: M.reversible_chain(blocks, a, b), (x1, x2)
    )
    parameters = [p for block in blocks for p in block.parameters()]
    out = lambda *_: M.reversible_chain(blocks, x1, x2)
    assert torch.autograd.gradcheck(out, tuple(parameters))


def test_shared_frozen_and_missing_parameters() -> None:
    block = blocks_of(1)[0]
    block.f[0].weight.requires_grad_(False)
    other = M.ReversibleBlock(nn.Tanh(), block.g)
    blocks, x1, x2 = [block, other, block], randn(5, 8), randn(5, 8, seed=1)
    asked = [p for p in block.parameters() if p.requires_grad]
    found, expected = (
        torch.autograd.grad(sum((y * y).sum() for y in f(blocks, x1, x2)), asked)
        for f in (M.reversible_chain, M.reversible_chain_stored)
    )
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_reversible_chain_refuses_what_it_cannot_run_again() -> None:
    x1, x2 = randn(5, 8).requires_grad_(), randn(5, 8, seed=1)
    chance = M.ReversibleBlock(nn.Dropout(0.5), nn.Tanh())
    with pytest.raises(ValueError, match="blocks must give the same result"):
        M.reversible_chain([chance], x1, x2)
    M.reversible_chain([chance.eval()], x1, x2)
    in_place = M.ReversibleBlock(nn.SiLU(inplace=True), nn.Tanh())
    with pytest.raises(RuntimeError, match="f must not change its inputs in place"):
        M.reversible_chain([in_place], x1, x2)


@pytest.mark.parametrize("change", ["output", "weight"])
def test_a_reversible_chain_notices_what_changed_in_between(change: str) -> None:
    blocks = blocks_of(2)
    x1, x2 = randn(5, 8).requires_grad_(), randn(5, 8, seed=1)
    y1, y2 = M.reversible_chain(blocks, x1, x2)
    with torch.no_grad():
        (y1 if change == "output" else blocks[0].f[0].weight).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y2.sum().backward()


def test_an_output_that_is_not_used() -> None:
    blocks, x1, x2 = blocks_of(2), randn(5, 8).requires_grad_(), randn(5, 8, seed=1)
    found, expected = (
        torch.autograd.grad(f(blocks, x1, x2)[0].sum(), x1)
        for f in (M.reversible_chain, M.reversible_chain_stored)
    )
    torch.testing.assert_close(found, expected, **CLOSE)


def test_memory_of_a_reversible_chain_does_not_grow_with_depth() -> None:
    x1, x2 = randn(2000, 8), randn(2000, 8, seed=1)

    def peaks(f) -> list[int]:
        return [
            M.live_memory(
                lambda d=d: sum(y.sum() for y in f(blocks_of(d), x1, x2)).backward()
            ).peak
            for d in (4, 8, 32)
        ]

    weights = 32 * 2 * (2 * 72) * 8  # bytes of the parameters of 32 blocks
    stored, recomputed = peaks(M.reversible_chain_stored), peaks(M.reversible_chain)
    assert recomputed[2] - recomputed[0] <= 4 * weights
    assert stored[2] - stored[0] >= 28 * 4 * x1.nbytes  # four states a block


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: M.equal_lengths(5, 6),
            "count must be a whole number >= 1 and <= 5, got 6",
        ),
        (
            lambda: M.tapered_lengths(5, 0),
            "count must be a whole number >= 1 and <= 5, got 0",
        ),
        (
            lambda: M.best_tapered_lengths(0),
            "layers must be a whole number >= 1, got 0",
        ),
        (lambda: M.peak_states([]), "lengths must be numbers >= 1"),
        (
            lambda: M.checkpoint_chain(chain(3), torch.ones(1, 32), [2, 2]),
            r"add up to 3, got \[2, 2\]",
        ),
        (
            lambda: M.revolve_cost(3, 0),
            "slots must be a whole number >= 1, got 0",
        ),
        (
            lambda: M.revolve_split(1, 2),
            "layers must be a whole number >= 2, got 1",
        ),
        (
            lambda: M.checkpoint_revolve([], torch.ones(1), 2),
            "layers must hold at least one layer",
        ),
        (lambda: M.reversible_chain([], randn(2), randn(2)), "at least one block"),
        (
            lambda: M.reversible_chain_inverse(
                blocks_of(1), randn(2, 8), randn(3, 8)
            ),
            "y2 must have the shape of y1",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
