"""The three maps from one direction to another, and the best map for many pairs, against independent references."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from lbdl.geometry.rotations import (
    CUBIC,
    MUON,
    QUINTIC,
    apply_half_turn,
    apply_reflection,
    apply_rotation,
    half_turn,
    middle,
    mirror,
    nearest_orthogonal,
    newton_schulz,
    perpendicular,
    plain_half_turn,
    plain_reflection,
    plain_rotation,
    procrustes,
    reflection,
    rotation,
    unit,
)

MATRICES = {"rotation": rotation, "reflection": reflection, "half_turn": half_turn}
PLAIN = {
    "rotation": plain_rotation,
    "reflection": plain_reflection,
    "half_turn": plain_half_turn,
}
APPLY = {
    "rotation": apply_rotation,
    "reflection": apply_reflection,
    "half_turn": apply_half_turn,
}
SINGULAR_AT = {"rotation": -1, "reflection": 1, "half_turn": -1}  # b = -a or b = a
EVERY = pytest.mark.parametrize("name", MATRICES)

seeds = st.integers(0, 2**31)
dims = st.integers(2, 9)


def normal(
    *shape: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(device, dtype)


def unit_pair(*shape: int, seed: int = 0, **options) -> tuple[Tensor, Tensor]:
    a, b = normal(2, *shape, seed=seed)
    return unit(a).to(**options), unit(b).to(**options)


def pair_at(
    angle: float, d: int, n: int = 20, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Unit vectors at exactly this angle, (n, d) each, in float64."""
    a, w = normal(2, n, d, seed=seed)
    a = a / a.norm(dim=-1, keepdim=True)
    w = w - (w * a).sum(-1, keepdim=True) * a
    w = w / w.norm(dim=-1, keepdim=True)
    return a, math.cos(angle) * a + math.sin(angle) * w


def in_a_frame(a: Tensor, b: Tensor, name: str) -> np.ndarray:
    """The definition, by NumPy alone: a 2 x 2 matrix in an orthonormal frame of the plane, +-1 outside the plane."""
    a, b = a.numpy(), b.numpy()
    c = a @ b
    s = math.sqrt(1 - c**2)
    q = np.stack([a, (b - c * a) / s], axis=1)
    inside = np.array(
        [[c, -s], [s, c]] if name == "rotation" else [[c, s], [s, -c]]
    )
    outside = np.eye(len(a)) - q @ q.T
    return q @ inside @ q.T + (-outside if name == "half_turn" else outside)


def orthogonality_error(t: Tensor) -> float:
    t = t.double()
    return float(
        (t @ t.mT - torch.eye(t.shape[-1], dtype=t.dtype, device=t.device))
        .abs()
        .max()
    )


def images(t: Tensor, a: Tensor) -> Tensor:
    return (t.double() @ a.double()[..., None])[..., 0]


# --- The three maps ---------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("d", [2, 3, 4, 17])
def test_definition_in_a_frame(name: str, d: int) -> None:
    a, b = unit_pair(d)
    expected = torch.tensor(in_a_frame(a, b, name))
    torch.testing.assert_close(MATRICES[name](a, b), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(PLAIN[name](a, b), expected, rtol=0, atol=1e-13)


@EVERY
def test_plain_fast_and_matrix_agree(name: str, device: str) -> None:
    a, b = unit_pair(5, 8, device=device)
    x = normal(5, 8, seed=1, device=device)
    fast = APPLY[name](x, a, b)
    torch.testing.assert_close(
        fast, images(PLAIN[name](a, b), x), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        fast, images(MATRICES[name](a, b), x), rtol=0, atol=1e-13
    )


def test_rotation_is_scipys_in_three_dimensions() -> None:
    a, b = unit_pair(50, 3)
    axis = np.cross(a, b)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), (a * b).sum(-1).numpy())[
        :, None
    ]
    expected = Rotation.from_rotvec(
        axis / np.linalg.norm(axis, axis=-1, keepdims=True) * angle
    ).as_matrix()
    torch.testing.assert_close(
        rotation(a, b), torch.tensor(expected), rtol=0, atol=1e-13
    )


