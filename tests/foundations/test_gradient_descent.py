"""Optimizers against torch.optim over 50 steps, Newton's rules against scipy, theory against measured rates."""

import copy
import io
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize._trustregion_exact import IterativeSubproblem
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.foundations import gradient_descent as G
from lbdl.foundations.gradient_descent_optim import Optimizer

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, device: str = "cpu") -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=DOUBLE).to(device)


# --- Every rule is torch's

PAIRS = {
    "gradient descent": (G.gradient_descent, {}, partial(torch.optim.SGD)),
    "heavy ball": (
        G.heavy_ball,
        {"beta": 0.9},
        partial(torch.optim.SGD, momentum=0.9),
    ),
    "nesterov": (
        G.nesterov,
        {"beta": 0.9},
        partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (
        G.rmsprop,
        {"beta": 0.95, "eps": 1e-7},
        partial(torch.optim.RMSprop, alpha=0.95, eps=1e-7),
    ),
    "adam": (G.adam, {}, torch.optim.Adam),
    "adam, other betas": (
        G.adam,
        {"betas": (0.5, 0.9)},
        partial(torch.optim.Adam, betas=(0.5, 0.9)),
    ),
    "adamw": (
        G.adamw,
        {"decay": 0.1},
        partial(torch.optim.AdamW, weight_decay=0.1),
    ),
    "heavy ball with L2": (
        G.with_l2(G.heavy_ball, 0.1),
        {"beta": 0.9},
        partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
    ),
    "rmsprop with L2": (
        G.with_l2(G.rmsprop, 0.1),
        {"beta": 0.99, "eps": 1e-8},
        partial(torch.optim.RMSprop, weight_decay=0.1),
    ),
    "adam with L2": (
        G.with_l2(G.adam, 0.1),
        {},
        partial(torch.optim.Adam, weight_decay=0.1),
    ),
}


def small_network(device: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(
        device, DOUBLE
    )


def train_steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, scheduler=None
) -> None:
    for step in steps:
        x, y = randn(16, 5, seed=step), torch.arange(16) % 3
        x, y = (z.to(next(model.parameters()).device) for z in (x, y))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, **CLOSE)


@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_on_a_network_are_those_of_torch(
    name: str, device: str
) -> None:
    rule, options, torch_optimizer = PAIRS[name]
    ours, theirs = small_network(device), small_network(device)
    train_steps(
        ours, Optimizer(ours.parameters(), rule, lr=0.02, **options), range(50)
    )
    train_steps(theirs, torch_optimizer(theirs.parameters(), lr=0.02), range(50))
    assert_same_weights(ours, theirs)
    assert (
        ours[0].weight - small_network(device)[0].weight
    ).abs().max() > 1e-3  # they moved


@pytest.mark.parametrize("name", PAIRS)
def test_saved_and_restored_in_the_middle_is_the_same_path(
    name: str, device: str
) -> None:
    rule, options, torch_optimizer = PAIRS[name]
    ours, theirs = small_network(device), small_network(device)
    first = Optimizer(ours.parameters(), rule, lr=0.02, **options)
    train_steps(ours, first, range(25))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again = copy.deepcopy(ours)
    # the saved rate replaces this one
    second = Optimizer(again.parameters(), rule, lr=1.0, **options)
    second.load_state_dict(torch.load(file, weights_only=True))
    train_steps(again, second, range(25, 50))
    train_steps(theirs, torch_optimizer(theirs.parameters(), lr=0.02), range(50))
    assert_same_weights(again, theirs)


@pytest.mark.parametrize("name", PAIRS)
def test_torch_schedulers_drive_our_rules(name: str) -> None:
    rule, options, torch_optimizer = PAIRS[name]
    ours, theirs = small_network("cpu"), small_network("cpu")
    for model, optimizer in (
        (ours, Optimizer(ours.parameters(), rule, lr=0.05, **options)),
        (theirs, torch_optimizer(theirs.parameters(), lr=0.05)),
    ):
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, 7
        )
        train_steps(model, optimizer, range(30), scheduler)
    assert_same_weights(ours, theirs)


def test_parameter_groups_and_frozen_parameters() -> None:
    ours, theirs = small_network("cpu"), small_network("cpu")
    ours[0].bias.requires_grad_(False)
    theirs[0].bias.requires_grad_(False)
    groups = lambda m: [
        {"params": m[0].parameters()},
        {"params": m[2].parameters(), "lr": 0.1},
    ]
    train_steps(ours, Optimizer(groups(ours), G.adam, lr=0.01), range(20))
    train_steps(theirs, torch.optim.Adam(groups(theirs), lr=0.01), range(20))
    assert_same_weights(ours, theirs)


