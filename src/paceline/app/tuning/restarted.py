"""A server that the tuner launches: every setting is a restart."""

from __future__ import annotations

from contextlib import suppress

from paceline.base.errors import PacelineError, TrialFailed
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.launched import LaunchedServer
from paceline.tune.setting import Setting


class Restarted:
    """A launched server as the bench wants it. One that died is started again with the next setting."""

    def __init__(self, server: LaunchedServer) -> None:
        self._server = server

    def try_out(self, setting: Setting) -> None:
        """See `TunedServer.try_out`."""
        try:
            self._server.apply(setting)
        except PacelineError as error:
            raise TrialFailed(error.message) from None

    def take_batches(self) -> BatchLog:
        """It tells of none."""
        return BatchLog.of([])

    def revert(self) -> None:
        """Back to the baseline, where it still starts with it."""
        with suppress(PacelineError):
            self._server.revert()

    def keep(self, setting: Setting) -> None:
        """It runs so until the tuner ends, and then ends too; the report says how to start it."""
        self.try_out(setting)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._server.alive()

    def close(self) -> None:
        """End it."""
        self._server.close()
