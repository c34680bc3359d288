"""Laws of ``schemas``: the contracts, their exported form, and the registry of topics."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from schemas import export
from schemas.changes import SegmentChange
from schemas.events import ALIASES, CANONICAL, Event, EventType
from schemas.rejections import DeadLetterReason, RejectedRecord, RejectionReason, UndeliveredReason
from schemas.topics import DEFINITIONS, DESTINATION_STATES, EVENTS, TOPICS, name, partitions

CHANGE: dict[str, Any] = {
    "id": "0123456789abcdef0123456789abcdef",
    "customer_id": "c-1",
    "segment": "abandoned_cart",
    "action": "entered",
    "at": "2026-03-01T12:30:00Z",
    "sequence": 1,
    "definition_version": "0123456789abcdef",
    "cause": {"kind": "time"},
    "evidence": {"cart_value": 12.5, "cart_updated_at": "2026-03-01T12:00:00Z"},
    "profile": {"cart_value": 12.5, "last_order_at": None},
    "code": "1.0a1b2c3d",
}
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "Event": [
        {"customer_id": "c-1", "event_type": "product_view"},
        {
            "event_id": "e-1",
            "customer_id": "c-1",
            "event_type": "purchase",
            "timestamp": "2026-03-01T12:00:00.123000Z",
            "price": 12.5,
            "quantity": 2.0,
            "properties": {"campaign": "spring", "tags": ["a"]},
        },
    ],
    "SegmentChange": [
        CHANGE,
        {**CHANGE, "cause": {"kind": "definition", "definition_version": "0123456789abcdef"}},
        {
            **CHANGE,
            "cause": {
                "kind": "event",
                "event_id": None,
                "event_type": "add_to_cart",
                "event_time": "2026-03-01T12:00:00.000001Z",
            },
        },
    ],
    "RejectedRecord": [
        {
            "topic": "events",
            "partition": 0,
            "offset": 7,
            "reason": "not_json",
            "detail": "JSON is malformed",
            "payload": b64encode(b"\xff\x00").decode(),
            "key": None,
            "log_time": "2026-03-01T12:00:00Z",
        }
    ],
    "DeadLetter": [
        {
            "destination": "crm",
            "reason": "refused",
            "detail": "410",
            "status": 410,
            "response": "gone",
            "request": {"method": "POST", "url": "https://crm.example.com/**********", "body": "{}"},
            "attempts": 3,
            "source": {"topic": "segment-changes", "partition": 0, "offset": 7},
            "at": "2026-03-01T12:00:00Z",
            "change": CHANGE,
            "payload": None,
        }
    ],
    "Receipt": [
        {
            "id": CHANGE["id"],
            "destination": "crm",
            "status": "delivered",
            "attempts": 1,
            "latency_ms": 12.5,
            "at": "2026-03-01T12:00:00Z",
            "customer_id": "c-1",
            "segment": "abandoned_cart",
            "sequence": 1,
            "origin": "live",
            "offset": 17,
        }
    ],
    "Erasure": [
        {
            "id": CHANGE["id"],
            "customer_id": "c-1",
            "at": "2026-03-01T12:00:00Z",
            "profile": {"email": "ann@example.com"},
        }
    ],
    "Redelivery": [
        {"destination": "crm", "origin": "replay", "change": CHANGE},
        {
            "destination": "crm",
            "origin": "replay",
            "change": {"id": CHANGE["id"], "customer_id": "c-1", "at": "2026-03-01T12:00:00Z", "profile": {}},
            "fact": "erasure",
            "even_if_returned": True,
        },
    ],
    "DestinationState": [
        {
            "destination": "crm",
            "state": "paused",
            "reason": "http_401",
            "since": "2026-03-01T12:00:00Z",
            "by": "deliverer",
            "replica": "deliverer-0",
            "at": "2026-03-01T12:01:00Z",
        }
    ],
    "Definitions": [
        {
            "book": {
                "attributes": {"age": "integer"},
                "segments": {"adults": {"sql": "age >= 18", "description": ""}},
            },
            "author": "ada",
            "comment": None,
        }
    ],
    "AppliedBook": [
        {
            "version": "0123456789abcdef",
            "applied_at": "2026-03-01T12:00:00.000001Z",
            "author": "ada",
            "comment": "the first",
            "replaces": None,
            "book": {"attributes": {}, "segments": {"viewer": {"sql": "view_count >= 1", "description": ""}}},
            "text": "segments: {viewer: {sql: view_count >= 1}}",
        }
    ],
    "Tick": [{}],
}
MODELS = {model.__name__: model for model in export.contracts().values()}
CASES = [(MODELS[kind], example) for kind, examples in EXAMPLES.items() for example in examples]


def test_every_contract_on_a_topic_has_an_example_here() -> None:
    assert MODELS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize(("model", "example"), CASES)
def test_what_a_model_writes_is_what_it_read(model: type[BaseModel], example: dict[str, Any]) -> None:
    read = model.model_validate(example)
    assert json.loads(read.model_dump_json(exclude_unset=True)) == example
    assert model.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize(("model", "example"), CASES)
def test_what_a_model_reads_the_exported_schema_allows(model: type[BaseModel], example: dict[str, Any]) -> None:
    schema = json.loads(export.text_of(model))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example)


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "product_view"},
        {"customer_id": "", "event_type": "product_view"},
        {"customer_id": "c" * 257, "event_type": "product_view"},
        {"customer_id": "c", "event_type": "x" * 129},
        {"customer_id": "c", "event_type": "e", "price": True},
        {"customer_id": "c", "event_type": "e", "price": 1e16},
        {"customer_id": "c", "event_type": "e", "properties": []},
    ],
)
def test_what_the_event_schema_forbids_the_model_refuses(event: dict[str, Any]) -> None:
    assert not Draft202012Validator(Event.model_json_schema()).is_valid(event)
    with pytest.raises(ValidationError):
        Event.model_validate(event)


def test_the_committed_schemas_are_those_of_the_models() -> None:
    assert export.drift() == []


def test_drift_is_told_by_name_and_writing_ends_it(tmp_path: Path) -> None:
    export.write(tmp_path)
    (tmp_path / "event.schema.json").write_text("{}")
    (tmp_path / "tick.schema.json").unlink()
    (tmp_path / "old.schema.json").write_text("{}")
    assert export.drift(tmp_path) == [
        "event.schema.json differs from schemas.events.Event",
        "old.schema.json has no model on any topic",
        "tick.schema.json is missing",
    ]
    export.write(tmp_path)
    assert export.drift(tmp_path) == []


def test_the_check_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schemas.export", "--check"],
        capture_output=True,
        check=False,
        cwd=export.FOLDER.parents[1],
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_check_fails_where_the_files_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--check"], tmp_path) == 1
    assert "event.schema.json is missing" in capsys.readouterr().err
    assert (export.main([], tmp_path), export.main(["--check"], tmp_path)) == (0, 0)


def test_every_alias_means_one_of_our_types_and_renames_none_of_them() -> None:
    assert set(ALIASES.values()) <= set(EventType)
    assert not set(ALIASES) & set(EventType)
    folded: dict[str, str] = {}
    for alias, ours in CANONICAL.items():
        assert folded.setdefault(alias.lower(), ours) == ours


def test_reasons_are_distinct_and_each_is_described() -> None:
    reasons = [*RejectionReason, *DeadLetterReason, *UndeliveredReason]
    assert len({str(reason) for reason in reasons}) == len(reasons)
    assert all(reason.description for reason in reasons)


def test_a_refused_record_gives_back_the_original_bytes() -> None:
    record = RejectedRecord.model_validate(EXAMPLES["RejectedRecord"][0])
    assert record.original == b"\xff\x00"
    assert record.model_copy(update={"payload": None}).original is None


def test_a_change_has_one_of_three_causes() -> None:
    with pytest.raises(ValidationError):
        SegmentChange.model_validate({**CHANGE, "cause": {"kind": "magic"}})


def test_topics_are_distinct_and_those_of_customers_have_the_partitions_of_events() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    of_customers = [topic for topic in TOPICS if topic not in (DEFINITIONS, DESTINATION_STATES)]
    assert {partitions(topic, 5) for topic in of_customers} == {5}
    assert {partitions(topic) for topic in of_customers} == {EVENTS.partitions}


def test_versions_have_one_order_and_are_kept_for_ever() -> None:
    assert partitions(DEFINITIONS, 5) == 1
    assert DEFINITIONS.settings()["cleanup.policy"] == "delete"
    assert DEFINITIONS.settings()["retention.ms"] == DEFINITIONS.settings()["retention.bytes"] == "-1"


def test_how_destinations_stand_is_one_order_and_the_last_word_on_each_is_kept() -> None:
    assert partitions(DESTINATION_STATES, 5) == 1
    assert DESTINATION_STATES.settings()["cleanup.policy"] == "compact"


def test_the_order_and_the_time_of_the_log_are_the_brokers() -> None:
    assert EVENTS.settings()["message.timestamp.type"] == "LogAppendTime"
    assert EVENTS.settings()["cleanup.policy"] == "delete"


def test_a_prefix_comes_before_the_name() -> None:
    assert [name(EVENTS), name(EVENTS, "staging.")] == ["events", "staging.events"]
