"""Valid calls of the rotations topic."""

from lbdl.geometry.rotations import (
    QUINTIC,
    apply_half_turn,
    apply_reflection,
    apply_rotation,
    half_turn,
    middle,
    mirror,
    nearest_orthogonal,
    newton_schulz,
    perpendicular,
    plain_half_turn,
    plain_reflection,
    plain_rotation,
    procrustes,
    reflection,
    rotation,
    unit,
)
from tests.calls import Call, normal

A, B, X = normal(3, 4, 5)
UNIT_A, UNIT_B = unit(A), unit(B)
ANY = {"a": 0, "b": 0}

CALLS = [
    *(
        Call(f, {"a": UNIT_A, "b": UNIT_B})
        for f in (plain_rotation, plain_reflection, plain_half_turn)
    ),
    *(
        Call(f, {"x": X, "a": A, "b": B}, degrees={"x": 1, **ANY})
        for f in (apply_rotation, apply_reflection, apply_half_turn)
    ),
    *(
        Call(f, {"a": A, "b": B}, degrees=ANY)
        for f in (rotation, reflection, half_turn)
    ),
    Call(mirror, {"x": X, "n": UNIT_A}, degrees={"x": 1}),
    Call(middle, {"p": A, "q": B}, degrees={"p": 0, "q": 0}),
    Call(perpendicular, {"p": A}, degrees={"p": 0}),
    Call(unit, {"x": X}, degrees={"x": 0}),
    Call(
        procrustes,
        {"a": normal(7, 3), "b": normal(7, 3, seed=1), "proper": True},
        degrees=ANY,
    ),
    Call(nearest_orthogonal, {"m": normal(3, 3), "proper": True}, degrees={"m": 0}),
    Call(
        newton_schulz,
        {"m": normal(3, 4), "steps": 30, "coefficients": QUINTIC},
        degrees={"m": 0},
    ),
]
