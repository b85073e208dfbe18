"""Every public function of every topic, called in all the ways that users call things by mistake.

The valid calls stand in `tests/calls`. What is asked: a refusal in words, by the library itself and promised by the
docstring; ranges that end where the docstring says; leading dimensions; no good number out of a NaN; no result that
changes with an argument; that functions compose with torch's transforms and its compiler, or say why not; half
precision widened or refused; one answer at every scale.
"""

import contextlib
import inspect
import linecache
import math
import re
import traceback
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from tests.calls import HERE, Call, calls, changed, copied, is_floating, leaves

from .plan import ROOT, public, topic_modules

CALLS = calls()


# Adapters that take arrays, and what tries them instead.
OTHERS = {
    "lbdl.geometry.sketching_sklearn": "check_estimator",
    "lbdl.geometry.logistic_regression_sklearn": "parametrize_with_checks",
}
MODULES = {m.__name__: m for m in topic_modules() if m.__name__ not in OTHERS}

ARGUMENTS = [
    pytest.param(call, name, id=f"{call}-{name}")
    for call in CALLS
    for name in call.arguments
]
TENSORS = [
    pytest.param(call, name, id=f"{call}-{name}")
    for call in CALLS
    for name in call.tensors()
]
each_call = pytest.mark.parametrize("call", CALLS, ids=str)


def test_every_topic_has_a_file_of_calls():
    files = HERE.glob("*/[a-z]*.py")
    found = {".".join(("lbdl", file.parent.name, file.stem)) for file in files}
    assert found == set(MODULES)


@pytest.mark.parametrize("name", OTHERS)
def test_an_adapter_is_tried_by_the_checks_of_its_own_library(name: str):
    part, topic = name.removesuffix("_sklearn").split(".")[1:]
    tests = (ROOT / "tests" / part / f"test_{topic}.py").read_text("utf-8")
    assert f"{OTHERS[name]}(" in tests


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_every_public_function_has_a_call(module: ModuleType):
    called = {call.function for call in CALLS}
    offered = dict(public(module))
    missing = [
        name
        for name, thing in offered.items()
        if thing not in called and has_arguments(thing)
    ]
    assert missing == []


def has_arguments(thing: Any) -> bool:
    """Whether a function, or the constructor of a class that is no error and no protocol, takes any."""
    if inspect.isclass(thing) and (
        issubclass(thing, BaseException) or getattr(thing, "_is_protocol", False)
    ):
        return False
    return bool(inspect.signature(thing).parameters)


@each_call
def test_a_call_gives_every_argument_and_is_accepted(call: Call):
    parameters = inspect.signature(call.function).parameters.values()
    due = {
        p.name
        for p in parameters
        if p.default is p.empty and p.kind != p.VAR_KEYWORD
    }
    optional = {p.name for p in parameters if p.default not in (p.empty, None)}
    assert due | optional <= set(call.arguments), (
        "every argument with a default other than None is given"
    )
    call()


# --- Refusals -------------------------------------------------------------------------------------------------------


def wrong_kinds(given: Any) -> dict[str, list[Any]]:
    """Things of another kind than what is given, by what an argument would have to take."""
    others: dict[str, list[Any]] = {"none": [None]}
    if isinstance(given, Tensor):
        others["lists"] = [given.tolist()]
        others["integers"] = [given.long()] if given.dtype != torch.int64 else []
        others["bools"] = [given != 0] if given.dtype != torch.bool else []
        others["floats"] = [given.float()] if not given.is_floating_point() else []
        others["complex"] = [given + 0j] if not given.is_complex() else []
    elif isinstance(given, bool | str):
        others["none"] = []
    elif isinstance(given, int):
        others |= {
            "floats": [given + 0.5, float(given)],
            "bools": [True],
            "lists": [[given]],
        }
    elif isinstance(given, float):
        others |= {"bools": [True], "lists": [[given]], "complex": [given + 0j]}
    elif isinstance(given, list | tuple):
        others["integers"] = [3]
    else:
        others |= {"integers": [3], "lists": [[3]]}
    return {kind: things for kind, things in others.items() if things}


