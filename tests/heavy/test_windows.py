"""The Windows launchers, run by Wine's cmd, with a Python for Windows: what they start, say and
leave behind.

Wine is not Windows. Debian's cannot start uv.exe (it lacks bcryptprimitives.dll), so what installs
here is pip, in uv's place: as on a machine where uv fails. What Wine cannot show: Explorer's double click (stood in for by its command
line), the real py launcher and the real Store placeholder (stood in for by .bat files that behave
as they do), a `&` in an argument (Wine's `call` splits there), TensorFlow, and JupyterLab itself.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

import lab
import pytest

ROOT = Path(__file__).parents[2]
# CPython for Windows from Maven Central (the JavaCPP presets): no other registry that people and CI
# reach holds one.
PYTHON = "org.bytedeco:cpython:3.11.3-1.5.9:jar:windows-x86_64"
PYTHON_SHA256 = "3263a50b256447bb7b9e604d6587627e419891370fc33b94469e6a06ff4de834"
CARRIED = [
    "install",
    "kubeflow_workshop",
    "datasets",
    "tutorials",
    "README.md",
    "LICENSE",
    "LICENSE-TEXT",
    "pyproject.toml",
    "requirements.txt",
]
NAME = "é & (1)!"
NEEDED = ["wine", "mvn"]
EXPLORER = 'cmd.exe /c ""Z:\\a folder\\lab.bat" "'

JUPYTERLAB = """
import json, os, sys
with open(os.environ["RECORD"], "w", encoding="utf-8") as file:
    json.dump({"arguments": sys.argv[1:], "folder": os.getcwd(), "python": sys.executable, "utf8": sys.flags.utf8_mode}, file)
sys.exit(int(os.environ.get("JUPYTER_ENDS_WITH", "0")))
"""
# Another version of Python, as far as lab.py looks.
DISGUISE = (
    "import runpy, sys; sys.version_info = tuple(map(int, sys.argv[1].split('.'))); del"
    " sys.argv[:2]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def windows(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


class Machine:
    """A Windows of its own, with the folders that a test puts on its PATH."""

    def __init__(self, folder: Path):
        self.folder, self.checkout, self.record = folder, folder / NAME, folder / "record.json"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DISPLAY" and not name.startswith(("PIP_", "PYTHON"))
        } | {
            "WINEPREFIX": str(folder / "prefix"),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d",
            "LC_ALL": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": windows(folder / "wheels"),
            "RECORD": windows(self.record),
            "REAL": windows(folder / "python/python.exe"),
            "DISGUISE": windows(folder / "disguise.py"),
        }

    def run(
        self, *words: str, path=(), within: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess:
        """Run the words with cmd; `path` holds folders. A file or /dev/null as its input is no
        handle to Wine's Python, so it gets a pipe.
        """
        environment = (
            self.environment
            | {"WINEPATH": ";".join(windows(folder) for folder in [*path, self.folder / "dlls"])}
            | more
        )
        command = ["wine", "cmd", "/c", *words]
        return subprocess.run(
            command,
            cwd=within or self.folder,
            env=environment,
            input="\n",
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
            encoding="utf-8",
            errors="replace",
        )

    def launch(self, *words: str, launcher: str = "lab", **more) -> subprocess.CompletedProcess:
        """Call the launcher by its whole name from another folder."""
        self.record.unlink(missing_ok=True)
        return self.run(
            "go.bat",
            *words,
            LAUNCHER=windows(self.checkout / f"install/windows/{launcher}.bat"),
            **more,
        )

    def stand_in(self, name: str, script: str) -> Path:
        """A folder with a program of this name."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / f"{name}.bat").write_bytes(f"@echo off\r\n{script}\r\n".encode())
        return folder

    def started(self) -> dict | None:
        """What JupyterLab was started with."""
        return json.loads(self.record.read_text(encoding="utf-8")) if self.record.exists() else None


