"""Pipelines' door to a cluster, against stand-ins for their API server and for Kubernetes."""

import re
import warnings
from pathlib import Path

import pytest
import yaml

from kubeflow_workshop import pipelines
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.pipelines import cluster as door
from kubeflow_workshop.pipelines.cluster import Cluster
from tests.katib.stand_in import StandIn, kubeconfig, serving
from tests.pipelines.conftest import sentence, token
from tests.pipelines.stand_in import Handler, Pipelines, identity, nodes

pytestmark = pytest.mark.usefixtures("at_home")

FILE = Path(__file__).parent / "examples/tickers.yaml"
"""fetch, for each ticker train and, if it says yes, register, then compare; and a volume claim."""
PIPELINE, PLATFORM = yaml.safe_load_all(FILE.read_text())
EDITOR = token(sub="system:serviceaccount:team-a:default-editor")
LOOP = "root.for-loop-1.iteration-iterations({0}:{0}).iteration-item"


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(door, "PAUSE", 0.01)
    with serving(Pipelines(), handler=Handler) as api:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{api.port}")
        yield api


@pytest.fixture
def shared(api, monkeypatch, tmp_path):
    """Pipelines that serve several users, of whom we are one."""
    (tmp_path / "token").write_text(EDITOR)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    api.tokens, api.multi_user = {EDITOR}, True
    return api


@pytest.fixture
def kubernetes(monkeypatch, tmp_path):
    with serving(StandIn()) as cluster:
        config = kubeconfig(tmp_path / "config", f"http://127.0.0.1:{cluster.port}")
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield cluster


def sent(api, path: str) -> object:
    """The body of the last request that created something there."""
    return [
        body for method, asked, *_, body in api.asked if method == "POST" and asked.endswith(path)
    ][-1]


# The file travels


def test_the_file_is_sent_as_it_is_with_its_arguments(api):
    run = Cluster().create(FILE, {"tickers": ["IBM"], "epochs": 3}, name="one")
    body = sent(api, "/runs")
    assert body["pipeline_spec"] == {"pipeline_spec": PIPELINE, "platform_spec": PLATFORM}
    assert body["runtime_config"] == {"parameters": {"tickers": ["IBM"], "epochs": 3}}
    assert body["display_name"] == "one"
    assert run == next(iter(api.runs))


def test_a_file_without_a_platform_is_sent_alone(api, tmp_path):
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump(PIPELINE))
    Cluster().create(tmp_path / "alone.yaml")
    assert sent(api, "/runs")["pipeline_spec"] == PIPELINE


def test_what_is_sent_is_what_kfps_own_client_sends(api):
    """The course's door and `kfp.Client` in turn, the same file, the same arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp

        client = kfp.Client(host=f"http://127.0.0.1:{api.port}", cookies="")
        client.create_run_from_pipeline_package(
            str(FILE), arguments={"epochs": 3}, run_name="one", experiment_name="stocks"
        )
    theirs = sent(api, "/runs"), sent(api, "/experiments")
    api.experiments.clear()
    Cluster().create(FILE, {"epochs": 3}, name="one", experiment="stocks")
    ours = sent(api, "/runs"), sent(api, "/experiments")
    for run, _ in (ours, theirs):
        run.pop("experiment_id")  # the server has chosen it
    theirs[1].pop("namespace", None)  # kfp's client sends the empty one
    assert ours == theirs


def test_without_a_name_a_run_is_called_after_its_pipeline_and_the_time(api):
    Cluster().create(FILE)
    name = sent(api, "/runs")["display_name"]
    assert re.fullmatch(r"tickers \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", name)
    assert sent(api, "/experiments")["display_name"] == "Default"


def test_an_experiment_is_made_once(api):
    cluster = Cluster()
    for _ in range(2):
        cluster.create(FILE, experiment="stocks")
    assert [one["display_name"] for one in api.experiments.values()] == ["stocks"]
    assert api.methods("/experiments") == ["GET", "POST", "GET"]
    assert len({run["experiment_id"] for run in api.runs.values()}) == 1


def cached(spec: dict) -> list[str]:
    """The tasks that may take an earlier result."""
    dags = [spec["root"], *spec["components"].values()]
    return sorted(
        key
        for one in dags
        for key, task in one.get("dag", {}).get("tasks", {}).items()
        if task.get("cachingOptions", {}).get("enableCache")
    )


def test_the_cache_is_as_the_file_says_or_forbidden_for_every_step(api):
    cluster = Cluster()
    cluster.create(FILE)
    assert cached(sent(api, "/runs")["pipeline_spec"]["pipeline_spec"]) == cached(PIPELINE)
    assert cached(PIPELINE) == ["compare", "fetch", "register", "train"]
    cluster.create(FILE, cache=False)
    assert cached(sent(api, "/runs")["pipeline_spec"]["pipeline_spec"]) == []


def test_kfps_own_way_to_forbid_the_cache_forgets_loops_and_conditions(api):
    """Why the door does it by itself. Should this fail, upstream has mended it: then use theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp

        client = kfp.Client(host=f"http://127.0.0.1:{api.port}", cookies="")
        client.create_run_from_pipeline_package(str(FILE), enable_caching=False)
    assert cached(sent(api, "/runs")["pipeline_spec"]["pipeline_spec"]) == ["register", "train"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"epoch": 3}, "did you mean epochs?"), ({"epochs": "many"}, "must be a whole number")],
)
def test_an_argument_that_does_not_fit_is_refused_before_anything_is_sent(api, arguments, said):
    assert said in sentence(Cluster().create, FILE, arguments)
    assert api.asked == []


