"""Arrays between the API and its inner service, in place of the pickles that BentoML sends.

BentoML's inner services unpickle what arrives with its own content type, and unpickling runs what
it is told to. Here that content type means arrays alone: a line of JSON that names them, then their
bytes. Nothing that arrives can be anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from _bentoml_impl import serde
from _bentoml_impl.serde import Payload
from bentoml.exceptions import BadInput

KINDS: Final = frozenset({"uint8", "float32"})
"""Of elements; what the classifier's pictures and rows are made of."""
ROOT: Final = "root"

_MEDIA_TYPE: Final = "application/vnd.bentoml+pickle"

Model = TypeVar("Model")


class ArraySerde(serde.GenericSerde, serde.Serde):  # type: ignore[misc]  # BentoML is untyped to us
    """Reads and writes dictionaries of arrays, or one array alone."""

    media_type = _MEDIA_TYPE

    def serialize_model(self, model: Any) -> Payload:  # noqa: ANN401 - BentoML's IODescriptor
        """Write a request's or an answer's fields."""
        return self.serialize_value(model.model_dump())

    def deserialize_model(self, payload: Payload, cls: type[Model]) -> Model:
        """Read them."""
        value = self.deserialize_value(payload)
        return cls.model_validate(value)  # type: ignore[attr-defined,no-any-return]

    def serialize_value(self, obj: Any) -> Payload:  # noqa: ANN401 - arrays, by name or alone
        """Write arrays."""
        named = obj if isinstance(obj, Mapping) else {ROOT: obj}
        arrays = {name: np.ascontiguousarray(value) for name, value in named.items()}
        head = {name: [one.dtype.name, *one.shape] for name, one in arrays.items()}
        return Payload([json.dumps(head).encode() + b"\n", *(a.tobytes() for a in arrays.values())])

    def deserialize_value(self, payload: Payload) -> Any:  # noqa: ANN401 - as `serialize_value`
        """Read arrays."""
        named = unpack_arrays(b"".join(payload.data))
        return named[ROOT] if list(named) == [ROOT] else named


def unpack_arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Arrays by name.

    Raises:
        BadInput: Anything else than what `ArraySerde` writes.
    """
    head, _, rest = data.partition(b"\n")
    arrays, place = {}, 0
    try:
        for name, (kind, *shape) in json.loads(head).items():
            if kind not in KINDS or any(type(side) is not int or side < 0 for side in shape):
                raise BadInput(f"No arrays of {kind} {shape} are taken.")
            dtype, count = np.dtype(kind), int(np.prod(shape, dtype=object))
            arrays[name] = np.frombuffer(rest, dtype, count, place).reshape(shape)
            place += count * dtype.itemsize
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadInput("Only arrays are taken here.") from error
    if place != len(rest):
        raise BadInput("The arrays do not have the length that they say.")
    return arrays


def read_no_pickles() -> None:
    """Have this process read and write arrays where BentoML would use pickles."""
    serde.ALL_SERDE[_MEDIA_TYPE] = ArraySerde
