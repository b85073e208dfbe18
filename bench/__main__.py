"""Run every race: `python -m bench [--record] [--only TEXT]`, each topic in a process of its own."""

import subprocess
import sys
from pathlib import Path

from bench.race import ON_CUDA

HERE = Path(__file__).parent


def topics() -> list[str]:
    """Every race module without a GPU: the files at `bench/<part>/<topic>.py`."""
    return [name for name in modules() if not name.endswith(ON_CUDA)]


def topics_on_cuda() -> list[str]:
    """Every race module for a GPU: `bench/<part>/<topic>_cuda.py`."""
    return [name for name in modules() if name.endswith(ON_CUDA)]


def modules() -> list[str]:
    files = sorted(
        path for path in HERE.glob("*/*.py") if path.name != "__init__.py"
    )
    return [f"bench.{path.parent.name}.{path.stem}" for path in files]


def main() -> int:
    """Run them one after the other; 1 where one of them broke."""
    codes = [
        subprocess.run(
            [sys.executable, "-m", name, *sys.argv[1:]], check=False
        ).returncode
        for name in topics()
    ]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