def wheel_of_jupyterlab(folder: Path) -> None:
    files = {"jupyterlab/__main__.py": JUPYTERLAB, "jupyterlab/__init__.py": ""}
    files["jupyterlab-1.dist-info/METADATA"] = (
        "Metadata-Version: 2.1\nName: jupyterlab\nVersion: 1\n"
    )
    files["jupyterlab-1.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = []
    for name, text in files.items():
        digest = (
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        )
        lines.append(f"{name},sha256={digest},{len(text.encode())}\n")
    with zipfile.ZipFile(folder / "jupyterlab-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(
            "jupyterlab-1.dist-info/RECORD", "".join(lines) + "jupyterlab-1.dist-info/RECORD,,\n"
        )


def python_for_windows(folder: Path) -> None:
    """`python/` with CPython, and `dlls/` with its library, which belongs on the PATH since this
    build's environments come without.
    """
    subprocess.run(
        [
            "mvn",
            "-q",
            "-B",
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
            f"-Dartifact={PYTHON}",
            f"-DoutputDirectory={folder}",
        ],
        check=True,
    )
    jar = next(folder.glob("*.jar"))
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == PYTHON_SHA256
    with zipfile.ZipFile(jar) as archive:
        archive.extractall(folder / "unpacked")
    (folder / "unpacked/org/bytedeco/cpython/windows-x86_64").rename(folder / "python")
    for source, copy in (
        ("python.exe", "venvlauncher.exe"),
        ("bin/pythonw.exe", "venvwlauncher.exe"),
    ):
        shutil.copy(folder / "python" / source, folder / "python" / copy)
    (folder / "dlls").mkdir()
    shutil.copy(folder / "python/python311.dll", folder / "dlls")
    (folder / "disguise.py").write_text(DISGUISE)


@pytest.fixture(scope="module")
def machine():
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI must have {missing}")
    if missing:
        pytest.skip(
            f"not on this machine: {missing}; on Debian: apt-get install --no-install-recommends"
            " wine maven"
        )
    folder = Path(tempfile.mkdtemp())
    try:
        made = Machine(folder)
        (folder / "prefix").mkdir()
        python_for_windows(folder)
        subprocess.run(
            ["wineboot", "--init"],
            env=made.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=300,
        )
        # Debian's Wine calls itself Windows 7, which Python has left behind.
        made.run("reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
        (folder / "go.bat").write_bytes(b'@"%LAUNCHER%" %*\r\n')
        made.checkout.mkdir()
        for name in CARRIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, made.checkout / name)
        # The packages that build the course, at the lock's versions, and a JupyterLab that says how
        # it was called.
        builders = (
            r"(?m)^(?:editables|hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==\S+"
        )
        lock = (ROOT / "requirements.txt").read_text()
        pins = re.findall(builders, lock)
        (uv,) = re.findall(r"(?m)^uv==\S+", lock)
        (folder / "wheels").mkdir()
        wheel_of_jupyterlab(folder / "wheels")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                folder / "wheels",
                *pins,
            ],
            check=True,
        )
        for_windows = ["--platform", "win_amd64", "--only-binary", ":all:", uv]
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--dest", folder / "wheels", *for_windows),
            ],
            check=True,
        )
        wanted = "\n".join([*pins, uv, "jupyterlab==1"])
        (made.checkout / "requirements.txt").write_text(wanted + "\n")
        yield made
    finally:
        subprocess.run(["wineserver", "-k"], env=made.environment, check=False)
        subprocess.run(["wineserver", "-w"], env=made.environment, check=False, timeout=60)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def real(machine):
    """The folder with the Python for Windows, which is 3.11."""
    return machine.folder / "python"


@pytest.fixture
def installed(machine, real):
    """The environment, made."""
    done = machine.launch(path=[real])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def other(machine):
    """`other(name, version)`: a folder with a program that is a Python of another version."""
    return lambda name, version: machine.stand_in(name, f'"%REAL%" "%DISGUISE%" {version} %*')


