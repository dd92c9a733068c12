"""The steps of the case study's pipeline, and the pipeline. Each step is thin: it reads its inputs,
calls the package, and writes its outputs.

Taught in notebook 06, where each of these functions is shown. Only this module is written in kfp's
own words, so it is imported where a pipeline is compiled, and nowhere else. A step's source travels
in the YAML, so it imports what it uses itself; `code` is the package's fingerprint
(`spec.fingerprint`), so that a cache notices when what a step calls has changed.
"""

from typing import NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from kubeflow_workshop import IMAGE
from kubeflow_workshop.stock.gate import AT_LEAST
from kubeflow_workshop.stock.train import Hyperparameters

MOUNT = "/models"
"""Where a step finds the volume with the model repository."""
DEFAULT = Hyperparameters()

component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@component
def edition(ticker: str, source: str) -> str:
    """Which edition of the prices is to be had: what a cache may remember them by."""
    from kubeflow_workshop.stock import prices

    return prices.edition(ticker, source)


@component
def fetch(
    ticker: str,
    source: str,
    start: str,
    end: str,
    edition: str,
    code: str,
    prices: Output[Dataset],
):
    """Fetch the daily prices of a stock."""
    from kubeflow_workshop.stock import prices as stock_prices

    frame = stock_prices.load(ticker, start or None, end or None, source)
    frame.to_csv(prices.path)
    prices.metadata["series"] = f"{ticker.upper()} ({source.rpartition('/')[2]})"
    prices.metadata["sha256"] = stock_prices.fingerprint(frame)


@component
def check(prices: Input[Dataset], code: str):
    """Stop the run if the prices are not fit to train on."""
    from kubeflow_workshop.stock import checks
    from kubeflow_workshop.stock import prices as stock_prices

    checks.check(stock_prices.read_csv(prices.path), prices.metadata["series"])


@component
def tune(
    ticker: str, source: str, start: str, end: str, network: str, epochs: int, trials: int
) -> dict:
    """Search for hyperparameters with a Katib Experiment."""
    from kubeflow_workshop import tuning

    return tuning.search(ticker, source, start, end, network, epochs, trials)


@component
def given(window: int, units: int, learning_rate: float) -> dict:
    """Take the hyperparameters that were given."""
    return {"window": window, "units": units, "learning_rate": learning_rate}


@component
def train(
    prices: Input[Dataset],
    hyperparameters: dict,
    network: str,
    epochs: int,
    seed: int,
    code: str,
    model: Output[Model],
    logs: Output[Artifact],
):
    """Train a network, and save it as a model version; `logs` is for TensorBoard."""
    from pathlib import Path

    from kubeflow_workshop.stock import prices as stock_prices
    from kubeflow_workshop.stock import train as training

    frame = stock_prices.read_csv(prices.path)
    chosen = training.Hyperparameters(
        network=network,
        window=int(hyperparameters["window"]),  # a mapping's numbers arrive as 3.0
        units=int(hyperparameters["units"]),
        learning_rate=hyperparameters["learning_rate"],
        epochs=epochs,
        seed=seed,
    )
    with training.tensorboard(Path(logs.path)) as report:
        trained = training.train(frame, chosen, report)
    training.save(trained, frame, prices.metadata["series"], Path(model.path))


@component
def evaluate(
    prices: Input[Dataset],
    model: Input[Model],
    code: str,
    metrics: Output[Metrics],
    forecast: Output[Dataset],
) -> dict:
    """Judge the version that was saved, with persistence beside it."""
    from pathlib import Path

    import pandas as pd

    from kubeflow_workshop.stock import prices as stock_prices
    from kubeflow_workshop.stock import train as training

    judged = training.judge(Path(model.path), stock_prices.read_csv(prices.path))
    pd.Series(judged.forecast, judged.windows.dates, name="forecast").to_csv(forecast.path)
    scores = judged.scores.as_json()
    for name in ("mae", "persistence_mae", "skill", "skill_low", "skill_high"):
        if scores[name] is not None:
            metrics.log_metric(name, scores[name])
    return scores


@component
def gate(
    prices: Input[Dataset],
    model: Input[Model],
    forecast: Input[Dataset],
    scores: dict,
    at_least: float,
    code: str,
    page: Output[HTML],
) -> NamedTuple("Gate", verdict=str, decision=dict):  # type: ignore[valid-type]
    """Decide whether the version may be registered, and write the page that a person opens."""
    from dataclasses import asdict
    from pathlib import Path

    import pandas as pd

    from kubeflow_workshop import repository
    from kubeflow_workshop.stock import gate as stock_gate
    from kubeflow_workshop.stock import prices as stock_prices
    from kubeflow_workshop.stock import report
    from kubeflow_workshop.stock import train as training
    from kubeflow_workshop.stock.evaluate import Scores

    made = Scores.from_json(scores)
    decision = stock_gate.decide(made, at_least)
    card = repository.card(Path(model.path))
    days = training.test_days(card, stock_prices.read_csv(prices.path))
    forecasts = pd.read_csv(forecast.path)["forecast"].to_numpy()
    text = report.evaluation(forecasts, days, made, decision, card)
    Path(page.path).write_text(text, encoding="utf-8")
    print(decision.why)
    # a text, because a condition on anything else depends on who evaluates it
    return ("accepted" if decision.accepted else "refused"), asdict(decision)