@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_the_wrong_kind_of_thing_is_refused_by_a_type_error(call: Call, name: str):
    takes_none = inspect.signature(call.function).parameters
    for kind, things in wrong_kinds(call.arguments[name]).items():
        if call.accepts(name, kind) or (
            kind == "none" and defaults_to_none(takes_none, name)
        ):
            continue
        for thing in things:
            refusal = refusal_of(call, **{name: thing})
            assert isinstance(refusal, TypeError), (
                f"{name}={shown(thing)}: {refusal!r}"
            )


def defaults_to_none(parameters: Any, name: str) -> bool:
    return name in parameters and parameters[name].default is None


@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_a_bad_number_or_name_is_refused_in_words(call: Call, name: str):
    given = call.arguments[name]
    if isinstance(given, float):
        assert isinstance(refusal_of(call, **{name: math.nan}), ValueError), (
            f"{name}=nan"
        )
        for infinite in (math.inf, -math.inf):
            answer = refusal_of(call, **{name: infinite})
            fine = isinstance(answer, ValueError) or call.accepts(name, "infinite")
            assert fine, f"{name}={infinite}: {answer!r}"
    elif isinstance(given, int) and not isinstance(given, bool):
        answer_or_refusal(call, **{name: -(10**6)})
    elif isinstance(given, str) and not call.accepts(name, "anything"):
        assert isinstance(
            refusal_of(call, **{name: "no such thing"}), ValueError
        ), f"{name}='no such thing'"
        assert isinstance(refusal_of(call, **{name: 3}), TypeError | ValueError), (
            f"{name}=3"
        )


@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_an_empty_tensor_is_refused_in_words_or_answered(call: Call, name: str):
    given = call.arguments[name]
    if "empty" in call.skips or not isinstance(given, Tensor):
        return
    for dim in range(given.dim()):
        answer = answer_or_refusal(call, **{name: given.narrow(dim, 0, 0)})
        if not isinstance(answer, Exception):
            assert not any(
                is_floating(x) and bool(x.isnan().any()) for x in leaves(answer)
            ), f"NaN, dim {dim}"


def refusal_of(call: Call, **bad: Any) -> Any:
    """The refusal of a call, which must be in words; else what it answered."""
    return answer_or_refusal(call, **bad)


def answer_or_refusal(call: Call, **bad: Any) -> Any:
    """What a call answers, or its refusal: the library's own words, which name an argument, and are promised."""
    problem: Exception
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(**bad)
    except Exception as caught:
        problem = caught
    told = (
        ", ".join(f"{name}={shown(x)}" for name, x in bad.items())
        + f": {problem!r}"
    )
    names = "|".join(map(re.escape, call.arguments))
    assert isinstance(problem, TypeError | ValueError), told
    assert is_raised_by_the_library(problem), f"not the library's own words: {told}"
    assert re.search(rf"\b({names})\b", str(problem)), f"names no argument: {told}"
    assert promises(call.function, problem), f"Raises does not promise it: {told}"
    return problem


def is_raised_by_the_library(problem: Exception) -> bool:
    """Whether the error comes from a `raise` statement in lbdl, and not out of torch or Python."""
    frame = traceback.extract_tb(problem.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0)
    return frame.filename.startswith(
        str(ROOT / "lbdl")
    ) and line.strip().startswith("raise")


def promises(function: Callable[..., Any], problem: Exception) -> bool:
    """Whether the docstring names the exception under Raises."""
    found = re.search(
        r"^Raises:(.*?)(?=^\S|\Z)",
        inspect.getdoc(function) or "",
        re.DOTALL | re.MULTILINE,
    )
    return bool(found) and type(problem).__name__ in found[1]  # type: ignore[index]


def shown(x: Any) -> str:
    """A thing in an error message of these tests."""
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)[:60]


# --- Ranges ---------------------------------------------------------------------------------------------------------

