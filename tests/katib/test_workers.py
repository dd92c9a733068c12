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
    """A traceback without the frames of what started the program: these differ."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("Traceback"):
            own = [
                n
                for n, one in enumerate(lines)
                if n > number
                and "runpy" not in one
                and "forks.py" not in one
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
def test_a_fork_says_and_returns_what_a_fresh_process_does(behaviour, folder):
    argv = ["python", "-m", behaviour, "--x=1", "two words"]
    server = workers.Server({"COLOUR": "blue"}, behaviour, folder)
    forked = finish(server.start(argv, folder))
    server.close()
    fresh = finish(workers.Fresh({"COLOUR": "blue"}).start(argv, folder))
    assert forked[1] == fresh[1]
    assert without_frames(forked[0]) == without_frames(fresh[0])


def test_a_program_that_is_no_python_module_is_started_too(server, tmp_path):
    assert finish(
        server.start(["sh", "-c", "pwd; echo $COLOUR $SIZE; exit 3"], tmp_path, {"SIZE": "big"})
    ) == (f"{tmp_path}\nblue big\n", 3)
    text, code = finish(server.start(["no-such-program"]))
    assert (text, code) == ("no-such-program: No such file or directory\n", 127)


def trials(
    folder: Path, module: str, *environments: dict[str, str]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """What two trials of a program say and return, in forks and as the plain command."""
    argv, given = ["python", "-m", module], environments or ({}, {})
    server = workers.Server({}, module, folder)
    try:
        forked = [finish(server.start(argv, folder, one)) for one in given]
    finally:
        server.close()
    return forked, [finish(workers.Fresh({}).start(argv, folder, one)) for one in given]


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


INTERVAL = "tqdm.tqdm([], disable=False, file=__import__('io').StringIO()).mininterval"
"""What the library reads from TQDM_MININTERVAL when it is imported."""
IS_FORK = "'forks.py' in open('/proc/self/cmdline').read()"


def test_a_program_is_a_fork_in_which_its_libraries_are_imported(tmp_path):
    """The plain command imports them itself, so what they print stands in both logs."""
    write(tmp_path, program=f"import sys\nprint('tqdm' in sys.modules, {IS_FORK})\nimport tqdm\n")
    assert trials(tmp_path, "program") == ([("True True\n", 0)] * 2, [("False False\n", 0)] * 2)


def test_a_variable_that_a_module_reads_when_it_is_imported_is_each_trials_own(tmp_path):
    write(tmp_path, own="import os\nLR = os.environ['LR']\n", program="import own\nprint(own.LR)\n")
    forked, plain = trials(tmp_path, "program", {"LR": "0.1"}, {"LR": "0.2"})
    assert forked == plain == [("0.1\n", 0), ("0.2\n", 0)]


def test_a_variable_that_a_library_reads_when_it_is_imported_is_each_trials_own(tmp_path):
    """A library that the server has imported without the variable: so it is not a fork."""
    source = f"import tqdm\nprint({INTERVAL}, {IS_FORK})\n"
    write(tmp_path, program=source)
    given = [{"TQDM_MININTERVAL": "7", "KATIB_TRIAL_NAME": "a"}, {"TQDM_MININTERVAL": "8"}]
    forked, plain = trials(tmp_path, "program", *given)
    assert forked == plain == [("7.0 False\n", 0), ("8.0 False\n", 0)]
    # the trial's name alone, which no library reads, is no reason
    assert trials(tmp_path, "program", {"KATIB_TRIAL_NAME": "a"})[0] == [("0.1 True\n", 0)]


@pytest.mark.parametrize("line", [
    "os.environ['TQDM_MININTERVAL'] = '5'",
    "os.environ.setdefault('TQDM_MININTERVAL', '5')",
    "os.environ.update(TQDM_MININTERVAL='5')",
    "[os.environ.__setitem__('TQDM_MININTERVAL', str(5))]",
])  # fmt: skip
def test_a_variable_that_the_program_sets_before_an_import_is_set(tmp_path, line):
    source = (
        f"import os\nprint('TQDM_MININTERVAL' in os.environ)\n{line}\nimport tqdm\n"
        f"print({INTERVAL})\n"
    )
    write(tmp_path, program=source)
    forked, plain = trials(tmp_path, "program")
    assert forked == plain == [("False\n5.0\n", 0)] * 2


def test_what_a_module_makes_when_it_is_imported_is_each_trials_own(tmp_path):
    write(
        tmp_path,
        own=(
            "import random, tempfile, uuid\nimport numpy.random\n"
            "MADE = uuid.uuid4(), tempfile.mkdtemp(), random.random(), numpy.random.rand(),"
            " numpy.random.default_rng().random()\n"
        ),
        program="import own\nprint(*own.MADE)\n",
    )
    forked, plain = trials(tmp_path, "program")
    made = [text.split() for text, _ in forked + plain]
    assert [len(one) for one in made] == [5] * 4
    assert all(len(set(same)) == 4 for same in zip(*made, strict=True))
    for one in made:
        Path(one[1]).rmdir()


def test_an_import_in_a_function_that_is_never_called_is_not_executed(tmp_path):
    write(
        tmp_path,
        never="open('never.txt', 'w')\nprint('never')\n",
        program="def late():\n    import never\nprint('done')\n",
    )
    forked, plain = trials(tmp_path, "program")
    assert forked == plain == [("done\n", 0)] * 2
    assert not (tmp_path / "never.txt").exists()


def test_a_thread_pool_made_when_a_module_is_imported_works(tmp_path):
    write(
        tmp_path,
        own=(
            "from concurrent.futures import ThreadPoolExecutor\nPOOL = ThreadPoolExecutor(2)\n"
            "POOL.submit(int).result()\n"
        ),
        program="import own\nprint(sum(own.POOL.map(abs, [-1, -2])))\n",
    )
    forked, plain = trials(tmp_path, "program")
    assert forked == plain == [("3\n", 0)] * 2


def test_a_neighbour_with_the_name_of_a_module_that_the_server_has_is_imported(tmp_path):
    write(
        tmp_path,
        socket="WHERE = 'mine'\n",
        tqdm="WHERE = 'mine'\n",
        program="import socket, tqdm\nprint(socket.WHERE, tqdm.WHERE)\n",
    )
    forked, plain = trials(tmp_path, "program")
    assert forked == plain == [("mine mine\n", 0)] * 2


def test_what_a_library_prints_when_it_is_imported_stands_in_each_log(tmp_path):
    """Here it is this Python's own poem, and a library that is not there."""
    write(tmp_path, program="import this\ntry:\n    import nowhere\nexcept ImportError: pass\n")
    forked, plain = trials(tmp_path, "program")
    assert forked == plain
    assert "Beautiful is better than ugly." in forked[0][0]