def test_half_turn_is_scipys_in_three_dimensions() -> None:
    a, b = unit_pair(50, 3)
    expected = Rotation.from_rotvec(
        math.pi * ((a + b) / (a + b).norm(dim=-1, keepdim=True)).numpy()
    ).as_matrix()
    torch.testing.assert_close(
        half_turn(a, b), torch.tensor(expected), rtol=0, atol=1e-13
    )


def test_reflection_is_lapacks() -> None:
    a = unit(normal(6))
    b = torch.eye(6, dtype=torch.float64)[0]
    factors, tau = torch.geqrf(a[:, None])  # LAPACK's mirror takes a to +-e_1
    lapack = torch.eye(6, dtype=torch.float64)
    lapack = torch.linalg.householder_product(
        torch.cat([factors, lapack[:, 1:]], dim=1), tau
    )
    torch.testing.assert_close(
        reflection(a, b * factors[0, 0].sign()), lapack, rtol=0, atol=1e-14
    )


def test_matrix_by_hand() -> None:
    e1, e2, _ = torch.eye(3, dtype=torch.float64)
    assert half_turn(e1, e2).round(decimals=12).tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, -1],
    ]
    assert reflection(e1, e2).round(decimals=12).tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]
    assert rotation(e1, e2).round(decimals=12).tolist() == [
        [0, -1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]


@given(seeds, dims)
def test_determinants_images_and_what_is_fixed(seed: int, d: int) -> None:
    a, b = unit_pair(d, seed=seed)
    c, close = a @ b, {"rtol": 0, "atol": 1e-12}
    t1, t2, t3 = rotation(a, b), reflection(a, b), half_turn(a, b)
    dets = torch.stack([torch.linalg.det(t) for t in (t1, t2, t3)])
    torch.testing.assert_close(
        dets,
        torch.tensor([1.0, -1.0, (-1.0) ** (d - 1)], dtype=torch.float64),
        **close,
    )
    for t in (t1, t2, t3):
        assert orthogonality_error(t) < 1e-13
        torch.testing.assert_close(t @ a, b, **close)
    torch.testing.assert_close(t2 @ b, a, **close)
    torch.testing.assert_close(t3 @ b, a, **close)
    torch.testing.assert_close(t1 @ b, 2 * c * b - a, **close)
    x = normal(d, seed=seed + 1)
    frame = torch.linalg.qr(torch.stack([a, b], dim=1)).Q
    outside = x - frame @ (frame.mT @ x)
    torch.testing.assert_close(t1 @ outside, outside, **close)
    torch.testing.assert_close(t2 @ outside, outside, **close)
    torch.testing.assert_close(t3 @ outside, -outside, **close)
    torch.testing.assert_close(t2 @ (a + b), a + b, **close)
    torch.testing.assert_close(t3 @ (a + b), a + b, **close)


@given(seeds, dims)
def test_symmetries(seed: int, d: int) -> None:
    a, b = unit_pair(d, seed=seed)
    q = torch.linalg.qr(normal(d, d, seed=seed + 1)).Q
    for make in MATRICES.values():
        # the way back is the inverse
        torch.testing.assert_close(make(b, a), make(a, b).mT, rtol=0, atol=1e-12)
        torch.testing.assert_close(
            make(q @ a, q @ b), q @ make(a, b) @ q.mT, rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            make(3 * a, 0.2 * b), make(a, b), rtol=0, atol=1e-13
        )  # only directions count


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-12, 1e-15, 0.0])
def test_near_the_singular_pair(
    name: str, dtype: torch.dtype, gap: float, device: str
) -> None:
    """However near: orthogonal, and a arrives at b, both to rounding error."""
    for d in (2, 3, 30):
        a, b = pair_at(math.pi - gap if SINGULAR_AT[name] < 0 else gap, d)
        a, b = a.to(device, dtype), b.to(device, dtype)
        t = MATRICES[name](a, b)
        assert orthogonality_error(t) < 16 * torch.finfo(dtype).eps
        assert (
            float((images(t, a) - b.double()).norm(dim=-1).max())
            < 16 * torch.finfo(dtype).eps
        )


