"""Experiments are read as Kubernetes reads YAML, and what Katib would not take, or take and never
do, is refused with its path.
"""

import copy
import json
from pathlib import Path

import pytest
import yaml

from kubeflow_workshop import case_study, objects
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import spec
from tests.katib.experiments import DOUBLE, changed, choice, experiment, number, places

EXAMPLES = Path(__file__).parent / "examples"
TRIAL = "spec.trialTemplate.trialSpec"
FREE = (".labels.", ".annotations.", ".limits.", ".requests.")
"""Below these the user chooses the names."""


def refusal(document: object) -> str:
    with pytest.raises(CourseError) as caught:
        spec.check(document)
    return str(caught.value)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "experiment.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def documents() -> list:
    found = [case_study.experiment()] + [
        yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.glob("*.yaml"))
    ]
    return [pytest.param(document, id=document["metadata"]["name"]) for document in found]


@pytest.mark.parametrize("document", documents())
def test_a_misspelt_field_anywhere_is_refused_with_its_path(document):
    spec.check(document)
    tried = 0
    for path, holder, key in places(document):
        if isinstance(holder, list) or any(free in path for free in FREE):
            continue
        wrong = changed(
            document, path, lambda holder, key: holder.update({f"{key}x": holder.pop(key)})
        )
        said = refusal(wrong)
        # without these it is no Experiment, or no Job
        if path in ("apiVersion", "kind", f"{TRIAL}.apiVersion", f"{TRIAL}.kind"):
            assert said.startswith((f"{path}: is None", f"{TRIAL}: has no apiVersion or no kind"))
        else:
            assert said.startswith(f"{path}x: "), said
            assert f"did you mean {key}?" in said
        tried += 1
    assert tried > 40


@pytest.mark.parametrize("document", documents())
def test_a_value_of_another_type_anywhere_is_refused_with_its_path(document):
    for path, holder, key in places(document):
        value = holder[key]
        others = [
            other
            for other in (["text"], {"a": "b"}, 7, True, "text")
            if not isinstance(other, type(value))
        ]
        quantity = any(part in path for part in (".limits.", ".requests."))
        if isinstance(value, int | float) or quantity:  # a quantity may be a number
            others = [
                other
                for other in others
                if type(other) is not int and (not quantity or other != "text")
            ]
        for other in others:
            said = refusal(
                changed(
                    document, path, lambda holder, key, other=other: holder.__setitem__(key, other)
                )
            )
            assert said.startswith((path, f"{path}:")), (other, said)


@pytest.mark.parametrize("document", documents())
def test_null_anywhere_means_that_the_field_is_not_there(document):
    """The API server drops nulls: a document with one is as good as one without the field."""
    for path, holder, _ in places(document):
        if isinstance(holder, list):
            assert "null" in refusal(
                changed(document, path, lambda holder, key: holder.__setitem__(key, None))
            )
            continue
        answers = []
        for change in (
            lambda holder, key: holder.update({key: None}),
            lambda holder, key: holder.pop(key),
        ):
            try:
                spec.check(changed(document, path, change))
                answers.append(None)
            except CourseError as error:
                answers.append(str(error))
        assert answers[0] == answers[1], path


