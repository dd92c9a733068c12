"""What notebook 01 says of the recurrent cell.

What is drawn with NumPy is the same everywhere. The trained cell differs between processors in late
digits, and another seed would give other numbers with the same meaning: there the bands are as wide
as the sentence can bear.
"""

import pytest

from tests.notebooks.claims import claim


@claim("01", "The bags are equal, and the sentences are not.")
def test_a_bag_of_words_does_not_know_the_order(notebook):
    assert notebook("Counter(statement) == Counter(question), statement == question") == (
        True,
        False,
    )


@claim("01", "Forty weights in all.")
def test_the_cell_has_forty_weights(notebook):
    assert notebook("sum(weights.size for weights in cell)") == 40


@claim("01", "the network gets no larger")
def test_a_longer_sentence_needs_no_more_weights(notebook):
    assert notebook("follow(np.tile(x, (20, 1)), np.zeros(4), cell).shape") == (101, 4)


@claim("01", "All four units change as the words come in, and no unit stands for one word")
def test_every_unit_moves_at_several_words(notebook):
    moves = notebook("(np.abs(np.diff(h, axis=0)) > 0.1).sum(axis=0).tolist()")
    assert len(moves) == 4
    assert min(moves) >= 2


@claim(
    "01",
    "swapping the last two words moved it by 0.79, and swapping the first two by 0.02, forty times"
    " less",
)
def test_the_cell_notices_order_and_the_end_most(notebook):
    last, first = notebook(
        "[float(np.linalg.norm(ends_at(words) - h[5])) for words in ('I am a guy good', 'am I a"
        " good guy')]"
    )
    assert last == pytest.approx(0.79, abs=0.005)
    assert first == pytest.approx(0.02, abs=0.005)
    assert last / first == pytest.approx(40, abs=5)


@claim(
    "01",
    "In 92 of 100 draws, the first swap moves the state less than the last one; in the median it"
    " moves it 0.23, and the last swap 1.15.",
)
def test_most_cells_notice_the_end_more(notebook):
    draws = """
kept, moved = cell, []
for seed in range(100):
    cell = new_cell(4, 1, np.random.default_rng(seed))
    ends = [ends_at(said) for said in ("I am a good guy", "am I a good guy", "I am a guy good")]
    moved.append([float(np.linalg.norm(end - ends[0])) for end in ends[1:]])
cell = kept
moved
"""
    moved = notebook(draws)
    assert sum(first < last for first, last in moved) == pytest.approx(92, abs=1)
    assert [sorted(each)[50] for each in zip(*moved, strict=True)] == pytest.approx(
        [0.23, 1.15], abs=0.02
    )


@claim("01", "Two ways, one result: your cell *is* `SimpleRNN`.")
def test_the_cell_is_keras_simple_rnn(notebook):
    assert notebook("float(np.abs(by_keras - follow(x, np.zeros(4), cell)[1:]).max())") < 1e-6
    assert notebook("float(np.abs(by_keras).max())") > 0.1


@claim(
    "01",
    "We make 64 statements by putting words together, and turn each into a question by swapping its"
    " first two words.",
)
def test_the_examples_come_in_pairs_with_the_same_words(notebook):
    assert notebook(
        "len(statements), len(questions), len({tuple(words) for words in statements + questions})"
    ) == (64, 64, 128)
    assert notebook(
        "all(sorted(said) == sorted(asked) for said, asked in zip(statements, questions))"
    )


@claim(
    "01",
    "They are chosen so that every single word does occur in training, and only the combination is"
    " new.",
)
def test_what_is_unseen_is_new_only_as_a_whole(notebook):
    sentences = notebook("statements + questions")
    unseen = notebook("unseen.tolist()")
    seen = [tuple(words) for words, aside in zip(sentences, unseen, strict=True) if not aside]
    aside = [tuple(words) for words, aside in zip(sentences, unseen, strict=True) if aside]
    assert (len(seen), len(aside)) == (96, 32)
    assert not set(seen) & set(aside)
    assert {word for words in aside for word in words} <= {word for words in seen for word in words}
    assert unseen[:64] == unseen[64:]  # both sentences of a pair, or neither
    assert ("I", "am", "a", "good", "guy") in aside


@claim(
    "01",
    "The RNN gets every unseen sentence right. The bag of words gets half of them right, like a coin",
)
def test_the_order_is_worth_every_mark(notebook):
    assert notebook("{name: float(share) for name, share in right.items()}") == {
        "RNN": 1.0,
        "bag of words": 0.5,
    }


@claim("01", "It is sure of both, and it would end the sentence of the talk with a full stop.")
def test_the_sentence_of_the_talk_states_something(notebook):
    stated, asked = notebook("[float(chance) for chance in chances]")
    assert stated < 0.02
    assert asked > 0.98


@claim(
    "01",
    "before training the difference shrinks with each of these words, and that after training it"
    " does not",
)
def test_training_teaches_to_keep_the_beginning(notebook):
    before, after = notebook("[apart(weights).tolist() for weights in (untrained, trained)]")
    assert before[1] > before[2] > before[3] > before[4]
    assert min(after[2:]) > 0.9 * after[1]
    assert after[4] > 3 * before[4]


