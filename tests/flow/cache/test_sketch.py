"""What is remembered of keys that left."""

from hypothesis import given
from hypothesis import strategies as st

from paceline.flow.cache.sketch import Sketch


def test_remembers_the_most_uses_in_sixteenths() -> None:
    sketch = Sketch(1024)
    sketch.remember(b"k", 2.55)
    sketch.remember(b"k", 1.0)

    assert sketch.uses(b"k") == 2.5


def test_saturates() -> None:
    sketch = Sketch(1024)
    sketch.remember(b"k", 1e9)

    assert sketch.uses(b"k") == 255 / 16


def test_halves() -> None:
    sketch = Sketch(1024)
    sketch.remember(b"k", 4.0)
    sketch.halve()

    assert sketch.uses(b"k") == 2.0


@given(known=st.dictionaries(st.binary(min_size=1, max_size=8), st.integers(0, 15), max_size=200))
def test_collisions_only_raise(known: dict[bytes, int]) -> None:
    sketch = Sketch(64)
    for key, uses in known.items():
        sketch.remember(key, uses)

    assert all(sketch.uses(key) >= uses for key, uses in known.items())


def test_size_is_a_power_of_two_per_row() -> None:
    assert Sketch(1000).size_bytes == 2 * 512
    assert Sketch(0).size_bytes == 2
