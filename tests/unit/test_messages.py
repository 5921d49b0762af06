"""What a person reads at night."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.alerts.alarm import Alarm, moved
from daemon.alerts.briefing import Briefing
from daemon.alerts.figures import figure
from daemon.alerts.inhibit import explanation
from daemon.alerts.notes import Note, NoteKind
from daemon.alerts.silences import Silence
from daemon.alerts.wording import compose, compose_detail, compose_news
from daemon.notifiers.blocks import FALLBACK_LENGTH, SECTION_LENGTH, blocks, fallback
from daemon.notifiers.message import Tone, clean, clock_time, plain
from detectors.base import Kind, Severity

TWO_PM = 1_795_442_520.0  # 2026-11-23 14:02 UTC
MINUTE = 60.0

CONCEPT = Alarm(
    id=1,
    kind=Kind.CONCEPT,
    signal="error",
    detector="e_detector",
    severity=Severity.CRITICAL,
    is_open=True,
    row=20_413,
    ts=TWO_PM + 5 * MINUTE,
    change_row=20_031,
    change_ts=TWO_PM,
    evidence={"effect_name": "error_rate", "reference": 0.1, "current": 0.21, "threshold": 1e6},
    ranking=(("feature:income", 0.6), ("feature:age", 0.3), ("error", 0.1)),
    acknowledged_by=None,
    raised=TWO_PM + 5 * MINUTE,
)
INCOME = replace(
    CONCEPT,
    id=2,
    kind=Kind.DRIFT,
    signal="feature:income",
    severity=Severity.WARNING,
    evidence={"effect": 0.31, "reference_mean": 41_000.0, "current_mean": 52_300.0},
    ranking=(("feature:income", 1.0),),
)
NULLS = replace(
    INCOME, id=3, kind=Kind.QUALITY, evidence={"bin": "missing", "current": 0.31, "reference": 0.01}, ranking=()
)
RETRAINING = Note(NoteKind.RETRAIN_STARTED, TWO_PM + 6 * MINUTE, {"rows": 1240, "version": "4"})


def incident(*alarms: Alarm, notes: tuple[Note, ...] = (), **changes: object) -> Briefing:
    opened = [alarm for alarm in alarms if alarm.is_open]
    brief = Briefing(
        id=7,
        model="loans",
        is_open=True,
        opened=TWO_PM + 5 * MINUTE,
        closed=None,
        ref=None,
        version="3",
        alarms=alarms,
        open_count=len(opened),
        total_count=len(alarms),
        notes=notes,
        silences=(),
    )
    return replace(brief, **changes)  # type: ignore[arg-type]


def test_the_headline_says_what_how_much_since_when_and_what_is_being_done() -> None:
    message = compose(incident(CONCEPT, notes=(RETRAINING,)))
    assert message.headline == (
        "loans: the model errs more often: error rate 0.10 -> 0.21 since 14:02 UTC (row 20,031);"
        " what moved: income, age; retraining version 4 with 1,240 labelled rows"
    )
    assert message.tone is Tone.CRITICAL


def test_the_whole_message_on_a_terminal() -> None:
    message = compose(incident(CONCEPT, INCOME, notes=(RETRAINING,)), "http://127.0.0.1:6066/")
    assert plain(message).splitlines()[1:] == [
        "  What is wrong",
        "    23 Nov 2026 14:02 UTC  the model errs more often (error rate 0.10 -> 0.21)",
        "  What moved",
        "    income: mean 41,000 -> 52,300, stability index 0.31",
        "    age: 30 % of the shift",
        "  What is being done",
        "    23 Nov 2026 14:08 UTC  retraining version 4 with 1,240 labelled rows",
        "  Also",
        "    version 3 is in service",
        "  http://127.0.0.1:6066/models/loans",
    ]


def test_drift_that_hurts_nobody_yet_reads_as_such() -> None:
    message = compose(incident(INCOME))
    assert message.headline == (
        "loans: what goes into the model has moved: income (mean 41,000 -> 52,300, stability index 0.31)"
        " since 14:02 UTC (row 20,031)"
    )
    assert message.tone is Tone.WARNING


def test_broken_data_is_named_with_its_usual_share() -> None:
    assert compose(incident(NULLS)).headline == (
        "loans: broken data: income: missing in 31 % of the rows (usually 1 %) since 14:02 UTC (row 20,031)"
    )


def test_broken_data_explains_the_drift_of_the_same_feature_and_nothing_else() -> None:
    other = replace(INCOME, id=4, signal="feature:age")
    together = replace(INCOME, id=5, signal="features", ranking=(("feature:income", 0.7), ("feature:age", 0.3)))
    mostly_other = replace(together, ranking=(("feature:age", 0.7), ("feature:income", 0.3)))
    open_ones = [CONCEPT, INCOME, NULLS]
    assert explanation(INCOME, open_ones) is NULLS
    assert explanation(together, open_ones) is NULLS
    assert explanation(other, open_ones) is None
    assert explanation(mostly_other, open_ones) is None
    assert explanation(CONCEPT, open_ones) is None
    assert explanation(INCOME, [replace(NULLS, is_open=False)]) is None
    text = plain(compose(incident(NULLS, INCOME)))
    assert "What moved" not in text
    assert "explained by broken data: income" in text


def test_of_two_sentences_about_the_same_broken_signal_the_one_that_has_seen_more_is_said() -> None:
    def broken(alarm: Alarm, factor: int) -> Alarm:
        text = f"income is in another unit: the values fit the reference again when divided by {factor}"
        cause = {"name": "data_broken", "breakage": "unit_change", "signal": "feature:income", "text": text}
        return replace(alarm, evidence={**alarm.evidence, "cause": {**cause, "confidence": 0.99}})

    text = plain(compose(incident(broken(NULLS, 100), broken(INCOME, 60))))
    assert "divided by 100" in text
    assert "divided by 60" not in text


def test_values_as_never_before_that_have_another_cause_are_not_called_broken() -> None:
    shift = {"cause": {"name": "covariate_shift", "text": "the inputs have moved (income)", "confidence": 0.9}}
    alarm = replace(NULLS, evidence={"bin": "new", "current": 0.2} | shift)
    message = compose(incident(alarm, INCOME))
    assert "broken data" not in plain(message)
    assert "income has values as never before" in plain(message)
    assert explanation(INCOME, [alarm, INCOME]) is None


def test_what_somebody_silenced_is_counted_and_not_named_first() -> None:
    brief = incident(CONCEPT, INCOME, silences=(Silence(1, "loans", "error", TWO_PM + 3600, "ann", ""),))
    message = compose(brief)
    assert message.title == "loans: what goes into the model has moved"
    assert "silenced: 1 of 2 open alarms" in plain(message)


def test_over_says_from_when_until_when_and_what_was_done() -> None:
    promoted = Note(NoteKind.PROMOTED, TWO_PM + 30 * MINUTE, {"version": "4", "previous": "3"})
    closed = replace(CONCEPT, is_open=False)
    brief = incident(closed, notes=(RETRAINING, promoted), is_open=False, closed=TWO_PM + 40 * MINUTE)
    message = compose(brief)
    assert message.tone is Tone.OVER
    assert message.headline == (
        "loans: over: the model errs more often: error rate 0.10 -> 0.21 since 14:02 UTC (row 20,031) until 14:42 UTC;"
        " what moved: income, age; version 4 is in service instead of 3"
    )
    assert not message.actions


def test_news_say_what_is_new_and_how_things_stand() -> None:
    gate = Note(
        NoteKind.GATE,
        TWO_PM,
        {
            "version": "4",
            "outcome": "promote",
            "gain": {"estimate": 0.092, "low": 0.061, "high": 0.12, "confidence": 0.95},
        },
    )
    message = compose_news(incident(CONCEPT, INCOME, notes=(gate,)), [INCOME], [gate])
    assert message.headline == (
        "loans: version 4 passed the gate: gain 0.092 (95 % sure: 0.061 to 0.12);"
        " also what goes into the model has moved: income (mean 41,000 -> 52,300, stability index 0.31)"
    )
    assert "2 alarms open: the model errs more often" in plain(message)


def test_features_that_go_together_otherwise_than_before_are_named_with_each_other() -> None:
    together = {"effect": 0.7, "together": [["feature:age", "feature:income", 0.88, 0.36]]}
    ranking = (("feature:age", 0.45), ("feature:income", 0.45), ("feature:tenure", 0.1))
    alarm = replace(CONCEPT, kind=Kind.DRIFT, signal="features", evidence=together, ranking=ranking)
    assert moved([alarm]) == [
        ("age", "with income 0.88 -> 0.36"),
        ("income", "with age 0.88 -> 0.36"),
        ("tenure", "10 % of the shift"),
    ]


def test_a_detail_has_the_figures_behind_an_alarm() -> None:
    text = plain(compose_detail([CONCEPT], [], incident(CONCEPT)))
    assert "critical by e_detector; from row 20,031; ranking feature:income 60 %, feature:age 30 %" in text
    assert "threshold 1,000,000" in text


@pytest.mark.parametrize(
    ("kind", "evidence", "words"),
    [
        (
            Kind.CONCEPT,
            {"effect_name": "relative_error", "reference": 12.3, "current": 20.1},
            "the model's error has grown: mean error 12.3 -> 20.1",
        ),
        (Kind.CONCEPT, {"reference": 0.2, "current": 0.1}, "the model errs less often: error rate 0.20 -> 0.10"),
        (Kind.PERFORMANCE, {"metric": "accuracy", "reference": 0.84, "current": 0.79}, "accuracy fell short"),
        (Kind.QUALITY, {"bin": "new", "current": 0.4}, "values never seen before in 40 % of the rows"),
        (Kind.QUALITY, {"appeared": True, "type": "number"}, "a feature of type number that was not there before"),
        (Kind.DRIFT, {"bin": "MA", "current": 0.4, "reference": 0.1}, "MA in 40 % of the rows (usually 10 %)"),
        (
            Kind.DRIFT,
            {"effect": 0.7, "together": [["feature:age", "feature:income", 0.88, 0.36]]},
            "age with income 0.88 -> 0.36, stability index 0.70",
        ),
        (Kind.ANOMALY, {"current": 0.05, "reference": 0.001}, "5 % of the rows (usually 0.1 %)"),
        (Kind.VOLUME, {"silent_seconds": 720.0}, "events have stopped: silent for 12 minutes"),
    ],
)
def test_the_figures_behind_each_kind_of_alarm(kind: Kind, evidence: dict[str, object], words: str) -> None:
    signal = "feature:state" if kind is Kind.QUALITY else "prediction" if kind is Kind.DRIFT else "error"
    alarm = replace(CONCEPT, kind=kind, signal=signal, evidence=evidence, ranking=())
    assert words in compose(incident(alarm)).headline


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (
            NoteKind.CAUSE,
            {"alarms": [{"signal": "age", "cause": "covariate shift: the inputs have moved", "before": "broken data"}]},
            "more rows tell another cause of age: covariate shift: the inputs have moved, and not broken data",
        ),
        (
            NoteKind.CAUSE,
            {"alarms": [{"signal": one, "cause": "label shift: so it is", "before": ""} for one in "abcde"]},
            "more rows tell the cause of a, b, c and 2 more: label shift: so it is",
        ),
        (
            NoteKind.CAUSE,
            {"alarms": [{"signal": "age", "cause": "broken data: age is stuck at 3", "before": "broken data"}]},
            "more rows tell another cause of age: broken data: age is stuck at 3",
        ),
        (NoteKind.RETRAIN_STARTED, {"rows": 1240}, "retraining with 1,240 labelled rows"),
        (NoteKind.RETRAIN_STARTED, {"since_row": 20_031}, "retraining on the rows since 20,031"),
        (NoteKind.RETRAIN_STARTED, {"trigger": "schedule"}, "retraining (schedule)"),
        (NoteKind.RETRAIN_REFUSED, {"reason": "too_few_labels", "text": "300 of 500"}, "too few labels, 300 of 500"),
        (NoteKind.RETRAIN_FAILED, {"version": "4", "reason": "timed_out"}, "of version 4 failed: timed out"),
        (NoteKind.GATE, {"version": "4", "outcome": "reject", "reasons": ["worse"]}, "rejected by the gate (worse)"),
        (NoteKind.GATE, {"outcome": "hold", "gain": {"estimate": 0.01, "low": -0.01}}, "gain 0.01 (at least -0.01)"),
        (NoteKind.PROMOTED, {"version": "4", "previous": "3"}, "version 4 is in service instead of 3"),
        (
            NoteKind.ROLLED_BACK,
            {"version": "3", "previous": "4", "reason": "fell_short"},
            "version 4 was taken back: fell short, version 3 is in service again",
        ),
        (NoteKind.SILENCED, {"by": "ann", "signal": "error"}, "silenced error by ann"),
    ],
)
def test_what_is_being_done_in_words(kind: NoteKind, fields: dict[str, object], words: str) -> None:
    text = str(Note(kind, TWO_PM, fields))
    assert text.endswith(words) if kind is NoteKind.CAUSE else words in text


@pytest.mark.parametrize("kind", NoteKind)
def test_a_note_without_any_field_still_reads(kind: NoteKind) -> None:
    assert isinstance(str(Note(kind, TWO_PM)), str)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("signal", ["feature:x", "features", "prediction", "score", "label", "error", "other"])
def test_every_kind_of_alarm_has_words_even_without_evidence(kind: Kind, signal: str) -> None:
    bare = replace(CONCEPT, kind=kind, signal=signal, evidence={}, ranking=(), change_row=None, change_ts=None)
    message = compose(incident(bare))
    assert message.title.startswith("loans: ")
    assert "(row 20,413)" in message.summary
    compose_news(incident(bare), [bare], [])
    compose_detail([bare], [], incident(bare))


def test_times_that_no_clock_has_ever_shown_are_said_to_be_unknown() -> None:
    assert clock_time(1e300) == "an unknown time"
    assert clock_time(float("nan")) == "an unknown time"
    strange = replace(CONCEPT, change_ts=1e18)
    assert "an unknown time" in json.dumps(blocks(compose(incident(strange))))


def test_a_time_of_day_stands_alone_only_on_the_day_of_the_incident() -> None:
    assert clock_time(TWO_PM, beside=TWO_PM + 3600) == "14:02 UTC"
    assert clock_time(TWO_PM, beside=TWO_PM + 86_400) == "23 Nov 2026 14:02 UTC"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.21, "0.21"), (0.1, "0.10"), (0.0046, "0.0046"), (12.34, "12.3"), (31.0, "31"), (20_031, "20,031"), (0, "0")],
)
def test_figures_have_the_digits_that_matter(value: float, said: str) -> None:
    assert figure(value) == said


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_name_makes_markup_or_a_second_line(model: str, feature: str) -> None:
    drift = replace(INCOME, signal=f"feature:{feature}")
    message = compose(replace(incident(drift), model=model), "http://host")
    assert all(line.isprintable() for line in plain(message).splitlines())
    for block in blocks(message, maybe_sent=True, interactive=True):
        if block["type"] == "section":
            text = block["text"]["text"]
            ours = text.replace("<!date^", "").replace("UTC>", "").replace("time>", "")
            assert "<" not in ours
            assert len(text) <= SECTION_LENGTH
    assert "<" not in fallback(message)
    assert len(fallback(message)) <= FALLBACK_LENGTH


@given(st.text(alphabet="&<>a ", max_size=5000))
def test_cutting_never_leaves_half_an_entity(text: str) -> None:
    drift = replace(INCOME, signal=f"feature:{text}")
    for block in blocks(compose(incident(drift))):
        if block["type"] == "section":
            rest = block["text"]["text"]
            for entity in ("&amp;", "&lt;", "&gt;"):
                rest = rest.replace(entity, "")
            assert "&" not in rest


@given(st.text(max_size=100), st.integers(min_value=1, max_value=50))
def test_cleaning_twice_is_cleaning_once(text: str, limit: int) -> None:
    once = clean(text, limit)
    assert clean(once, limit) == once
    assert len(once) <= limit


def test_an_alarm_about_errors_says_where_no_feature_moved() -> None:
    alone = replace(CONCEPT, ranking=(), evidence={**CONCEPT.evidence, "features_moved": 0})
    assert alone.figures == "error rate 0.10 -> 0.21, no feature moved"
    assert "no feature moved" not in replace(CONCEPT, evidence={**CONCEPT.evidence, "features_moved": 2}).figures
    assert "no feature moved" not in CONCEPT.figures


def test_a_headline_names_the_feature_that_has_moved() -> None:
    assert INCOME.headline == "what goes into the model has moved: income"
    within = replace(INCOME, signal="feature:income[region=[a=b]]")
    assert within.headline == "what goes into the model has moved where region is [a=b]: income"
    assert CONCEPT.headline == CONCEPT.what


# --- segments


def test_an_alarm_of_a_segment_says_where() -> None:
    within = replace(CONCEPT, signal="error[channel=web]", evidence=CONCEPT.evidence | {"segment": "channel=web"})
    assert within.what == "the model errs more often where channel is web"
    drifted = replace(INCOME, signal="feature:income[region=[a=b]]", ranking=())
    assert drifted.what == "what goes into the model has moved where region is [a=b]"
    assert "income where region is [a=b]" in plain(compose(incident(drifted)))


def test_the_segment_that_carries_a_change_is_named_only_where_one_does() -> None:
    pairs = [["channel=web", "feature:income", 0.9], ["channel=shop", "feature:age", 0.8]]
    carried = replace(INCOME, evidence=INCOME.evidence | {"segments": pairs})
    assert "most of it where channel is web" in carried.figures
    everywhere = [*pairs, ["channel=shop", "feature:income", 0.8]]
    assert "most of it" not in replace(INCOME, evidence=INCOME.evidence | {"segments": everywhere}).figures


def test_a_gap_between_segments_names_both() -> None:
    ends = {"least": {"segment": "shop", "value": 0.4}, "greatest": {"segment": "web", "value": 0.6}}
    gap = {"field": "channel", "metric": "gap of the selection_rate", "value": 0.2, "low": 0.15, "high": 0.25, **ends}
    alarm = replace(CONCEPT, kind=Kind.PERFORMANCE, signal="selection_rate[channel]", evidence=gap, ranking=())
    assert alarm.what == "the gap of the selection rate between segments of channel is too large"
    assert alarm.figures == "shop 40 %, web 60 %: 20 % apart (at least 15 %)"
