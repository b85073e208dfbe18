"""`python -m lbdl` is the command `lbdl`, for `torchrun -m lbdl run NAME`."""

import sys

from lbdl.core.cli import main

sys.exit(main())
