"""Each algorithm finds a known optimum within a stated budget, covers its space, and gives values
that a trial can read.
"""

import math
import statistics
import time

import optuna
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib.suggest import ALGORITHMS, Suggestion
from tests.katib.experiments import choice, experiment, number

EVERY_TYPE = [
    number("double", "x", min="-2", max="2"),
    number("int", "n", min="1", max="9"),
    choice("discrete", "0.5", "1", "2", name="d"),
    choice("categorical", "bad", "good", name="c"),
]


def suggestion(parameters, algorithm="random", direction="minimize", **settings) -> Suggestion:
    return Suggestion(
        experiment(
            parameters=parameters,
            algorithm=algorithm,
            objective={"type": direction},
            settings=settings,
            maxTrialCount=10_000,
        )["spec"]
    )


def draws(parameters, count, algorithm="random", **settings) -> list[dict[str, str]]:
    suggest = suggestion(parameters, algorithm, random_state=1, **settings)
    made = []
    for _ in range(count):
        number_, assignment = suggest.ask()
        suggest.tell(number_, 1.0)
        made.append(assignment)
    return made


def cost(assignment: dict[str, str]) -> float:
    """0 at x = 0.7, n = 4, d = 1, c = good."""
    return (
        (float(assignment["x"]) - 0.7) ** 2
        + (int(assignment["n"]) - 4) ** 2 / 9
        + abs(float(assignment["d"]) - 1)
        + (assignment["c"] == "bad")
    )


