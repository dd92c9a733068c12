"""A forked program behaves as a fresh process does, and nothing outlives the one who asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kubeflow_workshop import process
from kubeflow_workshop.katib import workers
from kubeflow_workshop.process import Program

pytestmark = pytest.mark.skipif(
    not workers.CAN_FORK, reason="this system has no fork, and no server"
)

BEHAVIOURS = {
    "prints": "print('out'); import sys; print('err', file=sys.stderr)",
    "exits": "import sys; sys.exit(7)",
    "exits_with_text": "import sys; sys.exit('sorry')",
    "exits_with_none": "raise SystemExit",
    "exits_hard": "import os; print('last', flush=True); os._exit(9)",
    "raises": "raise ValueError('wrong value')",
    "raises_oserror": "open('/no/such/file')",
    "fails_to_import": "import no_such_module",
    "is_killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "says_goodbye": (
        "import atexit; word = 'bye'; atexit.register(lambda: print(word)); print('hello')"
    ),
    "does_not_flush": "import sys; sys.stdout.write('no newline')",
    "has_a_thread": (
        "import threading, time; threading.Timer(0.05, print, ['from the thread']).start()"
    ),
    "knows_itself": (
        "import sys, os; print(__name__, sys.argv, sys.path[0], os.getcwd(), __file__,"
        " sys.modules['__main__'].__file__, __spec__.name)"
    ),
    "reads_nothing": "import sys; print(repr(sys.stdin.read()))",
    "sees_environment": "import os; print(os.environ['COLOUR'], os.environ['OMP_NUM_THREADS'])",
    "imports_a_neighbour": "import neighbour; print(neighbour.WHERE)",
    "pickles": (
        "import pickle\nclass Thing:"
        " pass\nprint(type(pickle.loads(pickle.dumps(Thing()))).__module__)"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("programs")
    for name, text in BEHAVIOURS.items():
        (made / f"{name}.py").write_text(text + "\n")
    (made / "neighbour.py").write_text("WHERE = __file__\n")
    return made


def finish(program: Program) -> tuple[str, int]:
    text = "".join(program.lines(patience=0.1))
    return text, program.wait()


def without_frames(text: str) -> list[str]:
    """A traceback without the frames of whoever started the program: these differ."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("Traceback"):
            own = [
                n
                for n, one in enumerate(lines)
                if n > number
                and "runpy" not in one
                and "workers.py" not in one
                and one.startswith("  File")
            ]
            return [*lines[: number + 1], *lines[own[0] :]] if own else lines
    return lines


@pytest.fixture(scope="module")
def server(folder):
    made = workers.Server({"COLOUR": "blue"}, folder=folder)
    yield made
    made.close()


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_fork_says_and_returns_what_a_fresh_process_does(behaviour, folder, server):
    argv = ["python", "-m", behaviour, "--x=1", "two words"]
    forked = finish(server.start(argv, folder))
    fresh = finish(workers.Fresh({"COLOUR": "blue"}).start(argv, folder))
    assert forked[1] == fresh[1]
    assert without_frames(forked[0]) == without_frames(fresh[0])


def test_a_program_that_is_no_python_module_is_started_too(server, tmp_path):
    assert finish(
        server.start(["sh", "-c", "pwd; echo $COLOUR $SIZE; exit 3"], tmp_path, {"SIZE": "big"})
    ) == (f"{tmp_path}\nblue big\n", 3)
    text, code = finish(server.start(["no-such-program"]))
    assert (text, code) == ("no-such-program: No such file or directory\n", 127)


def test_each_fork_has_random_numbers_of_its_own(tmp_path):
    (tmp_path / "draws.py").write_text(
        "import random\nimport numpy.random\nprint(random.random(), numpy.random.rand(),"
        " numpy.random.default_rng().random())\n"
    )
    server = workers.Server({}, "draws", folder=tmp_path)
    lines = [finish(server.start(["python", "-m", "draws"], tmp_path))[0].split() for _ in range(2)]
    server.close()
    assert all(first != second for first, second in zip(*lines, strict=True))


