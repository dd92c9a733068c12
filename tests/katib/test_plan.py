"""What the laptop would not run faithfully is refused before anything starts, with the field's
path.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import spec
from kubeflow_workshop.katib.plan import expand, localise, localised, plan
from tests.katib.experiments import DOUBLE, choice, experiment

JOB = "spec.trialTemplate.trialSpec.spec"
POD = f"{JOB}.template.spec"


def refusal(document: dict, commands=()) -> str:
    view = spec.check(document)
    with pytest.raises(CourseError) as caught:
        plan(view, commands)
    return str(caught.value)


def with_pod(**fields: object) -> dict:
    document = experiment()
    document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"] |= fields
    return document


@pytest.mark.parametrize(("document", "says"), [
    (with_pod(volumes=[{"name": "data", "emptyDir": {}}]), f"{POD}.volumes: is not carried out on the laptop; leave it out; allowed are "),
    (with_pod(initContainers=[{"name": "first", "image": "none"}]), f"{POD}.initContainers: is not carried out"),
    (with_pod(containers=[*with_pod()["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"], {"name": "second", "image": "none"}]),
     f"{POD}.containers: there are 2; the laptop runs one container a trial"),
    (with_pod(hostNetwork=True), f"{POD}.hostNetwork: is not carried out"),
    (experiment(container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}), f"{POD}.containers[0].volumeMounts: is not carried out"),
    (experiment(container={"envFrom": [{"secretRef": {"name": "secret"}}]}), f"{POD}.containers[0].envFrom: is not carried out"),
    (experiment(container={"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
     f"{POD}.containers[0].env[1].valueFrom: is read from a cluster; give a literal value"),
    (experiment(container={"livenessProbe": {"exec": {"command": ["true"]}}}), f"{POD}.containers[0].livenessProbe: is not carried out"),
    (experiment(container={"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}), f"{POD}.containers[0].lifecycle: is not carried out"),
    (experiment(container={"workingDir": "/no/such/folder"}), f"{POD}.containers[0].workingDir: /no/such/folder does not exist here"),
    (experiment("no-such-program"), f"{POD}.containers[0].command: no-such-program does not exist here; say what to run in its place: --command"),
    (experiment("python3", "/opt/none.py"), f"{POD}.containers[0].command: /opt/none.py does not exist here"),
    (experiment("python3", "-u", "/opt/none.py"), f"{POD}.containers[0].command: /opt/none.py does not exist here"),
    (experiment("python3", "-m", "no_such_module"), f"{POD}.containers[0].command: no_such_module does not exist here"),
    (experiment(container={"command": [], "args": ["${trialParameters.x}"]}), f"{POD}.containers[0].command: is missing, and the image that knows it"),
    (experiment(job={"parallelism": 2}), f"{JOB}.parallelism: is 2; the laptop runs one process a trial"),
    (experiment(job={"completions": 2}), f"{JOB}.completions: is 2"),
    (experiment(job={"suspend": True}), f"{JOB}.suspend: is true"),
    (experiment(job={"podFailurePolicy": {"rules": []}}), f"{JOB}.podFailurePolicy: is not carried out"),
    (experiment(algorithm="cmaes"), "spec.algorithm.algorithmName: cmaes does not run on the laptop yet; use one of random, grid, tpe, multivariate-tpe"),
    (experiment(parameters=[DOUBLE | {"feasibleSpace": {"min": "0", "max": "1", "distribution": "normal"}}]),
     "normal does not run on the laptop yet; use one of uniform, logUniform"),
    (experiment(metricsCollectorSpec={"collector": {"kind": "TensorFlowEvent"}}), "TensorFlowEvent does not run on the laptop yet; use one of StdOut"),
    (experiment(maxTrialCount=None), "spec.maxTrialCount: is missing, and there is no goal"),
    (experiment(maxTrialCount=None, objective={"goal": None}), "spec.maxTrialCount: is missing, and there is no goal"),
])  # fmt: skip
def test_what_the_laptop_would_not_run_faithfully_is_refused(document, says):
    assert refusal(document).startswith(says) or says in refusal(document)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
        ("kubeflow.org/v1", "PyTorchJob"),
        ("argoproj.io/v1alpha1", "Workflow"),
    ],
)
def test_a_template_of_another_kind_is_refused_by_name(version, kind):
    document = experiment()
    document["spec"]["trialTemplate"]["trialSpec"] |= {"apiVersion": version, "kind": kind}
    assert (
        refusal(document)
        == f"spec.trialTemplate.trialSpec: is a {kind} ({version}); the laptop runs a Job"
        " (batch/v1); send this one to a cluster."
    )


def test_a_template_in_a_config_map_and_conditions_of_ones_own_are_refused():
    document = experiment()
    template = document["spec"]["trialTemplate"]
    template["successCondition"] = "status.succeeded"
    assert refusal(document).startswith("spec.trialTemplate.successCondition: is one of your own")
    del template["successCondition"], template["trialSpec"]
    template["configMap"] = {"configMapName": "a", "configMapNamespace": "b", "templatePath": "c"}
    assert refusal(document).startswith("spec.trialTemplate.configMap: is kept on a cluster")


def test_nulls_are_as_good_as_nothing():
    document = experiment(
        parallelTrialCount=None,
        objective={"goal": None, "additionalMetricNames": None, "metricStrategies": None},
        job={"backoffLimit": None, "parallelism": None},
        container={"env": None, "args": None},
        metricsCollectorSpec={"collector": None, "source": None},
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": None},
    )
    document["spec"]["trialTemplate"]["successCondition"] = None
    document["spec"]["parameters"][0]["feasibleSpace"]["distribution"] = None
    assert plan(spec.check(document)).attempts == 1


def test_the_plan_holds_command_environment_attempts_and_deadline(tmp_path):
    variables = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C) $$(A)"},
        {"name": "C", "value": "${trialParameters.x}"},
        {"name": "D"},
    ]
    document = experiment(
        "sh",
        "-c",
        "true",
        container={"args": ["a"], "env": variables, "workingDir": str(tmp_path)},
        job={"backoffLimit": 2, "activeDeadlineSeconds": 9},
    )
    made = plan(spec.check(document))
    assert made.command == ["sh", "-c", "true", "--x=${trialParameters.x}", "a"]
    # only what stands before it is filled in
    assert made.environment == {"A": "1", "B": "1$(C) $(A)", "C": "${trialParameters.x}", "D": ""}
    assert (made.attempts, made.deadline, made.folder) == (3, 9, tmp_path)


@pytest.mark.parametrize(("text", "becomes"), [
    ("$(A)", "1"), ("a$(A)b$(A)", "a1b1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$$", "$"), ("$A ${A} $", "$A ${A} $"), ("$(A", "$(A"),
])  # fmt: skip
def test_variables_are_expanded_as_kubernetes_does(text, becomes):
    assert expand(text, {"A": "1"}) == becomes


def test_a_program_that_is_not_here_is_mapped():
    document = experiment("python3", "/opt/mnist.py", "--lr=${trialParameters.x}")
    made = plan(spec.check(document), [("/opt/mnist.py", "-m timeit")])
    assert made.command == ["python3", "-m", "timeit", "--lr=${trialParameters.x}"]
    assert "-m timeit runs in the place of /opt/mnist.py." in made.differences
    made = plan(
        spec.check(document), [("python3 /opt/mnist.py", f"{shlex.quote(sys.executable)} -c ''")]
    )
    assert made.command == [sys.executable, "-c", "", "--lr=${trialParameters.x}"]
    with pytest.raises(CourseError, match=r"mnst\.py' is not in the command"):
        plan(spec.check(document), [("/opt/mnst.py", "true")])


@pytest.mark.parametrize("pair", [("'open", "true"), ("/opt/mnist.py", "'open"), ("python3", " ")])
def test_a_mapping_that_cannot_be_read_is_refused(pair):
    document = experiment("python3", "/opt/mnist.py", "--lr=${trialParameters.x}")
    with pytest.raises(CourseError, match="--command"):
        plan(spec.check(document), [pair])


def test_what_differs_from_a_cluster_is_said():
    file = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"kind": "File", "path": "/m.log"}},
    }
    document = experiment(
        container={"resources": {"limits": {"cpu": "1"}}, "args": ["--log=/m.log"]},
        metricsCollectorSpec=file,
    )
    del document["spec"]["trialTemplate"]["trialSpec"]["spec"]["backoffLimit"]
    said = " ".join(plan(spec.check(document)).differences)
    for words in (
        "image none is not pulled",
        "not tried again",
        "names /m.log, each trial gets a file of its own",
        f"folder of its own, which has copies of the files in {Path.cwd()}",
        "limits of cores and memory are not enforced",
    ):
        assert words in said


@pytest.mark.parametrize(("text", "made"), [
    ("/x/m", "OWN"),
    ("--log=/x/m", "--log=OWN"),
    ("a:/x/m,/x/m", "a:OWN,OWN"),
    ("open('/x/m', 'w')", "open('OWN', 'w')"),
    ("/x/model /x/m.bak /x/m/y /y/x/m a/x/m file:///x/m", "/x/model /x/m.bak /x/m/y /y/x/m a/x/m file:///x/m"),
    ("../a --b=../c d/../e ..", "/up/a --b=/up/c d/../e .."),
])  # fmt: skip
def test_only_whole_paths_are_replaced(text, made):
    assert localised(text, {"/x/m": "OWN"}, Path("/up")) == made


@pytest.mark.parametrize("script", [
    "printf %s /x/m",
    "printf %s '/x/m'",
    'printf %s "/x/m"',
    """printf %s "it's" /x/m""",
    'printf %s \\" /x/m',
    'a="/x/m"; printf %s "$a"',
])  # fmt: skip
def test_a_path_in_a_shells_script_is_quoted_as_its_place_asks(script):
    own = '/o\'n "$HOME" `x` \\ /m'
    words = localise(["sh", "-ec", script], {"/x/m": own}, Path("/up"))
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.rstrip("\n").endswith(own)
    assert localise(["python", "-c", "/x/m"], {"/x/m": own}, Path("/up"))[2] == own


HERE = f"{POD}.containers[0]"


@pytest.mark.parametrize(("document", "places"), [
    (experiment("python3", "-c", "x = float('${trialParameters.x}')"), ["command[2]"]),
    (experiment("python3", "-c", "import this", "two words", container={"args": ["a*", "plain", ""]}), ["command[2]", "command[3]", "args[0]", "args[2]"]),
    (experiment("python3", "-c", "pass", "$(A)", "$(B)", container={"env": [{"name": "A", "value": "1"}]}), ["command[4]"]),
    (experiment("python3", "-c", "pass", "$(A)", container={"env": [{"name": "A", "value": "1 2"}]}), ["command[3]"]),
    (experiment("python3", "--version", parameters=[choice("categorical", "a", "b c")]), ["command[2]"]),
    (experiment("sh", "-c", "echo '${trialParameters.x}'; exit", container={"args": ["one"]}), ["args[0]"]),
    (experiment("python3", "-m", "timeit", "~x"), ["command[3]"]),
])  # fmt: skip
def test_words_that_katib_would_not_quote_are_named(document, places):
    (said,) = [line for line in plan(spec.check(document)).differences if "without quot" in line]
    named = ", ".join(f"{HERE}.{place}" for place in places)
    assert f"so that {named} would mean something else there; " in said


@pytest.mark.parametrize("document", [
    experiment("python3", "-m", "timeit", "--a=b,c/d:e@f%g+h", "x~y", "a#b", "-1e-3"),
    experiment("sh", "-c", "echo 'loss=${trialParameters.x}'; echo \"done\""),
    experiment("bash", "-c", "for x in 1 2; do echo loss=${trialParameters.x}; done"),
    experiment("python3", "--version", parameters=[choice("categorical", "a", "b-c")]),
])  # fmt: skip
def test_words_that_katib_joins_as_they_are_need_no_word(document):
    assert "without quotation marks" not in " ".join(plan(spec.check(document)).differences)
