"""Files kept between starts (layouts, quantised weights): replaced in one step, so that a crash leaves no half."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from paceline.base.errors import ConfigError


def replace_file(file: Path, content: bytes) -> None:
    """Write so that a reader sees the old file or the new one, never half; raises ConfigError."""
    # Several workers may make the same file at once: each has its own part, the last one stays.
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigError(f"{file} cannot be written ({error}); make its folder writeable") from error
