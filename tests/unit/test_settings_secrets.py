"""Secrets come from variables, files and credentials, and are shown nowhere."""

import traceback
from pathlib import Path

import pytest

from daemon.settings import ModelSettings, Settings, SettingsError, describe, load
from daemon.settings.names import leaves

SECRETS = [name for name in leaves(Settings) if name.secret]
PRECIOUS = "pre.cious-0123"


def valid(variable: str) -> dict[str, str]:
    """An environment with ``variable`` set to something that holds the precious text and is accepted."""
    text = PRECIOUS
    if variable.endswith("_URL"):
        text = (
            f"postgresql://driftd:{PRECIOUS}@db:5432/driftd" if "DATABASE" in variable else f"https://host/{PRECIOUS}"
        )
    beside = {"DRIFTD_SLACK_CHANNEL": "#models"}
    if variable == "DRIFTD_SLACK_APP_TOKEN":
        beside["DRIFTD_SLACK_BOT_TOKEN"] = "xoxb-1"
    if variable.startswith("DRIFTD_ARCHIVE_"):
        beside |= {"DRIFTD_ARCHIVE_URL": "s3://bucket/prefix"}
        beside |= {"DRIFTD_ARCHIVE_ACCESS_KEY": "access", "DRIFTD_ARCHIVE_SECRET_KEY": "secret"}
    if variable == "DRIFTD_DATABASE_PASSWORD":
        beside["DRIFTD_DATABASE_URL"] = "postgresql://driftd@db:5432/driftd"
    if variable == "DRIFTD_KAFKA__PASSWORD":
        beside |= {"DRIFTD_BROKER": "kafka+ssl://broker:9093", "DRIFTD_KAFKA__USERNAME": "driftd"}
    return {**beside, variable: text}


def test_the_secrets_are_those() -> None:
    assert {name.variable for name in SECRETS} == {
        "DRIFTD_API_TOKEN",
        "DRIFTD_ARCHIVE_ACCESS_KEY",
        "DRIFTD_ARCHIVE_SECRET_KEY",
        "DRIFTD_DATABASE_PASSWORD",
        "DRIFTD_DATABASE_URL",
        "DRIFTD_DEPLOY__TOKEN",
        "DRIFTD_DEPLOY__URL",
        "DRIFTD_INGEST_TOKEN",
        "DRIFTD_KAFKA__PASSWORD",
        "DRIFTD_SLACK_APP_TOKEN",
        "DRIFTD_SLACK_BOT_TOKEN",
        "DRIFTD_SLACK_WEBHOOK_URL",
    }


@pytest.mark.parametrize("variable", [name.variable for name in SECRETS])
def test_a_secret_is_in_no_text_that_is_made_of_the_settings(variable: str) -> None:
    settings = load(valid(variable))
    texts = [repr(settings), str(settings), str(describe(settings)), settings.model_dump_json(), repr(settings.retrain)]
    assert not any(PRECIOUS in text for text in texts)
    assert any(PRECIOUS in secret for secret in settings.secrets())


def test_a_password_of_its_own_becomes_part_of_the_url() -> None:
    url = "postgresql://driftd@db:5432/driftd?sslmode=require"
    settings = load({"DRIFTD_DATABASE_URL": url, "DRIFTD_DATABASE_PASSWORD": "a/b@c:d%"})
    assert settings.store_url == "postgresql://driftd:a%2Fb%40c%3Ad%25@db:5432/driftd?sslmode=require"


@pytest.mark.parametrize(
    "url", ["", "sqlite:///store.db", "postgresql://db/driftd", "postgresql://driftd:one@db/driftd"]
)
def test_a_password_that_belongs_to_nobody_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="DRIFTD_DATABASE_PASSWORD belongs to a user that the URL names"):
        load({"DRIFTD_DATABASE_URL": url, "DRIFTD_DATABASE_PASSWORD": PRECIOUS})


@pytest.mark.parametrize("variable", [name.variable for name in SECRETS])
def test_a_secret_is_in_no_error(variable: str) -> None:
    environ = {**valid(variable), "DRIFTD_HTTP_PORT": "x"}
    if variable.endswith("_URL"):
        environ[variable] = f"ftp//{PRECIOUS}"  # refused itself
    with pytest.raises(SettingsError) as raised:
        load(environ)
    assert PRECIOUS not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "password", ["a@b", "a:b", "a/b@c", "a?b@c", "a#b", "5432/db?password=x@y", "p@h:5432/x?", "", "%40"]
)
def test_of_a_database_no_part_of_the_password_is_shown(password: str) -> None:
    (row,) = (
        row
        for row in describe(load({"DRIFTD_DATABASE_URL": f"postgresql://user:{password}SECRET@host/db"}))
        if row.variable == "DRIFTD_DATABASE_URL"
    )
    assert "SECRET" not in row.value
    assert not password or password not in row.value


