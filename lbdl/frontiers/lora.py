"""LoRA: a frozen matrix and a trained one of low rank beside it.

What low rank can hold, and what becomes of it: the best error of each rank, which
of the two factors begins at zero, what merging loses in a narrow number format,
rates for the two factors (LoRA+), and a base that is stored in four bits (QLoRA).

Hu et al. 2021, arXiv:2106.09685; Hayou, Ghosh & Yu 2024, arXiv:2402.12354;
Dettmers et al. 2023, arXiv:2305.14314. Letters as in the first: A reads, B writes.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "LoRALinear",
    "NF4Linear",
    "adapt",
    "adapter_init",
    "best_adapter",
    "contribution_ratio",
    "dequantize_nf4",
    "lora_linear",
    "lora_plus_groups",
    "merge",
    "merge_error",
    "merged",
    "nf4_levels",
    "predicted_merge_error",
    "quantize_nf4",
    "rank_errors",
    "stochastic_round",
    "unmerge",
]


# --- The adapter ---


def lora_linear(
    x: Tensor,
    weight: Tensor,
    A: Tensor,
    B: Tensor,
    scale: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """A linear layer with an adapter beside it.

        y = W x + b + scale B (A x)

    Args:
        x: (..., n), floating dtype.
        weight: W (m, n), dtype of `x`.
        A: (r, n), floating dtype.
        B: (m, r), dtype of `A`.
        scale: alpha / r of the paper.
        bias: b (m,), dtype of `x`, or None.

    Returns:
        (..., m), dtype of `x`. The adapter is computed in its own dtype.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or `scale` is not finite.

    Source: Hu et al. 2021, equation 3, arXiv:2106.09685.
    """
    require.fitting(x=(x, "... n"), weight=(weight, "m n"))
    require_adapter(A, B, weight)
    require.number(scale=scale)
    if bias is not None:
        require.floating(bias=bias)
        require.alike(x=x, bias=bias)
        require.shapes(weight=(weight, "m n"), bias=(bias, "m"))
    y = F.linear(x, weight, bias)
    return y + (scale * F.linear(F.linear(x.to(A.dtype), A), B)).to(y.dtype)


def adapter_init(
    n: int,
    m: int,
    r: int,
    *,
    zero: str = "B",
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """An adapter that adds nothing yet: one factor random, the other zero.

        zero = "B":  A ~ N(0, 1/n), B = 0;    zero = "A":  A = 0, B ~ N(0, 1/r)

    Args:
        n: inputs, >= 1.
        m: outputs, >= 1.
        r: rank, >= 1.
        zero: "B" (the paper's choice) or "A".
        generator: of the CPU; by default torch's.
        dtype: floating; by default torch's.

    Returns:
        A (r, n) and B (m, r).

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, or `zero` is another word.

    Source: Hu et al. 2021, section 4.1, arXiv:2106.09685.
    """
    require.whole(n=n, m=m, r=r, least=1)
    require.choice(("A", "B"), zero=zero)
    require.generator(generator=generator)
    require.dtype(dtype=dtype)
    A, B = torch.zeros(r, n, dtype=dtype), torch.zeros(m, r, dtype=dtype)
    if zero == "B":
        return A.normal_(0, n**-0.5, generator=generator), B
    return A, B.normal_(0, r**-0.5, generator=generator)


class LoRALinear(nn.Module):
    """A frozen linear layer with a trained adapter beside it.

        y = base(x) + alpha / r B (A x)

    Its parameters are `A` (r, n), random, and `B` (m, r), zero at first.

    Args:
        base: a linear layer or an `NF4Linear`; held, not copied, and frozen.
        r: rank, >= 1.
        alpha: the adapter is multiplied by alpha / r; by default r.
        generator: of the CPU; by default torch's.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Hu et al. 2021, equation 3, arXiv:2106.09685.
    """

    def __init__(
        self,
        base: nn.Module,
        r: int,
        alpha: float | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(base, nn.Linear | NF4Linear):
            raise TypeError(
                f"base must be a Linear or NF4Linear, got {type(base).__name__}"
            )
        require.whole(r=r, least=1)
        alpha = float(r) if alpha is None else alpha
        require.number(alpha=alpha)
        require.generator(generator=generator)
        place: Tensor = base.absmax if isinstance(base, NF4Linear) else base.weight
        A, B = adapter_init(
            base.in_features, base.out_features, r, generator=generator
        )
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Parameter(A.to(place))
        self.B = nn.Parameter(B.to(place))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m): what `lora_linear` says, with one pass less."""
        y = self.base(x)
        low = F.linear(x.to(self.A.dtype), self.A)
        if y.dtype != low.dtype:
            return y + (self.scale * F.linear(low, self.B)).to(y.dtype)
        rows, low = y.reshape(-1, y.shape[-1]), low.reshape(-1, low.shape[-1])
        return torch.addmm(rows, low, self.B.T, alpha=self.scale).view_as(y)

    def merged(self) -> nn.Linear:
        """A plain linear layer with W + scale B A, in the dtype of the base.

        This layer stays as it is: keep it, and nothing need be unmerged.
        """
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        m, n = weight.shape
        plain = nn.Linear(n, m, self.base.bias is not None, device="meta")
        plain.weight = nn.Parameter(
            merge(weight.detach(), self.A.detach(), self.B.detach(), self.scale)
        )
        if isinstance(self.base.bias, Tensor):
            plain.bias = nn.Parameter(self.base.bias.detach().clone())
        return plain.train(self.training)


def adapt(
    model: nn.Module,
    r: int,
    alpha: float | None = None,
    names: Sequence[str] | None = None,
    generator: Generator | None = None,
) -> nn.Module:
    """A copy of a model with adapters beside its linear layers, all else frozen.

    Args:
        model: it stays as it is.
        r: rank, >= 1.
        alpha: the adapters are multiplied by alpha / r; by default r.
        names: ends of names of the layers to adapt; by default all. Only
            `nn.Linear` itself is adapted, no subclass, for others may read its
            weight.
        generator: of the CPU; by default torch's.

    Returns:
        The copy. Its parameters that take a gradient are the A and B.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, or no layer has such a name.
    """
    require.instance(nn.Module, model=model)
    require.whole(r=r, least=1)
    if alpha is not None:
        require.number(alpha=alpha)
    if names is not None:
        require.instances(str, names=names)
    require.generator(generator=generator)
    ends, found = tuple(names or ("",)), []

    def beside(name: str, part: nn.Module) -> nn.Module | None:
        if type(part) is not nn.Linear or not name.endswith(ends):
            return None
        found.append(name)
        return LoRALinear(part, r, alpha, generator)

    adapted = exchanged(copy.deepcopy(model).requires_grad_(False), beside)
    if not found:
        raise ValueError(f"names must end the name of a linear layer, got {names}")
    return adapted.train(model.training)


def merged(model: nn.Module) -> nn.Module:
    """A copy of a model with every `LoRALinear` merged into a plain linear layer.

    Args:
        model: from `adapt`; it stays as it is.

    Returns:
        The copy, in the mode (training or evaluation) of `model`.

    Raises:
        TypeError: `model` is no module.
    """
    require.instance(nn.Module, model=model)

    def plain(name: str, part: nn.Module) -> nn.Module | None:
        return part.merged() if isinstance(part, LoRALinear) else None

    return exchanged(copy.deepcopy(model), plain).train(model.training)


def exchanged(
    part: nn.Module,
    change: Callable[[str, nn.Module], nn.Module | None],
    name: str = "",
    done: dict[int, nn.Module] | None = None,
) -> nn.Module:
    """A model in which parts are what `change` makes of them, where it makes
    anything; a part that stands at two places stays one."""
    done = {} if done is None else done
    if id(part) not in done:
        new = change(name, part)
        done[id(part)] = part if new is None else new
        for last, child in list(part._modules.items()) if new is None else ():
            if child is not None:
                full = f"{name}.{last}" if name else last
                setattr(part, last, exchanged(child, change, full, done))
    return done[id(part)]


def require_adapter(A: Tensor, B: Tensor, weight: Tensor) -> None:
    """TypeError or ValueError unless A (r, n) and B (m, r) fit W (m, n)."""
    require.floating(weight=weight, A=A, B=B)
    require.alike(A=A, B=B)
    require.shapes(weight=(weight, "m n"), A=(A, "r n"), B=(B, "m r"))


# --- Rank ---


def rank_errors(delta: Tensor) -> Tensor:
    """The smallest error of every rank.

        e_r = min over rank(M) <= r of ||delta - M||_F = sqrt(sum_{i > r} sigma_i^2)

    with the singular values sigma_1 >= sigma_2 >= ...

    >>> rank_errors(torch.diag(torch.tensor([4.0, 3.0, 0.0])))
    tensor([5., 3., 0., 0.])

    Args:
        delta: (..., m, n), floating dtype.

    Returns:
        (..., min(m, n) + 1), dtype of `delta`: e_0, e_1, ... Half precision is
        computed in float32.

    Raises:
        TypeError: `delta` is not floating.
        ValueError: its shape does not fit, or it is not finite.

    Source: Eckart & Young 1936.
    """
    require.fitting(delta=(delta, "... m n"))
    require.finite(delta=delta)
    wide = require.widen(delta)
    size = require.power_of_two(wide, (-2, -1))
    sigma = torch.linalg.svdvals(wide / size)
    tails = sigma.square().flip(-1).cumsum(-1).flip(-1).sqrt()
    return (size[..., 0] * F.pad(tails, (0, 1))).to(delta.dtype)


def best_adapter(delta: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """The adapter of rank r that is nearest to an update.

        delta = U diag(sigma) V^T,  A = diag(sigma_r)^(1/2) V_r^T,
        B = U_r diag(sigma_r)^(1/2)

    with the r largest singular values. No `torch.func`: the factors of equal
    singular values are not unique.

    Args:
        delta: (..., m, n), floating dtype.
        r: rank, from 1 to min(m, n).

    Returns:
        A (..., r, n) and B (..., m, r), dtype of `delta`. Half precision is
        computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the shape does not fit, `delta` is not finite, or `r` is out of
            range.

    Source: Eckart & Young 1936.
    """
    sizes = require.fitting(delta=(delta, "... m n"))
    require.finite(delta=delta)
    require.whole(r=r, least=1, most=min(sizes.values()))
    U, sigma, Vt = torch.linalg.svd(require.widen(delta), full_matrices=False)
    root = sigma[..., :r].sqrt()
    A, B = root[..., None] * Vt[..., :r, :], U[..., :r] * root[..., None, :]
    return A.to(delta.dtype), B.to(delta.dtype)


# --- Merging, in numbers of finite length ---


def merge(weight: Tensor, A: Tensor, B: Tensor, scale: float = 1.0) -> Tensor:
    """One matrix for two.

        W' = W + scale B A

    Args:
        weight: W (m, n), floating dtype.
        A: (r, n), floating dtype, not necessarily that of W.
        B: (m, r), dtype of `A`.
        scale: alpha / r of the paper.

    Returns:
        W' (m, n), dtype of W: half precision is computed in float32 and rounded
        once.

    Raises:
        TypeError: an argument is not of its kind, or A and B differ in dtype.
        ValueError: shapes do not fit, or `scale` is not finite.

    Source: Hu et al. 2021, section 4.1, arXiv:2106.09685.
    """
    require_adapter(A, B, weight)
    require.number(scale=scale)
    delta = scale * (require.widen(B) @ require.widen(A))
    return (require.widen(weight) + delta).to(weight.dtype)


def unmerge(weight: Tensor, A: Tensor, B: Tensor, scale: float = 1.0) -> Tensor:
    """W' - scale B A: what was W before `merge`, but for two roundings.

    Args:
        weight: W' (m, n), floating dtype.
        A: (r, n), floating dtype, not necessarily that of W'.
        B: (m, r), dtype of `A`.
        scale: as it was for `merge`.

    Returns:
        (m, n), dtype of W': half precision is computed in float32 and rounded once.

    Raises:
        TypeError: an argument is not of its kind, or A and B differ in dtype.
        ValueError: shapes do not fit, or `scale` is not finite.
    """
    require.number(scale=scale)
    return merge(weight, A, B, -scale)


def merge_error(weight: Tensor, delta: Tensor) -> Tensor:
    """How much of an update is lost when it is added to stored weights.

        || (round(W + delta) - W) - delta ||_F / || delta ||_F

    with `round` to the dtype of W. 0: nothing is lost; 1: as if nothing had been
    added.

    Args:
        weight: W (..., m, n), floating dtype: the format in which weights are kept.
        delta: (..., m, n), floating dtype, the exact update; not zero.

    Returns:
        (...), dtype of `delta`; computed in float64.

    Raises:
        TypeError: an argument is not floating.
        ValueError: shapes do not fit, an argument is not finite, or an update is
            zero.
    """
    require.floating(weight=weight, delta=delta)
    require.shapes(weight=(weight, "... m n"), delta=(delta, "... m n"))
    require.same_shape(weight=weight, delta=delta)
    require.finite(weight=weight, delta=delta)
    W, D = weight.double(), delta.double()
    size = D.square().sum((-2, -1)).sqrt()
    require.values(size > 0, "delta must not be zero everywhere")
    stored = (W + D).to(weight.dtype).double()
    lost = (stored - W - D).square().sum((-2, -1)).sqrt()
    return (lost / size).to(delta.dtype)


def predicted_merge_error(ratio: Tensor, dtype: torch.dtype) -> Tensor:
    """`merge_error` of normal weights and a normal update, in closed form.

        error^2 = sum_e P_e q(t_e) / t_e^2,   t_e = ratio / (eps 2^e)
        q(t) = E (round(t z) - t z)^2
             = 1/12 + sum_k (-1)^k exp(-2 pi^2 k^2 t^2) / (pi k)^2

    with P_e the share of weights between 2^e and 2^(e+1) standard deviations, whose
    neighbours in the format are eps 2^e apart, and z ~ N(0, 1). That an update may
    carry a weight over a power of two is neglected: the ratio must be small.

    Args:
        ratio: (...), floating dtype, > 0: standard deviation of the update over
            that of the weights.
        dtype: floating, the format of the weights.

    Returns:
        (...), dtype of `ratio`; half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a ratio is not positive and finite.

    Source: derived in the chapter.
    """
    require.floating(ratio=ratio)
    require.instance(torch.dtype, dtype=dtype)
    require.dtype(dtype=dtype)
    require.finite(ratio=ratio)
    require.within(ratio=ratio, above=0)
    wide = require.widen(ratio)
    e = torch.arange(-24, 4, dtype=wide.dtype, device=ratio.device)
    share = torch.erf(2 ** (e + 1) / 2**0.5) - torch.erf(2**e / 2**0.5)
    t = wide[..., None] / (torch.finfo(dtype).eps * 2**e)
    return (share * lost_to_rounding(t)).sum(-1).sqrt().to(ratio.dtype)


def lost_to_rounding(t: Tensor) -> Tensor:
    """q(t) / t^2 of `predicted_merge_error`; 1 where no number comes near 1/2."""
    k = torch.arange(1, 11, dtype=t.dtype, device=t.device)
    safe = t.clamp(min=0.1)
    waves = torch.exp(-2 * (torch.pi * k * safe[..., None]) ** 2)
    q = 1 / 12 + ((-1) ** k * waves / (torch.pi * k) ** 2).sum(-1)
    return torch.where(t > 0.1, q / safe**2, 1)


def stochastic_round(
    x: Tensor, dtype: torch.dtype, generator: Generator | None = None
) -> Tensor:
    """Rounding to one of the two neighbours at random, so that the mean is right.

        x = lower + s (upper - lower)  ->  upper with probability s, else lower

    Args:
        x: (...), floating dtype.
        dtype: floating, narrower than that of `x`.
        generator: of the device of `x`; by default torch's.

    Returns:
        Shape of `x`, of `dtype`. What the format holds stays; beyond its largest
        number it is rounded as usual.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `dtype` is not narrower.
    """
    require.floating(x=x)
    require.instance(torch.dtype, dtype=dtype)
    require.dtype(dtype=dtype)
    require.generator(generator=generator)
    if torch.finfo(dtype).eps <= torch.finfo(x.dtype).eps:
        raise ValueError(f"dtype must be narrower than {x.dtype}, got {dtype}")
    near = x.to(dtype)
    left = x - near.to(x.dtype)
    ends = torch.full_like(near, torch.inf).copysign(left.to(dtype))
    other = torch.nextafter(near, ends)
    gap = (other.to(x.dtype) - near.to(x.dtype)).abs()
    u = torch.empty_like(x).uniform_(generator=generator)
    return torch.where(u * gap < left.abs(), other, near)


# --- Rates for the two factors ---


def contribution_ratio(gradient: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """The ratio of rates at which A and B lower the loss alike.

        sum |B^T D| / sum |D A^T|,   D the gradient of W

    A step against the signs of both gradients lowers the loss, to first order, by
    eta_A sum |B^T D| + eta_B sum |D A^T|. The two are equal at this eta_B / eta_A.

    Args:
        gradient: D (..., m, n), floating dtype.
        A: (..., r, n), dtype of D.
        B: (..., m, r), dtype of D.

    Returns:
        (...), dtype of D; inf where A = 0. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not floating, or dtypes differ.
        ValueError: shapes do not fit, an argument is not finite, or neither factor
            has a gradient.

    Source: Hayou, Ghosh & Yu 2024, arXiv:2402.12354, for the question; the chapter
    derives two answers.
    """
    require.fitting(
        gradient=(gradient, "... m n"), A=(A, "... r n"), B=(B, "... m r")
    )
    require.finite(gradient=gradient, A=A, B=B)
    D, A, B = (require.widen(x) for x in (gradient, A, B))
    of_A = (B.mT @ D).abs().sum((-2, -1))
    of_B = (D @ A.mT).abs().sum((-2, -1))
    require.values(
        of_A + of_B > 0, "gradient must pull on A or on B, got zero for both"
    )
    return (of_A / of_B).to(gradient.dtype)


def lora_plus_groups(
    model: nn.Module, lr: float, ratio: float, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: one rate for A, a higher one for B.

        A and other matrices: lr;   B: ratio lr;   vectors: ratio lr, no decay

    Only parameters that take a gradient are in a group, and no group is empty.
    These are the groups of `peft.optimizers.create_loraplus_optimizer` where
    vectors are biases and layer norms.

    Args:
        model: with `LoRALinear` layers.
        lr: of A, > 0.
        ratio: of the rate of B to that of A, > 0.
        weight_decay: of matrices, >= 0.

    Returns:
        At most three dicts with `params`, `lr` and `weight_decay`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range, or the model has no `LoRALinear`.

    Source: Hayou, Ghosh & Yu 2024, arXiv:2402.12354.
    """
    require.instance(nn.Module, model=model)
    require.number(lr=lr, ratio=ratio, above=0)
    require.number(weight_decay=weight_decay, least=0)
    writers = {id(p.B) for p in model.modules() if isinstance(p, LoRALinear)}
    if not writers:
        raise ValueError("model must have a LoRALinear, got none")
    groups: dict[str, list[Tensor]] = {"A": [], "B": [], "vectors": []}
    for p in model.parameters():
        if p.requires_grad:
            kind = "B" if id(p) in writers else "vectors" if p.dim() == 1 else "A"
            groups[kind].append(p)
    return [
        {
            "params": params,
            "lr": lr if kind == "A" else ratio * lr,
            "weight_decay": 0.0 if kind == "vectors" else weight_decay,
        }
        for kind, params in groups.items()
        if params
    ]


# --- A base of four bits ---


def nf4_levels() -> Tensor:
    """The sixteen numbers of NF4: quantiles of the normal distribution, and zero.

        8 above: Phi^-1 at equal steps from 1/2 to p,
        7 below: at equal steps from 1/2 to 1 - p,
        p = 1 - (1/30 + 1/32) / 2

    divided by the largest, so that they lie in [-1, 1].

    Returns:
        (16,), float32, rising. Of p seven digits are used, and roundings are where
        the authors' code has them, so that the digits are theirs.

    Source: Dettmers et al. 2023, section 3 and appendix E, arXiv:2305.14314.
    """
    p = 0.9677083
    steps = (torch.linspace(p, 0.5, n, dtype=torch.float32) for n in (9, 8))
    above, below = (torch.special.ndtri(q[:-1].double()) for q in steps)
    levels = torch.cat([-below, above.new_zeros(1), above.flip(0)]).float()
    return levels / levels.max()


def quantize_nf4(w: Tensor, block: int = 64) -> tuple[Tensor, Tensor]:
    """Four bits a weight: the nearest of sixteen levels, on the scale of its block.

        absmax_b = max over the block of |w|,   code = nearest level to w / absmax_b

    Args:
        w: (...), floating dtype; blocks are consecutive numbers of it.
        block: numbers in a block, >= 1, divides their number.

    Returns:
        Codes from 0 to 15, shape of `w`, uint8, and absmax (number of blocks,),
        dtype of `w`, float32 for half precision.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `w` is empty or not finite, or `block` does not divide.

    Source: Dettmers et al. 2023, section 2, arXiv:2305.14314.
    """
    require.floating(w=w)
    require.nonempty(w=w)
    require.finite(w=w)
    require.whole(block=block, least=1)
    if w.numel() % block:
        raise ValueError(f"block must divide {w.numel()}, got {block}")
    rows = require.widen(w).reshape(-1, block)
    absmax = rows.abs().amax(-1)
    levels = nf4_levels().to(rows)
    middles = (levels[1:] + levels[:-1]) / 2
    scaled = rows / torch.where(absmax == 0, 1, absmax)[:, None]
    codes = torch.bucketize(scaled.detach().contiguous(), middles)
    return codes.to(torch.uint8).reshape(w.shape), absmax


def dequantize_nf4(codes: Tensor, absmax: Tensor) -> Tensor:
    """The weights that codes stand for: level times absmax of the block.

    Args:
        codes: (...), uint8, from 0 to 15.
        absmax: (number of blocks,), floating dtype.

    Returns:
        Shape of `codes`, dtype of `absmax`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: codes are no codes, or blocks do not divide them.

    Source: Dettmers et al. 2023, section 2, arXiv:2305.14314.
    """
    require.tensor(codes=codes)
    if codes.dtype != torch.uint8:
        raise TypeError(f"codes must be a uint8 tensor, got {codes.dtype}")
    require.fitting(absmax=(absmax, "blocks"))
    require.values(codes < 16, "codes must lie in 0 to 15")
    if codes.numel() == 0 or codes.numel() % len(absmax):
        raise ValueError(
            f"codes must be blocks of equal size >= 1 for absmax of "
            f"{len(absmax)}, got {codes.numel()} codes"
        )
    levels = nf4_levels().to(absmax)[codes.long()]
    return (levels.reshape(len(absmax), -1) * absmax[:, None]).reshape(codes.shape)


class NF4Linear(nn.Module):
    """A frozen linear layer whose weights are stored in four bits, two to a byte;
    its bias is stored as it was.

    Args:
        linear: it stays as it is; an even number of weights.
        block: weights in a block, >= 1, divides their number.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: weights are not finite, of odd number, or `block` is out of
            range or does not divide.

    Source: Dettmers et al. 2023, arXiv:2305.14314.
    """

    def __init__(self, linear: nn.Linear, block: int = 64) -> None:
        super().__init__()
        require.instance(nn.Linear, linear=linear)
        if linear.weight.numel() % 2:
            raise ValueError(
                "linear must have an even number of weights, got "
                f"{linear.weight.numel()}"
            )
        codes, absmax = quantize_nf4(linear.weight.detach(), block)
        pairs = codes.view(-1, 2)
        self.in_features, self.out_features = (
            linear.in_features,
            linear.out_features,
        )
        self.packed: Tensor
        self.absmax: Tensor
        self.register_buffer("packed", 16 * pairs[:, 0] + pairs[:, 1])
        self.register_buffer("absmax", absmax)
        bias = linear.bias if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("bias", bias)

    @property
    def weight(self) -> Tensor:
        """The weights (m, n) that the codes stand for."""
        codes = torch.stack([self.packed // 16, self.packed % 16], -1)
        return dequantize_nf4(
            codes.view(self.out_features, self.in_features), self.absmax
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m), in the dtype of `x`."""
        bias = self.bias if isinstance(self.bias, Tensor) else None
        return F.linear(
            x,
            self.weight.to(x.dtype),
            bias if bias is None else bias.to(x.dtype),
        )