@claim("01", "A nudge to $h_1$, four steps from the end, arrives at 4 % of its size.")
def test_a_nudge_at_the_beginning_hardly_arrives(notebook):
    assert notebook("float(np.linalg.norm(nudged(1)))") == pytest.approx(0.04, abs=0.005)


@claim("01", "Two ways, one gradient")
def test_nudges_and_chain_rule_give_one_gradient(notebook):
    apart = "[float(np.abs(gradients[5 - t][:, 0] - nudged(t)).max()) for t in (1, 2, 3, 4)]"
    assert max(notebook(apart)) < 1e-5
    # what is compared is not all zeros
    assert notebook("min(float(np.abs(nudged(t)).max()) for t in (1, 2, 3, 4))") > 1e-3


@claim("01", "for our sentence it gives the same numbers")
def test_the_tape_gives_the_same_gradient(notebook):
    """Of the last state to the words, which takes the factor D_t W_x more."""
    by_tape = """
import tensorflow as tf

read = tf.constant(x[None], dtype=tf.float32)
with tf.GradientTape() as tape:
    tape.watch(read)
    last = layer(read)[0, -1]
by_tape = tape.jacobian(last, read).numpy()[:, 0]
by_hand = np.stack([gradients[5 - t] @ np.diag(1 - h[t] ** 2) @ W_x for t in range(1, 6)], axis=1)
float(np.abs(by_tape - by_hand).max()), float(np.abs(by_hand).max())
"""
    apart, largest = notebook(by_tape)
    assert apart < 1e-6
    assert largest > 0.1


@claim("01", "$W_h$ makes a state about `scale` times as long, on average")
def test_scale_is_what_the_state_is_multiplied_by(notebook):
    lengths = (
        "[np.linalg.norm(new_cell(32, 2, np.random.default_rng(seed))[1], axis=0) for seed in"
        " range(100)]"
    )
    assert notebook(f"float(np.mean({lengths}))") == pytest.approx(2, rel=0.03)


@claim(
    "01",
    "With `scale` 0.5 a step leaves 0.42 of the gradient, and 20 words back less than a millionth"
    " of it is left.",
)
def test_small_weights_forget_fast(notebook):
    assert notebook("float(factor(median[0.5]))") == pytest.approx(0.42, abs=0.005)
    assert notebook("float(every[0.5][:, 20].max())") < 1e-6


@claim("01", "With 1 a step leaves 0.75: a fiftieth after 20 words, and three millionths after 50.")
def test_weights_that_keep_the_length_forget_too(notebook):
    assert notebook("float(factor(median[1]))") == pytest.approx(0.75, abs=0.005)
    assert notebook("float(median[1][20])") == pytest.approx(1 / 50, rel=0.1)
    assert notebook("float(median[1][50])") == pytest.approx(3e-6, rel=0.1)
    assert notebook("max(float(factor(run)) for run in every[1])") < 1


@claim("01", "There $W_h$ alone would keep a vector's length on average")
def test_without_the_slope_the_gradient_would_not_fade(notebook):
    powers = (
        "[np.linalg.norm(np.linalg.matrix_power(W_h, n), 2) for n in range(51)] for seed in"
        " range(10) for W_h in [new_cell(32, 1, np.random.default_rng(seed))[1]]"
    )
    assert notebook(f"float(np.median([factor(run) for run in [{powers}]]))") == pytest.approx(
        1, abs=0.05
    )


@claim(
    "01",
    "With 2 the gradient grows by 7 % at each step in the median, and hardly at all in the lowest of"
    " the ten draws. With 4 it **explodes**: after 50 words it is more than ten million times as"
    " large.",
)
def test_large_weights_explode(notebook):
    assert notebook("float(factor(median[2]))") == pytest.approx(1.07, abs=0.005)
    assert notebook("min(float(factor(run)) for run in every[2])") == pytest.approx(1, abs=0.01)
    assert notebook("float(median[4][50])") > 1e7
    assert notebook("min(float(factor(run)) for run in every[4])") > 1


@claim("01", "Two lines fall all the way, and two climb.")
def test_the_lines_of_the_figure(notebook):
    each_tenth = notebook("[line[10:51:10].tolist() for line in median.values()]")
    assert [line == sorted(line, reverse=True) for line in each_tenth] == [True, True, False, False]
    assert [line == sorted(line) for line in each_tenth] == [False, False, True, True]


@claim(
    "01",
    "0.88 per step is better, and it is still below 1 in each of the ten draws: after 50 words"
    " $0.88^{50}$ is left, about 0.002.",
)
def test_the_weights_that_keras_starts_from_fade_too(notebook):
    factors = notebook("[float(factor_from(seed)) for seed in range(10)]")
    assert sorted(factors)[5] == pytest.approx(0.88, abs=0.015)
    assert max(factors) < 0.95
    assert abs(0.88**50 - 0.002) < 0.0005


