"""The door to a cluster: the same compiled YAML, run by Kubeflow Pipelines through their v2 API."""

import copy
import itertools
import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.kube import Kube, Platform
from kubeflow_workshop.objects import AbsentError, now, read_all
from kubeflow_workshop.pipelines import ENDED, Watch, signin, spec

PODS = Platform(
    "Argo Workflows", checker="their controller", checker_advice="try again in a minute"
)
"""What runs the steps' Pods for Pipelines, as far as sentences about Pods speak of it."""
OF_RUN = "pipeline/runid"
"""The label of the Pods of a run."""
NODE = "workflows.argoproj.io/node-name"
"""The annotation of a Pod that names its node, such as `stock-x7k2p.root.train.executor`."""
LOOP = re.compile(r"iteration-iterations\((\d+):")
"""The name of the node of one turn of a loop."""
RETRY = re.compile(r"\(\d+\)$")
"""What the name of a node ends with that is one of several attempts."""
CONTAINER = "main"
"""The container of such a Pod in which the step's program runs."""

EQUALS = 1
"""The operation of a filter of the API: a field has this value."""
PAGE = 100
"""Runs in one answer."""
PAUSE = 2.0
"""Seconds between two looks at a run: the API has no watch."""
DELETED_WITHIN = 120
"""Seconds that a deletion may take."""