def test_what_is_no_pipeline_is_refused_before_anything_is_sent(api, tmp_path):
    (tmp_path / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    assert "no compiled pipeline" in sentence(Cluster().create, tmp_path / "pod.yaml")
    assert api.asked == []


def test_the_target_chooses_the_door(shared, monkeypatch):
    monkeypatch.setenv("WORKSHOP_TARGET", "cluster")
    opened = pipelines.connect()
    run = opened.create(FILE)
    assert isinstance(opened, Cluster)
    assert opened.get(run)["run_id"] == run


# Whose runs


def test_where_there_are_several_users_the_namespace_is_the_accounts(shared):
    Cluster().create(FILE)
    assert sent(shared, "/experiments")["namespace"] == "team-a"
    Cluster().runs()
    assert shared.asked[-1][2]["namespace"] == "team-a"


def test_a_namespace_may_be_chosen(shared):
    shared.namespaces.add("team-b")
    Cluster("team-b").create(FILE)
    assert sent(shared, "/experiments")["namespace"] == "team-b"


def test_nothing_is_started_in_a_namespace_that_is_not_ours(shared):
    assert sentence(Cluster("team-z").create, FILE).startswith(
        'system:serviceaccount:team-a:default-editor may not list experiments in namespace "team-z"'
    )
    assert not shared.runs
    assert not shared.experiments


# Looking


def test_every_run_is_listed_the_newest_first(api, monkeypatch):
    monkeypatch.setattr(door, "PAGE", 2)
    made = [api.put(display_name=str(number)) for number in range(5)]
    assert [run["run_id"] for run in Cluster().runs()] == made[::-1]
    assert len(api.methods("/runs")) == 3


def test_no_runs_are_an_empty_list(api):
    assert Cluster().runs() == []


def test_a_run_is_named_by_the_first_letters_of_its_id(api):
    one, two = (f"{letters}-0000-4000-8000-000000000000" for letters in ("abcd1111", "abcd2222"))
    for run in (one, two):
        api.put(run_id=run)
    cluster = Cluster()
    assert cluster.get("abcd1")["run_id"] == one
    assert sentence(cluster.get, "abcd") == (
        f"2 runs of Kubeflow Pipelines at http://127.0.0.1:{api.port} begin with 'abcd'; give more"
        f" of the id, such as {two}."
    )
    for absent in ("x", "abcd3333-0000-4000-8000-000000000000"):
        with pytest.raises(AbsentError) as caught:
            cluster.get(absent)
        assert str(caught.value) == (
            f"there is no run {absent} in Kubeflow Pipelines at http://127.0.0.1:{api.port};"
            " `workshop pipeline list` lists those that are."
        )


def test_times_that_have_not_come_are_left_out_and_a_new_run_is_pending(api):
    cluster = Cluster()
    run = cluster.create(FILE)
    api.runs[run]["state"] = "RUNTIME_STATE_UNSPECIFIED"
    seen = cluster.get(run)
    assert "finished_at" not in seen
    assert seen["state"] == "PENDING"
    assert seen["created_at"].startswith("2026-11-25")


# The steps


def played(*skipped: int, tickers: int = 2, retried: int | None = None) -> dict:
    """The nodes of a run of the file that has ended; `skipped` says in which turns the gate said
    no.
    """
    made = [
        ("", "SUCCEEDED", ["root-driver"]),
        ("root-driver", "SUCCEEDED", ["root"]),
        ("root", "SUCCEEDED", ["root.fetch-driver"]),
        ("root.fetch-driver", "SUCCEEDED", ["root.fetch"]),
        ("root.fetch", "SUCCEEDED", ["root.fetch.executor"]),
        ("root.fetch.executor", "SUCCEEDED", ["root.for-loop-1"]),
        ("root.for-loop-1", "SUCCEEDED", ["root.for-loop-1.iteration-driver"]),
    ]
    for turn in range(tickers):
        inside = LOOP.format(turn)
        gate = "SKIPPED" if turn in skipped else "SUCCEEDED"
        made += [
            (inside.rpartition(".")[0], "SUCCEEDED", [f"{inside}-driver"]),
            (f"{inside}.train-driver", "SUCCEEDED", [f"{inside}.train"]),
            (f"{inside}.train", "SUCCEEDED", [f"{inside}.train.executor"]),
            (f"{inside}.condition-2-driver", "SUCCEEDED", [f"{inside}.condition-2"]),
            (f"{inside}.condition-2", gate, []),
        ]
        if gate != "SKIPPED":
            step = f"{inside}.condition-2.register"
            made.append((step, "SUCCEEDED", [f"{step}.executor"]))
    made.append(("root.compare", "RUNNING", ["root.compare.executor"]))
    return nodes("tickers-x7k2p", *made)


def run_of(api, **more: object) -> str:
    return api.put(pipeline_spec={"pipeline_spec": PIPELINE, "platform_spec": PLATFORM}, **more)


def ids(tasks: list[dict]) -> list[str]:
    return [task["task_id"] for task in tasks]


def shown(tasks: list[dict]) -> list[tuple[str, str, str]]:
    return [(task["display_name"], task["iteration"], task["state"]) for task in tasks]


def test_the_tasks_are_the_steps_of_the_file_each_turn_of_a_loop_for_itself(api):
    run = run_of(api, **played())
    tasks = Cluster().tasks(run)
    assert shown(tasks) == [
        ("fetch", "", "SUCCEEDED"),
        ("train", "0", "SUCCEEDED"),
        ("register", "0", "SUCCEEDED"),
        ("train", "1", "SUCCEEDED"),
        ("register", "1", "SUCCEEDED"),
        ("compare", "", "RUNNING"),
    ]
    assert ids(tasks) == ["fetch", "train.0", "register.0", "train.1", "register.1", "compare"]
    assert "end_time" not in tasks[-1]
    assert tasks[0]["end_time"] == "2026-11-25T08:01:00Z"
    assert all(task["cached"] is None for task in tasks)


def test_a_step_that_the_gate_skips_is_shown_in_its_turn(api):
    run = run_of(api, **played(1, 11, tickers=12))
    skipped = [turn for name, turn, state in shown(Cluster().tasks(run)) if state == "SKIPPED"]
    assert skipped == ["1", "11"]
    assert ids(Cluster().tasks(run))[-2:] == ["register.1", "register.11"]


def test_steps_of_one_name_in_two_groups_are_told_apart(api):
    """As in both branches of a condition."""
    again = yaml.safe_load(yaml.safe_dump(PIPELINE))
    tasks = again["components"]["comp-condition-2"]["dag"]["tasks"]
    tasks["train"] = tasks.pop("register")
    run = api.put(pipeline_spec=again, **renamed("register", "train"))
    inside = "for-loop-1-iteration-{}"
    assert set(ids(Cluster().tasks(run))) == {
        "fetch",
        "compare",
        *(f"{inside.format(turn)}.train" for turn in range(2)),
        *(f"{inside.format(turn)}.condition-2.train" for turn in range(2)),
    }


def renamed(old: str, new: str) -> dict:
    """The nodes of a run of the file in which a step is called otherwise."""
    made = played()
    for task in made["run_details"]["task_details"]:
        if task["display_name"] == old:
            turn = task["child_tasks"][0]["pod_name"] == identity(
                f"tickers-x7k2p.{LOOP.format(1)}.condition-2.{old}.executor"
            )
            node = f"tickers-x7k2p.{LOOP.format(int(turn))}.condition-2.{new}.executor"
            task |= {"display_name": new, "child_tasks": [{"pod_name": identity(node)}]}
    return made


def test_a_node_that_cannot_be_placed_keeps_its_id(api):
    details = nodes("tickers-x7k2p", (f"{LOOP.format(0)}.train", "SUCCEEDED", ["elsewhere"]))
    assert shown(Cluster().tasks(run_of(api, **details))) == [("train", "", "SUCCEEDED")]
    assert ids(Cluster().tasks(run_of(api, **details))) == ["task-0"]


def test_a_step_that_was_not_begun_yet_is_not_shown(api):
    begun = played()["run_details"]["task_details"][:5]
    run = run_of(api, run_details={"task_details": begun})
    assert shown(Cluster().tasks(run)) == [("fetch", "", "SUCCEEDED")]
    assert Cluster().tasks(run_of(api)) == []


def test_the_ids_of_nodes_are_those_that_argo_makes():
    """From the log in kubeflow/pipelines#10039: the Pod of the driver of step outer-comp is
    outer-pipeline-sq9vj-system-container-driver-3067012875.
    """
    node = "outer-pipeline-sq9vj.root.outer-comp-driver"
    assert door._node(node) == identity(node) == "outer-pipeline-sq9vj-3067012875"


def test_a_failed_step_says_where_to_look(api):
    details = nodes("tickers-x7k2p", ("root.fetch", "FAILED", ["root.fetch.executor"]))
    run = run_of(api, state="FAILED", **details)
    (task,) = Cluster().tasks(run)
    assert task["error"]["message"] == (
        f"Pipelines do not say why; `workshop pipeline logs {run} fetch` shows what it printed"
    )
    details["run_details"]["task_details"][0]["error"] = {"code": 2, "message": "out of memory"}
    api.runs[run] |= details
    assert Cluster().tasks(run)[0]["error"]["message"] == "out of memory"


def test_a_run_that_was_started_in_the_dashboard_names_its_pipeline_only(api):
    api.versions["p", "v"] = PIPELINE
    reference = {"pipeline_id": "p", "pipeline_version_id": "v"}
    run = api.put(pipeline_version_reference=reference, **played())
    assert len(Cluster().tasks(run)) == 6


# Logs


def pod(name: str, node: str, run: str, namespace: str, at: int = 0) -> dict:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"pipeline/runid": run},
            "annotations": {"workflows.argoproj.io/node-name": f"tickers-x7k2p.{node}"},
            "creationTimestamp": f"2026-11-25T08:00:{at:02d}Z",
        },
        "spec": {"containers": [{"name": "main"}]},
    }


