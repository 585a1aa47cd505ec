"""Objectives as k6 writes them, `p(95)<300`, and the judgement of a run against them.

An expression is QUANTITY OPERATOR TARGET, and the critical level may follow: `p(95)<300|600`. Latencies are
milliseconds from the intended start of a request. A value counts as met when it is on the right side of the target,
whatever its interval; the interval is shown beside it.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from paceline.base.errors import ConfigError
from paceline.base.slo import DEFAULT_OBJECTIVES, Objective, State
from paceline.measure.report import Estimate, SloRow

PERCENTILES = ("50", "90", "95", "99", "99.9")
"""Those that a report holds."""

EXAMPLES = "p(95)<300, p(99)<500|1000, errors<1%, rate>100"

_AGGREGATES = {f"p({p})": f"p{p}" for p in PERCENTILES} | {"med": "p50", "avg": "mean", "max": "max"}
_TIMES = {"": 1.0, "ms": 1.0, "us": 0.001, "s": 1000.0, "m": 60_000.0}
_BYTES = {"GB": 1.0, "MB": 1e-3, "KB": 1e-6, "GIB": 1.073741824, "MIB": 1.048576e-3, "TB": 1e3}
_EXPRESSION = re.compile(
    r"(?:(?P<metric>[a-z_]+)\s*:?\s+|(?P<k6>[a-z_]+)\s*:\s*)?(?P<quantity>[a-z]+(?:\s*\([^)]*\))?)\s*"
    r"(?P<operator><=|>=|===?|!=|<|>)\s*(?P<level>[^|]+?)\s*(?:\|\s*(?P<critical>.+?))?\s*",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<unit>[a-z%/]*)", re.IGNORECASE)


class Quantity(msgspec.Struct, frozen=True):
    """Something a run measures, as expressions write it and as reports name it."""

    written: str
    name: str
    label: str
    unit: str
    higher_is_better: bool = False

    @property
    def example(self) -> str:
        """An expression about it."""
        level = {"ms": "300", "%": "50%", "GB": "6GB", "jobs": "50"}.get(self.unit, "100")
        return f"{self.written}{'>' if self.higher_is_better else '<'}{level}"


def _latencies() -> list[Quantity]:
    prefixes = {
        "": "latency",
        "ttft": "time to first token",
        "tpot": "time per token",
        "itl": "inter-token latency",
    }
    return [
        Quantity(
            f"{prefix} {written}".strip(),
            "_".join(part for part in (prefix, short, "ms") if part),
            f"{short} {label}",
            "ms",
        )
        for prefix, label in prefixes.items()
        for written, short in _AGGREGATES.items()
        if written != "med"
    ]


QUANTITIES: tuple[Quantity, ...] = (
    *_latencies(),
    Quantity("errors", "error_percent", "errors", "%"),
    Quantity("rate", "rate_per_s", "throughput", "requests/s", higher_is_better=True),
    Quantity("tokens", "tokens_per_s", "tokens", "tokens/s", higher_is_better=True),
    Quantity("goodput", "goodput_percent", "goodput", "%", higher_is_better=True),
    Quantity("hits", "hit_percent", "cache hit rate", "%", higher_is_better=True),
    Quantity("queue", "queue_depth", "queue depth", "jobs"),
    Quantity("cpu", "cpu_percent", "CPU", "%"),
    Quantity("memory", "memory_gb", "memory", "GB"),
)
_BY_WRITTEN = {quantity.written: quantity for quantity in QUANTITIES}
_BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}


def default_critical(quantity: Quantity, target: float) -> float:
    """The critical level of an objective that names none, in the unit of `target`.

    Twice the target for latencies and the queue; for the others the proportions of the default table: errors four
    times, hits 0.6 times, memory 4/3 times, CPU two thirds of the way to 100 %; goodput may miss twice as much;
    rates may fall to half.
    """
    match quantity.name:
        case "error_percent":
            return min(4 * target, 100.0) if target else 1.0
        case "hit_percent":
            return 0.6 * target
        case "memory_gb":
            return target * 4 / 3
        case "cpu_percent":
            return target + max(100.0 - target, 0.15 * target) * 2 / 3
        case "goodput_percent":
            return max(100.0 - 2 * (100.0 - target), 0.0) if target < 100 else 99.0
    return target / 2 if quantity.higher_is_better else 2 * target


def parse(expressions: Iterable[str]) -> tuple[Objective, ...]:
    """Read thresholds. Raises ConfigError, with the expression, for one that is wrong or about the same as another."""
    found: dict[str, Objective] = {}
    for expression in expressions:
        objective = _objective(expression)
        if objective.name in found:
            raise _wrong(expression, f"{objective.label} has a threshold already; keep one of them")
        found[objective.name] = objective
    return tuple(found.values())


def objectives(thresholds: Sequence[str]) -> tuple[Objective, ...]:
    """Those of the user, or the default table when there are none."""
    return parse(thresholds) if thresholds else DEFAULT_OBJECTIVES


def expression(objective: Objective) -> str:
    """The expression that `parse` reads as this objective. Raises ConfigError when it is about nothing we measure."""
    quantity = _BY_NAME.get(objective.name) or _no_quantity(objective.name)
    sign = ">" if objective.higher_is_better else "<"
    if _beyond_reach(quantity, objective.target):
        sign += "="
    unit = {"%": "%", "GB": "GB"}.get(objective.unit, "")
    return f"{quantity.written}{sign}{objective.target!r}{unit}|{objective.critical!r}{unit}"


def merged(*levels: Sequence[str]) -> tuple[str, ...]:
    """Thresholds of several places; a later one about the same quantity replaces an earlier one."""
    kept: dict[str, str] = {}
    for thresholds in levels:
        for text, objective in zip(thresholds, parse(thresholds), strict=True):
            kept[objective.name] = text
    return tuple(kept.values())


def read_slo(path: Path) -> tuple[str, ...]:
    """Thresholds of a TOML file: `thresholds = ["p(95)<300"]`, tables `[[objective]]`, or both.

    A table has `name` (`p95_ms` or `p(95)`), `target` and, if wanted, `critical`, in the unit of the quantity.
    Raises ConfigError.
    """
    try:
        content = tomllib.loads(path.read_text())
        file = msgspec.convert(content, _SloFile)
        found = (*file.thresholds, *(_from_table(table) for table in file.objective))
        parse(found)
    except OSError as error:
        raise ConfigError(f"--slo {path}: {error.strerror or error}", param="slo") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"--slo {path}: {error}", param="slo") from error
    if not found:
        raise ConfigError(f'--slo {path}: no thresholds; write thresholds = ["p(95)<300"]', param="slo")
    return found


def judge(objectives: Iterable[Objective], values: Mapping[str, Estimate]) -> list[SloRow]:
    """Each objective beside its value, judged on the value.

    One that was not measured, or whose estimate gives a reason to doubt it, is `unknown`.
    """
    rows = []
    for objective in objectives:
        measured = values.get(objective.name, Estimate())
        rows.append(
            SloRow(
                name=objective.name,
                label=objective.label,
                unit=objective.unit,
                target=objective.target,
                critical=objective.critical,
                higher_is_better=objective.higher_is_better,
                value=measured.value,
                low=measured.low,
                high=measured.high,
                state="unknown" if measured.reason else objective.state(measured.value),
                reason=measured.reason,
            )
        )
    return rows


def slo_state(rows: Sequence[SloRow], *, asked: bool) -> State:
    """The state of the whole table.

    `asked`: the user wrote these objectives, so one that could not be measured makes the table `unknown` unless it
    is critical anyway. In the default table such rows are passed over.
    """
    order: tuple[State, ...] = ("critical", "unknown", "warning", "ok")
    counted = rows if asked else [row for row in rows if row.state != "unknown"]
    return next((state for state in order if any(row.state == state for row in counted)), "unknown")


class _ObjectiveTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    target: float
    critical: float | None = None


class _SloFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    thresholds: tuple[str, ...] = ()
    objective: tuple[_ObjectiveTable, ...] = ()


def _from_table(table: _ObjectiveTable) -> str:
    quantity = _BY_NAME.get(table.name) or _BY_WRITTEN.get(table.name) or _no_quantity(table.name)
    critical = default_critical(quantity, table.target) if table.critical is None else table.critical
    objective = Objective(
        quantity.name, quantity.label, table.target, critical, quantity.unit, quantity.higher_is_better
    )
    return expression(objective)


def _no_quantity(name: str) -> Any:
    raise ConfigError(
        f"nothing measured is called {name}; there are {', '.join(_BY_NAME)}", param="thresholds"
    )


def _objective(text: str) -> Objective:
    match = _EXPRESSION.fullmatch(text.strip())
    if match is None:
        raise _wrong(text, "expected QUANTITY OPERATOR LEVEL")
    metric = (match["metric"] or match["k6"] or "").lower()
    written = re.sub(r"\s+", "", match["quantity"].lower())
    quantity, share = _quantity(text, metric, written)
    operator = match["operator"]
    if operator not in {"<", "<=", ">", ">="}:
        raise _wrong(text, f"{operator} cannot be judged on a measurement; use < or >")
    target_text, critical_text = _with_unit(match["level"], match["critical"])
    target = _level(text, target_text, quantity, share=share)
    critical = None if critical_text is None else _level(text, critical_text, quantity, share=share)
    if metric == "checks":
        # k6 asks for the share that passed; the table counts those that did not.
        operator = operator.translate(str.maketrans("<>", "><"))
        target, critical = 100.0 - target, None if critical is None else 100.0 - critical
    if (operator[0] == ">") != quantity.higher_is_better:
        better = "above" if quantity.higher_is_better else "below"
        more = "; for failures write errors<1%" if quantity.name == "rate_per_s" else ""
        raise _wrong(text, f"{quantity.label} is to stay {better} its target, as {quantity.example}{more}")
    if len(operator) == 1 and _beyond_reach(quantity, target):
        raise _wrong(text, f"can never be met; write {quantity.written}{operator}={target:g}%")
    if critical is None:
        critical = default_critical(quantity, target)
    elif (critical <= target) != quantity.higher_is_better or critical == target:
        side = "below" if quantity.higher_is_better else "above"
        raise _wrong(text, f"the critical level {critical:g} must be {side} the target {target:g}")
    if operator in {"<=", ">="}:
        target = _just_beyond(target, quantity)
    return Objective(
        quantity.name, quantity.label, target, critical, quantity.unit, quantity.higher_is_better
    )


def _quantity(text: str, metric: str, written: str) -> tuple[Quantity, bool]:
    """What is meant, and whether its level is a share from 0 to 1."""
    if metric in {"http_req_failed", "checks"} and written == "rate":
        return _BY_WRITTEN["errors"], True
    if metric == "http_reqs" and written == "rate":
        return _BY_WRITTEN["rate"], False
    prefix = {"http_req_duration": "", "latency": "", "": ""}.get(metric, metric)
    short = {"med": "p(50)"}.get(written, written)
    quantity = _BY_WRITTEN.get(f"{prefix} {short}".strip())
    # `http_req_duration: errors` would read as plain errors.
    if quantity is not None and (not metric or quantity.unit == "ms"):
        return quantity, False
    percentile = re.fullmatch(r"p\((.*)\)", written)
    if percentile and prefix in {"", "ttft", "tpot", "itl"}:
        raise _wrong(text, f"no percentile {percentile[1]}; there are {', '.join(PERCENTILES)}")
    known = [q.written for q in QUANTITIES if q.unit != "ms"]
    raise _wrong(
        text,
        f"nothing measured is called {f'{metric} {written}'.strip()}; there are p(50) to p(99.9), avg, max, the same "
        f"after ttft, tpot and itl, and {', '.join(known)}",
    )


def _with_unit(target: str, critical: str | None) -> tuple[str, str | None]:
    """`0.5|2%`: a unit written once, at the end, holds for both."""
    last = _LEVEL.fullmatch(critical) if critical else None
    first = _LEVEL.fullmatch(target)
    if last and first and last["unit"] and not first["unit"]:
        return target + last["unit"], critical
    return target, critical


def _level(text: str, level: str, quantity: Quantity, *, share: bool) -> float:
    """The number in the unit of `quantity`."""
    match = _LEVEL.fullmatch(level)
    if match is None:
        raise _wrong(text, f"{level} is not a number")
    number, unit = float(match["number"]), match["unit"]
    value = number * _factor(text, quantity, unit, share=share)
    if (
        not math.isfinite(value)
        or value < 0
        or (value == 0 and quantity.name != "error_percent" and not share)
    ):
        raise _wrong(text, f"{level} must be above 0")
    if share and not unit and number > 1:
        raise _wrong(text, f"{level} is a share of the requests, from 0 to 1; 1 % is 0.01")
    if quantity.unit == "%" and quantity.name != "cpu_percent" and value > 100:
        raise _wrong(text, f"{level} is more than 100 %")
    return value


def _factor(text: str, quantity: Quantity, unit: str, *, share: bool) -> float:
    """How many of the quantity's units one of the written unit is."""
    if quantity.unit == "%":
        if not unit and not share:
            raise _wrong(text, "a percentage needs its sign, as 1%")
        factor = {"%": 1.0, "": 100.0}.get(unit)
    elif quantity.unit == "ms":
        factor = _TIMES.get(unit.lower())
    elif quantity.unit == "GB":
        factor = _BYTES.get(unit.upper())
    else:
        factor = {"": 1.0, "/s": 1.0}.get(unit)
    if factor is None:
        raise _wrong(text, f"{unit or 'no unit'} does not fit {quantity.label}; write {quantity.example}")
    return factor


def _beyond_reach(quantity: Quantity, target: float) -> bool:
    """Whether no measurement is strictly better than `target`: fewer than no errors, more than everything."""
    return quantity.unit == "%" and target == (100 if quantity.higher_is_better else 0)


def _just_beyond(target: float, quantity: Quantity) -> float:
    """The level at which a strict comparison lets `target` itself pass."""
    if target == 0:
        return 1e-9
    return math.nextafter(target, -math.inf if quantity.higher_is_better else math.inf)


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"threshold {text!r}: {why} (examples: {EXAMPLES})", param="thresholds")