@EVERY
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("d", [2, 3, 8])
def test_equal_and_opposite(name: str, sign: int, d: int, device: str) -> None:
    a = normal(10, d, device=device)
    t = MATRICES[name](a, sign * a)
    determinant = {
        "rotation": 1.0,
        "reflection": -1.0,
        "half_turn": (-1.0) ** (d - 1),
    }[name]
    assert orthogonality_error(t) < 1e-14
    torch.testing.assert_close(images(t, a), sign * a, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        torch.linalg.det(t),
        torch.full_like(a[:, 0], determinant),
        rtol=0,
        atol=1e-13,
    )


def test_no_turn_is_the_identity() -> None:
    a = normal(4, 7)
    torch.testing.assert_close(
        rotation(a, a),
        torch.eye(7, dtype=a.dtype).expand(4, 7, 7),
        rtol=0,
        atol=1e-15,
    )


def test_coordinate_axes() -> None:
    """Zeros in the vectors, ties in the choice of an axis, every pair of signed axes: nothing breaks."""
    axes = torch.cat([torch.eye(4), -torch.eye(4)])
    a, b = axes[:, None], axes[None]
    for make in MATRICES.values():
        t = make(a, b)
        assert t.shape == (8, 8, 4, 4)
        assert orthogonality_error(t) < 1e-6
        torch.testing.assert_close(
            images(t, a), b.double().expand(8, 8, 4), rtol=0, atol=1e-6
        )


@EVERY
def test_the_plain_formula_breaks_where_the_safe_one_does_not(name: str) -> None:
    """What the safe form is for: if the plain one held, it would not be needed."""
    gap = 1e-3
    a, b = (
        x.float()
        for x in pair_at(math.pi - gap if SINGULAR_AT[name] < 0 else gap, 3)
    )
    assert orthogonality_error(PLAIN[name](a, b)) > 1e-3
    assert orthogonality_error(MATRICES[name](a, b)) < 2e-6


@EVERY
def test_huge_and_tiny_vectors(name: str) -> None:
    a, b = normal(2, 5, 6, dtype=torch.float32)
    for scale_a, scale_b in ((1e30, 1e-30), (1e-37, 1e37), (1e-44, 1.0)):
        expected = MATRICES[name](
            (a * scale_a) / scale_a if scale_a == 1e-44 else a, b
        )  # what subnormals keep of a
        torch.testing.assert_close(
            MATRICES[name](a * scale_a, b * scale_b), expected, rtol=0, atol=1e-5
        )


@EVERY
def test_one_pair_many_vectors_and_the_reverse(name: str, device: str) -> None:
    a, b = unit_pair(6, device=device)
    x = normal(4, 9, 6, device=device)
    apply, t = APPLY[name], MATRICES[name](a, b)
    torch.testing.assert_close(apply(x, a, b), x @ t.mT, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        apply(x[0, 0], a.expand(3, 6), b),
        (x[0, 0] @ t.mT).expand(3, 6),
        rtol=0,
        atol=1e-13,
    )
    torch.testing.assert_close(
        apply(x.mT.contiguous().mT, a, b), apply(x, a, b), rtol=0, atol=1e-14
    )
    assert apply(x[:0], a, b).shape == (0, 9, 6)
    assert MATRICES[name](x[:0], a).shape == (0, 9, 6, 6)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype, device: str) -> None:
    x, a, b = normal(3, 4, 12, dtype=dtype, device=device)
    result = APPLY[name](x, a, b)
    exact = APPLY[name](x.double(), a.double(), b.double())
    assert result.dtype == MATRICES[name](a, b).dtype == dtype
    torch.testing.assert_close(
        result.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-4
    )


