"""A run that is stopped, by whatever, goes on and ends in the same bytes; or says why it cannot.

Runs are killed in forked children, at every event in turn: SIGKILL leaves no time to tidy up.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scoring_files import MODELS, X

import fastlstm
from fastlstm import cli
from fastlstm.scoring import ledger, memory, partial
from fastlstm.scoring.destinations import appended

MODEL = MODELS[2]
FOLDER = Path("y.npy.partial")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder with sequences, one of them bad, that are read in several chunks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "MOST_CHUNK", 1 << 12)
    x = X.copy()
    x[200, 3, 1] = np.nan
    np.save("x.npy", x)
    MODEL.save("m.npz")
    return tmp_path


OPTIONS = {"return_sequences": True, "state": True, "on_bad_row": "skip"}


def score(**options) -> fastlstm.scoring.Summary:
    return fastlstm.score(MODEL, "x.npy", "y.npy", **{**OPTIONS, **options})


def results() -> dict[str, bytes]:
    """All files of the result; nothing else lies beside them."""
    assert not FOLDER.exists()
    return {p.name: p.read_bytes() for p in sorted(Path().glob("y*"))}


def uninterrupted() -> dict[str, bytes]:
    score()
    found = results()
    for name in found:
        Path(name).unlink()
    return found


def in_child(act: Callable[[], None]) -> int:
    """Run something in a forked child and return how that ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(event: int) -> bool:
    """Score until an event, and die there; tell whether the run came so far."""
    seen = 0

    def dying(function, halfway):
        def counted(*arguments):
            nonlocal seen
            seen += 1
            if seen == event:
                if halfway and arguments[1:]:
                    data = memoryview(np.ascontiguousarray(arguments[1]))
                    if data.nbytes:
                        function(arguments[0], data.cast("B")[: data.nbytes // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return counted

    def act():
        appended.Appended.write = dying(appended.Appended.write, True)
        partial.Partial.commit = dying(partial.Partial.commit, False)
        os.replace = dying(os.replace, False)
        os.fsync = dying(os.fsync, False)
        os.unlink = dying(os.unlink, False)
        score(resume=True)

    return in_child(act) == -signal.SIGKILL


def finished() -> bool:
    """Whether the files only need to be moved."""
    journal = FOLDER / "journal.json"
    return journal.exists() and json.loads(journal.read_bytes())["moving"]


@pytest.mark.parametrize(
    ("seconds", "apart"),
    [
        pytest.param(1e9, 1, marks=pytest.mark.full),
        (0.0, 7),
        pytest.param(0.0, 1, marks=pytest.mark.slow),
    ],
    ids=["commits once", "commits often", "commits often, all events"],
)
def test_killed_at_any_event_and_resumed(monkeypatch, seconds, apart):
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", seconds)
    expected = uninterrupted()
    events = 0
    while killed_at(events + apart):
        events += apart
        assert not Path("y.npy").exists() or Path("y.npy").read_bytes() == expected["y.npy"]
        if not finished():
            for path in FOLDER.glob("*.npy"):  # what lies beyond the journal's sizes is anything
                with open(path, "ab") as file:
                    file.write(b"garbage")
        score(resume=True)
        assert results() == expected
        for name in expected:
            Path(name).unlink()
    assert events > 20


def test_killed_again_and_again(monkeypatch):
    """One run, killed two events further on every time."""
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", 0.0)
    expected = uninterrupted()
    for event in range(40, 400, 2):
        if not killed_at(event):
            break
    else:
        pytest.fail("it never came to an end")
    assert results() == expected


def test_what_was_done_is_not_done_again(monkeypatch):
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_COMMITS", 0.0)
    assert killed_at(50)
    summary = score(resume=True)
    assert 0 < summary.resumed < 403
    assert summary.sequences == 403
    assert summary.bad_rows["first"] == [200]


def test_other_memory_and_threads_do_not_matter(monkeypatch):
    expected = uninterrupted()
    assert killed_at(50)
    monkeypatch.setattr(memory, "MOST_CHUNK", 1 << 14)
    score(resume=True, threads=1, memory="1GB")
    assert results() == expected


def stopped(monkeypatch, error: BaseException, chunk: int = 3, **options) -> None:
    """Score until a chunk is to be scored, and fail there."""
    from fastlstm.scoring import scorer

    compute, seen = scorer.compute, []

    def failing(*arguments):
        seen.append(1)
        if len(seen) == chunk:
            raise error
        return compute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "compute", failing)
        with pytest.raises(type(error)):
            score(**options)


def test_ctrl_c_keeps_every_finished_chunk(monkeypatch, capsys):
    expected = uninterrupted()
    stopped(monkeypatch, KeyboardInterrupt(), chunk=4)
    assert FOLDER.is_dir()
    assert not Path("y.npy").exists()
    assert score(resume=True).resumed == 3 * ((1 << 12) // (9 * 2 * 4))
    assert results() == expected


def test_the_command_says_how_to_go_on(monkeypatch, capsys):
    from fastlstm.scoring import scorer

    def interrupted(*arguments):
        raise KeyboardInterrupt

    command = ["score", "x.npy", "--model", "m.npz", "-o", "y.npy", "--on-bad-row", "skip"]
    with monkeypatch.context() as patch:
        compute, seen = scorer.compute, []
        patch.setattr(
            scorer,
            "compute",
            lambda *a: compute(*a) if not seen and not seen.append(1) else interrupted(),
        )
        assert cli.main(command) == 130
    printed = capsys.readouterr().err
    assert "y.npy.partial holds what is done" in printed
    assert "--resume" in printed
    assert cli.main(command) == 1
    assert "resume" in capsys.readouterr().err
    assert cli.main([*command, "--resume"]) == 0
    assert "from an earlier run" in capsys.readouterr().err


def test_a_full_disk_is_an_error_and_resumable(monkeypatch):
    expected = uninterrupted()
    write, room = appended.Appended.write, 30_000

    def limited(self, data):
        nonlocal room
        left = memoryview(np.ascontiguousarray(data)).cast("B")
        if room < left.nbytes:
            write(self, left[:room])
            raise OSError(28, "No space left on device")
        room -= left.nbytes
        write(self, left)

    with monkeypatch.context() as patch:
        patch.setattr(appended.Appended, "write", limited)
        with pytest.raises(OSError, match="No space left"):
            score()
    assert not Path("y.npy").exists()
    sizes = json.loads((FOLDER / "journal.json").read_bytes())["sizes"]
    # half a chunk makes room again: without any the journal could not be written
    assert {name: (FOLDER / name).stat().st_size for name in sizes} == sizes
    assert score(resume=True).resumed > 0
    assert results() == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_with_the_file():
    file = appended.Appended(Path("score.npy"))
    file.close()
    with (
        open("/dev/full", "wb", buffering=0) as file.file,
        pytest.raises(OSError, match=r"No space left on device: 'score.npy'"),
    ):
        file.write(b"x")


def test_a_run_without_resume_refuses_what_an_earlier_one_left(monkeypatch):
    expected = uninterrupted()
    stopped(monkeypatch, KeyboardInterrupt())
    before = sorted(p.read_bytes() for p in FOLDER.iterdir())
    with pytest.raises(FileExistsError, match="resume=True goes on with it, restart=True throws"):
        score()
    assert sorted(p.read_bytes() for p in FOLDER.iterdir()) == before
    assert score(restart=True).resumed == 0
    assert results() == expected


def touch_input() -> None:
    x = np.load("x.npy")
    x[0, 0, 0] += 1
    np.save("x.npy", x)


def later_input() -> None:
    os.utime("x.npy", (1, 1))


CHANGES = {
    "the input": (touch_input, {}, "source .*was .*is now"),
    "its time": (later_input, {}, "source modified was"),
    "return_sequences": (None, {"return_sequences": False}, "return_sequences was true, is now fa"),
    "state": (None, {"state": False}, "state was true, is now false"),
    "dtype": (None, {"dtype": "float64"}, "dtype was"),
    "max_steps": (None, {"max_steps": 9}, "max_steps was null, is now 9"),
    "lengths": (None, {"lengths": np.full(403, 8)}, "source lengths was"),
    "window": (None, {"window": 5}, "window was null, is now 5"),
}


@pytest.mark.parametrize(("change", "options", "message"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_told(monkeypatch, change, options, message):
    stopped(monkeypatch, KeyboardInterrupt())
    if change is not None:
        change()
    with pytest.raises(ValueError, match=rf"cannot resume .*{message}"):
        score(resume=True, **options)
    assert FOLDER.is_dir()
    score(restart=True, **options)


def test_another_model_is_told(monkeypatch):
    stopped(monkeypatch, KeyboardInterrupt())
    other = fastlstm.LSTM(MODEL.layers, head=(2 * MODEL.head[0].weight, MODEL.head[0].bias))
    with pytest.raises(ValueError, match=r"cannot resume .*model has changed"):
        fastlstm.score(other, "x.npy", "y.npy", resume=True, **OPTIONS)


def test_bad_rows_may_be_treated_otherwise_while_none_was_met(monkeypatch):
    """A run over night that meets its first bad row need not begin anew."""
    expected = uninterrupted()
    with pytest.raises(ValueError, match="sequence 200 is bad"):
        score(on_bad_row="error")
    assert score(resume=True, on_bad_row="skip").resumed > 0
    assert results() == expected
    stopped(monkeypatch, KeyboardInterrupt(), chunk=7)
    with pytest.raises(
        ValueError, match=r'on_bad_row="nan": so far .*"skip" was applied to 1 bad row;'
    ):
        score(resume=True, on_bad_row="nan")


def test_a_second_run_at_one_destination_refuses():
    reader, writer = os.pipe()

    def wait():
        journal = partial.Partial(Path("y.npy").absolute(), {}, False, False)
        os.write(writer, b"locked")
        time.sleep(60)
        journal.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            wait()
        finally:
            os._exit(0)
    assert os.read(reader, 6) == b"locked"
    try:
        for options in ({}, {"resume": True}, {"restart": True}):
            with pytest.raises(BlockingIOError, match="another run is writing"):
                score(**options)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    score()  # the lock went with its holder
    results()


def test_a_damaged_journal_is_told(monkeypatch):
    stopped(monkeypatch, KeyboardInterrupt())
    (FOLDER / "journal.json").write_text("{")
    with pytest.raises(ValueError, match=r"journal.json is damaged; restart=True throws"):
        score(resume=True)


def edited(change: Callable[[dict], object], sealed: bool = True) -> None:
    """Change the journal, with a digest that fits."""
    journal = json.loads((FOLDER / "journal.json").read_bytes())
    change(journal)
    digest = journal.pop("digest", None)
    journal["digest"] = partial._digest(journal) if sealed else digest
    (FOLDER / "journal.json").write_text(json.dumps(journal))


def put(**entries: object) -> Callable[[dict], object]:
    return lambda journal: journal.update(entries)


TAMPERED = {
    "no identity": lambda journal: journal.pop("identity"),
    "no position": lambda journal: journal.pop("position"),
    "no bad rows": lambda journal: journal.pop("bad"),
    "odd bad rows": put(bad={"x": 1}),
    "a far position": put(position=10**30),
    "a position before the first": put(position=-5),
    "text as position": put(position="x"),
    "a deep position": put(position=[[[[[[0]]]]]]),
    "fewer read than none": put(read=-7),
    "fewer written than read": put(written=3),
    "more than there are": put(read=10**9, written=10**9),
    "no sizes": put(sizes={}),
    "sizes of other files": put(sizes={"score.npy": 128, "other.npy": 128}),
    "a size beyond the file": put(sizes=dict.fromkeys(["score.npy", "h_n.npy", "c_n.npy"], 2**62)),
    "a size of half a header": put(sizes=dict.fromkeys(["score.npy", "h_n.npy", "c_n.npy"], 5)),
    "a negative size": put(sizes={"score.npy": -5}),
    "text as size": put(sizes={"score.npy": "x"}),
    "a name that leads elsewhere": put(sizes={"../victim": 1}),
    "moving, and is not finished": put(moving=True),
    "moving somebody's file": put(moving=True, finished={"../victim": 6}),
    "moving is a word": put(moving="yes"),
    "an unknown policy": put(on_bad_row="ignore"),
}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_journal_that_was_changed_by_hand_is_refused(monkeypatch, change, sealed):
    stopped(monkeypatch, KeyboardInterrupt())
    Path("victim").write_text("victim")
    edited(change, sealed)
    with pytest.raises(ValueError, match="restart"):
        score(resume=True)
    assert Path("victim").read_text() == "victim"
    assert not list(Path().glob("y*.npy"))
    score(restart=True)
    results()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "1" * 5000, '{"version": 1}'])
def test_a_journal_that_is_none_is_refused(monkeypatch, text):
    stopped(monkeypatch, KeyboardInterrupt())
    (FOLDER / "journal.json").write_text(text)
    with pytest.raises(ValueError, match="restart"):
        score(resume=True)


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.rename("elsewhere")
    path.symlink_to(Path("elsewhere").absolute())


@pytest.mark.parametrize("change", [gone, a_folder, a_link])
def test_a_partial_file_that_is_none_is_refused(monkeypatch, change):
    stopped(monkeypatch, KeyboardInterrupt())
    change(FOLDER / "score.npy")
    with pytest.raises(ValueError, match=r"score.npy is damaged: it is .*restart"):
        score(resume=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".zarr"])
def test_other_partial_files_are_checked_too(monkeypatch, suffix):
    """What was left holds other rows than the journal says, in as many bytes."""
    from fastlstm.scoring import scorer

    compute, seen = scorer.compute, []

    def failing(*arguments):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return compute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "compute", failing)
        with pytest.raises(KeyboardInterrupt):
            fastlstm.score(MODEL, "x.npy", f"y{suffix}", on_bad_row="skip")
    folder = Path(f"y{suffix}.partial")
    path = folder / ("score.csv" if suffix == ".csv" else "log")
    data = path.read_bytes()
    path.write_bytes(bytes(len(data)) if suffix == ".csv" else data[:8] + bytes(len(data) - 8))
    with pytest.raises(ValueError, match=rf"{path.name} is damaged: .*restart"):
        fastlstm.score(MODEL, "x.npy", f"y{suffix}", on_bad_row="skip", resume=True)


