"""`python -m lbdl` is the command `lbdl`, for `torchrun -m lbdl run NAME`."""

import sys

from lbdl.cli import main

sys.exit(main())