def test_the_optimizer_returns_the_loss_of_its_closure() -> None:
    w = nn.Parameter(torch.tensor(3.0))
    optimizer = Optimizer([w], G.gradient_descent, lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = w**2
        loss.backward()
        return loss

    assert optimizer.step(closure) == 9.0
    assert w.item() == pytest.approx(2.4)


# --- The whole contract of torch's interface


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("to_none", [True, False])
def test_accumulated_gradients_are_walked_as_torch_walks_them(
    name: str, to_none: bool
) -> None:
    """A state that was the gradient itself would be written into by the next backward
    pass."""
    rule, options, torch_optimizer = PAIRS[name]
    ends = []
    for make in (lambda p: Optimizer(p, rule, lr=0.02, **options), torch_optimizer):
        w = nn.Parameter(torch.ones(3, dtype=DOUBLE))
        optimizer = make([w])
        optimizer.param_groups[0]["lr"] = 0.02
        for c in (1.0, 2.0, 3.0, 4.0):
            if c != 3:  # the third step adds to the gradient of the second
                optimizer.zero_grad(set_to_none=to_none)
            (c * w.square().sum()).backward()
            optimizer.step()
        ends.append(w.detach())
    torch.testing.assert_close(*ends, **CLOSE)


def test_the_velocity_does_not_follow_the_gradient() -> None:
    """w = 1, losses c w for c = 1, 2, 3, gradients accumulated: .049, not -.122."""
    w = nn.Parameter(torch.tensor(1.0, dtype=DOUBLE))
    optimizer = Optimizer([w], G.heavy_ball, lr=0.1, beta=0.9)
    same = nn.Parameter(torch.tensor(1.0, dtype=DOUBLE))
    theirs = torch.optim.SGD([same], lr=0.1, momentum=0.9)
    for c in (1.0, 2.0, 3.0):
        (c * w).backward()
        (c * same).backward()
        optimizer.step()
        theirs.step()
    torch.testing.assert_close(w, same, **CLOSE)


def groups_of(model: nn.Module, name: str, first: object, second: object) -> list:
    return [
        {"params": model[0].parameters(), name: first},
        {"params": model[2].parameters(), name: second},
    ]


@pytest.mark.parametrize(
    ("rule", "make", "ours", "theirs", "values"),
    [
        (G.heavy_ball, torch.optim.SGD, "beta", "momentum", (0.5, 0.9)),
        (G.rmsprop, torch.optim.RMSprop, "beta", "alpha", (0.5, 0.9)),
        (G.adam, torch.optim.Adam, "betas", "betas", ((0.5, 0.9), (0.9, 0.99))),
        (G.adam, torch.optim.Adam, "eps", "eps", (1e-3, 1e-6)),
        (G.adamw, torch.optim.AdamW, "decay", "weight_decay", (0.3, 0.0)),
    ],
)
def test_a_group_has_options_that_the_constructor_did_not_name(
    rule, make, ours, theirs, values
) -> None:
    first, second = small_network("cpu"), small_network("cpu")
    train_steps(
        first, Optimizer(groups_of(first, ours, *values), rule, lr=0.01), range(15)
    )
    train_steps(
        second, make(groups_of(second, theirs, *values), lr=0.01), range(15)
    )
    assert_same_weights(first, second)


def test_a_group_that_comes_later() -> None:
    ours, theirs = small_network("cpu"), small_network("cpu")
    for model, make, name in (
        (ours, lambda p: Optimizer(p, G.heavy_ball, lr=0.05, beta=0.9), "beta"),
        (theirs, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), "momentum"),
    ):
        optimizer = make(model[0].parameters())
        train_steps(model, optimizer, range(10))
        later = {"params": model[2].parameters(), "lr": 0.01, name: 0.5}
        optimizer.add_param_group(later)
        train_steps(model, optimizer, range(10, 20))
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
)
def test_copies_and_pickles_go_on_as_the_original(name: str, copied) -> None:
    rule, options, _ = PAIRS[name]
    model = small_network("cpu")
    optimizer = Optimizer(model.parameters(), rule, lr=0.02, **options)
    train_steps(model, optimizer, range(5))
    twin, its_optimizer = copied((model, optimizer))
    for walker, its in ((model, optimizer), (twin, its_optimizer)):
        train_steps(walker, its, range(5, 10))
    assert_same_weights(model, twin)
    assert twin[0].weight is not model[0].weight


def test_a_schedule_moves_the_betas_too() -> None:
    """OneCycleLR turns beta1 down while the rate goes up, where it finds `betas`."""
    ours, theirs = small_network("cpu"), small_network("cpu")
    for model, optimizer in (
        (ours, Optimizer(ours.parameters(), G.adam, lr=0.01)),
        (theirs, torch.optim.Adam(theirs.parameters(), lr=0.01)),
    ):
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=20)
        train_steps(model, optimizer, range(20), cycle)
    assert_same_weights(ours, theirs)