def test_the_log_of_a_step_is_that_of_its_pod_in_its_turn(api, kubernetes):
    run = run_of(api, **played())
    for turn in range(2):
        node = f"{LOOP.format(turn)}.train.executor"
        kubernetes.put("pods", pod(f"train-{turn}", node, run, "kubeflow"))
        kubernetes.log(f"train-{turn}", "main", f"Training-MAE=0.{turn}\n")
    kubernetes.put("pods", pod("driver", f"{LOOP.format(1)}.train-driver", run, "kubeflow", 9))
    cluster = Cluster()
    assert [cluster.logs(run, f"train.{turn}") for turn in range(2)] == [
        "Training-MAE=0.0\n",
        "Training-MAE=0.1\n",
    ]
    assert sentence(cluster.logs, run, "train") == (
        f"run {run} has 2 steps train; name one of them: train.0, train.1."
    )


def test_of_several_attempts_the_newest_is_read(shared, kubernetes):
    run = run_of(shared, **played())
    for attempt in range(11):
        node = f"root.fetch.executor({attempt})"
        kubernetes.put("pods", pod(f"fetch-{attempt}", node, run, "team-a", attempt))
        kubernetes.log(f"fetch-{attempt}", "main", f"attempt {attempt}\n")
    assert Cluster().logs(run, "fetch") == "attempt 10\n"


