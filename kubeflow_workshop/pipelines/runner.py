"""Runs a pipeline's file with kfp.local, in a process of its own: `python -m
kubeflow_workshop.pipelines.runner STATE RUN`.

Taught in notebook 06. kfp.local keeps its settings in the process, prints the output of all steps
into one stream, and is mended here (`local_traps`). A process of its own keeps all that away from
the one who asks, who may also end it. What is to be run stands in the run's folder (`store`): the
YAML file, and the plan with the arguments. Each change of the run is written there.

A step is started without the shell script that kfp puts before it (`sh -ec 'program_path=$(mktemp
-d) …'`): it runs the same source with the same executor, but needs no `sh`, which Windows lacks,
leaves no folder in `/tmp`, installs nothing, and bears a blank in the path of Python.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubeflow_workshop.objects import now
from kubeflow_workshop.pipelines import local_traps, spec
from kubeflow_workshop.pipelines.store import Store, ended
from kubeflow_workshop.process import search_path

_TURN = re.compile(r"-iteration-(\d+)$")
"""How kfp.local calls a turn of a loop: `for-loop-1-iteration-0`."""
_TRACEBACK = "Traceback (most recent call last):"
_OURS = "kubeflow_workshop.errors.CourseError: "


class Here(threading.local):
    """The step that this thread runs."""

    path = ""
    task = ""
    code: int | None = None
    volumes: Mapping[str, Path] = {}

    def begin(self, task: str) -> None:
        """A task begins; it has no exit code until its process has run."""
        self.task, self.code = task, None


class Recorder:
    """Writes down what happens to a run and its tasks; several threads tell it."""

    def __init__(self, store: Store, pipeline: spec.Pipeline):
        """`store` holds a Run that waits to be run."""
        names = Counter(step.name for step in pipeline.steps())
        self._twice = {name for name, count in names.items() if count > 1}
        self._store = store
        self._lock = threading.Lock()
        self._run = store.get() | {"state": "RUNNING"}
        self._tasks: dict[str, dict] = {}
        self._keep()

    def _keep(self) -> None:
        self._store.keep(self._run, list(self._tasks.values()))

    def begin(self, path: str) -> str:
        """A task begins; returns its id, which is also the name of its log.

        Args:
            path: the groups that it is in, and its name: `for-loop-1-iteration-0/train`.
        """
        task = self._task(path)
        with self._lock:
            self._tasks[path] = task | {"state": "RUNNING", "start_time": now(precise=True)}
            self._keep()
        return task["task_id"]

    def _task(self, path: str) -> dict:
        *groups, name = path.split("/")
        turns = [found[1] for group in groups if (found := _TURN.search(group))]
        words = [*groups, name] if name in self._twice else [name, *turns]
        return {
            "run_id": self._run["run_id"],
            "task_id": ".".join(words),
            "display_name": name,
            "iteration": ".".join(turns),
            "path": path,
            "create_time": now(precise=True),
        }

    def end(self, path: str, state: str, **more: object) -> None:
        """A task has ended."""
        with self._lock:
            self._tasks[path] |= {"state": state, "end_time": now(precise=True), **more}
            self._keep()

    def skip(self, path: str) -> None:
        """A task does not run, because of a condition that does not hold."""
        with self._lock:
            self._tasks[path] = self._task(path) | {"state": "SKIPPED"}
            self._keep()

    def known(self, path: str) -> bool:
        """Whether a task, or one of a group, has begun or was skipped."""
        with self._lock:
            return any(
                one == path or one.startswith((f"{path}/", f"{path}-iteration-"))
                for one in self._tasks
            )

    def failures(self) -> list[str]:
        """What has failed, each with the step's name and the reason."""
        return [
            f"step {one['task_id']} failed: {one['error']['message']}"
            for one in self._tasks.values()
            if one["state"] == "FAILED"
        ]

    def finish(self, why: str = "") -> None:
        """The run has ended; `why` says how it failed."""
        with self._lock:
            error = {"error": {"message": why}} if why else {}
            state = "FAILED" if why else "SUCCEEDED"
            self._run |= {"state": state, "finished_at": now(precise=True), **error}
            self._keep()