@given(data=st.data())
def test_random_configurations_are_torchs(data: st.DataObject) -> None:
    momentum = data.draw(st.floats(0.0, 0.95))
    betas = (momentum, data.draw(st.floats(0.1, 0.999)))
    eps, decay = 10 ** data.draw(st.floats(-8, -2)), data.draw(st.floats(0, 0.5))
    rule, options, make, theirs = data.draw(
        st.sampled_from(
            [
                (G.heavy_ball, {"beta": momentum}, torch.optim.SGD, {}),
                (G.nesterov, {"beta": momentum}, torch.optim.SGD, {"nesterov": 1}),
                (
                    G.rmsprop,
                    {"beta": betas[1], "eps": eps},
                    torch.optim.RMSprop,
                    {},
                ),
                (G.adam, {"betas": betas, "eps": eps}, torch.optim.Adam, {}),
                (G.adamw, {"betas": betas, "eps": eps}, torch.optim.AdamW, {}),
            ]
        )
    )
    if make is torch.optim.SGD:
        theirs = {**theirs, "momentum": momentum + 1e-3}
        options = {"beta": momentum + 1e-3}
    elif make is torch.optim.RMSprop:
        theirs = {"alpha": betas[1], "eps": eps}
    else:
        theirs = {"betas": betas, "eps": eps}
    if rule is G.adamw:
        options = {**options, "decay": decay}
    else:
        rule = G.with_l2(rule, decay)
    ours, other = small_network("cpu"), small_network("cpu")
    lr = 10 ** data.draw(st.floats(-4, -1))
    train_steps(
        ours, Optimizer(ours.parameters(), rule, lr=lr, **options), range(4)
    )
    its = make(other.parameters(), lr=lr, weight_decay=decay, **theirs)
    train_steps(other, its, range(4))
    for p, q in zip(ours.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_what_is_not_named_is_as_torch_has_it() -> None:
    """The defaults: lr, betas, eps and decay of torch; momentum .9, which torch has
    not."""
    for rule, make in (
        (G.adam, torch.optim.Adam),
        (G.adamw, torch.optim.AdamW),
        (G.rmsprop, partial(torch.optim.RMSprop, lr=1e-3)),
        (G.heavy_ball, partial(torch.optim.SGD, momentum=0.9)),
        (G.nesterov, partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    ):
        ours, theirs = small_network("cpu"), small_network("cpu")
        train_steps(ours, Optimizer(ours.parameters(), rule), range(8))
        train_steps(theirs, make(theirs.parameters()), range(8))
        assert_same_weights(ours, theirs)
    w, g, v = randn(3), randn(3, seed=1), randn(3, seed=2)
    for named, default in (
        (partial(G.adam, lr=1e-3, betas=(0.9, 0.999), eps=1e-8), G.adam),
        (partial(G.adamw, lr=1e-3, decay=0.01), G.adamw),
        (partial(G.rmsprop, lr=1, beta=0.99, eps=1e-8), partial(G.rmsprop, lr=1)),
    ):
        torch.testing.assert_close(named(w, g)[0], default(w, g)[0], **CLOSE)
    looked = G.nesterov_lookahead(w, lambda u: u**3, v, lr=0.1)[0]
    torch.testing.assert_close(
        looked, G.nesterov_lookahead(w, lambda u: u**3, v, lr=0.1, beta=0.9)[0]
    )


def test_hooks_see_every_step() -> None:
    w, seen = nn.Parameter(torch.ones(1)), []
    optimizer = Optimizer([w], G.gradient_descent, lr=0.1)
    optimizer.register_step_post_hook(lambda *_: seen.append(w.item()))
    w.grad = torch.ones(1)
    optimizer.step()
    assert seen == [pytest.approx(0.9)]


@pytest.mark.parametrize("name", PAIRS)
def test_complex_weights_and_sparse_gradients_are_refused(name: str) -> None:
    rule, options, _ = PAIRS[name]
    z = torch.ones(2, dtype=torch.complex64)
    with pytest.raises(
        TypeError, match=r"w must be a floating tensor, got torch\.c"
    ):
        rule(z, z, None, lr=0.1, **options)
    with pytest.raises(TypeError, match="params must be a floating tensor"):
        Optimizer([z], rule, lr=0.1, **options)
    with pytest.raises(TypeError, match="gradient must have the dtype of w"):
        rule(torch.ones(2), torch.ones(2, dtype=DOUBLE), None, lr=0.1, **options)
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2).to_sparse()
    with pytest.raises(TypeError, match="gradient must be dense"):
        Optimizer([w], rule, lr=0.1, **options).step()


def test_an_option_that_a_rule_does_not_know() -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    with pytest.raises(TypeError, match="momentum"):
        Optimizer([w], G.heavy_ball, lr=0.1, momentum=0.9).step()


# --- The fast way


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_in_place_is_the_plain_rule(decay: float, device: str) -> None:
    shapes = ((3, 4), (7,), (), (2, 3, 5))
    plain = [randn(*shape, seed=i, device=device) for i, shape in enumerate(shapes)]
    fast, states, state = [w.clone() for w in plain], [None] * len(plain), None
    for step in range(50):
        gradients = [randn(*w.shape, seed=100 + step, device=device) for w in plain]
        for i, (w, g) in enumerate(zip(plain, gradients, strict=True)):
            plain[i], states[i] = G.adamw(w, g, states[i], lr=0.03, decay=decay)
        state = G.adam_(fast, gradients, state, lr=0.03, decay=decay)
    for w, f in zip(plain, fast, strict=True):
        torch.testing.assert_close(f, w, **CLOSE)


def test_adam_in_place_moves_views_and_parameters() -> None:
    base = randn(6, 4)
    view, parameter = base[:, ::2], nn.Parameter(randn(3))
    expected = [
        G.adam(w.detach(), torch.ones_like(w), lr=0.1)[0] for w in (view, parameter)
    ]
    G.adam_(
        [view, parameter],
        [torch.ones_like(view), torch.ones_like(parameter)],
        lr=0.1,
    )
    torch.testing.assert_close(base[:, ::2], expected[0], **CLOSE)
    torch.testing.assert_close(parameter.detach(), expected[1], **CLOSE)


# --- What each rule promises


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_adam_forgets_the_scale_of_the_gradient(scale: float, seed: int) -> None:
    w, state, scaled, scaled_state = randn(4), None, randn(4), None
    for step in range(5):
        g = randn(4, seed=seed + step)
        w, state = G.adam(w, g, state, lr=0.1, eps=1e-300)
        scaled, scaled_state = G.adam(
            scaled, scale * g, scaled_state, lr=0.1, eps=1e-300
        )
    torch.testing.assert_close(w, scaled, rtol=1e-9, atol=1e-9)


def test_first_step_of_adam_is_lr_times_the_sign() -> None:
    gradient = torch.tensor([1e-3, 1e3, -2.0], dtype=DOUBLE)
    w, (m, v, t) = G.adam(torch.zeros(3, dtype=DOUBLE), gradient, lr=0.1)
    torch.testing.assert_close(w, -0.1 * gradient.sign(), rtol=0, atol=2e-6)
    assert t == 1
    # uncentred: a constant gradient has variance 0
    torch.testing.assert_close(v, 0.001 * gradient**2)
    torch.testing.assert_close(m, 0.1 * gradient)


def test_lookahead_and_torch_form_of_nesterov_are_one_path() -> None:
    curvature = torch.tensor([1.0, 3.0, 10.0], dtype=DOUBLE)
    lr, beta = 0.05, 0.8
    w, v, seen, state = randn(3), None, randn(3), None
    for _ in range(20):
        w, v = G.nesterov_lookahead(w, lambda u: curvature * u, v, lr=lr, beta=beta)
        seen, state = G.nesterov(seen, curvature * seen, state, lr=lr, beta=beta)
        torch.testing.assert_close(seen, w - lr * beta * v, **CLOSE)


def test_the_two_forms_of_nesterov_part_when_the_rate_changes() -> None:
    """f = w^2 / 2 from 1, momentum .9, rate .5 and then .1: -.0405 against .2511."""
    w, v = torch.ones(1, dtype=DOUBLE), None
    seen, state = torch.ones(1, dtype=DOUBLE), None
    for lr in (0.5, 0.1):
        w, v = G.nesterov_lookahead(w, lambda u: u, v, lr=lr)
        seen, state = G.nesterov(seen, seen, state, lr=lr)
    assert seen.item() == pytest.approx(-0.0405, abs=1e-9)
    assert (w - 0.1 * 0.9 * v).item() == pytest.approx(0.2511, abs=1e-9)


def test_polyak_form_of_the_heavy_ball_is_the_same_path_at_a_constant_rate() -> (
    None
):
    lr, beta, w, state, polyak, displacement = (
        0.05,
        0.8,
        randn(3),
        None,
        randn(3),
        torch.zeros(3, dtype=DOUBLE),
    )
    for _ in range(20):
        w, state = G.heavy_ball(w, w**3, state, lr=lr, beta=beta)
        displacement = beta * displacement - lr * polyak**3
        polyak = polyak + displacement
        torch.testing.assert_close(w, polyak, **CLOSE)


@pytest.mark.parametrize("rule", [G.heavy_ball, G.nesterov])
def test_without_momentum_it_is_gradient_descent(rule) -> None:
    w, g = randn(4), randn(4, seed=1)
    for state in (None, randn(4, seed=2)):
        torch.testing.assert_close(
            rule(w, g, state, lr=0.3, beta=0.0)[0],
            G.gradient_descent(w, g, lr=0.3)[0],
        )


def test_gradient_descent_minimises_its_proximal_model() -> None:
    w, g, lr = randn(5), randn(5, seed=1), 0.3
    model = lambda u: g @ (u - w) + (u - w).square().sum() / (2 * lr)
    stepped, _ = G.gradient_descent(w, g, lr=lr)
    torch.testing.assert_close(
        G.gradient_of(model, stepped), torch.zeros_like(w), **CLOSE
    )


def test_l2_and_decoupled_decay_agree_for_descent_and_not_for_adam() -> None:
    w, g = randn(4), randn(4, seed=1)
    torch.testing.assert_close(
        G.with_l2(G.gradient_descent, 0.5)(w, g, lr=0.1)[0],
        (1 - 0.05) * w - 0.1 * g,
        **CLOSE,
    )
    assert (
        G.with_l2(G.adam, 0.5)(w, g, lr=0.1)[0]
        - G.adamw(w, g, lr=0.1, decay=0.5)[0]
    ).abs().max() > 1e-2


@pytest.mark.parametrize("rule", [G.adam, G.adamw, G.rmsprop])
def test_small_gradients_are_not_lost_in_half_precision(rule) -> None:
    """The square of 1e-4 is 0 in float16, and lr g / eps would be a huge step."""
    w, g = torch.ones(3, dtype=torch.float16), torch.tensor([1e-4, -1e-4, 0.0])
    moved, state = rule(w, g.half(), None, lr=0.1)
    moved, _ = rule(moved, g.half(), state, lr=0.1)
    exact, state = rule(w.double(), g.double(), None, lr=0.1)
    exact, _ = rule(exact, g.double(), state, lr=0.1)
    assert moved.dtype == torch.float16
    torch.testing.assert_close(moved.double(), exact, rtol=2e-3, atol=2e-3)
    weights, memory = [w.clone()], None
    for _ in range(2):
        memory = G.adam_(weights, [g.half()], memory, lr=0.1)
    exact, state = G.adam(w.double(), g.double(), None, lr=0.1)
    exact, _ = G.adam(exact, g.double(), state, lr=0.1)
    assert weights[0].dtype == torch.float16
    torch.testing.assert_close(weights[0].double(), exact, rtol=2e-3, atol=2e-3)


def test_a_nan_in_the_gradient_of_an_input_is_not_lost() -> None:
    g = torch.tensor([math.nan, 1.0, math.inf, 0.0])
    moved = G.fgsm(torch.zeros(4), g, 0.1)
    assert moved[0].isnan()
    torch.testing.assert_close(moved[1:], torch.tensor([0.1, 0.1, 0.0]))


def test_the_bowl_and_the_best_point_are_copies() -> None:
    curvature, w0 = torch.ones(2), torch.ones(2)
    bowl = G.quadratic_bowl(curvature)
    best, _ = G.minimize(G.gradient_descent, bowl, w0, max_steps=0, lr=0.1)
    curvature.mul_(9)
    w0.mul_(9)
    assert bowl(torch.ones(2)) == 1
    assert best.tolist() == [1, 1]


def test_against_the_gradient_is_down_and_along_it_is_up() -> None:
    w, g = torch.tensor([1.0]), torch.tensor([2.0])  # f = w^2
    assert G.gradient_descent(w, g, lr=0.1)[0].square() < 1 < (w + 0.1 * g).square()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", PAIRS)
def test_every_dtype_is_kept(name: str, dtype: torch.dtype, device: str) -> None:
    rule, options, _ = PAIRS[name]
    w, g = (
        randn(6, device=device).to(dtype),
        randn(6, seed=1, device=device).to(dtype),
    )
    options = {**options, "eps": 1e-4} if "eps" in options else options
    moved, state = rule(w, g, None, lr=0.1, **options)
    moved, _ = rule(moved, g, state, lr=0.1, **options)
    exact, exact_state = rule(w.double(), g.double(), None, lr=0.1, **options)
    exact, _ = rule(exact, g.double(), exact_state, lr=0.1, **options)
    assert moved.dtype == dtype
    torch.testing.assert_close(moved.double(), exact, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("name", PAIRS)
def test_steps_are_differentiable(name: str) -> None:
    rule, options, _ = PAIRS[name]

    def two_steps(w: Tensor, g: Tensor, lr: Tensor) -> Tensor:
        moved, state = rule(w, g, None, lr=lr, **options)
        return rule(moved, g * moved, state, lr=lr, **options)[0]

    inputs = [randn(3, seed=i).requires_grad_() for i in range(2)]
    assert torch.autograd.gradcheck(
        two_steps, (*inputs, torch.tensor(0.1, dtype=DOUBLE, requires_grad=True))
    )


def test_a_batch_of_rates_is_a_batch_of_descents(device: str) -> None:
    f = G.quadratic_bowl(torch.tensor([1.0, 4.0], dtype=DOUBLE, device=device))
    rates = torch.tensor([[0.1], [0.3], [0.49]], dtype=DOUBLE, device=device)
    start = torch.ones(3, 2, dtype=DOUBLE, device=device)
    together = G.trajectory(G.heavy_ball, f, start, 10, lr=rates, beta=0.5)
    assert together.shape == (11, 3, 2)
    for i, lr in enumerate(rates[:, 0].tolist()):
        alone = G.trajectory(G.heavy_ball, f, start[i], 10, lr=lr, beta=0.5)
        torch.testing.assert_close(together[:, i], alone, **CLOSE)


# --- Steepest in other norms, Muon, schedule-free

DUAL = {
    "euclidean": lambda g: torch.linalg.vector_norm(g, 2, dim=(-2, -1)),
    "largest": lambda g: g.abs().sum((-2, -1)),
    "spectral": lambda g: torch.linalg.matrix_norm(g, "nuc"),
}
OWN = {
    "euclidean": DUAL["euclidean"],
    "largest": lambda u: u.abs().amax((-2, -1)),
    "spectral": lambda u: torch.linalg.matrix_norm(u, 2),
}


@pytest.mark.parametrize("norm", DUAL)
def test_no_direction_of_length_one_is_steeper(norm: str, device: str) -> None:
    g = randn(4, 3, device=device)
    flat = g.flatten() if norm == "euclidean" else g
    u = G.steepest_direction(flat, norm).view_as(g)
    rivals = randn(5000, 4, 3, seed=1, device=device)
    rivals = rivals / OWN[norm](rivals)[:, None, None]
    slope = (g * u).sum()
    torch.testing.assert_close(slope, DUAL[norm](g), **CLOSE)
    torch.testing.assert_close(OWN[norm](u), torch.ones_like(slope), **CLOSE)
    assert (g * rivals).sum((-2, -1)).max() <= slope + 1e-12


def test_the_steepest_direction_of_nothing_is_nothing() -> None:
    for norm in DUAL:
        assert not G.steepest_direction(torch.zeros(3, 2), norm).any()
    flat = torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]))  # rank 1
    torch.testing.assert_close(G.steepest_direction(flat, "spectral"), flat / 5)


