"""The course's figures of speed and size, each a ratio or a sum measured in one run: `make bench`.

    python tests/bench.py           all of them, a few minutes
    python tests/bench.py NAME …    some: training, windows, memory, notebooks, tuning, cheap, engine,
                                    suggestions, pipeline

Nothing fails here: a slow machine prints other numbers beside the goal.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from kubeflow_workshop import case_study
from kubeflow_workshop.katib import workers
from kubeflow_workshop.katib.laptop import Laptop
from kubeflow_workshop.katib.plan import substitute
from kubeflow_workshop.katib.suggest import Suggestion
from kubeflow_workshop.stock import model, prices, train
from kubeflow_workshop.stock.windows import Split, split, windows

ROOT = Path(__file__).parents[1]
Row = tuple[str, str, str]


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def slide(parts: Split, shuffled: object = None) -> float:
    """The training as it is on the slide; returns its validation MAE. With a dataset, it takes the
    batches from there.
    """
    import keras

    keras.utils.set_random_seed(0)
    network = keras.Sequential([
        keras.Input((3, 1)), keras.layers.LSTM(64), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)
    ])  # fmt: skip
    network.compile(optimizer=keras.optimizers.Adam(0.001), loss="mse", metrics=["mae"])
    validation = (parts.validation.inputs, parts.validation.targets)
    if shuffled is None:
        network.fit(
            parts.train.inputs,
            parts.train.targets,
            validation_data=validation,
            epochs=100,
            verbose=0,
        )
    else:
        network.fit(
            shuffled,
            validation_data=validation,
            steps_per_epoch=-(-len(parts.train) // model.BATCH),
            epochs=100,
            verbose=0,
            shuffle=False,
        )
    return float(np.abs(np.asarray(network(validation[0]))[:, 0] - validation[1]).mean())


def ours(parts: Split) -> float:
    """The same training as the course does it; returns its validation MAE."""
    return model.fit(model.build("talk", 3), parts.train, parts.validation)[-1].validation_mae


def training() -> Iterator[Row]:
    """Three pairs, in turn, after one of each that is not counted; and once with the same batches,
    for the error.
    """
    import tensorflow as tf

    parts = split(windows(prices.load("MSFT", start="2012-03-01")["adj_close"], 3))
    ours(parts)
    pairs = [(seconds(lambda: slide(parts)), seconds(lambda: ours(parts))) for _ in range(3)]
    ratio = statistics.median(plain / fast for plain, fast in pairs)
    yield (
        "talk's training, 100 epochs: plain fit / ours",
        f"{ratio:.1f} ({', '.join(f'{a:.1f} s / {b:.1f} s' for a, b in pairs)})",
        "at least 5",
    )
    whole = tf.data.Dataset.from_tensor_slices((parts.train.inputs, parts.train.targets)).cache()
    plain = slide(parts, whole.shuffle(len(parts.train), seed=0).batch(model.BATCH).repeat())
    yield (
        "validation MAE, same batches: ours / plain fit",
        f"{ours(parts) / plain:.4f} (plain {plain:.4f} dollars)",
        "0.95 to 1.05",
    )


def loop(closes: pd.Series, length: int) -> tuple[np.ndarray, np.ndarray, list]:
    """The windows as people write them: row by row."""
    inputs, targets, dates = [], [], []
    for day in range(length, len(closes)):
        inputs.append(closes.iloc[day - length : day].to_numpy())
        targets.append(closes.iloc[day])
        dates.append(closes.index[day])
    return (
        np.array(inputs, dtype=np.float32)[..., np.newaxis],
        np.array(targets, dtype=np.float32),
        dates,
    )


def window() -> Iterator[Row]:
    """Over all bundled rows, and up to ten million."""
    series = [prices.load(ticker)["adj_close"] for ticker in prices.cards()]
    slow = min(seconds(lambda: [loop(closes, 3) for closes in series]) for _ in range(3))
    fast = min(seconds(lambda: [windows(closes, 3) for closes in series]) for _ in range(20))
    same = all(
        np.array_equal(loop(closes, 3)[0], windows(closes, 3).inputs)
        and np.array_equal(loop(closes, 3)[1], windows(closes, 3).targets)
        for closes in series
    )
    rows = sum(map(len, series))
    yield (
        f"windows over {rows:,} rows: loop / ours",
        f"{slow / fast:.0f} ({slow * 1e3:.0f} ms / {fast * 1e3:.2f} ms), equal to the bit: {same}",
        "at least 100",
    )
    long = pd.Series(np.linspace(20, 30, 10_000_000))
    each = {
        n: min(seconds(lambda n=n: windows(long.iloc[: n * 1_000_000], 3)) for _ in range(5)) / n
        for n in (1, 2, 5, 10)
    }
    sizes = ", ".join(
        f"{n} million: {milliseconds * 1e3:.2f} ms" for n, milliseconds in each.items()
    )
    yield "windows, time a million rows", f"{sizes}", "the same from 2 million on"


def memory() -> Iterator[Row]:
    """The training program in a process of its own."""
    command = [sys.executable, "-m", train.__name__, "--ticker", "MSFT", "--start", "2012-03-01"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        1024 if sys.platform == "darwin" else 1
    )
    yield "a training run's peak memory", f"{kilobytes / 1e6:.2f} GB", "under 1.2 GB"


def notebooks() -> Iterator[Row]:
    """Every notebook, from a clean kernel, one after the other."""
    import nbformat
    from nbclient import NotebookClient

    times = {}
    for path in sorted((ROOT / "tutorials").glob("[0-9]*.ipynb")):
        client = NotebookClient(
            nbformat.read(path, as_version=4),
            timeout=600,
            resources={"metadata": {"path": str(path.parent)}},
        )
        times[path.stem[:2]] = seconds(client.execute)
    each = ", ".join(f"{number}: {took:.0f}" for number, took in times.items())
    foundation = sum(took for number, took in times.items() if number <= "04")
    yield (
        "notebooks 00 to 04",
        f"{foundation:.0f} s (all {len(times)}: {sum(times.values()):.0f} s; {each})",
        "under 240 s",
    )


def trials_a_minute(
    starter: type, programs: list[list[str]], parallel: int
) -> tuple[float, float, list[str]]:
    """How many trials a minute a starter runs, its own start counted in and left out; and what each
    printed.
    """

    def run(program: list[str]) -> str:
        running = server.start(program)
        printed = "".join(running.lines(patience=1))
        assert running.wait() == 0, printed
        return printed

    begin = time.perf_counter()
    server = starter({}, train.__name__)
    run(["true"])  # answered when the server has imported what it imports
    up = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        printed = list(pool.map(run, programs))
    end = time.perf_counter()
    server.close()
    return 60 * len(programs) / (end - begin), 60 * len(programs) / (end - up), printed


def tuning() -> Iterator[Row]:
    """The case study's trials: in fresh processes and as forks, one and two at a time."""
    content = case_study.experiment()["spec"]
    suggestion = Suggestion(content)
    container = content["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    command = [word for word in container["command"] if word != "--times"]  # they differ
    names = {
        parameter["name"]: parameter["reference"]
        for parameter in content["trialTemplate"]["trialParameters"]
    }
    programs = []
    for _ in range(content["maxTrialCount"]):
        assignment = suggestion.ask()[1]
        programs.append(
            substitute(command, {name: assignment[reference] for name, reference in names.items()})
        )
    fresh, _, plain = trials_a_minute(workers.Fresh, programs, 1)
    (one, one_up, printed), (two, two_up, again) = (
        trials_a_minute(workers.Server, programs, parallel) for parallel in (1, 2)
    )
    rows = {
        "forks / fresh processes": (one_up, fresh, one, fresh, "3"),
        "two at a time / one": (two_up, one_up, two, one, "1.5"),
    }
    for what, (up, rival_up, whole, rival, goal) in rows.items():
        counted_in = (
            f"with the server's start, on {len(programs)} trials: {whole / rival:.1f} ({whole:.0f}"
            f" / {rival:.0f})"
        )
        yield (
            f"trials a minute: {what}",
            f"{up / rival_up:.1f} ({up:.0f} / {rival_up:.0f}); {counted_in}",
            f"at least {goal}",
        )
    yield (
        "what the trials printed",
        f"the same in all three: {plain == printed == again}",
        "the same",
    )


def cheap() -> Iterator[Row]:
    """A thousand trials that do nothing, two at a time, and the same in Optuna alone."""
    import optuna

    content = case_study.experiment(
        "random", {"random_state": 0}, name="cheap", max_trials=1000, early_stopping=False
    )
    job = content["spec"]["trialTemplate"]["trialSpec"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    container["command"] = ["echo", "Validation-MAE=1", *container["command"][-3:]]
    seen: list[tuple[int, float, int]] = []

    def watch(experiment: dict, trials: list[dict]) -> None:
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seen.append((experiment["status"].get("trialsSucceeded", 0), time.perf_counter(), size))

    def between(first: int, last: int) -> tuple[float, int]:
        (begin, small), (end, large) = (
            next((moment, size) for done, moment, size in seen if done >= count)
            for count in (first, last)
        )
        return (end - begin) / (last - first) * 1e3, large - small

    with tempfile.TemporaryDirectory() as state:
        door = Laptop(state)
        door.wait(door.create(content), watch)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    rival = seconds(
        lambda: study.optimize(
            lambda trial: sum(trial.suggest_float(name, 0, 1) for name in "abc"), n_trials=1000
        )
    )
    early, late = between(20, 120), between(900, 1000)
    yield (
        "a trial that does nothing, two at a time",
        f"{between(20, 1000)[0]:.1f} ms (Optuna in process {rival:.1f} ms)",
        "under 20 ms",
    )
    yield (
        "trials 20 to 120 / 900 to 1,000",
        f"{early[0]:.1f} / {late[0]:.1f} ms; memory grew by {between(120, 1000)[1] / 1e3:.0f} MB",
        "flat",
    )


def engine() -> Iterator[Row]:
    """multivariate-tpe beside Optuna itself, on three functions, with ten seeds of 60 trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    functions: dict[str, Callable[[float, float], float]] = {
        "sphere": lambda x, y: x**2 + y**2,
        "Rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        "Rastrigin": lambda x, y: 20 + sum(v**2 - 10 * np.cos(2 * np.pi * v) for v in (x, y)),
    }
    parameters = [
        {
            "name": name,
            "parameterType": "double",
            "feasibleSpace": {"min": "-2", "max": "2"},
        }
        for name in "xy"
    ]
    for name, function in functions.items():
        same, best = 0, []
        for seed in range(10):
            settings = [{"name": "random_state", "value": str(seed)}]
            suggestion = Suggestion({
                "algorithm": {"algorithmName": "multivariate-tpe", "algorithmSettings": settings},
                "objective": {"type": "minimize"},
                "parameters": parameters,
            })  # fmt: skip
            found = []
            for _ in range(60):
                number, assignment = suggestion.ask()
                found.append(function(*map(float, assignment.values())))
                suggestion.tell(number, found[-1])
            sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)
            study = optuna.create_study(sampler=sampler)
            study.optimize(
                lambda trial, of=function: of(*(trial.suggest_float(v, -2, 2) for v in "xy")),
                n_trials=60,
            )
            same += found == [trial.value for trial in study.trials]
            best.append(min(found))
        yield (
            f"multivariate-tpe as in Optuna: {name}",
            f"{same} of 10 searches the same; median of the best {statistics.median(best):.3g}",
            "10 of 10",
        )


def suggestions() -> Iterator[Row]:
    """The thousandth suggestion of tpe, for the case study's three parameters."""
    suggestion = Suggestion(case_study.experiment("tpe", {"random_state": 0})["spec"])
    took = []
    for _ in range(1010):
        begin = time.perf_counter()
        number, assignment = suggestion.ask()
        took.append(time.perf_counter() - begin)
        suggestion.tell(number, float(assignment["learning-rate"]))
    yield (
        "tpe's suggestions 991 to 1,010, the median",
        f"{statistics.median(took[990:]) * 1e3:.0f} ms",
        "under 50 ms",
    )


def chain(ticker: str, models: Path) -> float:
    """What the pipeline's steps call, one after the other in this process; returns the seconds."""
    from kubeflow_workshop import repository
    from kubeflow_workshop.stock import checks, gate, report

    begin = time.perf_counter()
    frame = prices.load(ticker)
    checks.check(frame)
    trained = train.train(frame)
    with tempfile.TemporaryDirectory() as room:
        version = Path(room) / "version"
        train.save(trained, frame, ticker, version)
        judged = train.judge(version, frame)
        decision = gate.decide(judged.scores)
        report.evaluation(judged.forecast, judged.windows, judged.scores, decision, judged.card)
        if decision.accepted:
            repository.register(version, models, ticker.lower())
        report.comparison({ticker: (judged.scores, decision)})
    return time.perf_counter() - begin


def pipeline() -> Iterator[Row]:
    """The pipeline against the same functions in one process; again, from the cache; and five
    tickers at once against one after the other.
    """
    from kubeflow_workshop.files import course_file
    from kubeflow_workshop.pipeline import YAML
    from kubeflow_workshop.pipelines.laptop import Laptop as Pipelines

    with tempfile.TemporaryDirectory() as room:
        models = Path(room) / "models"

        def run(door: Pipelines, *tickers: str) -> list[dict]:
            given = case_study.pipeline_arguments(tickers, models)
            ended = door.wait(door.create(course_file(YAML), given))
            assert ended["state"] == "SUCCEEDED", ended
            return door.tasks(ended["run_id"])

        door = Pipelines(Path(room) / "one")
        first = seconds(lambda: run(door, "IBM"))
        again = seconds(lambda: run(door, "IBM"))
        steps = sum(task["state"] == "SUCCEEDED" for task in run(door, "IBM"))
        code = f"from pathlib import Path; from tests import bench; print(bench.chain('IBM', Path({str(models)!r})))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        plain = float(done.stdout)
        yield (
            "pipeline, 1 ticker: more than the functions, a step",
            f"{(first - plain) / steps:.1f} s ({first:.0f} s, {plain:.0f} s in one process, {steps} steps)",
            "under 2 s",
        )
        yield (
            "pipeline, first run / second run, from the cache",
            f"{first / again:.1f} ({first:.0f} s / {again:.1f} s)",
            "at least 5",
        )
        tickers = tuple(prices.cards())
        single, many = Pipelines(Path(room) / "single"), Pipelines(Path(room) / "many")
        turns = seconds(lambda: [run(single, ticker) for ticker in tickers])
        once = seconds(lambda: run(many, *tickers))
        yield (
            f"pipeline, {len(tickers)} tickers: one after the other / at once",
            f"{turns / once:.1f} ({turns:.0f} s / {once:.0f} s)",
            "at least 1.5 on 2 cores",
        )


FIGURES = {
    "memory": memory,
    "windows": window,
    "training": training,
    "notebooks": notebooks,
    "tuning": tuning,
    "cheap": cheap,
    "engine": engine,
    "suggestions": suggestions,
    "pipeline": pipeline,
}


def main() -> None:
    """Print the figures, each with its goal."""
    for name in sys.argv[1:] or FIGURES:
        for what, measured, goal in FIGURES[name]():
            print(f"{what:<50} {measured}   goal: {goal}", flush=True)


if __name__ == "__main__":
    main()
