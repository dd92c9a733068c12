"""A process that has imported libraries, and runs programs as forks of itself: a trial need not
import TensorFlow again. Another process starts this file by its path, and asks.

Notebook 05 says what this saves. A program must not notice it, so this process imports *installed
libraries* and nothing else: no module of the program's own, and nothing that lies in its folder.
Which libraries these are is read from the program's source, without running it. So this file is for
itself: it imports nothing of the course, which is a program's own package, too.

Where a fork could be told from a fresh process, the program starts as a fresh process.
"""

import sys

_AT_START = frozenset(sys.modules)
"""What each Python has imported before its program begins."""

import ast  # noqa: E402
import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import select  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import site  # noqa: E402
import socket  # noqa: E402
import sysconfig  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Iterable, Iterator, Sequence  # noqa: E402
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes  # noqa: E402
from pathlib import Path  # noqa: E402

ENDINGS = tuple(ending[1:] for ending in all_suffixes())
"""Of the files of modules."""
Step = tuple[str, ...]
"""What is done before a program: `("import", MODULE)`, `("from", MODULE, NAME)`, `("set", VARIABLE,
VALUE)`, or `("default", VARIABLE, VALUE)`, which sets a variable that is not set.
"""


def module_of(argv: Sequence[str], path: str | None = None) -> str | None:
    """The module that a command `python -m MODULE …` runs, if the `python`, looked up in `path`, is
    this one.
    """
    found = shutil.which(argv[0], path=path)
    if len(argv) > 2 and argv[1] == "-m" and found and os.path.samefile(found, sys.executable):
        return argv[2]
    return None


# --- which libraries a program imports


def steps(module: str, folder: str | Path) -> list[Step]:
    """What can be done before `python -m MODULE` runs in a folder, without a difference to it: the
    installed libraries that it imports when it is imported, in that order, and the variables that
    it sets before. The program's source is read, and that of its own modules; nothing is run.

    Imports inside a function or under a condition are left to the program, but for two: what stands
    under `if __name__ == "__main__"`, and the libraries that `if TYPE_CHECKING` names. These last
    a program imports late; they come last here.

    Returns:
        The steps; an empty list if a module sets variables in a way that cannot be read.
    """
    reader = _Reader(module, folder)
    with contextlib.suppress(_UnreadableError):
        reader.run(module)
        for name in reader.late:
            reader.step("import", name)
    return reader.made if reader.variables_are_known() else []


class _UnreadableError(Exception):
    """From here on, what a program does cannot be read."""


class _MissingError(_UnreadableError):
    """A module is not there."""


