"""What to try next: Katib's algorithms, with Optuna as the engine.

Taught in notebook 05. On a cluster the engines are hyperopt (random, tpe) and Optuna (grid,
multivariate-tpe); the method is the same, the numbers that it draws are not. The points of a grid
and the texts of all values are those of Katib's services: a double is written as Python writes it,
`1.0` and `0.7000000000000001`.

Two differences are on purpose. With a step, Katib's random and tpe draw multiples of the step, and
round past the ends of the range (between 1 and 11 by 3 they give 3, 6, 9 and 12, and on a
logarithmic scale 0 too). Here they draw min, min + step, … up to max. And Katib's grid makes the
list of all its points before it begins; here a point is made when it is asked for, so a grid of any
size begins at once.
"""

import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kubeflow_workshop.katib.rules import GRID, MULTIVARIATE_TPE, RANDOM, TPE, axis, whole

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

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
        self._algorithm = algorithm["algorithmName"]
        self._grid = _grid(self._parameters, self._seed) if self._algorithm == GRID else None
        self._asked: dict[int, Trial] = {}
        self._known: set[frozenset] = set()  # points of the grid that are not to be given out
        if self._grid is None:
            # optuna's progress bar, which nobody sees, misses the widgets of a notebook
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="IProgress not found")
                import optuna

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._space = {
                parameter["name"]: _distribution(parameter, self._algorithm)
                for parameter in self._parameters
            }
            self._places = {
                parameter["name"]: _nearest(parameter)
                for parameter in self._parameters
                if _is_placed(parameter, self._algorithm)
            }
            self._study = optuna.create_study(
                direction=content["objective"]["type"],
                sampler=_sampler(self._algorithm, self._settings, self._seed),
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
            unknown = (one for one in self._grid if frozenset(one.items()) not in self._known)
            assignment = next(unknown, None)
            if assignment is None:
                return None
        else:
            trial = self._study.ask(self._space)
            self._asked[number] = trial
            assignment = {
                name: str(self._places[name](drawn) if name in self._places else drawn)
                for name, drawn in trial.params.items()
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
        assignment is no longer a point of the grid to give out, and the engine learns from its
        objective's value, unless that is None.
        """
        if self._grid is not None:
            self._known.add(frozenset(assignment.items()))
        elif value is not None:
            import optuna

            drawn = {
                name: space.to_external_repr(_drawn(space, assignment[name]))
                for name, space in self._space.items()
            }
            self._study.add_trial(
                optuna.trial.create_trial(params=drawn, distributions=self._space, value=value)
            )


def _drawn(space: "BaseDistribution", text: str) -> float:
    """What was drawn, as Optuna keeps it, by the text that a trial got."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, CategoricalDistribution):
        return space.to_internal_repr(text)
    assert isinstance(space, FloatDistribution | IntDistribution)
    return min(max(float(text), space.low), space.high)


def _grid(parameters: list[Mapping], seed: int | None) -> Iterator[dict[str, str]]:
    """Every point once, in a shuffled order, so that a search that ends early has looked everywhere
    (Optuna, Katib's engine, shuffles too).
    """
    axes = {parameter["name"]: axis(parameter) for parameter in parameters}

    def assignment(point: int) -> dict[str, str]:
        made = {}
        for name, (size, value) in axes.items():
            point, place = divmod(point, size)
            made[name] = value(place)
        return made

    points = math.prod(size for size, _ in axes.values())
    return map(assignment, _shuffled(points, random.Random(seed)))


def _shuffled(size: int, generator: random.Random) -> Iterator[int]:
    """The numbers below `size`, each once: Fisher and Yates's shuffle, which remembers only the
    places that have been exchanged, so that it begins at once.
    """
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        place = generator.randrange(last + 1)
        stays = moved.pop(last, last)
        if place == last:
            yield stays
        else:
            yield moved.get(place, place)
            moved[place] = stays


def _sampler(name: str, settings: Mapping[str, float], seed: int | None) -> "BaseSampler":
    import optuna

    if name == RANDOM:
        return optuna.samplers.RandomSampler(seed)
    # the liar: trials that still run count as bad ones, so that no two try the same (as in Katib)
    multivariate = name == MULTIVARIATE_TPE
    options: dict[str, Any] = {
        "multivariate": multivariate,
        "constant_liar": multivariate,
        "seed": seed,
    }
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


def _distribution(parameter: Mapping, algorithm: str) -> "BaseDistribution":
    """What Optuna draws a parameter from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space, kind = parameter["feasibleSpace"], parameter["parameterType"]
    if kind in ("discrete", "categorical"):
        return CategoricalDistribution(list(space["list"]))
    if _is_placed(parameter, algorithm):
        return FloatDistribution(float(space["min"]), float(space["max"]), log=True)
    logarithmic = space.get("distribution") == "logUniform"
    step = None if logarithmic else space.get("step")
    with warnings.catch_warnings():  # that max is not min and a number of steps
        warnings.filterwarnings("ignore", message=".*not divisible by `step`")
        if kind == "int":
            low, high = whole(space["min"]), whole(space["max"])
            return IntDistribution(low, high, log=logarithmic, step=whole(step or "1"))
        return FloatDistribution(
            float(space["min"]),
            float(space["max"]),
            log=logarithmic,
            step=float(step) if step else None,
        )


def _is_placed(parameter: Mapping, algorithm: str) -> bool:
    """Whether what is drawn is moved to the nearest step: where there are steps on a logarithmic
    scale. Katib's multivariate-tpe passes over the step there, and so does this one.
    """
    space = parameter["feasibleSpace"]
    return (
        bool(space.get("step"))
        and space.get("distribution") == "logUniform"
        and algorithm != MULTIVARIATE_TPE
    )


def _nearest(parameter: Mapping) -> Callable[[float], float]:
    """Moves a number to the nearest of min, min + step, … up to max."""
    number = whole if parameter["parameterType"] == "int" else float
    low, high, step = (number(parameter["feasibleSpace"][name]) for name in ("min", "max", "step"))
    most = math.floor((high - low) / step + 1e-9)  # 0.3 / 0.1 is below 3
    return lambda drawn: low + step * min(round((drawn - low) / step), most)