def test_the_server_imports_what_the_module_imports_late_and_never_runs_it(tmp_path, capfd):
    (tmp_path / "trainer.py").write_text(
        "print('training')\nfrom typing import TYPE_CHECKING\nimport part\nif TYPE_CHECKING:\n   "
        " import only_types\ndef late():\n    import colorsys\nimport sys\nprint('colorsys' in"
        " sys.modules, 'part' in sys.modules, part.PID != __import__('os').getpid())\n"
    )
    (tmp_path / "part.py").write_text("import os\nPID = os.getpid()\nprint('part is imported')\n")
    server = workers.Server({}, "trainer", folder=tmp_path)
    assert finish(server.start(["python", "-m", "trainer"], tmp_path)) == (
        "training\nTrue True True\n",
        0,
    )
    server.close()
    assert capfd.readouterr().out == ""  # what is imported has no say on our standard output


def test_what_is_imported_is_read_from_the_source(tmp_path, monkeypatch):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("from pack import model\nimport json\n")
    (package / "model.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import wave\ndef late():\n   "
        " import colorsys\nimport pack.train\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = workers.imports("pack.train")
    assert {"pack", "pack.model", "json", "colorsys"} <= set(found)
    assert not {"pack.train", "wave"} & set(found)
    assert workers.imports("no_such_module") == []


def test_the_end_reaches_whatever_the_program_started(server):
    program = server.start(["sh", "-c", "sleep 300 & echo $!; sleep 300 & echo $!; wait"])
    lines = program.lines(patience=5)
    children = [int(next(lines)) for _ in range(2)]
    assert all(psutil.pid_exists(child) for child in children)
    program.end()
    assert list(lines) == []
    assert program.wait() == -signal.SIGTERM
    gone(children)


def test_a_program_that_does_not_listen_is_ended_all_the_same(server, monkeypatch):
    monkeypatch.setattr(process, "GRACE", 0.2)
    program = server.start(
        ["sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.05; done"]
    )
    lines = program.lines(patience=5)
    assert next(lines) == "ready\n"
    program.end()
    assert program.wait() == -signal.SIGKILL


def test_what_a_program_leaves_behind_is_ended(server):
    text, code = finish(server.start(["sh", "-c", "sleep 300 & echo $!"]))
    assert code == 0
    gone([int(text)])


def test_closing_the_server_ends_its_programs():
    server = workers.Server({})
    program = server.start(["sh", "-c", "sleep 300 & echo $!; wait"])
    child = int(next(program.lines(patience=5)))
    server.close()
    gone([child, program._process.pid])
    assert program.wait() == -signal.SIGKILL


def test_the_death_of_the_one_who_asked_ends_all():
    asking = """
import time
from kubeflow_workshop.katib.workers import Server
server = Server({})
program = server.start(["sh", "-c", "echo $$; sleep 300"])
print(next(program.lines(5)), flush=True)
time.sleep(300)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    trial = int(parent.stdout.readline())
    family = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
    assert trial in family
    parent.kill()
    parent.wait()
    parent.stdout.close()
    gone(family)


def test_a_server_that_is_gone_says_so():
    server = workers.Server({})
    server._process.kill()
    server._process.wait()
    with pytest.raises(workers.ServerGoneError):
        server.start(["true"])
    server.close()


def test_the_module_of_a_command_is_known_if_the_python_is_this_one():
    assert workers.module_of(["python", "-m", "a.b", "--x"]) == "a.b"
    assert workers.module_of([sys.executable, "-m", "a"]) == "a"
    for argv in (
        ["python", "a.py"],
        ["sh", "-m", "a"],
        ["no-such-python", "-m", "a"],
        ["python", "-m"],
        ["python", "-u", "-m", "a"],
    ):
        assert workers.module_of(argv) is None


def test_the_training_program_gives_the_same_numbers_in_a_fork():
    """Notebook 05: the numbers are identical to the plain command."""
    module = "kubeflow_workshop.stock.train"
    argv = ["python", "-m", module, "--start=2012-03-01", "--epochs=3", "--window=3", "--units=4"]
    server = workers.Server({}, module)
    forked = finish(server.start(argv, Path.cwd()))
    server.close()
    assert forked[1] == 0, forked[0]
    assert "Validation-MAE=" in forked[0]
    assert forked == finish(workers.Fresh({}).start(argv, Path.cwd()))


def gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    ):
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.01)