def test_without_memory_adam_goes_by_signs_and_muon_by_the_polar_factor() -> None:
    w, g = randn(4, 3), randn(4, 3, seed=1)
    bare = G.adam(w, g, lr=0.1, betas=(0.0, 0.0), eps=0.0)[0]
    signs = G.steepest_descent(w, g, lr=0.1, norm="largest")[0]
    torch.testing.assert_close(bare, signs, **CLOSE)
    polar = G.steepest_descent(w, g, lr=0.1, norm="spectral")[0] - w
    near = G.muon(w, g, lr=0.1, beta=0.0, decay=0.0, dtype=DOUBLE)[0] - w
    near = near / math.sqrt(4 / 3)  # the shape's factor
    assert (near - polar).norm() < 0.3 * polar.norm()


def test_muon_is_torchs() -> None:
    """Fifty steps, each from the same weights: torch rounds to bfloat16 on the way."""

    def matrices() -> nn.Module:
        torch.manual_seed(0)
        layers = [
            nn.Linear(a, b, bias=False) for a, b in ((5, 16), (16, 8), (8, 3))
        ]
        return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])

    ours, theirs = matrices(), matrices()
    first = Optimizer(ours.parameters(), G.muon, lr=0.02)
    second = torch.optim.Muon(theirs.parameters(), lr=0.02)
    for step in range(50):
        x, y = randn(16, 5, seed=step).float(), torch.arange(16) % 3
        before = [p.detach().clone() for p in theirs.parameters()]
        for model, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        pairs = zip(ours.parameters(), theirs.parameters(), before, strict=True)
        for p, q, origin in pairs:
            assert (p - q).norm() < 0.03 * (q - origin).norm(), step
        ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_one_step_of_muon_is_torchs_to_the_last_digits(shape) -> None:
    w, g = randn(*shape).float(), randn(*shape, seed=1).float()
    p = nn.Parameter(w.clone())
    theirs = torch.optim.Muon(
        [p], lr=0.1, momentum=0.9, weight_decay=0.3, ns_steps=3
    )
    state, moved = None, w
    for _ in range(3):
        p.grad = g.clone()
        theirs.step()
        moved, state = G.muon(moved, g, state, lr=0.1, beta=0.9, decay=0.3, steps=3)
    torch.testing.assert_close(moved, p.detach(), rtol=0, atol=2e-3)