NUMBER = r"(-?\d+(?:\.\d+)?)(?![\d^])"
# "in [0, 1)", but not "best in [0, 1)"; "from 2 to 11"; ">= 1", "above 0", "2 or more", "1 <= k <= n"; of a tensor
# (..., T) not "T >= 1".
INTERVAL = re.compile(rf"(?<!best )\bin ([\[(]){NUMBER}, {NUMBER}([\])])")
FROM_TO = re.compile(rf"\bfrom {NUMBER} to {NUMBER}")
LOWER = re.compile(
    rf"(?P<sign>>=?) {NUMBER}|\b(?P<above>above) {NUMBER}|{NUMBER} (?:or more|<= \w)"
)
OF_VALUES = re.compile(
    rf"(?:^|, |\b\w\w+ )(?:(?P<sign>>=?) {NUMBER}|(?P<above>above) {NUMBER})"
)

UNREAD = {
    ("stretch_cost", "a"): "0 has its limit, infinity",
    ("legs_transitions", "k"): "0 is fine with `exact`",
}


def said_of(call: Call, name: str) -> str:
    """What the docstring says of an argument, up to the first semicolon; "" where it promises no ValueError."""
    doc = inspect.getdoc(call.function) or ""
    arguments = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.DOTALL | re.MULTILINE)
    if arguments is None or not promises(call.function, ValueError()):
        return ""
    found = re.search(
        rf"^    (?:\w+, )*{name}(?:, \w+)*: (.*?)(?=^    \w|\Z)",
        arguments[1],
        re.DOTALL | re.MULTILINE,
    )
    return " ".join(found[1].split()).split(";")[0] if found else ""


def ends(text: str, pattern: re.Pattern[str]) -> list[tuple[float, bool, int]]:
    """The ends of a range in words: the number, whether it belongs to the range, and which way is out."""
    if found := INTERVAL.search(text):
        opened, low, high, closed = found.groups()
        return [(float(low), opened == "[", -1), (float(high), closed == "]", 1)]
    if found := FROM_TO.search(text):
        return [(float(found[1]), True, -1), (float(found[2]), True, 1)]
    if found := pattern.search(text):
        named = found.groupdict()
        inside = named["sign"] != ">" and not named["above"]
        low = next(x for x in found.groups() if x and re.fullmatch(NUMBER, x))
        return [(float(low), inside, -1)]
    return []


def ranges() -> list[Any]:
    """Every argument with a number or tensor whose docstring says where its values end."""
    found = []
    for call in CALLS:
        for name, given in call.arguments.items():
            number = isinstance(given, int | float) and not isinstance(given, bool)
            values = isinstance(given, Tensor) and given.dtype != torch.bool
            if name != "dim" and (number or values):
                text = said_of(call, name)
                if values and "sum 1" in text:
                    continue  # one value moved is refused for the sum
                limits = ends(text, LOWER if number else OF_VALUES)
                found += [
                    pytest.param(call, name, *end, id=f"{call}-{name}-{end[0]:g}")
                    for end in limits
                ]
    return found


@pytest.mark.parametrize(("call", "name", "end", "belongs", "out"), ranges())
def test_a_range_ends_where_the_docstring_says(
    call: Call, name: str, end: float, belongs: bool, out: int
):
    """The last value of a range is not refused for its size, and the first one outside is, by a ValueError."""
    given = call.arguments[name]
    whole = isinstance(given, int) or (
        isinstance(given, Tensor) and not given.is_floating_point()
    )
    step = 1 if whole else 1e-5 * max(1.0, abs(end))
    last, first = (end, end + out * step) if belongs else (end - out * step, end)
    answer = answer_of(call, name, int(last) if whole else last)
    about_size = rf"\b{name} must [^,]*(>|<|\b(lie|hold|from|in|between)\b)"
    refused = isinstance(answer, ValueError) and re.search(about_size, str(answer))
    assert not refused, f"{name}={last} is in the range: {answer!r}"
    if (call.function.__name__, name) not in UNREAD:
        answer = answer_of(call, name, int(first) if whole else first)
        assert isinstance(answer, ValueError), f"{name}={first} is outside"
        assert re.search(rf"\b{name}\b", str(answer)), f"{answer!r} names another"


