"""What notebook 05 says of tuning.

The points that the searches try are the same on every machine; the errors of steep learning rates
differ between processors in early digits, and with them may the winner. The bands are as wide as
the sentence can bear.
"""

import inspect

import pytest

from tests.notebooks.claims import claim


@claim("05", "Notebook 04 trained a network with 20,065 weights")
def test_the_network_of_notebook_04_has_so_many_weights(notebook):
    assert notebook("model.build('talk', 3).count_params()") == 20_065


@claim("05", "The talk took 3, 0.001 and 64 and asked")
def test_the_talk_chose_the_defaults(notebook):
    assert notebook(
        "[getattr(Hyperparameters(), name) for name in ('window', 'learning_rate', 'units')]"
    ) == [3, 0.001, 64]


@claim("05", "judge on **the year after**, which no trial may see")
def test_no_trial_sees_the_year_after(notebook):
    assert notebook("str(two_years.index[-1].date())") == "2012-02-29"
    assert notebook(
        "all('--end=2012-02-29' in str(one['spec']) for one in (random_search, grid_search,"
        " tpe_search, turn, stopping, fair_search))"
    )


@claim("05", "But a trial reports its error six times, after every ten epochs.")
def test_a_trial_reports_six_times(notebook):
    assert notebook("len(fits_of['tuned'][0].progress)") == 6


@claim("05", "Katib would take the smallest, the best moment on the way.")
def test_katib_would_take_the_smallest(notebook):
    import kubeflow_workshop.katib.metrics as metrics

    assert metrics.strategies({"type": "minimize", "objectiveMetricName": "Validation-MAE"}) == {
        "Validation-MAE": "min"
    }
    assert set(
        notebook("[one['value'] for one in random_search['spec']['objective']['metricStrategies']]")
    ) == {"latest"}


@claim("05", "Without it, nine in ten draws would lie above 0.003.")
def test_a_uniform_scale_would_neglect_small_learning_rates(notebook):
    low, high = (
        float(notebook(f"random_search['spec']['parameters'][1]['feasibleSpace']['{end}']"))
        for end in ("min", "max")
    )
    assert (high - 0.003) / (high - low) == pytest.approx(0.9, abs=0.02)


@claim("05", "`retain` keeps a finished Job on the cluster, so that its log can still be read.")
def test_the_experiment_keeps_its_logs(notebook):
    assert notebook("random_search['spec']['trialTemplate']['retain']") is True


@claim("05", "two of the twelve trials repeated a point that was known already")
def test_by_hand_repeats_itself(notebook):
    assert notebook("len(by_hand[KNOBS].drop_duplicates())") == 10


@claim("05", "only three different learning rates in 12 trials, where random search tried twelve")
def test_a_grid_tries_few_values_of_each_knob(notebook):
    assert notebook(
        "[int(ways[name]['learning-rate'].nunique()) for name in ('grid', 'random')]"
    ) == [3, 12]


@claim("05", "By hand ended at 0.252 dollars, the grid at 0.245, random search and TPE at 0.241.")
def test_four_ways_end_a_cent_apart(notebook):
    ends = notebook("[float(trials[METRIC].min()) for trials in ways.values()]")
    assert ends == pytest.approx([0.252, 0.245, 0.241, 0.241], abs=0.006)
    assert ends[0] > max(ends[2:])


@claim(
    "05", "Of our 12 trials, TPE chose one or two. On such a budget nobody can tell the two apart"
)
def test_tpe_begins_as_random_search(notebook):
    assert notebook("int(same.sum())") in (10, 11)
    assert notebook("bool(same[:10].all())")


@claim(
    "05",
    "After 12 trials TPE is ahead in 5 of the 20, level in 9 and behind in 6: no difference. "
    "After 40 it is ahead in 15, and less than half as far from the bottom. Even then 5 of 20 went"
    " the other way",
)
def test_tpe_pays_with_more_trials(notebook):
    after_12, after_40 = notebook(
        "[[int((bowls['tpe'][:, n - 1] < bowls['random'][:, n - 1]).sum()), int((bowls['tpe'] =="
        " bowls['random'])[:, n - 1].sum())] for n in (12, 40)]"
    )
    assert after_12 == pytest.approx([5, 9], abs=1)
    assert after_40[0] == pytest.approx(15, abs=1)
    assert notebook("float(middle['tpe'][-1] / middle['random'][-1])") < 0.5


@claim(
    "05",
    "For ten trials the two curves are one. After some twenty, TPE is the closer of the two, and it"
    " stays so.",
)
def test_the_curves_begin_as_one(notebook):
    assert notebook("bool((bowls['tpe'][:, :10] == bowls['random'][:, :10]).all())")
    assert notebook("bool((middle['tpe'][24:] < middle['random'][24:]).all())")


