"""`quiz`: self-tests with instant answers, by the jupyterquiz package."""

import hashlib
import html
from dataclasses import dataclass

from lbdl.notebook.output import display

COLORS = {
    "--jq-multiple-choice-bg": "#1d3557",
    "--jq-mc-button-bg": "#ffffff",
    "--jq-mc-button-border": "#8a94a6",
    "--jq-mc-button-inset-shadow": "#c9d1dc",
    "--jq-incorrect-color": "#a4161a",
    "--jq-correct-color": "#1b6e3c",
    "--jq-text-color": "#ffffff",
    "--jq-link-color": "#a8dadc",
}


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Args:
        question: the question; plain text, formulas in Unicode (no LaTeX:
            JupyterLab does not typeset it here).
        right: the right answer.
        wrong: one or more wrong answers.
        why: why the right answer is right; shown with either answer.
    """

    question: str
    right: str
    wrong: tuple[str, ...] | list[str]
    why: str

    def __post_init__(self) -> None:
        if not self.wrong or self.right in self.wrong:
            raise ValueError(
                "a Question needs wrong answers that differ from the right one, "
                f"got {self.wrong}"
            )

    def entry(self) -> dict[str, object]:
        """The question as jupyterquiz wants it; answers in an order fixed by their
        text."""
        answers = sorted(
            [self.right, *self.wrong],
            key=lambda a: hashlib.sha256(a.encode()).digest(),
        )
        return {
            "question": html.escape(self.question, quote=False),
            "type": "multiple_choice",
            "answers": [self.answer(a) for a in answers],
        }

    def answer(self, text: str) -> dict[str, object]:
        """One answer with its feedback."""
        verdict = "Right." if text == self.right else "Not quite."
        return {
            "answer": html.escape(text, quote=False),
            "correct": text == self.right,
            "feedback": html.escape(f"{verdict} {self.why}", quote=False),
        }


def quiz(*questions: Question) -> None:
    """Ask; the reader clicks an answer and is told at once. Works in JupyterLab and
    in the built page.

    Args:
        *questions: one or more `Question`.

    Raises:
        ValueError: there is no question.
    """
    if not questions:
        raise ValueError("quiz needs at least one Question")
    name = "quiz" + hashlib.sha256(repr(questions).encode()).hexdigest()[:12]
    text = "\n".join(f"quiz: {q.question}" for q in questions)
    display({"text/html": markup(name, list(questions)), "text/plain": text})


def markup(name: str, questions: list[Question]) -> str:
    """jupyterquiz's own parts, put together under a stable name.

    Its script looks for MathJax and fetches it from a network where it finds none:
    `MathJax` is hidden from it. Where no script runs, as in a notebook that was
    opened and not yet run, a line says what the questions wait for.
    """
    from jupyterquiz.dynamic.loader import load_questions_script
    from jupyterquiz.dynamic.renderer import build_script, build_styles, render_div

    prefix, static, url = load_questions_script(
        [q.entry() for q in questions], name
    )
    script = build_script(prefix, static, url, name, True)
    place = (
        render_div(name, False, False, False, 1_000_000, 720, 8, "left") + "</div>"
    )
    awake = f'document.getElementById("{name}-waits")?.remove();'
    return (
        f'{place}<p id="{name}-waits">{waits(len(questions))}</p>'
        f"{build_styles(name, COLORS)}<script>{awake}((MathJax) => {{{script}}})();</script>"
    )


def waits(count: int) -> str:
    """What stands in the place of questions that cannot be answered yet."""
    questions = f"{count} questions wait" if count > 1 else "A question waits"
    return f"<em>{questions} here. Run this cell to answer.</em>"
