"""Losses of adversarial training by one backward pass against how they are published: a second copy, two passes."""

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.race import Race, main
from lbdl.frontiers.idempotent import fast_ign_loss, ign_loss, reverse_gradient

WEIGHTS = (1.0, 0.1)


def net(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def slopes(model: nn.Module) -> tuple[Tensor, ...]:
    return tuple(p.grad for p in model.parameters())


def by_copy(
    f: nn.Module, frozen: nn.Module, x: Tensor, z: Tensor
) -> tuple[Tensor, ...]:
    """A step's gradient as the paper's listing takes it."""
    frozen.load_state_dict(f.state_dict())
    made = f(z)
    held = made.detach()
    f.zero_grad()
    kept = (f(x) - x).pow(2).sum(-1).mean()
    idempotent = (frozen(made) - made).pow(2).sum(-1).mean()
    tight = -(f(held) - held).pow(2).sum(-1).mean()
    (kept + WEIGHTS[0] * idempotent + WEIGHTS[1] * tight).backward()
    return slopes(f)


def by_loss(
    loss: Callable[..., Tensor], f: nn.Module, x: Tensor, z: Tensor
) -> tuple[Tensor, ...]:
    f.zero_grad()
    loss(f, x, z, *WEIGHTS).backward()
    return slopes(f)


def in_two_passes(
    critic: nn.Module, maker: nn.Module, x: Tensor, z: Tensor
) -> tuple[Tensor, ...]:
    """The usual loop: the critic's gradient, then the generator's."""
    made = maker(z)
    critic.zero_grad()
    (critic(x).mean() - critic(made.detach()).mean()).backward()
    first = tuple(g.clone() for g in slopes(critic))
    maker.zero_grad()
    critic(made).mean().backward()
    return (*first, *slopes(maker))


def in_one_pass(
    critic: nn.Module, maker: nn.Module, x: Tensor, z: Tensor
) -> tuple[Tensor, ...]:
    critic.zero_grad()
    maker.zero_grad()
    (critic(x).mean() - critic(reverse_gradient(maker(z))).mean()).backward()
    return (*slopes(critic), *slopes(maker))


def races() -> Iterator[Race]:
    for width, rows in ((128, 256), (512, 1024)):
        x, z = torch.randn(rows, 64), torch.randn(rows, 64)
        f = net(64, width, width, 64)
        frozen = copy.deepcopy(f).requires_grad_(False)
        exact, copied = copy.deepcopy(f).double(), copy.deepcopy(frozen).double()
        for name, loss, goal in (
            ("detached", ign_loss, 1.1),
            ("reversed", fast_ign_loss, 0.9),
        ):
            yield Race(
                job=f"IGN, gradient of a step, {name}, width {width}, {rows} rows",
                peer="the paper's listing, two copies",
                ours=lambda loss=loss, f=f, x=x, z=z: by_loss(loss, f, x, z),
                theirs=lambda f=f, c=frozen, x=x, z=z: by_copy(f, c, x, z),
                reference=lambda f=exact, c=copied, x=x, z=z: by_copy(
                    f, c, x.double(), z.double()
                ),
                goal=goal,
            )
        critic, maker = net(64, width, width, 1), net(64, width, width, 64)
        wide = copy.deepcopy(critic).double(), copy.deepcopy(maker).double()
        yield Race(
            job=f"GAN, gradients of both players, width {width}, {rows} rows",
            peer="two backward passes",
            ours=lambda c=critic, m=maker, x=x, z=z: in_one_pass(c, m, x, z),
            theirs=lambda c=critic, m=maker, x=x, z=z: in_two_passes(c, m, x, z),
            reference=lambda w=wide, x=x, z=z: in_two_passes(
                *w, x.double(), z.double()
            ),
            goal=0.9,
        )


if __name__ == "__main__":
    main(__spec__, races())