@component
def register(
    ticker: str, model: Input[Model], decision: dict, models: str, run: str, name: str
) -> str:
    """Copy the version into the model repository, and say in its card which run it is from."""
    from pathlib import Path

    from kubeflow_workshop import repository

    additions = {"run": {"id": run, "name": name}, "decision": decision}
    place = repository.register(Path(model.path), Path(models), ticker.lower(), additions)
    return str(place)


@component
def compare(
    tickers: list,
    scores: list,
    at_least: float,
    code: str,
    page: Output[HTML],
    metrics: Output[Metrics],
):
    """Put all tickers side by side."""
    from pathlib import Path

    from kubeflow_workshop.stock import gate as stock_gate
    from kubeflow_workshop.stock import report
    from kubeflow_workshop.stock.evaluate import Scores

    judged = {}
    for ticker, each in zip(tickers, scores, strict=True):
        made = Scores.from_json(each)
        judged[ticker] = made, stock_gate.decide(made, at_least)
        metrics.log_metric(f"{ticker} skill", made.skill)
    Path(page.path).write_text(report.comparison(judged), encoding="utf-8")


@dsl.pipeline(
    name="stock-pipeline",
    description="Prices in, a model version out, if the gate accepts it.",
)
def stock_pipeline(
    tickers: list[str] = ["MSFT"],
    source: str = "bundled",
    start: str = "",
    end: str = "",
    search: bool = False,
    trials: int = 6,
    network: str = DEFAULT.network,
    window: int = DEFAULT.window,
    units: int = DEFAULT.units,
    learning_rate: float = DEFAULT.learning_rate,
    epochs: int = DEFAULT.epochs,
    seed: int = DEFAULT.seed,
    at_least: float = AT_LEAST,
    models: str = MOUNT,
    claim: str = "models",
    image: str = IMAGE,
    code: str = "",
):
    """The case study as one pipeline, for one ticker or several.

    Args:
        tickers: symbols of the stocks.
        source: of the prices: `bundled`, `yahoo`, or a CSV file; on a cluster, one in the volume.
        start: first day, such as 2012-03-01; empty for the whole series.
        end: last day; empty for the whole series.
        search: whether to tune; without it, window, units and learning_rate are taken as given.
        trials: of the search.
        network: `relative` or `talk`.
        window: days in a window.
        units: size of the LSTM's state.
        learning_rate: of Adam.
        epochs: how many times training goes through all training windows.
        seed: of the first weights and of the shuffle.
        at_least: the skill that the gate asks for.
        models: the root of the model repository; on a cluster, in the volume at /models.
        claim: the volume claim, which is mounted at /models.
        image: that the steps run in, on a cluster.
        code: the fingerprint of the package's code.
    """
    with dsl.ParallelFor(tickers, parallelism=2) as ticker:
        known = edition(ticker=ticker, source=source).set_caching_options(False)
        fetched = fetch(
            ticker=ticker, source=source, start=start, end=end, edition=known.output, code=code
        )
        checked = check(prices=fetched.outputs["prices"], code=code)
        with dsl.If(search == True):
            tuned = tune(
                ticker=ticker,
                source=source,
                start=start,
                end=end,
                network=network,
                epochs=epochs,
                trials=trials,
            )
            tuned.after(checked).set_caching_options(False)
        with dsl.Else():
            taken = given(window=window, units=units, learning_rate=learning_rate)
        trained = train(
            prices=fetched.outputs["prices"],
            hyperparameters=dsl.OneOf(tuned.output, taken.output),
            network=network,
            epochs=epochs,
            seed=seed,
            code=code,
        ).after(checked)
        judged = evaluate(
            prices=fetched.outputs["prices"], model=trained.outputs["model"], code=code
        )
        decided = gate(
            prices=fetched.outputs["prices"],
            model=trained.outputs["model"],
            forecast=judged.outputs["forecast"],
            scores=judged.outputs["Output"],
            at_least=at_least,
            code=code,
        )
        with dsl.If(decided.outputs["verdict"] == "accepted"):
            kept = register(
                ticker=ticker,
                model=trained.outputs["model"],
                decision=decided.outputs["decision"],
                models=models,
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            ).set_caching_options(False)
        for step in (known, fetched, checked, tuned, taken, trained, judged, decided, kept):
            step.set_container_image(image)
        for step in (known, fetched, kept):
            kubernetes.mount_pvc(step, pvc_name=claim, mount_path=MOUNT)
    table = compare(
        tickers=tickers,
        scores=dsl.Collected(judged.outputs["Output"]),
        at_least=at_least,
        code=code,
    )
    table.set_container_image(image)
