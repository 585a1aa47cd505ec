"""How long a batch runs: learned from the batches that ran."""

from __future__ import annotations

Coefficients = tuple[float, float, float, float]

DEFAULT_PRIOR: Coefficients = (1e-3, 1e-4, 3e-5, 1e-8)
"""Seconds per batch, row, padded token and padded token x length; a small encoder on a few cores."""

MEMORY = 0.98
"""Weight a batch keeps after the next one: the fit remembers about the last fifty."""
CLIP = 3.0
"""Errors count up to this many times the usual error, so that a page fault does not bend the fit."""
FIRST = 8
"""So many batches are believed as they are: until then the prior may be off by any factor."""
SWEEPS = 3


class RunTime:
    """Online fit of t = a + b*B + c*B*S + d*B*S^2 (seconds; B rows, S padded length), all coefficients >= 0.

    Least squares of the relative error with exponential forgetting, solved by a few sweeps of coordinate
    descent from the last solution. Directions that the traffic does not show (all batches of one shape) keep
    the ratios of the prior; the first batch only sets their scale.
    """

    __slots__ = ("_gram", "_moment", "_unit", "_usual_error", "a", "b", "batches_total", "c", "d")

    def __init__(self, prior: Coefficients = DEFAULT_PRIOR) -> None:
        """Start from `prior`: a (s/batch), b (s/row), c (s/token), d (s/token^2 per row)."""
        if min(prior) < 0 or sum(prior) <= 0:
            raise ValueError(f"prior {prior} must be non-negative and not all zero")
        self.a, self.b, self.c, self.d = prior
        # Each coefficient is fitted in units of what makes it worth as much as a token of a 64-token text,
        # which keeps the four columns of the least squares alike in size.
        token_s = prior[2] or sum(prior) / 64
        self._unit = (
            prior[0] or token_s * 256,
            prior[1] or token_s * 16,
            token_s,
            prior[3] or token_s / 256,
        )
        self._gram = [[0.0] * 4 for _ in range(4)]
        self._moment = [0.0] * 4
        self._usual_error = 0.0
        self.batches_total = 0

    def predict(self, rows: int, length: int) -> float:
        """Seconds a batch of `rows` rows padded to `length` tokens will run."""
        return self.a + rows * (self.b + length * (self.c + length * self.d))

    def row_s(self, rows: int, length: int) -> float:
        """Seconds of engine time one row costs in a batch of `rows` rows padded to `length` tokens."""
        return self.a / rows + self.b + length * (self.c + length * self.d)

    def tokens_per_s(self, rows: int, length: int) -> float:
        """Padded tokens one lane works off per second in batches of this shape."""
        return rows * length / max(self.predict(rows, length), 1e-9)

    def observe(self, rows: int, length: int, seconds: float) -> None:
        """Learn that a batch of `rows` rows padded to `length` tokens ran `seconds`."""
        if seconds <= 0:
            return
        expected = self.predict(rows, length)
        self.batches_total += 1
        if self.batches_total == 1:
            scale = seconds / expected
            self.a, self.b, self.c, self.d = self.a * scale, self.b * scale, self.c * scale, self.d * scale
            self._unit = tuple(unit * scale for unit in self._unit)  # type: ignore[assignment]
            expected = seconds
        error = seconds / expected - 1.0
        if self.batches_total > FIRST:
            bound = CLIP * self._usual_error
            error = max(-bound, min(bound, error))
        # The usual error follows clipped errors too, so a lasting change of speed opens the clip in a few batches.
        usual = abs(error) if self.batches_total <= FIRST else min(abs(error), 2.0)
        self._usual_error = max(0.02, self._usual_error + 0.2 * (usual - self._usual_error))
        self._learn(rows, length, expected, expected * (1.0 + error))

    def _learn(self, rows: int, length: int, expected: float, seconds: float) -> None:
        unit = self._unit
        tokens = rows * length
        # Relative error: row and target are divided by the run time, so that short batches count as much as long.
        weight = 1.0 / expected
        x = (
            unit[0] * weight,
            unit[1] * rows * weight,
            unit[2] * tokens * weight,
            unit[3] * tokens * length * weight,
        )
        y = seconds * weight
        gram, moment = self._gram, self._moment
        for i in range(4):
            line, xi = gram[i], x[i]
            line[0] = line[0] * MEMORY + xi * x[0]
            line[1] = line[1] * MEMORY + xi * x[1]
            line[2] = line[2] * MEMORY + xi * x[2]
            line[3] = line[3] * MEMORY + xi * x[3]
            moment[i] = moment[i] * MEMORY + xi * y
        theta = [self.a / unit[0], self.b / unit[1], self.c / unit[2], self.d / unit[3]]
        for _ in range(SWEEPS):
            for i in range(4):
                line = gram[i]
                slope = moment[i] - (
                    line[0] * theta[0] + line[1] * theta[1] + line[2] * theta[2] + line[3] * theta[3]
                )
                step = theta[i] + slope / (line[i] + 1e-9)
                theta[i] = max(0.0, step)
        self.a, self.b, self.c, self.d = (
            theta[0] * unit[0],
            theta[1] * unit[1],
            theta[2] * unit[2],
            theta[3] * unit[3],
        )
