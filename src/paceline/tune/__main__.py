"""`python -m paceline.tune` is `paceline tune`."""

import sys

from paceline.cli import run

sys.exit(run(["tune", *sys.argv[1:]]))
