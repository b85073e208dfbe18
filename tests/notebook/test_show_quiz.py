"""`show` prints the library's source; `quiz` asks without asking a network."""

import ast
import inspect
import json
import re
import textwrap

import pytest

from lbdl.notebook import Question, Slider, figure, quiz, show
from lbdl.notebook.show import DEFINITIONS, brief, source_of
from lbdl.notebook.sliders import format_number


def test_show_prints_the_source_as_it_stands_in_the_library(shown):
    show(format_number, Slider, whole=True)
    (bundle,) = shown
    assert bundle["text/plain"].startswith("def format_number(value: float)")
    assert "class Slider:" in bundle["text/plain"]
    assert inspect.getsource(Slider).rstrip() in bundle["text/plain"]
    assert bundle["text/markdown"] == f"```python\n{bundle['text/plain']}\n```"


def documented(x):
    """What it is.

        y = x + 1 + c

    with the c that makes it so. More than that is no equation.

    A remark that takes a line of its own.

    Args:
        x: a number.

    Returns:
        A number.

        z = no equation of ours
    """
    return x + 1


SHORT = '''\
def documented(x):
    """What it is.

        y = x + 1 + c

    with the c that makes it so. More than that is no equation.
    """
    return x + 1'''


def test_show_prints_summary_equation_and_body(shown):
    show(documented)
    assert shown[0]["text/plain"] == SHORT
    show(Slider.text)
    assert shown[1]["text/plain"].startswith("def text(self, value: float)")


@pytest.mark.parametrize("thing", [Slider, figure, textwrap.wrap, json])
def test_what_show_leaves_out_is_in_docstrings_alone(thing):
    whole, short = source_of(thing), brief(source_of(thing))
    assert len(short) < len(whole)
    bare = [ast.parse(source) for source in (whole, short)]
    for tree in bare:
        for node in ast.walk(tree):
            if isinstance(node, DEFINITIONS) and ast.get_docstring(node):
                assert node.body[0].value.value.strip()
                node.body[0].value.value = ""
    assert ast.dump(bare[0]) == ast.dump(bare[1])


@pytest.mark.parametrize("thing", [len, 3])
def test_show_needs_python_source(thing):
    with pytest.raises(TypeError, match="needs Python functions"):
        show(thing)
    with pytest.raises(TypeError, match="at least one"):
        show()


ASK = Question("Is 1 < 2?", right="yes", wrong=["no", "never"], why="Count.")


def test_quiz_is_stable_and_hides_mathjax_from_the_script(shown):
    quiz(ASK)
    quiz(ASK)
    first, second = (b["text/html"] for b in shown)
    assert first == second
    assert shown[0]["text/plain"] == "quiz: Is 1 < 2?"
    assert "((MathJax) =>" in first and "Is 1 &lt; 2?" in first
    assert (
        first.count('"correct": true') == 1 and first.count('"correct": false') == 2
    )


def test_quiz_hides_the_right_answer_among_the_wrong(shown):
    places = []
    for word in ("oak", "elm", "ash", "fir", "yew", "box"):
        quiz(
            Question("Which?", right=word, wrong=["one", "two", "three"], why="So.")
        )
        places.append(
            [
                c == "true"
                for c in re.findall(
                    r'"correct": (true|false)', shown[-1]["text/html"]
                )
            ].index(True)
        )
    assert len(set(places)) > 1


def test_a_quiz_that_has_not_run_says_what_it_waits_for(shown):
    quiz(ASK)
    quiz(ASK, Question("Which?", right="a", wrong=["b"], why="So."))
    one, two = (b["text/html"].split("<style>")[0] for b in shown)
    assert "A question waits here. Run this cell" in one
    assert "2 questions wait here. Run this cell" in two
    name = re.search(r'<p id="(quiz\w+-waits)">', one)[1]
    script = shown[0]["text/html"].split("<script>")[1]
    assert script.startswith(f'document.getElementById("{name}")?.remove();')


def test_bad_questions_are_refused():
    with pytest.raises(ValueError, match="differ from the right one"):
        Question("?", right="a", wrong=["a"], why="")
    with pytest.raises(ValueError, match="at least one Question"):
        quiz()
