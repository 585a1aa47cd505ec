"""Who changed which setting of the running server: one JSON line for each event."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import msgspec

from paceline.base.errors import ConfigError
from paceline.settings.live import Event

log = logging.getLogger("paceline.audit")


class Audit:
    """Appends to a file, or without one to the log. Live settings hold no secrets, so neither do the lines."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError when the file cannot be opened."""
        self._path = path
        if path:
            try:
                os.close(self._open())
            except OSError as error:
                raise ConfigError(
                    f"admin.audit_log = {path!r}: {error.strerror}; choose a file this process may write, or none",
                    param="admin.audit_log",
                ) from None

    def add(self, event: Event) -> None:
        """Write one line. When the disk fails it goes to the log, with the reason."""
        line: dict[str, Any] = {"at": round(time.time(), 3), "event": event.kind, "who": event.who}
        line["version"] = event.version
        line["lease"] = event.lease
        line["changed"] = {name: {"old": old, "new": new} for name, (old, new) in event.changed.items()}
        text = msgspec.json.encode(line, enc_hook=str)
        if not self._path:
            log.warning("%s", text.decode())  # whoever runs the server did not start it with these settings
            return
        try:
            file = self._open()  # each time anew: the file may have been rotated away
            try:
                os.write(file, text + b"\n")
            finally:
                os.close(file)
        except OSError as error:
            log.error("admin.audit_log = %r: %s: %s", self._path, error.strerror, text.decode())  # noqa: TRY400

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
