"""Valid calls of the recurrent topic."""

from lbdl.models.recurrent import (
    GRU,
    LSTM,
    RNN,
    CharacterModel,
    adding_problem,
    copy_problem,
    detached,
    fast_lstm,
    forget_bias,
    gru_step,
    half_life,
    lstm_step,
    recurrent_flops,
    recurrent_parameters,
    rnn_step,
)
from tests.calls import Call, generator, normal

H = normal(2, 3)


def step(gates: int) -> dict:
    return {
        "from_x": normal(2, 3 * gates),
        "h": H,
        "weight": normal(3 * gates, 3, seed=1),
        "bias": normal(3 * gates, seed=2),
    }


CALLS = [
    Call(rnn_step, step(1)),
    Call(gru_step, step(3)),
    Call(lstm_step, {**step(4), "c": normal(2, 3, seed=3)}),
    Call(
        fast_lstm,
        {
            **step(4),
            "from_x": normal(2, 5, 12),
            "c": normal(2, 3, seed=3),
        },
    ),
    Call(RNN, {"inputs": 3, "hidden": 4}),
    Call(GRU, {"inputs": 3, "hidden": 4}),
    Call(LSTM, {"inputs": 3, "hidden": 4, "forget": 1.0}),
    Call(CharacterModel, {"vocabulary": 5, "width": 3, "hidden": 4, "kind": "GRU"}),
    Call(
        detached,
        {"state": H},
        takes={"state": "anything"},
        skips={
            "alias": "the same numbers",
            "func": "gradients stop here, which is the point",
        },
    ),
    Call(half_life, {"forget": 0.9}),
    Call(forget_bias, {"steps": 20.0}),
    Call(recurrent_parameters, {"kind": "LSTM", "inputs": 3, "hidden": 4}),
    Call(recurrent_flops, {"kind": "LSTM", "length": 5, "inputs": 3, "hidden": 4}),
    Call(adding_problem, {"examples": 3, "length": 6, "generator": generator()}),
    Call(
        copy_problem,
        {
            "examples": 3,
            "lag": 4,
            "symbols": 5,
            "copied": 2,
            "generator": generator(),
        },
    ),
]
