"""What to try next: Katib's algorithms, with Optuna as the engine.

Taught in notebook 05. On a cluster the engines are hyperopt (random, tpe) and Optuna (grid,
multivariate-tpe); the method is the same, the numbers that it draws are not.
"""

import math
import random
import warnings
from collections.abc import Iterator, Mapping

from kubeflow_workshop.katib.rules import GRID, MULTIVARIATE_TPE, RANDOM, TPE, count, value_at

ALGORITHMS = (RANDOM, GRID, TPE, MULTIVARIATE_TPE)
"""What runs on the laptop."""


class Suggestion:
    """Suggests assignments for trials, and learns from how they went. Ask, run, tell."""

    def __init__(self, content: Mapping):
        """`content` is the Experiment's `spec`, checked. Without the setting `random_state` every
        search is another one, as in Katib.
        """
        algorithm = content["algorithm"]
        self._settings = {
            setting["name"]: float(setting["value"])
            for setting in algorithm.get("algorithmSettings") or []
        }
        self._parameters = content["parameters"]
        self._grid = (
            _grid(self._parameters, content.get("maxTrialCount"), self._seed)
            if algorithm["algorithmName"] == GRID
            else None
        )
        self._asked: dict[int, object] = {}
        self._known: set[tuple] = set()
        if self._grid is None:
            # optuna's progress bar, which nobody sees, misses the widgets of a notebook
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="IProgress not found")
                import optuna

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._space = {
                parameter["name"]: _distribution(parameter) for parameter in self._parameters
            }
            self._study = optuna.create_study(
                direction=content["objective"]["type"],
                sampler=_sampler(algorithm["algorithmName"], self._settings, self._seed),
            )
        self._count = 0

    @property
    def _seed(self) -> int | None:
        return int(self._settings["random_state"]) if "random_state" in self._settings else None

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """The next assignment: its number, and parameter → value as text; None when every point of
        a grid has been given out.
        """
        number = self._count
        if self._grid is not None:
            assignment = next((one for one in self._grid if _key(one) not in self._known), None)
            if assignment is None:
                return None
        else:
            trial = self._study.ask(self._space)
            self._asked[number] = trial
            assignment = {
                parameter["name"]: _text(parameter, trial.params[parameter["name"]])
                for parameter in self._parameters
            }
        self._count += 1
        return number, assignment

    def tell(self, number: int, value: float | None) -> None:
        """How the assignment of that number went: the objective's value, or None without one."""
        if self._grid is None:
            import optuna

            state = (
                optuna.trial.TrialState.COMPLETE
                if value is not None
                else optuna.trial.TrialState.FAIL
            )
            self._study.tell(self._asked.pop(number), value, state)

    def learn(self, assignment: Mapping[str, str], value: float | None) -> None:
        """Take in a trial that was not asked for here, such as one of a search that goes on: its
        assignment is no longer a point of the grid to give out, and tpe learns from its objective's
        value, unless that is None.
        """
        if self._grid is not None:
            self._known.add(_key(assignment))
            return
        if value is None:
            return
        import optuna

        params = {name: _drawn(self._space[name], text) for name, text in assignment.items()}
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=self._space, value=value)
        )


def _key(assignment: Mapping[str, str]) -> tuple:
    return tuple(sorted(assignment.items()))


def _drawn(distribution: object, text: str) -> object:
    """What was drawn, by the value that a trial got."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return text
    value = round(float(text)) if isinstance(distribution, IntDistribution) else float(text)
    return min(max(value, distribution.low), distribution.high)


def _grid(
    parameters: list[Mapping], most: int | None, seed: int | None
) -> Iterator[dict[str, str]]:
    """Every point once, in a shuffled order, so that a search that ends early has looked everywhere
    (Optuna, Katib's engine, shuffles too).
    """
    counts = [count(parameter) for parameter in parameters]
    points = math.prod(counts)
    for point in random.Random(seed).sample(range(points), min(points, most or points)):
        assignment = {}
        for parameter, size in zip(parameters, counts, strict=True):
            point, place = divmod(point, size)
            assignment[parameter["name"]] = value_at(parameter, place)
        yield assignment


def _sampler(name: str, settings: Mapping[str, float], seed: int | None) -> object:
    import optuna

    if name == RANDOM:
        return optuna.samplers.RandomSampler(seed)
    options: dict[str, object] = {"multivariate": name == MULTIVARIATE_TPE, "seed": seed}
    for setting, option in (
        ("n_startup_trials", "n_startup_trials"),
        ("n_ei_candidates", "n_ei_candidates"),
        ("n_EI_candidates", "n_ei_candidates"),
    ):
        if setting in settings:
            options[option] = (
                max(1, int(settings[setting]))
                if option == "n_ei_candidates"
                else int(settings[setting])
            )
    if "prior_weight" in settings:
        options["prior_weight"] = settings["prior_weight"]
    if "gamma" in settings:  # hyperopt's meaning of the number: how many trials count as good
        options["gamma"] = lambda trials: min(math.ceil(settings["gamma"] * math.sqrt(trials)), 25)
    return optuna.samplers.TPESampler(**options)


def _distribution(parameter: Mapping) -> object:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space, kind = parameter["feasibleSpace"], parameter["parameterType"]
    if kind in ("discrete", "categorical"):
        return CategoricalDistribution(list(space["list"]))
    logarithmic = space.get("distribution") == "logUniform"
    low, high = float(space["min"]), float(space["max"])
    if space.get("step") and not logarithmic:
        # the place of the value: `_text` says which one it is
        return IntDistribution(0, count(parameter) - 1)
    if kind == "int":
        return IntDistribution(int(low), int(high), log=logarithmic)
    return FloatDistribution(low, high, log=logarithmic)


def _text(parameter: Mapping, drawn: object) -> str:
    """A drawn value as the trial gets it."""
    space = parameter["feasibleSpace"]
    if parameter["parameterType"] in ("discrete", "categorical") or not space.get("step"):
        return str(drawn)
    # drawn on the logarithmic scale, then moved to the nearest step
    if space.get("distribution") == "logUniform":
        drawn = min(
            round((drawn - float(space["min"])) / float(space["step"])), count(parameter) - 1
        )
    return value_at(parameter, drawn)