@EVERY
def test_gradients(name: str) -> None:
    x, a, b = normal(3, 2, 4).requires_grad_().unbind()
    assert torch.autograd.gradcheck(APPLY[name], (x, a, b))
    assert torch.autograd.gradcheck(MATRICES[name], (a, b))
    # the pair that is not singular is smooth too
    regular = -a if SINGULAR_AT[name] > 0 else a
    assert torch.autograd.gradcheck(
        APPLY[name], (x, a, regular.detach().clone().requires_grad_())
    )


@EVERY
@pytest.mark.parametrize("sign", [-1, 1])
def test_gradients_are_finite_at_equal_and_opposite(name: str, sign: int) -> None:
    x, a = normal(2, 5, 4)
    x, a, b = (
        x.requires_grad_(),
        a.requires_grad_(),
        (sign * a).detach().requires_grad_(),
    )
    gradients = torch.autograd.grad(
        APPLY[name](x, a, b).square().sum() + APPLY[name](x, a, b).sum(), (x, a, b)
    )
    assert all(bool(g.isfinite().all()) for g in gradients)


@EVERY
def test_compiles_in_one_graph(name: str) -> None:
    x, a, b = normal(3, 5, 4)
    compiled = torch.compile(APPLY[name], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(x, a, b), APPLY[name](x, a, b), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(
        compiled(x, a, -a), APPLY[name](x, a, -a), rtol=0, atol=1e-14
    )


@EVERY
def test_bad_vectors_are_named(name: str) -> None:
    apply, make, good = APPLY[name], MATRICES[name], torch.ones(3)
    with pytest.raises(ValueError, match=r"a must be \(..., d\) with d >= 2"):
        make(torch.ones(1), torch.ones(1))
    with pytest.raises(
        ValueError, match=r"b must be .* with d = 3, got shape \(4,\)"
    ):
        make(good, torch.ones(4))
    with pytest.raises(ValueError, match="x must be"):
        apply(torch.tensor(1.0), good, good)
    with pytest.raises(
        ValueError,
        match=r"leading dimensions must broadcast, got a \(2,\), b \(5,\)",
    ):
        PLAIN[name](torch.ones(2, 3), torch.ones(5, 3))
    for bad in (
        torch.zeros(3),
        torch.tensor([1.0, math.nan, 0]),
        torch.tensor([1.0, -math.inf, 0]),
    ):
        with pytest.raises(
            ValueError, match="b must hold finite vectors other than zero"
        ):
            make(good, torch.stack([good, bad]))
    with pytest.raises(TypeError, match="a must be a floating tensor"):
        make(torch.ones(3, dtype=torch.long), good)
    with pytest.raises(
        TypeError, match=r"a must have the dtype of x, torch\.float64"
    ):
        apply(good.double(), good, good)


def test_vectors_that_are_moved_may_hold_anything() -> None:
    """A non-finite x spoils its own row and no other."""
    x = torch.ones(2, 3)
    x[0, 0] = math.nan
    assert apply_rotation(
        x, torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 1, 2])
    ).isfinite().all(-1).tolist() == [False, True]


# --- What they are made of --------------------------------------------------------------------------------------------


