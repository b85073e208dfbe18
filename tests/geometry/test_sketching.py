"""Maps against their explicit matrices and variance formulas, plain against fast; transformers by sklearn."""

import copy
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import linalg, sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.estimator_checks import check_estimator

from lbdl.geometry import johnson_lindenstrauss as jl
from lbdl.geometry import sketching as sk
from lbdl.geometry.sketching_sklearn import RandomProjection


def chance(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def points(*shape, seed=0, device="cpu", dtype=torch.float64):
    return torch.randn(*shape, generator=chance(seed), dtype=torch.float64).to(
        device, dtype
    )


# --- Independent entries --------------------------------------------------------------


def test_moments_of_sparse_entries(device):
    scaled = sk.sparse_matrix(
        500, 600, generator=chance(device=device), device=device
    ) * math.sqrt(500)
    assert scaled.shape == (500, 600)
    assert abs(float(scaled.mean())) < 5 / math.sqrt(300_000)
    assert float((scaled**2).mean()) == pytest.approx(1, abs=0.02)
    assert float((scaled**4).mean()) == pytest.approx(3, abs=0.1)


def test_values_of_sparse_entries():
    matrix = sk.sparse_matrix(
        100, 2000, s=10.0, generator=chance(), dtype=torch.float64
    )
    scaled = (matrix * math.sqrt(100 / 10)).round(decimals=12)
    assert set(scaled.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert float((scaled != 0).double().mean()) == pytest.approx(0.1, abs=0.005)
    assert set(
        (sk.sparse_matrix(4, 50, s=1, generator=chance()) * 2).unique().tolist()
    ) == {-1.0, 1.0}


def test_sparse_matrices_come_from_the_generator_alone():
    first, again, other = (
        sk.sparse_matrix(5, 6, generator=chance(seed), dtype=torch.float64)
        for seed in (1, 1, 2)
    )
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "make",
    [sk.sparse_matrix, sk.draw_count_sketch, sk.draw_sparse_jl, sk.draw_hadamard],
)
@pytest.mark.parametrize(("n", "d"), [(0, 5), (5, 0), (2.0, 5), (True, 5)])
def test_maps_refuse_sizes_that_are_none(make, n, d):
    whole = isinstance(n, int) and not isinstance(n, bool)
    with pytest.raises(
        ValueError if whole else TypeError, match="must be a whole number"
    ):
        make(n, d)


def test_other_refusals():
    with pytest.raises(ValueError, match=r"s must be finite and >= 1, got 0\.5"):
        sk.sparse_matrix(3, 4, 0.5)
    with pytest.raises(
        ValueError, match=r"block must be a power of two in \[1, n = 12\], got 3"
    ):
        sk.draw_hadamard(12, 30, block=3)
    with pytest.raises(ValueError, match="got 16"):
        sk.draw_hadamard(12, 30, block=16)
    with pytest.raises(
        ValueError, match=r"kind must be one of gaussian, .*, got 'pca'"
    ):
        sk.draw_projection("pca", 3, 4)
    with pytest.raises(ValueError, match="kind must be one of"):
        sk.products_per_point("pca", 3, 4)
    with pytest.raises(ValueError, match="x must be a power of two, got 6"):
        sk.walsh_hadamard(points(2, 6))
    with pytest.raises(ValueError, match="kurtosis must be finite and >= 1"):
        sk.distortion_variance(points(3), 4, 0.5)


# --- Hadamard and count sketch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_hadamard_rows_against_scipy(size, device):
    found = sk.hadamard_rows(torch.arange(size, device=device).flip(0), size)
    np.testing.assert_array_equal(found.cpu(), linalg.hadamard(size)[::-1])


def test_hadamard_rows_of_a_matrix_too_large_to_hold():
    size = 2**20
    rows = torch.tensor([3, size // 2 + 5, size - 1])
    columns = [0, 1, 6, 12345, size - 2, size - 1]
    truth = [
        [(-1) ** bin(row & column).count("1") for column in columns]
        for row in rows.tolist()
    ]
    assert sk.hadamard_rows(rows, size)[:, columns].tolist() == truth


@pytest.mark.parametrize("d", [1, 2, 16, 256])
def test_walsh_hadamard_is_the_product(d):
    x = points(3, 2, d)
    torch.testing.assert_close(
        sk.walsh_hadamard(x), x @ torch.tensor(linalg.hadamard(d)).double()
    )
    torch.testing.assert_close(sk.walsh_hadamard(sk.walsh_hadamard(x)), d * x)


def explicit_matrix(sketch):
    """The Hadamard projection as a product of five matrices, from scipy's Hadamard matrix."""
    a, b = sketch.second.shape
    mix = np.kron(np.eye(a), linalg.hadamard(b)) / math.sqrt(b)
    rows = np.kron(linalg.hadamard(a)[sketch.rows.numpy()], np.eye(b))
    matrix = (
        rows
        @ np.diag(sketch.second.flatten().double())
        @ mix
        @ np.diag(sketch.first.double())
    )
    kept = np.array(
        [sum(1 for i in range(sketch.n) if i % b == c) for c in range(b)]
    )
    return (matrix / np.sqrt(np.tile(kept, len(sketch.rows)))[:, None])[
        : sketch.n, : sketch.d
    ]


@pytest.mark.parametrize(
    ("n", "d", "block"),
    [
        (1, 1, None),
        (5, 3, None),
        (16, 64, 16),
        (20, 100, 4),
        (21, 100, 4),
        (32, 32, None),
        (33, 200, None),
        (7, 64, 1),
    ],
)
def test_hadamard_projection_is_its_matrix(n, d, block, device):
    x = points(2, 7, d, device=device)
    sketch = sk.draw_hadamard(
        n,
        d,
        block=block,
        generator=chance(device=device),
        dtype=torch.float64,
        device=device,
    )
    on_cpu = sketch._replace(
        **{
            name: getattr(sketch, name).cpu()
            for name in ("first", "second", "rows")
        }
    )
    truth = x.cpu() @ torch.tensor(explicit_matrix(on_cpu)).T
    torch.testing.assert_close(sk.hadamard_projection(x, sketch).cpu(), truth)
    torch.testing.assert_close(
        sk.hadamard_projection(x, sketch, chunk=1).cpu(), truth
    )


def test_block_one_is_the_subsampled_transform():
    x = points(6, 64)
    sketch = sk.draw_hadamard(
        10, 64, block=1, generator=chance(), dtype=torch.float64
    )
    signs = sketch.first * sketch.second.flatten()
    plain = sk.walsh_hadamard(x * signs)[:, sketch.rows] / math.sqrt(10)
    torch.testing.assert_close(sk.hadamard_projection(x, sketch), plain)


def test_every_hadamard_row_is_kept_equally_often():
    gen = chance()
    rows = torch.cat(
        [sk.draw_hadamard(3, 8, block=1, generator=gen).rows for _ in range(4000)]
    )
    counts = torch.bincount(rows, minlength=8)
    assert (counts - 1500).abs().max() < 160  # five standard deviations


@pytest.mark.parametrize("d", [16, 100, 256])
def test_hadamard_in_full_dimension_is_an_isometry(d):
    x = points(5, d)
    full = sk.next_power_of_two(d)
    y = sk.hadamard_projection(
        x, sk.draw_hadamard(full, d, generator=chance(), dtype=torch.float64)
    )
    assert float(jl.distortions(x, y).abs().max()) < 1e-12


@pytest.mark.parametrize("n", [20, 23])
def test_count_sketch_is_its_matrix(n, device):
    x = points(2, 3, 50, device=device)
    sketch = sk.draw_count_sketch(
        n, 50, generator=chance(device=device), device=device
    )
    matrix = torch.nn.functional.one_hot(sketch.buckets, n).T * sketch.signs
    torch.testing.assert_close(sk.count_sketch(x, sketch), x @ matrix.double().T)
    torch.testing.assert_close(
        sk.matrix_of(lambda z: sk.count_sketch(z, sketch), 50, device=device),
        matrix,
    )


def test_count_sketch_on_basis_vectors_is_right_or_ruined():
    x = torch.eye(200)
    sketch = sk.draw_count_sketch(64, 200, generator=chance())
    values = jl.distortions(x, sk.count_sketch(x, sketch)).round(decimals=5)
    assert set(values.unique().tolist()) == {-1.0, 0.0, 1.0}


def vectors_of_all_kinds():
    flat, basis, few = torch.full((64,), 0.125), torch.eye(64)[5], torch.zeros(64)
    few[[3, 4, 40]] = torch.tensor([1.0, -2.0, 0.5])
    return {
        "flat": flat,
        "basis": basis,
        "few": few,
        "normal": points(64, dtype=torch.float32),
    }


def squared_lengths(kind, x, draws, n=16):
    gen = chance(3)
    return torch.stack(
        [
            sk.draw_projection(kind, n, 64, generator=gen)(x).square().sum(-1)
            for _ in range(draws)
        ]
    )


@pytest.mark.parametrize("kind", sk.KINDS)
def test_mean_and_variance_of_every_map(kind):
    x = torch.nn.functional.normalize(
        torch.stack(list(vectors_of_all_kinds().values())), dim=-1
    )
    found = squared_lengths(kind, x, 3000).double()
    if kind == "hadamard":  # n = 16, so a = 4 rows of b = 16 and m = 1
        shares = x.view(-1, 4, 16).square().sum(-1)
        truth = 2 / 16 * (4 - 1) / (4 - 1) * (1 - shares.square().sum(-1))
    else:
        kurtosis = {
            "rademacher": 1.0,
            "count_sketch": 1.0,
            "very_sparse": 8.0,
            "sparse_jl": 1.0,
        }.get(kind, 3.0)
        truth = sk.distortion_variance(x, 16, kurtosis)
    for i in range(len(x)):
        error = math.sqrt(float(found[:, i].var()) / len(found))
        assert float(found[:, i].mean()) == pytest.approx(1, abs=5 * error + 1e-6)
        assert float(found[:, i].var()) == pytest.approx(
            float(truth[i]), rel=0.2, abs=1e-9
        )


def test_variance_with_several_kept_rows():
    """n = 24 of 64 with b = 4: m = 6 of a = 16; and n = 22, where the last row is cut short."""
    x = torch.nn.functional.normalize(points(64), dim=-1)
    spread = 1 - x.view(16, 4).square().sum(-1).square().sum()
    for n, lengths in ((24, [6, 6, 6, 6]), (22, [6, 6, 5, 5])):
        gen = chance(5)
        sketches = (
            sk.draw_hadamard(n, 64, block=4, generator=gen) for _ in range(2500)
        )
        found = torch.stack(
            [
                sk.hadamard_projection(x, sketch).square().sum()
                for sketch in sketches
            ]
        )
        truth = sum(2 / m * (16 - m) / 15 for m in lengths) / 16 * spread
        assert float(found.mean()) == pytest.approx(1, abs=0.03)
        assert float(found.var()) == pytest.approx(float(truth), rel=0.15)


# --- Every map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sk.KINDS)
class TestEveryMap:
    def test_batches_strides_and_emptiness(self, kind, device):
        f = sk.draw_projection(
            kind,
            12,
            40,
            generator=chance(device=device),
            dtype=torch.float64,
            device=device,
        )
        x = points(3, 5, 40, device=device)
        assert f(x).shape == (3, 5, 12)
        torch.testing.assert_close(f(x)[1, 2], f(x[1, 2]))
        torch.testing.assert_close(f(x.mT.contiguous().mT), f(x))
        assert f(x[:0]).shape == (0, 5, 12)
        torch.testing.assert_close(
            f(x), x @ sk.matrix_of(f, 40, dtype=torch.float64, device=device).T
        )

    def test_short_dtypes(self, kind, device):
        f = sk.draw_projection(
            kind, 12, 40, generator=chance(device=device), device=device
        )
        x = points(5, 40, device=device)
        for dtype, tolerance in (
            (torch.float16, 0.01),
            (torch.bfloat16, 0.08),
            (torch.float32, 1e-5),
        ):
            assert f(x.to(dtype)).dtype == dtype
            torch.testing.assert_close(
                f(x.to(dtype)).double(), f(x), rtol=tolerance, atol=5 * tolerance
            )

    def test_gradients(self, kind):
        f = sk.draw_projection(kind, 6, 10, generator=chance(), dtype=torch.float64)
        assert torch.autograd.gradcheck(f, points(3, 10).requires_grad_())

    def test_a_broken_point_breaks_no_other(self, kind):
        f = sk.draw_projection(kind, 6, 10, generator=chance())
        x = points(4, 10, dtype=torch.float32)
        broken = x.clone()
        broken[1, 3] = math.nan
        torch.testing.assert_close(f(broken)[[0, 2, 3]], f(x)[[0, 2, 3]])
        assert f(broken)[1].isnan().any()

    def test_compiles_in_one_piece(self, kind):
        f = sk.draw_projection(kind, 6, 10, generator=chance())
        x = points(4, 10, dtype=torch.float32)
        torch.testing.assert_close(
            torch.compile(f, backend="eager", fullgraph=True)(x), f(x)
        )

    def test_pickles(self, kind):
        f = sk.draw_projection(kind, 6, 10, generator=chance())
        x = points(4, 10, dtype=torch.float32)
        assert torch.equal(pickle.loads(pickle.dumps(f))(x), f(x))

    def test_refuses_other_points(self, kind):
        f = sk.draw_projection(kind, 6, 10, generator=chance())
        with pytest.raises(
            ValueError, match=r"x must be \(..., 10\), got shape \(4, 11\)"
        ):
            f(points(4, 11))
        with pytest.raises(
            TypeError, match=r"x must be a floating tensor, got torch\.int64"
        ):
            f(torch.ones(4, 10, dtype=torch.int64))

    def test_keeps_all_distances_in_enough_dimensions(self, kind):
        """The lemma at work on dense points; sketches of so few points in so many dimensions do as well."""
        n = jl.sufficient_dimension(40, 0.5)
        x = points(40, 1500, dtype=torch.float32)
        y = sk.draw_projection(kind, n, 1500, generator=chance(7))(x)
        assert float(jl.distortions(x, y).abs().max()) < 0.5

    def test_costs(self, kind):
        cost, dense = sk.products_per_point(kind, 512, 4096), 512 * 4096
        share = {"gaussian": 1, "rademacher": 1, "achlioptas": 1 / 3, "very_sparse": 1 / 64, "hadamard": 48 / 512,
                 "count_sketch": 1 / 512, "sparse_jl": 8 / 512}  # fmt: skip
        assert cost == pytest.approx(share[kind] * dense, abs=1)


# --- A few entries a column -----------------------------------------------------------


@pytest.mark.parametrize(("n", "s"), [(16, 8), (13, 4), (5, 5), (7, 1)])
def test_sparse_jl_has_s_entries_in_every_column_one_a_block(n, s, device):
    sketch = sk.draw_sparse_jl(
        n, 40, s, generator=chance(device=device), device=device
    )
    matrix = sk.sparse_jl(torch.eye(40, device=device), sketch).mT
    assert matrix.ne(0).sum(0).tolist() == [s] * 40
    torch.testing.assert_close(
        matrix.square(), matrix.ne(0).to(matrix.dtype) / s, rtol=1e-6, atol=0
    )
    edges = [j * n // s for j in range(s + 1)]
    for low, high in itertools.pairwise(edges):
        assert matrix[low:high].ne(0).sum(0).tolist() == [1] * 40


def test_sparse_jl_with_one_entry_is_a_count_sketch():
    sketch = sk.draw_sparse_jl(7, 30, 1, generator=chance())
    x = points(4, 30)
    one = sk.CountSketch(7, sketch.buckets[0], sketch.signs[0])
    torch.testing.assert_close(sk.sparse_jl(x, sketch), sk.count_sketch(x, one))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_fast_sparse_jl_is_the_plain_one(dtype, device):
    sketch = sk.draw_sparse_jl(
        24, 100, generator=chance(device=device), device=device
    )
    x = points(3, 70, 100, device=device, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of some sparse matrices
        plain, fast = sk.sparse_jl(x, sketch), sk.fast_sparse_jl(x, sketch)
    assert fast.dtype == dtype and fast.shape == (3, 70, 24)
    torch.testing.assert_close(fast, plain)
    wide = x.double().requires_grad_()
    slopes = [
        torch.autograd.grad(f(wide, sketch).square().sum(), wide)[0]
        for f in (sk.sparse_jl, sk.fast_sparse_jl)
    ]
    torch.testing.assert_close(*slopes)


def test_sparse_jl_does_not_ruin_a_distance_where_the_count_sketch_does():
    x = torch.eye(1024)[torch.randperm(1024, generator=chance(3))[:120]]
    worst = {
        kind: torch.stack([
            jl.distortions(x, sk.draw_projection(kind, 128, 1024, generator=g)(x))
            .abs().max()
            for g in [chance(4)] for _ in range(6)
        ]).median()
        for kind in ("gaussian", "count_sketch", "sparse_jl")
    }  # fmt: skip
    assert worst["count_sketch"] == 1
    assert worst["sparse_jl"] < worst["gaussian"]


# --- Whole subspaces ------------------------------------------------------------------


def test_subspace_distortion_is_the_worst_of_all_vectors():
    u = points(2, 30, 3)
    matrix = jl.gaussian_matrix(12, 30, generator=chance(), dtype=torch.float64)
    worst = sk.subspace_distortion(u, matrix @ u)
    z = points(2, 3, 20_000, seed=1)
    ratio = ((matrix @ u @ z).square().sum(-2) / (u @ z).square().sum(-2) - 1).abs()
    assert bool((ratio.amax(-1) <= worst).all())
    torch.testing.assert_close(ratio.amax(-1), worst, rtol=1e-2, atol=0)
    other = u @ points(3, 3, seed=2)  # another basis of the same subspace
    torch.testing.assert_close(sk.subspace_distortion(other, matrix @ other), worst)


def test_subspace_distortion_corner_cases():
    u = points(9, 3)
    torch.testing.assert_close(
        sk.subspace_distortion(u, 2 * u), torch.tensor(3.0).double()
    )
    assert float(sk.subspace_distortion(u, u[:2])) >= 1
    with pytest.raises(ValueError, match="independent"):
        sk.subspace_distortion(u @ torch.ones(3, 3).double(), u)
    with pytest.raises(ValueError, match="d >= k"):
        sk.subspace_distortion(u.mT, u.mT)


# --- One bit a coordinate -------------------------------------------------------------


def test_signs_differ_as_often_as_the_angle_says():
    n = 40_000
    matrix = jl.gaussian_matrix(n, 5, generator=chance(), dtype=torch.float64)
    for seed in range(5):
        x, y = points(2, 5, seed=seed)
        differ = sk.sign_sketch(x, matrix).signs != sk.sign_sketch(y, matrix).signs
        angle = torch.acos(torch.cosine_similarity(x, y, dim=0)) / math.pi
        assert float(differ.double().mean()) == pytest.approx(
            float(angle), abs=5 * 0.5 / math.sqrt(n)
        )


def test_inner_products_from_signs_have_no_bias_and_the_variance_that_is_said():
    q, x = points(2, 6, seed=8)
    n, draws = 16, 4000
    matrices = points(draws, n, 6, seed=9) / math.sqrt(n)
    found = torch.stack(
        [sk.sign_inner_product(q, sk.sign_sketch(x, a), a) for a in matrices]
    )
    inner = float(q @ x)
    lengths = float(q.square().sum() * x.square().sum())
    variance = (math.pi / 2 * lengths - inner**2) / n
    assert float(found.mean()) == pytest.approx(
        inner, abs=5 * math.sqrt(variance / draws)
    )
    assert float(found.var()) == pytest.approx(variance, rel=0.1)


def test_sign_sketches_broadcast_and_know_no_scale():
    matrix = jl.gaussian_matrix(64, 6, generator=chance())
    q, x = points(4, 1, 6).float(), points(5, 6, seed=1).float()
    whole = sk.sign_inner_product(q, sk.sign_sketch(x, matrix), matrix)
    assert whole.shape == (4, 5)
    for scale in (1e-30, 1e30):
        scaled = sk.sign_inner_product(q, sk.sign_sketch(x * scale, matrix), matrix)
        torch.testing.assert_close(scaled / scale, whole, rtol=1e-5, atol=1e-6)


# --- Never a good number out of a bad one, at every scale -----------------------------


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_the_variance_does_not_know_the_scale(scale):
    """A19: below 1e-23 float32 called all distances equal, distortion 0."""
    x = points(5, 9, dtype=torch.float32)
    torch.testing.assert_close(
        sk.distortion_variance(x * scale, 7, 1.0), sk.distortion_variance(x, 7, 1.0)
    )


def test_small_probabilities_in_half_precision():
    """bfloat16 has 256 numbers in [0, 1): one entry in 1000 came out wrong."""
    matrix = sk.sparse_matrix(
        1000, 1000, 1000.0, generator=chance(), dtype=torch.bfloat16
    )
    share = float((matrix != 0).double().mean())
    assert share == pytest.approx(1e-3, rel=0.2)


# --- The scikit-learn transformer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sk.KINDS)
class TestTransformer:
    def test_scikit_learns_own_checks(self, kind):
        with warnings.catch_warnings():
            # one check is skipped, with a warning, without the array API
            warnings.simplefilter("ignore")
            check_estimator(RandomProjection(kind=kind))

    def test_sparse_input_gives_the_dense_result(self, kind):
        x = sparse.random(300, 50, density=0.1, random_state=0, format="csr")
        model = RandomProjection(8, kind=kind, random_state=0).fit(x)
        y = model.transform(x.toarray())
        assert y.shape == (300, 8)
        np.testing.assert_allclose(model.transform(x), y, atol=1e-12)
        np.testing.assert_allclose(x @ model.components_.T, y, atol=1e-12)

    def test_keeps_the_dtype_and_the_input(self, kind):
        x = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
        x.flags.writeable = False
        model = RandomProjection(10, kind=kind, random_state=1)
        assert model.fit_transform(x).dtype == np.float32
        np.testing.assert_allclose(
            model.fit_transform(x),
            model.fit_transform(x.astype(np.float64)),
            atol=1e-5,
        )
        assert model.get_feature_names_out()[0] == "randomprojection0"
        assert len(model.get_feature_names_out()) == 10

    def test_in_a_pipeline(self, kind):
        x, _ = load_digits(return_X_y=True)
        line = make_pipeline(
            StandardScaler(), RandomProjection(32, kind=kind, random_state=0)
        )
        assert line.fit(x).transform(x[:5]).shape == (5, 32)


def test_auto_takes_the_rule_or_says_why_not():
    x = np.random.default_rng(0).normal(size=(30, 2000))
    model = RandomProjection("auto", eps=0.5, random_state=0).fit(x)
    assert model.n_components_ == jl.dasgupta_gupta_dimension(30, 0.5)
    with pytest.raises(
        ValueError,
        match=r"asks for .* features at eps=0\.1 and 30 samples, but there are only 50",
    ):
        RandomProjection("auto").fit(x[:, :50])
    for wrong in (0, -1, 2.5, "all", True):
        with pytest.raises(
            ValueError, match="n_components must be 'auto' or a whole number"
        ):
            RandomProjection(wrong).fit(x)
    with pytest.raises(ValueError, match="kind must be one of"):
        RandomProjection(5, kind="pca").fit(x)
    assert copy.copy(model).n_components_ == model.n_components_


@pytest.mark.parametrize("kind", sk.KINDS)
@pytest.mark.parametrize("early", [False, True])
def test_has_the_rest_of_scikit_learns_contract(kind, early):
    """A17: the dtype of `components_`, `inverse_transform`, and the warning."""
    x = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    ours = RandomProjection(
        12, kind=kind, compute_inverse_components=early, random_state=1
    ).fit(x)
    theirs = GaussianRandomProjection(
        12, compute_inverse_components=early, random_state=1
    ).fit(x)
    assert ours.components_.dtype == theirs.components_.dtype == np.float32
    back = ours.inverse_transform(ours.transform(x))
    assert back.shape == x.shape and back.dtype == np.float32
    np.testing.assert_allclose(ours.transform(back), ours.transform(x), atol=1e-3)
    expected = ours.transform(x) @ np.linalg.pinv(ours.components_).T
    np.testing.assert_allclose(back, expected, atol=1e-4)
    assert hasattr(ours, "inverse_components_") == early
    for model in (ours, theirs):
        with pytest.warns(DataDimensionalityWarning):
            model.set_params(n_components=40).fit(x)


def test_distorts_no_more_than_scikit_learns_gaussian():
    x = points(300, 1024).numpy()
    spread = {}
    for name, model in {"ours": RandomProjection(128, random_state=0),
                        "theirs": GaussianRandomProjection(128, random_state=0)}.items():  # fmt: skip
        y = torch.tensor(model.fit_transform(x))
        spread[name] = float(
            jl.distortions(torch.tensor(x), y).square().mean().sqrt()
        )
    assert spread["ours"] <= 1.05 * spread["theirs"]
    assert spread["theirs"] == pytest.approx(math.sqrt(2 / 128), rel=0.15)
