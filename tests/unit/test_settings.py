"""Laws of the settings: where they come from, what is wrong with them, and that no secret is ever shown."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from stream import docs
from stream.core.config import CoreSettings
from stream.settings import FILE_VARIABLE, Settings, SettingsUnusable

SECRET = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def none_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of his own."""
    for name in os.environ:
        if name.upper().startswith("LIVESEGMENTS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The settings file."""
    path = tmp_path / "settings.yaml"
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    yield path


def said(**fields: Any) -> str:
    """What is said of settings that are not valid."""
    with pytest.raises(ValidationError) as refused:
        Settings(**fields)
    return str(refused.value)


# -- where they come from -----------------------------------------------------------------------------------


def test_every_setting_has_a_default_and_a_description() -> None:
    """A worker starts with none, and nobody has to guess what one is for."""
    made = Settings()
    assert made.kafka_bootstrap_servers == "localhost:9092"
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_environment_beats_the_file_and_an_option_beats_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nearer to the command wins, one setting at a time."""
    file.write_text("partitions: 3\ngroup: of-the-file\ntopic_prefix: file-\n")
    monkeypatch.setenv("LIVESEGMENTS_GROUP", "of-the-environment")
    monkeypatch.setenv("LIVESEGMENTS_TOPIC_PREFIX", "environment-")
    made = Settings(topic_prefix="option-")
    assert (made.partitions, made.group, made.topic_prefix) == (3, "of-the-environment", "option-")
    assert made.replication_factor == 1


def test_an_empty_file_says_nothing(file: Path) -> None:
    """Comments alone are no settings."""
    file.write_text("# nothing yet\n")
    assert Settings() == Settings.model_construct(**Settings.model_construct().model_dump())


def test_settings_cannot_be_changed() -> None:
    """One frozen model."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().partitions = 7  # type: ignore[misc]


def test_foreign_topics_come_as_yaml_or_as_json(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file as a mapping, in the environment as text."""
    file.write_text("foreign_topics:\n  orders:\n    event_type: purchase\n    fields: {user.id: customer_id}\n")
    of_file = Settings().foreign_topics
    monkeypatch.delenv(FILE_VARIABLE)
    monkeypatch.setenv(
        "LIVESEGMENTS_FOREIGN_TOPICS",
        '{"orders": {"event_type": "purchase", "fields": {"user.id": "customer_id"}}}',
    )
    assert Settings().foreign_topics == of_file
    assert of_file["orders"].fields == {"user.id": "customer_id"}


# -- what is wrong with them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("partitions", "many", "valid integer"),
        ("partitions", 0, "greater than or equal to 1"),
        ("metrics_port", 65536, "less than or equal to 65535"),
        ("checkpoint_seconds", 0, "greater than 0"),
        ("kafka_security_protocol", "TLS", "'SASL_SSL'"),
        ("log_level", "verbose", "'WARNING'"),
        ("kafka_idempotence", "perhaps", "valid boolean"),
        ("kafka_bootstrap_servers", "localhost:kafka", "'localhost:kafka' is no host:port"),
        ("kafka_bootstrap_servers", "localhost:99999", "'localhost:99999' is no host:port"),
        ("kafka_bootstrap_servers", "a:9092,,b:9092", "'' is no host:port"),
        ("kafka_bootstrap_servers", "kafka://a:9092", "'kafka://a:9092' is no host:port"),
        ("kafka_bootstrap_servers", "", "'' is no host:port"),
        ("foreign_topics", {"orders": {"event_type": "purchase"}}, "foreign_topics.orders.fields"),
        ("foreign_topics", {"orders": {"field": {}, "fields": {}}}, "foreign_topics.orders.field"),
        ("partition", 3, "Extra inputs are not permitted"),
        ("redis_url", "redis:6379", "begins with redis://, rediss:// or unix://"),
    ],
)
def test_a_bad_value_is_named_and_the_message_says_what_would_do(name: str, value: Any, message: str) -> None:
    """By option, by environment and by file alike."""
    text = said(**{name: value})
    assert name in text
    assert message in text


@pytest.mark.parametrize("value", ["kafka", "kafka:9092", "10.0.0.1:9092, kafka-2:9093", "[::1]:9092"])
def test_brokers_are_hosts_with_or_without_a_port(value: str) -> None:
    """Separated by commas."""
    made = Settings(kafka_bootstrap_servers=value)
    assert made.kafka()["bootstrap_servers"] == value.replace(" ", "").split(",")


def test_all_that_is_wrong_is_said_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes from."""
    file.write_text("partitions: -1\nunknown: 1\n")
    monkeypatch.setenv("LIVESEGMENTS_RATE_LIMIT", "none")
    text = said(log_level="LOUD")
    assert all(name in text for name in ("partitions", "unknown", "rate_limit", "log_level"))


@pytest.mark.parametrize("text", ["{orders: ", "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_json_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In the one setting whose variable holds JSON."""
    monkeypatch.setenv("LIVESEGMENTS_FOREIGN_TOPICS", text)
    with pytest.raises(SettingsError, match="foreign_topics"):
        Settings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"partitions: [3", "is not YAML, line 1"),
        (b"partitions: 3\n\tgroup: x\n", "is not YAML, line 2"),
        (b"group: caf\xe9\n", "is not UTF-8"),
        (b"group: 2026-13-45\n", "is not YAML"),
        (b"- partitions\n", "name: value"),
        (b"partitions=3\n", "name: value"),
        (b"1: 2\n", "name: value"),
        (b"group: " + b"[" * 5_000, "nested too deeply"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_named(file: Path, content: bytes | None, message: str) -> None:
    """Above all one that is not there: without it the defaults would be in force, and nobody would notice."""
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsUnusable) as refused:
        Settings()
    assert str(file) in str(refused.value)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sasl_needs_a_user_and_a_password() -> None:
    """Half of it would end in a refusal by the broker that names neither."""
    for given in ({}, {"kafka_sasl_username": "u"}, {"kafka_sasl_password": "p"}):
        text = said(kafka_security_protocol="SASL_SSL", **given)
        assert "SASL_SSL needs kafka_sasl_username and kafka_sasl_password" in text


# -- secrets ------------------------------------------------------------------------------------------------


def test_no_secret_is_in_what_is_printed_of_the_settings() -> None:
    """Neither as text nor in a dump."""
    made = Settings(
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username="u",
        kafka_sasl_password=SECRET,
        kafka_ssl_password=SECRET,
        redis_url=f"redis://:{SECRET}@redis:6379/0",
    )
    for text in (repr(made), str(made), f"{made}", str(made.model_dump()), made.model_dump_json()):
        assert SECRET not in text
    assert made.kafka()["sasl_plain_password"] == SECRET


@pytest.mark.parametrize(
    "given",
    [
        {"kafka_sasl_password": [SECRET]},
        {"kafka_sasl_password": SECRET, "kafka_security_protocol": "SASL_SSL"},
        {"kafka_sasl_password": SECRET, "partitions": "many"},
        {"kafka_sasl_pasword": SECRET},
        {"partitions": SECRET},
        {"foreign_topics": SECRET},
        {"redis_url": f"http://:{SECRET}@redis:6379"},
    ],
    ids=str,
)
def test_no_secret_is_in_an_error(given: dict[str, Any], file: Path) -> None:
    """Also one that landed in the wrong place, by the file or by an option."""
    assert SECRET not in said_by(file, given)
    file.unlink()
    file.write_text("")
    assert SECRET not in said(**given)


def said_by(file: Path, given: dict[str, Any]) -> str:
    file.write_text("".join(f"{name}: {value}\n" for name, value in given.items()))
    return said()


def test_no_secret_is_in_an_error_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have landed in a variable that wants JSON."""
    monkeypatch.setenv("LIVESEGMENTS_FOREIGN_TOPICS", SECRET)
    with pytest.raises(SettingsError) as refused:
        Settings()
    assert SECRET not in str(refused.value)


def test_no_secret_is_in_an_error_of_the_file(file: Path) -> None:
    """YAML's own messages quote the line."""
    file.write_text(f"kafka_sasl_password: {SECRET}: x\n")
    with pytest.raises(SettingsUnusable) as refused:
        Settings()
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


# -- what they become ---------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_core() -> None:
    """``replay`` without settings says what a worker without settings says."""
    assert Settings().core() == CoreSettings()


def test_what_the_core_depends_on_is_named_by_the_code_of_each_change() -> None:
    """Two workers with other verdicts do not pass for the same."""
    given: dict[str, Any] = {
        "dedup_hours": 48,
        "dedup_content_seconds": 3,
        "rate_limit": 7,
        "rate_window_seconds": 30,
        "clock_skew_seconds": 1,
        "future_seconds": 1,
        "max_event_bytes": 2048,
        "partitions": 12,
    }
    codes = {Settings(**{name: value}).core().code for name, value in given.items()}
    assert len(codes) == 8


def test_without_security_nothing_of_it_reaches_the_client() -> None:
    """aiokafka refuses an SSL context that it does not use."""
    assert Settings().kafka() == {"bootstrap_servers": ["localhost:9092"], "security_protocol": "PLAINTEXT"}


def test_sasl_passes_through_to_the_client() -> None:
    """Without TLS as with it."""
    given: dict[str, Any] = {"kafka_sasl_username": "u", "kafka_sasl_password": "p"}
    made = Settings(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_mechanism="SCRAM-SHA-512", **given)
    assert made.kafka() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
    }
    assert isinstance(Settings(kafka_security_protocol="SASL_SSL", **given).kafka()["ssl_context"], ssl.SSLContext)


def test_tls_checks_the_brokers_certificate() -> None:
    """With the system's authorities where none are named."""
    context = Settings(kafka_security_protocol="SSL").kafka()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "no PEM"])
