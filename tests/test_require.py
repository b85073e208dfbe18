"""The ground floor: every refusal names the argument; TypeError for the wrong kind of thing, else ValueError."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from lbdl import require

KINDS = {
    "tensor": (
        require.tensor,
        torch.ones(2, dtype=torch.bool),
        [[1.0], None, 1.0, np.ones(2)],
    ),
    "floating": (
        require.floating,
        torch.ones(2),
        [[1.0], None, 1.0, torch.ones(2).long(), torch.ones(2) + 0j],
    ),
    "inexact": (
        require.inexact,
        torch.ones(2) + 0j,
        [[1.0], None, 1.0, torch.ones(2).long(), torch.ones(2).to(torch.complex32)],
    ),
    "integer": (
        require.integer,
        torch.ones(2).long(),
        [[1], None, 1, torch.ones(2), torch.ones(2).int()],
    ),
    "real": (
        require.real,
        torch.ones(2).int(),
        [[True], None, 1, np.ones(2), torch.ones(2) + 0j],
    ),
    "boolean": (
        require.boolean,
        torch.ones(2).bool(),
        [[True], None, torch.ones(2), torch.ones(2).long()],
    ),
    "whole": (
        require.whole,
        3,
        [2.5, 3.0, True, "3", None, torch.tensor(3), math.nan],
    ),
    "number": (
        require.number,
        2.5,
        [True, "3", None, torch.tensor(3.0), [1.0], 1 + 0j],
    ),
    "number_or_tensor": (
        require.number_or_tensor,
        torch.tensor(2.5),
        [True, "3", None, torch.tensor(3), [1.0]],
    ),
    "instance": (
        partial(require.instance, torch.Generator),
        torch.Generator(),
        [0, None, torch.ones(2)],
    ),
    "sequence": (require.sequence, [3], [3, None, "abc", {1}]),
    "floatings": (
        require.floatings,
        [torch.ones(2)],
        [3, None, [1.0], [torch.ones(2).long()], torch.ones(2).long()],
    ),
    "function": (require.function, math.sin, [0, None, torch.ones(2)]),
    "functions": (
        require.functions,
        [math.sin, torch.relu],
        [3, None, [0], [None, math.sin], "sin"],
    ),
    "instances": (
        partial(require.instances, torch.Generator),
        [torch.Generator()],
        [3, None, [0], [None], torch.Generator()],
    ),
    "generator": (require.generator, torch.Generator(), [0, 1.5, torch.ones(2)]),
    "no generator": (require.generator, None, [0, "seed"]),
    "dtype": (
        require.dtype,
        torch.bfloat16,
        [torch.int64, torch.complex64, "float"],
    ),
    "no dtype": (require.dtype, None, [torch.bool, float]),
    "matching": (
        require.matching,
        torch.ones(2),
        [[1.0], None, torch.ones(2).long(), torch.ones(2) + 0j],
    ),
    "square": (
        require.square,
        torch.eye(2),
        [[[1.0]], None, torch.eye(2).long(), torch.eye(2) + 0j],
    ),
    "distribution": (
        require.distribution,
        torch.tensor([0.5, 0.5]),
        [[1.0], None, torch.ones(1).long(), torch.ones(1) + 0j],
    ),
}


@pytest.mark.parametrize(("ask", "good", "wrong"), KINDS.values(), ids=list(KINDS))
def test_the_wrong_kind_of_thing_is_a_type_error_that_names_the_argument(
    ask, good, wrong
):
    ask(given=good)
    for thing in wrong:
        with pytest.raises(TypeError, match=r"given(\[0\])? must be .*, got"):
            ask(given=thing)


@pytest.mark.parametrize("number", [3, np.int64(3), np.int32(3)])
def test_whole_numbers_of_other_libraries_are_whole(number):
    require.whole(steps=number, least=3, most=3)


@pytest.mark.parametrize(
    "number", [3, 0.5, np.float32(3), np.float64(3), np.int64(3)]
)
def test_numbers_of_other_libraries_are_numbers(number):
    require.number(eps=number, above=0)


@pytest.mark.parametrize(
    ("ask", "inside", "outside"),
    [
        (partial(require.whole, least=1), [1, 2, 10**30], [0, -1]),
        (partial(require.whole, least=-2, most=4), [-2, 4], [-3, 5]),
        (
            partial(require.number, above=0, below=1),
            [1e-300, 0.5],
            [0, 1, -1, math.nan, math.inf],
        ),
        (
            partial(require.number, least=0, most=1),
            [0, 1],
            [-1e-300, 1.0000001, math.nan],
        ),
        (partial(require.number), [-1e300, 0], [math.nan, math.inf, -math.inf]),
        (
            partial(require.number, above=0, infinite=True),
            [1, math.inf],
            [0, -math.inf, math.nan],
        ),
        (
            partial(require.number_or_tensor, least=0),
            [torch.tensor([0.0, 2.0])],
            [
                torch.tensor([1.0, -1]),
                torch.tensor(math.nan),
                torch.tensor(math.inf),
            ],
        ),
        (
            partial(require.within, least=0, below=1),
            [torch.tensor([0.0, 0.9])],
            [torch.tensor([0.5, 1.0]), torch.tensor([math.nan])],
        ),
        (
            require.finite,
            [torch.tensor([0.0, 0.9])],
            [torch.tensor([0.5, math.inf]), torch.tensor([math.nan])],
        ),
        (require.floatings, [[torch.ones(0)], torch.ones(2)], [[], torch.ones(0)]),
        (require.functions, [[math.sin]], [[], ()]),
        (partial(require.instances, int), [[1]], [[], ()]),
        (
            require.square,
            [torch.eye(2), torch.zeros(0, 2, 2), torch.ones(3, 1, 1)],
            [
                torch.ones(2, 3),
                torch.ones(2),
                torch.ones(0, 0),
                torch.full((2, 2), math.nan),
                torch.full((2, 2), math.inf),
            ],
        ),
        (require.nonempty, [torch.ones(1)], [torch.ones(0), torch.ones(3, 0)]),
    ],
)
def test_a_value_outside_its_range_is_a_value_error_that_names_the_argument(
    ask, inside, outside
):
    for value in inside:
        ask(given=value)
    for value in outside:
        with pytest.raises(ValueError, match=r"given must .*, got"):
            ask(given=value)


def test_shapes_give_the_sizes_by_letter():
    x, centres = torch.ones(5, 7, 3), torch.ones(4, 3)
    assert require.shapes(x=(x, "... n d"), centres=(centres, "K d")) == {
        "n": 7,
        "d": 3,
        "K": 4,
    }
    assert require.shapes(x=(x, "...")) == {}
    assert require.shapes(x=(torch.ones(2, 0), "n 0")) == {"n": 2}


@pytest.mark.parametrize(
    ("shape", "pattern", "words"),
    [
        (
            (2, 3),
            "... d d",
            r"x must be \(\.\.\., d, d\) with d = 2, got shape \(2, 3\)",
        ),
        ((3,), "n d", r"x must be \(n, d\) with d >= 1, n >= 1, got shape \(3,\)"),
        ((1, 2, 3), "n d", r"got shape \(1, 2, 3\)"),
        ((3, 0), "... n d", r"got shape \(3, 0\)"),
        ((2,), "n 2", r"got shape \(2,\)"),
        ((4, 3), "n 2", r"x must be \(n, 2\) with n = 4, got"),
        ((), "... d", r"x must be \(\.\.\., d\) with d >= 1, got shape \(\)"),
        ((), "n", r"x must be \(n,\)"),
    ],
)
def test_a_wrong_shape_is_told_as_people_write_shapes(shape, pattern, words):
    with pytest.raises(ValueError, match=words):
        require.shapes(x=(torch.ones(shape), pattern))


def test_sizes_must_agree_between_tensors_and_leading_dimensions_broadcast():
    with pytest.raises(
        ValueError, match=r"y must be \(\.\.\., d\) with d = 3, got shape \(4,\)"
    ):
        require.shapes(x=(torch.ones(5, 3), "... d"), y=(torch.ones(4), "... d"))
    with pytest.raises(ValueError, match=r"must broadcast, got x \(5,\), y \(4,\)"):
        require.shapes(x=(torch.ones(5, 3), "... d"), y=(torch.ones(4, 3), "... d"))
    with pytest.raises(ValueError, match="n >= 2"):
        require.shapes(x=(torch.ones(1), "n"), least=2)


def test_alike_and_same_shape():
    with pytest.raises(
        TypeError,
        match=r"y must have the dtype of x, torch.float32, got torch.float64",
    ):
        require.alike(x=torch.ones(2), y=torch.ones(2).double())
    with pytest.raises(
        ValueError, match="y must be on the device of x, cpu, got meta"
    ):
        require.alike(x=torch.ones(2), y=torch.ones(2, device="meta"))
    with pytest.raises(
        ValueError, match=r"y must have the shape of x, \(2,\), got shape \(1,\)"
    ):
        require.same_shape(x=torch.ones(2), y=torch.ones(1))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (2, 1), (2, 3)])
def test_what_broadcasts_to_a_shape(shape):
    require.broadcast_to((2, 3), v=torch.ones(shape))


@pytest.mark.parametrize("shape", [(2,), (3, 3), (1, 2, 3), (0,)])
def test_what_does_not_broadcast_to_a_shape(shape):
    with pytest.raises(
        ValueError, match=r"v must broadcast to shape \(2, 3\), got"
    ):
        require.broadcast_to((2, 3), v=torch.ones(shape))


def test_a_row_that_is_masked_as_a_whole():
    require.unmasked(x=torch.tensor([0.0, math.inf, math.nan]))
    with pytest.raises(ValueError, match="x must have a finite score in every row"):
        require.unmasked(x=torch.tensor([0.0, -math.inf]))


@pytest.mark.parametrize(
    ("dim", "error"),
    [
        (2, ValueError),
        (-3, ValueError),
        (1.0, TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_a_dimension_that_is_not_there(dim, error):
    require.dim(torch.ones(2, 3), -2)
    with pytest.raises(error, match="dim must be"):
        require.dim(torch.ones(2, 3), dim)


def test_a_dimension_without_elements_or_a_tensor_without_dimensions():
    with pytest.raises(
        ValueError,
        match=r"scores must have at least 1 along dim 0, got shape \(0, 3\)",
    ):
        require.dim(torch.ones(0, 3), 0, "scores")
    with pytest.raises(ValueError, match="x must have at least one dimension"):
        require.dim(torch.tensor(1.0), 0)


def test_class_numbers():
    require.classes(3, targets=torch.tensor([0, 2]))
    for wrong in (torch.tensor([3]), torch.tensor([-1])):
        with pytest.raises(
            ValueError, match="y must hold class numbers from 0 to 2"
        ):
            require.classes(3, name="y", targets=wrong)
    with pytest.raises(TypeError, match="y must be an int64 tensor"):
        require.classes(3, name="y", targets=torch.tensor([1.0]))


def test_a_choice_is_one_of_the_options():
    require.choice(("mean", "sum", None), reduction=None)
    with pytest.raises(
        ValueError, match="reduction must be one of mean, sum, got 'max'"
    ):
        require.choice(("mean", "sum"), reduction="max")
    with pytest.raises(ValueError, match="order must be one of 1, 2, got True"):
        require.choice((1, 2), order=True)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_computed_in_float32(dtype, wide):
    x = torch.ones(2, dtype=dtype)
    assert require.widen(x).dtype == wide
    assert wide != dtype or require.widen(x) is x


def asked(x: Tensor) -> Tensor:
    """A function that asks for everything, and looks at values in every way."""
    require.floating(x=x)
    require.shapes(x=(x, "... d"))
    require.finite(x=x)
    require.within(x=x, above=0)
    require.number_or_tensor(x=x, above=0)
    require.values(x > 0, "x must be positive")
    return x.log().sum()


def test_nobody_looks_at_values_inside_a_transform_or_a_compiler():
    x = torch.ones(3, 2)
    assert torch.equal(torch.func.vmap(asked)(x), torch.zeros(3))
    assert torch.equal(torch.func.grad(asked)(x), x)
    assert torch.func.hessian(asked)(x).shape == (3, 2, 3, 2)
    assert torch.func.jacfwd(asked)(x).shape == (3, 2)
    assert torch.compile(asked, fullgraph=True, backend="eager")(x) == 0
    assert asked(torch.ones(2, 3, device="meta")).is_meta
    assert require.visible(x) and not require.visible(x.to("meta"))
    with pytest.raises(ValueError, match="x must be > 0"):
        asked(-x)


def test_shapes_are_asked_for_inside_a_transform_too():
    with pytest.raises(ValueError, match=r"x must be \(\.\.\., d\)"):
        torch.func.vmap(asked)(torch.ones(3))


def test_fitting_asks_for_kind_dtype_and_shape_at_once():
    x, w = torch.ones(5, 2, 3), torch.ones(3, 4)
    found = require.fitting(x=(x, "... n d"), w=(w, "d k"))
    assert found == {"n": 2, "d": 3, "k": 4}
    for wrong, error in (
        ([[1.0]], TypeError),
        (None, TypeError),
        (w.long(), TypeError),
        (w + 0j, TypeError),
        (w.double(), TypeError),
        (w.to("meta"), ValueError),
        (torch.ones(2, 4), ValueError),
        (torch.ones(3, 0), ValueError),
        (torch.ones(1, 3, 4), ValueError),
    ):
        with pytest.raises(error, match=r"^w must"):
            require.fitting(x=(x, "... n d"), w=(wrong, "d k"))
    assert require.fitting(w=(torch.ones(3, 0), "d k"), least=0) == {"d": 3, "k": 0}


def test_matching_asks_for_kind_dtype_and_shape_and_broadcasts_nothing():
    x = torch.ones(2, 3)
    require.matching(x=x, y=-x, z=x * 2)
    for wrong, error in (
        (None, TypeError),
        (x.long(), TypeError),
        (x.double(), TypeError),
        (x.to("meta"), ValueError),
        (x[:1], ValueError),
        (x[..., None], ValueError),
    ):
        with pytest.raises(error, match=r"^y must"):
            require.matching(x=x, y=wrong)


def test_a_distribution_sums_to_1_along_its_last_dimension_up_to_rounding():
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        scores = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
        require.distribution(p=scores.to(dtype).softmax(-1))
    for wrong in (
        [0.5, 0.4],
        [0.5, 0.5001],
        [1.5, -0.5],
        [math.nan, 1.0],
        [math.inf, 0.0],
    ):
        with pytest.raises(
            ValueError, match="p must be probabilities that sum to 1"
        ):
            require.distribution(p=torch.tensor([[0.5, 0.5], wrong]))
    for empty in (torch.tensor(1.0), torch.ones(2, 0)):
        with pytest.raises(ValueError, match="p must have at least"):
            require.distribution(p=empty)
    torch.func.vmap(lambda p: require.distribution(p=p) or p)(torch.ones(3, 2))