@claim(
    "05",
    "they come from large and small learning rates and from every number of units, but all from"
    " windows of 7 days or more",
)
def test_long_windows_end_low(notebook):
    assert notebook("float(ranked[:10]['window'].min())") >= 7
    rates = notebook("ranked[:10]['learning-rate'].tolist()")
    assert max(rates) / min(rates) > 30
    assert notebook("sorted(set(ranked[:10]['units'].tolist()))") == [8, 16, 32, 64]


@claim("05", "it succeeded because the number of trials was reached; it runs no more")
def test_what_the_conditions_say(notebook):
    assert notebook(
        "[(one['type'], one['status'], one['reason']) for one in status['conditions']]"
    ) == [
        ("Created", "True", "ExperimentCreated"),
        ("Running", "False", "ExperimentRunning"),
        ("Succeeded", "True", "ExperimentMaxTrialsReached"),
    ]


@claim(
    "05",
    "Five of 12 trials were stopped at a third of their way, which saved 200 of 720 epochs, more"
    " than a quarter.",
)
def test_early_stopping_saves_a_quarter(notebook):
    assert notebook("len(stopped)") == 5
    assert 200 / 720 > 1 / 4


@claim(
    "05",
    "the best of the five would have ended at 0.254 dollars, and the best of all stands at 0.241",
)
def test_early_stopping_lost_nothing_here(notebook):
    lost, best = notebook(
        "float(stopped['without stopping'].min()), float(ways['random'][METRIC].min())"
    )
    assert (lost, best) == pytest.approx((0.254, 0.241), abs=0.006)
    assert lost > best


@claim("05", "All five have windows of 3 or 4 days.")
def test_short_windows_were_stopped(notebook):
    assert set(notebook("stopped['window'].tolist()")) == {3, 4}


@claim(
    "05",
    "One easier day out of fifty lowers everybody's error by 3.4 %, or nearly a cent, and our four"
    " searches ended about a cent apart.",
)
def test_long_windows_have_an_easier_exam(notebook):
    assert (
        notebook("[round(error, 4) for error in nothing.values()]") == [0.2596] * 4 + [0.2508] * 5
    )
    assert notebook("1 - nothing[6] / nothing[5]") == pytest.approx(0.034, abs=0.0005)
    assert notebook("nothing[5] - nothing[6]") == pytest.approx(0.009, abs=0.0005)


@claim("05", "5 October 2011, a day on which the price jumped by 0.46 dollars, is out of the exam")
def test_which_day_is_out_of_the_exam(notebook):
    assert notebook("[str(validation[days].dates[0].date()) for days in (5, 6)]") == [
        "2011-10-05",
        "2011-10-06",
    ]
    assert notebook("float(two_years.adj_close.diff()['2011-10-05'])") == pytest.approx(
        0.46, abs=0.005
    )


@claim(
    "05",
    "The winner stays the same, with a skill of +3.9 %.",
)
def test_the_winner_beats_persistence_where_it_was_chosen(notebook):
    assert 0.03 < notebook("float(winner['skill'])") < 0.07
    assert notebook(
        "everything.loc[everything[METRIC].idxmin(), KNOBS].tolist() == winner[KNOBS].tolist()"
    )


@claim("05", "In dollars, by hand came last; in skill it is level with the grid.")
def test_the_same_exam_changes_the_order(notebook):
    dollars = notebook("everything.groupby('way')[METRIC].min().to_dict()")
    skills = notebook("everything.groupby('way')['skill'].max().to_dict()")
    assert max(dollars, key=dollars.get) == "by hand"
    assert skills["by hand"] == pytest.approx(skills["grid"], abs=0.01)


@claim("05", "Throw 48 coins ten times each: the best will most likely show eight or nine heads")
def test_the_best_of_48_coins(notebook):
    from scipy import stats

    at_most = [stats.binom.cdf(heads, 10, 0.5) ** 48 for heads in (7, 9)]
    assert at_most[1] - at_most[0] > 0.8


@claim("05", "The interval runs from −1.2 % to +10.7 %: these 50 days do not tell the winner from")
def test_the_winners_own_interval_holds_persistence(notebook):
    low, high, days = notebook("(on_its_days.skill_low, on_its_days.skill_high, on_its_days.days)")
    assert days == 50
    assert (low, high) == pytest.approx((-0.012, 0.107), abs=0.02)
    assert low < 0 < high
    assert notebook("on_its_days.skill") == pytest.approx(
        notebook("float(winner['skill'])"), abs=1e-3
    )