def test_the_server_says_nothing_and_does_not_run_the_program(tmp_path, capfd):
    write(tmp_path, program="open('ran.txt', 'w')\nimport this\n")
    server = workers.Server({}, "program", tmp_path)
    assert finish(server.start(["true"])) == ("", 0)
    server.close()
    assert not (tmp_path / "ran.txt").exists()
    assert capfd.readouterr() == ("", "")


def test_a_trial_cannot_reach_what_its_exit_code_is_told_on(tmp_path):
    """It once could write its own code, with a descriptor that it had inherited."""
    source = (
        "import os, sys\n"
        "others = [int(one) for one in os.listdir('/proc/self/fd') if int(one) > 2]\n"
        "for one in others:\n"
        "    try:\n        os.write(one, b'0\\n')\n        print('reached', one)\n"
        "    except OSError:\n        pass\n"
        "sys.exit(7)\n"
    )
    write(tmp_path, program=source)
    server = workers.Server({}, "program", tmp_path)
    running = server.start(["sleep", "300"])
    for argv in (["python", "-m", "program"], ["python", "program.py"]):
        assert finish(server.start(argv, tmp_path)) == ("", 7)
    assert finish(server.start(["sh", "-c", "ls /proc/self/fd | wc -l"])) == ("4\n", 0)
    running.end()
    assert running.wait() == -signal.SIGTERM
    server.close()


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
    gone([child, program.pid])
    assert program.wait() == -signal.SIGKILL


DETACHED = """
import os, sys, time
if os.fork():
    os.wait()
    sys.exit(3)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(300)
"""
"""A daemon: of another session, without a parent, and with the program's output."""


@pytest.mark.parametrize("argv", [["python", "-m", "program"], ["python", "program.py"]])
def test_a_daemon_does_not_hold_the_trial_that_left_it_and_is_ended(argv, tmp_path):
    write(tmp_path, program=DETACHED)
    server = workers.Server({}, "program", tmp_path)
    other = server.start(["sleep", "300"])
    began = time.monotonic()
    text, code = finish(server.start(argv, tmp_path))
    assert code == 3
    if text:  # it may have been ended before it said its number
        gone([int(text)])
    assert time.monotonic() - began < 10
    assert psutil.pid_exists(other.pid)  # another trial's processes are let alone
    server.close()
    gone([other.pid])


def test_a_daemon_is_asked_to_end_with_the_trial_that_runs(tmp_path):
    write(tmp_path, program=DETACHED.replace("os.wait()\n", "os.wait(); time.sleep(300)\n"))
    server = workers.Server({}, "program", tmp_path)
    program = server.start(["python", "-m", "program"], tmp_path)
    daemon = int(next(program.lines(patience=60)))
    assert psutil.pid_exists(daemon)
    program.end()
    assert program.wait() == -signal.SIGTERM
    gone([daemon])
    server.close()


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


@pytest.mark.slow
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


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)):
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.01)
