"""An unfinished result: a folder beside the destination that survives whatever stops the run.

``scores.npy.partial/`` holds the files that are being written, a lock, and the journal. The
journal says what the result depends on, how far reading has come, and how many bytes of each file
are sound. It is replaced as a whole, after those bytes have reached the disk; anything beyond them
is cut off when the run is resumed. It holds a digest of itself, so that a damaged or edited
journal is refused. It never says where the files go: the writer does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from fastlstm.files import replaced, sync_folder
from fastlstm.messages import Message, Option

__all__ = ["RESTART", "Partial", "changes", "partial_folder"]

VERSION = 2
RESTART = Message(Option("restart", True), " throws the partial result away")


class Partial:
    """The folder of an unfinished result, locked for one run.

    Parameters
    ----------
    destination
        The file or folder that the result becomes.
    identity
        What the result depends on, as JSON can hold it.
    resume
        Go on with what an earlier run left, if there is any; it must have had the same identity.
    restart
        Throw away what an earlier run left.

    Raises
    ------
    BlockingIOError
        Another run is working there.
    FileExistsError
        An earlier run left something, and neither `resume` nor `restart` was given.
    ValueError
        What is there depends on something that has changed since, which the message names; or its
        journal is damaged.
    OSError
        Something other than a folder is there.
    """

    def __init__(
        self, destination: Path, identity: dict[str, Any], resume: bool, restart: bool
    ) -> None:
        self.destination = destination
        self.folder = partial_folder(destination)
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        there = self.folder.is_dir()
        if self.folder.is_symlink() or (os.path.lexists(self.folder) and not there):
            raise FileExistsError(
                f"expected a folder, but {self.folder} is a link or a file: remove it"
            )
        self.folder.mkdir(exist_ok=True)
        try:
            self.lock = _locked(self.folder)
        except BlockingIOError:
            raise BlockingIOError(
                f"another run is writing {destination}: wait for it, or name another destination"
            ) from None
        try:
            self.journal = self._read() if there and not restart else None
            if self.journal is not None and not resume:
                raise FileExistsError(
                    Message(
                        f"an earlier run left {self.folder}: ",
                        Option("resume", True),
                        " goes on with it, ",
                        Option("restart", True),
                        " throws it away",
                    )
                )
            if self.journal is None:
                self._empty()
            else:
                self._compare(self.journal["identity"])
        except BaseException:
            self.lock.close()
            raise

    def path(self, name: str) -> Path:
        """Return where a file of the result is until all is done."""
        return self.folder / name

    def commit(self, progress: Mapping[str, Any]) -> None:
        """Write the journal, so that a run can resume from here. The files must be on the disk."""
        journal = {"version": VERSION, "identity": self.identity, **progress}
        self.journal = {**journal, "digest": _digest(journal)}
        with replaced(self.folder / "journal.json") as file:
            file.write(json.dumps(self.journal).encode())
        sync_folder(self.folder)

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        """Return the sizes of finished files; folders are left out."""
        paths = {name: self.folder / name for name in names}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}

    def move(self, targets: Mapping[str, Path], sizes: Mapping[str, int]) -> None:
        """Move the finished files to their places, the destination last, and remove the folder.

        If it is interrupted, calling it again finishes it.

        Parameters
        ----------
        targets
            Where each file goes, by its name, as the writer says.
        sizes
            What `sizes` gave when the files were finished.

        Raises
        ------
        ValueError
            A file is in neither place, or has another size.
        """
        for name, target in targets.items():
            part = self.folder / name
            there = part if os.path.lexists(part) else target
            if (there is part and part.is_symlink()) or not there.exists():
                raise self.damaged(f"{name} is missing")
            if there.is_file() and there.stat().st_size != sizes.get(name):
                raise self.damaged(
                    f"expected {sizes.get(name, 0):,} bytes of {there}, found "
                    f"{there.stat().st_size:,}"
                )
        for name, target in targets.items():
            part = self.folder / name
            if part.exists():
                if part.is_dir() and target.is_dir():
                    # all or nothing: half of an old store would look like a store
                    aside = self.folder / f"{name}.before"
                    _remove(aside)
                    os.replace(target, aside)
                os.replace(part, target)
        sync_folder(self.folder.parent)
        self.discard()

    def discard(self) -> None:
        """Remove the folder and everything in it."""
        # the journal goes last, since without it there is nothing to resume
        order = {"journal.json": 1, "lock": 2}
        for path in sorted(self.folder.iterdir(), key=lambda path: order.get(path.name, 0)):
            if path.name != "lock":
                _remove(path)
        _unlock(self.folder, self.lock)

    def damaged(self, flaw: str) -> ValueError:
        """Return an error for something that is not as the run left it."""
        return ValueError(Message(f"{self.folder} is damaged: {flaw}; ", RESTART))

    def close(self) -> None:
        """Release the lock; without a journal there is nothing to keep."""
        if not self.lock.closed:
            if self.journal is None:
                self.discard()
            else:
                self.lock.close()

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / "journal.json"
        if not os.path.lexists(path):
            return None  # the run ended before its first commit
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise self.damaged("journal.json is not a file")
        try:
            journal = json.loads(path.read_bytes())
        except (RecursionError, ValueError):
            raise ValueError(Message(f"{path} is damaged; ", RESTART)) from None
        if not isinstance(journal, dict) or journal.get("version") != VERSION:
            raise ValueError(
                Message(f"{self.folder} was written by another version of fastlstm; ", RESTART)
            )
        if journal.pop("digest", None) != _digest(journal) or "identity" not in journal:
            raise self.damaged("journal.json has been changed")
        return journal

    def _empty(self) -> None:
        self.journal = None
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name != "journal.json"):
            if path.name != "lock":
                _remove(path)

    def _compare(self, before: dict[str, Any]) -> None:
        found = changes(before, self.identity)
        if found:
            said = [part for change in found for part in ("; ", change)]
            raise ValueError(
                Message(f"cannot resume {self.destination}: ", *said[1:], "; ", RESTART)
            )


def partial_folder(destination: Path) -> Path:
    """Return the folder that holds the result of a destination until it is complete."""
    return destination.with_name(destination.name + ".partial")


def changes(before: Any, now: Any, *keys: str) -> list[Message]:
    """Say what differs between two identities, or between their entries under some keys."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            change
            for key in sorted(before.keys() | now.keys())
            for change in changes(before.get(key), now.get(key), *keys, key)
        ]
    if before == now:
        return []
    given = keys[:-1] in (("layout",), ("outputs",)) or keys in (("dtype",), ("max_steps",))
    name = Option(keys[-1]) if given else " ".join(keys)
    if isinstance(before, str) and isinstance(now, str) and len(before) == len(now) == 64:
        return [Message(name, " has changed")]  # digests mean nothing to a reader
    return [Message(name, f" was {_shown(before)}, is now {_shown(now)}")]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked(folder: Path) -> IO[bytes]:
    """Open and lock the lock file. The system unlocks it however the process ends."""
    path = folder / "lock"
    try:
        file = open(path, "ab")  # noqa: SIM115 (open as long as the lock is held)
    except FileNotFoundError:  # the run that held it is removing the folder right now
        raise BlockingIOError from None
    try:
        _lock(file)
        # the run that held it may have removed it in the meantime
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise BlockingIOError
    except BaseException:
        file.close()
        raise
    return file


def _unlock(folder: Path, lock: IO[bytes]) -> None:
    """Remove a folder that holds nothing but its lock, and release the lock.

    Another run may be trying for the lock, and begin in the same folder as soon as it has it.
    """
    path = folder / "lock"
    try:
        # while it is held: a run that gets the lock now sees that its file is gone
        path.unlink(missing_ok=True)
        lock.close()
    except PermissionError:  # Windows does not remove an open file
        lock.close()
        with suppress(PermissionError):  # another run has opened it, and has the folder now
            path.unlink(missing_ok=True)
    with suppress(OSError):  # another run has put something in it
        folder.rmdir()


def _digest(journal: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(journal, sort_keys=True).encode()).hexdigest()


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
