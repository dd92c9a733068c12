"""What notebook 06 says of pipelines.

States, verdicts and what is cached are the same on every machine; times are not, and only what the
text says of them is tested.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from kubeflow_workshop.stock import checks, prices
from tests.notebooks.claims import claim

PATH = Path(__file__).parents[2] / "tutorials/06-pipelines.ipynb"


def listing(language: str) -> str:
    """The only listing of that language among the notebook's prose."""
    cells = nbformat.read(PATH, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", prose, re.MULTILINE | re.DOTALL)
    return found


def states(run: str) -> str:
    """An expression: the states of a run's tasks, by id."""
    return f"{{one['task_id']: one['state'] for one in door.tasks({run}['run_id'])}}"


def cached(run: str) -> str:
    """An expression: the tasks of a run whose result is an earlier one's."""
    return f"[one['task_id'] for one in door.tasks({run}['run_id']) if one.get('cached')]"


@claim("06", "0.28 dollars, or 0.55: both look like an error, and nothing complained.")
def test_the_wrong_column_is_not_noticed(notebook):
    assert notebook(
        "[round(evaluate.mae(days.today, days.targets), 2) for days in"
        " (windows(msft[column], 1) for column in ('adj_close', 'close'))]"
    ) == [0.28, 0.55]


@claim("06", "the price falls by half in a night in February 2003")
def test_the_split_is_in_february_2003(notebook):
    day, change = notebook(
        "(lambda change: (str(change.idxmin().date()), float(change.min())))("
        "msft.close.pct_change())"
    )
    assert day == "2003-02-18"
    assert change == pytest.approx(-0.5, abs=0.03)


@claim("06", "for no gap of more than ten days, for half a year of days at least")
@claim("06", "They need no TensorFlow, so they say no within seconds")
def test_what_the_check_asks_for(notebook):
    assert prices.LONGEST_GAP.days == 10
    assert checks.FEWEST_DAYS == 120
    ran = (
        "import sys; from kubeflow_workshop.stock import checks, prices;"
        " checks.check(prices.load('IBM')); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", ran], check=True)


@claim("06", "Nobody has written that: it takes the prices of `fetch`, so it must wait.")
def test_the_order_follows_from_the_data(notebook):
    tasks = notebook("compiled['root']['dag']['tasks']")
    assert tasks["check-prices"]["dependentTasks"] == ["fetch"]
    assert "dependentTasks" not in tasks["fetch"]


@claim("06", "And where is the Python of the steps? It is in the file, too, as text")
def test_the_source_of_a_step_is_in_the_yaml(notebook):
    source = notebook("container['command'][-1]")
    names = [one.name for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)]
    assert names == ["check_prices"]


@claim("06", "Two boxes, an arrow, and both are done.")
def test_the_first_two_steps_run(notebook):
    assert notebook(states("first")) == {"fetch": "SUCCEEDED", "check-prices": "SUCCEEDED"}


@claim("06", "What ran is the file, not the Python function above")
def test_what_runs_is_the_file(notebook):
    assert notebook(
        "[door.pipeline(one['run_id']).read_bytes() == file.read_bytes() for one, file in"
        " ((first, ROOM / 'two-steps.yaml'), (ibm, PIPELINE))]"
    ) == [True, True]


@claim("06", "`fetch` did what it was told, `check-prices` has failed, and `judge` has not begun.")
def test_bad_prices_stop_the_run(notebook):
    assert notebook(states("spoilt")) == {"fetch": "SUCCEEDED", "check-prices": "FAILED"}
    assert notebook("spoilt['state']") == "FAILED"


@claim(
    "06",
    "It names the step, the rule, the day on which the rule is broken, with the price of that day,"
    " and the file with the step's log.",
)
def test_one_message_says_why_the_run_stopped(notebook):
    message = notebook("spoilt['error']['message']")
    assert message.startswith("step check-prices failed: ")
    assert "adj_close must not jump overnight" in message
    assert "2003-02-18, where it is 24.96" in message
    assert message.endswith("logs/check-prices.log")
    assert notebook("Path(spoilt['error']['message'].split()[-1]).is_file()")


