"""Opening a folder: lock it, read what the manifest names, replay the log, and start what runs beside."""

from __future__ import annotations

from pathlib import Path

import msgspec

from paceline.base.errors import NotFound
from paceline.vectors.batch import Batch, from_log
from paceline.vectors.files import LOG, Files
from paceline.vectors.folder_lock import FolderLock
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.manifest import NAME
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.preprocess import Preprocess
from paceline.vectors.state import Origin, State
from paceline.vectors.text_follower import FOLDER as TEXTS
from paceline.vectors.text_follower import Beginning, TextFollower
from paceline.vectors.upkeep import Upkeep
from paceline.vectors.wal import Log, log_file, replayed, settle_log


class Recovery(msgspec.Struct, frozen=True):
    """What opening found in the log."""

    replayed: int = 0
    """Writes that were in the log only."""
    dropped_bytes: int = 0
    """At the end, of a write that a crash cut short: it was not acknowledged."""
    skipped_bytes: int = 0
    """Of acknowledged writes that cannot be read, left out because the caller wanted it."""


class Opened(msgspec.Struct, frozen=True, eq=False):
    """The parts of an open collection."""

    lock: FolderLock
    files: Files
    preprocess: Preprocess
    state: State
    log: Log
    upkeep: Upkeep
    recovery: Recovery
    texts: TextFollower | None
    """The texts, if the schema names a field of them."""


def open_folder(folder: Path, policy: VectorsPolicy, *, skip_damaged: bool) -> Opened:
    """Open all parts of the collection in `folder`. NotFound, FolderInUse, StorageDamaged, ConfigError."""
    if not (folder / NAME).exists():
        raise NotFound(f"{folder} holds no collection: {NAME} is missing")
    lock = FolderLock(folder)
    try:
        files = Files.open(folder)
        preprocess = files.preprocess()
        manifest = files.manifest
        state = State(
            manifest.schema,
            files.segments(),
            Origin(manifest.log, manifest.version),
            GraphPlan.of_fresh(policy),
        )
        recovery, number, replayed_writes = _replay(files, state, skip_damaged=skip_damaged)
        log = Log(folder / LOG, number, state.view.version, policy.durability)
    except BaseException:  # whatever it was: the folder is not open
        lock.release()
        raise
    log.forget(manifest.log)
    if state.tail.count >= policy.upkeep.seal_rows:
        state.freeze(log.number)
    texts = None
    if manifest.schema.text_field:
        beginning = Beginning(manifest.version, replayed_writes, is_whole=not recovery.skipped_bytes)
        texts = TextFollower(
            folder / TEXTS, manifest.schema.text_field, state, log, beginning, lambda: files.damaged
        )
        files.before_publish = texts.before_publish
    upkeep = Upkeep(files, state, policy, log)
    return Opened(lock, files, preprocess, state, log, upkeep, recovery, texts)


def _replay(
    files: Files, state: State, *, skip_damaged: bool
) -> tuple[Recovery, int, list[tuple[int, Batch]]]:
    """Apply what is in the log only; returns what was found, the number of the log to write to, and the writes.

    The writes are kept for the texts, and only if there are any.
    """
    folder, number = files.folder / LOG, files.manifest.log
    kept: list[tuple[int, Batch]] = []
    writes = dropped = skipped = 0
    for place, content in enumerate(replayed(folder, number, skip_damaged=skip_damaged), number):
        for frame in content.frames:
            batch = from_log(frame.payload, state.schema.stored)
            state.apply(batch, frame.number)
            if state.schema.text_field:
                kept.append((frame.number, batch))
        settle_log(log_file(folder, place), content)
        writes += len(content.frames)
        dropped += content.dropped
        skipped += content.skipped
        number = place + bool(content.frames)
    return Recovery(writes, dropped, skipped), number, kept
