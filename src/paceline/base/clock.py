"""Time as a parameter: a clock is a function without arguments that returns seconds and never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""`time.monotonic` in production; the virtual loop's or the simulator's clock in tests and tuning."""

monotonic: Clock = time.monotonic
