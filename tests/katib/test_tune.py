"""`workshop tune`: what a user types, and what comes back on each stream."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from kubeflow_workshop import cli, objects
from kubeflow_workshop.katib import connect
from kubeflow_workshop.katib.laptop import Laptop
from tests.katib.experiments import DOUBLE, choice, experiment, number
from tests.katib.stand_in import StandIn, kubeconfig, serving

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")

EXAMPLES = Path(__file__).parent / "examples"
GRID = {"algorithm": "grid", "parameters": [choice("discrete", "1", "2", "3")]}


@pytest.fixture(params=["laptop", "cluster"])
def target(request, monkeypatch, tmp_path):
    """Where the Experiments run: here, or behind a stand-in for an API server, whose controller and
    nodes are this laptop's.
    """
    monkeypatch.setenv("WORKSHOP_TARGET", request.param)
    if request.param == "laptop":
        yield request.param
        return
    with serving(StandIn()) as api, ThreadPoolExecutor() as controllers:
        nodes = Laptop(tmp_path / "nodes")
        put: dict[str, dict] = {}

        def tell(experiment: dict, trials: list[dict]) -> None:
            for thing in (*trials, experiment):
                if put.get(thing["metadata"]["name"]) != thing:
                    put[thing["metadata"]["name"]] = thing
                    api.put(f"{thing['kind'].lower()}s", thing)

        def control(experiment: dict) -> None:
            document = {name: experiment[name] for name in ("apiVersion", "kind", "spec")}
            name = experiment["metadata"]["name"]
            nodes.create(document | {"metadata": {"name": name}}, replace=True)
            told = controllers.submit(nodes.wait, name, tell, 60)
            told.add_done_callback(lambda done: done.result())

        api.controller = control
        server = f"http://127.0.0.1:{api.port}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server)))
        yield request.param


@pytest.fixture
def tune(tmp_path, capfd, target):
    """`tune(document or text, arguments…)`: the exit code, stdout and stderr."""

    def do(what: object, *arguments: str) -> tuple[int, str, str]:
        path = what if isinstance(what, Path) else tmp_path / "experiment.yaml"
        if isinstance(what, dict):
            what = objects.as_text(what)
        if not isinstance(what, Path):
            path.write_bytes(what if isinstance(what, bytes) else what.encode())
        kept = ["--state", str(tmp_path / "state")] if target == "laptop" else []
        code = cli.main(["tune", str(path), *kept, *arguments])
        return code, *capfd.readouterr()

    return do


@pytest.fixture
def door(tmp_path, target):
    """The door to what `tune` has started, opened anew."""
    return connect(tmp_path / "state" if target == "laptop" else None)


on_the_laptop = pytest.mark.parametrize("target", ["laptop"], indirect=True)
"""For what only the laptop has: its own refusals, and programs in the place of others."""


def test_without_output_all_goes_to_stderr(tune, target):
    code, out, err = tune(experiment("sh", "-c", "echo loss=${trialParameters.x}", **GRID))
    assert (code, out) == (0, "")
    assert ("On this laptop: The image none is not pulled" in err) == (target == "laptop")
    assert "Experiment has succeeded because max trial count has reached." in err
    assert "with x=1\n" in err
    assert err.count(": Succeeded, x=") == 3


@pytest.mark.parametrize(("form", "parse"), [("yaml", yaml.safe_load), ("json", json.loads)])
def test_the_output_is_the_experiment_and_nothing_else(tune, door, tmp_path, form, parse):
    (tmp_path / "noisy.py").write_text("import chatty\nprint('loss=1')\n")
    (tmp_path / "chatty.py").write_text("print('noise at import')\n")
    document = experiment(
        "python",
        "-m",
        "noisy",
        "${trialParameters.x}",
        maxTrialCount=1,
        container={"workingDir": str(tmp_path)},
    )
    code, out, _ = tune(document, "-o", form)
    assert code == 0
    assert parse(out) == door.get("try")
    assert parse(out)["spec"] == document["spec"]


def test_a_failed_experiment_is_exit_code_1_with_the_last_words_of_its_trials(tune):
    code, _, err = tune(
        experiment(
            "sh", "-c", "echo out of luck; exit 3; ${trialParameters.x}", maxFailedTrialCount=1
        )
    )
    assert code == 1
    assert "Trial has failed: exit code 3; the end of its log:\n  out of luck" in err
    assert "Experiment has failed because max failed count has reached." in err


@pytest.mark.parametrize("target", ["cluster"], indirect=True)
def test_the_empty_best_trial_of_a_cluster_is_none(tune, monkeypatch):
    """Katib writes one as soon as the Experiment is there."""
    empty = {"bestTrialName": "", "observation": {}}
    put = StandIn.put

    def as_katib(api: StandIn, resource: str, thing: dict) -> dict:
        if resource == "experiments" and "status" in thing:
            thing = thing | {"status": {"currentOptimalTrial": empty} | thing["status"]}
        return put(api, resource, thing)

    monkeypatch.setattr(StandIn, "put", as_katib)
    code, _, err = tune(experiment("sh", "-c", "exit 1; ${trialParameters.x}"))
    assert code == 0
    assert "Best:" not in err


@on_the_laptop
def test_replace_deletes_nothing_for_an_experiment_that_is_refused(tune, door):
    document = experiment("sh", "-c", "echo loss=${trialParameters.x}", **GRID)
    assert tune(document)[0] == 0
    first = door.get("try")
    assert tune(experiment("no-such-program"), "--replace")[0] == 2
    assert door.get("try") == first


def test_replace_deletes_the_experiment_of_that_name(tune, door):
    document = experiment("sh", "-c", "echo loss=${trialParameters.x}", **GRID)
    assert tune(document)[0] == 0
    first = door.trials("try")
    code, _, err = tune(document)
    assert code == 2
    assert " already; " in err
    assert tune(document, "--replace")[0] == 0
    assert len(door.trials("try")) == len(first)
    assert door.trials("try") != first
    assert (
        tune(
            experiment("sh", "-c", "echo loss=${trialParameters.x}", name="new", **GRID),
            "--replace",
        )[0]
        == 0
    )


@pytest.fixture
def workshop(tmp_path, capfd, target):
    """`workshop(arguments…)`: the exit code, stdout and stderr of `workshop tune …`."""

    def do(*arguments: str) -> tuple[int, str, str]:
        kept = ["--state", str(tmp_path / "state")] if target == "laptop" else []
        code = cli.main(["tune", *arguments, *kept])
        return code, *capfd.readouterr()

    return do


def test_what_is_kept_is_listed_shown_and_deleted(tune, door, workshop):
    script = "echo about $0; echo loss=${trialParameters.x}"
    for name in ("two", "one"):
        tune(experiment("sh", "-c", script, name=name, **GRID))
    code, out, err = workshop("list")
    assert (code, err) == (0, "")
    heading, *rows = [line.split() for line in out.splitlines()]
    assert heading == ["name", "state", "trials", "best"]
    best = {name: door.best(name)["bestTrialName"] for name in ("one", "two")}
    assert rows == [
        ["one", "Succeeded", "3", "of", "3", best["one"]],
        ["two", "Succeeded", "3", "of", "3", best["two"]],
    ]
    assert yaml.safe_load(workshop("list", "-o", "yaml")[1])["items"] == door.experiments()
    code, out, err = workshop("show", "one")
    assert code == 0
    assert "one: Succeeded, 3 of 3 trials" in out
    assert "Experiment has succeeded because max trial count has reached." in err
    assert json.loads(workshop("show", "one", "-o", "json")[1]) == door.get("one")
    assert workshop("delete", "one") == (0, "", "Experiment one is deleted.\n")
    assert workshop("show", "one")[0] == 2
    assert [line.split()[0] for line in workshop("list")[1].splitlines()] == ["name", "two"]


@on_the_laptop
def test_a_log_goes_to_standard_output_as_it_was_printed(tune, door, workshop):
    tune(experiment("sh", "-c", "echo loss=${trialParameters.x}; echo ' odd  '", **GRID))
    trial = door.trials("try")[0]
    value = trial["spec"]["parameterAssignments"][0]["value"]
    assert workshop("logs", trial["metadata"]["name"]) == (0, f"loss={value}\n odd  \n", "")


@on_the_laptop
@pytest.mark.parametrize(("arguments", "says"), [
    (["show"], "workshop tune show needs the name of an Experiment; see workshop tune list."),
    (["logs"], "workshop tune logs needs the name of a trial; see workshop tune list."),
    (["delete", "none"], "keeps no Experiment none"),
    (["logs", "none-1"], "keeps no Experiment none"),
    (["list", "x"], "workshop tune list takes nothing after it, and 'x' was given"),
    (["file.yaml", "x"], "workshop tune file.yaml takes nothing after it"),
    (["delete", "x", "--replace"], "--replace and --command go with a FILE, and not with delete"),
    (["./list"], "list cannot be read (No such file or directory)"),
])  # fmt: skip
def test_words_that_make_no_sense_are_one_line(workshop, arguments, says):
    code, out, err = workshop(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


@on_the_laptop
def test_an_experiment_whose_runner_is_gone_is_listed_as_stopped(tune, door, workshop, tmp_path):
    tune(experiment("sh", "-c", "echo loss=${trialParameters.x}", **GRID))
    path = tmp_path / "state" / "try" / "experiment.yaml"
    kept = yaml.safe_load(path.read_text())
    conditions = kept["status"]["conditions"]
    conditions.pop()
    conditions[-1]["status"] = "True"
    path.write_text(yaml.safe_dump(kept))
    assert workshop("list")[1].splitlines()[1].split()[:2] == ["try", "Stopped"]
    err = workshop("show", "try")[2]
    assert "Experiment is stopped before its end; run it again, and it goes on." in err


TEMPLATE = ("spec", "trialTemplate", "trialSpec")
POD = (*TEMPLATE, "spec", "template", "spec")


def put(*place: object) -> dict:
    """The Experiment with one thing in it changed: the way to it, and last what to put there."""
    *way, last, value = place
    holder = document = experiment()
    for step in way:
        holder = holder[step]
    holder[last] = value
    return document


@on_the_laptop
@pytest.mark.parametrize(("what", "says"), [
    (put("spec", "algorithm", {"algorithmName": "anneal"}), "spec.algorithm.algorithmName: 'anneal' is no algorithm of Katib's"),
    (put("spec", "algorithm", {"algorithmName": "hyperband"}), "spec.algorithm.algorithmName: hyperband does not run on the laptop yet"),
    (experiment(settings={"seed": 1}), "spec.algorithm.algorithmSettings[0].name: random has no setting 'seed'"),
    (experiment(parameters=[number(min="2", max="1")]), "spec.parameters[0].feasibleSpace: min 2 is above max 1"),
    (experiment(parameters=[choice("categorical")]), "spec.parameters[0].feasibleSpace.list: is empty"),
    (put("spec", "parameters", [DOUBLE, DOUBLE | {"name": "y"}]), "spec.trialTemplate.trialParameters: none refers to the parameter y"),
    (put("spec", "parameters", [DOUBLE | {"name": "y"}]), "spec.trialTemplate.trialParameters[0].reference: 'x' is no parameter"),
    (put("spec", "parallelTrialCount", 0), "spec.parallelTrialCount: is 0"),
    (put("spec", "parallelTrialCount", 9), "spec.parallelTrialCount: 9 is more than maxTrialCount, 3"),
    (put("spec", "maxTrialCuont", 3), "spec.maxTrialCuont: there is no such field; did you mean maxTrialCount?"),
    (put("spec", "maxTrialCount", "3"), "spec.maxTrialCount: is '3', and must be a whole number"),
    (experiment("no-such-program"), "containers[0].command: no-such-program does not exist here"),
    (put(*TEMPLATE, {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": "${trialParameters.x}"}), "is a TrainJob"),
    (put(*TEMPLATE, {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": "${trialParameters.x}"}), "is a PyTorchJob"),
    (put(*POD, "volumes", [{"name": "v", "emptyDir": {}}]), "template.spec.volumes: is not carried out on the laptop"),
    (put(*POD, "containers", 0, "env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "f"}}}]), "env[0].valueFrom: is read from a cluster"),
    (put(*POD, "containers", 0, "envFrom", [{"configMapRef": {"name": "c"}}]), "containers[0].envFrom: is not carried out"),
    (put(*POD, "containers", 0, "readinessProbe", {"exec": {"command": ["true"]}}), "containers[0].readinessProbe: is not carried out"),
    ("", "holds 0 documents"),
    ("a: 1\n---\nb: 2\n", "holds 2 documents"),
    ("a: 1\na: 2\n", "line 2 is no YAML ('a' stands twice in one mapping)"),
    ("a:\n\tb: 1\n", "line 2 is no YAML"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "is no YAML"),
    (b"PK\x03\x04\x00", "is no YAML"),
    ("apiVersion: apps/v1\nkind: Deployment\n", "apiVersion: is 'apps/v1', and must be kubeflow.org/v1beta1"),
    (EXAMPLES, "cannot be read (Is a directory)"),
    (EXAMPLES / "none.yaml", "cannot be read (No such file or directory)"),
])  # fmt: skip
def test_bad_input_is_one_line_on_stderr_and_nothing_starts(tune, tmp_path, what, says):
    code, out, err = tune(what)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "state").exists()


@on_the_laptop
@pytest.mark.parametrize(
    "arguments",
    [
        ["--command", "nothing"],
        ["--command", "=x"],
        ["--command", "sh='open"],
        ["--command", "none=true"],
        ["-o", "toml"],
        ["--sate", "x"],
    ],
)
def test_bad_arguments_are_one_line_too(tune, tmp_path, arguments):
    code, _, err = tune(experiment(), *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert not (tmp_path / "state").exists()


@on_the_laptop
def test_an_experiment_of_the_documentation_runs_with_its_program_mapped(tune, tmp_path):
    """As a new user would: nothing is changed but the program that is not here."""
    where = "/opt/digits/train.py"
    assert (
        "does not exist here; say what to run in its place: --command"
        " '/opt/digits/train.py=PROGRAM'" in tune(EXAMPLES / "random.yaml")[2]
    )
    assert tune(EXAMPLES / "random.yaml", "--command", f"{where}={EXAMPLES / 'train.py'}")[0] == 0
    kept = Laptop(tmp_path / "state")
    status = kept.get("digits-random")["status"]
    assert (status["trialsSucceeded"], status["trials"]) == (6, 6)
    trials = kept.trials("digits-random")
    # the stand-in likes small rates
    lowest = min(trials, key=lambda trial: float(trial["spec"]["parameterAssignments"][0]["value"]))
    assert status["currentOptimalTrial"]["bestTrialName"] == lowest["metadata"]["name"]
    assert all(
        kept.logs(trial["metadata"]["name"]).startswith(f"{trial['metadata']['name']} epoch 1: ")
        for trial in trials
    )


@on_the_laptop
def test_an_experiment_with_medianstop_runs_and_stops(tune, tmp_path):
    assert (
        tune(
            EXAMPLES / "median-stop.yaml",
            "--command",
            f"python3 /opt/digits/train.py=python {EXAMPLES / 'train.py'}",
        )[0]
        == 0
    )
    status = Laptop(tmp_path / "state").get("digits-median-stop")["status"]
    assert status["trials"] == 8
    assert status["trialsSucceeded"] + status.get("trialsEarlyStopped", 0) == 8
    assert status["currentOptimalTrial"]["parameterAssignments"] == [{"name": "lr", "value": "0.1"}]
    train = next(
        metric
        for metric in status["currentOptimalTrial"]["observation"]["metrics"]
        if metric["name"] == "Train-accuracy"
    )
    assert train["latest"] == train["max"] == "0.8250"


@on_the_laptop
def test_an_experiment_with_a_json_file_runs(tune, tmp_path):
    assert (
        tune(
            EXAMPLES / "file-json.yaml",
            "--command",
            f"/opt/digits/train.py={EXAMPLES / 'train.py'}",
        )[0]
        == 0
    )
    kept = Laptop(tmp_path / "state")
    assert kept.get("digits-file-json")["status"]["trialsSucceeded"] == 5
    for trial in kept.trials("digits-file-json"):
        assigned = {
            one["name"]: float(one["value"]) for one in trial["spec"]["parameterAssignments"]
        }
        accuracy, loss = trial["status"]["observation"]["metrics"]
        assert float(accuracy["latest"]) == pytest.approx(0.9 - assigned["lr"] - 0.1 / 3, abs=1e-4)
        assert float(loss["min"]) == pytest.approx(1 - float(accuracy["max"]), abs=1e-4)
        assert 0.0099 < assigned["lr"] < 0.0301
        assert round(assigned["momentum"], 6) in (0.3, 0.4, 0.5, 0.6, 0.7)
