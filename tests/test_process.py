"""A program that is run here: what it prints, how it ends, and that nothing of it stays."""

import os
import signal
import sys
import threading
import time

import psutil
import pytest

from kubeflow_workshop import process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")


def gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.01)


def test_a_program_says_and_returns_what_it_does(tmp_path):
    program = process.start(
        ["sh", "-c", "pwd; echo $COLOUR >&2; exit 3"], tmp_path, {"COLOUR": "blue"}
    )
    assert list(program.lines(patience=60)) == [f"{tmp_path}\n", "blue\n"]
    assert program.wait() == 3


def test_python_is_the_one_that_has_the_courses_libraries():
    program = process.start(["python", "-c", "import sys; print(sys.executable)"])
    (line,) = program.lines(patience=60)
    assert os.path.samefile(line.strip(), sys.executable)
    assert program.wait() == 0


def test_a_program_that_is_not_here_leaves_no_pipe_open(tmp_path):
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        process.start(["no-such-program"])
    assert psutil.Process().num_fds() == before


def test_what_a_program_leaves_behind_neither_lives_nor_holds_the_output():
    program = process.start(["sh", "-c", "sleep 300 & echo $!"])
    (child,) = program.lines(patience=60)
    assert program.wait() == 0
    gone(int(child))


def test_the_end_reaches_a_child_that_has_left_the_group():
    code = (
        "import subprocess as s, time\n"
        "print(s.Popen(['sleep', '300'], start_new_session=True, stdout=s.DEVNULL).pid, flush=True)\n"
        "time.sleep(300)"
    )
    program = process.start(["python", "-c", code])
    lines = program.lines(patience=60)
    child = int(next(lines))
    program.end()
    assert list(lines) == []
    assert program.wait() == -signal.SIGTERM
    gone(child)


def test_a_line_without_end_comes_in_pieces(monkeypatch):
    monkeypatch.setattr(process, "LONGEST", 10)
    program = process.start(["sh", "-c", "printf 'a%.0s' $(seq 25)"])
    assert list(program.lines(patience=60)) == ["a" * 10, "a" * 10, "a" * 5]
    assert program.wait() == 0


def test_a_program_that_nobody_reads_waits_and_is_ended_all_the_same(monkeypatch):
    """Only a few lines are kept; the rest stays in the pipe, which is full in the end."""
    monkeypatch.setattr(process, "LINES", 5)
    program = process.start(["yes"])
    deadline = time.monotonic() + 60
    while psutil.Process(program.pid).status() != psutil.STATUS_SLEEPING:
        assert time.monotonic() < deadline, "it still writes"
        time.sleep(0.01)
    program.end()
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(program.wait()))
    waiting.start()
    waiting.join(60)
    assert ended == [-signal.SIGTERM]
    assert list(program.lines(patience=60))[:5] == ["y\n"] * 5