@claim("01", "its $W_x$ is about half as large as ours")
@claim("01", "with our $W_x$ the factor is 0.77, hardly more than the 0.75 above")
@claim(
    "01",
    "Smaller weights for the words keep the states nearer to 0, where the slope of $\\tanh$ is"
    " nearer to 1.",
)
def test_most_of_the_gain_comes_from_smaller_weights_for_the_words(notebook):
    with_ours = sorted(notebook("[float(factor_from(seed, True)) for seed in range(10)]"))
    assert with_ours[5] == pytest.approx(0.77, abs=0.015)
    assert notebook("float(factor(median[1]))") == pytest.approx(0.75, abs=0.005)
    spread, ours, smaller = notebook("""
spread, slopes = [], {1: [], 0.465: []}
for seed in range(10):
    keras.utils.set_random_seed(seed)
    fresh = keras.layers.SimpleRNN(32)
    fresh.build((None, 60, 5))
    spread.append(float(fresh.get_weights()[0].std()))
    for size in slopes:
        rng = np.random.default_rng(seed)
        W_x, W_h, b = new_cell(32, 1, rng)
        states = follow(np.eye(5)[rng.integers(5, size=60)], np.zeros(32), (size * W_x, W_h, b))
        slopes[size].append(float((1 - states**2).mean()))
float(np.mean(spread)), *(float(np.mean(each)) for each in slopes.values())
""")
    assert spread == pytest.approx(0.5 / 2, rel=0.12)
    assert smaller > ours + 0.1


@pytest.fixture(scope="module")
def six_trainings(executed):
    """With the seeds 0 to 5: the share of unseen sentences right, how far apart the two sentences
    are after each word, and the gradients over four steps before and after training.
    """
    told = executed("01").value
    over_four = (
        "lambda cell: [float(np.linalg.norm(backwards(follow(inputs[number], np.zeros(8), cell),"
        " cell)[4], 2)) for number in (0, 64)]"
    )
    weights = "lambda network: [part.T for part in network.layers[0].get_weights()]"
    new = "keras.utils.set_random_seed(seed) or finisher(keras.layers.SimpleRNN(8))"
    fit = "network.fit(inputs[~unseen], marks[~unseen], epochs=30, verbose=0)"
    share = "float(np.mean((network(inputs[unseen]).numpy()[:, 0] > 0.5) == marks[unseen]))"
    return told(
        f"[(before, {share}, apart(weights(network)).tolist(), over_four(weights(network)))"
        f" for over_four, weights in [({over_four}, {weights})] for seed in range(6)"
        f" for network in [{new}] for before in [over_four(weights(network))] for _ in [{fit}]]"
    )


@claim(
    "01",
    "with the seeds 0 to 5, every RNN gets all unseen sentences right, and keeps the two sentences"
    " apart",
)
def test_other_seeds_learn_it_too(notebook, six_trainings):
    assert notebook("float(right['RNN'])") == 1
    assert [right for _, right, _, _ in six_trainings] == [1.0] * 6
    for _, _, apart, _ in six_trainings:
        assert min(apart[2:]) > 0.85 * apart[1]


@claim(
    "01",
    "the gradient over the four steps from $h_1$ to $h_5$ was between 0.7 and 0.9 before training,"
    " and smaller after it in each, below 0.05 in the smallest",
)
def test_a_state_held_fast_answers_less_to_nudges(notebook, six_trainings):
    assert notebook("float(apart(trained)[-1])") > 4  # of at most 2 * sqrt(8) = 5.7
    before = [gradient for both, _, _, _ in six_trainings for gradient in both]
    after = [gradient for _, _, _, both in six_trainings for gradient in both]
    assert (min(before), max(before)) == pytest.approx((0.7, 0.9), abs=0.05)
    assert all(late < early for early, late in zip(before, after, strict=True))
    assert min(after) < 0.05
    assert 0.3 < max(after) < 0.7


@claim(
    "01",
    "With 4 units instead of 32 (`sizes(4, seed, units=4)`), scale 4 leaves 0.35 per step in the"
    " median of ten draws",
)
def test_large_weights_in_a_small_cell_fade(notebook):
    assert notebook(
        "float(np.median([factor(sizes(4, seed, units=4)) for seed in range(10)]))"
    ) == pytest.approx(0.35, abs=0.01)
    states = "np.abs(follow(np.eye(5)[rng.integers(5, size=60)], np.zeros(4), small))"
    draws = "for rng in map(np.random.default_rng, range(10)) for small in [new_cell(4, 4, rng)]"
    assert notebook(f"min(float(np.median({states})) {draws})") > 0.85


@claim("01", "$0.9^{19}$ is 0.135; will it be more, or less?")
def test_the_exercise_is_less_than_the_weight_alone(notebook):
    assert notebook("0.9**19") == pytest.approx(0.135, abs=0.0005)
    followed = "follow(np.eye(20)[0][:, None], np.zeros(1), smallest)"
    gradient = f"backwards({followed}[1:], smallest)[19].item()"
    smallest = "[(np.array([[1.0]]), np.array([[0.9]]), np.zeros(1))]"
    assert notebook(f"[{gradient} for smallest in {smallest}]") == [
        pytest.approx(0.0306, abs=0.00005)
    ]
