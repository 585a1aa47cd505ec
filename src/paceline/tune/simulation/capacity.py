"""How much a station gets done when it never has to wait for work."""

from __future__ import annotations

from math import inf

import msgspec
import numpy as np
import numpy.typing as npt

from paceline.tune.simulation.rehearsal import rehearse
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

SATURATED = 0.9
"""From this utilisation on latency depends on luck and on how long one looks: say "saturated", and no number."""


def capacity(workload: Workload, station: Station, model: ServiceModel, *, seed: int = 1) -> float:
    """Requests per second at which this station works off this trace when the queue is never short of texts.

    Requests come as fast as the event loop could handle them, with the cache hits of the trace in its own time, and
    without limiter and gate. Infinite when nothing takes any time.
    """
    answered = rehearse(workload, station, model)
    outcome = replay(
        drained(workload, answered, model),
        msgspec.structs.replace(station, limits=None),
        model,
        seed=seed,
        gate=False,
        answered=answered,
    )
    return workload.requests / outcome.makespan_s if outcome.makespan_s else inf


def utilisation(workload: Workload, station: Station, model: ServiceModel, *, seed: int = 1) -> float:
    """Requests offered over `capacity`; from `SATURATED` on a latency is not to be believed."""
    return workload.rate / capacity(workload, station, model, seed=seed)


def drained(workload: Workload, answered: npt.NDArray[np.bool_], model: ServiceModel) -> Workload:
    """The trace with each request arriving when the event loop could be done with those before it."""
    # All at once would not do: the event loop, which handles what came first first, would take in every text before
    # it saw the end of the first batch, and the engines would stand still meanwhile.
    text_s = np.where(answered, model.hit_s, model.enter_s + model.leave_s)
    request_s = np.add.reduceat(text_s, workload.starts[:-1])
    arrive_s = np.concatenate([[0.0], np.cumsum(request_s[:-1])])
    return Workload(
        arrive_s[workload.request],
        workload.length,
        workload.key,
        workload.request,
        float(arrive_s[-1] + request_s[-1]) or 1.0,
    )
