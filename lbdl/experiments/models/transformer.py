"""The heavy experiments on transformers: a language model against counting, modular
addition, and an encoder-decoder that copies and reverses.

Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217; Vaswani et
al. 2017, arXiv:1706.03762.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.training import in_evaluation, in_training, set_rates
from lbdl.experiments.foundations.tokenization import factor, token_loss
from lbdl.foundations.autoregression import (
    NGram,
    bits_per_byte,
    continuation_counts,
    count_up_to,
    modified_kneser_ney,
    random_windows,
    restrict,
    stream_log_probs,
)
from lbdl.foundations.tokenization import BPE, train_bpe
from lbdl.lab import Run, Steps, experiment
from lbdl.models.attention import (
    attention_scores,
    attention_weights,
    split_heads,
)
from lbdl.models.transformer import GPT, EncoderDecoder, greedy, write_on

__all__ = [
    "CUTS",
    "TEMPERATURES",
    "Task",
    "addition_table",
    "copy_and_reverse",
    "counted_log_probs",
    "cross_weights",
    "gpt_against_counting",
    "grokking",
    "letters",
    "three_parts",
]

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
CUTS: tuple[dict[str, Any], ...] = ({}, {"top_k": 5}, {"top_p": 0.9})
PROMPT = "The value of"
SHARES = [i / 20 for i in range(21)]  # of the network, in a mixture with counting


# --- A language model against counting -------------------------------------------


def three_parts(text: str) -> tuple[str, str, str]:
    """A text cut at two places: nine tenths to train on, a twentieth to choose by,
    a twentieth to judge on."""
    first, second = int(0.9 * len(text)), int(0.95 * len(text))
    return text[:first], text[first:second], text[second:]


def counted_log_probs(known: Tensor, parts: list[Tensor], order: int) -> list:
    """Log-probabilities of the tokens of some texts, but for the first, by n-grams of
    known ones with modified Kneser-Ney smoothing."""
    size = int(max(known.max(), *(part.max() for part in parts))) + 1
    grams = count_up_to(known, order, size)
    levels = [*map(continuation_counts, grams[1:]), grams[-1]]
    model = NGram(levels, modified_kneser_ney)
    return [model.log_probs(part)[1:] for part in parts]


def letters(text: str, length: int) -> Tensor:
    """The first bytes of a text (length,), uint8, zeros after its end."""
    found = torch.zeros(length, dtype=torch.uint8)
    codes = list(text.encode("utf-8", errors="replace")[:length])
    found[: len(codes)] = torch.tensor(codes, dtype=torch.uint8)
    return found


class Writer:
    """One training of a GPT: its texts as tokens, the best of it, its samples."""

    def __init__(
        self,
        run: Run,
        tokenizer: BPE,
        parts: tuple[str, str, str],
        options: dict[str, Any],
        batch: int,
        decay: float,
    ) -> None:
        self.run, self.tokenizer = run, tokenizer
        self.batch, self.window = batch, options["context"]
        self.tokens = [
            torch.tensor(tokenizer.encode(part), device=run.device)
            for part in parts
        ]
        self.bytes = [len(part.encode()) for part in parts]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.generator("weights").initial_seed())
            self.model = GPT(len(tokenizer), **options, tied=True).to(run.device)
        self.best = copy.deepcopy(self.model)
        run.compiled(self.model)
        self.draw = run.generator("windows")
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), weight_decay=decay, betas=(0.9, 0.95)
        )
        lower = torch.bfloat16 if run.device.type == "cuda" else None
        self.take_step = Steps(
            self.model, token_loss, self.optimizer, autocast=lower
        )

    def train(self, steps: range, of: int, rate: float) -> None:
        """Some steps out of `of`: the rate rises for a moment and falls along half a
        cosine."""
        set_rates(self.optimizer, [rate])
        windows = (
            random_windows(self.tokens[0], self.batch, self.window, self.draw)
            for _ in steps
        )
        with in_training(self.model):
            self.take_step.follow(windows, partial(factor, of=of), steps.start)

    def log_probs(self, model: GPT, part: int) -> Tensor:
        """Of the tokens of a part but the first; of the training text, as much as
        there is of the others."""
        tokens = self.tokens[part][: len(self.tokens[1])]
        with in_evaluation(model):
            return stream_log_probs(model, tokens, self.window, self.window // 2)

    def bits(self, logs: Tensor, part: int) -> float:
        """Bits per byte of a part (1 or 2), or of the training text (0)."""
        size = self.bytes[part] * (len(logs) + 1) / len(self.tokens[part])
        return float(bits_per_byte(-logs.mean(), len(logs), round(size)))

    def write(self, model: GPT, length: int, temperature: float, **cut: Any) -> str:
        """What it writes after the prompt, always with the same draws."""
        prompt = torch.tensor([self.tokenizer.encode(PROMPT)])
        draw = self.run.generator("samples", self.run.device)
        with in_evaluation(model):
            rows = write_on(
                model,
                prompt.to(self.run.device),
                min(length, self.window - prompt.shape[1]),
                temperature=temperature,
                generator=draw,
                **cut,
            )
        return self.tokenizer.decode(rows[0].tolist())

    def guesses(self, prompt: str) -> tuple[Tensor, list[str]]:
        """Probabilities of the next token, likeliest first, and the tokens."""
        tokens = torch.tensor([self.tokenizer.encode(prompt)])
        with in_evaluation(self.best), torch.no_grad():
            logits = self.best(tokens.to(self.run.device))[0, -1]
        likely, order = restrict(logits).softmax(-1).sort(descending=True)
        return likely, [self.tokenizer.decode([i]) for i in order[:16].tolist()]


@experiment(
    "gpt_against_counting",
    chapter="models/transformer",
    shows="what a GPT writes during its training, and its bits per byte against n-grams of the same tokens",
    small={
        "merges": 64, "batch": 8, "steps": 60, "rate": 3e-3, "decay": 0.1,
        "measured": 3, "length": 20, "orders": [1, 2],
        "options": {"context": 32, "width": 32, "layers": 1, "heads": 2, "dropout": 0.0},
    },
    cpu={
        "merges": 512, "batch": 16, "steps": 800, "rate": 4e-3, "decay": 0.1,
        "measured": 10, "length": 56, "orders": [1, 2, 3, 4],
        "options": {"context": 64, "width": 64, "layers": 2, "heads": 4, "dropout": 0.0},
    },
    full={
        "merges": 512, "batch": 64, "steps": 2400, "rate": 1e-3, "decay": 0.1,
        "measured": 12, "length": 56, "orders": [1, 2, 3, 4],
        "options": {"context": 256, "width": 256, "layers": 6, "heads": 8, "dropout": 0.3},
    },
    able=("compile",),
)  # fmt: skip
def gpt_against_counting(
    run: Run,
    merges: int,
    options: dict[str, Any],
    batch: int,
    steps: int,
    rate: float,
    decay: float,
    measured: int,
    length: int,
    orders: list[int],
) -> dict[str, Any]:
    """A GPT with a tied readout, trained on English help texts, and n-grams of the
    same tokens. Nine tenths of the text to train on, a twentieth to choose the best
    point, order and mixture by, the last twentieth to judge them on.

        steps (M + 1,), bits (2, M + 1): of training and validation text, per byte
        samples (M + 1, .): what it writes at each point, as bytes, temperature 0.8
        counted (2, orders): bits per byte of n-grams, validation and test
        mixed (2, 21): of share s network and 1 - s counting, s = 0, 1/20, ..., 1
        tried (., ., .): what the best point writes at each of TEMPERATURES, by CUTS
        likely (K,), tokens (16, .): its next token after the prompt

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        merges: of the tokenizer.
        options: of `GPT`: context, width, layers, heads, dropout.
        batch: windows a step.
        steps: of AdamW, a multiple of `measured`.
        rate: the highest learning rate.
        decay: of the weights.
        measured: M, how often it is measured.
        length: tokens of a sample.
        orders: of the n-grams.

    Returns:
        The arrays named above, and `best`, the point with the fewest bits on the
        validation text, `test`, its bits on the last part, `parameters`, and
        `tokens_per_byte` of the last part.

    Raises:
        ValueError: `steps` is no multiple of `measured`.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """
    if steps % measured:
        raise ValueError(
            f"steps must be a multiple of measured, got {steps} and {measured}"
        )
    parts = three_parts(data.english())
    writer = Writer(run, train_bpe(parts[0], merges), parts, options, batch, decay)
    bits = torch.full((2, measured + 1), torch.inf)
    samples = torch.zeros(measured + 1, 4 * length, dtype=torch.uint8)

    def measure(point: int) -> None:
        for part in (0, 1):
            logs = writer.log_probs(writer.model, part)
            bits[part, point] = writer.bits(logs, part)
        samples[point] = letters(
            writer.write(writer.model, length, 0.8), 4 * length
        )
        if bits[1, point] == bits[1].min():
            writer.best.load_state_dict(writer.model.state_dict())

    measure(0)
    state = {
        "training": writer.take_step,
        "draw": writer.draw,
        "best": writer.best,
        "bits": bits,
        "samples": samples,
    }
    for chunk in run.chunks(measured, **state):
        part = range(chunk * steps // measured, (chunk + 1) * steps // measured)
        writer.train(part, steps, rate)
        measure(chunk + 1)
    found = judged(writer, orders)
    likely, tokens = writer.guesses(PROMPT)
    tried = [
        torch.stack(
            [
                letters(writer.write(writer.best, length, t, **cut), 4 * length)
                for cut in CUTS
            ]
        )
        for t in TEMPERATURES
    ]
    return {
        "steps": torch.arange(measured + 1) * (steps // measured),
        "bits": bits,
        "samples": samples,
        "best": int(bits[1].argmin()),
        "parameters": sum(p.numel() for p in writer.model.parameters()),
        "tokens_per_byte": len(writer.tokens[2]) / writer.bytes[2],
        "likely": likely,
        "tokens": torch.stack([letters(token, 16) for token in tokens]),
        "tried": torch.stack(tried),
        **found,
    }


def judged(writer: Writer, orders: list[int]) -> dict[str, Any]:
    """Network, counting and their mixtures on validation and test text."""
    learned = [
        writer.log_probs(writer.best, part).double().cpu() for part in (1, 2)
    ]
    known, *parts = (tokens.cpu() for tokens in writer.tokens)
    counted = [counted_log_probs(known, parts, order) for order in orders]
    bits = torch.tensor(
        [[writer.bits(logs[i], i + 1) for logs in counted] for i in (0, 1)]
    )
    chosen = counted[int(bits[0].argmin())]
    mixed = torch.zeros(2, len(SHARES))
    for i in (0, 1):
        for j, share in enumerate(SHARES):
            both = share * learned[i].exp() + (1 - share) * chosen[i].exp()
            mixed[i, j] = writer.bits(both.log(), i + 1)
    return {
        "counted": bits,
        "mixed": mixed,
        "test": writer.bits(learned[1], 2),
        "perplexity": float((-learned[1].mean()).exp()),
        "counted_perplexity": float((-chosen[1].mean()).exp()),
    }


# --- Modular addition ---------------------------------------------------------------


def addition_table(p: int) -> tuple[Tensor, Tensor]:
    """All sums modulo p as texts "a b =": (p^2, 3) tokens, the sign = is token p; and
    what follows, (a + b) mod p."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    sign = torch.full((p * p, 1), p)
    return torch.cat([pairs, sign], 1), pairs.sum(1) % p


