"""What takes time in a server: a formula in place of the engine, and constants in place of the event loop's work."""

from __future__ import annotations

from math import inf

import msgspec
import numpy as np
import numpy.typing as npt

from paceline.base.errors import ConfigError


class ServiceModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of B rows padded to S tokens runs t = a + b*B + c*B*S + d*B*S^2 seconds, times noise of mean 1.

    The event loop is one server beside the engines: texts enter and answers leave one after another. Raises
    ConfigError for a negative or infinite value, and when a batch would take no time.
    """

    a: float
    """Seconds per batch."""
    b: float
    """Seconds per row."""
    c: float
    """Seconds per padded token."""
    d: float = 0.0
    """Seconds per padded token and token of length."""
    contention: float = 0.0
    """Relative slow-down of a batch for each other lane that is busy when it starts."""
    enter_s: float = 0.0
    """Event-loop seconds of a text that is not in the cache, before it is put into the queue."""
    leave_s: float = 0.0
    """Event-loop seconds of its answer, after its batch ended."""
    hit_s: float = 0.0
    """Event-loop seconds of a cached text, and of a refusal."""
    steal: float = 0.0
    """Seconds that every running batch loses to a second of the event loop's work while all lanes run: where engines
    have all the cores, the event loop and who sends the load take theirs from them."""
    fixed_s: float = 0.0
    """Seconds of every latency in which the server does nothing: network and client."""
    spread: float = 0.0
    """Sigma of the log-normal noise of run times."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 <= value < inf:
                raise ConfigError(
                    f"{name} of the service model is {value}; give a number, 0 or more", param=name
                )
        if self.a + self.b + self.c + self.d <= 0:
            raise ConfigError(
                "a batch of the service model takes no time; give a, b, c or d above 0", param="a"
            )

    def run_s(self, rows: int, length: int) -> float:
        """Mean seconds that a batch of `rows` rows padded to `length` tokens runs with no other beside it."""
        return self.a + rows * (self.b + length * (self.c + length * self.d))

    def noise(self, seed: int, batches: int) -> npt.NDArray[np.float64]:
        """Factor on the run time of each batch, by its number: the same seed gives all settings the same luck."""
        drawn = np.random.default_rng(seed).standard_normal(batches)
        return np.asarray(np.exp(self.spread * drawn - self.spread**2 / 2))
