"""Neural language models against their formulas written out, and the leak tests on models that leak and that do not."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.foundations import autoregression as A
from lbdl.foundations.losses import cross_entropy
from lbdl.models.transformer import GPT

DOUBLE = torch.float64
K, T = 11, 9


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(kind: str, causal: bool = True) -> nn.Module:
    torch.manual_seed(0)
    made = {
        "fixed": lambda: A.FixedContext(K, 4, 6, 8),
        "convolution": lambda: A.CausalConvolution(K, 6, 3, causal),
        "gpt": lambda: GPT(K, T, 8, layers=2, heads=2, causal=causal),
    }[kind]()
    return made.double().eval()


MODELS = ["fixed", "convolution", "gpt"]
TOKENS = torch.randint(K, (T,), generator=seeded())


# --- The models


@pytest.mark.parametrize("kind", MODELS)
def test_all_places_at_once_are_one_place_after_another(
    kind: str, device: str
) -> None:
    model, x = (
        build(kind).to(device),
        torch.randint(K, (3, T), generator=seeded()).to(device),
    )
    whole = model(x)
    assert whole.shape == (3, T, K)
    for t in range(1, T + 1):
        torch.testing.assert_close(model(x[:, :t])[:, -1], whole[:, t - 1])


def test_the_fixed_context_model_is_the_formula_of_bengio() -> None:
    model = build("fixed")
    e = model.embedding(TOKENS)
    for t in range(T):
        past = [e[t - i] if t - i >= 0 else model.start for i in (3, 2, 1, 0)]
        h = torch.tanh(model.hidden.weight @ torch.cat(past) + model.hidden.bias)
        torch.testing.assert_close(
            model(TOKENS[None])[0, t], model.readout.weight @ h + model.readout.bias
        )


def test_the_convolution_is_its_sum() -> None:
    model = build("convolution")
    h = model.embedding(TOKENS)  # (T, width)
    for i, layer in enumerate(model.layers):
        past = torch.cat([torch.zeros(2**i, 6, dtype=DOUBLE), h])[:T]
        h = (
            h
            + (
                past @ layer.weight[..., 0].T
                + h @ layer.weight[..., 1].T
                + layer.bias
            ).relu()
        )
    torch.testing.assert_close(model(TOKENS[None])[0], model.readout(h))


def test_reach_of_the_models() -> None:
    back = torch.arange(T)[:, None] - torch.arange(T)
    for kind, furthest in (("fixed", 3), ("convolution", 7), ("gpt", T)):
        seen = A.dependence(build(kind), TOKENS, K, generator=seeded()) > 1e-9
        assert torch.equal(seen, (back >= 0) & (back <= furthest)), kind


@pytest.mark.parametrize("kind", MODELS)
def test_models_learn_a_rule(kind: str) -> None:
    """x_{t+1} = x_t + x_{t-1} mod 5: cross-entropy far below that of a guess."""
    torch.manual_seed(1)
    text = [0, 1]
    while len(text) < 300:
        text.append((text[-1] + text[-2]) % 5)
    model = build(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    g = seeded()
    for _ in range(200):
        x, y = A.random_windows(torch.tensor(text), 16, 8, g)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (
        loss < 0.5 < math.log(5)
    )  # the first of 8 places must be guessed: log(5) / 8 = 0.2 at best


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_in_other_precisions(dtype: torch.dtype) -> None:
    for kind in MODELS:
        found = build(kind).to(dtype)(TOKENS[None])
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.double(), build(kind)(TOKENS[None]), atol=0.05, rtol=0.05
        )


def test_models_compile() -> None:
    model, x = build("gpt"), TOKENS[None]
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), model(x))


def test_random_windows(device: str) -> None:
    text = torch.arange(20, device=device)
    x, y = A.random_windows(text, 200, 6, seeded())
    assert x.shape == y.shape == (200, 6)
    assert torch.equal(y, x + 1)
    assert torch.equal(x[:, 1:], x[:, :-1] + 1)
    assert sorted(x[:, 0].unique().tolist()) == list(range(14))
    assert torch.equal(x, A.random_windows(text, 200, 6, seeded())[0])


# --- The leak tests


@pytest.mark.parametrize("kind", ["convolution", "gpt"])
def test_a_leak_is_caught_by_both_tests(kind: str, device: str) -> None:
    g = torch.Generator(device).manual_seed(0)
    tokens = TOKENS.to(device)
    for causal in (True, False):
        model = build(kind, causal).to(device)
        vectors = model.embedding(tokens).detach()
        by_change = A.leaks(model, tokens, K, tolerance=1e-9, generator=g)
        by_gradient = A.leaks_by_gradient(
            model.from_vectors, vectors, tolerance=1e-12, generator=g
        )
        assert by_change.any() == by_gradient.any() == (not causal)
        assert torch.equal(by_change, by_gradient)


def test_both_tests_agree_on_what_depends_on_what() -> None:
    for kind in MODELS:
        model = build(kind)
        moved = A.dependence(model, TOKENS, K, generator=seeded()) > 1e-9
        steep = (
            A.gradient_dependence(
                model.from_vectors, model.embedding(TOKENS), generator=seeded()
            )
            > 1e-12
        )
        assert torch.equal(moved, steep)


def cheat(x: Tensor) -> Tensor:
    """Row t is one-hot at token t + 1: it looks the answer up."""
    return F.one_hot(torch.cat([x[:, 1:], x[:, :1]], 1), K).double()


def test_where_a_leak_lies() -> None:
    found = A.leaks(cheat, TOKENS, K, generator=seeded())
    assert found.nonzero().tolist() == [[t, t + 1] for t in range(T - 1)]
    assert not A.leaks(cheat, TOKENS, K, ahead=1, generator=seeded()).any()


def test_the_other_convention() -> None:
    """l_t depends on x_1 ... x_{t-1} only: a model that sees its own place leaks if `ahead` says so."""
    same = lambda x: F.one_hot(x, K).double()
    assert not A.leaks(same, TOKENS, K, ahead=0, generator=seeded()).any()
    assert A.leaks(same, TOKENS, K, ahead=-1, generator=seeded()).diagonal().all()


def test_what_each_test_cannot_see() -> None:
    vectors = torch.randn(T, 3, generator=seeded(), dtype=DOUBLE)
    detached = lambda v: v + v.detach().flip(1)
    assert not A.leaks_by_gradient(detached, vectors, generator=seeded()).any()
    assert not A.leaks_by_gradient(
        lambda v: v.detach(), vectors, generator=seeded()
    ).any()
    on_seven = lambda x: (x.flip(1) == 7).double().unsqueeze(-1)
    few = torch.zeros(T, dtype=torch.int64)
    assert A.leaks(on_seven, few, 1000, trials=2, generator=seeded()).sum() == 0
    assert A.leaks(on_seven, few, 10, trials=50, generator=seeded()).any()


def test_a_mean_over_the_batch_is_a_leak() -> None:
    model = lambda x: x.double().mean().expand(*x.shape, 1)
    assert A.leaks(model, TOKENS, K, generator=seeded()).triu(1).any()


def test_normalisation_over_time_is_a_leak_that_gradients_see() -> None:
    vectors = torch.randn(T, 3, generator=seeded(), dtype=DOUBLE)
    norm = lambda v: (v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True)
    found = A.leaks_by_gradient(norm, vectors, generator=seeded())
    assert torch.equal(found, torch.ones(T, T, dtype=torch.bool).triu(1))
    softmax = lambda v: v.softmax(-1)
    assert (
        A.gradient_dependence(softmax, vectors, generator=seeded()).diagonal()
        > 1e-3
    ).all()


def test_a_slope_that_is_no_number_is_a_leak() -> None:
    vectors = torch.randn(T, 3, generator=seeded(), dtype=DOUBLE)
    found = A.leaks_by_gradient(lambda v: v.flip(1) * math.nan, vectors)
    assert found.any()


def test_infinite_outputs_are_no_leak() -> None:
    masked = lambda x: torch.full((*x.shape, 2), -math.inf)
    assert not A.leaks(masked, TOKENS, K, generator=seeded()).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: A.FixedContext(0, 1, 1, 1),
            "vocabulary must be a whole number >= 1, got 0",
        ),
        (
            lambda: A.CausalConvolution(2, 1, 0),
            "layers must be a whole number >= 1, got 0",
        ),
        (lambda: A.random_windows(TOKENS, 1, T), "tokens must be"),
        (
            lambda: A.random_windows(TOKENS, 0, 2),
            "batch must be a whole number >= 1",
        ),
        (lambda: A.leaks(cheat, TOKENS[None], K), r"tokens must be \(T,\)"),
        (lambda: A.leaks(cheat, TOKENS[:0], K), r"tokens must be \(T,\)"),
        (
            lambda: A.leaks(cheat, TOKENS, 1),
            "vocabulary must be a whole number >= 2",
        ),
        (
            lambda: A.leaks(lambda x: torch.rand(*x.shape, 2), TOKENS, K),
            "one answer to one question",
        ),
        (
            lambda: A.gradient_dependence(cheat, torch.zeros(3)),
            r"vectors must be \(T, d\)",
        ),
        (
            lambda: A.gradient_dependence(cheat, torch.zeros(3, 2), trials=0),
            "trials must be a whole number >= 1",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
