"""The image is built and run for real, as Docker, Katib, Kubeflow Pipelines, KServe and Kubeflow
Notebooks would run it.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE, NOTEBOOK = f"kubeflow-workshop:{VERSION}", f"kubeflow-workshop-notebook:{VERSION}"
TRAINING = [
    "python",
    "-m",
    "kubeflow_workshop.stock.train",
    "--start",
    "2012-03-01",
    "--network",
    "talk",
    "--epochs",
    "30",
    "--seed",
    "7",
]
PREFIX = "/notebook/ann/course"


def docker(*words: str, timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=False, timeout=timeout
    )


def run(command: list[str], *options: str, image: str = IMAGE) -> subprocess.CompletedProcess:
    """Run a command in a new container."""
    return docker("run", "--rm", *options, image, *command)


@pytest.fixture(scope="module", autouse=True)
def images():
    """Both, built as a person would."""
    if not shutil.which("docker") or docker("info").returncode:
        if os.environ.get("CI"):
            pytest.fail("CI must have a Docker engine")
        pytest.skip("no Docker engine answers on this machine")
    built = subprocess.run(
        ["make", "--no-print-directory", "image"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, f"{built.stdout[-3000:]}{built.stderr[-3000:]}"
    sizes = built.stdout.splitlines()[-2:]
    print("\n".join(sizes))
    assert sorted(line.split()[0] for line in sizes) == sorted([IMAGE, NOTEBOOK])


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    """A directory to mount, open to every user id."""
    path = tmp_path_factory.mktemp("volume")
    path.chmod(0o777)
    return path


@pytest.fixture(scope="module")
def trained(volume) -> subprocess.CompletedProcess:
    """A training run in the image; it leaves a model version in the volume."""
    return run([*TRAINING, "--output", "/models/msft/1"], "--volume", f"{volume}:/models")


def metrics(ran: subprocess.CompletedProcess) -> dict[str, list[float]]:
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[float]] = {}
    for line in ran.stdout.splitlines():
        name, value = line.split("=")
        found.setdefault(name, []).append(float(value))
    return found


def assert_one_sentence(ran: subprocess.CompletedProcess, *words: str) -> None:
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_training_gives_the_numbers_of_the_laptop(trained):
    here = metrics(
        subprocess.run(
            [sys.executable, *TRAINING[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
    )
    there = metrics(trained)
    assert set(there) == {"Training-MAE", "Validation-MAE", "Test-MAE", "Persistence-MAE"}
    assert len(there["Training-MAE"]) == 3
    # measured: the same to all six digits printed; processors of another kind may differ in the
    # last
    for name, values in here.items():
        assert there[name] == pytest.approx(values, rel=1e-5)
    assert trained.stderr == ""


def test_a_model_version_of_the_image_answers_in_the_image_and_on_the_laptop(trained, volume):
    from kubeflow_workshop.stock import model

    assert trained.returncode == 0
    ask = (
        "import kserve, sys, tensorflow as tf; answers ="
        " tf.saved_model.load(sys.argv[1]).signatures['serving_default'];"
        " print(float(answers(window=tf.constant([[[27.0], [27.5], [28.0]]]))['next_close'][0, 0]))"
    )
    mounted = f"{volume}:/models:ro"
    ran = run(
        ["python", "-c", ask, "/models/msft/1"],
        "--volume",
        mounted,
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--user",
        "12345:0",
    )
    assert ran.returncode == 0, ran.stderr
    here = model.load(volume / "msft/1")(np.array([[[27.0], [27.5], [28.0]]], "float32"))
    assert float(ran.stdout) == pytest.approx(float(here[0, 0]), rel=1e-5)
    assert 20 < float(ran.stdout) < 35


@pytest.mark.parametrize(
    "options",
    [
        ["--user", "12345:0"],  # as OpenShift does
        ["--user", "12345:12345"],
        ["--read-only", "--tmpfs", "/tmp"],
        [
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--user",
            "12345:0",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
        ],
    ],
    ids=" ".join,
)
def test_trains_without_a_word_of_complaint(options):
    ran = run(["workshop", "train", "--epochs", "1"], *options)
    assert metrics(ran)["Persistence-MAE"] == [0.242025]
    assert ran.stderr == ""


@pytest.mark.parametrize(
    "words",
    [["workshop", "train"], ["python", "-m", "kubeflow_workshop.stock.train"]],
    ids=" ".join,
)
def test_without_any_place_for_temporary_files_it_says_what_to_mount(words):
    # Katib, Kubeflow Pipelines and KServe put their command in the entrypoint's place
    entrypoint, *arguments = words
    assert_one_sentence(
        run(arguments, "--read-only", "--entrypoint", entrypoint), "temporary file", "/tmp"
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["nonsense"], "no command 'nonsense'"),
        (["train"], "workshop train"),
        (["--help"], "no command '--help'"),
        (["workshop", "trian"], "trian"),
        (["workshop", "train", "--windw", "3"], "--windw"),
        (["workshop", "train", "--window", "0"], "window 0"),
        (["python", "-m", "kubeflow_workshop.stock.train", "--epochs", "many"], "many"),
    ],
    ids=str,
)
def test_a_wrong_command_or_argument_is_answered_in_one_sentence(command, says):
    assert_one_sentence(run(command), says)


def test_without_a_volume_it_says_that_the_place_cannot_be_written():
    assert_one_sentence(
        run(["workshop", "train", "--output", "/models/msft/1"]),
        "/models/msft/1",
        "cannot be written",
    )


def test_without_a_command_it_says_what_there_is():
    ran = run([])
    assert ran.returncode == 0
    assert ran.stdout.startswith("usage: workshop")


@pytest.mark.parametrize("image", [IMAGE, NOTEBOOK])
def test_the_user_is_an_ordinary_one_whom_kubernetes_can_tell_from_root(image):
    assert (
        docker("image", "inspect", "--format", "{{.Config.User}}", image).stdout.strip() == "1000"
    )
    assert run(["id", "-u"], image=image).stdout.strip() == "1000"
    assert run(["sh", "-c", "[ -w /opt/course ] || [ -w /usr ]"], image=image).returncode == 1


@pytest.mark.parametrize("image", [IMAGE, NOTEBOOK])
def test_there_is_no_compiler_inside(image):
    assert (
        run(
            ["sh", "-c", "for name in cc gcc g++ c++ clang tcc make; do command -v $name; done"],
            image=image,
        ).stdout
        == ""
    )


def test_it_holds_the_core_pipelines_and_serving_as_locked_and_nothing_else():
    listed = json.loads(
        run(["pip", "list", "--local", "--format", "json", "--disable-pip-version-check"]).stdout
    )
    holds = {package["name"].lower().replace("_", "-"): package["version"] for package in listed}
    lines = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalnum()
    ]
    lock = {need.name: need for need in map(Requirement, lines)}
    assert holds.pop("kubeflow-workshop") == VERSION
    other = {
        name
        for name, version in holds.items()
        if name not in lock or not lock[name].specifier.contains(version)
    }
    assert other <= {"pip", "setuptools"}  # venv's own
    assert {"keras", "kfp", "kserve", "optuna"} <= set(holds)
    assert not {"pytest", "ruff", "jupyterlab", "uv", "bokeh-sampledata"} & set(holds)
    assert run(["pip", "check"]).returncode == 0
    # the builder's directories stay in the builder
    assert run(["ls", "/wheel", "/tools", "/installed"]).stdout == ""


def layers(image: str) -> list[str]:
    return json.loads(
        docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image).stdout
    )


def test_a_change_of_our_code_changes_the_last_layer_alone(tmp_path):
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, copy = ROOT / line[1:], tmp_path / line[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    shutil.copy2(ROOT / ".dockerignore", tmp_path)
    with (tmp_path / "kubeflow_workshop/tour.py").open("a") as code:
        code.write("# changed\n")
    for target, image in (("image", IMAGE), ("notebook", NOTEBOOK)):
        tag = f"kubeflow-workshop-test-{target}:{VERSION}"
        built = docker(
            "build",
            "--file",
            f"{tmp_path}/install/image/Dockerfile",
            "--target",
            target,
            "--tag",
            tag,
            str(tmp_path),
        )
        try:
            assert built.returncode == 0, built.stderr
            assert layers(tag)[:-1] == layers(image)[:-1]
            assert layers(tag)[-1] != layers(image)[-1]
        finally:
            docker("image", "rm", tag)


def test_a_step_of_a_pipeline_runs_in_it_with_the_command_that_kubeflow_pipelines_gives(
    volume, tmp_path
):
    from kfp import compiler, dsl

    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def judge(epochs: int, scores: dsl.Output[dsl.Metrics]) -> float:
        from kubeflow_workshop.stock import prices, train

        trained = train.train(
            prices.load("MSFT", start="2012-03-01"), train.Hyperparameters(epochs=epochs)
        )
        scores.log_metric("persistence", trained.scores.persistence_mae)
        return trained.scores.mae

    compiler.Compiler().compile(judge, str(tmp_path / "judge.yaml"))
    (executor,) = yaml.safe_load((tmp_path / "judge.yaml").read_text())["deploymentSpec"][
        "executors"
    ].values()
    assert executor["container"]["image"] == IMAGE
    place = "/outputs/judge"
    asked = {
        "inputs": {"parameterValues": {"epochs": 1}},
        "outputs": {
            "outputFile": f"{place}/executor_output.json",
            "parameters": {"Output": {"outputFile": f"{place}/Output"}},
            "artifacts": {
                "scores": {
                    "artifacts": [
                        {
                            "name": "scores",
                            "uri": f"{place}/scores",
                            "type": {"schemaTitle": "system.Metrics"},
                            "metadata": {},
                        }
                    ]
                }
            },
        },
    }
    words = [
        word.replace("{{$}}", json.dumps(asked))
        for word in executor["container"]["command"] + executor["container"]["args"]
    ]
    ran = run(
        words[1:], "--user", "12345:0", "--volume", f"{volume}:/outputs", "--entrypoint", words[0]
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    answered = json.loads((volume / "judge/executor_output.json").read_text())
    assert answered["parameterValues"]["Output"] == pytest.approx(0.1829, rel=0.2)
    assert answered["artifacts"]["scores"]["artifacts"][0]["metadata"][
        "persistence"
    ] == pytest.approx(0.177258, rel=1e-5)


class Server:
    """A container in which JupyterLab runs, as long as the `with` does."""

    def __init__(self, *options: str) -> None:
        self.name = docker("run", "--detach", *options, NOTEBOOK).stdout.strip()

    def __enter__(self) -> "Server":
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        docker("rm", "--force", self.name)

    def wait(self) -> None:
        """Until it says that it answers."""
        followed = subprocess.Popen(
            ["docker", "logs", "--follow", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = []
        for line in followed.stdout:
            printed.append(line)
            if "is running at" in line:
                break
        else:
            pytest.fail(f"JupyterLab ended:\n{''.join(printed)}")
        followed.kill()
        followed.wait()

    def restart(self) -> None:
        assert docker("stop", self.name).returncode == 0
        begun = len(docker("logs", self.name).stderr.splitlines())
        assert docker("start", self.name).returncode == 0
        while "is running at" not in "".join(docker("logs", self.name).stderr.splitlines()[begun:]):
            assert (
                docker("inspect", "--format", "{{.State.Running}}", self.name).stdout.strip()
                == "true"
            )

    def do(self, *command: str) -> subprocess.CompletedProcess:
        return docker("exec", self.name, *command, timeout=300)

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of an answer, asked for inside the container."""
        ask = (
            "import sys, requests; answer = requests.get('http://127.0.0.1:8888' + sys.argv[1]);"
            " print(answer.status_code); print(answer.text)"
        )
        status, _, text = self.do("python", "-c", ask, path).stdout.partition("\n")
        return int(status), text


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """As Kubeflow starts it: under a prefix, with an empty volume mounted over the home, for a user
    who is not in the image.
    """
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o777)
    with Server(
        "--env", f"NB_PREFIX={PREFIX}", "--volume", f"{home}:/home/jovyan", "--user", "12345:0"
    ) as started:
        yield started