def test_a_database_is_shown_without_its_password() -> None:
    rows = describe(load({"DRIFTD_DATABASE_URL": "postgresql://driftd:precious@db:5432/driftd?sslkey=x"}))
    shown = next(row.value for row in rows if row.variable == "DRIFTD_DATABASE_URL")
    assert shown == "postgresql://driftd:***@db:5432/driftd?***"


def test_a_password_in_a_broker_address_is_refused_unseen() -> None:
    with pytest.raises(SettingsError) as raised:
        load({"DRIFTD_BROKER": f"kafka://user:{PRECIOUS}@host:9092"})
    assert PRECIOUS not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        f"s3://AKIA:{PRECIOUS}@bucket/prefix",
        f"s3://AKIA:half/{PRECIOUS}@bucket",
        f"s3://bucket/prefix?secret_key={PRECIOUS}",
        f"s3://bucket?endpoint_override=http://user:{PRECIOUS}@host:9000",
    ],
)
def test_a_key_in_the_address_of_the_archive_is_refused_unseen(address: str) -> None:
    with pytest.raises(SettingsError, match="DRIFTD_ARCHIVE_URL") as raised:
        load({"DRIFTD_ARCHIVE_URL": address})
    assert PRECIOUS not in "".join(traceback.format_exception(raised.value))


def test_the_secret_of_one_model_is_one_too() -> None:
    settings = load({"DRIFTD_MODELS__LOANS__DEPLOY__TOKEN": PRECIOUS})
    assert PRECIOUS not in repr(settings) + str(describe(settings))
    assert settings.secrets() == [PRECIOUS]


# files


@pytest.mark.parametrize(
    ("content", "secret"), [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), (" a ", " a ")]
)
def test_a_file_gives_its_secret_without_the_newline_at_its_end(tmp_path: Path, content: str, secret: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content.encode())
    settings = load({"DRIFTD_API_TOKEN_FILE": str(file)})
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == secret
    assert settings.source("DRIFTD_API_TOKEN") == f"file {file}"


def test_a_file_of_one_model(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(PRECIOUS)
    settings = load({"DRIFTD_MODELS__LOANS__DEPLOY__TOKEN_FILE": str(file)})
    token = settings.model("loans").deploy.token
    assert token is not None
    assert token.get_secret_value() == PRECIOUS
    assert settings.deploy.token is None


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load({"DRIFTD_API_TOKEN_FILE": str(file)})
    (problem,) = raised.value.problems
    assert problem.variable == "DRIFTD_API_TOKEN_FILE"
    assert problem.value == str(file)


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(PRECIOUS)
    with pytest.raises(SettingsError, match="given twice") as raised:
        load({"DRIFTD_API_TOKEN": PRECIOUS, "DRIFTD_API_TOKEN_FILE": str(file)})
    assert PRECIOUS not in str(raised.value)


# systemd credentials


@pytest.mark.parametrize("file", ["driftd_api_token", "api_token", "DRIFTD_API_TOKEN"])
def test_a_credential_is_found_by_its_name(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text(PRECIOUS + "\n")
    (tmp_path / "other.service-key").write_text("not ours")
    settings = load({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == PRECIOUS


def test_a_misspelt_credential_is_refused(tmp_path: Path) -> None:
    (tmp_path / "driftd_api_tokn").write_text(PRECIOUS)
    with pytest.raises(SettingsError, match="the nearest is DRIFTD_API_TOKEN"):
        load({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_check_config_says_where_each_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "api_token").write_text(PRECIOUS)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "DRIFTD_HTTP_PORT": "7000", "DRIFTD_MODELS__A__MODE": "observe"}
    rows = {row.variable: row for row in describe(load(environ))}
    assert (rows["DRIFTD_API_TOKEN"].value, rows["DRIFTD_API_TOKEN"].secret) == ("***", True)
    assert rows["DRIFTD_API_TOKEN"].source == f"file {tmp_path / 'api_token'}"
    assert (rows["DRIFTD_HTTP_PORT"].value, rows["DRIFTD_HTTP_PORT"].source) == ("7000", "environment")
    assert (rows["DRIFTD_HTTP_HOST"].value, rows["DRIFTD_HTTP_HOST"].source) == ("127.0.0.1", "default")
    assert rows["DRIFTD_MODELS__A__MODE"].value == "observe"
    assert [row for row in rows if "MODELS__" in row] == ["DRIFTD_MODELS__A__MODE"]
    assert {row.variable for row in rows.values() if row.per_model} >= {name.variable for name in leaves(ModelSettings)}
