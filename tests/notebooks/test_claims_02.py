"""What notebook 02 says of the LSTM.

The networks are trained on the spot, and processors differ in late digits: the bands are as wide as
the sentences can bear.
"""

import pytest

from tests.notebooks.claims import claim


@claim("02", "After four words 3 % of it is left.")
def test_the_plain_cell_fades(notebook):
    assert notebook("float(remaining)") == pytest.approx(0.03, abs=0.005)


@claim(
    "02",
    "The first number passes, the second is erased, the third is halved, and of the last one 88 %"
    " is left.",
)
def test_a_gate_is_a_valve(notebook):
    assert notebook("gate.tolist()") == pytest.approx([1, 0, 0.5, 0.88], abs=0.005)


@claim("02", "the gate stands between half and wide open, and every number shrinks a little")
def test_an_untrained_forget_gate_lets_most_pass(notebook):
    assert all(0.5 < gate < 0.8 for gate in notebook("f_t.tolist()"))


@claim(
    "02",
    "With *f* = 1 and *i* = 0 the memory passes untouched, however many steps there are. With *f* ="
    " 0 and *i* = 1 it is replaced.",
)
def test_the_line_at_the_heart(notebook):
    assert notebook(
        "np.array_equal(1 * c_before + 0 * candidate, c_before) and np.array_equal(0 * c_before + 1"
        " * candidate, candidate)"
    )


@claim("02", "your cell *is* `keras.layers.LSTM`")
def test_the_cell_equals_keras(notebook):
    assert notebook("float(np.abs(by_keras - states[-1, 0]).max())") < 1e-5
    wrong_order = (
        "layer.set_weights([np.vstack(w).T if w[0].ndim == 2 else np.concatenate(w) for w in"
        " zip(*(cell[box] for box in 'fico'))])"
    )
    assert (
        notebook(f"{wrong_order} or float(np.abs(layer(x[None]).numpy()[0] - states[-1, 0]).max())")
        > 0.01
    )


@claim("02", "The LSTM has four times the weights of the RNN")
def test_the_lstm_costs_four_times_the_weights(notebook):
    assert notebook("layer.count_params() / plain.count_params()") == 4


@claim("02", "all biases begin at 0, except those of the forget gate, which begin at 1")
def test_keras_begins_the_forget_gate_at_one(notebook):
    assert notebook("fresh.get_weights()[2].tolist()") == [0] * 4 + [1] * 4 + [0] * 8


@claim("02", "With a bias of 0 the gate is half shut, and a millionth is left")
def test_the_conveyor_alone(notebook):
    left = notebook("[float(sigmoid(bias) ** 20) for bias in (0, 1, 4)]")
    assert left == pytest.approx([1e-6, 0.0019, 0.7], rel=0.06)


@claim(
    "02",
    "After 20 steps 0.0055 of the gradient is left in the RNN, and 0.17 in the LSTM as Keras begins"
    " it, thirty times as much.",
)
def test_the_gradient_of_the_lstm_reaches_further(notebook):
    rnn, lstm = notebook("float(left['RNN'][20]), float(left['LSTM, bias 1'][20])")
    assert (rnn, lstm) == pytest.approx((0.0055, 0.17), rel=0.1)
    assert lstm / rnn == pytest.approx(30, rel=0.15)


@claim(
    "02",
    "With a forget bias of 4 it does not fade at all: after 40 steps it has grown elevenfold, by"
    " way of the detours.",
)
def test_an_open_forget_gate_keeps_the_gradient(notebook):
    line = notebook("left['LSTM, bias 4'].tolist()")
    assert min(line) > 0.9
    assert line[40] == pytest.approx(11, rel=0.05)


@claim("02", "With a forget bias of 0 it fades at least as fast as in the RNN.")
def test_a_half_shut_forget_gate_fades_like_the_rnn(notebook):
    rnn, lstm = notebook("left['RNN'].tolist(), left['LSTM, bias 0'].tolist()")
    assert all(of_lstm < of_rnn for of_rnn, of_lstm in zip(rnn[1:], lstm[1:], strict=True))


@claim("02", "All five LSTMs know practically every letter.")
def test_every_lstm_learns_the_game(notebook):
    assert notebook("float(spread['LSTM'].min())") > 0.97


@claim(
    "02",
    "The RNNs are far above chance, so they do remember something, but every one of them is wrong"
    " often, and which one you get is luck",
)
def test_the_rnns_remember_some(notebook):
    rnn = notebook("spread['SimpleRNN'].tolist()")
    assert 0.3 < sum(rnn) / 5 < 0.9
    assert max(rnn) < 0.97
    assert max(rnn) - min(rnn) > 0.1


@claim("02", "The LSTM's accuracy does not depend on the distance. The RNN's does")
def test_the_rnn_loses_with_distance(notebook):
    near, far = notebook(
        "[(float(np.mean(line[:5])), float(np.mean(line[-5:]))) for line in by_distance.values()]"
    )[0]
    assert near - far > 0.04
    assert notebook("float(min(by_distance['LSTM']))") > 0.95


@claim("02", "The forget gates stand at about 0.8 on average, and 0.8 is not near 1")
def test_the_trained_forget_gate_is_not_open(notebook):
    assert notebook("float(forget.mean())") == pytest.approx(0.8, abs=0.05)
    assert notebook("float(forget.max())") < 0.95


@claim(
    "02",
    "With the input gate shut the letter is lost within 20 steps. With the forget gate at 1"
    " besides, it is never lost",
)
def test_the_letter_is_written_anew(notebook):
    known = notebook("{name: line.tolist() for name, line in known.items()}")
    assert min(known["untouched"]) > 0.95
    assert known["i = 0"][4] > 0.7
    assert known["i = 0"][20] < 0.4
    assert min(known["i = 0, f = 1"]) > 0.9


@claim("02", "Only the LSTM whose forget gate begins open found the letter in all its runs.")
def test_only_the_open_gate_always_finds_what_is_far(notebook):
    found = notebook("{name: some.tolist() for name, some in always_far.items()}")
    assert min(found["LSTM, bias 4"]) > 0.97
    assert min(found["LSTM"]) < 0.8
    assert min(found["SimpleRNN"]) < 0.8


@claim("02", "the LSTM as Keras begins it did no better than the plain RNN")
def test_the_lstm_as_keras_begins_it_does_no_better_there(notebook):
    rnn, lstm = notebook("float(always_far['SimpleRNN'].mean()), float(always_far['LSTM'].mean())")
    assert lstm < rnn + 0.05


@claim("02", "An RNN of 38 units has about as many weights as our LSTM of 16 (2,090 and 2,112).")
def test_weights_of_the_larger_rnn(notebook):
    count = "(lambda layer: layer.build((None, 25, 16)) or layer.count_params())"
    assert notebook(f"{count}(keras.layers.SimpleRNN(38)), {count}(keras.layers.LSTM(16))") == (
        2090,
        2112,
    )


@claim("02", "in five runs no such RNN reached the LSTM")
def test_more_weights_do_not_make_an_rnn_an_lstm(notebook):
    larger = notebook(
        "right(trained(lambda: keras.layers.SimpleRNN(38)), sequences,"
        " letters).mean(axis=0).tolist()"
    )
    assert max(larger) < notebook("float(spread['LSTM'].min())")
