"""One shard in a process of its own: `python -m paceline.vectors.shard_process`, which reads a `ShardJob`, a line of JSON.

It says `ready` on standard output once the collection is open, and ends when standard input does, so that it does not
outlive whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from paceline.base.errors import EngineError, FolderInUse, PacelineError
from paceline.flow.channel import ChannelServer
from paceline.vectors.collection import Collection
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.shard_host import ShardHost

_READY: Final = b"ready\n"
_PATIENCE_S: Final = 5.0
_AGAIN_S: Final = 0.05


class ShardJob(msgspec.Struct, frozen=True):
    """What such a process is to serve, where, and how."""

    folder: str
    socket: str
    policy: VectorsPolicy
    skip_damaged: bool


class ShardProcess:
    """A shard that was started from here."""

    def __init__(
        self,
        folder: Path,
        socket: Path,
        policy: VectorsPolicy = VectorsPolicy(),  # noqa: B008 - frozen
        *,
        skip_damaged: bool = False,
    ) -> None:
        """Start it; OSError if there is no room for another process."""
        self._folder = folder
        # The package as it is here, wherever the other process would look for it.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        job = msgspec.json.encode(ShardJob(str(folder), str(socket), policy, skip_damaged))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "paceline.vectors.shard_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for whoever started it, who ends it
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died; `wait_until_open` tells
            self._process.stdin.write(job + b"\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """That of the operating system."""
        return self._process.pid

    def wait_until_open(self) -> None:
        """Until it answers calls. EngineError says why it will not."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != _READY:
            raise EngineError(
                f"the shard in {self._folder} did not start: {said.decode().strip() or 'it died'}"
            )

    def wait(self) -> int:
        """Wait for its end, and close what led there; the exit status."""
        status = self._process.wait()
        self.let_go()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def let_go(self) -> None:
        """Ask it to close its collection and end."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended by itself
            self._process.stdin.close()

    def close(self) -> None:
        """Let it go, and wait for its end."""
        self.let_go()
        self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self.close()


async def _serve(collection: Collection, socket: Path) -> None:
    host = ShardHost(collection)
    server = ChannelServer(socket, host.answer)
    await server.start()
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.close()
    host.close()


def _opened(job: ShardJob) -> Collection:
    """The collection; waits for one whose parent was killed and that still closes it."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return Collection.open(Path(job.folder), policy=job.policy, skip_damaged=job.skip_damaged)
        except FolderInUse:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_AGAIN_S)


def main() -> int:
    """Serve a collection until standard input ends; the exit status."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=ShardJob)
    socket = Path(job.socket)
    try:
        with _opened(job) as collection:
            asyncio.run(_serve(collection, socket))
    except PacelineError as error:
        sys.stdout.buffer.write(error.message.encode() + b"\n")
        return 1
    with suppress(OSError):  # the last of the shards of a parent that was killed clears the folder
        socket.parent.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