def test_jupyterlab_answers_under_the_prefix_with_the_course_in_it(server):
    status, page = server.get(f"{PREFIX}/lab/tree/kubeflow-workshop/tutorials/00-start-here.ipynb")
    assert status == 200
    assert "jupyter-config-data" in page
    status, listed = server.get(f"{PREFIX}/api/contents/kubeflow-workshop/tutorials")
    assert status == 200
    names = {entry["name"] for entry in json.loads(listed)["content"]}
    assert {path.name for path in (ROOT / "tutorials").glob("[0-9]*.ipynb")} | {"figures"} <= names
    assert server.get("/api/contents")[0] == 404


def test_a_notebook_of_the_course_runs_in_it(server):
    ran = server.do(
        "jupyter", "execute", "/home/jovyan/kubeflow-workshop/tutorials/03-stock-prices.ipynb"
    )
    assert ran.returncode == 0, ran.stderr


def test_a_restart_keeps_what_the_learner_wrote_and_brings_what_is_missing(server):
    server.do(
        "sh", "-c", "cd /home/jovyan/kubeflow-workshop && echo mine > README.md && rm LICENSE"
    )
    server.restart()
    assert server.do("cat", "/home/jovyan/kubeflow-workshop/README.md").stdout == "mine\n"
    assert server.do("test", "-s", "/home/jovyan/kubeflow-workshop/LICENSE").returncode == 0


def test_outside_kubeflow_it_asks_for_its_token():
    with Server() as alone:
        assert alone.get("/api/contents")[0] == 403


@pytest.mark.parametrize("options", [["--read-only"], ["--user", "12345:12345"]], ids=" ".join)
def test_a_home_that_cannot_be_written_is_named_in_one_sentence(options):
    assert_one_sentence(run([], *options, image=NOTEBOOK), "/home/jovyan", "mount a volume")
