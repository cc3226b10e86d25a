"""A result on its way: a folder beside the destination that survives whatever stops the run.

``scores.npy.partial/`` holds the files that are being written, a lock, and the journal: what is
being done with what, how far reading has come, and how many bytes of each file are sound. The
journal is replaced as a whole, after the files that it speaks of have reached the disk; what lies
beyond is cut off when the run is taken up again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from fastlstm.files import replaced, sync_folder

__all__ = ["Partial", "partial_folder"]

VERSION = 1


class Partial:
    """The folder of one destination, locked for one run.

    Parameters
    ----------
    destination
        The file or folder that the result becomes.
    identity
        What the result depends on, as JSON can say it.
    resume
        Go on with what an earlier run left, if it did; it must have had the same identity.
    restart
        Throw away what an earlier run left.

    Raises
    ------
    BlockingIOError
        Another run is at work there.
    FileExistsError
        An earlier run left something and neither `resume` nor `restart` is asked for.
    ValueError
        What is there was made of something else; the message says what has changed.
    """

    def __init__(
        self, destination: Path, identity: dict[str, Any], resume: bool, restart: bool
    ) -> None:
        self.destination = destination
        self.folder = partial_folder(destination)
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        there = self.folder.is_dir()
        self.folder.mkdir(exist_ok=True)
        try:
            self.lock = _locked(self.folder)
        except BlockingIOError:
            raise BlockingIOError(
                f"another run is writing {destination}: wait for it, or name another destination"
            ) from None
        try:
            self.journal = self._read() if there else None
            if self.journal is not None and not (resume or restart):
                raise FileExistsError(
                    f"an earlier run left {self.folder}: resume it, or restart to throw it away"
                )
            if restart or self.journal is None:
                self._empty()
            else:
                self._compare(self.journal["identity"])
        except BaseException:
            self.lock.close()
            raise

    def path(self, name: str) -> Path:
        """Return where a file of the result lies until all is done."""
        return self.folder / name

    def commit(self, progress: Mapping[str, Any]) -> None:
        """Write the journal: from here a run can be taken up. The files are on the disk."""
        self.journal = {"version": VERSION, "identity": self.identity, **progress}
        with replaced(self.folder / "journal.json") as file:
            file.write(json.dumps(self.journal).encode())
        sync_folder(self.folder)

    def move(self, names: Mapping[str, Path]) -> None:
        """Put the finished files in their places, the last one last, and end.

        It is called again with the same names if it was interrupted.
        """
        for name, target in names.items():
            part = self.folder / name
            if part.exists():
                if part.is_dir() and target.is_dir():
                    # whole or not at all: half of an old store would look like a store
                    aside = self.folder / f"{name}.before"
                    _remove(aside)
                    os.replace(target, aside)
                os.replace(part, target)
        sync_folder(self.folder.parent)
        self.discard()

    def discard(self) -> None:
        """Remove the folder, with what is in it."""
        # the journal goes last: without one there is nothing to resume
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == "journal.json"):
            _remove(path)
        self.lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Give the lock back; without a journal nothing is worth keeping."""
        if not self.lock.closed:
            if self.journal is None:
                self.discard()
            else:
                self.lock.close()

    def _read(self) -> dict[str, Any] | None:
        try:
            journal = json.loads((self.folder / "journal.json").read_bytes())
        except FileNotFoundError:
            return None  # a run that did not come far enough to be worth anything
        except ValueError:
            raise ValueError(
                f"{self.folder / 'journal.json'} is damaged: restart to throw it away"
            ) from None
        if not isinstance(journal, dict) or journal.get("version") != VERSION:
            raise ValueError(
                f"{self.folder} is of another version of this library: restart to throw it away"
            )
        return journal

    def _empty(self) -> None:
        self.journal = None
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name != "journal.json"):
            if path.name != "lock":
                _remove(path)

    def _compare(self, before: dict[str, Any]) -> None:
        changes = list(_changes(before, self.identity))
        if changes:
            raise ValueError(
                f"cannot resume {self.destination}: {'; '.join(changes)} "
                "(restart throws the partial result away)"
            )


def partial_folder(destination: Path) -> Path:
    """Return where the result of a destination lies until it is complete."""
    return destination.with_name(destination.name + ".partial")


def _changes(before: Any, now: Any, name: str = "") -> list[str]:
    """Say what differs between two identities."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            change
            for key in sorted(before.keys() | now.keys())
            for change in _changes(before.get(key), now.get(key), f"{name} {key}".strip())
        ]
    if before == now:
        return []
    if isinstance(before, str) and isinstance(now, str) and len(before) == len(now) == 64:
        return [f"{name} has changed"]  # digests say nothing to a reader
    return [f"{name} was {_shown(before)}, is now {_shown(now)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked(folder: Path) -> IO[bytes]:
    """Open and lock the lock file; the system unlocks it however the process ends."""
    path = folder / "lock"
    file = open(path, "ab")  # noqa: SIM115 (it is open as long as the lock is held)
    try:
        _lock(file)
        # whoever held it before may have removed it in the meantime
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise BlockingIOError
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            raise BlockingIOError from None
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
