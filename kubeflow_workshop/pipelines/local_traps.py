"""What kfp.local does otherwise than Kubeflow Pipelines, put right in one place.

Taught in notebook 06. Most of these traps make a run succeed with a wrong result, without a word.
Each function mends one of them in the running process, by putting a corrected function in the
place of kfp's. For each there is a test in `tests/pipelines/test_local_traps.py` that shows what
kfp.local does alone; when kfp mends it, that test turns red, and the function here can go. Only
`runner`, a process of its own, calls them, so nothing changes for other users of kfp in your
process.

The traps were seen in kfp 2.17.3.
"""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_TO_PYTHON = ((r"&&", " and "), (r"\|\|", " or "), (r"!(?!=)", " not "))
_NAMES = {"true": True, "false": False, "null": None, "int": int, "double": float, "string": str}


def mend() -> None:
    """Mend all of them."""
    conditions()
    loop_items()
    empty_loops()
    one_of_artifacts()
    cached_metrics()


def conditions() -> None:
    """Conditions that were false without a word: on a number with a decimal point (`name 'double'
    is not defined`, kubeflow/pipelines#13313), on a text with a quote in it, on a named output of
    a task. One that cannot be evaluated is an error now.
    """
    from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator
    from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

    group = threading.local()  # each iteration of a loop runs in a thread
    run = orchestrator.run_enhanced_dag

    def run_group(**given: Any) -> Any:
        before = getattr(group, "tasks", {})
        group.tasks = given["dag_component_spec"].dag.tasks
        try:
            return run(**given)
        finally:
            group.tasks = before

    def evaluate(condition: str, io_store: Any) -> bool:
        task = next(
            one for one in group.tasks.values() if one.trigger_policy.condition == condition
        )
        return condition_holds(
            condition, OrchestratorUtils.make_task_arguments(task.inputs, io_store)
        )

    orchestrator.run_enhanced_dag = run_group
    orchestrator.ConditionEvaluator.evaluate_condition = staticmethod(evaluate)


def condition_holds(condition: str, values: Mapping[str, object]) -> bool:
    """Whether a condition of a compiled pipeline holds, such as
    `inputs.parameter_values['pipelinechannel--gate-verdict'] == 'accepted'`.

    Args:
        condition: in CEL, as kfp writes it.
        values: of the inputs, by name.

    Raises:
        ValueError: if it cannot be evaluated.
    """
    parts = _QUOTED.split(condition)
    for place in range(0, len(parts), 2):  # the others are texts in quotes
        for cel, python in _TO_PYTHON:
            parts[place] = re.sub(cel, python, parts[place])
    names: dict[str, object] = {
        **_NAMES,
        "inputs": SimpleNamespace(parameter_values=values),
        "__builtins__": {},
    }
    try:
        return bool(eval("".join(parts).strip(), names))
    except Exception as error:
        raise ValueError(f"the condition {condition} cannot be evaluated: {error!r}") from None


def loop_items() -> None:
    """In a ParallelFor, *every* output of an earlier task that the loop's body uses was replaced by
    the loop's item, and a loop over a named output of a task found no items.
    """
    from kfp.compiler import pipeline_spec_builder
    from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator
    from kfp.local.orchestrator import task_spec_utils
    from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
    from kfp.pipeline_spec import pipeline_spec_pb2

    run = orchestrator._run_parallel_for_task

    def loop(**given: Any) -> bool:
        task = given["task_spec"]
        if name := task.parameter_iterator.items.input_parameter:
            values = OrchestratorUtils.make_task_arguments(task.inputs, given["io_store"])
            task = pipeline_spec_pb2.PipelineTaskSpec.FromString(task.SerializeToString())
            task.parameter_iterator.items.raw = json.dumps(values[name])
        return run(**{**given, "task_spec": task})

    def iteration(original: Any, item: Any, loop_name: str) -> Any:
        made = pipeline_spec_pb2.PipelineTaskSpec()
        made.CopyFrom(original)
        made.inputs.parameters[
            original.parameter_iterator.item_input
        ].runtime_value.constant.CopyFrom(pipeline_spec_builder.to_protobuf_value(item))
        made.ClearField("parameter_iterator")
        return made

    orchestrator._run_parallel_for_task = loop
    task_spec_utils.create_parameter_loop_iteration_task_spec = iteration


def empty_loops() -> None:
    """A ParallelFor over an empty list, with a Collected after it, failed with `task 'for-loop-1'
    not found`. It collects an empty list now.
    """
    from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator

    run = orchestrator._run_parallel_for_task

    def loop(**given: Any) -> bool:
        failed = run(**given)
        store, name = given["io_store"], given["task_name"]
        component = given["components"][given["task_spec"].component_ref.name]
        outputs = component.output_definitions
        if not failed:
            for key in (*outputs.parameters, *outputs.artifacts):
                try:
                    store.get_task_output(name, key)
                except ValueError:
                    store.put_task_output(name, key, [])
        return failed

    orchestrator._run_parallel_for_task = loop


def one_of_artifacts() -> None:
    """A OneOf of artifacts failed with `Expected 1 artifact in ArtifactSelectorSpec`."""
    from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

    def outputs(cls: Any, dag_outputs_spec: Any, io_store: Any) -> dict:
        found = {}
        for key, one in dag_outputs_spec.artifacts.items():
            for selector in one.artifact_selectors:
                try:
                    found[key] = io_store.get_task_output(
                        selector.producer_subtask, selector.output_artifact_key
                    )
                except ValueError:  # the branch that was not taken
                    continue
            if key not in found:
                raise ValueError(f"no branch has made the artifact {key}")
        return found

    OrchestratorUtils.get_dag_output_artifacts = classmethod(outputs)


def cached_metrics() -> None:
    """A step with a `Metrics` output was never taken from the cache, because metrics are kept
    beside the artifact and its file, which the step does not write, is asked for.
    """
    from kfp import dsl
    from kfp.local.cache import LocalCache

    keep = LocalCache.put

    def put(self: Any, key: str, outputs: Mapping) -> None:
        for value in outputs.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dsl.Artifact) and "://" not in one.uri:
                    path = Path(one.uri)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if not path.exists():
                        path.touch()
        keep(self, key, outputs)

    LocalCache.put = put
