"""Charts as SVG for the page: every function takes values and a width and returns markup; no state, no library."""