class Cluster:
    """Kubeflow Pipelines on a cluster: a `pipelines.Door`, as `laptop.Laptop` is another.

    Taught in notebook 06. Where that is, and with which login, is said in `signin`.

    Args:
        namespace: whose runs, where Pipelines serve several users; None means the one that
            `signin.Connection.namespace` finds.

    Raises:
        CourseError: if no way to Pipelines is known. Every method raises it, too, when they cannot
            be reached, do not let us in, or refuse: one sentence with what, where, and what to do.
    """

    def __init__(self, namespace: str | None = None):
        """Find the way; nothing is sent yet."""
        self._connection = signin.Connection(signin.find())
        self._chosen = namespace
        # kfp's client itself takes seconds to import, and adds nothing to what we ask: it prints
        # links, takes a login page for an empty list, and waits for ever for a run that was
        # cancelled
        import kfp_server_api

        self._api = kfp_server_api
        self._runs = kfp_server_api.RunServiceApi(self._connection.api)
        self._experiments = kfp_server_api.ExperimentServiceApi(self._connection.api)

    def create(
        self,
        file: str | Path,
        arguments: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        experiment: str | None = None,
        cache: bool = True,
    ) -> str:
        """Start a run of the pipeline in a compiled YAML file, which is sent as it is.

        Args:
            file: the file.
            arguments: the pipeline's parameters; those with a default may be left out.
            name: what to call the run; without it, the pipeline's name and the time.
            experiment: the group of runs that it belongs to, which is made if there is none of that
                name; without it, the one that is called Default.
            cache: take results of earlier runs where the file allows it. False forbids it for all
                steps: beyond what kfp's own `enable_caching` does, also in loops and conditions.

        Returns:
            The `run_id`.

        Raises:
            CourseError: as the class says; and if the file is no pipeline, or Pipelines refuse it.
        """
        pipeline = spec.read(file)
        bound = spec.bind(pipeline, arguments or {})
        document, *platforms = read_all(file)
        if not cache:
            document = _without_cache(pipeline.spec)
        if platforms:
            document = {"pipeline_spec": document, "platform_spec": platforms[0]}
        run = self._api.V2beta1Run(
            display_name=name or pipeline.run_name(now()),
            experiment_id=self._experiment(experiment or "Default"),
            pipeline_spec=document,
            runtime_config=self._api.V2beta1RuntimeConfig(parameters=bound),
        )
        return self._connection.ask(self._runs.run_service_create_run, run)["run_id"]

    def get(self, run: str) -> dict:
        """The Run as Pipelines have it now, without the details of its tasks.

        Raises:
            CourseError: as the class says; and if there is no such run, or several begin so.
        """
        return _run(self._get(run))

    def runs(self) -> list[dict]:
        """Every run, the newest first: of one namespace, where Pipelines serve several users."""
        listed: list[dict] = []
        page = ""
        while True:
            answer = self._connection.ask(
                self._runs.run_service_list_runs,
                page_token=page,
                page_size=PAGE,
                sort_by="created_at desc",
                **self._where(),
            )
            listed += answer.get("runs") or []
            if not (page := answer.get("next_page_token") or ""):
                return [_run(run) for run in listed]

    def tasks(self, run: str) -> list[dict]:
        """The steps of a run, oldest first, as `pipelines.Door.tasks` says.

        `cached` is None, because KFP's API does not tell. Nor does it say why a step failed, so
        `error` says where to look (https://github.com/kubeflow/pipelines/issues/14007).

        Raises:
            CourseError: as the class says; and if there is no such run.
        """
        return self._tasks(self._get(run))

    def logs(self, run: str, task: str) -> str:
        """What a step's program has printed so far: the log of its Pod, the newest if it was tried
        several times. KFP's API has no logs, so it is read from Kubernetes, with the rights of your
        kubeconfig or of this Pod's service account.

        Args:
            run: the run.
            task: the step's `task_id`, or its `display_name` if there is one of it.

        Raises:
            CourseError: as the class says; and if there is no such step, its Pod is not there yet
                or no more, or Kubernetes does not let us read it.
        """
        found = self._get(run)
        identity = found["run_id"]
        chosen = _chosen(self._tasks(found), task, identity)
        nodes = _next(chosen)
        kube = Kube(PODS)
        namespace = self._connection.namespace(self._chosen) or signin.PLATFORM
        pods = [
            pod
            for pod in kube.pods(namespace, f"{OF_RUN}={identity}")
            if _node(RETRY.sub("", (pod.metadata.annotations or {}).get(NODE, ""))) in nodes
        ]
        if pods:
            newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
            return kube.log(newest.metadata.name, namespace, CONTAINER)
        where = f"step {chosen['display_name']} of run {identity} in {kube.where(namespace)}"
        if chosen["state"] in ENDED:
            raise CourseError(
                f"{where} has no Pod: it did not run because it was skipped or an earlier result"
                " was taken, or its Pod has been removed; see the run's page for what is kept."
            )
        raise CourseError(f"{where} has no Pod yet; ask again when it is RUNNING.")

    def wait(self, run: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
        """Wait until a run has ended; returns the Run, whose `state` says how.

        It looks every two seconds. While Pipelines are out of reach it asks again, for two minutes.

        Args:
            run: the run.
            watch: called with the Run and its tasks (oldest first) at the beginning and at every
                change.
            timeout: seconds; None waits for ever.

        Raises:
            CourseError: as the class says; and if the run is deleted meanwhile, or the time is
                over: the run then goes on.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        identity, seen = self._identity(run), None
        while True:
            found = Kube.patiently(lambda: self._ask_for(identity), deadline)
            shown = _run(found), self._tasks(found)
            if watch and shown != seen:
                watch(*shown)
            seen = shown
            if shown[0]["state"] in ENDED:
                return shown[0]
            if (left := deadline - time.monotonic()) <= 0:
                raise CourseError(
                    f"run {identity} of {self._connection.way.name} is {shown[0]['state']} after"
                    f" {timeout:g} seconds, and it goes on there; wait again with a longer timeout,"
                    " or end it with delete."
                )
            time.sleep(min(PAUSE, left))

    def delete(self, run: str) -> None:
        """Terminate a run if it goes on, delete it, and return when it is gone.

        Raises:
            CourseError: as the class says; and if there is no such run, or it is not gone after two
                minutes: the deletion then goes on.
        """
        found = self._get(run)
        identity, deadline = found["run_id"], time.monotonic() + DELETED_WITHIN
        if _run(found)["state"] not in ENDED:
            self._connection.ask(self._runs.run_service_terminate_run, identity)
        while _run(found)["state"] not in ENDED:
            self._pause(identity, deadline)
            found = Kube.patiently(lambda: self._ask_for(identity), deadline)
        self._connection.ask(self._runs.run_service_delete_run, identity)
        try:
            while True:
                Kube.patiently(lambda: self._ask_for(identity), deadline)
                self._pause(identity, deadline)
        except AbsentError:
            return

    def ui(self) -> str:
        """Where the pages of Pipelines are, in a sentence."""
        way = self._connection.way
        if way.endpoint.endswith(signin.GATEWAY):
            return f"The runs are at {way.endpoint}/#/runs, and in the dashboard under Runs."
        return (
            "Run `kubectl port-forward -n kubeflow svc/ml-pipeline-ui 3000:80` in a terminal, and"
            " open http://localhost:3000/#/runs."
        )

    def _where(self) -> dict[str, str]:
        """The namespace as an option of a request, where there is a choice."""
        namespace = self._connection.namespace(self._chosen)
        return {"namespace": namespace} if namespace else {}

    def _experiment(self, name: str) -> str:
        """The id of the experiment of that name; it is made if there is none."""
        chosen = {"operation": EQUALS, "key": "display_name", "stringValue": name}
        found = self._connection.ask(
            self._experiments.experiment_service_list_experiments,
            filter=json.dumps({"predicates": [chosen]}),
            **self._where(),
        ).get("experiments")
        if not found:
            experiment = self._api.V2beta1Experiment(display_name=name, **self._where())
            create = self._experiments.experiment_service_create_experiment
            found = [self._connection.ask(create, experiment)]
        return found[0]["experiment_id"]

    def _identity(self, run: str) -> str:
        """The whole id of a run of which the first letters are given."""
        if len(run) == 36:  # a UUID is whole
            return run
        begun = [one["run_id"] for one in self.runs() if one["run_id"].startswith(run)]
        if len(begun) == 1:
            return begun[0]
        if begun:
            raise CourseError(
                f"{len(begun)} runs of {self._connection.way.name} begin with {run!r}; give more of"
                f" the id, such as {begun[0]}."
            )
        raise self._absent(run)

    def _get(self, run: str) -> dict:
        return self._ask_for(self._identity(run))

    def _ask_for(self, identity: str) -> dict:
        try:
            found = self._connection.ask(self._runs.run_service_get_run, identity)
        except AbsentError:
            raise self._absent(identity) from None
        if found.get("run_id") != identity:
            raise self._connection.elsewhere("answers, but not as Pipelines do")
        return found

    def _absent(self, run: str) -> AbsentError:
        return AbsentError(
            f"there is no run {run} in {self._connection.way.name}; `workshop pipeline list` lists"
            " those that are."
        )

    def _pause(self, identity: str, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise CourseError(
                f"run {identity} of {self._connection.way.name} is still being deleted after"
                f" {DELETED_WITHIN:g} seconds, and that goes on; try again later or, if it stays"
                f" so, see `kubectl get pods -A -l {OF_RUN}={identity}`."
            )
        time.sleep(PAUSE)

    def _tasks(self, run: Mapping) -> list[dict]:
        """The steps among the nodes of a run.

        The API lists the nodes of the Argo workflow that Pipelines make of the file. A step `train`
        is a node `train`, whose only task is the Pod `executor`; beside it there is `train-driver`,
        and above it the groups. A node does not say where it is; but it says which nodes follow it,
        and the id of a node is made of its whole path.
        """
        details = (run.get("run_details") or {}).get("task_details") or []
        pipeline = spec.Pipeline(run["run_id"], self._spec(run) if details else {}, {})
        steps = _places(pipeline) if pipeline.spec else []
        nodes = [node for one in details for node in _next(one)]
        workflow = nodes[0].rpartition("-")[0] if nodes else ""
        numbers = sorted({int(loop[1]) for one in details if (loop := LOOP.match(_name(one)))})
        places = {
            _node(f"{workflow}.{step.path(turn)}.executor"): (step, turn)
            for step in steps
            for turn in step.turns(numbers)
        }
        first = {step.name: step for step in reversed(steps)}
        found: dict[_Place, list[tuple[int, ...] | None]] = {step: [] for step in steps}
        made = []
        for one in details:
            if likely := first.get(_name(one)):
                lost = likely, None
                step, turn = next((places[node] for node in _next(one) if node in places), lost)
                found[step].append(turn)
                made.append(_task(one, step, turn, run["run_id"]))
        for step, turns in found.items():
            # a step of a group that was skipped has no node: it is shown if there is no doubt
            never = [turn for turn in step.turns(numbers) if turn not in turns]
            skipped = [one for one in details if _skipped(one) and _name(one) in step.groups]
            if None not in turns and len(skipped) == len(never):
                node = {"display_name": step.name, "state": "SKIPPED"}
                made += [_task(node, step, turn, run["run_id"]) for turn in never]
        return sorted(made, key=lambda task: task.get("start_time", "9"))

    def _spec(self, run: Mapping) -> dict:
        """The pipeline of a run; one that was started in the dashboard only names it."""
        document = run.get("pipeline_spec")
        if not document and (version := run.get("pipeline_version_reference")):
            document = self._connection.ask(
                self._api.PipelineServiceApi(
                    self._connection.api
                ).pipeline_service_get_pipeline_version,
                version["pipeline_id"],
                version["pipeline_version_id"],
            ).get("pipeline_spec")
        return (document or {}).get("pipeline_spec", document or {})


class _Place:
    """Where a step's nodes are in the workflow that Pipelines make of the file.

    Source: backend/src/v2/compiler/argocompiler/dag.go of kubeflow/pipelines.
    """

    def __init__(self, pipeline: spec.Pipeline, step: spec.Step, alone: bool):
        """`alone`: no other step has its name."""
        self.name, self.groups = step.name, set(step.path[:-1])
        parts, groups, self._loops = ["root"], [], 0
        within: Mapping = pipeline.spec["root"]
        for group in step.path[:-1]:
            task = within["dag"]["tasks"][group]
            parts.append(group)
            groups.append(group)
            if "parameterIterator" in task or "artifactIterator" in task:
                number = f"{{{self._loops}}}"
                parts += [f"iteration-iterations({number}:{number})", "iteration-item"]
                groups[-1] += f"-iteration-{number}"
                self._loops += 1
            within = pipeline.component(task)
        loops = [f"{{{loop}}}" for loop in range(self._loops)]
        self._path = ".".join([*parts, step.name])
        self._name = ".".join([step.name, *loops] if alone else [*groups, step.name])

    def turns(self, numbers: Sequence[int]) -> list[tuple[int, ...]]:
        """Every turn of the loops around it that there may be: one number for each loop."""
        return list(itertools.product(numbers, repeat=self._loops))

    def path(self, turn: Sequence[int]) -> str:
        """The path of its node in this turn."""
        return self._path.format(*turn)

    def task_id(self, turn: Sequence[int]) -> str:
        """What people call it in this turn, as on a laptop: `train.0`."""
        return self._name.format(*turn)


def _places(pipeline: spec.Pipeline) -> list[_Place]:
    names = Counter(step.name for step in pipeline.steps())
    return [_Place(pipeline, step, names[step.name] == 1) for step in pipeline.steps()]


def _node(path: str) -> str:
    """The id that Argo makes of a node's whole path: the workflow's name, and the path's FNV-1a.

    Source: `NodeID` in pkg/apis/workflow/v1alpha1/workflow_types.go of argoproj/argo-workflows.
    """
    hashed = 0x811C9DC5
    for byte in path.encode():
        hashed = (hashed ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{path.partition('.')[0]}-{hashed}"


def _name(detail: Mapping) -> str:
    return detail.get("display_name", "")


def _next(detail: Mapping) -> list[str]:
    """The ids of the nodes that follow this one: of a step, that is its Pod."""
    return [child["pod_name"] for child in detail.get("child_tasks") or [] if "pod_name" in child]


def _skipped(detail: Mapping) -> bool:
    return detail.get("state") == "SKIPPED"


def _task(detail: Mapping, step: _Place, turn: Sequence[int] | None, run: str) -> dict:
    """A node as a step; where its turn is not known it keeps the id that Pipelines gave it."""
    known = (
        {"iteration": ""}
        if turn is None
        else {"task_id": step.task_id(turn), "iteration": ".".join(map(str, turn))}
    )
    task = _timed(detail) | known | {"cached": None}
    if task["state"] == "FAILED" and not (task.get("error") or {}).get("message"):
        log = f"`workshop pipeline logs {run} {task['task_id']}`"
        task["error"] = {"message": f"Pipelines do not say why; {log} shows what it printed"}
    return task


def _run(run: Mapping) -> dict:
    return {key: value for key, value in _timed(run).items() if key != "run_details"}


def _timed(thing: Mapping) -> dict:
    """A run or a task with a state from its beginning, and without the times that it does not have
    yet, which the API writes as the year 1 or 1970.
    """
    state = thing.get("state")
    times = {key: value for key, value in thing.items() if key.endswith(("_at", "_time"))}
    absent = {key for key, value in times.items() if not value or value[:4] in ("0001", "1970")}
    return {key: value for key, value in thing.items() if key not in absent} | {
        "state": state if state and state != "RUNTIME_STATE_UNSPECIFIED" else "PENDING"
    }


def _chosen(tasks: Sequence[dict], named: str, run: str) -> dict:
    """The task of this `task_id`, or the only one of this `display_name`."""
    found = [one for one in tasks if one["task_id"] == named] or [
        one for one in tasks if one["display_name"] == named
    ]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(one["task_id"] for one in found)
        raise CourseError(f"run {run} has {len(found)} steps {named}; name one of them: {several}.")
    names = ", ".join(dict.fromkeys(one["display_name"] for one in tasks)) or "none yet"
    raise AbsentError(f"run {run} has no step {named}; its steps are: {names}.")


def _without_cache(pipeline: Mapping) -> dict:
    """The pipeline with the cache forbidden for every task, in loops and conditions, too."""
    made = copy.deepcopy(dict(pipeline))
    for component in (made["root"], *made["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
    return made