class _Reader:
    """Reads modules in the order in which a program imports them."""

    def __init__(self, module: str, folder: str | Path):
        self._package = module.partition(".")[0]
        self._path = [str(folder), *sys.path]
        self._roots = _roots()
        self.made: list[Step] = []
        self.late: list[str] = []
        self._read: dict[str, ast.Module] = {}  # the own modules that are certainly imported
        self._known: set[ast.AST] = set()  # the places that set a variable, and became a step

    def run(self, module: str) -> None:
        """Follow a program from its beginning to its end."""
        spec = self._spec(module)
        if spec and spec.submodule_search_locations is not None:
            self._import(module)
            module = f"{module}.__main__"
        self._import(module.rpartition(".")[0])
        self._follow(module, main=True)

    def step(self, *step: str) -> None:
        if step not in self.made:
            self.made.append(step)

    def variables_are_known(self) -> bool:
        """Whether no own module sets a variable but in a step: one that is imported late might do
        so before it imports a library.
        """
        waiting, seen = list(self._read), set()
        for name in waiting:
            if name in seen:
                continue
            seen.add(name)
            tree = self._read.get(name)
            if tree is None and (tree := self._source(name)) is None:
                return False
            if any(place not in self._known for place in _writes(tree)):
                return False
            waiting += [own for own in self._imported(tree, name) if self._is_own(own)]
        return True

    def _import(self, name: str) -> None:
        """Follow the import of a module, after those of the packages that it lies in."""
        parts = name.split(".") if name else []
        for length in range(1, len(parts) + 1):
            self._follow(".".join(parts[:length]))

    def _follow(self, name: str, main: bool = False) -> None:
        if name in self._read:
            return
        if (tree := self._source(name)) is None:
            raise _UnreadableError
        self._read[name] = tree
        self._body(tree.body, name, main)

    def _body(self, body: Iterable[ast.stmt], name: str, main: bool) -> None:
        for place in body:
            if _moves_modules(place):
                raise _UnreadableError
            match place:
                case ast.Import():
                    for alias in place.names:
                        self._one(alias.name)
                case ast.ImportFrom():
                    self._from(place, name)
                case ast.If():
                    test = ast.unparse(place.test)
                    if test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                        self._hint(place, name)
                    elif test in ("__name__ == '__main__'", "'__main__' == __name__"):
                        self._body(place.body if main else place.orelse, name, main)
                case ast.Try():
                    with contextlib.suppress(_MissingError):  # that is what the `try` is for
                        self._body(place.body, name, main)
                case ast.With() | ast.ClassDef():
                    self._body(place.body, name, main)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    pass
                case _:
                    self._other(place)

    def _one(self, name: str) -> None:
        if self._is_own(name):
            self._import(name)
        else:
            self._installed("import", name)

    def _installed(self, what: str, name: str, *part: str) -> None:
        top = name.partition(".")[0]
        if top not in sys.builtin_module_names and not self._spec(top):
            raise _MissingError
        self.step(what, name, *part)

    def _from(self, place: ast.ImportFrom, name: str) -> None:
        origin = self._origin(place, name)
        if not self._is_own(origin):
            for alias in place.names:
                self._installed("from", origin, alias.name)
            return
        self._import(origin)
        for alias in place.names:
            if self._spec(f"{origin}.{alias.name}"):
                self._import(f"{origin}.{alias.name}")

    def _hint(self, place: ast.If, name: str) -> None:
        for child in place.body:
            if isinstance(child, ast.Import):
                self.late += [one.name for one in child.names if not self._is_own(one.name)]
            elif isinstance(child, ast.ImportFrom):
                origin = self._origin(child, name)
                self.late += [] if self._is_own(origin) else [origin]

    def _other(self, place: ast.stmt) -> None:
        """A statement that imports nothing: does it set a variable?"""
        match place:
            case ast.Assign(
                targets=[ast.Subscript(value=where, slice=ast.Constant(str(variable)))],
                value=ast.Constant(str(value)),
            ) if _is_environ(where):
                self.step("set", variable, value)
                self._known.add(where)
            case ast.Expr(
                ast.Call(
                    func=ast.Attribute(value=where, attr="setdefault"),
                    args=[ast.Constant(str(variable)), ast.Constant(str(value))],
                )
            ) if _is_environ(where):
                self.step("default", variable, value)
                self._known.add(where)

    def _origin(self, place: ast.ImportFrom, name: str) -> str:
        """The whole name of the module that `from … import` names."""
        if not place.level:
            return place.module or ""
        spec = self._spec(name)
        package = name if spec and spec.submodule_search_locations is not None else _parent(name)
        for _ in range(place.level - 1):
            package = _parent(package)
        return f"{package}.{place.module}" if place.module else package

    def _imported(self, tree: ast.Module, name: str) -> Iterator[str]:
        """All modules that a module may import, whenever."""
        for place in ast.walk(tree):
            if isinstance(place, ast.Import):
                yield from (alias.name for alias in place.names)
            elif isinstance(place, ast.ImportFrom):
                origin = self._origin(place, name)
                yield origin
                yield from (
                    whole
                    for alias in place.names
                    if self._is_own(origin) and self._spec(whole := f"{origin}.{alias.name}")
                )

    def _is_own(self, name: str) -> bool:
        """Whether a module is the program's own: not the Python's, and not installed."""
        top = name.partition(".")[0]
        if top == self._package:
            return True
        if top in sys.builtin_module_names or top in _AT_START:
            return False
        spec = self._spec(top)
        if spec is None:  # not there: importing it is an error, which the program must see itself
            return False
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        return not all(
            any(Path(place).resolve().is_relative_to(root) for root in self._roots)
            for place in places
            if place
        )

    def _spec(self, name: str) -> ModuleSpec | None:
        """Where a module is, found without importing the packages that it lies in."""
        spec, path = None, self._path
        for length in range(1, name.count(".") + 2):
            part = ".".join(name.split(".")[:length])
            try:
                spec = PathFinder.find_spec(part, path)
                if spec is None and length == 1:  # an editable installation has a finder of its own
                    finders = [one for one in sys.meta_path if hasattr(one, "find_spec")]
                    found = (one.find_spec(part, None) for one in finders)
                    spec = next((one for one in found if one), None)
                if spec is None:
                    return None
                path = list(spec.submodule_search_locations or ())
            except Exception:  # a finder or a namespace that wants its package imported
                return None
        return spec

    def _source(self, name: str) -> ast.Module | None:
        spec = self._spec(name)
        if spec and spec.origin is None and spec.submodule_search_locations is not None:
            return ast.Module([], [])  # a namespace: it has no source
        if spec and spec.origin:
            with contextlib.suppress(Exception):  # it is no file, or no Python
                return ast.parse(Path(spec.origin).read_bytes())
        return None


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _roots() -> list[Path]:
    """Where this Python's own modules are, and those that are installed."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [sysconfig.get_path(name) for name in names]
    return [Path(one).resolve() for one in (*places, *site.getsitepackages(), _user_site()) if one]


def _user_site() -> str | None:
    return site.getusersitepackages() if site.ENABLE_USER_SITE else None


def _moves_modules(place: ast.stmt) -> bool:
    """Whether a statement that is run has to do with where modules are looked for."""
    if isinstance(place, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(
        isinstance(child, ast.Attribute)
        and child.attr == "path"
        and isinstance(child.value, ast.Name)
        and child.value.id == "sys"
        for child in ast.walk(place)
    )


def _is_environ(place: ast.AST) -> bool:
    return (isinstance(place, ast.Attribute) and place.attr == "environ") or (
        isinstance(place, ast.Name) and place.id == "environ"
    )


def _writes(tree: ast.AST) -> Iterator[ast.AST]:
    """The places of a module that may set a variable: each `environ` of which more is done than
    reading, and each call that sets variables.
    """
    for place in ast.walk(tree):
        for child in ast.iter_child_nodes(place):
            if _is_environ(child) and not _reads(place, child):
                yield child
    for place in ast.walk(tree):
        if isinstance(place, ast.Call):
            name = getattr(place.func, "attr", getattr(place.func, "id", ""))
            if name in ("putenv", "unsetenv", "load_dotenv"):
                yield place


def _reads(parent: ast.AST, environ: ast.AST) -> bool:
    """Whether what stands around an `environ` only reads it."""
    match parent:
        case ast.Attribute(attr="get" | "copy" | "items" | "keys" | "values"):
            return True
        case ast.Subscript(ctx=ast.Load()) | ast.Compare() | ast.BinOp() | ast.Dict():
            return True
        case ast.keyword(arg="env" | None):
            return True
        case ast.Call(func=ast.Name("dict" | "len" | "sorted" | "list")):
            return True
    return False


# --- the process


def _prepare(made: Sequence[Step]) -> bytes:
    """Do the steps; returns what the libraries printed, which each program is to say again."""
    with tempfile.TemporaryFile() as said:
        before = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(said.fileno(), number)
        try:
            for step in made:
                # a library that is not here, or cannot be imported: the program will say so
                with contextlib.suppress(Exception, SystemExit):
                    _do(*step)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            for number, old in enumerate(before, 1):
                os.dup2(old, number)
                os.close(old)
        said.seek(0)
        return said.read()


def _do(what: str, first: str, second: str = "") -> None:
    if what == "import":
        importlib.import_module(first)
    elif what == "from":
        module = importlib.import_module(first)
        if second != "*" and not hasattr(module, second):
            importlib.import_module(f"{first}.{second}")
    elif what == "set":
        os.environ[first] = second
    else:
        os.environ.setdefault(first, second)


class _Server:
    """Forks a program for each request, tells how each ended, and ends them all when nobody can ask
    any more.
    """

    def __init__(self, control: socket.socket, harmless: str, folder: str, module: str | None):
        self._control, self._harmless = control, harmless
        self._variables = dict(os.environ)
        made = steps(module, folder) if module else []
        self._said = _prepare(made)
        self._loaded = any(what in ("import", "from") for what, *_ in made)
        self._module = module
        self._running: dict[int, int] = {}  # programs: the channel to tell how each ended
        self._names = {name.partition(".")[0] for name in set(sys.modules) - _AT_START}
        self._alone = threading.active_count() == 1 and _threads() == 1

    def serve(self) -> None:
        waking, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _adopt_orphans()
        own = (self._control.fileno(), waking, wake)
        while True:
            ready, _, _ = select.select([self._control.fileno(), waking], [], [])
            if waking in ready:
                os.read(waking, 4096)
                self._reap()
            if self._control.fileno() in ready:
                message, descriptors = self._request()
                if not message:
                    break
                self._fork(message, descriptors, own)
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._running.clear()
        self._end_strays()

    def _request(self) -> tuple[dict, list[int]]:
        text = b""
        descriptors: list[int] = []
        while not text.endswith(b"\n"):
            part, more, _, _ = socket.recv_fds(self._control, 1 << 16, 2)
            if not part:
                return {}, []
            text, descriptors = text + part, descriptors + more
        return json.loads(text), descriptors

    def _fork(self, message: dict, descriptors: Sequence[int], own: Sequence[int]) -> None:
        output, channel = descriptors
        if (pid := os.fork()) == 0:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (1, 2):
                os.dup2(output, number)
            # the program must not reach what its exit code, and those of others, are told on
            for number in (*own, output, channel, *self._running.values()):
                os.close(number)
            _adopt_orphans()
            self._become(message)
        with contextlib.suppress(OSError):  # the fork does it too, whichever is first
            os.setpgid(pid, pid)
        os.close(output)
        self._running[pid] = channel
        with contextlib.suppress(BrokenPipeError):
            os.write(channel, f"{pid}\n".encode())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                break
            if pid not in self._running:  # an orphan that was adopted
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it has left behind
            channel = self._running.pop(pid)
            self._end_strays()
            with contextlib.suppress(BrokenPipeError):
                os.write(channel, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(channel)
        self._end_strays()

    def _end_strays(self) -> None:
        """End what a program has left behind outside its group. While it runs it is the parent of
        whatever lost its parent, as in a container; when it has ended, this process is.
        """
        for pid in _children():
            if pid not in self._running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _become(self, message: dict) -> None:
        """In the fork: run the program. Never returns."""
        argv, folder = message["argv"], message["folder"]
        variables = self._variables | message["environment"]
        module = module_of(argv, variables.get("PATH"))
        try:
            os.chdir(folder)
            if not (module and module == self._module and self._may_fork(message)):
                os.execvpe(argv[0], argv, variables)
        except OSError as error:
            print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
            sys.exit(127)
        os.environ.clear()
        os.environ.update(variables)
        os.write(2, self._said)
        sys.argv = [module, *argv[3:]]
        if not sys.flags.safe_path:
            sys.path.insert(0, os.getcwd())
        importlib.invalidate_caches()
        _reseed()
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        sys.exit()

    def _may_fork(self, message: dict) -> bool:
        """Whether a fork is as good as a fresh process: nothing that was imported here might have
        looked at a variable of the program's, is another module in its folder, or has started a
        thread.
        """
        given = message["environment"].items()
        others = {name for name, value in given if self._variables.get(name) != value}
        others.discard(self._harmless)
        shadows = set(_modules_in(message["folder"])) & self._names
        return self._alone and not (self._loaded and others) and not shadows


def _modules_in(folder: str) -> Iterator[str]:
    """The names of the modules and packages that lie in a folder."""
    for entry in os.scandir(folder):
        name, _, ending = entry.name.partition(".")
        if ending in ENDINGS or (not ending and os.path.exists(f"{entry.path}/__init__.py")):
            yield name


def _threads() -> int:
    """How many threads this process has, libraries' own included; 1 where that is not told."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return 1


def _adopt_orphans() -> None:
    """Be the parent of what a program leaves behind, where the system can do that (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        pid = os.getpid()
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _reseed() -> None:
    """A fork begins with its parent's random numbers, and a fresh process with its own. Python's
    module does this by itself.
    """
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed()


def main(argv: Sequence[str]) -> None:
    """Be the server: `python forks.py DESCRIPTOR VARIABLE FOLDER [MODULE]`.

    Args:
        argv: the descriptor of a socket on which programs are asked for; a variable that may be
            another one for each program, since no library reads it; the folder where the programs'
            own modules are; and the module that they run, if it is one.
    """
    if not sys.flags.safe_path:
        del sys.path[0]  # where this file is: no program's modules are there
    descriptor, harmless, folder, *module = argv
    control = socket.socket(fileno=int(descriptor))
    server = _Server(control, harmless, folder, next(iter(module), None))
    gc.freeze()  # what is imported is shared by the forks for as long as nobody touches it
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