def test_muon_needs_matrices() -> None:
    with pytest.raises(ValueError, match=r"w must be \(\.\.\., n, d\)"):
        G.muon(torch.ones(3), torch.ones(3))


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_schedule_free_is_the_algorithm_of_its_paper(beta: float) -> None:
    curvature = torch.tensor([1.0, 5.0], dtype=DOUBLE)
    z = x = y = torch.ones(2, dtype=DOUBLE)
    w, state = y, None
    for t in range(1, 30):
        w, state = G.schedule_free(w, curvature * w, state, lr=0.3, beta=beta)
        z = z - 0.3 * curvature * ((1 - beta) * z + beta * x)
        x = (1 - 1 / t) * x + z / t
        torch.testing.assert_close(w, (1 - beta) * z + beta * x, **CLOSE)
        torch.testing.assert_close(state[0], z, **CLOSE)
        torch.testing.assert_close(state[1], x, **CLOSE)
    assert state[2] == 29


def test_without_its_pull_schedule_free_is_descent_and_its_mean() -> None:
    w, state, path = randn(3), None, []
    plain = w
    for _ in range(20):
        w, state = G.schedule_free(w, w**3, state, lr=0.1, beta=0.0)
        plain = plain - 0.1 * plain**3
        path.append(plain)
    torch.testing.assert_close(w, plain, **CLOSE)
    torch.testing.assert_close(state[1], torch.stack(path).mean(0), **CLOSE)


# --- Newton


def test_newton_solves_a_quadratic_at_once_and_falls_for_a_saddle() -> None:
    half = randn(4, 4)
    hessian, w = half @ half.T + torch.eye(4), randn(4, seed=1)
    path = G.newton_trajectory(G.newton, lambda u: u @ hessian @ u / 2, w, 1)
    torch.testing.assert_close(
        path[-1], torch.zeros(4, dtype=DOUBLE), rtol=0, atol=1e-12
    )
    start = torch.tensor([1.0, 0.5], dtype=DOUBLE)
    assert G.newton_trajectory(G.newton, G.saddle, start, 1)[-1].tolist() == [
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(
    "rule",
    [
        partial(G.damped_newton, damping=4.0),
        partial(G.saddle_free_newton, damping=0.5),
        partial(G.trust_region_newton, radius=0.5),
    ],
)
def test_the_mended_newtons_leave_a_saddle(rule) -> None:
    path = G.newton_trajectory(
        rule, G.saddle, torch.tensor([1.0, 0.5], dtype=DOUBLE), 12
    )
    assert G.saddle(path[-1]) < -1
    assert bool((G.saddle(path).diff() < 0).all())


def test_damping_goes_from_newton_to_gradient_descent() -> None:
    w, half = randn(3), randn(3, 3)
    g, h = randn(3, seed=1), half @ half.T + torch.eye(3)
    torch.testing.assert_close(
        G.damped_newton(w, g, h, damping=0.0), w - torch.linalg.inv(h) @ g
    )
    far = G.damped_newton(w, g, h, damping=1e9)
    torch.testing.assert_close((far - w) * 1e9, -g, rtol=1e-6, atol=1e-6)


def test_saddle_free_is_newton_on_convex_ground() -> None:
    w, g, half = randn(3), randn(3, seed=1), randn(3, 3, seed=2)
    h = half @ half.T + torch.eye(3)
    torch.testing.assert_close(G.saddle_free_newton(w, g, h), G.newton(w, g, h))


def quadratic_gain(p: Tensor, g: Tensor, h: Tensor) -> Tensor:
    return (g * p).sum(-1) + torch.einsum("...i,...ij,...j->...", p, h, p) / 2


@given(seed=st.integers(0, 500), radius=st.floats(0.05, 20.0))
def test_trust_region_is_scipys_solution(seed: int, radius: float) -> None:
    half = randn(4, 4, seed=seed)
    h, g = half + half.T, randn(4, seed=seed + 1)  # indefinite as a rule
    p = G.trust_region_newton(torch.zeros(4, dtype=DOUBLE), g, h, radius=radius)
    problem = IterativeSubproblem(
        x=np.zeros(4),
        fun=lambda x: 0.0,
        jac=lambda x: g.numpy(),
        hess=lambda x: h.numpy(),
        k_easy=1e-10,
    )
    theirs = torch.from_numpy(np.asarray(problem.solve(radius)[0]))
    assert p.norm() <= radius * (1 + 1e-9)
    assert (
        quadratic_gain(p, g, h) <= quadratic_gain(theirs, g, h) * (1 - 1e-6) + 1e-9
    )


@pytest.mark.parametrize(
    ("g", "h"),
    [
        (
            [2.0, 0.0],
            [2.0, -2.0],
        ),  # the ridge of the saddle: no slope along the negative curvature
        ([0.0, 0.0], [2.0, -2.0]),  # the saddle itself
        ([0.0, 1e-14], [2.0, -2.0]),
        ([0.3, 0.0], [1.0, 0.0]),  # flat along one axis: Newton along the other
        ([0.0, 0.0], [1.0, 1.0]),  # the minimum: stay
        ([3.0, 4.0], [-1.0, -1.0]),
    ],
)
def test_trust_region_in_the_hard_cases_is_the_best_of_a_fine_net(
    g: list, h: list
) -> None:
    g, h = torch.tensor(g, dtype=DOUBLE), torch.diag(torch.tensor(h, dtype=DOUBLE))
    p = G.trust_region_newton(torch.zeros(2, dtype=DOUBLE), g, h, radius=1.0)
    angle, length = torch.meshgrid(
        torch.linspace(0, 2 * math.pi, 721, dtype=DOUBLE),
        torch.linspace(0, 1, 101, dtype=DOUBLE),
        indexing="ij",
    )
    net = torch.stack([length * angle.cos(), length * angle.sin()], -1)
    assert p.norm() <= 1 + 1e-9
    assert quadratic_gain(p, g, h) <= quadratic_gain(net, g, h).min() + 1e-9


def test_second_order_rules_are_batched(device: str) -> None:
    w, g = randn(2, 3, 4, device=device), randn(2, 3, 4, seed=1, device=device)
    half = randn(2, 3, 4, 4, seed=2, device=device)
    h = half + half.mT
    for rule in (
        G.newton,
        G.damped_newton,
        G.saddle_free_newton,
        G.trust_region_newton,
    ):
        together = rule(w, g, h)
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(
                    together[i, j], rule(w[i, j], g[i, j], h[i, j])
                )


def test_gradient_and_hessian_of_rosenbrock() -> None:
    points = randn(5, 2)
    gradient, hessian = G.gradient_and_hessian(G.rosenbrock, points)
    x, y = points.unbind(-1)
    by_hand = torch.stack(
        [-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)], -1
    )
    torch.testing.assert_close(gradient, by_hand)
    torch.testing.assert_close(G.gradient_of(G.rosenbrock, points), by_hand)
    torch.testing.assert_close(hessian[:, 0, 0], 2 - 400 * (y - 3 * x**2))
    torch.testing.assert_close(hessian[:, 0, 1], -400 * x)
    torch.testing.assert_close(
        hessian[:, 1, 1], torch.full((5,), 200.0, dtype=DOUBLE)
    )


