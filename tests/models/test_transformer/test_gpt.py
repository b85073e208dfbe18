"""The transformer against its formulas written out: what a place sees, and what it makes of it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.foundations.autoregression import dependence, random_windows
from lbdl.foundations.losses import cross_entropy
from lbdl.models.transformer import GPT, Block

DOUBLE = torch.float64
K, T = 11, 9


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(causal: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return GPT(K, T, 8, layers=2, heads=2, causal=causal).double().eval()


TOKENS = torch.randint(K, (T,), generator=seeded())


def attention_written_out(block: Block, h: Tensor) -> Tensor:
    """Scores, mask, softmax, mean: one step after another, for heads of 4."""
    q, k, v = (part.unflatten(-1, (2, 4)) for part in block.qkv(h).chunk(3, -1))
    scores = torch.einsum("bthd,bshd->bhts", q, k) / 2  # sqrt of 4
    later = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, -math.inf)
    return block.out(
        torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v).flatten(-2)
    )


def test_attention_is_a_weighted_mean_over_the_past() -> None:
    block = build().blocks[0]
    h = torch.randn(1, 5, 8, generator=seeded(), dtype=DOUBLE)
    torch.testing.assert_close(block.attend(h), attention_written_out(block, h))


def test_a_gpt_is_its_formula() -> None:
    model = build()
    h = model.embedding(TOKENS[None]) + model.places(torch.arange(T))
    for block in model.blocks:
        h = h + attention_written_out(block, block.norms[0](h))
        h = h + block.down(F.gelu(block.up(block.norms[1](h))))
    torch.testing.assert_close(model(TOKENS[None]), model.readout(model.norm(h)))


def test_a_gpt_starts_with_small_normal_weights_and_all_tokens_equally_likely() -> (
    None
):
    """GPT-2's: every weight of deviation 0.02, every bias 0; so the first loss is the logarithm of K."""
    torch.manual_seed(0)
    model = GPT(200, 200, 64, heads=2)
    drawn = [p for p in model.modules() if isinstance(p, nn.Linear | nn.Embedding)]
    assert len(drawn) == 7
    for part in drawn:
        spread = float(part.weight.detach().std()) / 0.02  # of 4,096 draws at least
        assert spread == pytest.approx(1, abs=0.06)
        if isinstance(part, nn.Linear):
            assert not part.bias.any()
    tokens = torch.randint(200, (4, 50), generator=seeded())
    chances = model(tokens).detach().softmax(-1)
    assert float((chances * 200).log().abs().max()) < 1


def test_all_places_at_once_are_one_place_after_another(device: str) -> None:
    model = build().to(device)
    x = torch.randint(K, (3, T), generator=seeded()).to(device)
    whole = model(x)
    assert whole.shape == (3, T, K)
    for t in range(1, T + 1):
        torch.testing.assert_close(model(x[:, :t])[:, -1], whole[:, t - 1])


@pytest.mark.parametrize("causal", [True, False])
def test_a_place_sees_the_past_or_everything(causal: bool) -> None:
    seen = dependence(build(causal), TOKENS, K, generator=seeded()) > 1e-9
    assert torch.equal(
        seen, torch.ones(T, T, dtype=torch.bool).tril() | (not causal)
    )


def test_it_learns_a_rule() -> None:
    """x_{t+1} = x_t + x_{t-1} mod 5: cross-entropy far below that of a guess."""
    text = [0, 1]
    while len(text) < 300:
        text.append((text[-1] + text[-2]) % 5)
    model, g = build().train(), seeded()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        x, y = random_windows(torch.tensor(text), 16, 8, g)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 < math.log(5)  # the first of 8 must be guessed: log(5) / 8


def test_first_guesses_are_even() -> None:
    loss = cross_entropy(build()(TOKENS[None, :-1]), TOKENS[None, 1:]).item()
    assert loss == pytest.approx(math.log(K), abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    found = build().to(dtype)(TOKENS[None])
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.double(), build()(TOKENS[None]), atol=0.05, rtol=0.05
    )


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = GPT(K, T, 8, heads=2, dropout=0.5).double()
    x = TOKENS[None]
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_it_compiles() -> None:
    model, x = build(), TOKENS[None]
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), model(x))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GPT(0, 4, 4), ValueError, "vocabulary must be .* >= 1, got 0"),
        (lambda: GPT(2, 4.5, 4), TypeError, "context must be a whole number"),
        (lambda: GPT(2, 4, 4, layers=True), TypeError, "layers must be a whole"),
        (
            lambda: GPT(2, 4, 6, heads=4),
            ValueError,
            "width must be divisible by heads, got 6 and 4",
        ),
        (lambda: Block(4, 0), ValueError, "heads must be .* >= 1, got 0"),
        (lambda: Block(4, 2, dropout=1.0), ValueError, "dropout must be .*, got 1"),
        (lambda: build()([[1]]), TypeError, "tokens must be an int64 tensor"),
        (lambda: build()(TOKENS), ValueError, r"tokens must be \(B, T\)"),
        (
            lambda: build()(torch.full((1, 2), K)),
            ValueError,
            "tokens must be >= 0 and <= 10 everywhere, got 11",
        ),
        (
            lambda: build()(torch.zeros(1, T + 1, dtype=torch.int64)),
            ValueError,
            "tokens must be at most 9 a row, got 10",
        ),
    ],
)
def test_bad_input_is_named(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