def test_a_partial_folder_that_is_none_is_refused():
    FOLDER.write_text("")
    with pytest.raises(FileExistsError, match="is a link or a file"):
        score(resume=True)
    FOLDER.unlink()
    Path("elsewhere").mkdir()
    for target in ("elsewhere", "nowhere"):
        FOLDER.symlink_to(target)
        with pytest.raises(FileExistsError, match="is a link or a file"):
            score(resume=True)
        FOLDER.unlink()
    score()


def finished_and_stopped(monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(partial.Partial, "move", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score()
    assert finished()


def test_finished_files_that_were_changed_are_not_moved(monkeypatch):
    finished_and_stopped(monkeypatch)
    os.truncate(FOLDER / "score.npy", 200)
    with pytest.raises(ValueError, match=r"y.npy.partial is damaged: expected .* bytes of"):
        score(resume=True)
    (FOLDER / "score.npy").unlink()
    with pytest.raises(ValueError, match=r"is damaged: score.npy is missing"):
        score(resume=True)
    Path("y.npy").write_bytes(b"an older result")
    with pytest.raises(ValueError, match=r"is damaged: expected .* bytes of .*y.npy"):
        score(resume=True)
    assert Path("y.npy").read_bytes() == b"an older result"


def test_a_lock_that_cannot_be_removed_while_it_is_open(monkeypatch):
    """As on Windows: it is closed first, and another run may have taken it by then."""
    unlink = Path.unlink
    held: list[partial.Partial] = []

    def refusing(self, missing_ok=False):
        if self.name == "lock" and not journal.lock.closed:
            raise PermissionError(13, "it is in use", str(self))
        if self.name == "lock" and held:
            raise PermissionError(13, "it is in use by another process", str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    journal = partial.Partial(Path("y.npy").absolute(), {}, False, False)
    journal.discard()
    assert not FOLDER.exists()
    journal = partial.Partial(Path("y.npy").absolute(), {}, False, False)
    held.append(journal)
    (FOLDER / "theirs").write_text("")
    partial._unlock(FOLDER, journal.lock)
    assert (FOLDER / "theirs").exists()
    assert (FOLDER / "lock").exists()


def test_a_folder_that_vanishes_before_its_lock_is_opened(monkeypatch):
    mkdir = Path.mkdir

    def vanishing(self, *arguments, **options):
        mkdir(self, *arguments, **options)
        if self.name.endswith(".partial"):
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", vanishing)
    with pytest.raises(BlockingIOError, match="another run is writing"):
        score()


def test_a_damaged_partial_file_is_told(monkeypatch):
    stopped(monkeypatch, KeyboardInterrupt())
    os.truncate(FOLDER / "score.npy", 200)
    with pytest.raises(ValueError, match=r"score.npy is damaged: expected .* found 200"):
        score(resume=True)


def test_an_older_result_stays_until_the_new_one_is_complete(monkeypatch):
    Path("y.npy").write_bytes(b"old")
    stopped(monkeypatch, KeyboardInterrupt())
    assert Path("y.npy").read_bytes() == b"old"
    score(resume=True)
    assert np.load("y.npy").shape == (402, 9, 2)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder closed even to root")
def test_a_folder_that_cannot_be_written_is_told():
    with pytest.raises(OSError, match=r"/sys/kernel/y.npy.partial"):
        fastlstm.score(MODEL, "x.npy", "/sys/kernel/y.npy")


@pytest.mark.full
@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_command_killed_at_random_moments(moments):
    """The real command, in a process of its own, killed from outside; the moments are printed."""
    rng = np.random.default_rng(1)
    np.save("long.npy", rng.normal(size=(400_000, 50, 2)).astype("float32"))
    command = [sys.executable, "-m", "fastlstm", "score", "long.npy", "--model", "m.npz"]
    command += ["-o", "y.npy", "--memory", "1GB", "--return-sequences"]
    subprocess.run(command, check=True, timeout=300)  # it also fills the cache of kernels
    started = time.monotonic()
    subprocess.run(command, check=True, timeout=300)
    seconds = time.monotonic() - started
    expected = results()
    Path("y.npy").unlink()
    for _ in range(moments):
        moment = random.uniform(0.3, 1.0) * seconds
        run = subprocess.Popen(command)
        try:
            run.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        print(f"killed after {moment:.3f} of {seconds:.3f} s: {run.returncode}")
        assert not FOLDER.exists() or not Path("y.npy").exists()
        subprocess.run([*command, "--resume"], check=True, timeout=300)
        assert results() == expected
        Path("y.npy").unlink()