# --- Paths


def test_trajectory_is_detached_and_starts_at_the_start() -> None:
    w0 = randn(2).requires_grad_()
    path = G.trajectory(G.adam, G.rosenbrock, w0, 3, lr=0.1)
    assert path.shape == (4, 2)
    assert not path.requires_grad
    torch.testing.assert_close(path[0], w0.detach())
    assert G.trajectory(G.adam, G.rosenbrock, w0, 0).shape == (1, 2)


def test_gradient_descent_on_a_square_by_formula() -> None:
    """f = x^2 at rate .1: x_30 = .8^30 x_0 = .001238 x_0."""
    path = G.trajectory(
        G.gradient_descent,
        lambda w: w[0] ** 2,
        torch.ones(1, dtype=DOUBLE),
        30,
        lr=0.1,
    )
    torch.testing.assert_close(path[:, 0], 0.8 ** torch.arange(31, dtype=DOUBLE))
    assert path[-1].item() == pytest.approx(0.001238, abs=5e-7)


def test_minimize_keeps_the_best_point_and_not_the_last() -> None:
    w0 = torch.tensor([1.0], dtype=DOUBLE)
    best, values = G.minimize(
        G.gradient_descent, lambda w: w[0] ** 2, w0, lr=1.1, max_steps=5
    )  # diverges: every step is worse
    assert best.item() == 1.0
    assert values.argmin() == 0
    assert len(values) == 6


@pytest.mark.parametrize(
    "rule", [partial(G.heavy_ball, lr=1e-3), partial(G.nesterov, lr=1e-3)]
)
def test_minimize_finds_the_minimum_of_rosenbrock(rule) -> None:
    start = torch.tensor([-0.5, 0.5], dtype=DOUBLE)
    best, values = G.minimize(
        rule, G.rosenbrock, start, tolerance=1e-4, max_steps=30_000
    )
    torch.testing.assert_close(best, torch.ones(2, dtype=DOUBLE), atol=1e-3, rtol=0)
    assert len(values) < 30_001
    assert G.gradient_of(G.rosenbrock, best).norm() <= 1e-4


# --- Theory


def measured_rate(rule, curvature: list[float], **options) -> float:
    """The factor by which the error shrinks per step, seen over the last 200 of 600."""
    h = torch.tensor(curvature, dtype=DOUBLE)
    path = G.trajectory(
        rule, G.quadratic_bowl(h), torch.ones_like(h), 600, **options
    )
    sizes = path.norm(dim=-1)
    return float((sizes[600] / sizes[400]) ** (1 / 200))


def test_stability_limit_of_gradient_descent_in_numbers() -> None:
    """Curvature 4: the limit is .5; .49 converges, .51 diverges."""
    assert G.stability_limit(4.0) == 0.5
    assert (
        measured_rate(G.gradient_descent, [4.0], lr=0.49)
        < 1
        < measured_rate(G.gradient_descent, [4.0], lr=0.51)
    )


@pytest.mark.parametrize("lookahead", [False, True])
@given(h=st.floats(0.1, 10.0), beta=st.floats(0.0, 0.95))
def test_stability_limit_is_where_the_spectral_radius_crosses_one(
    lookahead: bool, h: float, beta: float
) -> None:
    limit = G.stability_limit(h, beta, lookahead=lookahead)
    curvature = torch.tensor(h, dtype=DOUBLE)
    for factor, stable in ((0.999, True), (1.001, False)):
        matrix = G.iteration_matrix(
            curvature, factor * limit, beta, lookahead=lookahead
        )
        assert (G.spectral_radius(matrix) < 1) == stable


@pytest.mark.parametrize("lookahead", [False, True])
def test_iteration_matrix_is_one_step_of_the_rule(lookahead: bool) -> None:
    h, lr, beta = torch.tensor(3.0, dtype=DOUBLE), 0.1, 0.7
    w, v = randn(2)
    rule = G.nesterov if lookahead else G.heavy_ball
    moved, velocity = rule(w, h * w, v, lr=lr, beta=beta)
    stepped = G.iteration_matrix(h, lr, beta, lookahead=lookahead) @ torch.stack(
        [w, v]
    )
    torch.testing.assert_close(stepped, torch.stack([moved, velocity]), **CLOSE)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rule", [G.heavy_ball, G.nesterov])
def test_spectral_radius_is_the_measured_rate(rule, beta: float) -> None:
    h = torch.tensor([1.0, 4.0], dtype=DOUBLE)
    matrix = G.iteration_matrix(h, 0.2, beta, lookahead=rule is G.nesterov)
    predicted = float(G.spectral_radius(matrix).max())
    assert measured_rate(rule, [1.0, 4.0], lr=0.2, beta=beta) == pytest.approx(
        predicted, rel=0.01
    )