def answer_of(call: Call, name: str, value: float) -> Any:
    """The answer, or the exception, where a number, or the first element of a tensor, is another."""
    arguments = call.fresh()
    if isinstance(arguments[name], Tensor):
        arguments[name].view(-1)[:1] = value
    else:
        arguments[name] = value
    try:
        return call.run(arguments)
    except Exception as caught:
        return caught


# --- Leading dimensions ---------------------------------------------------------------------------------------------

SHAPED = re.compile(r"\(\.\.\.((?:, (?:[^()]|\([^()]*\))*)?)\)")
LIKE = re.compile(r"\b(?:shape (?:and dtype )?of|like) `(\w+)`(?! without)")
TWINS = [lambda x: 1.25 * x, lambda x: x.flip(-1), lambda x: x.flip(-2, -1)]

NOT_TWINS = {
    "bias_variance": "in its call the predictions (R, ..., n) have no dots",
    "conditional_gaussian": "its covariance has no dimension of `x`",
    "dense_backward": "weights that all examples share have one gradient",
    "projected_sgd": "one run, whose loss is a number",
    "vanishing_bound": "the call gives a tensor for the list of weights",
    "signal_norms": "the call gives a tensor for the list of weights",
    "pair_loss": "no twin of targets that are 0 where the mask is",
    "pair_gradients": "no twin of targets that are 0 where the mask is",
}


def written_dimensions(call: Call) -> dict[str, int]:
    """How many dimensions stand behind the dots, for every tensor that the docstring describes as (..., n, d), as of
    the shape of such a one, or that has this shape, or it without the last."""
    given = {k: x for k, x in call.arguments.items() if isinstance(x, Tensor)}
    texts = {name: said_of(call, name) for name in given}
    shaped = {name: SHAPED.search(text) for name, text in texts.items()}
    found = {
        name: shape[1].removesuffix(", ...").count(",")
        for name, shape in shaped.items()
        if shape
    }
    first = dict(found)
    for name in given.keys() - first.keys():
        like = LIKE.search(texts[name])
        for other, behind in first.items():
            shape = given[other].shape
            if "(" in texts[name]:
                continue  # it has a shape of its own
            if (like and like[1] == other) or given[name].shape == shape:
                found[name] = behind
            elif (
                given[name].shape == shape[:-1]
                and not given[name].is_floating_point()
            ):
                found[name] = behind - 1
    return found


def is_batched(call: Call) -> bool:
    """Whether a function takes tensors (..., n), and gives results (...) that nobody draws."""
    returns = re.search(
        r"^Returns:\s+(.*)", inspect.getdoc(call.function) or "", re.M
    )
    return (
        any(
            behind and is_floating(call.arguments[name])
            for name, behind in written_dimensions(call).items()
        )
        and not inspect.isclass(call.function)
        and call.function.__name__ not in NOT_TWINS
        and (
            not returns
            or "calar" not in returns[1]
            or "reduction" in call.arguments
        )
        and not any(isinstance(x, torch.Generator) for x in leaves(call.fresh()))
        and any(isinstance(x, Tensor) for x in leaves(call()))
    )


@pytest.mark.parametrize("call", filter(is_batched, CALLS), ids=str)
def test_leading_dimensions_are_calls_of_their_own(call: Call):
    """Two problems, one before the other, in a new first dimension of all tensors (..., n): both answers."""
    behind = written_dimensions(call)
    how = {"reduction": "none"} if "reduction" in call.arguments else {}
    given = {name: call.fresh()[name] for name in behind}
    twin, second = twin_of(call, given, behind, how)
    ahead = max(x.dim() - behind[name] for name, x in given.items())
    both = {
        name: torch.stack([x, twin[name]]).unflatten(
            0, (2, *[1] * (ahead - x.dim() + behind[name]))
        )
        for name, x in given.items()
    }
    dim = call.arguments.get("dim")
    moved = {"dim": dim + 1} if isinstance(dim, int) and dim >= 0 else {}
    found = [
        x for x in leaves(call(**both, **how, **moved)) if isinstance(x, Tensor)
    ]
    due = [
        torch.stack([a, b])
        for a, b in zip(leaves(call(**how)), leaves(second), strict=True)
        if isinstance(a, Tensor)
    ]
    assert len(found) == len(due)
    for got, one_by_one in zip(found, due, strict=True):
        if got.shape != one_by_one.shape:  # (steps, ..., d)
            one_by_one = one_by_one.movedim(0, 1)
        torch.testing.assert_close(got, one_by_one, rtol=1e-3, atol=1e-5)