@claim("06", "The mean of two days has a skill of −0.114: it is worse than persistence by 11 %")
@claim("06", "Two boxes say *cached*: the very same `fetch` and `check-prices` had run in the")
def test_a_generous_gate_lets_the_mean_pass(notebook):
    returned = notebook("returned(yes)")
    assert returned["judge"] == pytest.approx(-0.114, abs=0.0005)
    assert returned["gate"] == "accepted"
    assert returned["register"] == "MSFT: the mean of 2 days would be registered"
    assert notebook(cached("yes")) == ["fetch", "check-prices"]


@claim("06", "The gate said no, and `register` is `SKIPPED`: it was never started.")
@claim("06", "The run itself has `SUCCEEDED`.")
@claim("06", "Everything up to `judge` is known already.")
def test_a_strict_gate_skips_the_register_step(notebook):
    assert notebook("returned(no)['gate']") == "refused"
    assert notebook(states("no"))["register"] == "SKIPPED"
    assert notebook("no['state']") == "SUCCEEDED"
    assert notebook("door.logs(no['run_id'], 'register')") == ""
    assert notebook(cached("no")) == ["fetch", "check-prices", "judge"]


@claim("06", "so the compiler wrote `double(0)`")
@claim("06", "takes the condition for false **without an error**")
def test_kfp_local_alone_takes_a_float_against_a_whole_number_for_false(notebook):
    """What a whole run says is in tests/pipelines/test_local_traps.py."""
    from kfp.local import io
    from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

    from kubeflow_workshop.pipelines.local_traps import condition_holds

    whole, decimal = notebook(
        "[one['triggerPolicy']['condition'] for one in"
        " objects.read_all(ROOM / 'trap.yaml')[0]['root']['dag']['tasks'].values()"
        " if 'triggerPolicy' in one]"
    )
    assert whole.endswith("> double(0)")
    assert decimal.endswith("> 0.0")
    name = "pipelinechannel--judge-Output"
    store = io.IOStore()
    store.put_task_output("judge", "Output", 0.5)
    alone = ConditionEvaluator.evaluate_condition
    assert [alone(whole, store), alone(decimal, store)] == [False, True]
    assert condition_holds(whole, {name: 0.5})


@claim("06", "IBM is done, and the second `fetch` has failed.")
@claim("06", "**One failed stock fails the run**, and `compare` has not begun")
def test_one_failed_stock_fails_the_run(notebook):
    found = notebook(states("typo"))
    assert found["judge.0"] == "SUCCEEDED"
    assert found["fetch.1"] == "FAILED"
    assert not {"compare", "judge.1", "check-prices.1"} & set(found)
    assert notebook("typo['state']") == "FAILED"
    assert "MFST" in notebook("typo['error']['message']")


@claim("06", "IBM came from the run that had failed, Microsoft from the gate's, and only the table")
@claim("06", "For both, the mean of two days is worse than persistence, by 11 to 12 %.")
def test_the_next_run_goes_on_from_there(notebook):
    skills = notebook("returned(collected)['compare']")
    assert sorted(skills) == ["IBM", "MSFT"]
    assert sorted(round(-100 * skill) for skill in skills.values()) == [11, 12]
    ran = set(notebook(states("collected"))) - set(notebook(cached("collected")))
    assert ran == {"compare"}
    assert notebook("collected['state']") == "SUCCEEDED"


@claim("06", "most of it went into `train` and `evaluate`")
@claim("06", "`tune` was skipped, since we did not ask for a search.")
def test_where_the_time_went(notebook):
    seconds = notebook("{one['task_id']: table.duration(one) for one in tasks}")
    heavy = seconds["train.0"] + seconds["evaluate.0"]
    assert heavy > 0.5 * sum(one for one in seconds.values() if one)
    assert notebook(states("ibm"))["tune.0"] == "SKIPPED"


