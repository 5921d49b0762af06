"""The state of river's drift detectors as plain values.

river offers pickles only, and those do not load in another minor version. What a detector of river holds are numbers,
windows of numbers, small objects of the same kind, a random generator, and one structure in Rust that gives its bytes.
"""

import random
from collections import deque
from typing import Any, Final

PLAIN: Final = (bool, int, float, str, bytes, type(None))


def freeze(holder: object) -> dict[str, Any]:
    """The attributes of ``holder`` as values that msgpack can hold."""
    return {name: _frozen(value) for name, value in vars(holder).items() if not callable(value)}


def thaw(holder: object, frozen: dict[str, Any]) -> None:
    """Give ``holder``, just made with the same parameters, the attributes that ``freeze`` took."""
    for name, value in frozen.items():
        current = getattr(holder, name)
        if isinstance(current, deque):
            setattr(holder, name, deque(value, maxlen=current.maxlen))
        elif isinstance(current, random.Random):
            version, internal, gauss = value
            current.setstate((version, tuple(internal), gauss))
        elif isinstance(value, bytes):
            current.__setstate__(value)
        elif isinstance(value, dict):
            thaw(current, value)
        else:
            setattr(holder, name, value)


def _frozen(value: Any) -> Any:
    if hasattr(value, "item"):
        # numpy's numbers, of which some pass for Python's
        return value.item()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, deque):
        return [float(one) for one in value]
    if isinstance(value, random.Random):
        version, internal, gauss = value.getstate()
        return [version, list(internal), gauss]
    if type(value).__module__.startswith("river._river_rust"):
        return bytes(value.__getstate__())
    return freeze(value)