def run(store: Store) -> None:
    """Run what a folder holds; how it goes stands there in the end."""
    warnings.simplefilter("ignore")  # kfp.local tells of each step that its image is not used
    pipeline, plan = spec.read(store.pipeline), store.read_plan()
    recorder, here = Recorder(store, pipeline), Here()
    from kfp import components, local

    local_traps.mend()
    _watch(recorder, here, pipeline, plan, store)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(store.folder / "artifacts"),
        workspace_root=str(store.folder / "workspace"),  # it is deleted after the run
        enable_caching=plan["cache"],
        cache_root=plan["cache_root"],
    )
    try:
        components.load_component_from_file(str(store.pipeline))(**plan["arguments"])
    except Exception as error:
        traceback.print_exc()
        one, *more = recorder.failures() or [f"the pipeline failed: {error}"]
        recorder.finish(one + (f" (and {len(more)} more failed)" if more else ""))
    else:
        recorder.finish()


def _watch(
    recorder: Recorder, here: Here, pipeline: spec.Pipeline, plan: Mapping, store: Store
) -> None:
    """Let the recorder see each step and each group of kfp.local's orchestrator, and run steps in
    our way.
    """
    from kfp.local import placeholder_utils, status, subprocess_task_handler
    from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator
    from kfp.local.orchestrator import task_executor, task_spec_utils

    platforms = {"/".join(step.path): step.platform for step in pipeline.steps()}
    run_step, run_group = task_executor.execute_single_task, orchestrator.run_enhanced_dag

    def step(**given: Any) -> Any:
        here.path = _below(given["pipeline_resource_name"], given["task_name"])
        groups = [_TURN.sub("", group) for group in here.path.split("/")]
        here.volumes = dict(
            _volumes(platforms["/".join(groups)].get("pvcMount", []), plan, given["io_store"])
        )
        component = given["components"][given["task_spec"].component_ref.name]
        imported = given["executors"][component.executor_label].WhichOneof("spec") == "importer"
        here.begin(recorder.begin(here.path))
        try:
            outputs, ending = run_step(**given)
        except Exception as error:
            recorder.end(here.path, "FAILED", error={"message": str(error)})
            raise
        if ending is status.Status.SUCCESS:
            _keep_pages(outputs, store.page(here.task))
            cached = here.code is None and not imported
            shown = {name: _shown(value) for name, value in outputs.items()}
            recorder.end(here.path, "SUCCEEDED", cached=cached, outputs=shown)
        else:
            log = store.log(here.task)
            said = f"{_why(log, here.code)}; its log: {log}"
            recorder.end(here.path, "FAILED", error={"message": said})
        return outputs, ending

    def group(**given: Any) -> Any:
        outputs, ending = run_group(**given)
        if ending is status.Status.SUCCESS:
            for name, task in given["dag_component_spec"].dag.tasks.items():
                path = _below(given["pipeline_resource_name"], name)
                if not recorder.known(path):
                    _skip(recorder, pipeline, path, task.component_ref.name)
        return outputs, ending

    class Handler(subprocess_task_handler.SubprocessTaskHandler):
        """Runs a step as a process that writes to a log of its own."""

        def run(self) -> status.Status:
            here.code = _run_step(self.full_command, self.env_vars, here, store)
            return status.Status.FAILURE if here.code else status.Status.SUCCESS

    # a group is told the way to it, so that each task knows the groups that it is in
    task_spec_utils.get_nested_pipeline_resource_name = lambda task_name, pipeline_resource_name: (
        f"{pipeline_resource_name}/{task_name}"
    )
    task_executor.execute_single_task = step
    orchestrator.run_enhanced_dag = group
    subprocess_task_handler.SubprocessTaskHandler = Handler
    # so that a step that asks for the run's id and name is told those that the door shows
    placeholder_utils.make_random_id = lambda: store.run
    fill_in, name = placeholder_utils.replace_placeholders, store.get()["display_name"]
    placeholder_utils.replace_placeholders = lambda **given: fill_in(
        **{**given, "pipeline_resource_name": name}
    )


def _keep_pages(outputs: Mapping, page: Path) -> None:
    """Copy a page that a step has written to where it is called .html, as browsers want it."""
    for value in outputs.values():
        if getattr(value, "schema_title", "") == "system.HTML":
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(value.uri, page)