@claim("06", "`evaluate` has logged five")
def test_five_metrics_are_logged(notebook):
    assert notebook("list(table.metrics(tasks).loc['evaluate.0'].dropna().index)") == [
        "mae",
        "persistence_mae",
        "skill",
        "skill_high",
        "skill_low",
    ]


@claim("06", "From the version back to the run, to the fingerprint of the prices, to the settings")
def test_a_model_knows_where_it_is_from(notebook):
    said = notebook("dict(lineage.origin(version, door).lines())")
    assert notebook("ibm['run_id']") in said["run"]
    assert (
        notebook("prices.fingerprint(prices.load('IBM', start='2010-03-01'))")
        in (said["fingerprint"])
    )
    assert "epochs=30" in said["parameters"]
    assert said["gate"].startswith("Accepted: ")


@claim("06", "The gate accepted it although it does not beat persistence")
@claim("06", "even the low end of its interval, −0.047, is above −0.1")
@claim("06", "with `at_least=0`, the gate would have refused this model")
def test_a_gate_that_asks_for_more_would_have_refused_it(notebook):
    from kubeflow_workshop.stock.evaluate import Scores
    from kubeflow_workshop.stock.gate import decide

    scores = Scores.from_json(notebook("repository.card(version)['scores']['test']"))
    assert decide(scores).accepted
    assert scores.skill_low == pytest.approx(-0.047, abs=0.03)
    assert scores.skill_low < 0
    assert not decide(scores, 0).accepted


@claim("06", "so a file that has the same name but other prices has no models")
def test_a_changed_file_has_no_models(notebook):
    assert notebook(
        "[len(lineage.descendants(file, MODELS)) for file in (course_file('datasets/IBM.csv'),"
        " course_file('datasets/MSFT.csv'))]"
    ) == [2, 0]
    altered = (
        "(lambda frame, file: (frame.assign(adj_close=frame.adj_close + 0.01).to_csv(file),"
        " len(lineage.descendants(file, MODELS)))[1])(prices.load('IBM'), ROOM / 'IBM.csv')"
    )
    assert notebook(altered) == 0


@claim("06", "Everything was taken from the cache, except `edition` and `register`.")
@claim("06", "So it ran, and there is a version 2 now, with the same weights.")
def test_two_steps_are_never_cached(notebook):
    ran = notebook(
        "[one['display_name'] for one in door.tasks(again['run_id']) if one['state'] =="
        " 'SUCCEEDED' and not one.get('cached')]"
    )
    assert ran == ["edition", "register"]
    assert notebook("repository.versions(MODELS, 'ibm')") == [1, 2]
    one, two = notebook(
        "[repository.card(MODELS / 'ibm' / number)['files'] for number in ('1', '2')]"
    )
    assert one == two


@claim("06", "`tune` is not cached either")
@claim("06", "every step that takes `code` runs again")
def test_what_the_pipeline_says_of_the_cache(notebook):
    document = next(yaml.safe_load_all((PATH.parent / "artifacts/stock-pipeline.yaml").open()))
    tasks: dict[str, dict] = {}
    for component in (document["root"], *document["components"].values()):
        tasks |= component.get("dag", {}).get("tasks", {})
    enabled = {name for name, task in tasks.items() if task.get("cachingOptions") == {}}
    assert enabled == {"edition", "tune", "register"}  # what is not enabled is left out
    takes = {name for name, task in tasks.items() if "code" in str(task.get("inputs", {}))}
    assert {"fetch", "check", "train", "evaluate", "gate", "compare"} <= takes


@claim("06", "`create` fills it in.")
def test_the_fingerprint_is_that_of_the_package(notebook):
    assert notebook("again['runtime_config']['parameters']['code'] == spec.fingerprint()")


@claim("06", "Three: the first try, and two more.")
@claim("06", "`tell` ran although the step before had failed, and the run still counts as failed")
def test_a_step_is_tried_three_times_and_the_exit_handler_runs(notebook):
    assert notebook("door.logs(night['run_id'], 'download').count('Traceback')") == 3
    assert notebook("returned(night)") == {"tell": "to the team: FAILED"}
    assert notebook("night['state']") == "FAILED"


