"""The heavy experiments on first weights: the best learning rate against the width
of a network, standard and maximal update parametrisation; and a deep transformer
with norms before or after its branches, with and without warm-up.

Yang et al. 2022, arXiv:2203.03466; Xiong et al. 2020, arXiv:2002.04745.
"""

from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.data import Dataset
from lbdl.core.training import follow
from lbdl.foundations.schedules import linear_warmup
from lbdl.lab import Run, Steps, experiment
from lbdl.models.attention import MultiHeadAttention
from lbdl.models.initialization import lecun_moment, mup_scaling, random_weights
from lbdl.models.transformer import EncoderLayer, FeedForward

__all__ = ["DeepReader", "WideNetworks", "deep_transformer", "rate_transfer"]

WAYS = ("standard", "muP")


class WideNetworks(nn.Module):
    """R networks of one width side by side, no weight shared, the same start for
    all.

        h <- relu(h W_i),  i = 1, ..., D;    scores = h W_{D+1}

    Args:
        sizes: (inputs, width, ..., width, classes).
        base: the sizes at the base width.
        way: "standard" or "muP".
        copies: R.
        start: draws one network, which all begin as.

    Source: Yang et al. 2022, section 3, arXiv:2203.03466.
    """

    def __init__(
        self, sizes: list[int], base: list[int], way: str, copies: int,
        start: Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        narrow = list(zip(base[1:], base[:-1], strict=True))
        self.weights, self.factors = nn.ParameterList(), []
        for i, (shape, small) in enumerate(zip(shapes, narrow, strict=True)):
            gain = 1.0 if i in (0, len(shapes) - 1) else 2.0
            moment, factor = lecun_moment(shape, gain), 1.0
            if way == "muP":
                scaling = mup_scaling(shape, small, "adam")
                moment = lecun_moment(small, gain) * scaling.moment
                factor = scaling.rate
            w = random_weights(shape, moment, generator=start).T
            self.weights.append(w.repeat(copies, 1, 1))
            self.factors.append(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, inputs) to scores (R, B, classes)."""
        *hidden, readout = self.weights
        h = x.expand(len(readout), *x.shape)
        for weight in hidden:
            h = (h @ weight).relu()
        return h @ readout


class RatesSideBySide:
    """Adam with a rate for each of R networks, the first dimension of every weight,
    times a factor for each layer; its steps are free of scale down to 1e-12.

    Each matrix is a parameter of its own, a view into the weights.
    """

    def __init__(self, networks: WideNetworks, rates: Tensor) -> None:
        self.views = [list(w.detach().unbind()) for w in networks.weights]
        groups = [
            {"params": [w], "lr": float(rate) * factor}
            for stack, factor in zip(self.views, networks.factors, strict=True)
            for w, rate in zip(stack, rates, strict=True)
        ]
        self.adam = torch.optim.Adam(groups, eps=1e-12, fused=True)

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """One step for all."""
        for stack, gradient in zip(self.views, gradients, strict=True):
            for w, g in zip(stack, gradient.unbind(), strict=True):
                w.grad = g.contiguous()  # as w: the fused step asks for it
        self.adam.step()


@experiment(
    "rate_transfer",
    chapter="models/initialization",
    shows="the best rate of Adam falls with the width of a network, and stays with maximal update parametrisation",
    small={
        "widths": [16, 64], "rates": [-8, -6, -4], "depth": 2, "steps": 12,
        "examples": 64, "seeds": 1,
    },
    cpu={
        "widths": [64, 128, 256, 512, 1024], "rates": [-10, -9, -8, -7, -6, -5, -4],
        "depth": 3, "steps": 20, "examples": 128, "seeds": 3,
    },
    full={
        "widths": [64, 128, 256, 512, 1024, 2048, 4096],
        "rates": [-13, -12, -11, -10, -9, -8, -7, -6, -5, -4],
        "depth": 3, "steps": 60, "examples": 512, "seeds": 3,
    },
    able=("compile",),
)  # fmt: skip
def rate_transfer(
    run: Run,
    widths: list[int],
    rates: list[int],
    depth: int,
    steps: int,
    examples: int,
    seeds: int,
) -> dict[str, Tensor]:
    """The training loss of networks of many widths, each trained at many rates.

        loss (2, W, S, L): mean over the last tenth of the steps; standard before
        muP, whose base is the first of the widths; inf where it is no number

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        widths: W of them.
        rates: L logarithms of rates, to the base 2.
        depth: hidden layers.
        steps: of Adam, each on all examples.
        examples: of MNIST-1D, to be learnt by heart.
        seeds: S starts and choices of examples.

    Returns:
        The array named above, `widths` (W,), and `rates` (L,), the rates
        themselves.

    Source: Yang et al. 2022, figure 1, arXiv:2203.03466.
    """
    everything = data.mnist1d().train
    speeds = 2.0 ** torch.tensor(rates, device=run.device)
    loss = torch.zeros(2, len(widths), seeds, len(rates))
    for job in run.chunks(loss[..., 0].numel(), loss=loss):
        w, seed, way = job // (2 * seeds), job // 2 % seeds, job % 2
        sizes, base = ([40, *[n] * depth, 10] for n in (widths[w], widths[0]))
        start = run.generator(f"start {seed} of width {widths[w]}")
        networks = WideNetworks(sizes, base, WAYS[way], len(rates), start)
        chosen = torch.randperm(
            len(everything), generator=run.generator(f"examples {seed}")
        )
        some = everything[chosen[:examples]].to(run.device)
        losses = descend(run, networks.to(run.device), some, speeds, steps)
        last = losses[-max(1, steps // 10) :].mean(0)
        loss[way, w, seed] = last.nan_to_num(torch.inf).cpu()
    return {"loss": loss, "widths": torch.tensor(widths), "rates": speeds.cpu()}


def descend(
    run: Run, networks: WideNetworks, examples: Dataset, rates: Tensor, steps: int
) -> Tensor:
    """Trains all networks on all examples, each at its own rate; the losses (steps,
    R)."""
    optimizer = RatesSideBySide(networks, rates)
    gradients = run.compiled(lambda x, y: losses_and_gradients(networks, x, y))
    losses = []
    for _ in range(steps):
        loss, g = gradients(examples.x, examples.y)
        optimizer.step(g)
        losses.append(loss)
    return torch.stack(losses)


def losses_and_gradients(
    networks: WideNetworks, x: Tensor, y: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss of each network (R,), and the gradients of their sum: each network's
    own."""
    scores = networks(x)  # (R, B, K)
    targets = y.expand(scores.shape[:2])
    each = F.cross_entropy(scores.movedim(-1, 1), targets, reduction="none").mean(1)
    return each.detach(), torch.autograd.grad(each.sum(), list(networks.weights))


NORMS = ("last", "first")


class DeepReader(nn.Module):
    """A language model of characters: vectors, layers that look back, a readout.

    Weights of dense layers are drawn by LeCun's rule, behind a ReLU by He's, so
    that each branch begins with about the second moment of what it is given.

    Args:
        vocabulary: K >= 1.
        context: the longest input.
        width: of the vectors.
        layers: L >= 1.
        norm: where norms stand, "last" or "first".

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int, layers: int, norm: str
    ) -> None:
        super().__init__()
        first = norm == "first"
        self.letters = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(context, width))
        feeds = [FeedForward(width) for _ in range(layers)]
        self.layers = nn.ModuleList(
            EncoderLayer(MultiHeadAttention(width, 4), feed, norm_first=first)
            for feed in feeds
        )
        self.norm = nn.LayerNorm(width) if first else nn.Identity()
        self.readout = nn.Linear(width, vocabulary)
        self.apply(draw)
        for feed in feeds:
            feed.down.weight.data *= sqrt(2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) to logits (B, T, K)."""
        h = (self.letters(tokens) + self.places[: tokens.shape[1]]) / sqrt(2)
        for layer in self.layers:
            h = layer(h, causal=True)
        return self.readout(self.norm(h))


def draw(part: nn.Module) -> None:
    """LeCun's weights, no biases."""
    if isinstance(part, nn.Linear):
        moment = lecun_moment(part.weight.shape)
        part.weight.data = random_weights(part.weight.shape, moment)
        nn.init.zeros_(part.bias)


@experiment(
    "deep_transformer",
    chapter="models/initialization",
    shows="a deep transformer with norms last needs warm-up at the larger of two rates, one with norms first does not",
    small={
        "layers": 2, "width": 16, "context": 12, "rates": [0.003], "warmups": [1, 6],
        "steps": 12, "batch": 8, "seeds": 1,
    },
    cpu={
        "layers": 6, "width": 32, "context": 32, "rates": [0.001, 0.003],
        "warmups": [1, 100], "steps": 200, "batch": 16, "seeds": 2,
    },
    full={
        "layers": 24, "width": 256, "context": 128, "rates": [0.0003, 0.001],
        "warmups": [1, 120], "steps": 240, "batch": 16, "seeds": 1,
    },
    able=("compile",),
)  # fmt: skip
def deep_transformer(
    run: Run,
    layers: int,
    width: int,
    context: int,
    rates: list[float],
    warmups: list[int],
    steps: int,
    batch: int,
    seeds: int,
) -> dict[str, Tensor]:
    """The loss of deep language models of characters while they learn.

        losses (2, U, L, S, N): nats a character at each step; norms last before
        norms first, then warm-ups, rates, seeds; inf where it is no number

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        layers: of each model.
        width: of the vectors.
        context: characters of a piece.
        rates: L peaks of Adam's rate.
        warmups: U numbers of steps in which the rate grows from 0 on; 1 is none.
        steps: N.
        batch: pieces a step.
        seeds: S starts and orders.

    Returns:
        The array named above, `rates` (L,), `warmups` (U,), and `frequencies`, the
        nats a character of one who knows the frequencies alone.

    Source: Xiong et al. 2020, section 4, arXiv:2002.04745.
    """
    codes, vocabulary = characters()
    found = torch.zeros(2, len(warmups), len(rates), seeds, steps)
    for job in run.chunks(found[..., 0].numel(), found=found):
        norm, warmup, rate, seed = torch.unravel_index(
            torch.tensor(job), found.shape[:-1]
        )
        torch.manual_seed(run.generator(f"start {seed}").initial_seed())
        model = DeepReader(vocabulary, context, width, layers, NORMS[norm])
        order = run.generator(f"pieces {seed}")
        pieces = codes.unfold(0, context + 1, 1)
        losses = read(
            run, model.to(run.device), pieces, rates[rate], warmups[warmup], steps,
            batch, order,
        )  # fmt: skip
        found.view(-1, steps)[job] = losses.nan_to_num(torch.inf)
    share = torch.bincount(codes).double() / len(codes)
    return {
        "losses": found,
        "rates": torch.tensor(rates),
        "warmups": torch.tensor(warmups),
        "frequencies": -(share * share.log()).sum(),
    }


def characters() -> tuple[Tensor, int]:
    """English in lower case as numbers, and how many there are."""
    text = data.english().lower()
    letters = {c: i for i, c in enumerate(sorted(set(text)))}
    return torch.tensor([letters[c] for c in text]), len(letters)


def letter_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of the next character (B, T, K), in nats."""
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


def read(
    run: Run,
    model: DeepReader,
    pieces: Tensor,
    rate: float,
    warmup: int,
    steps: int,
    batch: int,
    order: Generator,
) -> Tensor:
    """Trains a model by Adam; the losses (steps,)."""
    optimizer = torch.optim.Adam(model.parameters(), rate, betas=(0.9, 0.98))
    take_step = Steps(run.compiled(model), letter_loss, optimizer)
    drawn = (
        pieces[torch.randint(len(pieces), (batch,), generator=order)].to(run.device)
        for _ in range(steps)
    )
    texts = ((tokens[:, :-1], tokens[:, 1:]) for tokens in drawn)

    def share(t: int) -> float:
        return float(linear_warmup(t + 1, 1.0, warmup=warmup))

    losses = list(follow(take_step, texts, optimizer, share))
    return torch.stack(losses).cpu()
