"""Settings: every one is read from its variable, for all models and for each; what is wrong is said exactly."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.fleet.workers import ALL_ROLES, Role
from daemon.settings import (
    DetectorChoice,
    Mode,
    ModelSettings,
    Settings,
    SettingsError,
    check_choices,
    describe,
    load,
    model_key,
    warnings,
)
from daemon.settings.names import Name, leaves
from daemon.settings.report import shown

TUNABLE = leaves(ModelSettings)


def problems(environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsError) as raised:
        load(environ)
    return {problem.variable: str(problem) for problem in raised.value.problems}


# values


def test_an_empty_environment_gives_the_promised_defaults() -> None:
    settings = load({})
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 6066)
    assert settings.broker == "embedded://"
    assert settings.data_dir == Path("driftd-data")
    assert settings.store_url.startswith("sqlite:///")
    assert settings.store_url.endswith("/driftd-data/store.db")
    assert settings.events_per_false_alarm == 1_000_000
    assert settings.reference_rows == 2_000
    assert settings.min_effect == 0.1
    assert settings.min_loss == 0.01
    assert settings.mode is Mode.AUTO
    assert settings.detectors == (DetectorChoice("default"),)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("DRIFTD_EVENTS_PER_FALSE_ALARM", "1e5", 100_000),
        ("DRIFTD_EVENTS_PER_FALSE_ALARM", "100_000", 100_000),
        ("DRIFTD_MODE", "observe", Mode.OBSERVE),
        ("DRIFTD_TOPICS", "a, b", ("a", "b")),
        ("DRIFTD_ROLE", "train, web,ingest,detect,web", ALL_ROLES),
        ("DRIFTD_RETRAIN__ON", "concept,drift", ("concept", "drift")),
        ("DRIFTD_RETRAIN__COMMAND", "train.py --name 'two words'", ("train.py", "--name", "two words")),
        ("DRIFTD_RETRAIN__PYTHON", "/opt/python", Path("/opt/python")),
        ("DRIFTD_RETRAIN__CRON", "0 3 * * mon", "0 3 * * mon"),
        ("DRIFTD_GATE__LATENCY_MS", "2.5", 2.5),
        ("DRIFTD_GATE__LATENCY_MS", "none", None),
        ("DRIFTD_WATCH__ROLLBACK", "off", False),
        ("DRIFTD_MIN_EFFECT", "", 0.1),
        (
            "DRIFTD_DETECTORS",
            "default, adwin(delta=0.002, clock=32, strict=true)",
            (DetectorChoice("default"), DetectorChoice("adwin", (("delta", 0.002), ("clock", 32), ("strict", True)))),
        ),
    ],
)
def test_a_variable_is_read_as_what_it_means(variable: str, text: str, value: object) -> None:
    name = next(name for name in leaves(Settings) if name.variable == variable)
    assert name.value(load({variable: text})) == value


@pytest.mark.parametrize("name", [name for name in leaves(Settings) if name.field.default is not None])
def test_every_default_is_accepted_when_it_is_written_out(name: Name) -> None:
    text = shown(name.field.default)
    settings = load({name.variable: text})
    assert name.value(settings) == name.field.default


def test_load_depends_on_its_argument_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTD_HTTP_PORT", "1")
    monkeypatch.setenv("DRIFTD_NONSENSE", "1")
    assert load({}).http_port == 6066
    assert Settings().http_port == 6066


def test_variables_of_the_test_suite_are_none_of_the_daemons_business() -> None:
    load({"DRIFTD_TEST_DATA": "/data", "PATH": "/bin", "XDRIFTD_A": "1"})


def test_every_setting_is_described() -> None:
    undescribed = [name.variable for name in leaves(Settings) if not name.field.description]
    assert undescribed == []


@pytest.mark.parametrize(
    ("environ", "local", "page"),
    [
        ({}, "http://127.0.0.1:6066", "http://127.0.0.1:6066"),
        ({"DRIFTD_HTTP_HOST": "0.0.0.0"}, "http://127.0.0.1:6066", "http://127.0.0.1:6066"),  # noqa: S104
        ({"DRIFTD_HTTP_HOST": "::", "DRIFTD_HTTP_PORT": "80"}, "http://[::1]:80", "http://[::1]:80"),
        ({"DRIFTD_PUBLIC_URL": "https://driftd.example/"}, "http://127.0.0.1:6066", "https://driftd.example"),
    ],
)
def test_the_daemon_is_found_by_programs_and_by_people(environ: dict[str, str], local: str, page: str) -> None:
    settings = load({"DRIFTD_API_TOKEN": "a-token", **environ})
    assert (settings.local_url, settings.page_url) == (local, page)


# one model


def test_a_model_has_its_own_settings_and_those_of_all_otherwise() -> None:
    settings = load(
        {
            "DRIFTD_MIN_EFFECT": "0.2",
            "DRIFTD_RETRAIN__CRON": "0 3 * * *",
            "DRIFTD_RETRAIN__BUDGET_PER_DAY": "2",
            "DRIFTD_MODELS__LOANS__MIN_EFFECT": "0.3",
            "DRIFTD_MODELS__LOANS__RETRAIN__CRON": "none",
            "DRIFTD_MODELS__FRAUD__RETRAIN__BUDGET_PER_DAY": "9",
        }
    )
    loans, fraud, other = settings.model("loans"), settings.model("fraud"), settings.model("other")
    assert (loans.min_effect, fraud.min_effect, other.min_effect) == (0.3, 0.2, 0.2)
    assert (loans.retrain.cron, fraud.retrain.cron, other.retrain.cron) == (None, "0 3 * * *", "0 3 * * *")
    budgets = (loans.retrain.budget_per_day, fraud.retrain.budget_per_day, other.retrain.budget_per_day)
    assert budgets == (2, 9, 2)


@pytest.mark.parametrize("name", TUNABLE, ids=[name.variable for name in TUNABLE])
def test_everything_that_is_tuned_is_a_setting_of_each_model(name: Name) -> None:
    own = name.of_model("loans")
    assert own.variable.startswith("DRIFTD_MODELS__LOANS__")
    load({own.variable: ""})


@pytest.mark.parametrize("name", ["Credit-Risk.v2", "credit_risk_v2", "CREDIT RISK/V2", "credit--risk__v2"])
def test_the_name_of_a_model_is_found_however_it_is_written(name: str) -> None:
    settings = load({"DRIFTD_MODELS__CREDIT_RISK_V2__MIN_EFFECT": "0.5"})
    assert settings.model(name).min_effect == 0.5


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Z"]), min_size=1))
def test_any_name_with_a_letter_can_be_written_as_a_variable(name: str) -> None:
    key = model_key(name)
    assert model_key(key) == key
    if key:
        settings = load({f"DRIFTD_MODELS__{key.upper()}__MIN_EFFECT": "0.5"})
        assert settings.model(name).min_effect == 0.5


def test_a_wrong_setting_of_one_model_is_named_with_the_model() -> None:
    found = problems({"DRIFTD_MODELS__LOANS__GATE__CONFIDENCE": "2"})
    assert list(found) == ["DRIFTD_MODELS__LOANS__GATE__CONFIDENCE"]


def test_a_wrong_setting_of_all_models_is_told_once() -> None:
    found = problems({"DRIFTD_GATE__CONFIDENCE": "2", "DRIFTD_MODELS__LOANS__MIN_EFFECT": "0.5"})
    assert list(found) == ["DRIFTD_GATE__CONFIDENCE"]


# what is wrong


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("DRIFTD_MIN_EFECT", "DRIFTD_MIN_EFFECT"),
        ("DRIFTD_HTTPPORT", "DRIFTD_HTTP_PORT"),
        ("DRIFTD_RETRAIN_CRON", "DRIFTD_RETRAIN__CRON"),
        ("DRIFTD_RETRAIN__CORN", "DRIFTD_RETRAIN__CRON"),
        ("DRIFTD_MODELS__LOANS__MIN_EFECT", "DRIFTD_MODELS__LOANS__MIN_EFFECT"),
        ("DRIFTD_MODELS__LOANS__RETRAIN__CORN", "DRIFTD_MODELS__LOANS__RETRAIN__CRON"),
        ("DRIFTD_API_TOKN_FILE", "DRIFTD_API_TOKEN_FILE"),
        ("DRIFTD_HTTP_PORT_FILE", "DRIFTD_HTTP_PORT"),
        ("DRIFTD_MODELS__LOANS__HTTP_PORT", "DRIFTD_HTTP_PORT"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_known_one_named(wrong: str, nearest: str) -> None:
    found = problems({wrong: "xoxb-precious"})
    assert list(found) == [wrong]
    assert re.search(rf"(nearest is|set) {nearest}\b(?!_)", found[wrong])
    assert "precious" not in found[wrong]


@given(st.sampled_from(leaves(Settings)), st.data())
def test_a_variable_with_one_letter_dropped_is_found_again(name: Name, data: st.DataObject) -> None:
    variable = name.variable
    at = data.draw(st.integers(len("DRIFTD_"), len(variable) - 1))
    wrong = variable[:at] + variable[at + 1 :]
    assert variable in problems({wrong: "1"})[wrong]


@pytest.mark.parametrize(
    ("variable", "text", "accepts"),
    [
        ("DRIFTD_HTTP_PORT", "99999", "a whole number from 0 to 65535"),
        ("DRIFTD_MODE", "automatic", "observe, recommend or auto"),
        ("DRIFTD_MIN_EFFECT", "-1", "a number of at least 0"),
        ("DRIFTD_MIN_EFFECT", "nan", "a number of at least 0"),
        ("DRIFTD_EVENTS_PER_FALSE_ALARM", "1.5", "a whole number of at least 100"),
        ("DRIFTD_GATE__CONFIDENCE", "1", "a number of at least 0.5 and below 1"),
        ("DRIFTD_RETRAIN__ON", "quality", "any of concept, performance, drift"),
        ("DRIFTD_RETRAIN__CRON", "61 * * * *", "five cron fields"),
        ("DRIFTD_TIMEZONE", "Mars/North", "a time zone"),
        ("DRIFTD_WATCH__ROLLBACK", "perhaps", "true or false"),
        ("DRIFTD_DETECTORS", "adwin(delta", "registry names"),
        ("DRIFTD_TOPICS", ",", "names, separated by commas"),
        ("DRIFTD_BROKER", "localhost:9092", "kafka://HOST:PORT"),
        ("DRIFTD_PUBLIC_URL", "driftd.example", "a URL that begins with"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(variable: str, text: str, accepts: str) -> None:
    said = problems({variable: text})[variable]
    assert said.startswith(f"{variable}={text}: must be ")
    assert accepts in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = problems({"DRIFTD_MIN_EFECT": "1", "DRIFTD_HTTP_PORT": "x", "DRIFTD_RETRAIN__MEMORY_MB": "1"})
    assert len(found) == 3


KAFKA_LOGIN = {"DRIFTD_BROKER": "kafka://b:9092", "DRIFTD_KAFKA__USERNAME": "u", "DRIFTD_KAFKA__PASSWORD": "p"}


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"DRIFTD_HTTP_HOST": "0.0.0.0"}, "DRIFTD_HTTP_HOST"),  # noqa: S104 (it is refused)
        ({"DRIFTD_HTTP_HOST": "driftd.example"}, "DRIFTD_HTTP_HOST"),
        ({"DRIFTD_SLACK_BOT_TOKEN": "xoxb-1"}, "DRIFTD_SLACK_CHANNEL"),
        ({"DRIFTD_SLACK_APP_TOKEN": "xapp-1"}, "DRIFTD_SLACK_BOT_TOKEN"),
        ({"DRIFTD_BROKER": "kafka://b:9092", "DRIFTD_KAFKA__USERNAME": "u"}, "DRIFTD_KAFKA__PASSWORD"),
        ({"DRIFTD_BROKER": "kafka://b:9092", "DRIFTD_KAFKA__PASSWORD": "p"}, "DRIFTD_KAFKA__USERNAME"),
        ({"DRIFTD_KAFKA__USERNAME": "u", "DRIFTD_KAFKA__PASSWORD": "p"}, "DRIFTD_BROKER"),
        ({**KAFKA_LOGIN, "DRIFTD_KAFKA__MECHANISM": "PLAIN"}, "DRIFTD_BROKER"),
        ({"DRIFTD_BROKER": "kafka://b:9092", "DRIFTD_KAFKA__CA": "ca.pem"}, "DRIFTD_BROKER"),
        ({"DRIFTD_RETRAIN__TRAINER": "command"}, "DRIFTD_RETRAIN__COMMAND"),
        ({"DRIFTD_DEPLOY__DEPLOYER": "webhook"}, "DRIFTD_DEPLOY__URL"),
        ({"DRIFTD_MODELS__LOANS__DEPLOY__DEPLOYER": "command"}, "DRIFTD_MODELS__LOANS__DEPLOY__COMMAND"),
        ({"DRIFTD_LIMITS__BODY_MB": "64"}, "DRIFTD_LIMITS__DECOMPRESSED_MB"),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], variable: str) -> None:
    assert list(problems(environ)) == [variable]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert load({"DRIFTD_HTTP_HOST": host}).http_host == host


def test_with_a_token_any_address_may_be_bound() -> None:
    load({"DRIFTD_HTTP_HOST": "0.0.0.0", "DRIFTD_API_TOKEN": "a-token"})  # noqa: S104


def test_a_name_that_no_registry_has_is_refused_for_the_model_that_chose_it() -> None:
    settings = load({"DRIFTD_DETECTORS": "default", "DRIFTD_MODELS__LOANS__DETECTORS": "adwinn(delta=1)"})
    known = {"detectors": ["default", "adwin", "ddm"], "retrain.trainer": ["sklearn"]}
    with pytest.raises(SettingsError) as raised:
        check_choices(settings, known)
    (problem,) = raised.value.problems
    assert problem.variable == "DRIFTD_MODELS__LOANS__DETECTORS"
    assert "the nearest is adwin" in str(problem)


@pytest.mark.parametrize(
    "address",
    [
        "/srv/driftd",
        "archive",
        "file:///srv/driftd",
        "s3://bucket",
        "s3://my.bucket-1/a/b",
        "s3://bucket/a?endpoint_override=http://127.0.0.1:9000&region=eu-central-1",
        "s3://bucket/a?endpoint_override=minio.local:9000",
    ],
)
def test_an_archive_is_a_folder_or_a_bucket(address: str) -> None:
    assert load({"DRIFTD_ARCHIVE_URL": address}).archive_url == address


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket",
        "s3://",
        "s3://Bucket",
        "s3:///prefix",
        "s3://bucket?regoin=eu",
        "s3://bucket#x",
        "s3://bucket?endpoint_override=ftp://host",
        "s3://bucket?endpoint_override=http://host/path",
        "file://host/folder",
    ],
)
def test_any_other_archive_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"DRIFTD_ARCHIVE_URL=.* must be a folder, or s3://BUCKET/PREFIX"):
        load({"DRIFTD_ARCHIVE_URL": address})


def test_one_key_without_the_other_or_without_a_bucket_is_refused() -> None:
    with pytest.raises(SettingsError, match="DRIFTD_ARCHIVE_SECRET_KEY: must be set beside DRIFTD_ARCHIVE_ACCESS_KEY"):
        load({"DRIFTD_ARCHIVE_URL": "s3://bucket", "DRIFTD_ARCHIVE_ACCESS_KEY": "a"})
    both = {"DRIFTD_ARCHIVE_ACCESS_KEY": "a", "DRIFTD_ARCHIVE_SECRET_KEY": "b"}
    with pytest.raises(SettingsError, match="no s3:// address"):
        load({"DRIFTD_ARCHIVE_URL": "/srv/driftd", **both})


# several daemons that share the work

FLEET = {"DRIFTD_BROKER": "kafka://b:9092", "DRIFTD_DATABASE_URL": "postgresql://u@db/driftd"}


@pytest.mark.parametrize(
    ("environ", "is_fleet"),
    [
        ({}, False),
        (FLEET, True),
        ({**FLEET, "DRIFTD_BROKER": "kafka+ssl://b:9093"}, True),
        ({**FLEET, "DRIFTD_BROKER": "embedded://"}, False),
        ({**FLEET, "DRIFTD_DATABASE_URL": "sqlite:////tmp/postgresql.db"}, False),
        ({"DRIFTD_BROKER": "kafka://b:9092"}, False),
    ],
)
def test_daemons_share_the_work_where_all_of_it_is_in_servers(environ: dict[str, str], *, is_fleet: bool) -> None:
    assert load(environ).is_fleet == is_fleet


def test_a_daemon_of_a_fleet_may_do_a_part_of_the_work() -> None:
    assert load({**FLEET, "DRIFTD_ROLE": "web,ingest"}).role == {Role.INGEST, Role.WEB}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], ["DRIFTD_BROKER=kafka://HOST:PORT,...", "DRIFTD_DATABASE_URL=postgresql://USER@HOST/DATABASE"]),
        (["DRIFTD_BROKER"], ["DRIFTD_DATABASE_URL=postgresql://USER@HOST/DATABASE"]),
        (["DRIFTD_DATABASE_URL"], ["DRIFTD_BROKER=kafka://HOST:PORT,..."]),
    ],
)
def test_a_part_of_the_work_is_refused_where_nobody_else_can_do_the_rest(given: list[str], missing: list[str]) -> None:
    said = problems({"DRIFTD_ROLE": "web,ingest", **{name: FLEET[name] for name in given}})
    assert list(said) == ["DRIFTD_ROLE"]
    assert said["DRIFTD_ROLE"].startswith("DRIFTD_ROLE=ingest,web: must be ingest,detect,web,train for a daemon alone")
    assert said["DRIFTD_ROLE"].endswith(" and ".join(missing))


@pytest.mark.parametrize("roles", ["fetch", "ingest,fetch", ",", " , "])
def test_a_role_that_there_is_not_is_refused_with_those_that_there_are(roles: str) -> None:
    said = problems({**FLEET, "DRIFTD_ROLE": roles})
    assert f"DRIFTD_ROLE={roles}: must be any of ingest, detect, web, train" in said["DRIFTD_ROLE"]


def test_the_command_line_says_what_a_daemon_does_rather_than_the_environment() -> None:
    settings = load({**FLEET, "DRIFTD_ROLE": "train"}, role="web")
    assert settings.role == {Role.WEB}
    (row,) = [row for row in describe(settings) if row.variable == "DRIFTD_ROLE"]
    assert (row.value, row.source, row.default) == ("web", "--role", "ingest,detect,web,train")


@pytest.mark.parametrize("role", ["fetch", "", " "])
def test_what_the_command_line_says_wrong_is_said_to_come_from_there(role: str) -> None:
    with pytest.raises(SettingsError, match=r"must be any of ingest, detect, web, train, .*; --role says so"):
        load(FLEET, role=role)


def test_one_is_warned_of_files_that_only_one_machine_of_a_fleet_has() -> None:
    assert list(warnings(load({}))) == []
    assert list(warnings(load({**FLEET, "DRIFTD_ARCHIVE_URL": "/srv/driftd"}))) == []
    (warning,) = warnings(load(FLEET))
    assert "DRIFTD_ARCHIVE_URL: is not set: datasets and versions are only on the machine" in str(warning)