def twin_of(
    call: Call,
    given: dict[str, Tensor],
    behind: dict[str, int],
    how: dict[str, Any],
) -> tuple[dict[str, Tensor], Any]:
    """Other tensors that the function accepts, and what it answers."""
    for change in TWINS:
        twin = {
            name: change(x) if is_floating(x) and behind[name] else x
            for name, x in given.items()
        }
        with contextlib.suppress(ValueError, IndexError):
            return twin, call(**twin, **how)
    raise AssertionError("no twin is accepted")


# --- NaN, aliases, half precision, scale ----------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "name"), TENSORS)
def test_a_nan_is_refused_or_comes_out(call: Call, name: str):
    """One element at a time, the first and the last: a NaN must never become a good number."""
    if "nan" in call.skips:
        return
    for place in (0, -1):
        bad = call.fresh()[name]
        bad.view(-1)[place] = math.nan
        answer = answer_or_refusal(call, **{name: bad})
        if isinstance(answer, ValueError | nn.Module):
            continue
        assert any(has_nan(x) for x in leaves(answer)), (
            f"element {place} of {name} is NaN, the answer {answer}"
        )


def has_nan(x: Any) -> bool:
    if isinstance(x, Tensor):
        return bool(x.isnan().any())
    return isinstance(x, float) and math.isnan(x)


@each_call
def test_results_stand_still_when_arguments_change_afterwards_and_arguments_stand_still(
    call: Call,
):
    if "alias" in call.skips:
        return
    arguments = call.fresh()
    answer = call.run(arguments)
    for name, x in call.arguments.items():
        if not isinstance(x, torch.Generator | nn.Module):
            assert same(arguments[name], x), f"the call changed its argument {name}"
    before = copied(answer)
    with torch.no_grad():
        changed(list(arguments.values()), disturb)
    assert same(answer, before), (
        "the answer changes with an argument that is changed afterwards"
    )


def disturb(x: Any) -> Any:
    """Changes a tensor in place."""
    if isinstance(x, Tensor) and x.numel():
        x.logical_not_() if x.dtype == torch.bool else x.add_(1)
    return x


def same(first: Any, second: Any) -> bool:
    """Whether two things hold equal tensors at the same places."""
    pairs = zip(leaves(first), leaves(second), strict=True)
    tensors = [(a, b) for a, b in pairs if isinstance(a, Tensor)]
    return all(
        torch.equal(a.nan_to_num(9.0), b.nan_to_num(9.0))
        if is_floating(a)
        else torch.equal(a, b)
        for a, b in tensors
    )


@each_call
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_widened_or_refused(call: Call, dtype: torch.dtype):
    """The answer is that of the same numbers in float32, as far as the narrow dtype can tell."""
    if "half" in call.skips or not call.tensors():
        return
    answer = answer_or_refusal(call, **cast(call.fresh(), dtype))
    wide = answer_or_refusal(call, **cast(cast(call.fresh(), dtype), torch.float32))
    if isinstance(answer, Exception) or isinstance(wide, Exception):
        return
    for got, expected in zip(leaves(answer), leaves(wide), strict=True):
        if is_floating(got):
            torch.testing.assert_close(
                got.float(), expected.float(), rtol=0.05, atol=0.05, equal_nan=True
            )