@given(seeds, dims)
def test_parts(seed: int, d: int) -> None:
    p, q = unit_pair(d, seed=seed)
    s, r = middle(p, q), middle(p, -q)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(s @ r, torch.zeros_like(s[0]), **close)
    torch.testing.assert_close(s @ p, s @ q, **close)
    torch.testing.assert_close(mirror(mirror(q, p), p), q, **close)
    torch.testing.assert_close(mirror(p, s), -q, **close)
    axis = perpendicular(p)
    torch.testing.assert_close(axis @ p, torch.zeros_like(axis[0]), **close)
    assert float(axis.norm()) > 0.7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_left_of_opposite_vectors_may_be_noise(
    dtype: torch.dtype, device: str
) -> None:
    """p + q is one rounding along p, nothing of it is a direction: the middle must still be orthogonal to p."""
    eps = torch.finfo(dtype).eps
    p = unit(normal(1000, 5, dtype=dtype, device=device))
    for factor in (1 - eps, 1 + eps, 1 + 2 * eps):
        s = middle(p, -p * factor)
        assert float((s * p).sum(-1).abs().max()) < 8 * eps
        assert float((s.norm(dim=-1) - 1).abs().max()) < 8 * eps


# --- Many pairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(20, 3), (5, 5), (40, 12)])
def test_procrustes_is_scipys(n: int, d: int, device: str) -> None:
    a, b = normal(2, n, d, device=device)
    expected, _ = scipy.linalg.orthogonal_procrustes(
        a.cpu().numpy(), b.cpu().numpy()
    )  # min ||a R - b||, R = T^T
    torch.testing.assert_close(
        procrustes(a, b).cpu(), torch.tensor(expected.T), rtol=0, atol=1e-12
    )


def test_proper_procrustes_is_scipys_align_vectors(device: str) -> None:
    a, b = normal(2, 30, 4, 3, device=device)
    t = procrustes(a, b, proper=True)
    for one, x, y in zip(t.cpu(), a.cpu().numpy(), b.cpu().numpy(), strict=True):
        torch.testing.assert_close(
            one,
            torch.tensor(Rotation.align_vectors(y, x)[0].as_matrix()),
            rtol=0,
            atol=1e-10,
        )
    improper = torch.linalg.det(procrustes(a, b)) < 0
    assert bool(improper.any()) and not bool(
        improper.all()
    )  # both kinds were among them


