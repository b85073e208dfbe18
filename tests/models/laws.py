"""What holds for every map from scores to probabilities, of whichever topic: the tests
of a topic derive a class and say which maps are its own."""

from collections.abc import Callable

import pytest
import torch


def scores(
    *shape: int,
    seed: int = 0,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    return spread * torch.randn(
        *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)
    )


def assert_equal(
    actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12
) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def only(
    maps: dict[str, Callable[..., torch.Tensor]], but: str = ""
) -> pytest.MarkDecorator:
    """For each of these maps, `mapping(x, dim=-1)`, all but one."""
    chosen = {name: mapping for name, mapping in maps.items() if name != but}
    return pytest.mark.parametrize("mapping", chosen.values(), ids=chosen.keys())


class EveryMap:
    """Of any map that is given `mapping(x, dim=-1)`."""

    @pytest.mark.parametrize(
        "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    )
    def test_result_is_a_distribution_of_the_same_dtype(
        self, mapping, dtype, device
    ):
        p = mapping(scores(20, 9, spread=3).to(device, dtype))
        assert p.dtype == dtype and p.shape == (20, 9) and p.device.type == device
        assert (p >= 0).all()
        assert_equal(
            p.double().sum(-1),
            torch.ones(20, dtype=torch.float64, device=device),
            atol=9 * torch.finfo(dtype).eps,
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_errs_by_its_rounding_alone(self, mapping, dtype):
        x = scores(20, 300, spread=0.3).to(dtype)
        p = mapping(x.double())
        torch.testing.assert_close(
            mapping(x).double(), p, rtol=torch.finfo(dtype).eps, atol=1e-6
        )

    @pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
    def test_dim_says_what_is_normalised(self, mapping, dim):
        x = scores(3, 4, 5)
        assert_equal(
            mapping(x, dim),
            mapping(x.movedim(dim, -1).contiguous(), -1).movedim(-1, dim),
        )

    def test_non_contiguous_scores(self, mapping):
        x = scores(7, 12).t()[::2]
        assert not x.is_contiguous()
        assert_equal(mapping(x), mapping(x.contiguous()), atol=1e-15)

    def test_one_vector_and_one_element(self, mapping):
        x = scores(6)
        assert_equal(mapping(x), mapping(x[None])[0], atol=0)
        assert_equal(
            mapping(torch.tensor([[-4.0], [1e4]])), torch.ones(2, 1), atol=1e-6
        )

    def test_a_batch_without_rows_stays_empty(self, mapping):
        assert mapping(torch.empty(0, 5)).shape == (0, 5)

    @pytest.mark.parametrize("n", [8, 300])
    def test_a_masked_row_equals_the_shorter_row(self, mapping, n):
        x = scores(5, n)
        masked = torch.cat(
            [x[:, :3], torch.full((5, 4), -torch.inf), x[:, 3:]], dim=-1
        )
        p = mapping(masked)
        assert (p[:, 3:7] == 0).all()
        assert_equal(torch.cat([p[:, :3], p[:, 7:]], dim=-1), mapping(x))

    def test_a_mask_leaves_the_gradient_finite(self, mapping):
        x = scores(5, 6)
        x[:, 2] = -torch.inf
        x.requires_grad_()
        (mapping(x) * scores(5, 6, seed=1)).sum().backward()
        assert x.grad.isfinite().all() and (x.grad[:, 2] == 0).all()

    def test_extreme_scores_stay_finite(self, mapping):
        x = torch.tensor(
            [[1e30, -1e30, 0.0], [3e38, -3e38, 3e38], [-1e4, -1e4 - 1, -2e4]],
            requires_grad=True,
        )
        p = mapping(x)
        p[:, 0].sum().backward()
        assert p.isfinite().all() and x.grad.isfinite().all()
        assert_equal(p.sum(-1), torch.ones(3), atol=1e-6)

    def test_first_derivatives(self, mapping):
        x = scores(3, 6).requires_grad_()
        assert torch.autograd.gradcheck(mapping, x)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ([0.0, torch.nan, 1.0], "NaN"),
            ([0.0, torch.inf, 1.0], r"\+inf"),
            ([-torch.inf] * 3, "finite score in every row"),
        ],
    )
    def test_bad_values_are_refused(self, mapping, row, words):
        with pytest.raises(ValueError, match=words):
            mapping(torch.tensor([[1.0, 2.0, 3.0], row]))

    def test_bad_shapes_and_types_are_refused(self, mapping):
        with pytest.raises(
            ValueError, match=r"at least 1 along dim -1, got shape \(3, 0\)"
        ):
            mapping(torch.empty(3, 0))
        with pytest.raises(ValueError, match="x must have at least one dimension"):
            mapping(torch.tensor(1.0))
        with pytest.raises(ValueError, match="dim must be in"):
            mapping(torch.zeros(3, 4), 2)
        with pytest.raises(TypeError, match=r"floating tensor, got torch\.int64"):
            mapping(torch.zeros(3, 4, dtype=torch.int64))


class SmoothMap:
    """Of a map that gives equal scores equal shares."""

    @pytest.mark.parametrize("n", [2, 5, 200])
    def test_ties_share_alike(self, mapping, n):
        p = mapping(torch.full((3, n), 0.7, dtype=torch.float64))
        assert_equal(p, torch.full_like(p, 1 / n))


class ShiftInvariantMap:
    """Of a map that compares scores."""

    def test_a_shift_changes_nothing(self, mapping):
        x = scores(10, 6)
        assert_equal(mapping(x + 100.0), mapping(x), atol=1e-10)


class LongMap:
    """Of a map whose memory grows with the number of scores alone."""

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_hundred_thousand_scores_in_half_precision(self, mapping, dtype):
        x = torch.zeros(2, 100_000, dtype=dtype)
        x[:, ::7] = 0.25
        p = mapping(x).double()
        exact = mapping(x.double())
        assert p.isfinite().all()
        assert_equal(
            p, exact, atol=2 * torch.finfo(dtype).eps * exact.max().item() + 6e-8
        )