@pytest.mark.parametrize("name", ["kafka_ssl_cafile", "kafka_ssl_certfile"])
def test_a_certificate_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: str | None) -> None:
    """Python's own message does not say which file it was."""
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    given: dict[str, Any] = {name: path, "kafka_ssl_password": SECRET}
    with pytest.raises(SettingsUnusable) as refused:
        Settings(kafka_security_protocol="SSL", **given).kafka()
    assert name in str(refused.value)
    assert str(path) in str(refused.value)
    assert SECRET not in str(refused.value)


# -- the page -----------------------------------------------------------------------------------------------


def test_the_page_of_settings_is_that_of_the_model() -> None:
    """``make docs`` writes it."""
    assert docs.drift() == []


def test_the_page_names_every_setting_with_its_default() -> None:
    """And no default of a secret, for there is none."""
    page = docs.settings_page()
    for name, field in Settings.model_fields.items():
        (line,) = [line for line in page.splitlines() if f"`LIVESEGMENTS_{name.upper()}`" in line]
        assert field.description is not None
        assert line.endswith(f"| {field.description} |")
    assert "| `LIVESEGMENTS_PARTITIONS` | `12` | whole number from 1 |" in page
    assert "| `LIVESEGMENTS_KAFKA_SASL_PASSWORD` |  | secret |" in page


def test_drift_is_told_by_name_and_writing_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `make check` runs it."""
    assert docs.main(["--check"], tmp_path) == 1
    assert "settings.md is missing" in capsys.readouterr().err
    assert docs.main([], tmp_path) == 0
    assert docs.main(["--check"], tmp_path) == 0
    page = tmp_path / "metrics.md"
    page.write_text(page.read_text().replace("counter", "meter", 1))
    assert docs.main(["--check"], tmp_path) == 1
    assert "metrics.md differs" in capsys.readouterr().err
