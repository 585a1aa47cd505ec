"""`python -m paceline.measure` is `paceline measure`."""

import sys

from paceline.cli import run

sys.exit(run(["measure", *sys.argv[1:]]))