def test_best_constants_for_condition_number_100() -> None:
    """Rates .980 and .818; 691 and 69 steps for 1e-6."""
    lr, rate = G.best_rate(1.0, 100.0)
    assert rate == pytest.approx(99 / 101)
    assert measured_rate(G.gradient_descent, [1.0, 100.0], lr=lr) == pytest.approx(
        rate, rel=1e-9
    )
    lr, beta, fast = G.best_heavy_ball(1.0, 100.0)
    assert fast == pytest.approx(9 / 11)
    radius = G.spectral_radius(
        G.iteration_matrix(torch.tensor([1.0, 100.0], dtype=DOUBLE), lr, beta)
    )
    torch.testing.assert_close(
        radius, torch.full((2,), fast, dtype=DOUBLE), rtol=1e-6, atol=0
    )
    assert G.steps_to(1e-6, rate) == pytest.approx(691, abs=1)
    assert G.steps_to(1e-6, fast) == pytest.approx(69, abs=1)


@pytest.mark.parametrize("kappa", [1.0, 4.0, 100.0])
def test_nesterovs_constants_shrink_at_the_pace_they_promise(kappa: float) -> None:
    lr, beta, rate = G.best_nesterov(2.0, 2.0 * kappa)
    spectrum = torch.linspace(2.0, 2.0 * kappa, 40, dtype=DOUBLE)
    radius = G.spectral_radius(
        G.iteration_matrix(spectrum, lr, beta, lookahead=True)
    )
    assert radius.max() == pytest.approx(rate, abs=1e-6)
    assert lr < G.stability_limit(2.0 * kappa, beta, lookahead=True)
    assert rate <= G.best_rate(2.0, 2.0 * kappa)[1] + 1e-12 or kappa == 1


def piecewise(w: Tensor) -> Tensor:
    """f' = 25 w below 1, w + 24 from 1 to 2, 25 w - 24 from 2 on: curvatures 1 and
    25."""
    return torch.where(w < 1, 25 * w, torch.where(w < 2, w + 24, 25 * w - 24))


def test_off_the_bowl_the_best_heavy_ball_cycles_for_ever() -> None:
    """Lessard, Recht and Packard 2016, section 4.6: from 3.3."""
    pair = lambda found: {"lr": found[0], "beta": found[1]}
    ends = {}
    for name, rule, options in (
        ("descent", G.gradient_descent, {"lr": G.best_rate(1.0, 25.0)[0]}),
        (
            "ball",
            G.heavy_ball,
            pair(G.best_heavy_ball(1.0, 25.0)),
        ),
        (
            "nesterov",
            G.nesterov,
            pair(G.best_nesterov(1.0, 25.0)),
        ),
    ):
        w, state, path = torch.tensor(3.3, dtype=DOUBLE), None, []
        for _ in range(600):
            w, state = rule(w, piecewise(w), state, **options)
            path.append(w)
        ends[name] = torch.stack(path)
    assert ends["descent"][-1].abs() < 1e-9
    assert ends["nesterov"][-1].abs() < 1e-9
    late = ends["ball"][-60:]
    torch.testing.assert_close(late[3:], late[:-3], **CLOSE)  # three steps, again
    assert late.abs().max() > 1


@given(m=st.floats(0.1, 10.0), kappa=st.floats(1.5, 100.0), off=st.floats(0.8, 1.2))
def test_no_other_constants_do_better(m: float, kappa: float, off: float) -> None:
    spectrum = torch.linspace(m, m * kappa, 50, dtype=DOUBLE)
    lr, rate = G.best_rate(m, m * kappa)
    assert (
        G.spectral_radius(G.iteration_matrix(spectrum, off * lr)).max()
        >= rate - 1e-9
    )
    lr, beta, rate = G.best_heavy_ball(m, m * kappa)
    for lr_off, beta_off in (
        (off * lr, beta),
        (lr, min(off * beta, 0.999)),
        (off * lr, off * beta),
    ):
        assert (
            G.spectral_radius(G.iteration_matrix(spectrum, lr_off, beta_off)).max()
            >= rate - 1e-6
        )


def test_iteration_matrix_broadcasts_a_whole_map() -> None:
    lr, beta = (
        torch.linspace(0.1, 1, 5)[:, None, None],
        torch.linspace(0, 0.9, 4)[None, :, None],
    )
    matrix = G.iteration_matrix(torch.tensor([1.0, 2.0, 3.0]), lr, beta)
    assert matrix.shape == (5, 4, 3, 2, 2)
    one = G.iteration_matrix(torch.tensor(2.0), float(lr[1]), float(beta[0, 2]))
    torch.testing.assert_close(matrix[1, 2, 1], one)


# --- The gradient with respect to the input


def logistic(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return F.softplus(-y * (x @ w))


def test_fgsm_is_the_exact_worst_case_of_a_linear_classifier(device: str) -> None:
    w, x = randn(4, device=device), randn(20, 4, seed=1, device=device)
    y = randn(20, seed=2, device=device).sign()
    gradient = G.gradient_of(lambda x: logistic(w, x, y), x)
    attacked = G.fgsm(x, gradient, 0.3)
    torch.testing.assert_close(
        logistic(w, attacked, y), G.worst_logistic_loss(w, x, y, 0.3)
    )
    assert (attacked - x).abs().max() <= 0.3 + 1e-12


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0, math.inf])
def test_worst_case_is_reached_and_never_passed(p: float) -> None:
    w, x, y = randn(4), randn(4, seed=1), torch.tensor(1.0, dtype=DOUBLE)
    worst = G.worst_logistic_loss(w, x, y, 0.3, p=p)
    attacks = randn(20_000, 4, seed=2)
    attacks = (
        0.3 * attacks / torch.linalg.vector_norm(attacks, p, dim=-1, keepdim=True)
    )
    reached = logistic(w, x + attacks, y).max()
    assert reached <= worst + 1e-12
    assert reached > worst - 0.03 * w.norm()


def test_worst_case_in_numbers() -> None:
    """w = (3, -4), size .1: the margin falls by .7 in the box, by .5 in the ball."""
    w, x = torch.tensor([3.0, -4.0], dtype=DOUBLE), torch.zeros(2, dtype=DOUBLE)
    one = torch.tensor(1.0, dtype=DOUBLE)
    assert G.worst_logistic_loss(w, x, one, 0.1).item() == pytest.approx(
        math.log1p(math.exp(0.7))
    )
    assert G.worst_logistic_loss(w, x, one, 0.1, p=2).item() == pytest.approx(
        math.log1p(math.exp(0.5))
    )


def test_gain_of_fgsm_is_the_l1_norm_of_the_gradient_to_first_order() -> None:
    w = randn(6, 6)
    loss = lambda x: torch.tanh(x @ w).square().sum(-1)
    x = randn(6, seed=1)
    gradient = G.gradient_of(loss, x)
    gains = [
        (loss(G.fgsm(x, gradient, eps)) - loss(x)) / eps - gradient.abs().sum()
        for eps in (1e-3, 1e-4)
    ]
    assert gains[1].abs() < 0.2 * gains[0].abs() < 0.2