@claim(
    "05",
    "With a window of up to 5 days, the error is the same as before, to the last digit, since the"
    " split is the same. With 6 days and more, nearly every error has gone up",
)
def test_one_exam_changes_the_errors_of_long_windows_alone(notebook):
    """The trials of the fair search are gone at the end; `fits` are the same trainings."""
    trials = notebook(
        "ways['random'].merge(tried.assign(now=on_exam.mean(axis=0)), on=KNOBS)"
        "[['window', METRIC, 'now']].values.tolist()"
    )
    assert len(trials) == 12
    for window, was, now in trials:
        assert window > 5 or now == pytest.approx(was, abs=2e-6)  # as many digits as are printed
    assert sum(window > 5 for window, _, _ in trials) == 6
    assert sum(now > was for window, was, now in trials if window > 5) >= 4
    best = notebook(
        "float(done['fair']['status']['currentOptimalTrial']['observation']['metrics'][0]['latest'])"
    )
    assert best == pytest.approx(min(now for _, _, now in trials), abs=2e-6)


@claim("05", "all trials are judged on the same days, whatever their window")
def test_persistence_is_the_same_on_one_exam(notebook):
    errors = notebook(
        "[evaluate.mae(part.today, part.targets) for part in (one_exam(windows("
        "two_years.adj_close, days)).validation for days in range(2, 11))]"
    )
    assert max(errors) == pytest.approx(min(errors), abs=1e-6)
    assert notebook("[str(day.date()) for day in exam.dates[[0, -1]]]") == [
        "2011-10-05",
        "2011-12-14",
    ]
    assert notebook("EXAM") == ["--validation-from=2011-10-05", "--test-from=2011-12-15"]


@claim("05", "The best four lie within half a percent of each other")
def test_the_first_place_on_the_exam_is_close(notebook):
    best = notebook("tried['on the exam'].nlargest(4).tolist()")
    assert best[0] - best[3] < 0.01
    assert 0.02 < best[0] < 0.06


@claim(
    "05",
    "the windows of the ten run from 3 to 10 days. **The long windows of the figure were the"
    " loophole, and no discovery.**",
)
def test_on_one_exam_the_best_have_windows_of_any_length(notebook):
    best = notebook("tried.nlargest(10, 'on the exam')['window'].tolist()")
    assert min(best) <= 4
    assert max(best) >= 8


@claim(
    "05",
    "The answer is p = 0.79. **If none of the points that we tried were better than persistence,"
    " the best of them would look at least this good in about four out of five such searches.**",
)
def test_the_best_of_many_needs_no_skill(notebook):
    assert notebook("on_exam.shape[0]") == 50
    assert 30 <= notebook("on_exam.shape[1]") <= 48
    assert 0.5 < notebook("float(test.pvalues['consistent'])") < 0.95


@claim(
    "05",
    "from −1.6 % to +3.4 %, and +1.4 % on average. The untuned one stands at +2.4 % on average, and"
    " its seeds lie closer together.",
)
def test_the_winner_was_lucky_in_its_seed(notebook):
    tuned, untuned = notebook(
        "[[one.skill for one in before[name]] for name in ('tuned', 'untuned')]"
    )
    assert (min(tuned), max(tuned)) == pytest.approx((-0.016, 0.034), abs=0.015)
    assert sum(tuned) / 5 == pytest.approx(0.014, abs=0.012)
    assert tuned[0] - sum(tuned) / 5 > 0.005
    assert sum(untuned) / 5 == pytest.approx(0.024, abs=0.01)
    assert max(untuned) - min(untuned) < (max(tuned) - min(tuned)) / 2


@claim(
    "05",
    "On the year after, every fit is behind persistence: the tuned network by 4.8 % on average, the"
    " untuned one by 1.9 %.",
)
def test_on_the_year_after_tuning_did_not_pay(notebook):
    tuned, untuned = notebook(
        "[[one.skill for one in after[name]] for name in ('tuned', 'untuned')]"
    )
    assert max(*tuned, *untuned) < 0
    assert sum(tuned) / 5 == pytest.approx(-0.048, abs=0.02)
    assert sum(untuned) / 5 == pytest.approx(-0.020, abs=0.008)


@claim("05", "No interval lies above zero, and some lie wholly below.")
def test_what_the_intervals_say(notebook):
    lows, highs = notebook(
        "[[getattr(one, end) for one in rows.values()] for end in ('skill_low', 'skill_high')]"
    )
    assert max(lows) < 0
    assert min(highs) < 0


@claim(
    "05",
    "A careless report would say +7.1 %. The tuned network fell from +1.4 % to −4.8 %, by about 6"
    " points. But the untuned one fell from +2.4 % to −1.9 %, by more than 4 points",
)
def test_the_untuned_network_falls_too(notebook):
    careless, tuned, tuned_later, untuned, untuned_later = notebook(
        "[float(height) for height in percent.values()]"
    )
    assert careless == pytest.approx(7.1, abs=2)
    assert tuned - tuned_later == pytest.approx(6, abs=2)
    assert untuned - untuned_later == pytest.approx(4.4, abs=1)
    assert untuned_later < 0 < untuned  # the title of the figure


