"""The quality gate within a tune: each setting that changes answers is scored once, and the report tells of it."""

from __future__ import annotations

from paceline.base.errors import TrialFailed
from paceline.tune.journal import Journal
from paceline.tune.order import Order
from paceline.tune.quality import check, held
from paceline.tune.report import QualityCheck
from paceline.tune.setting import Key, Setting, key, label
from paceline.tune.watcher import Watcher


class Judge:
    """Of one tune. Settings that leave answers alone need no gate."""

    def __init__(self, order: Order, journal: Journal, watcher: Watcher) -> None:
        self._order, self._journal, self._watcher = order, journal, watcher
        self._names = {knob.name for knob in order.space.knobs if knob.quality}
        self._baseline: list[float] | None = None
        self._verdicts: dict[Key, bool] = {}

    @property
    def refused_all(self) -> bool:
        """Whether settings were judged, and none was good enough."""
        return bool(self._verdicts) and not any(self._verdicts.values())

    def begin(self) -> None:
        """Score the baseline, once; a warning tells when it is below what must be held. Raises TrialFailed."""
        gate, least = self._order.gate, self._order.least_quality
        if not self._names or gate is None or self._baseline is not None:
            return
        self._watcher.phase("quality", None)
        self._journal.found["quality"] = []
        self._baseline = list(gate.scores({}))
        if least is None:
            return
        holds, said = held(self._baseline, least)
        if not holds:
            self._journal.warnings.append(
                f"The server's own settings do not hold the quality: {gate.metric} {said}."
            )

    def accepts(self, setting: Setting) -> bool:
        """Whether its answers are good enough. Raises TrialFailed when the baseline cannot be scored."""
        changed = {name: value for name, value in setting.items() if name in self._names}
        if not changed:
            return True
        if key(changed) not in self._verdicts:
            checked = self._checked(changed)
            self._verdicts[key(changed)] = checked is not None and checked.accepted
        return self._verdicts[key(changed)]

    def _checked(self, setting: Setting) -> QualityCheck | None:
        """What the gate says, in the report too; None when it could not say anything."""
        order = self._order
        assert order.gate is not None, "knobs that nobody judges are not turned"
        self.begin()
        try:
            checked = check(
                order.gate,
                self._baseline or [],
                setting,
                allowed=order.allowed_loss,
                least=order.least_quality,
            )
        except TrialFailed as failure:
            self._journal.warnings.append(f"{label(setting)}: quality could not be scored: {failure.message}")
            return None
        self._journal.found["quality"].append(checked)
        self._watcher.step(
            f"{label(setting)}: {'accepted' if checked.accepted else 'refused'}, {checked.because}"
        )
        return checked
