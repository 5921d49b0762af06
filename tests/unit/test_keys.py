"""The id of a document, whatever notation it is in, and the number of documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.events.keys import count_all, count_documents, key_of, keyed_documents
from daemon.transports.kafka_keys import partition_of, split


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (b'{"id": "8c1f", "prediction": 1}', "8c1f"),
        (b'{"id": 12, "prediction": 1}', "12"),
        (b'{"id": 12.0, "prediction": 1}', "12"),
        (b'{"id": "", "prediction": 1}', None),
        (b'{"id": null, "prediction_id": "a", "prediction": 1}', None),
        (b'{"prediction_id": "a", "prediction_label": 1}', "a"),
        (b'{"identifier": "a", "y_true": 1}', "a"),
        (b'{"specversion": "1.0", "id": "outer", "data": {"prediction": 1}}', "outer"),
        (b'{"specversion": "1.0", "id": "outer", "data": {"id": "inner", "prediction": 1}}', "inner"),
        (b'{"id": "r", "inputs": [{"name": "x", "shape": [1], "data": [1]}]}', "r"),
        (b'{"id": "r", "outputs": [{"name": "y", "shape": [1], "data": [1]}]}', "r"),
        (b'{"prediction": 1}', None),
        (b"[1]", None),
        (b"no JSON", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_id_is_that_which_the_event_will_have(document: bytes, key: str | None) -> None:
    assert key_of(document) == key


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (b"", 0),
        (b'{"a": 1}', 1),
        (b'{"a": 1}\n', 1),
        (b'{"a": 1}{"a": 2}', 2),
        (b'{"a": "} {"}', 1),
        (b'[{"a": 1}, {"a": 2}]', 2),
    ],
)
def test_documents_are_counted_however_they_are_written(value: bytes, count: int) -> None:
    assert count_documents(value) == count


PARTS = st.sampled_from(
    [
        *(b'{"a":1}', b'{"a":{"b":[{}]}}', b'{"t":"}{"}', b'{"t":"} "}', b"{broken", b"broken}", b"}", b"{", b"[{}]"),
        *(b"\n", b"\n", b"\n\n", b" ", b"\t", b",", b"7", b'{\n"a":\n{}\n}', b"\xef\xbb\xbf", b"\xff"),
    ]
)


@given(st.lists(st.lists(PARTS, max_size=6).map(b"".join), max_size=6))
def test_many_values_are_counted_as_each_is(values: list[bytes]) -> None:
    assert count_all(values) == [count_documents(value) for value in values]


def test_a_document_of_many_lines_goes_on_as_one() -> None:
    assert list(keyed_documents(b'{\n "id": "a"\n}\n{"id": "b"}')) == [(b'{"id":"a"}', "a"), (b'{"id": "b"}', "b")]


def test_the_partition_is_that_of_kafkas_own_partitioner() -> None:
    hashes = {"21": -973932308, "foobar": -790332482, "abc": 479470107}  # as the Java client has them
    for key, one in hashes.items():
        assert partition_of(key, 1_000_003) == (one & 0x7FFFFFFF) % 1_000_003


def test_what_has_no_id_stays_with_what_is_before_it() -> None:
    parts = list(split(b'{"id": "a"}\n{"id": "b"}\nbroken\n{"prediction": 1}', 4, 50))
    assert [(one.partition, one.value) for one in parts] == [
        (partition_of("a", 50), b'{"id": "a"}'),
        (partition_of("b", 50), b'{"id": "b"}\nbroken\n{"prediction": 1}'),
    ]