@claim("06", "On a cluster it takes a few lines with KFP's own client")
def test_the_listing_of_a_recurring_run_calls_what_there_is(notebook):
    import kfp

    from kubeflow_workshop.pipelines import signin

    calls = [one for one in ast.walk(ast.parse(listing("python"))) if isinstance(one, ast.Call)]
    named = {one.func.attr: one for one in calls if isinstance(one.func, ast.Attribute)}
    assert set(named) == {"client", "create_experiment", "create_recurring_run"}
    inspect.signature(signin.client).bind()
    for name in ("create_experiment", "create_recurring_run"):
        call = named[name]
        given = {word.arg: None for word in call.keywords}
        inspect.signature(getattr(kfp.Client, name)).bind(None, *call.args, **given)
    cron = next(word for word in named["create_recurring_run"].keywords if "cron" in word.arg)
    assert len(cron.value.value.split()) == 6  # its first field are the seconds
    parameters = next(yaml.safe_load_all((PATH.parent / "artifacts/stock-pipeline.yaml").open()))
    known = parameters["root"]["inputDefinitions"]["parameters"]
    params = next(w for w in named["create_recurring_run"].keywords if w.arg == "params")
    assert {key.value for key in params.value.keys} <= set(known)


@claim("06", "TensorBoard is a small web server, and it needs no net")
def test_tensorboard_shows_what_the_step_has_written(notebook):
    assert "TensorBoard" in notebook("urlopen(address).read(4000).decode()")
    assert notebook("{part: curve.index.tolist() for part, curve in curves.items()}") == {
        "train": [10, 20, 30],
        "validation": [10, 20, 30],
    }


@claim("06", "Neither moves by as much as two cents, on a share that moves by 1.13 dollars")
def test_neither_error_moves_by_two_cents(notebook):
    moves = notebook("[float(curve.max() - curve.min()) for curve in curves.values()]")
    assert max(moves) < 0.02
    daily = notebook("float(table.metrics(tasks).loc['evaluate.0', 'persistence_mae'])")
    assert daily == pytest.approx(1.13, abs=0.005)


@claim("06", "`logspath` names a volume claim and a folder in it.")
def test_the_tensorboard_object_names_the_claim_of_the_pipeline(notebook):
    made = yaml.safe_load(listing("yaml"))
    assert (made["apiVersion"], made["kind"]) == (
        "tensorboard.kubeflow.org/v1alpha1",
        "Tensorboard",
    )
    claim_name = re.fullmatch(r"pvc://([a-z-]+)/.+", made["spec"]["logspath"])[1]
    document = next(yaml.safe_load_all((PATH.parent / "artifacts/stock-pipeline.yaml").open()))
    assert document["root"]["inputDefinitions"]["parameters"]["claim"]["defaultValue"] == (
        claim_name
    )


@claim("06", "The course refuses one. And what does it say to a token that has expired?")
@claim("06", "A token shows its own end, so nothing was sent.")
def test_a_cookie_and_an_expired_token_are_told_apart(notebook):
    cells = nbformat.read(PATH, as_version=4).cells
    (shown,) = [cell for cell in cells if cell.id == "sign-in"]
    cookie, token, _ = shown.outputs[0].text.split("\n\n")
    assert "holds a browser's cookie and not a token" in " ".join(cookie.split())
    assert "expired at 2025-01-01 00:00 UTC" in " ".join(token.split())


@claim("06", "KF_PIPELINES_SA_TOKEN_PATH=FILE")
@claim("06", "environment variables, with kfp's own names")
def test_the_ways_in_are_those_of_the_package(notebook):
    from kubeflow_workshop.pipelines import signin

    text = json.dumps([cell.source for cell in nbformat.read(PATH, as_version=4).cells])
    assert signin.FORWARD in text
    for name in (signin.ENDPOINT, signin.TOKEN, f"--audience {signin.AUDIENCE}"):
        assert name in text
