"""Charts of a tune report as SVG: every function takes values and a width and returns markup; no state, no library."""