def test_the_first_call_installs_and_opens_the_first_notebook(machine, real):
    done = machine.launch("--no-browser", "--port=8889", "two words", path=[real])
    assert done.returncode == 0, done.stdout + done.stderr
    started = machine.started()
    assert started["arguments"] == [
        "--no-browser",
        "--port=8889",
        "two words",
        r"tutorials\00-start-here.ipynb",
    ]
    assert started["folder"] == windows(machine.checkout)
    assert started["python"] == windows(machine.checkout / ".venv/Scripts/python.exe")
    assert started["utf8"] == 1
    assert "Bringing uv==" in done.stdout
    assert "Installing the packages of requirements.txt" in done.stdout
    assert (machine.checkout / ".venv/Scripts/workshop.exe").exists()


def test_the_second_call_installs_nothing(machine, real, installed):
    began = (machine.checkout / ".venv/pyvenv.cfg").stat().st_mtime_ns
    done = machine.launch(path=[real], PIP_FIND_LINKS="Z:\\nowhere")
    assert done.returncode == 0
    assert "Installing" not in done.stdout
    assert machine.started()
    assert (machine.checkout / ".venv/pyvenv.cfg").stat().st_mtime_ns == began


def test_it_can_be_called_in_its_own_folder(machine, real, installed):
    machine.record.unlink()
    done = machine.run("lab.bat", path=[real], within=machine.checkout / "install/windows")
    assert done.returncode == 0
    assert machine.started()["folder"] == windows(machine.checkout)


def test_jupyterlabs_exit_code_is_the_launchers(machine, real, installed):
    assert machine.launch(path=[real], JUPYTER_ENDS_WITH="7").returncode == 7


@pytest.mark.parametrize("changed", ["requirements.txt", "pyproject.toml"])
def test_a_changed_lock_installs_again_and_until_pip_succeeds_nothing_counts(
    machine, real, installed, changed
):
    with (machine.checkout / changed).open("a") as file:
        file.write(f"# {time.time()}\n")
    failed = machine.launch(path=[real], PIP_INDEX_URL="", PIP_CONSTRAINT="Z:\\nowhere.txt")
    assert failed.returncode == 2
    assert "error: that failed (exit code 1), and the lines above say why" in failed.stderr
    assert not machine.started()
    assert not (machine.checkout / ".venv/installed").exists()
    done = machine.launch(path=[real])
    assert done.returncode == 0, done.stderr
    assert "Installing the packages" in done.stdout
    assert "Making" not in done.stdout
    assert machine.started()


def test_an_environment_that_was_cut_off_is_made_again(machine, real, installed):
    (machine.checkout / ".venv/Scripts/python.exe").write_bytes(b"")
    done = machine.launch(path=[real])
    assert done.returncode == 0, done.stderr
    assert "Making the environment" in done.stdout
    assert machine.started()


def test_the_py_launcher_is_asked_before_the_path(machine, other, installed):
    py = machine.stand_in(
        "py", 'echo %1>>"%ASKED%"\r\nif not "%1"=="-3.11" exit /b 103\r\n"%REAL%" %2 %3 %4'
    )
    asked = machine.folder / "asked"
    done = machine.launch(path=[py, other("python", "3.14.0")], ASKED=windows(asked))
    assert done.returncode == 0, done.stderr
    assert asked.read_text().split() == ["-3.12", "-3.13", "-3.11", "-3.11"]
    assert machine.started()


def test_the_launcher_asks_for_each_python_of_pyproject():
    listed = re.findall(
        r"call :try py -(3\.\d+)", (ROOT / "install/windows/find-python.bat").read_text()
    )
    oldest, too_new = re.search(
        r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()
    ).groups()
    assert sorted(listed) == [f"3.{minor}" for minor in range(int(oldest), int(too_new))]


def test_a_python_that_is_a_batch_file_will_do(machine, installed):
    """As pyenv-win's are."""
    done = machine.launch(
        "word", path=[machine.stand_in("python", '"%REAL%" %*')], JUPYTER_ENDS_WITH="7"
    )
    assert done.returncode == 7, done.stderr
    assert machine.started()["arguments"][0] == "word"


