"""The rules of `gradient_descent` behind torch's optimizer interface, for training
loops and schedulers."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.gradient_descent import Rule

__all__ = [
    "Optimizer",
]


class Optimizer(torch.optim.Optimizer):
    """A rule of this library as a `torch.optim.Optimizer`.

        for every parameter:  w, state <- rule(w, gradient, state, **options)

    Schedulers, closures, hooks, parameter groups with options of their own,
    `add_param_group`, `state_dict`, copies and pickles work as for torch's own
    optimizers. What an option is, the signature of the rule says.

    Args:
        params: parameters of any shape, floating dtype, or groups of them
            (dictionaries with their own options).
        rule: a first-order rule, such as `heavy_ball` or `adam`.
        lr: learning rate >= 0.
        options: further options of the rule, such as `beta`, for all groups that do
            not name their own.

    Raises:
        TypeError: `params` are no tensors or groups, `rule` is no function, `lr` no
            number, or a parameter is not floating; at the first step, what the rule
            refuses, an option that it does not know, or a sparse gradient.
        ValueError: `lr` is negative or not finite; at the first step, what the rule
            refuses.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rule: Rule,
        *,
        lr: float | Tensor = 1e-3,
        **options: Any,
    ) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"params must be tensors, got {require.kind(params)}")
        require.function(rule=rule)
        require.number_or_tensor(lr=lr, least=0)
        self.rule = rule
        defaults = {**options_of(rule), **options, "lr": lr}
        self.options = tuple(defaults)
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the rule too."""
        own = {"rule": self.rule, "options": self.options}
        return {**super().__getstate__(), **own}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group; what it does not name is as in the constructor."""
        super().add_param_group(param_group)
        for w in self.param_groups[-1]["params"]:
            require.floating(params=w)

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
        """One step of one parameter, in place."""
        gradient: Any = w.grad
        if gradient.layout != torch.strided:
            raise TypeError(f"gradient must be dense, got {gradient.layout}")
        moved, state = self.rule(
            w, gradient, self.state[w].get("memory"), **options
        )
        w.copy_(moved)
        self.state[w]["memory"] = state


def options_of(rule: Rule) -> dict[str, Any]:
    """The options that a rule takes by name and need not be given, as its signature
    tells."""
    return {
        name: option.default
        for name, option in inspect.signature(rule).parameters.items()
        if option.kind is option.KEYWORD_ONLY and option.default is not option.empty
    }