@given(seed=st.integers(0, 200))
def test_lipschitz_bound_is_never_passed(seed: int) -> None:
    weights = [
        randn(5, 3, seed=seed),
        randn(4, 5, seed=seed + 1),
        randn(1, 4, seed=seed + 2),
    ]
    a, b = randn(50, 3, seed=seed + 3), randn(50, 3, seed=seed + 4)
    for w in weights:
        a, b = torch.tanh(a @ w.T), torch.tanh(b @ w.T)
    start = (randn(50, 3, seed=seed + 3) - randn(50, 3, seed=seed + 4)).norm(dim=-1)
    assert bool(
        ((a - b).norm(dim=-1) <= G.lipschitz_bound(weights) * start + 1e-12).all()
    )


def test_lipschitz_bound_is_met_by_aligned_linear_maps() -> None:
    u = torch.linalg.qr(randn(4, 4))[0]
    weights = [u @ torch.diag(torch.tensor([3.0, 1, 1, 1], dtype=DOUBLE)) @ u.T] * 2
    torch.testing.assert_close(
        G.lipschitz_bound(weights), torch.tensor(9.0, dtype=DOUBLE)
    )
    torch.testing.assert_close(
        (weights[1] @ weights[0] @ u[:, 0]).norm(), torch.tensor(9.0, dtype=DOUBLE)
    )
    batched = [torch.stack([w, 2 * w]) for w in weights]
    torch.testing.assert_close(
        G.lipschitz_bound(batched), torch.tensor([9.0, 36.0], dtype=DOUBLE)
    )


# --- Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda w: G.gradient_descent(w, torch.ones(3), lr=0.1),
            r"gradient must have the shape of w, \(2,\), got shape \(3,\)",
        ),
        (
            lambda w: G.gradient_descent(w, w, lr=-0.1),
            "lr must be finite and >= 0, got -0.1",
        ),
        (
            lambda w: G.adam(w, w, lr=math.nan),
            "lr must be finite and >= 0, got nan",
        ),
        (
            lambda w: G.heavy_ball(w, w, lr=0.1, beta=1.0),
            "beta must be finite and >= 0 and < 1, got 1.0",
        ),
        (
            lambda w: G.adam(w, w, betas=(0.9, 1.0)),
            "beta2 must be finite and >= 0 and < 1, got 1.0",
        ),
        (
            lambda w: G.adamw(w, w, decay=-1.0),
            "decay must be finite and >= 0, got -1.0",
        ),
        (
            lambda w: G.with_l2(G.adam, -1.0),
            "decay must be finite and >= 0, got -1.0",
        ),
        (
            lambda w: G.adam_([w], [torch.ones(3)]),
            r"gradient must have the shape of w",
        ),
        (
            lambda w: G.adam_([], []),
            r"gradients must match weights, at least one tensor",
        ),
        (
            lambda w: G.newton(w, w, torch.eye(3)),
            r"hessian must be \(\.\.\., d, d\) with d = 2, got shape \(3, 3\)",
        ),
        (
            lambda w: G.damped_newton(w, w, torch.eye(2), damping=-1),
            "damping must be finite and >= 0, got -1",
        ),
        (
            lambda w: G.saddle_free_newton(w, w, torch.eye(2), damping=-1),
            "damping must be finite and >= 0, got -1",
        ),
        (
            lambda w: G.trust_region_newton(w, w, torch.eye(2), radius=0),
            "radius must be finite and > 0, got 0",
        ),
        (
            lambda w: G.trajectory(G.adam, G.rosenbrock, w, -1),
            "steps must be a whole number >= 0, got -1",
        ),
        (
            lambda w: G.trajectory(
                G.gradient_descent, G.rosenbrock, w, 1, lr=torch.ones(3, 1)
            ),
            r"lr must broadcast to shape \(2,\), got shape \(3, 1\)",
        ),
        (
            lambda w: G.best_rate(2.0, 1.0),
            "largest must be >= smallest = 2.0, got 1.0",
        ),
        (
            lambda w: G.best_heavy_ball(0.0, 1.0),
            "smallest must be finite and > 0, got 0.0",
        ),
        (
            lambda w: G.steps_to(1e-6, 1.0),
            "rate must be finite and > 0 and < 1, got 1.0",
        ),
        (
            lambda w: G.stability_limit(1.0, 1.0),
            "beta must be finite and >= 0 and < 1, got 1.0",
        ),
        (
            lambda w: G.spectral_radius(torch.ones(2, 3)),
            r"matrix must be \(\.\.\., n, n\) with n = 2, got shape \(2, 3\)",
        ),
        (
            lambda w: G.rosenbrock(torch.ones(3)),
            r"w must be \(..., 2\), got shape \(3,\)",
        ),
        (lambda w: G.fgsm(w, w, -0.1), "eps must be finite and >= 0, got -0.1"),
        (
            lambda w: G.worst_logistic_loss(w, w, w[0], 0.1, p=0.5),
            "p must be >= 1, got 0.5",
        ),
        (
            lambda w: G.worst_logistic_loss(w, torch.ones(3), w[0], 0.1),
            r"x must be \(\.\.\., d\) with d = 2, got shape \(3,\)",
        ),
        (lambda w: G.lipschitz_bound([]), "weights must hold at least one matrix"),
        (
            lambda w: G.lipschitz_bound([w]),
            r"weights\[0\] must be \(\.\.\., n, m\) .* got shape \(2,\)",
        ),
        (
            lambda w: Optimizer([w], G.adam, lr=-1.0),
            "lr must be finite and >= 0, got -1.0",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: G.trajectory(G.adam, G.rosenbrock, torch.tensor([1, 2]), 3),
        lambda: G.iteration_matrix(torch.tensor(2), 0.1),
        lambda: G.quadratic_bowl(torch.tensor([1, 2])),
    ],
)
def test_integers_are_refused(call) -> None:
    with pytest.raises(
        TypeError, match=r"must be a floating tensor, got torch\.int64"
    ):
        call()


def test_empty_tensors_and_non_finite_gradients_pass_through() -> None:
    empty, _ = G.adam(torch.empty(0), torch.empty(0))
    assert empty.shape == (0,)
    w, _ = G.adam(torch.zeros(3), torch.tensor([1.0, math.nan, 2.0]), lr=0.1)
    assert w.isnan().tolist() == [
        False,
        True,
        False,
    ]  # what breaks one weight leaves the others alone


def test_rules_compile_to_one_graph() -> None:
    explain = torch._dynamo.explain(lambda w, g: G.adam(w, g, lr=0.1)[0])(
        randn(3), randn(3, seed=1)
    )
    assert explain.graph_break_count == 0
