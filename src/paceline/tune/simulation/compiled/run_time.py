"""Twin of `RunTime`."""

from __future__ import annotations

from typing import Any

from paceline.flow.run_time import CLIP, FIRST, MEMORY, SWEEPS
from paceline.tune.simulation.compiled.compiler import compiled


@compiled
def predict(s: Any, rows: int, length: int) -> float:
    """Seconds a batch will run."""
    return s.a + rows * (s.b + length * (s.c + length * s.d))


@compiled
def observe(s: Any, rows: int, length: int, seconds: float) -> None:
    """Learn from a batch that ran `seconds`."""
    if seconds <= 0:
        return
    expected = predict(s, rows, length)
    s.observed += 1
    if s.observed == 1:
        scale = seconds / expected
        s.a, s.b, s.c, s.d = s.a * scale, s.b * scale, s.c * scale, s.d * scale
        for i in range(4):
            s.unit[i] = s.unit[i] * scale
        expected = seconds
    error = seconds / expected - 1.0
    if s.observed > FIRST:
        bound = CLIP * s.usual_error
        error = max(-bound, min(bound, error))
    usual = abs(error) if s.observed <= FIRST else min(abs(error), 2.0)
    s.usual_error = max(0.02, s.usual_error + 0.2 * (usual - s.usual_error))
    _learn(s, rows, length, expected, expected * (1.0 + error))


@compiled
def _learn(s: Any, rows: int, length: int, expected: float, seconds: float) -> None:
    unit, x, theta, gram, moment = s.unit, s.x, s.theta, s.gram, s.moment
    tokens = rows * length
    weight = 1.0 / expected
    x[0] = unit[0] * weight
    x[1] = unit[1] * rows * weight
    x[2] = unit[2] * tokens * weight
    x[3] = unit[3] * tokens * length * weight
    y = seconds * weight
    for i in range(4):
        for j in range(4):
            gram[i, j] = gram[i, j] * MEMORY + x[i] * x[j]
        moment[i] = moment[i] * MEMORY + x[i] * y
    theta[0], theta[1], theta[2], theta[3] = s.a / unit[0], s.b / unit[1], s.c / unit[2], s.d / unit[3]
    for _ in range(SWEEPS):
        for i in range(4):
            slope = moment[i] - (
                gram[i, 0] * theta[0] + gram[i, 1] * theta[1] + gram[i, 2] * theta[2] + gram[i, 3] * theta[3]
            )
            theta[i] = max(0.0, theta[i] + slope / (gram[i, i] + 1e-9))
    s.a, s.b, s.c, s.d = theta[0] * unit[0], theta[1] * unit[1], theta[2] * unit[2], theta[3] * unit[3]