def test_without_python_it_says_what_to_install(machine):
    done = machine.launch()
    assert done.returncode == 2
    assert "error: no Python that fits the course was found" in done.stderr
    assert "winget install --exact --id Python.Python.3.12" in done.stderr
    assert "Press" not in done.stdout


def test_the_placeholder_of_the_store_is_no_python(machine):
    said = "Python was not found; run without arguments to install from the Microsoft Store"
    done = machine.launch(path=[machine.stand_in("python", f"echo {said}\r\nexit /b 9009")])
    assert done.returncode == 2
    assert said not in done.stdout + done.stderr
    assert "only leads to the Store" in done.stderr


@pytest.mark.parametrize("version", ["3.10.9", "3.14.0"])
def test_a_python_too_old_or_too_new_is_named(machine, other, version):
    done = machine.launch(path=[other("python", version)])
    assert done.returncode == 2
    assert (
        f"is Python {version.rpartition('.')[0]}, and the course needs 3.11, 3.12 or 3.13"
        in done.stdout
    )
    assert "winget" in done.stderr
    assert not machine.started()


def test_a_folder_too_deep_for_tensorflow_is_refused_before_anything_is_made(machine, real):
    deep = machine.folder / ("d" * 80)
    shutil.copytree(machine.checkout, deep, ignore=shutil.ignore_patterns(".venv"))
    done = machine.run("lab.bat", path=[real], within=deep / "install/windows")
    assert done.returncode == 2
    assert "letters, and Windows lets TensorFlow have" in done.stderr
    assert not (deep / ".venv").exists()


def test_the_longest_name_of_a_file_is_still_the_longest():
    packages = Path(sysconfig.get_path("purelib"))
    longest = max(len(str(path.relative_to(packages))) for path in packages.glob("tensorflow/**/*"))
    assert longest <= lab.LONGEST_IN_PACKAGES


def test_the_window_of_a_double_click_stays_open_on_failure_only(machine, real, installed):
    """Explorer's command line, put where cmd would show it: Wine shows none."""
    assert "Press" in machine.launch(CMDCMDLINE=EXPLORER).stdout
    assert "Press" not in machine.launch(CMDCMDLINE=EXPLORER, path=[real]).stdout
    assert "Press" not in machine.launch(CMDCMDLINE='cmd.exe /c ""Z:\\a folder\\lab.bat""').stdout


def test_cluster_passes_its_words_and_its_exit_code_on(machine, real):
    script = (
        "import json, os, sys; open(os.environ['RECORD'], 'w').write(json.dumps(sys.argv[1:]));"
        " sys.exit(5)"
    )
    (machine.checkout / "install/cluster.py").write_text(script)
    done = machine.launch("up", "mine", "--ports", "80:80,443:443", launcher="cluster", path=[real])
    assert done.returncode == 5, done.stderr
    assert machine.started() == ["up", "mine", "--ports", "80:80,443:443"]


def test_cluster_without_python_says_what_to_install(machine):
    done = machine.launch("list", launcher="cluster")
    assert done.returncode == 2
    assert "winget" in done.stderr


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_all_of_the_lock_installs_on_windows_without_a_compiler(version, tmp_path):
    """kfp-server-api has no wheel on any system; it is Python alone."""
    solve = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--python-platform",
        "x86_64-pc-windows-msvc",
        "--python-version",
        version,
        "requirements.txt",
    ]
    wheels = [
        "--only-binary",
        ":all:",
        "--no-binary",
        "kfp-server-api",
        "--output-file",
        tmp_path / "lock",
    ]
    subprocess.run([*solve, *wheels], cwd=ROOT, check=True)
    assert "tensorflow-cpu==" in (tmp_path / "lock").read_text()


def test_each_launcher_has_the_line_ends_that_cmd_needs():
    for launcher in (ROOT / "install/windows").glob("*.bat"):
        text = launcher.read_bytes()
        assert text.count(b"\n") == text.count(b"\r\n") > 5, launcher.name
        assert text.isascii(), launcher.name