def last_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of what follows the last token alone."""
    return F.cross_entropy(logits[:, -1].float(), y)


def spectrum(table: Tensor) -> Tensor:
    """Of the vectors of the numbers 0, ..., p - 1 (p, d), the share of each frequency
    1, ..., p // 2 around the circle in their variance."""
    centred = table - table.mean(0)
    power = torch.fft.rfft(centred.double(), dim=0).abs().square().sum(1)[1:]
    return power / power.sum()


@experiment(
    "grokking",
    chapter="models/transformer",
    shows="modular addition: learned by heart first, understood much later",
    small={
        "p": 7, "share": 0.6, "width": 16, "heads": 2, "steps": 60, "rate": 3e-3,
        "decay": 1.0, "measured": 3,
    },
    cpu={
        "p": 31, "share": 0.5, "width": 48, "heads": 4, "steps": 2800, "rate": 2e-3,
        "decay": 1.0, "measured": 56,
    },
    full={
        "p": 113, "share": 0.3, "width": 128, "heads": 4, "steps": 12000, "rate": 1e-3,
        "decay": 1.0, "measured": 120,
    },
    able=("compile",),
)  # fmt: skip
def grokking(
    run: Run,
    p: int,
    share: float,
    width: int,
    heads: int,
    steps: int,
    rate: float,
    decay: float,
    measured: int,
) -> dict[str, Tensor]:
    """A GPT of one block learns a + b mod p from a share of all sums, the same ones in
    every step, with AdamW; it is judged on the others.

        steps (M + 1,); losses, accuracy (2, M + 1): of the known sums and the others
        norms (M + 1,): the root of the mean square of all weights
        spectra (2, p // 2): share of each frequency in the vectors of the numbers,
        before and after

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        p: numbers on the circle.
        share: of the sums that are known, in (0, 1).
        width: of the vectors.
        heads: of the block.
        steps: of AdamW, a multiple of `measured`.
        rate: its rate, after 10 steps of warm-up.
        decay: its weight decay.
        measured: M.

    Returns:
        The arrays named above.

    Source: Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217.
    """
    x, y = (part.to(run.device) for part in addition_table(p))
    order = torch.randperm(len(x), generator=run.generator("known"))
    cut = int(share * len(x))
    parts = [order[:cut].to(run.device), order[cut:].to(run.device)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.generator("weights").initial_seed())
        model = GPT(p + 1, 3, width, heads=heads).to(run.device)
    run.compiled(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, weight_decay=decay, betas=(0.9, 0.98)
    )
    take_step = Steps(model, last_loss, optimizer)
    found = {
        "losses": torch.zeros(2, measured + 1),
        "accuracy": torch.zeros(2, measured + 1),
        "norms": torch.zeros(measured + 1),
        "spectra": torch.zeros(2, p // 2),
    }

    def measure(point: int) -> None:
        with in_evaluation(model), torch.no_grad():
            logits = model(x)[:, -1]
            for i, part in enumerate(parts):
                found["losses"][i, point] = F.cross_entropy(logits[part], y[part])
                right = logits[part].argmax(-1) == y[part]
                found["accuracy"][i, point] = right.float().mean()
            weights = nn.utils.parameters_to_vector(model.parameters())
            found["norms"][point] = weights.square().mean().sqrt()
            found["spectra"][int(point > 0)] = spectrum(model.embedding.weight[:p])

    measure(0)
    known, every = (x[parts[0]], y[parts[0]]), steps // measured
    for chunk in run.chunks(measured, training=take_step, **found):
        with in_training(model):
            take_step.follow(
                repeat(known, every), lambda t: min(1, (t + 1) / 10), chunk * every
            )
        measure(chunk + 1)
    return {"steps": torch.arange(measured + 1) * every, **found}


# --- Copy and reverse ---------------------------------------------------------------

FIRST = (
    2  # the token that begins every answer; 0 asks for a copy, 1 for the reverse
)


def dictations(
    batch: int, length: int, alphabet: int, draw: Generator
) -> tuple[Tensor, Tensor]:
    """Tasks and answers: a task is 0 or 1, then letters; the answer is the letters as
    they are, or from the last to the first. (B, length + 1), (B, length)."""
    words = 3 + torch.randint(alphabet, (batch, length), generator=draw)
    task = torch.randint(2, (batch, 1), generator=draw)
    answer = torch.where(task == 0, words, words.flip(1))
    return torch.cat([task, words], 1), answer


class Task(nn.Module):
    """An encoder-decoder in the form that a training step calls: a row is the source,
    then the answer; it sees the answer up to the last letter, begun by `FIRST`."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 n + 1) to logits (B, n, K)."""
        source, answer = x.tensor_split([x.shape[1] // 2 + 1], 1)
        begun = F.pad(answer[:, :-1], (1, 0), value=FIRST)
        return self.model(source, begun)


def lessons(
    steps: int,
    lengths: int,
    examples: Callable[[int], tuple[Tensor, Tensor]],
    draw: Generator,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """New examples for each step, all of one length, from 1 to `lengths`."""
    for _ in range(steps):
        length = int(torch.randint(1, lengths + 1, (1,), generator=draw))
        source, answer = examples(length)
        yield torch.cat([source, answer], 1).to(device), answer.to(device)


def cross_weights(model: EncoderDecoder, source: Tensor, answer: Tensor) -> Tensor:
    """Where each letter of an answer looks in the source, mean over heads, for each
    layer of a model with norms first: (layers, n, m) for one row of (1, m) and (1,
    n)."""
    with in_evaluation(model), torch.no_grad():
        context = model.read(source)
        h = model.placed(F.pad(answer[:, :-1], (1, 0), value=FIRST))
        found = []
        layers: Any = model.decoder
        for layer in layers:
            x = layer.around_attention(h, partial(layer.attention, causal=True))
            heads = layer.cross.heads
            q = split_heads(layer.cross.query(layer.around_cross.norm(x)), heads)
            k = split_heads(layer.cross.key(context), heads)
            scores = attention_scores(q, k)
            found.append(attention_weights(scores)[0].mean(0))
            h = layer(h, context)
    return torch.stack(found)


@experiment(
    "copy_and_reverse",
    chapter="models/transformer",
    shows="an encoder-decoder copies and reverses, within the lengths that it was taught",
    small={
        "lengths": 3, "alphabet": 4, "batch": 16, "steps": 40, "rate": 3e-3, "tested": 16,
        "options": {"width": 16, "heads": 2, "layers": 1},
    },
    cpu={
        "lengths": 8, "alphabet": 20, "batch": 64, "steps": 1600, "rate": 3e-3, "tested": 256,
        "options": {"width": 64, "heads": 4, "layers": 1},
    },
    full={
        "lengths": 20, "alphabet": 20, "batch": 256, "steps": 2400, "rate": 1e-3, "tested": 1024,
        "options": {"width": 128, "heads": 4, "layers": 3},
    },
    able=("compile",),
)  # fmt: skip
def copy_and_reverse(
    run: Run,
    lengths: int,
    alphabet: int,
    batch: int,
    steps: int,
    rate: float,
    tested: int,
    options: dict[str, Any],
) -> dict[str, Tensor]:
    """The share of words that an encoder-decoder with norms first writes without a
    fault, letter by letter, the likeliest each time; up to twice the lengths of its
    training.

        right (2, 2 n): of copies and reverses, lengths 1, ..., 2 n
        looks (2, layers, n, n + 1): where the letters of one copied and one reversed
        word look

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        lengths: n; words of its training have 1 to n letters.
        alphabet: how many letters there are.
        batch: words a step.
        steps: of Adam.
        rate: its highest rate.
        tested: new words of each length.
        options: of `EncoderDecoder`: width, heads, layers.

    Returns:
        The arrays named above.

    Source: Vaswani et al. 2017, arXiv:1706.03762, the model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.generator("weights").initial_seed())
        model = EncoderDecoder(3 + alphabet, **options, norm_first=True)
    task = Task(model.to(run.device))
    run.compiled(task)
    optimizer = torch.optim.Adam(task.parameters(), lr=rate, betas=(0.9, 0.98))
    take_step = Steps(task, token_loss, optimizer)
    draw = run.generator("words")
    chunks, right = 10, torch.zeros(2, 2 * lengths)
    for chunk in run.chunks(chunks, training=take_step, draw=draw):
        part = range(chunk * steps // chunks, (chunk + 1) * steps // chunks)
        words = partial(dictations, batch, alphabet=alphabet, draw=draw)
        given = lessons(len(part), lengths, words, draw, run.device)
        take_step.follow(given, partial(factor, of=steps), part.start)
    for length in range(1, 2 * lengths + 1):
        test = run.generator(f"test/{length}")
        source, answer = dictations(2 * tested, length, alphabet, test)
        with in_evaluation(model):
            found = greedy(model, source.to(run.device), FIRST, length).cpu()
        exact = (found == answer).all(1)
        for kind in (0, 1):
            right[kind, length - 1] = exact[source[:, 0] == kind].float().mean()
    word = dictations(1, lengths, alphabet, run.generator("one word"))[0][:, 1:]
    looks = []
    for kind in (0, 1):
        source = torch.cat([torch.tensor([[kind]]), word], 1).to(run.device)
        answer = (word if kind == 0 else word.flip(1)).to(run.device)
        looks.append(cross_weights(model, source, answer).cpu())
    return {"right": right, "looks": torch.stack(looks)}
