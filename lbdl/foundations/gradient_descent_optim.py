"""The rules of `gradient_descent` behind torch's optimizer interface, for training
loops and schedulers."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lbdl.foundations.gradient_descent import Rule

__all__ = [
    "Optimizer",
]


class Optimizer(torch.optim.Optimizer):
    """A rule of this library as a `torch.optim.Optimizer`.

        for every parameter:  w, state <- rule(w, gradient, state, **options)

    Schedulers, parameter groups, `state_dict` and `load_state_dict` work as for
    torch's own optimizers.

    Args:
        params: parameters of any shape, floating dtype, or groups of them
            (dictionaries with their own options).
        rule: a first-order rule, such as `heavy_ball` or `adam`.
        lr: learning rate >= 0.
        options: further options of the rule, such as `beta`; they may differ
            between groups.

    Raises:
        ValueError: `lr` is negative; at the first step, whatever the rule refuses.

    Source: the interface of `torch.optim.Optimizer`.
    """

    def __init__(
        self, params: Iterable[Any], rule: Rule, *, lr: float = 1e-3, **options: Any
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"lr must be >= 0, got {lr}")
        self.rule = rule
        super().__init__(params, {"lr": lr, **options})
        self.options = ("lr", *options)

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor] | None = None
    ) -> Tensor | None:
        """Move every parameter that has a gradient; `closure`, if given, computes
        the loss first."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            options = {name: group[name] for name in self.options}
            for w in group["params"]:
                if w.grad is not None:
                    self.move(w, options)
        return loss

    def move(self, w: Tensor, options: dict[str, Any]) -> None:
        moved, state = self.rule(w, w.grad, self.state[w].get("memory"), **options)
        w.copy_(moved)
        self.state[w]["memory"] = state
