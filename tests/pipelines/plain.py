"""Runs a compiled pipeline with kfp.local alone, without our mending: `python plain.py FOLDER
NAME=FILE …`. Prints one JSON line per pipeline: the error, or what each task has returned.
"""

import contextlib
import io
import json
import sys
import warnings

from kfp import components, local
from kfp.local.orchestrator import task_executor

run_step, returned = task_executor.execute_single_task, {}


def step(**given):
    outputs, ending = run_step(**given)
    values = {k: getattr(v, "uri", v) for k, v in outputs.items()}
    returned.setdefault(given["task_name"], []).append(values)
    return outputs, ending


if __name__ == "__main__":
    task_executor.execute_single_task = step
    warnings.simplefilter("ignore")
    local.init(local.SubprocessRunner(use_venv=False), sys.argv[1], enable_caching=True)
    for word in sys.argv[2:]:
        name, _, file = word.partition("=")
        returned.clear()
        printed, error = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                components.load_component_from_file(file)()
            except Exception as failed:
                error = str(failed)
        print(json.dumps({"name": name, "error": error, "returned": returned}))
