"""The scale of a run: "small" for two CPU cores and a reader who waits, "full" for
a GPU."""

import os

from lbdl import require

SCALES = ("small", "full")


def scale() -> str:
    """The scale of this run: `LBDL_SCALE`, or "small" when it is not set.

    Returns:
        "small" or "full".

    Raises:
        ValueError: `LBDL_SCALE` is something else.
    """
    return choose_scale(
        os.environ.get("LBDL_SCALE", "").strip() or "small", asker="LBDL_SCALE"
    )


def choose_scale(name: str, asker: str = "scale") -> str:
    """`name` itself, if it is a scale; the error names the setting or option
    (`asker`) it came from."""
    require.choice(SCALES, **{asker: name})
    return name
