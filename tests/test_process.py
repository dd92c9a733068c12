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


def test_a_program_that_nobody_reads_waits_and_is_ended_all_the_same():
    """Only some of it is kept; the rest stays in the pipe, which is full in the end."""
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


def test_lines_come_as_they_are_written_and_nothing_is_lost():
    program = process.start(
        [
            "sh",
            "-c",
            "echo one; sleep 0.2; printf 'two\\r\\nthree\\rfour\\nfive'; printf '\\303\\244\\377'",
        ]
    )
    assert "".join(program.lines(0.05)) == "one\ntwo\nthree\nfour\nfiveä\ufffd"
    assert program.wait() == 0


@pytest.mark.slow
def test_a_program_whose_lines_nobody_reads_waits():
    program = process.start(["sh", "-c", "yes | head -c 5000000; echo ready >&2"])
    next(program.lines(5))
    time.sleep(0.5)  # long enough to write it all
    assert psutil.Process(program.pid).status() != psutil.STATUS_ZOMBIE
    assert sum(map(len, program.lines(5))) == 5_000_000 + len("ready\n") - len("y\n")
    assert program.wait() == 0


def test_it_has_ended_when_its_process_has_though_something_holds_its_output():
    program = process.start(
        ["sh", "-c", "echo $$; setsid sleep 300 & echo $!; sleep 0.5; echo last"]
    )
    began = time.monotonic()
    said = [line for line in program.lines(0.1) if line]
    assert said[-1] == "last\n"
    assert program.wait() == 0
    assert time.monotonic() - began < 20
    os.kill(int(said[1]), signal.SIGKILL)


def test_what_floods_its_output_after_its_end_is_not_read_for_ever():
    program = process.start(["sh", "-c", "setsid yes & echo $!; exit 4"])
    began, said = time.monotonic(), ""
    for line in program.lines(0.1):
        said = said or line
    assert program.wait() == 4
    assert time.monotonic() - began < 20
    # its reader is gone, and so is it
    psutil.wait_procs([psutil.Process(int(said))] if psutil.pid_exists(int(said)) else [], 10)
    assert not psutil.pid_exists(int(said))


def test_the_end_reaches_what_left_the_group_and_does_not_listen(monkeypatch):
    monkeypatch.setattr(process, "GRACE", 0.3)
    stray = "trap '' TERM; echo $$; while true; do sleep 0.05; done"
    program = process.start(
        ["sh", "-c", f'setsid sh -c "{stray.replace("$", chr(92) + "$")}" & sleep 300']
    )
    child = psutil.Process(int(next(program.lines(30))))
    program.end()
    assert list(filter(None, program.lines(1))) == []
    assert program.wait() == -signal.SIGTERM
    child.wait(10)
