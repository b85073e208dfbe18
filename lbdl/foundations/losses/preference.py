"""Losses that learn from another judge: from which of two answers people prefer,
and from a larger network.

Preferences: Bradley & Terry 1952; as a loss for language models Christiano et al.
2017, arXiv:1706.03741, and without a model of rewards Rafailov et al. 2023 (DPO),
arXiv:2305.18290. Distillation: Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from lbdl import require
from lbdl.foundations.losses.classification import log_probabilities, weighed
from lbdl.foundations.losses.reduction import reduced, require_comparable


def bradley_terry(
    chosen: Tensor, rejected: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """The code length of "this one is better", when rewards decide the odds.

        l = -log sigma(r+ - r-),    sigma(r+ - r-) the probability that + is
        preferred

    Only differences count: a constant added to all rewards changes nothing.

        >>> bradley_terry(torch.tensor([2.0]), torch.tensor([2.0]))
        tensor(0.6931)

    Args:
        chosen: rewards r+ of the preferred answers, any shape, floating dtype.
        rejected: rewards r- of the others, same shape and dtype.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `chosen`.

    Raises:
        TypeError: an argument is not a floating tensor, or the dtypes differ.
        ValueError: shapes differ, there is no element, or `reduction` is unknown.

    Source: Bradley & Terry 1952, Biometrika 39; Christiano et al. 2017, section
        2.2.3, arXiv:1706.03741.
    """
    require_comparable(reduction, chosen=chosen, rejected=rejected)
    losses = -logsigmoid(require.widen(chosen) - require.widen(rejected))
    return reduced(losses, reduction, chosen.dtype)


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """Direct preference optimisation: the policy is its own model of rewards.

        l = -log sigma(r+ - r-),    r = beta log( pi(y | x) / pi_ref(y | x) )

    Args:
        chosen: log pi of the preferred answers, any shape, floating dtype.
        rejected: log pi of the others, same shape and dtype.
        reference_chosen: log pi_ref of the preferred answers, likewise.
        reference_rejected: log pi_ref of the others, likewise.
        beta: > 0; how dearly leaving the reference is paid.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `chosen`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, there is no element, bad `beta` or `reduction`.

    Source: Rafailov et al. 2023, equation (7), arXiv:2305.18290.
    """
    answers = {"chosen": chosen, "rejected": rejected}
    references = {
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    require_comparable(reduction, **answers, **references)
    require.number(beta=beta, above=0)
    better = require.widen(chosen) - require.widen(reference_chosen)
    worse = require.widen(rejected) - require.widen(reference_rejected)
    return reduced(-logsigmoid(beta * (better - worse)), reduction, chosen.dtype)


def distillation(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 2.0,
    dim: int = -1,
    reduction: str = "mean",
) -> Tensor:
    """How far a student's softened answers are from a teacher's.

        l = T^2 KL(q || p),    q = softmax(teacher / T),    p = softmax(student / T)

    The gradient in the student's logits is T (p - q); the factor T^2 keeps it from
    fading as T grows, where it tends to the difference of the centred logits over
    K.

    Args:
        student: logits (..., K, ...), floating dtype; -inf where the teacher has
            it.
        teacher: logits, same shape and dtype.
        temperature: T > 0.
        dim: the dimension of the K classes.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `student` without `dim`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, no such dimension, no element, a row of -inf
            alone, bad `temperature` or `reduction`.

    Source: Hinton, Vinyals & Dean 2015, section 2, arXiv:1503.02531.
    """
    require_comparable(reduction, student=student, teacher=teacher)
    require.dim(student, dim, "student")
    require.number(temperature=temperature, above=0)
    log_p, log_q = (
        log_probabilities(require.widen(x) / temperature, dim, name)
        for x, name in ((student, "student"), (teacher, "teacher"))
    )
    losses = temperature**2 * weighed(log_q.exp(), log_q - log_p).sum(dim)
    return reduced(losses, reduction, student.dtype)
