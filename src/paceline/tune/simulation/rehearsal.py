"""Which texts of a trace a cache would answer, were every miss computed at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from paceline.tune.simulation.replay import LIFE_JITTER, cache_key, open_cache
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload


def rehearse(workload: Workload, station: Station, model: ServiceModel) -> npt.NDArray[np.bool_]:
    """For each text, whether the station's cache would have it when it arrives.

    The real cache sees the texts in order of arrival; an answer is stored at once, and costs what a batch of one
    costs. Of a replay this differs in time only: where nothing is evicted, declined or expires, a replay finds cached
    exactly the texts that are named here and whose value was stored before.
    """
    now = 0.0
    cache = open_cache(station.cache, lambda: now)
    cached = np.zeros(workload.texts, dtype=np.bool_)
    if cache is None:
        return cached
    value = bytes(station.value_bytes)
    names: dict[int, bytes] = {}
    texts = zip(workload.arrive_s.tolist(), workload.key.tolist(), workload.length.tolist(), strict=True)
    for number, (arrive_s, key, length) in enumerate(texts):
        now = arrive_s
        name = names.get(key)
        if name is None:
            name = names[key] = cache_key(key)
        if cache.get(name) is not None:
            cached[number] = True
        else:
            life_s = station.ttl_s * (1.0 - LIFE_JITTER * name[-1] / 255)
            cache.put(name, value, model.run_s(1, length), life_s)
    return cached


def rehearse_all(
    workload: Workload, stations: Sequence[Station], model: ServiceModel
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The distinct rehearsals, one a row, and the row of each station: -1 without a cache."""
    rows: dict[bytes, int] = {}
    masks: list[npt.NDArray[np.bool_]] = []
    row_of: dict[Hashable, int] = {}
    places = np.full(len(stations), -1)
    for number, station in enumerate(stations):
        if station.cache is None:
            continue
        name = (station.cache, station.ttl_s, station.value_bytes)
        if name not in row_of:
            mask = rehearse(workload, station, model)
            row_of[name] = rows.setdefault(mask.tobytes(), len(masks))
            if row_of[name] == len(masks):
                masks.append(mask)
        places[number] = row_of[name]
    return np.array(masks, dtype=np.bool_).reshape(len(masks), workload.texts), places