@pytest.mark.parametrize(("change", "says"), [
    ({"algorithm": {"algorithmName": "grdi"}}, "spec.algorithm.algorithmName: 'grdi' is no algorithm of Katib's; use one of random, grid, tpe"),
    ({"algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "seed", "value": "1"}]}},
     "spec.algorithm.algorithmSettings[0].name: random has no setting 'seed'; use one of random_state"),
    ({"algorithm": {"algorithmName": "tpe", "algorithmSettings": [{"name": "gamma", "value": "2"}]}},
     "spec.algorithm.algorithmSettings[0].value: gamma is '2', and must be a number between 0 and 1"),
    ({"algorithm": {"algorithmName": "tpe", "algorithmSettings": [{"name": "random_state", "value": "-1"}]}}, "must be a whole number of at least 0"),
    ({"earlyStopping": {"algorithmName": "median"}}, "spec.earlyStopping.algorithmName: 'median' is no algorithm of Katib's; use one of medianstop"),
    ({"earlyStopping": {"algorithmName": "medianstop", "algorithmSettings": [{"name": "step", "value": "1"}]}}, "use one of min_trials_required, start_step"),
    ({"parallelTrialCount": 0}, "spec.parallelTrialCount: is 0; give a whole number of at least 1"),
    ({"parallelTrialCount": 4}, "spec.parallelTrialCount: 4 is more than maxTrialCount, 3"),
    ({"maxTrialCount": 0}, "spec.maxTrialCount: is 0; give a whole number of at least 1"),
    ({"maxFailedTrialCount": -1}, "spec.maxFailedTrialCount: is -1; give a whole number of at least 0"),
    ({"maxFailedTrialCount": 4}, "spec.maxFailedTrialCount: 4 is more than maxTrialCount, 3"),
    ({"resumePolicy": "Always"}, "spec.resumePolicy: is 'Always'; use one of Never, LongRunning, FromVolume"),
    ({"objective": {"type": "minimise", "objectiveMetricName": "loss"}}, "spec.objective.type: is 'minimise'; use one of minimize, maximize"),
    ({"objective": {"type": "minimize"}}, "spec.objective.objectiveMetricName: is missing"),
    ({"objective": {"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["loss"]}}, "names the objective, loss, again"),
    ({"objective": {"type": "minimize", "objectiveMetricName": "loss", "metricStrategies": [{"name": "acc", "value": "max"}]}},
     "spec.objective.metricStrategies[0].name: 'acc' is no metric of this Experiment"),
    ({"objective": {"type": "minimize", "objectiveMetricName": "loss", "metricStrategies": [{"name": "loss", "value": "mean"}]}},
     "spec.objective.metricStrategies[0].value: is 'mean'; use one of min, max, latest"),
    ({"objective": {"type": "minimize", "objectiveMetricName": "loss", "goal": float("nan")}}, "spec.objective.goal: is nan, and must be a number"),
    ({"objective": {"type": "minimize", "objectiveMetricName": "loss", "goal": float("inf")}}, "spec.objective.goal: is inf, and must be a number"),
    ({"parameters": []}, "spec: has both parameters and nasConfig, or neither"),
    ({"parameters": [number(min="2", max="1")]}, "spec.parameters[0].feasibleSpace: min 2 is above max 1"),
    ({"parameters": [number(min="0")]}, "spec.parameters[0].feasibleSpace.max: is missing"),
    ({"parameters": [number(min="0", max="one")]}, "spec.parameters[0].feasibleSpace.max: is 'one'; give a number, in quotes"),
    ({"parameters": [number(min="0", max="1_0")]}, "spec.parameters[0].feasibleSpace.max: is '1_0'; give a number, in quotes"),
    ({"parameters": [number(min="0", max="nan")]}, "spec.parameters[0].feasibleSpace.max: is 'nan'"),
    ({"parameters": [number("int", min="0", max="1.5")]}, "spec.parameters[0].feasibleSpace.max: is '1.5'; give a whole number, in quotes"),
    ({"parameters": [number(min="0", max="1", step="0")]}, "spec.parameters[0].feasibleSpace.step: is 0; give a step above 0"),
    ({"parameters": [number(min="0", max="1", distribution="logUniform")]}, "feasibleSpace.min: is 0, and a logarithmic scale begins above 0"),
    ({"parameters": [number(min="0", max="1", distribution="log")]}, "feasibleSpace.distribution: is 'log'; use one of uniform, logUniform, normal, logNormal"),
    ({"parameters": [choice("categorical")]}, "spec.parameters[0].feasibleSpace.list: is empty"),
    ({"parameters": [choice("discrete", "1", "two")]}, "spec.parameters[0].feasibleSpace.list[1]: is 'two', which is no number"),
    ({"parameters": [choice("categorical", "a", "a")]}, "spec.parameters[0].feasibleSpace.list[1]: 'a' stands there twice"),
    ({"parameters": [DOUBLE | {"parameterType": "float"}]}, "spec.parameters[0].parameterType: is 'float'; use one of double, int, discrete, categorical"),
    ({"parameters": [DOUBLE, DOUBLE]}, "spec.parameters[1].name: x stands there twice"),
    ({"parameters": [DOUBLE, DOUBLE | {"name": "y"}]}, "spec.trialTemplate.trialParameters: none refers to the parameter y"),
    ({"parameters": [DOUBLE | {"name": "y"}]}, "spec.trialTemplate.trialParameters[0].reference: 'x' is no parameter of this Experiment; use one of y"),
    ({"metricsCollectorSpec": {"collector": {"kind": "Stdout"}}}, "spec.metricsCollectorSpec.collector.kind: is 'Stdout'; use one of StdOut, File"),
    ({"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(a)"]}}}}, "metricsFormat[0]: has fewer than two groups"),
    ({"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(a)(b"]}}}}, "metricsFormat[0]: is no regular expression"),
    ({"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(a)(?=b)(c)"]}}}}, "metricsFormat[0]: (?= is unknown to Go's regular expressions"),
    ({"metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"kind": "File", "path": "m.log"}}}},
     "spec.metricsCollectorSpec.source.fileSystemPath.path: is 'm.log'; give the whole path"),
    ({"metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"kind": "File", "format": "CSV"}}}},
     "fileSystemPath.format: is 'CSV'; use one of TEXT, JSON"),
])  # fmt: skip
def test_what_katib_would_not_take_is_refused_with_path_and_what_is_allowed(change, says):
    document = experiment()
    document["spec"] |= change
    assert says in refusal(document)


