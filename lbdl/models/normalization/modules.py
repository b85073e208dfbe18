"""The norms as layers that hold their weights, and batch norm its memory; names and
shapes are those of `torch.nn`."""

import torch
from torch import Tensor, nn

from lbdl import require
from lbdl.models.normalization.norms import (
    batch_norm,
    batch_statistics,
    group_norm,
    layer_norm,
    rms_norm,
)

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm"]


class BatchNorm(nn.Module):
    """`batch_norm` by the batch's statistics in training, by averages over past
    batches in evaluation.

        running <- (1 - momentum) running + momentum batch

    The running variance averages the unbiased ones. Names are those of
    `torch.nn.BatchNorm1d` and its kin.

    Args:
        channels: C, >= 1.
        momentum: share of the newest batch in the averages, in (0, 1].
        eps: >= 0.

    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: a number is out of range.

    Source: Ioffe & Szegedy 2015, Algorithm 2, arXiv:1502.03167.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, momentum: float = 0.1, eps: float = 1e-5
    ) -> None:
        super().__init__()
        require.whole(channels=channels, least=1)
        require.number(momentum=momentum, above=0, most=1)
        require.number(eps=eps, least=0)
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape; in training with more than one value a
        channel."""
        if not self.training:
            known = self.running_mean, self.running_var
            return batch_norm(x, self.weight, self.bias, known, self.eps)
        y = batch_norm(x, self.weight, self.bias, None, self.eps)
        self.track(x.detach())
        return y

    @torch.no_grad()
    def track(self, x: Tensor) -> None:
        """Moves the running statistics towards those of a batch."""
        count = x.numel() // x.shape[1]
        if count == 1:
            raise ValueError(
                "x must have more than one value a channel, "
                f"got shape {tuple(x.shape)}"
            )
        mean, variance = batch_statistics(x)
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


class LayerNorm(nn.Module):
    """`layer_norm` over the last dimension, with a weight and a bias of its own.

    Args:
        width: n, >= 1.
        eps: >= 0.

    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: a number is out of range.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        require.whole(width=width, least=1)
        require.number(eps=eps, least=0)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to the same shape."""
        return layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(nn.Module):
    """`rms_norm` with a weight of its own.

    Args:
        width: n, >= 1.
        eps: >= 0.

    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: a number is out of range.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        require.whole(width=width, least=1)
        require.number(eps=eps, least=0)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to the same shape."""
        return rms_norm(x, self.weight, self.eps)


class GroupNorm(nn.Module):
    """`group_norm` with a weight and a bias for each channel.

    Args:
        groups: G, which divides C.
        channels: C, >= 1.
        eps: >= 0.

    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: a number is out of range, or G does not divide C.

    Source: Wu & He 2018, arXiv:1803.08494.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        require.whole(groups=groups, channels=channels, least=1)
        require.number(eps=eps, least=0)
        if channels % groups:
            raise ValueError(
                f"groups must divide channels, {channels}, got {groups} groups"
            )
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return group_norm(x, self.groups, self.weight, self.bias, self.eps)
