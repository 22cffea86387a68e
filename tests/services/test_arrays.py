"""What passes between the API and its inner service: arrays, and never a pickle."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from _bentoml_impl.serde import Payload
from bentoml.exceptions import BadInput
from hypothesis import given
from hypothesis import strategies as st

from services.arrays import ArraySerde, unpack_arrays


def wire(value: object) -> bytes:
    return b"".join(ArraySerde().serialize_value(value).data)


def test_arrays_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)
    rows = rng.normal(size=(2, 5)).astype(np.float32)
    back = ArraySerde().deserialize_value(Payload([wire({"images": pictures, "rows": rows})]))
    assert (back["images"] == pictures).all()
    assert (back["rows"] == rows).all()
    assert (ArraySerde().deserialize_value(Payload([wire(rows)])) == rows).all()
    assert ArraySerde().deserialize_value(Payload([wire(rows[:0])])).shape == (0, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        pickle.dumps({"images": 1}),
        b"[]\n",
        b'{"images": 1}\n',
        b'{"images": []}\n',
        b'{"images": ["object", 1]}\n12345678',
        b'{"images": ["O", 1]}\n12345678',
        b'{"images": ["uint8", -1]}\n',
        b'{"images": ["uint8", 1.5]}\n1',
        b'{"images": ["uint8", true]}\n1',
        b'{"images": ["uint8", 5]}\n1234',
        b'{"images": ["uint8", 3]}\n1234',
        b'{"images": ["float32", 4611686018427387904, 8]}\n',
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        unpack_arrays(data)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_no_bytes_are_more_than_refused(head: bytes, rest: bytes) -> None:
    for data in (head + b"\n" + rest, json.dumps({"a": ["uint8", len(rest)]}).encode() + head):
        try:
            arrays = unpack_arrays(data)
        except BadInput:
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
