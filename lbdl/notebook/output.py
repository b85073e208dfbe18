"""What a call shows: in a notebook in all its forms, elsewhere as plain text."""

import sys
from typing import Any


def display(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Shows a bundle of forms by MIME type, with "text/plain" among them, where
    IPython runs; prints the plain text in a plain Python."""
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython() is not None:
        from IPython.display import display as display_in_notebook

        display_in_notebook(bundle, raw=True, metadata=metadata)
    else:
        say(bundle["text/plain"])


def say(text: str) -> None:
    """Prints a text; characters that the output cannot hold (an ASCII pipe) become
    question marks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
