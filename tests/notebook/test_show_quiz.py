"""`show` prints the library's source; `quiz` asks without asking a network."""

import re

import pytest

from lbdl.notebook import Question, Slider, quiz, show
from lbdl.notebook.sliders import format_number


def test_show_prints_the_source_as_it_stands_in_the_library(shown):
    show(format_number, Slider)
    (bundle,) = shown
    assert bundle["text/plain"].startswith("def format_number(value: float)")
    assert "class Slider:" in bundle["text/plain"]
    assert bundle["text/markdown"] == f"```python\n{bundle['text/plain']}\n```"


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


def test_bad_questions_are_refused():
    with pytest.raises(ValueError, match="differ from the right one"):
        Question("?", right="a", wrong=["a"], why="")
    with pytest.raises(ValueError, match="at least one Question"):
        quiz()