def test_a_log_that_is_not_there_says_why(api, kubernetes):
    run = run_of(api, **played())
    cluster = Cluster()
    where = f'run {run} in namespace "kubeflow" of the cluster of context "kind-workshop"'
    assert sentence(cluster.logs, run, "fetch") == (
        f"step fetch of {where} has no Pod: it did not run because it was skipped or an earlier"
        " result was taken, or its Pod has been removed; see the run's page for what is kept."
    )
    assert sentence(cluster.logs, run, "compare") == (
        f"step compare of {where} has no Pod yet; ask again when it is RUNNING."
    )
    assert sentence(cluster.logs, run, "tune") == (
        f"run {run} has no step tune; its steps are: fetch, train, register, compare."
    )
    kubernetes.refuse("GET", "pods", 403, 'User "me" cannot list resource "pods"')
    assert sentence(cluster.logs, run, "fetch").startswith(
        'you may not list pods in namespace "kubeflow" of the cluster of context "kind-workshop";'
    )


def test_without_a_kubeconfig_there_is_no_log_and_all_else_works(api):
    run = run_of(api, **played())
    assert len(Cluster().tasks(run)) == 6
    assert sentence(Cluster().logs, run, "fetch").startswith("no cluster is known here")


# Waiting


@pytest.mark.parametrize("end", ["SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"])
def test_waiting_ends_when_the_run_does_and_tells_each_change_once(api, end):
    run = run_of(api, state="PENDING")
    running = {"state": "RUNNING"} | nodes("w", ("root.fetch", "RUNNING", ["root.fetch.executor"]))
    api.play(run, {}, {}, running, {}, {}, {"state": end})
    told = []
    ended = Cluster().wait(run, lambda run, tasks: told.append((run["state"], shown(tasks))))
    assert ended["state"] == end
    fetch = [("fetch", "", "RUNNING")]
    assert told == [("PENDING", []), ("RUNNING", fetch), (end, fetch)]