def test_proper_procrustes_against_every_angle() -> None:
    """In the plane all rotations can be tried, and all reflections."""
    a, b = normal(2, 200, 3, 2)
    angles = torch.linspace(0, 2 * math.pi, 2001, dtype=a.dtype)
    turns = torch.stack(
        [angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=-1
    ).view(-1, 2, 2)
    flips = turns @ torch.diag(torch.tensor([1.0, -1.0], dtype=a.dtype))

    def loss(t: Tensor) -> Tensor:
        return (a @ t.mT - b).square().sum((-1, -2))

    best_turn = torch.stack([loss(t) for t in turns]).amin(0)
    best_flip = torch.stack([loss(t) for t in flips]).amin(0)
    torch.testing.assert_close(
        loss(procrustes(a, b, proper=True)), best_turn, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        loss(procrustes(a, b)),
        torch.minimum(best_turn, best_flip),
        rtol=1e-4,
        atol=1e-4,
    )
    assert bool((loss(procrustes(a, b, proper=True)) <= best_turn + 1e-12).all())


@given(seeds, dims)
def test_procrustes_finds_a_planted_map(seed: int, d: int) -> None:
    a = normal(3 * d, d, seed=seed)
    q, r = torch.linalg.qr(normal(d, d, seed=seed + 1))
    q = q * r.diagonal().sign()  # rotations and reflections, equally likely
    torch.testing.assert_close(procrustes(a, a @ q.mT), q, rtol=0, atol=1e-10)
    q[:, 0] *= torch.linalg.det(q).sign()
    torch.testing.assert_close(
        procrustes(a, a @ q.mT, proper=True), q, rtol=0, atol=1e-10
    )


@given(seeds, dims)
def test_one_pair_is_met_exactly(seed: int, d: int) -> None:
    a, b = unit_pair(1, d, seed=seed)
    for proper in (False, True):
        t = procrustes(a, b, proper=proper)
        assert orthogonality_error(t) < 1e-12
        torch.testing.assert_close(a @ t.mT, b, rtol=0, atol=1e-12)


@given(seeds, dims)
def test_nearest_orthogonal_is_the_polar_factor(seed: int, d: int) -> None:
    m = normal(d, d, seed=seed)
    expected = torch.tensor(scipy.linalg.polar(m.numpy())[0])
    torch.testing.assert_close(nearest_orthogonal(m), expected, rtol=0, atol=1e-10)
    proper = nearest_orthogonal(m, proper=True)
    torch.testing.assert_close(
        torch.linalg.det(proper), torch.ones_like(m[0, 0]), rtol=0, atol=1e-12
    )
    others = torch.linalg.qr(normal(50, d, d, seed=seed + 1)).Q
    others[:, :, 0] *= torch.linalg.det(others).sign()[:, None]
    assert (
        float((proper - m).norm())
        <= float((others - m).norm(dim=(-1, -2)).min()) + 1e-12
    )


def test_nearest_orthogonal_by_hand() -> None:
    torch.testing.assert_close(
        nearest_orthogonal(torch.diag(torch.tensor([3.0, -2]))),
        torch.diag(torch.tensor([1.0, -1])),
    )
    nearest = nearest_orthogonal(torch.diag(torch.tensor([3.0, -2])), proper=True)
    # the smaller singular value pays
    torch.testing.assert_close(nearest, torch.eye(2))
    assert nearest_orthogonal(torch.tensor([[-0.5]])).item() == pytest.approx(-1)
    assert nearest_orthogonal(
        torch.tensor([[-0.5]]), proper=True
    ).item() == pytest.approx(1)


def test_singular_matrices_still_give_orthogonal_ones(device: str) -> None:
    m = torch.zeros(2, 4, 4, device=device)
    m[1, 0, 1] = 2.0
    for proper in (False, True):
        q = nearest_orthogonal(m, proper=proper)
        assert orthogonality_error(q) < 1e-6
    torch.testing.assert_close(torch.linalg.det(q), torch.ones(2, device=device))


@pytest.mark.parametrize("proper", [False, True])
def test_procrustes_gradients(proper: bool) -> None:
    a, b = normal(2, 3, 6, 3).requires_grad_().unbind()
    assert torch.autograd.gradcheck(
        lambda a, b: procrustes(a, b, proper=proper), (a, b)
    )


@pytest.mark.parametrize("proper", [False, True])
def test_gradient_at_equal_singular_values(proper: bool) -> None:
    """The perfect alignment of whitened points: M is orthogonal, and autograd through the SVD gives nan."""
    q = torch.linalg.qr(normal(4, 4)).Q
    q[:, 0] *= torch.linalg.det(q).sign()
    for m in (q, torch.eye(4, dtype=q.dtype)):
        m.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda m: nearest_orthogonal(m, proper=proper), m
        )
    u, _, vh = torch.linalg.svd(m)
    assert not bool(torch.autograd.grad((u @ vh)[0, 1], m)[0].isfinite().all())


def test_gradient_at_a_singular_matrix_is_finite() -> None:
    m = torch.diag(torch.tensor([1.0, 0, 0], dtype=torch.float64)).requires_grad_()
    for proper in (False, True):
        gradient = torch.autograd.grad(
            nearest_orthogonal(m, proper=proper).square().sum(), m
        )[0]
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("proper", [False, True])
def test_second_derivatives(proper: bool) -> None:
    m = normal(3, 3).requires_grad_()

    def nearest(m: Tensor) -> Tensor:
        return nearest_orthogonal(m, proper=proper)

    assert torch.autograd.gradgradcheck(nearest, m)
    twice = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(nearest)))
    assert twice(normal(2, 3, 3)).shape == (2, 3, 3, 3, 3, 3, 3)