@pytest.mark.parametrize(("path", "value", "says"), [
    ("spec.trialTemplate.primaryContainerName", "main", "containers: none is named main, as primaryContainerName says; there is ['training']"),
    ("spec.trialTemplate.trialSpec.spec.template.spec.restartPolicy", "Always", "restartPolicy: is 'Always', and a Job needs Never or OnFailure"),
    ("spec.trialTemplate.trialSpec.kind", "", "spec.trialTemplate.trialSpec: has no apiVersion or no kind"),
    ("spec.trialTemplate.trialSpec.metadata", {"name": "mine"}, "spec.trialTemplate.trialSpec.metadata.name: must not be given"),
    ("spec.trialTemplate.configMap", {"configMapName": "a"}, "spec.trialTemplate.trialSpec: is missing, or stands beside a configMap"),
    ("spec.trialTemplate.trialParameters", [], "spec.trialTemplate.trialParameters: none refers to the parameter x"),
    ("spec.trialTemplate.trialSpec.spec.template.spec.containers[0].command", ["true"], "trialParameters[0].name: x is used nowhere in trialSpec"),
    ("spec.trialTemplate.trialSpec.spec.template.spec.containers[0].args", ["${trialParameters.z}"], "${trialParameters.z} is no trial parameter"),
    ("metadata.name", "Big", "metadata.name: 'Big' is no name"),
    ("metadata.name", "a" * 55, "is no name"),
    ("apiVersion", "kubeflow.org/v1", "apiVersion: is 'kubeflow.org/v1', and must be kubeflow.org/v1beta1"),
    ("kind", "Deployment", "kind: is 'Deployment', and must be Experiment"),
])  # fmt: skip
def test_a_template_that_does_not_hold_together_is_refused(path, value, says):
    document = experiment()
    *above, last = path.replace("[0]", ".0").split(".")
    holder = document
    for step in above:
        holder = holder[int(step) if step.isdigit() else step]
    holder[last] = value
    assert says in refusal(document)


def test_a_name_that_is_to_be_made_leaves_room_for_what_is_added():
    document = experiment()
    document["metadata"] = {"generateName": "try-"}
    spec.check(document)
    document["metadata"] = {"generateName": "a" * 50}
    assert "metadata.generateName: " in refusal(document)


def test_a_grid_needs_steps_and_enough_points():
    parameters = [number(min="0", max="1", step="0.5"), choice("categorical", "a", "b", name="y")]
    spec.check(experiment(algorithm="grid", parameters=parameters, maxTrialCount=6))
    assert refusal(experiment(algorithm="grid", parameters=parameters, maxTrialCount=7)).startswith(
        "spec.maxTrialCount: 7 is more than the 6 points of the grid"
    )
    assert refusal(experiment(algorithm="grid")).startswith(
        "spec.parameters[0].feasibleSpace.step: is missing, and a grid needs one"
    )


def test_a_huge_grid_is_counted_and_not_built():
    spec.check(
        experiment(algorithm="grid", parameters=[number("int", min="0", max="1000000000000")])
    )


def test_a_search_for_architectures_is_taken_though_its_references_are_no_parameters():
    """Katib's darts and enas hand out values of their own names."""
    document = experiment("sh", "-c", "echo ${trialParameters.x}", algorithm="darts")
    document["spec"]["nasConfig"] = {
        "graphConfig": {"numLayers": 1},
        "operations": [{"operationType": "max_pooling", "parameters": []}],
    }
    del document["spec"]["parameters"]
    document["spec"]["trialTemplate"]["trialParameters"] = [
        {"name": "x", "reference": "search-space"}
    ]
    spec.check(document)


def test_the_builders_keep_every_digit():
    assert spec.integer("n", 1, 1234567).feasible_space.max == "1234567"
    assert spec.discrete("n", [1234567, 0.0003]).feasible_space.list == ["1234567", "0.0003"]
    assert spec.double("n", 0.12345678, 2, step=0.00012345).feasible_space.step == "0.00012345"


def test_the_case_study_is_an_experiment_whose_trials_run_the_training_program():
    made = case_study.experiment(
        "grid",
        {"random_state": 3},
        parameters=[spec.discrete("units", [8, 16])],
        max_trials=2,
        parallel=1,
        early_stopping=False,
        name="mine",
    )
    content = made["spec"]
    assert made["metadata"] == {"name": "mine"}
    assert content["algorithm"] == {
        "algorithmName": "grid",
        "algorithmSettings": [{"name": "random_state", "value": "3"}],
    }
    assert (
        content["maxTrialCount"],
        content["parallelTrialCount"],
        content["maxFailedTrialCount"],
    ) == (2, 1, 2)
    assert "earlyStopping" not in content
    command = content["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0][
        "command"
    ]
    assert command[:3] == ["python", "-m", "kubeflow_workshop.stock.train"]
    assert command[-1] == "--units=${trialParameters.units}"
    with pytest.raises(CourseError, match="more than the 2 points"):
        case_study.experiment("grid", parameters=[spec.discrete("units", [8, 16])])


