"""Laws of destinations.yaml: errors are clear, name their line, and never quote a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.delivery import DeliverySettings, DestinationsUnusable, connect
from connectors.destinations import DestinationErrors, load, read
from connectors.platforms.webhook import Config

GOOD = """\
destinations:
  crm:
    platform: webhook
    url: https://hooks.example.com/T0PS3CRET
    secret: {env: CRM_SECRET}
    segments: [abandoned_cart, vip]
  audit:
    platform: webhook
    url: {env: AUDIT_URL}
    secret: [{env: NEW}, {file: FILE}]
    batch_size: 50
"""
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def errors(text: str) -> str:
    with pytest.raises(DestinationErrors) as caught:
        load(text)
    return str(caught.value)


def destination(*lines: str, url: str = "https://example.com/x", secret: str = "{env: S}") -> str:
    given = [f"url: {url}", f"secret: {secret}", *lines]
    return "destinations:\n  crm:\n    platform: webhook\n" + "".join(f"    {line}\n" for line in given)


def test_a_file_says_where_changes_go(tmp_path: Path) -> None:
    """Defaults: every segment, one change per request, from the oldest, retried for a day."""
    path = tmp_path / "destinations.yaml"
    path.write_text(GOOD)
    destinations = read(path)
    crm, audit = destinations.by_name["crm"], destinations.by_name["audit"]
    assert isinstance(crm, Config)
    assert (crm.batch_size, crm.start, crm.retry_horizon) == (1, "earliest", 86_400)
    assert crm.batch_wait <= 0.25
    assert (crm.wants("vip"), crm.wants("other"), audit.wants("other")) == (True, False, True)
    assert destinations.segments() == {"abandoned_cart", "vip"}
    assert "T0PS3CRET" not in repr(destinations)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "destinations.yaml:1: expected one top-level key, 'destinations'"),
        ("a: [", "destinations.yaml:1: not YAML"),
        ("a: \x00", "not YAML: a character"),
        ("destinations:\n  a: " + "[" * 9_999, "destinations.yaml:2: nested too deeply"),
        ("destinations: []", "'destinations' is a mapping"),
        ("destinations: {a: 1}", "a: expected a mapping of options"),
        ("destinations:\n  a: {platform: fax}", "destinations.yaml:2: a: 'platform' must be one of: adobe"),
        ("destinations:\n  A B: {platform: webhook}", "destinations.yaml:2: a destination's name"),
        (
            "destinations:\n  a: {platform: webhook}\n  a: {platform: webhook}",
            "yaml:3: the key 'a' is given twice",
        ),
        (destination("typo: 1"), "destinations.yaml:6: crm.typo: there is no such option"),
        (
            destination("batchsize: 2"),
            "destinations.yaml:6: crm.batchsize: there is no such option; is 'batch_size' meant?",
        ),
        (destination("batch_size: 0"), "destinations.yaml:6: crm.batch_size: Input should be greater"),
        (destination("segments: []"), "destinations.yaml:6: crm.segments"),
        (destination(url="http://example.com/x"), "plain http needs `allow_http: true`"),
        (destination(url="ftp://example.com/x"), "expected https://host/path"),
        (destination(url="https://u:p4ss@example.com/x"), "user and password do not belong"),
        (destination(url="'https://example.com/a b'"), "percent-encode"),
        (
            destination(secret=KEY),
            "destinations.yaml:5: crm.secret.0: give a reference, {env: NAME} or {file: PATH}",
        ),
        (destination(secret="{env: A, file: B}"), "give a reference"),
        (destination(secret=f"{{value: {KEY}}}"), "give a reference"),
        (destination(secret="[]"), "destinations.yaml:5: crm.secret"),
        (destination(f"signing: {KEY}"), "destinations.yaml:6: crm.signing"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_no_value(text: str, message: str) -> None:
    """A value may be a secret that was written where a reference belongs."""
    said = errors(text)
    assert message in said
    assert KEY not in said
    assert "p4ss" not in said


def test_all_mistakes_are_named_at_once() -> None:
    """One run, one list."""
    assert len(errors(destination("batch_size: x", "concurrency: 0", "segments: 7")).splitlines()) >= 3


def test_secrets_are_read_from_the_environment_and_from_files(tmp_path: Path) -> None:
    """And a URL may be a secret, too."""
    (tmp_path / "key").write_text(KEY + "\n")
    text = GOOD.replace("FILE", str(tmp_path / "key"))
    environ = {"CRM_SECRET": KEY, "NEW": KEY, "AUDIT_URL": "https://audit.example.com/T0PS3CRET"}
    connectors = connect(load(text), environ, "livesegments/1")
    assert connectors["audit"].endpoint == "https://audit.example.com"
    assert "T0PS3CRET" not in repr(connectors)
    assert {KEY, KEY[6:], "/T0PS3CRET"} <= set(connectors["audit"].hidden)


def test_every_secret_that_is_missing_or_unusable_is_named_and_none_is_shown(tmp_path: Path) -> None:
    """By its reference only."""
    text = GOOD.replace("FILE", str(tmp_path / "none")) + destination()[len("destinations:\n") :].replace("crm", "b")
    with pytest.raises(DestinationsUnusable) as caught:
        connect(load(text), {"CRM_SECRET": "hunter2", "AUDIT_URL": "https://a.example", "NEW": KEY}, "x")
    said = str(caught.value)
    assert "destination crm: a signing secret has 24 to 64 bytes" in said or "is not base64" in said
    assert "destination audit: the file" in said
    assert "destination b: the environment variable S is not set" in said
    assert "hunter2" not in said


def test_kafka_credentials_are_not_shown() -> None:
    """The settings hold whatever aiokafka needs."""
    assert "pw123" not in repr(DeliverySettings(kafka={"sasl_plain_password": "pw123"}))
