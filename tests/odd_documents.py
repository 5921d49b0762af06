"""Documents that may or may not be events, for the tests that look for whatever breaks."""

import json
from typing import Any

from hypothesis import strategies as st
from seeded_events import BAD

from daemon.events.event_formats import ALIASES, FIELDS

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=25),
    st.sampled_from(["2026-11-20T12:00:00Z", "2026", "\ud800", "", "a" * 30, "loans"]),
)
anything_at_all = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
features = st.dictionaries(st.text(max_size=5), anything_at_all, max_size=4)
names = st.sampled_from(
    [*sorted(FIELDS), *ALIASES, "inputs", "outputs", "instances", "predictions", "specversion", "data", "x"]
)
objects = st.dictionaries(names, anything_at_all, max_size=6) | st.fixed_dictionaries(
    {
        "type": st.sampled_from(["prediction", "label", "features"]),
        "id": scalars,
        "prediction": scalars,
        "label": scalars,
    },
    optional={"features": features, "ts": scalars, "score": scalars, "version": scalars, "model": scalars},
)


def _dumped(one: Any) -> bytes:
    return json.dumps(one).encode()


def _unmarked(one: bytes) -> bool:
    return not one.startswith(b"\xef")  # the mark of an encoding counts at the beginning of a value only


odd_documents = st.one_of(
    objects.map(_dumped),
    objects.map(_dumped),
    st.sampled_from([*BAD, b'{"model": "loans", "id": "1", "prediction": 1}']),
    st.binary(max_size=20).filter(_unmarked),
)