# --- reading files


@pytest.mark.parametrize(("text", "says"), [
    ("", "holds 0 documents; give a file with one Experiment"),
    ("---\n---\n", "holds 0 documents"),
    ("a: 1\n---\nb: 2\n", "holds 2 documents"),
    ("a: 1\nspec:\n  b: 1\n  b: 2\n", "line 4 is no YAML ('b' stands twice in one mapping)"),
    ("a: 1\n\tb: 2\n", "line 2 is no YAML (found character '\\t' that cannot start any token)"),
    ("a: [1\n", "is no YAML"),
    ("a: !!python/object:os.system x\n", "line 1 is no YAML (could not determine a constructor"),
    ("name: {{ value }}\n", "line 1 is no YAML"),
    ("[" * 5000 + "]" * 5000, "line 1 is no YAML (there are more than 200 brackets in each other)"),
    ("{a: " * 5000 + "1" + "}" * 5000, "line 1 is no YAML (there are more than 200 brackets"),
    ("a: &a [x, x, x, x]\nb: &b [" + "*a, " * 500 + "]\nc: [" + "*b, " * 500 + "]\n", "line 3 is no YAML (its aliases make it too large)"),
    ("a0: &a0 1\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)), "is no YAML (its aliases make it too large)"),
    ("a: &a [*a]\n", "is no YAML"),
    (b"\x00\x01\x02\xff\xfe", "is no YAML"),
    ("x: \x00", "is no YAML"),
    ("just text", "is no Experiment but a str"),
    ("- 1", "is no Experiment but a list"),
    ("apiVersion: apps/v1\nkind: Deployment\n", "apiVersion: is 'apps/v1', and must be kubeflow.org/v1beta1"),
])  # fmt: skip
def test_a_file_that_is_no_experiment_is_refused_in_one_sentence(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(CourseError) as caught:
        spec.read(path)
    assert str(path) in str(caught.value)
    assert says in " ".join(str(caught.value).split())


def test_a_file_that_is_not_there_or_a_directory_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"cannot be read \(No such file or directory\)"):
        spec.read(tmp_path / "none.yaml")
    with pytest.raises(CourseError, match=r"cannot be read \(Is a directory\)"):
        spec.read(tmp_path)


def test_yaml_is_read_as_kubernetes_reads_it(tmp_path):
    document = experiment(
        objective={"goal": "GOAL"}, container={"env": [{"name": "DAY", "value": "2012-03-01"}]}
    )
    text = yaml.safe_dump(document).replace("GOAL", "1e-3").replace("'2012-03-01'", "2012-03-01")
    read = spec.read(written(tmp_path, text))
    assert read["spec"]["objective"]["goal"] == 0.001
    variables = read["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"][
        "containers"
    ][0]["env"]
    assert variables == [{"name": "DAY", "value": "2012-03-01"}]


def test_anchors_and_merge_keys_are_filled_in(tmp_path):
    text = json.dumps(experiment(parameters=[DOUBLE, DOUBLE | {"name": "y"}]))
    space = json.dumps(DOUBLE["feasibleSpace"])
    first, second, third = text.split(space)
    read = spec.read(
        written(tmp_path, f'{first}&space {space}{second}{{<<: *space, "max": "2"}}{third}')
    )
    assert [one["feasibleSpace"] for one in read["spec"]["parameters"]] == [
        {"min": "0", "max": "1"},
        {"min": "0", "max": "2"},
    ]


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_is_printed_reads_as_it_was(tmp_path, form):
    """Texts that look like numbers, days or switches stay texts, for us and for kubectl."""
    texts = [
        "1e-3",
        "1e-05",
        "1.0",
        "007",
        "2012-03-01",
        "yes",
        "null",
        "",
        "~",
        "0x1F",
        "12:30",
        "a: b",
        "ü",
    ]
    document = experiment(
        container={
            "env": [{"name": f"V{number}", "value": text} for number, text in enumerate(texts)]
        }
    )
    assert spec.read(written(tmp_path, objects.as_text(document, form))) == document
    assert yaml.safe_load(objects.as_text(document, form)) == document


def test_nothing_is_changed_by_checking():
    document = case_study.experiment()
    before = copy.deepcopy(document)
    spec.check(document)
    assert document == before
