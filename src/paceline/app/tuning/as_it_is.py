"""A server whose settings stay as they are: one side of an A/B between two URLs."""

from __future__ import annotations

from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.setting import Setting


class AsItIs:
    """See `bench.TunedServer`; nobody turns anything on it, and it need not be Paceline."""

    def try_out(self, setting: Setting) -> None:
        """There is nothing to change."""
        assert not setting

    def take_batches(self) -> BatchLog:
        """It tells of none."""
        return BatchLog.of([])

    def revert(self) -> None:
        """There is nothing to take back."""

    def keep(self, setting: Setting) -> None:
        """There is nothing to keep."""
        assert not setting

    def alive(self) -> bool:
        """One that does not answer has failed requests to show for it."""
        return True
