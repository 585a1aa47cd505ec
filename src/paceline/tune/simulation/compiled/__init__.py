"""The compiled twin of `replay`: the same decisions from the same float operations in the same order.

Each file repeats the class it is named after; `loop` repeats `replay` itself. Needs numba (`pip install
"paceline[tune]"`).
"""