def test_procrustes_shapes_and_dtypes(device: str) -> None:
    a, b = normal(2, 4, 1, 5, 3, dtype=torch.float32, device=device)
    assert procrustes(a, b[0]).shape == (4, 1, 3, 3)
    assert procrustes(a[:0], b[:1]).shape == (0, 1, 3, 3)
    torch.testing.assert_close(
        procrustes(a.mT.contiguous().mT, b), procrustes(a, b)
    )
    for dtype in (torch.float16, torch.bfloat16):
        t = procrustes(a.to(dtype), b.to(dtype))
        assert t.dtype == dtype
        torch.testing.assert_close(
            t.float(),
            procrustes(a.to(dtype).float(), b.to(dtype).float()),
            rtol=0,
            atol=0.01,
        )


def test_procrustes_compiles() -> None:
    a, b = normal(2, 6, 3)
    compiled = torch.compile(procrustes, backend="aot_eager")
    torch.testing.assert_close(compiled(a, b), procrustes(a, b), rtol=0, atol=1e-13)


def test_bad_pairs_are_named() -> None:
    good = torch.ones(4, 3)
    for a, b, name in (
        (good, torch.ones(5, 3), "b"),
        (torch.ones(3), torch.ones(3), "a"),
        (torch.ones(0, 3), torch.ones(0, 3), "a"),
    ):
        with pytest.raises(ValueError, match=rf"{name} must be \(..., n, d\)"):
            procrustes(a, b)
    with pytest.raises(ValueError, match="leading dimensions must broadcast"):
        procrustes(torch.ones(2, 4, 3), torch.ones(3, 4, 3))
    with pytest.raises(ValueError, match="a and b must be finite"):
        procrustes(good, good * math.nan)
    with pytest.raises(ValueError, match=r"m must be \(..., d, d\)"):
        nearest_orthogonal(good)
    with pytest.raises(ValueError, match="m must be finite"):
        nearest_orthogonal(torch.full((2, 2), math.inf))
    with pytest.raises(TypeError, match="m must be a floating tensor"):
        nearest_orthogonal(torch.ones(2, 2, dtype=torch.long))


# --- Free of scale ----------------------------------------------------------------------------------------------------

SCALES = [1e-30, 1e-12, 1e12, 1e30]


@pytest.mark.parametrize("scale", SCALES)
def test_parts_and_alignment_do_not_know_the_scale(scale: float) -> None:
    """A19: `middle` took short vectors for opposite ones."""
    p, q = normal(2, 6, 5, dtype=torch.float32)
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(middle(p * scale, q), middle(p, q), **close)
    torch.testing.assert_close(perpendicular(p * scale), perpendicular(p), **close)
    torch.testing.assert_close(unit(p * scale), unit(p), **close)
    for proper in (False, True):
        torch.testing.assert_close(
            procrustes(p * scale, q * scale, proper=proper),
            procrustes(p, q, proper=proper),
            rtol=0,
            atol=1e-4,
        )
    torch.testing.assert_close(newton_schulz(p * scale), newton_schulz(p), **close)


def test_parts_turn_a_nan_into_nan_or_refuse_it() -> None:
    bad, good = torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2])
    for result in (
        mirror(bad, good),
        mirror(good, bad),
        middle(bad, good),
        middle(good, bad),
        perpendicular(bad),
        newton_schulz(bad[None]),
    ):
        assert bool(result.isnan().any())
    with pytest.raises(ValueError, match="x must hold finite vectors"):
        unit(bad)
    with pytest.raises(ValueError, match="x must hold finite vectors"):
        unit(torch.zeros(3))


# --- By matrix products alone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", [CUBIC, QUINTIC])
@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (2, 4, 9, 5), (1, 1)])
def test_newton_schulz_is_the_polar_factor(
    coefficients, shape, device: str
) -> None:
    m = normal(*shape, device=device)
    u, _, vh = torch.linalg.svd(m, full_matrices=False)
    torch.testing.assert_close(
        newton_schulz(m, 40, coefficients), u @ vh, rtol=0, atol=1e-12
    )