@pytest.mark.parametrize(
    ("algorithm", "budget", "within"),
    [("random", 400, 0.3), ("tpe", 100, 0.1), ("multivariate-tpe", 100, 0.1)],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_finds_the_optimum_over_all_types_of_parameters(algorithm, budget, within, direction):
    sign = 1 if direction == "minimize" else -1
    suggest = suggestion(EVERY_TYPE, algorithm, direction, random_state=0)
    best = math.inf
    for _ in range(budget):
        place, assignment = suggest.ask()
        best = min(best, cost(assignment))
        suggest.tell(place, sign * cost(assignment))
    assert best < within


@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe"])
def test_learns_from_what_it_is_told_and_in_the_right_direction(algorithm):
    """The last 30 of 60 draws lie nearer the optimum than those of a search that learns nothing."""
    for direction, sign in (("minimize", 1), ("maximize", -1)):
        suggest = suggestion([number(min="0", max="1")], algorithm, direction, random_state=2)
        drawn = []
        for _ in range(60):
            place, assignment = suggest.ask()
            drawn.append(float(assignment["x"]))
            suggest.tell(place, sign * (drawn[-1] - 0.9) ** 2)
        assert statistics.mean(abs(x - 0.9) for x in drawn[30:]) < 0.15  # 0.41 for uniform draws


def test_a_grid_gives_each_point_once_and_then_none():
    parameters = [
        number(min="0", max="1", step="0.5"),
        number("int", "n", min="1", max="2"),
        choice("categorical", "a", "b", name="c"),
    ]
    suggest = suggestion(parameters, "grid", random_state=0)
    seen = []
    while asked := suggest.ask():
        seen.append(tuple(asked[1].values()))
        suggest.tell(asked[0], None)
    assert sorted(seen) == [
        (x, n, c) for x in ("0.0", "0.5", "1.0") for n in ("1", "2") for c in ("a", "b")
    ]
    assert seen != sorted(seen)  # shuffled: a search that ends early has looked everywhere
    assert suggest.ask() is None


@pytest.mark.parametrize(("kind", "low", "high", "step", "points"), [
    ("double", "0", "2", "1", "0.0 1.0 2.0"),
    ("double", "0.1", "1", "0.3", "0.1 0.4 0.7000000000000001"),
    ("double", "0", "0.5", "0.1", "0.0 0.1 0.2 0.30000000000000004 0.4 0.5"),
    ("double", "-0.0", "2.5", "1.77", "-0.0 1.77"),
    ("double", "1", "1", "1", "1.0"),
    ("double", "0.00001", "0.00004", "0.00001", "1e-05 2e-05 3.0000000000000004e-05 4e-05"),
    ("double", "1e20", "1.2e20", "1e19", "1e+20 1.1e+20 1.2e+20"),
    ("double", "4", "6.43", "0.81", "4.0 4.8100000000000005 5.620000000000001"),
    ("double", "1.42", "3.28", "1.86", "1.42"),
    ("double", "3.12", "6.12", "1.0", "3.12 4.12 5.12 6.12"),
    ("double", "-2", "2.02", "1.34", "-2.0 -0.6599999999999999 0.6800000000000002"),
    ("double", "1.017", "4.917", "1.3", "1.017 2.317 3.6170000000000004"),
    ("double", "-1.3", "0.5", "0.4", "-1.3 -0.9 -0.5 -0.09999999999999987 0.30000000000000004"),
    ("double", "3.81", "8.94", "1.71", "3.81 5.52 7.229999999999999 8.94"),
    ("double", "4.0", "4.2", "1.84", "4.0"),
    ("double", "4.3", "4.99", "0.23", "4.3 4.53 4.760000000000001 4.990000000000001"),
    ("double", "-0.82", "2.79", "1.37", "-0.82 0.5500000000000002 1.9200000000000004"),
    ("int", "1", "9", "3", "1 4 7"),
    ("int", "-5", "5", "5", "-5 0 5"),
    ("int", "1", "4", "", "1 2 3 4"),
])  # fmt: skip
def test_a_grid_has_the_points_of_katibs_service_as_it_writes_them(kind, low, high, step, points):
    """Recorded from Katib 0.19: its `OptunaService`, with Optuna 3.3.0 and NumPy 1.26.4, was asked
    for all points of an Experiment with this one parameter. Some of its lists end a step early.
    """
    space = {"min": low, "max": high} | ({"step": step} if step else {})
    suggest = suggestion([number(kind, **space)], "grid")
    made = [assignment["x"] for _, assignment in iter(suggest.ask, None)]
    assert sorted(made, key=float) == points.split()


def test_a_huge_grid_starts_at_once():
    suggest = suggestion(
        [number("int", "n", min="0", max="1000000000000"), number(min="0", max="1", step="0.001")],
        "grid",
    )
    assignments = [suggest.ask()[1] for _ in range(100)]
    assert len({tuple(one.values()) for one in assignments}) == 100
    assert all(0 <= int(one["n"]) <= 10**12 and 0 <= float(one["x"]) <= 1 for one in assignments)


@pytest.mark.parametrize("most", [{}, {"maxTrialCount": 10**9}])
def test_a_grid_of_any_size_is_not_held_in_memory(most):
    """2**63 points are more than a list can number, and 4 * 10**8 more than memory can hold."""
    for axes in ([number("int", "n", min="1", max=str(2**63))],
                 [number("int", "n", min="1", max="20000"), number(min="0", max="1", step="5e-5")]):  # fmt: skip
        content = experiment(parameters=axes, algorithm="grid")["spec"]
        content = {key: content[key] for key in content if key != "maxTrialCount"} | most
        began = time.perf_counter()
        suggest = Suggestion(content)
        points = [tuple(suggest.ask()[1].values()) for _ in range(300)]
        assert time.perf_counter() - began < 1
        assert len(set(points)) == 300


def test_whole_numbers_longer_than_a_double_are_kept():
    low = 2**60 + 1
    suggest = suggestion([number("int", "n", min=str(low), max=str(low + 2))], "grid")
    made = {suggest.ask()[1]["n"] for _ in range(3)}
    assert made == {str(low), str(low + 1), str(low + 2)}


@pytest.mark.parametrize(("low", "high", "step"), [
    ("1e20", "1e21", "1"), ("0", "1e300", "1e-300"), ("-1e308", "1e308", "1")
])  # fmt: skip
def test_a_step_that_cannot_be_counted_is_refused_before_anything_starts(low, high, step):
    with pytest.raises(CourseError, match=r"^parameter x: the step .+ give a larger step\.$"):
        suggestion([number(min=low, max=high, step=step)], "grid")


FUNCTIONS = {
    "sphere": lambda x, y: x**2 + y**2,
    "Rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "Rastrigin": lambda x, y: 20 + sum(v**2 - 10 * math.cos(2 * math.pi * v) for v in (x, y)),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_multivariate_tpe_is_optuna_to_the_last_digit(function):
    """Ten seeds of 15 trials, of which 10 have learned from those before."""
    space = {name: optuna.distributions.FloatDistribution(-2, 2) for name in "xy"}
    for seed in range(10):
        sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, n_startup_trials=5, seed=seed
        )
        study = optuna.create_study(sampler=sampler)
        suggest = suggestion(
            [number(name=name, min="-2", max="2") for name in "xy"],
            "multivariate-tpe",
            random_state=seed,
            n_startup_trials=5,
        )
        for _ in range(15):
            trial = study.ask(space)
            study.tell(trial, function(**trial.params))
            place, assignment = suggest.ask()
            assert {name: float(text) for name, text in assignment.items()} == trial.params
            suggest.tell(place, function(**trial.params))


def test_multivariate_tpe_draws_as_katibs_service_before_it_learns():
    """Recorded from Katib 0.19: its `OptunaService` with Optuna 3.3.0, random_state 1."""
    steps = {"min": "0.05", "max": "1.9", "step": "0.3"}
    for parameter, texts in (
        (number(**steps), "0.65 1.55 0.05 0.65 0.35"),
        # there the step is passed over
        (
            number(**steps, distribution="logUniform"),
            "0.2279158491236423 0.6869526817998521 0.05002080674063366",
        ),
        (number("int", min="1", max="11", step="3"), "4 7 1 4 1"),
    ):
        suggest = suggestion([parameter], "multivariate-tpe", random_state=1)
        assert [suggest.ask()[1]["x"] for _ in texts.split()] == texts.split()


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
@pytest.mark.parametrize("distribution", ["uniform", "logUniform"])
def test_random_and_tpe_stay_in_the_range_where_katibs_leave_it(algorithm, distribution):
    """Between 1 and 11 by 3, Katib 0.19 draws 3, 6, 9 and 12, and 0 on a logarithmic scale."""
    for kind, texts in (("int", {"1", "4", "7", "10"}), ("double", {"1.0", "4.0", "7.0", "10.0"})):
        space = number(kind, min="1", max="11", step="3", distribution=distribution)
        assert {one["x"] for one in draws([space], 60, algorithm)} == texts


@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe"])
@pytest.mark.parametrize("parameter", [
    number(min="0.001", max="1", step="0.1"),
    number(min="0.001", max="1", step="0.1", distribution="logUniform"),
    number("int", min="1", max="1000", distribution="logUniform"),
    number("int", min="1", max="1000", step="7"),
    number("int", min="1", max="1000", step="7", distribution="logUniform"),
    choice("discrete", "0.5", "1"),
])  # fmt: skip
def test_a_search_that_goes_on_learns_from_what_was_tried_before(algorithm, parameter):
    first = suggestion([parameter], algorithm, random_state=1)
    other = suggestion([parameter], algorithm, random_state=1)
    for turn in range(12):
        place, assignment = first.ask()
        first.tell(place, float(turn % 5))
        other.learn(assignment, float(turn % 5))
    other.learn(assignment, None)
    seen = [[(trial.value, trial.params) for trial in one._study.trials] for one in (first, other)]
    assert [value for value, _ in seen[0]] == [value for value, _ in seen[1]]
    for (_, told), (_, learnt_) in zip(*seen, strict=True):
        if "step" in parameter["feasibleSpace"] and "distribution" in parameter["feasibleSpace"]:
            continue  # what was drawn was moved to a step
        assert told == learnt_
    other.tell(*other.ask()[:1], 1.0)


def test_a_grid_that_goes_on_gives_out_the_other_points():
    suggest = suggestion([number("int", "n", min="1", max="4")], "grid")
    suggest.learn({"n": "2"}, 5.0)
    suggest.learn({"n": "3"}, None)
    assert {assignment["n"] for _, assignment in iter(suggest.ask, None)} == {"1", "4"}


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_the_thousandth_suggestion_costs_no_more_than_the_first(algorithm):
    suggest = suggestion([number("int", "n", min="0", max="99999")], algorithm, random_state=0)
    took = []
    for _ in range(1000):
        began = time.perf_counter()
        place, _ = suggest.ask()
        suggest.tell(place, 0.5)
        took.append(time.perf_counter() - began)
    assert statistics.median(took[-200:]) < 5 * statistics.median(took[:200])


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe"])
def test_the_draws_cover_the_space(algorithm):
    """Told the same cost for each, a search has no reason to prefer a place."""
    made = draws(EVERY_TYPE, 100, algorithm)
    assert {one["n"] for one in made} == {str(n) for n in range(1, 10)}
    assert {one["d"] for one in made} == {"0.5", "1", "2"}
    assert {one["c"] for one in made} == {"bad", "good"}
    quarters = {math.floor(float(one["x"])) for one in made}
    assert quarters >= {-2, -1, 0, 1}


def test_a_logarithmic_scale_gives_each_decade_its_share():
    drawn = [
        float(one["x"])
        for one in draws([number(min="0.0001", max="1", distribution="logUniform")], 800)
    ]
    decades = [sum(low <= x < low * 10 for x in drawn) / 800 for low in (1e-4, 1e-3, 1e-2, 1e-1)]
    assert all(0.2 < share < 0.3 for share in decades), decades
    uniform = [float(one["x"]) for one in draws([number(min="0.0001", max="1")], 800)]
    assert sum(x > 0.1 for x in uniform) / 800 > 0.85


def test_whole_numbers_on_a_logarithmic_scale_stay_whole():
    drawn = [
        int(one["n"])
        for one in draws([number("int", "n", min="1", max="1000", distribution="logUniform")], 300)
    ]
    assert min(drawn) >= 1
    assert max(drawn) <= 1000
    assert 0.4 < sum(n <= 31 for n in drawn) / 300 < 0.6


@pytest.mark.parametrize("kind", ["double", "int"])
def test_steps_on_a_logarithmic_scale_are_kept(kind):
    drawn = [
        float(one["x"])
        for one in draws(
            [number(kind, min="5", max="103", step="5", distribution="logUniform")], 300
        )
    ]
    assert set(drawn) <= {5.0 * k for k in range(1, 21)}
    assert {5, 100} <= set(drawn)
    assert 0.35 < sum(x <= 22.5 for x in drawn) / 300 < 0.65


def test_steps_begin_at_min_and_do_not_pass_max():
    assert {one["x"] for one in draws([number(min="0.05", max="0.42", step="0.1")], 100)} == {
        "0.05",
        "0.15000000000000002",
        "0.25",
        "0.35",
    }
    assert {one["n"] for one in draws([number("int", "n", min="1", max="8", step="3")], 60)} == {
        "1",
        "4",
        "7",
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("distribution", ["uniform", "logUniform"])
def test_a_parameter_of_one_value_is_that_value(algorithm, distribution):
    parameters = [
        number("int", "n", min="3", max="3", distribution=distribution),
        number(min="0.5", max="0.5", step="0.1", distribution=distribution),
    ]
    if algorithm != "grid":
        parameters.append(number(name="y", min="0.25", max="0.25", distribution=distribution))
    _, assignment = suggestion(parameters, algorithm).ask()
    assert {name: float(text) for name, text in assignment.items()} == {"n": 3, "x": 0.5} | (
        {} if algorithm == "grid" else {"y": 0.25}
    )
    assert assignment["n"] == "3"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_are_texts_that_a_program_reads(algorithm):
    parameters = [
        number("int", "n", min="1000000000000", max="1000000000003"),
        number(min="0.00001", max="0.00004", step="0.00001"),
        choice("discrete", "1e-3", "2", name="d"),
        choice("categorical", "a b", "1", name="c"),
    ]
    for assignment in draws(parameters, 20, algorithm):
        assert 10**12 <= int(assignment["n"]) <= 10**12 + 3
        assert 1e-5 <= float(assignment["x"]) <= 4.0001e-5
        assert assignment["d"] in ("1e-3", "2")
        assert assignment["c"] in ("a b", "1")


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe"])
def test_the_same_random_state_gives_the_same_search_and_none_another(algorithm):
    assert draws(EVERY_TYPE, 15, algorithm) == draws(EVERY_TYPE, 15, algorithm)
    first, second = [suggestion(EVERY_TYPE, algorithm).ask()[1] for _ in range(2)]
    assert first != second


def test_the_grid_keeps_its_order_with_a_random_state():
    parameters = [number("int", "n", min="1", max="50")]
    assert draws(parameters, 50, "grid") == draws(parameters, 50, "grid")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trials_that_failed_or_still_run_are_survived(algorithm):
    """Three are out at a time, as parallel trials are, and every third has no value."""
    suggest = suggestion([number("int", "n", min="0", max="99")], algorithm, random_state=0)
    waiting, told = [], []
    for turn in range(60):
        waiting.append(suggest.ask())
        if len(waiting) == 3:
            place, assignment = waiting.pop(turn % 2)
            suggest.tell(place, None if turn % 3 == 0 else abs(int(assignment["n"]) - 42))
            told.append(place)
    assert len(set(told)) == len(told) == 58


@pytest.mark.parametrize(("algorithm", "settings"), [
    ("tpe", {"n_EI_candidates": 50, "gamma": 0.25, "prior_weight": 2}),
    ("multivariate-tpe", {"n_startup_trials": 2, "n_ei_candidates": 50}),
])  # fmt: skip
def test_settings_reach_the_engine(algorithm, settings):
    changed, plain = (
        [one["x"] for one in learnt(algorithm, setting)] for setting in (settings, {})
    )
    assert changed != plain


def learnt(algorithm, settings):
    suggest = suggestion(EVERY_TYPE, algorithm, random_state=0, **settings)
    for _ in range(30):
        place, assignment = suggest.ask()
        suggest.tell(place, cost(assignment))
        yield assignment