def test_kfps_own_wait_never_ends_for_a_run_that_was_cancelled(api):
    """Why the door waits by itself. Should this fail, upstream has mended it: then say so here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp

        client = kfp.Client(host=f"http://127.0.0.1:{api.port}", cookies="")
    with pytest.raises(TimeoutError):
        client.wait_for_run_completion(api.put(state="CANCELED"), timeout=0.2, sleep_duration=0.05)
    assert client.wait_for_run_completion(api.put(state="FAILED"), timeout=5).state == "FAILED"


def test_waiting_has_patience_with_a_server_that_is_away(api):
    run = run_of(api, state="RUNNING")
    api.play(run, {"state": "SUCCEEDED"})
    api.refuse("GET", "/runs", 503, b"upstream connect error", times=3)
    assert Cluster().wait(run)["state"] == "SUCCEEDED"


def test_a_run_that_takes_too_long_goes_on(api):
    run = run_of(api, state="RUNNING")
    assert sentence(Cluster().wait, run, timeout=0.05) == (
        f"run {run} of Kubeflow Pipelines at http://127.0.0.1:{api.port} is RUNNING after 0.05"
        " seconds, and it goes on there; wait again with a longer timeout, or end it with delete."
    )
    assert api.methods("/runs") == ["GET"] * len(api.methods("/runs"))


def test_a_run_that_is_deleted_while_it_is_waited_for_is_told(api):
    run = run_of(api, state="RUNNING")
    with pytest.raises(AbsentError, match="there is no run"):
        Cluster().wait(run, lambda *_: api.runs.clear())


# Ending


@pytest.mark.parametrize("lingering", [0, 3])
def test_a_run_is_terminated_deleted_and_gone(api, lingering):
    api.lingering = lingering
    cluster = Cluster()
    run = cluster.create(FILE)
    cluster.delete(run)
    assert run not in api.runs
    assert "POST" in api.methods(f"{run}:terminate")
    assert "DELETE" in api.methods(run)


def test_a_run_that_has_ended_is_not_terminated(api):
    run = run_of(api)
    Cluster().delete(run[:8])
    assert api.methods(":terminate") == []
    assert not api.runs


def test_a_deletion_that_takes_too_long_is_told(api, monkeypatch):
    monkeypatch.setattr(door, "DELETED_WITHIN", 0.05)
    api.lingering = 1000
    run = run_of(api)
    assert sentence(Cluster().delete, run) == (
        f"run {run} of Kubeflow Pipelines at http://127.0.0.1:{api.port} is still being deleted"
        " after 0.05 seconds, and that goes on; try again later or, if it stays so, see `kubectl"
        f" get pods -A -l pipeline/runid={run}`."
    )


def test_the_pages_of_pipelines_are_behind_the_gateway_or_a_port_forward(api, monkeypatch):
    assert "svc/ml-pipeline-ui 3000:80" in Cluster().ui()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "https://kubeflow.example.org/pipeline")
    assert "https://kubeflow.example.org/pipeline/#/runs" in Cluster().ui()