def test_newton_schulz_moves_singular_values_by_its_polynomial() -> None:
    m = normal(5, 7)
    u, s, vh = torch.linalg.svd(m, full_matrices=False)
    s = s / s.norm()
    for a, b, c in (CUBIC, QUINTIC, MUON):
        moved = a * s + b * s**3 + c * s**5
        torch.testing.assert_close(
            newton_schulz(m, 1, (a, b, c)),
            u @ torch.diag(moved) @ vh,
            rtol=0,
            atol=1e-14,
        )
    torch.testing.assert_close(
        newton_schulz(m, 0), m / m.norm(), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize(
    ("coefficients", "order"), [(CUBIC, 2), (QUINTIC, 3)], ids=["cubic", "quintic"]
)
def test_the_order_of_convergence(coefficients, order: int) -> None:
    """Each step takes an error e to about e^2 (cubic), e^3 (quintic)."""
    a, b, c = coefficients
    error = torch.logspace(-3, -1, 9, dtype=torch.float64)
    s = 1 - error
    after = 1 - (a * s + b * s**3 + c * s**5)
    slope = (after[-1] / after[0]).log() / (error[-1] / error[0]).log()
    assert float(slope) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("shape", [(5, 8), (64, 64), (100, 30)])
def test_newton_schulz_is_torchs_in_muon(shape: tuple[int, int]) -> None:
    """One step of `torch.optim.Muon` without momentum or decay shows its orthogonalised gradient."""
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = normal(*shape, dtype=torch.float32)
    muon = torch.optim.Muon([weight], lr=1.0, momentum=0.0, weight_decay=0.0)
    muon.step()
    ours = newton_schulz(weight.grad, 5, MUON, dtype=torch.bfloat16)
    ours = ours * math.sqrt(max(1, shape[0] / shape[1]))
    torch.testing.assert_close(-weight.detach(), ours, rtol=1e-6, atol=1e-6)


def test_five_steps_of_muon_land_near_one() -> None:
    s = torch.logspace(math.log10(1 / 300), 0, 400, dtype=torch.float64)
    m = torch.diag_embed(torch.stack([s, (1 - s**2).sqrt()], dim=-1))  # norm 1
    found = newton_schulz(m, 5, MUON)[:, 0, 0]
    assert float(found.min()) > 0.68 and float(found.max()) < 1.21


def test_newton_schulz_corner_cases(device: str) -> None:
    assert (
        newton_schulz(torch.zeros(2, 3, device=device)).tolist() == [[0.0] * 3] * 2
    )
    assert newton_schulz(torch.zeros(0, 2, 3, device=device)).shape == (0, 2, 3)
    half = normal(3, 4, dtype=torch.bfloat16, device=device)
    assert newton_schulz(half).dtype == torch.bfloat16
    m = normal(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(newton_schulz, m)
    torch.testing.assert_close(
        torch.func.vmap(newton_schulz)(normal(2, 4, 3)),
        newton_schulz(normal(2, 4, 3)),
    )
    compiled = torch.compile(newton_schulz, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(m.detach()), newton_schulz(m.detach()))


def test_newton_schulz_names_what_is_wrong() -> None:
    m = torch.ones(2, 3)
    with pytest.raises(ValueError, match="steps must be a whole number >= 0"):
        newton_schulz(m, -1)
    with pytest.raises(ValueError, match="coefficients must be three, got 2"):
        newton_schulz(m, 1, (1.5, -0.5))
    with pytest.raises(ValueError, match="b must be finite"):
        newton_schulz(m, 1, (1.5, math.nan, 0.0))
    with pytest.raises(TypeError, match="dtype must be floating"):
        newton_schulz(m, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"m must be \(..., n, d\)"):
        newton_schulz(torch.ones(3))
