"""One shard in a process of its own: `python -m paceline.vectors.shard_process FOLDER SOCKET`.

It says `ready` on standard output once the collection is open, and ends when standard input does, so that it does not
outlive whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from paceline.base.errors import EngineError, PacelineError
from paceline.flow.channel import ChannelServer
from paceline.vectors.collection import Collection
from paceline.vectors.remote_shard import ShardHost

_READY = b"ready\n"


class ShardProcess:
    """A shard that was started from here; EngineError if it does not open its collection."""

    def __init__(self, folder: Path, socket: Path) -> None:
        # The package as it is here, wherever the other process would look for it.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "paceline.vectors.shard_process", str(folder), str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != _READY:
            self.close()
            raise EngineError(f"the shard in {folder} did not start: {said.decode().strip() or 'it died'}")

    def close(self) -> None:
        """Let it close its collection, and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self.close()


async def _serve(collection: Collection, socket: Path) -> None:
    server = ChannelServer(socket, ShardHost(collection).answer)
    await server.start()
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.close()


def main(folder: Path, socket: Path) -> int:
    """Serve the collection in `folder` until standard input ends; the exit status."""
    try:
        with Collection.open(folder) as collection:
            asyncio.run(_serve(collection, socket))
    except PacelineError as error:
        sys.stdout.buffer.write(error.message.encode() + b"\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