@claim("05", '**At most the rest, about 2 points, is "we tuned to the validation days"**')
def test_at_most_the_rest_of_the_fall_is_tuning(notebook):
    _, tuned, tuned_later, untuned, untuned_later = notebook(
        "[float(height) for height in percent.values()]"
    )
    assert 0 < (tuned - tuned_later) - (untuned - untuned_later) < 4


@claim(
    "05", "(The lucky seed, which we picked together with the winner, had added another 2 points.)"
)
def test_what_the_seed_of_the_winner_added(notebook):
    first, mean = notebook(
        "(before['tuned'][0].skill, float(np.mean([one.skill for one in before['tuned']])))"
    )
    assert first - mean == pytest.approx(0.02, abs=0.012)


@claim(
    "05", "The average over all points fell as well, from +0.2 % to −2.3 %, and nobody chose the"
)
def test_the_average_of_all_points_falls_too(notebook):
    exam, year = notebook("[float(tried[days].mean()) for days in ('on the exam', 'year after')]")
    assert exam == pytest.approx(0.002, abs=0.008)
    assert year == pytest.approx(-0.023, abs=0.01)


@claim("05", "The rank correlation of exam and year is −0.07, which is as good as none.")
def test_a_rank_on_the_exam_is_none_on_the_year(notebook):
    """With 33 points, chance alone gives anything from -0.34 to +0.34 in 95 of 100 cases."""
    assert abs(notebook("float(ranks)")) < 0.34


@claim("05", "The exam did find the bad points: the four on the far left stay bad.")
def test_bad_points_stay_bad(notebook):
    years = notebook("tried[tried['on the exam'] < -0.04]['year after'].tolist()")
    assert len(years) == pytest.approx(4, abs=1)
    assert max(years) < -0.02


@claim(
    "05",
    "with a skill above +1 %, every one lies below zero on the year after, chosen or not",
)
def test_what_did_well_on_the_exam_fell_behind(notebook):
    years = notebook("tried[tried['on the exam'] > 0.01]['year after'].tolist()")
    assert len(years) > 10
    assert sum(year < 0.002 for year in years) == len(years)


@claim(
    "05", "Those that stay near zero are networks whose forecast hardly differs from today's price."
)
def test_what_stays_near_zero_repeats_today(notebook):
    moves = notebook(
        "[float(np.abs(model.forecast(one.model, days) - days.today).mean()) for one, days, year in"
        " zip(fits, later, tried['year after'], strict=True) if abs(year) < 0.003]"
    )
    typical = notebook("float(of_persistence_later.mean())")
    assert len(moves) >= 5
    assert max(moves) < 0.35 * typical


@claim(
    "05",
    "On the year after, the tuned network is behind persistence, and behind the untuned network"
    " too.",
)
def test_tuned_is_behind_untuned(notebook):
    tuned, untuned = notebook(
        "[[one.skill for one in after[name]] for name in ('tuned', 'untuned')]"
    )
    assert sum(tuned) < sum(untuned) < 0


@claim(
    "05",
    "It writes the same kind of Experiment, with fewer choices: `random` and `grid` only, no early"
    " stopping, no `metricStrategies`",
)
def test_what_the_optimizer_client_takes(notebook):
    from kubeflow.optimizer import (
        GridSearch,
        Objective,
        OptimizerClient,
        RandomSearch,
        TrainJobTemplate,
        TrialConfig,
    )
    from kubeflow.optimizer.types.algorithm_types import ALGORITHM_REGISTRY
    from kubeflow.trainer import CustomTrainer

    assert set(ALGORITHM_REGISTRY.values()) == {GridSearch, RandomSearch}
    template = TrainJobTemplate(trainer=CustomTrainer(func=print, image="kubeflow-workshop:0.1.0"))
    call = {
        "trial_template": template,
        "trial_config": TrialConfig(num_trials=12, parallel_trials=2),
        "search_space": {},
    }
    inspect.signature(OptimizerClient.optimize).bind(
        None,
        **call,
        objectives=[Objective("Validation-MAE", "minimize")],
        algorithm=RandomSearch(random_state=0),
    )
    assert set(inspect.signature(OptimizerClient.optimize).parameters) == {
        "self",
        *call,
        "objectives",
        "algorithm",
    }


@claim("05", "(With 12 trials the probability is 0.46.)")
def test_twelve_trials_find_a_good_one_half_the_time(notebook):
    found = 1 - 0.95**12
    assert found == pytest.approx(0.46, abs=0.005)