def _below(pipeline_resource_name: str, name: str) -> str:
    """The path of a task in the pipeline; kfp.local puts the pipeline's name and time before."""
    return "/".join([*pipeline_resource_name.split("/")[1:], name])


def _skip(recorder: Recorder, pipeline: spec.Pipeline, path: str, component: str) -> None:
    """Note that all steps of a task are skipped."""
    called = pipeline.spec["components"][component]
    if "dag" not in called:
        recorder.skip(path)
        return
    for name, task in called["dag"]["tasks"].items():
        _skip(recorder, pipeline, f"{path}/{name}", task["componentRef"]["name"])


def _volumes(mounts: list[dict], plan: Mapping, io_store: Any) -> Any:
    """Where a step mounts a claim, and the folder that stands for it here."""
    for mount in mounts:
        told = mount.get("pvcNameParameter", mount)
        if output := told.get("taskOutputParameter"):
            claim = io_store.get_task_output(output["producerTask"], output["outputParameterKey"])
        elif name := told.get("componentInputParameter"):
            claim = io_store.get_parent_input(name)
        else:
            claim = told.get("runtimeValue", told)["constant"]
        folder = Path(plan["volumes"].get(claim) or Path(plan["volume_root"]) / claim).absolute()
        folder /= mount.get("subPath", "")
        folder.mkdir(parents=True, exist_ok=True)
        yield mount["mountPath"].rstrip("/"), folder


def _run_step(words: list[str], variables: Mapping[str, str], here: Here, store: Store) -> int:
    """Run a step with the executor of kfp; returns its exit code."""
    script = next(place for place, word in enumerate(words) if spec.EXECUTOR in word)
    source, arguments = words[script + 1], words[script + 2 :]
    for mount, folder in here.volumes.items():
        there = re.compile(rf"(?<![\w./-]){re.escape(mount)}(?![\w.-])")
        source, *arguments = (
            there.sub(lambda _: folder.as_posix(), word)  # noqa: B023 it is called here
            for word in (source, *arguments)
        )
    program = store.folder / "steps" / here.task / "ephemeral_component.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(source, encoding="utf-8")
    log = store.log(here.task)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        command = [sys.executable, "-m", spec.EXECUTOR, "--component_module_path", str(program)]
        done = subprocess.run(
            [*command, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "PATH": search_path(),
                "PYTHONUNBUFFERED": "1",
                "PYTHONUTF8": "1",
                "WORKSHOP_TARGET": "laptop",
                "_KFP_RUNTIME": "true",  # as kfp's own script says: only the executor is imported
                **variables,
            },
        )
    return done.returncode


def _why(log: Path, code: int | None) -> str:
    """How a step failed: the exception at the end of its log, or its exit code."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    _, found, trace = text.rpartition(_TRACEBACK)
    lines = [line for line in trace.splitlines() if line.strip()]
    said = " ".join(line.strip() for line in lines if not line.startswith(" "))
    if found and said:
        return said.removeprefix(_OURS).rstrip(".")
    killed = " (was there memory enough?)" if code == -9 else ""
    return f"it ended with exit code {code}{killed}"


def _shown(value: Any) -> object:
    """What a step has returned, as a document."""
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if hasattr(value, "uri"):
        return {
            "uri": value.uri,
            "type": value.schema_title,
            "metadata": dict(value.metadata),
        }
    return value


def main(argv: list[str]) -> int:
    """Run the run that the command line names; returns 0, or 1 if it failed."""
    store = Store(Path(argv[0]), argv[1])
    with (store.folder / "runner.log").open("ab") as log, store.lock:
        for stream in (sys.stdout, sys.stderr):  # the pipe's other end may go before the run does
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
        try:
            run(store)
        except Exception as error:  # a mistake of ours, or kfp's: the run must not wait for ever
            traceback.print_exc()
            if not ended(now_kept := store.get()):
                message = f"the runner failed ({error!r}); its log: {store.folder / 'runner.log'}"
                kept = now_kept | {"state": "FAILED", "finished_at": now(precise=True)}
                store.keep(kept | {"error": {"message": message}}, store.tasks())
        return 0 if store.get()["state"] == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
