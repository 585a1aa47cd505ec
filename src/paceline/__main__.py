"""`python -m paceline` is the `paceline` script."""

from paceline.cli import main

main()