def cast(arguments: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Arguments with every floating tensor in another dtype."""
    return changed(
        arguments, lambda leaf: leaf.to(dtype) if is_floating(leaf) else leaf
    )


SCALED = [
    pytest.param(call, name, id=f"{call}-{name}")
    for call in CALLS
    for name in call.degrees
]


@pytest.mark.parametrize(("call", "name"), SCALED)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_one_answer_at_every_scale(call: Call, name: str, scale: float):
    """f(c x) = c**degree f(x) in float32, where the right answer is a float32."""
    degree = call.degrees[name]
    scaled = changed(
        call.fresh()[name], lambda leaf: leaf * scale if is_floating(leaf) else leaf
    )
    for got, expected in zip(
        leaves(call(**{name: scaled})), leaves(call()), strict=True
    ):
        if isinstance(expected, Tensor | float):
            right = torch.as_tensor(expected).double() * scale**degree
            if bool((right.abs() < 1e37).all()):
                torch.testing.assert_close(
                    torch.as_tensor(got).double(), right, rtol=1e-3, atol=1e-37
                )


# --- Transforms and the compiler ------------------------------------------------------------------------------------


def says_why_not(call: Call, what: str) -> bool:
    """Whether the docstring has a sentence that begins "No `torch.func`: " or "No `torch.compile`: "."""
    return f"No `{what}`: " in (inspect.getdoc(call.function) or "")


def as_function_of_tensors(
    call: Call,
) -> tuple[Callable[..., tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """The call as a function of its floating tensors that gives its floating results, and the tensors."""
    arguments, given = (
        call.fresh(),
        {name: x for name, x in call.fresh().items() if is_floating(x)},
    )

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        answer = call.run({**arguments, **dict(zip(given, tensors, strict=True))})
        return tuple(x for x in leaves(answer) if is_floating(x))

    return function, tuple(given.values())


def composable(call: Call, trial: str) -> bool:
    """Whether a call can be tried: tensors in, tensors out, no randomness, no object that holds state."""
    stateful = any(
        isinstance(x, torch.Generator | nn.Module) for x in leaves(call.fresh())
    )
    if (
        trial in call.skips
        or stateful
        or inspect.isclass(call.function)
        or not call.tensors()
    ):
        return False
    function, tensors = as_function_of_tensors(call)
    return bool(function(*tensors))


@each_call
def test_functions_compose_with_the_transforms_of_torch(call: Call):
    """vmap over two examples gives both answers; first and second derivatives are those of autograd."""
    if says_why_not(call, "torch.func") or not composable(call, "func"):
        return
    function, tensors = as_function_of_tensors(call)
    both = vmap(function)(*[torch.stack([x, x]) for x in tensors])
    for got, expected in zip(both, function(*tensors), strict=True):
        torch.testing.assert_close(
            got[0], expected, rtol=1e-4, atol=1e-5, equal_nan=True
        )
        torch.testing.assert_close(got[1], got[0], rtol=0, atol=0, equal_nan=True)
    numbers = tuple(range(len(tensors)))
    total = lambda *xs: sum(y.sum() for y in function(*xs))
    gradients = grad(total, numbers)(*tensors)
    for got, expected in zip(gradients, by_autograd(total, tensors), strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=1e-5, equal_nan=True
        )
    reverse, forward = (
        jacrev(total, numbers)(*tensors),
        jacfwd(total, numbers)(*tensors),
    )
    for got, expected in zip(forward, reverse, strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=1e-5, equal_nan=True
        )
    hessian(total)(*tensors)


def by_autograd(
    total: Callable[..., Any], tensors: tuple[Tensor, ...]
) -> list[Tensor]:
    inputs = [x.clone().requires_grad_() for x in tensors]
    value = total(*inputs)
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in tensors]
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [
        torch.zeros_like(x) if g is None else g
        for g, x in zip(found, tensors, strict=True)
    ]


@each_call
def test_functions_compile(call: Call):
    """The same values inside `torch.compile`: captured, not turned into machine code, which is torch's own matter."""
    if says_why_not(call, "torch.compile") or not composable(call, "compile"):
        return
    function, tensors = as_function_of_tensors(call)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(function, backend="eager", dynamic=False)(*tensors)
    for got, expected in zip(compiled, function(*tensors), strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=1e-5, equal_nan=True
        )
