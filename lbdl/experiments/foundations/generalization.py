"""The heavy experiment on generalisation: double descent in trained networks.

Networks with one hidden layer learn noisy labels, at widths from far too small to far larger than needed.
Their test error falls, rises to a peak where they can just fit every training label, and falls again. Belkin
et al. 2019, arXiv:1812.11118; the data and the place of the peak, number of weights = examples x outputs for
the squared error, Greydanus & Kobak 2024, arXiv:2011.14439.
"""

from itertools import islice

import torch
from torch import Generator, Tensor, nn

from lbdl.core import data
from lbdl.core.data import Dataset
from lbdl.core.training import forever, predict
from lbdl.foundations.schedules import cosine_restarts
from lbdl.lab import Run, Steps, experiment

__all__ = [
    "Networks",
    "double_descent",
    "noisy_labels",
    "squared_error",
    "threshold_width",
    "weights_of",
]

CLASSES = 10


class Networks(nn.Module):
    """R networks with one hidden layer, trained side by side; no weight is shared.

        scores_r(x) = relu(x A_r + a_r) B_r + b_r

    Every network starts from a stream of its own: A and B normal with variance one over the number of inputs,
    a and b zero.

    Args:
        generators: R of them, on the CPU.
        inputs: d >= 1.
        width: h >= 1, hidden units of each network.
        outputs: K >= 1.

    Source: Belkin et al. 2019, arXiv:1812.11118.
    """

    def __init__(
        self,
        generators: list[Generator],
        inputs: int,
        width: int,
        outputs: int = CLASSES,
    ) -> None:
        super().__init__()
        R = len(generators)
        first = [
            torch.randn(inputs, width, generator=g) / inputs**0.5
            for g in generators
        ]
        second = [
            torch.randn(width, outputs, generator=g) / width**0.5
            for g in generators
        ]
        self.A, self.a = (
            nn.Parameter(torch.stack(first)),
            nn.Parameter(torch.zeros(R, 1, width)),
        )
        self.B, self.b = (
            nn.Parameter(torch.stack(second)),
            nn.Parameter(torch.zeros(R, 1, outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.baddbmm(
            self.a, x.expand(len(self.A), *x.shape), self.A
        ).relu()  # (R, n, h)
        return torch.baddbmm(self.b, hidden, self.B).movedim(0, 1)  # (n, R, K)


def squared_error(scores: Tensor, classes: Tensor) -> Tensor:
    """Squared distance to the one-hot vectors, a mean over examples and a sum over networks.

        sum_r mean_i || scores_ir - onehot(class_ir) ||^2

    The sum keeps the networks apart: the gradient of each is that of its own loss.

    Args:
        scores: (n, R, K), floating dtype.
        classes: int64 (n, R).

    Returns:
        The loss, a scalar.
    """
    return squared_errors(scores, classes).sum()


def squared_errors(scores: Tensor, classes: Tensor) -> Tensor:
    targets = nn.functional.one_hot(classes, scores.shape[-1]).to(scores)
    return (scores - targets).square().sum(-1).mean(0)  # (R,)


def noisy_labels(
    classes: Tensor, noise: float, generators: list[Generator]
) -> Tensor:
    """The labels of every run: a share of them replaced by classes drawn at random.

        with probability `noise` uniform over the classes (the right one among them), else as it is

    Args:
        classes: int64 (n,).
        noise: from 0 to 1.
        generators: R of them, on the CPU.

    Returns:
        The labels int64 (n, R).

    Raises:
        ValueError: `noise` is outside [0, 1].

    Source: Belkin et al. 2019, arXiv:1812.11118; Nakkiran et al. 2020, arXiv:1912.02292.
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"noise must be in [0, 1], got {noise}")
    columns = []
    for generator in generators:
        drawn = torch.randint(CLASSES, classes.shape, generator=generator)
        columns.append(
            torch.where(
                torch.rand(classes.shape, generator=generator) < noise,
                drawn,
                classes,
            )
        )
    return torch.stack(columns, dim=-1)


def weights_of(width: int, inputs: int, outputs: int = CLASSES) -> int:
    """The number of weights and biases of one network.

        (d + 1) h + (h + 1) K

    Args:
        width: h, a number.
        inputs: d, a number.
        outputs: K, a number.

    Returns:
        The number.
    """
    return (inputs + 1) * width + (width + 1) * outputs


def threshold_width(examples: int, inputs: int, outputs: int = CLASSES) -> float:
    """The width at which a network has as many weights as its squared error has terms.

        (d + 1) h + (h + 1) K = n K

    Args:
        examples: n, a number.
        inputs: d, a number.
        outputs: K, a number.

    Returns:
        The width h, not rounded.

    Source: Belkin et al. 2019, arXiv:1812.11118.
    """
    return (examples - 1) * outputs / (inputs + 1 + outputs)


SMALL = [1, 2, 4, 7, 10, 13, 17, 25, 50, 150]
CPU = [
    1,
    2,
    3,
    5,
    8,
    12,
    18,
    26,
    36,
    46,
    56,
    66,
    78,
    92,
    110,
    140,
    190,
    270,
    400,
    600,
]
FULL = [
    1,
    2,
    3,
    5,
    8,
    12,
    18,
    26,
    38,
    56,
    82,
    120,
    175,
    250,
    330,
    410,
    480,
    540,
    590,
    630,
    660,
    685,
    710,
]
BEYOND = [740, 780, 830, 900, 1000, 1200, 1500, 2000]


@experiment(
    "double_descent",
    chapter="foundations/generalization",
    shows="the test error of trained networks falls, peaks where they can just fit the labels, and falls again",
    small={
        "task": "digits", "widths": SMALL, "runs": 3, "together": 3,
        "examples": 100, "noise": 0.2, "steps": 500, "batch": 100, "lr": 0.01,
    },
    cpu={
        "task": "mnist1d", "widths": CPU, "runs": 6, "together": 3,
        "examples": 400, "noise": 0.2, "steps": 3000, "batch": 400, "lr": 0.01,
    },
    full={
        "task": "mnist1d", "widths": FULL + BEYOND, "runs": 8, "together": 8,
        "examples": 3500, "noise": 0.2, "steps": 1200, "batch": 3500, "lr": 0.01,
    },
    able=("processes",),
)  # fmt: skip
def double_descent(
    run: Run,
    task: str,
    widths: list[int],
    runs: int,
    together: int,
    examples: int,
    noise: float,
    steps: int,
    batch: int,
    lr: float,
) -> dict[str, Tensor | float]:
    """Training and test error of trained networks against their width, on noisy labels.

        train_loss, test_loss (W, R): squared error; train_error, test_error (W, R): share of wrong labels

    Training is measured on the noisy labels, the test on clean ones. All networks of one number r see the
    same labels, whatever their width.

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        task: the data, "digits" or "mnist1d".
        widths: W of them, >= 1.
        runs: R networks of each width, each with labels and a start of its own.
        together: runs that are trained at once.
        examples: of the training set, the first ones.
        noise: share of the labels that are drawn at random.
        steps: of Adam; the learning rate falls to 0 along half a cosine.
        batch: examples a step.
        lr: learning rate of the first step.

    Returns:
        The arrays named above, `widths` (W,), `weights` (W,) and the `threshold`, as a width.

    Source: Belkin et al. 2019, arXiv:1812.11118; Greydanus & Kobak 2024, arXiv:2011.14439.
    """
    training, test = standardised(task, examples)
    test = test.to(run.device)
    inputs = training.x.shape[-1]
    jobs = [
        (i, group) for i in range(len(widths)) for group in groups(runs, together)
    ]
    found = torch.zeros(4, len(widths), runs)
    for job in run.chunks(len(jobs), found=found):
        i, group = jobs[job]
        starts = [
            run.generator(f"start of {r} at width {widths[i]}") for r in group
        ]
        labels = noisy_labels(
            training.y, noise, [run.generator(f"labels of {r}") for r in group]
        )
        noisy = Dataset(training.x, labels).to(run.device)
        model = Networks(starts, inputs, widths[i]).to(run.device)
        fit(
            model,
            noisy,
            steps,
            batch,
            lr,
            run.generator(f"batches at width {widths[i]}"),
        )
        found[:, i, group] = torch.cat(
            [judge(model, noisy), judge(model, test)]
        ).cpu()
    names = ("train_loss", "train_error", "test_loss", "test_error")
    return {
        **dict(zip(names, found, strict=True)),
        "widths": torch.tensor(widths),
        "weights": torch.tensor([weights_of(width, inputs) for width in widths]),
        "threshold": threshold_width(examples, inputs),
    }


def standardised(task: str, examples: int) -> tuple[Dataset, Dataset]:
    """The first examples to train on, and the test set, every input with mean 0, all with variance 1."""
    splits: data.Splits = {"digits": data.digits, "mnist1d": data.mnist1d}[task]()
    mean = splits.train.x.mean(0)
    scale = (splits.train.x - mean).square().mean().sqrt()
    return tuple(
        Dataset((d.x - mean) / scale, d.y)
        for d in (splits.train[:examples], splits.test)
    )  # type: ignore[return-value]


def groups(runs: int, together: int) -> list[list[int]]:
    """The numbers of the runs, so many at a time."""
    return [
        list(range(first, min(first + together, runs)))
        for first in range(0, runs, together)
    ]


def fit(
    model: Networks,
    examples: Dataset,
    steps: int,
    batch: int,
    lr: float,
    generator: Generator,
) -> None:
    """Trains all networks for so many steps of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    factors = cosine_restarts(torch.arange(steps), cycle=max(1, steps)).tolist()
    batches = islice(forever(examples, batch, generator), steps)
    Steps(model, squared_error, optimizer).follow(batches, factors.__getitem__)


def judge(model: Networks, examples: Dataset) -> Tensor:
    """Squared error and share of wrong labels of every network (2, R); one column of labels serves them all."""
    scores = predict(model, examples.x)  # (n, R, K)
    labels = examples.y.view(len(examples), -1).expand(-1, scores.shape[1])
    wrong = (scores.argmax(-1) != labels).float().mean(0)
    return torch.stack([squared_errors(scores, labels), wrong])
