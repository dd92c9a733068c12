"""A program that is run here: its lines, its end, and what it may cost us."""

import os
import signal
import sys
import time

import psutil
import pytest

from kubeflow_workshop import process

pytestmark = pytest.mark.skipif(not process.GROUPS, reason="the programs are shell scripts")


def shell(script: str) -> process.Program:
    return process.start(["sh", "-c", script])


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


def test_lines_come_as_they_are_written_and_nothing_is_lost():
    program = shell(
        "echo one; sleep 0.2; printf 'two\\r\\nthree\\rfour\\nfive'; printf '\\303\\244\\377'"
    )
    assert "".join(program.lines(0.05)) == "one\ntwo\nthree\nfour\nfiveä\ufffd"
    assert program.wait() == 0


def test_a_line_without_an_end_comes_in_pieces_that_make_it_up():
    program = shell("head -c 1000000 /dev/zero | tr '\\0' a; echo; echo end")
    lines = [line for line in program.lines(1) if line]
    assert max(map(len, lines)) == process.LONGEST
    assert "".join(lines) == "a" * 1_000_000 + "\nend\n"


def test_a_program_whose_lines_nobody_reads_waits():
    program = shell("yes | head -c 5000000; echo ready >&2")
    next(program.lines(5))
    time.sleep(0.5)  # long enough to write it all
    assert psutil.Process(program.pid).status() != psutil.STATUS_ZOMBIE
    assert sum(map(len, program.lines(5))) == 5_000_000 + len("ready\n") - len("y\n")
    assert program.wait() == 0


def test_it_has_ended_when_its_process_has_though_something_holds_its_output():
    program = shell("echo $$; setsid sleep 300 & echo $!; sleep 0.5; echo last")
    began = time.monotonic()
    said = [line for line in program.lines(0.1) if line]
    assert said[-1] == "last\n"
    assert program.wait() == 0
    assert time.monotonic() - began < 20
    os.kill(int(said[1]), signal.SIGKILL)


def test_what_floods_its_output_after_its_end_is_not_read_for_ever():
    program = shell("setsid yes & echo $!; exit 4")
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
    program = shell(f'setsid sh -c "{stray.replace("$", chr(92) + "$")}" & sleep 300')
    child = psutil.Process(int(next(program.lines(30))))
    program.end()
    assert list(filter(None, program.lines(1))) == []
    assert program.wait() == -signal.SIGTERM
    child.wait(10)


def test_a_program_that_is_not_there_is_an_error_and_leaves_nothing_open():
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with pytest.raises(FileNotFoundError):
        process.start(["no-such-program"])
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_what_a_program_leaves_behind_neither_lives_nor_holds_the_output():
    program = process.start(["sh", "-c", "sleep 300 & echo $!"])
    (child,) = program.lines(patience=60)
    assert program.wait() == 0
    gone(int(child))
