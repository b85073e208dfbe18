"""A place of their own for the kernels that execute chapters.

Matplotlib looks through all fonts once and keeps a list; IPython keeps a history,
Jupyter the addresses of its kernels: by default in the reader's home, which may be
read-only, and the reader's own settings stand there. Here all three stand in one
folder of the build, and the list of fonts is made before the first kernel starts,
so that no cell waits for it and none reports it.
"""

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = "c.IPKernelApp.log_level = 'ERROR'\n"  # no word on ports and keys


def settle(folder: Path) -> None:
    """Make the folder and its list of fonts; kernels started from now on use it, and
    draw for the page, whatever the caller's matplotlib draws for."""
    os.environ.pop("MPLBACKEND", None)
    places = {
        "MPLCONFIGDIR": folder / "matplotlib",
        "IPYTHONDIR": folder / "ipython",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
    }
    for name, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(place)
    profile = places["IPYTHONDIR"] / "profile_default"
    profile.mkdir(exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(SETTINGS)
    if not list(places["MPLCONFIGDIR"].glob("fontlist-*")):
        list_fonts()


def list_fonts() -> None:
    """What matplotlib does at its first import, in a process whose words are not
    shown."""
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, check=True, capture_output=True)
