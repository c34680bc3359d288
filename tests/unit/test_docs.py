"""Laws of the documentation: what it shows runs, what it says is so, and what it names exists.

Pages that are generated are compared by whoever generates them.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo
from standardwebhooks import WebhookVerificationError

from connectors import destinations
from connectors.changes import read_change, read_erasure
from connectors.options import Options
from connectors.platforms import webhook
from connectors.signing import SigningKey
from schemas.changes import SegmentChange
from schemas.events import Event
from schemas.rejections import DeadLetterReason, RejectionReason
from schemas.topics import TOPICS
from schemas.vocabulary import ALIASES, EventType
from stream.cli.app import app
from stream.core.columns import COLUMNS, columns_of_event
from stream.core.decode import Fact, Limits, decode
from stream.core.segments import Definition, DefinitionBook, DefinitionErrors, compile_book, load_book
from stream.core.time import format_iso, parse_iso
from stream.interpreter import Interpreter
from stream.metrics import Metrics, PrometheusDeliveryMetrics
from stream.settings import FILE_VARIABLE, Settings
from tests.unit.markdown import Block, blocks, code, commands, prose, table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = {"settings.md", "metrics.md"}
README, PRODUCERS, MARKETERS = ROOT / "README.md", DOCS / "producers.md", DOCS / "marketers.md"
OWNERS, SRE = DOCS / "platform-owners.md", DOCS / "sre.md"
PAGES = [README, *(page for page in sorted(DOCS.rglob("*.md")) if page.name not in GENERATED)]
NOW = parse_iso("2026-03-02T12:00:00Z")
URL = "https://hooks.example.com/segments"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# -- what it shows runs --------------------------------------------------------------------------------------


def files(page: Path, folder: Path) -> None:
    """Write the blocks of a page that have a file's name."""
    for block in blocks(page):
        if block.name is not None:
            (folder / block.name).write_text(block.text, "utf-8")


def shell(line: str, folder: Path) -> str:
    """What a command line prints, errors included, with our command on the path and none of our settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVESEGMENTS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    command = ["sh", "-c", f"exec 2>&1 </dev/null; {line}"]
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=named)
def test_a_console_says_what_the_commands_say(page: Path, tmp_path: Path) -> None:
    """Every `$` line is run, in order, beside the files of its page."""
    files(page, tmp_path)
    for block in blocks(page, "console"):
        for command in commands(block):
            assert shell(command.line, tmp_path) == command.output, command.line


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=named)
def test_every_yaml_is_a_file_that_is_understood(page: Path) -> None:
    """Books compile (but for the one that shows a mistake), destinations load, cases and settings are such."""
    for block in blocks(page, "yaml"):
        content = yaml.safe_load(block.text)
        if block.name == "bad.yaml":
            with pytest.raises(DefinitionErrors):
                compile_book(load_book(block.text))
        elif "segments" in content:
            assert compile_book(load_book(block.text)).segments
        elif "destinations" in content:
            assert destinations.load(block.text).by_name
        elif "cases" in content:
            assert {"events", "changes"} <= set.intersection(*map(set, content["cases"].values()))
        else:
            assert Settings.model_validate(content)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=named)
def test_every_python_compiles(page: Path) -> None:
    """What needs a broker to run at least parses."""
    for block in blocks(page, "python"):
        ast.parse(block.text)


def read(text: str) -> Fact:
    return decode(text.encode(), NOW, None, Limits())


def said_of(fact: Fact, field: str) -> Any:
    value = getattr(fact, field)
    return format_iso(value) if field == "time" else value


def test_every_event_is_read_as_it_is_said_to_be() -> None:
    """Each block of events is followed by what the stream makes of each of them."""
    told = 0
    for block in blocks(PRODUCERS, "json"):
        reading = re.match(r"\nRead as: (.+)\n", block.after)
        assert reading is not None, block.text
        for line in block.text.splitlines():
            fact = read(line)
            for word in code(reading[1]):
                field, _, value = word.partition("=")
                assert said_of(fact, field) == json.loads(value), (line, word)
                told += 1
    assert told > 20


def test_every_reason_is_told_and_its_example_ends_there() -> None:
    """The table has every reason of a refusal, the topic that it goes to, and an example that ends there."""
    rows = table(PRODUCERS, "reason")
    reasons = [(reason.value, "events-rejected") for reason in RejectionReason]
    reasons += [(reason.value, "dead-letters") for reason in DeadLetterReason]
    assert [(*code(reason), *code(topic)) for reason, topic, _, _ in rows] == reasons
    for reason, _, _, example in rows:
        for value in code(example):
            log = Interpreter("attributes: {age: integer}\nsegments: {}")
            log.pipe(NOW, None, value.encode())
            assert [refused.reason for refused in log.refused] == code(reason)


# -- the language --------------------------------------------------------------------------------------------


def compiled(sql: str) -> None:
    book = load_book(next(block.text for block in blocks(MARKETERS, "yaml")))
    compile_book(DefinitionBook(book.attributes, {**book.segments, "example": Definition(sql)}))


def test_every_example_of_the_language_compiles() -> None:
    examples = [sql for _, cell in table(MARKETERS, "what") for sql in code(cell)]
    assert len(examples) > 25
    for sql in examples:
        compiled(sql)


def test_what_is_refused_says_what_the_page_says() -> None:
    rows = table(MARKETERS, "you write")
    assert len(rows) > 15
    for written, says in rows:
        with pytest.raises(DefinitionErrors) as refusal:
            compiled(code(written)[0])
        assert says in [error.message.split(":")[0] for error in refusal.value.errors], written


# -- what it says is so --------------------------------------------------------------------------------------


def test_the_fields_of_an_event_are_those_of_the_contract() -> None:
    assert [code(row[0])[0] for row in table(PRODUCERS, "field")] == list(Event.model_fields)


def test_the_event_types_and_what_they_change_are_those_of_the_record() -> None:
    rows = {code(row[0])[0]: row[1] for row in table(PRODUCERS, "type")}
    assert list(rows) == list(EventType)
    for kind, changes in rows.items():
        seen = {"first_seen_at", "last_seen_at"}
        cart = {name for name in COLUMNS if name.startswith("cart_")}
        told = {word for word in code(changes) if word in COLUMNS}
        assert told | seen | (cart if "the cart" in changes else set()) == columns_of_event(kind), kind


def test_the_names_of_other_vocabularies_are_those_that_are_understood() -> None:
    rows = table(PRODUCERS, "theirs")
    assert {name: code(ours)[0] for theirs, ours in rows for name in theirs.split(", ")} == ALIASES


def test_the_columns_are_those_that_segments_see() -> None:
    assert {code(row[0])[0]: row[1] for row in table(MARKETERS, "column")} == dict(COLUMNS)


def test_the_topics_are_those_of_the_registry() -> None:
    rows = {code(name)[0]: (cleanup, kept) for name, _, cleanup, kept, _ in table(SRE, "topic")}
    day = 24 * 3600 * 1000
    for topic in TOPICS:
        kept = topic.config.get("retention.ms")
        told = "" if kept is None else "for ever" if kept == "-1" else f"{int(kept) // day} days"
        assert rows.pop(topic.name) == (topic.cleanup, told)
    assert rows == {}


def test_the_options_of_a_destination_are_all_there_with_their_defaults() -> None:
    """Those of all platforms, and those that a webhook has besides, or by another default."""
    common = {name: default_of(field) for name, field in Options.model_fields.items()}
    of_webhooks = {name: default_of(field) for name, field in webhook.Config.model_fields.items()}
    del of_webhooks["platform"]
    assert told_defaults("option") == common
    assert told_defaults("option of a webhook") == dict(of_webhooks.items() - common.items())


def told_defaults(table_of: str) -> dict[str, str]:
    return {code(name)[0]: default for name, default, _ in table(OWNERS, table_of)}


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default, default=str)}`"


def test_the_versions_are_those_of_the_lock() -> None:
    lock = (ROOT / "requirements" / "dev.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    page = DOCS / "decisions" / "0008-dependencies.md"
    for first in ("library", "extra `demo`", "extra `dev`"):
        for names, versions, _ in table(page, first):
            for name, version in zip(names.split(", "), versions.split(", "), strict=True):
                assert pins[name.lower()] == version, name


# -- webhooks ------------------------------------------------------------------------------------------------


def a_change(block: Block) -> dict[str, Any]:
    change: dict[str, Any] = json.loads(block.text)["data"]
    return change


def test_the_webhook_that_is_shown_is_the_one_of_the_readme(tmp_path: Path) -> None:
    """Ann's cart, as the replay of the README writes it; the code's version moves on."""
    files(README, tmp_path)
    (console,) = blocks(README, "console")
    shell(next(commands(console)).line, tmp_path)
    first = (tmp_path / "changes.jsonl").read_bytes().splitlines()[0]
    (block,) = blocks(OWNERS, "json")
    shown, sent = json.loads(block.text), json.loads(webhook.body_of([read_change(first)]))
    SegmentChange.model_validate(shown["data"])
    for message in (shown, sent):
        assert message["data"].pop("code")
    assert shown == sent


def test_the_receiver_that_is_shown_verifies_and_de_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes each change once, alone or in a batch, and believes no other secret."""
    monkeypatch.setenv("CRM_WEBHOOK_SECRET", SECRET)
    (receiver,) = blocks(OWNERS, "python")
    scope: dict[str, Any] = {}
    exec(compile(receiver.text, "platform-owners.md", "exec"), scope)
    first = a_change(*blocks(OWNERS, "json"))
    second = first | {"id": "0" * 32, "sequence": 2, "action": "exited", "segment": "vip"}
    other = first | {"id": "1" * 32, "customer_id": "bob"}

    def take(*changes: dict[str, Any], secret: str = SECRET) -> list[str]:
        sender = webhook.Webhook(URL, (SigningKey.parse(secret),), "test", URL, "")
        request = sender.request([read_change(json.dumps(change).encode()) for change in changes], time.time())
        return [change["id"] for change in scope["receive"](dict(request.headers), request.body)]

    def forget() -> list[str]:
        sender = webhook.Webhook(URL, (SigningKey.parse(SECRET),), "test", URL, "")
        asked = {"id": "3" * 32, "customer_id": "bob", "at": "2026-03-02T10:30:00Z", "profile": {}}
        request = next(sender.erase([read_erasure(json.dumps(asked).encode())], time.time()))[0]
        return [each["customer_id"] for each in scope["receive"](dict(request.headers), request.body)]

    assert take(first) == [first["id"]]
    assert take(first) == []
    assert take(second, other) == [second["id"], other["id"]]
    assert take(first, other) == take(second) == []
    older = second | {"id": "2" * 32, "segment": "regular", "sequence": 1}
    assert take(older) == [older["id"]], "replayed: older than what came of another segment"
    assert forget() == ["bob"]
    with pytest.raises(WebhookVerificationError):
        take(first | {"sequence": 3}, secret="whsec_" + "A" * 44)


# -- what it names exists ------------------------------------------------------------------------------------


def words(page: Path) -> str:
    return page.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists(page: Path) -> None:
    """With the options that are given."""
    root = typer.main.get_command(app)
    lines = re.findall(r"^(?:\$ )?(livesegments .*(?:\\\n.*)*)", words(page), re.MULTILINE)
    lines += [span for span in code(prose(page)) if span.startswith("livesegments ")]
    for line in lines:
        given = line.replace("\\\n", " ").partition("#")[0].split()[1:]
        command: Any = root
        while given and isinstance(command, click.Group | typer.core.TyperGroup):
            command = command.commands[given.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in given if word.startswith("--")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_setting_exists(page: Path) -> None:
    known = {f"LIVESEGMENTS_{name.upper()}" for name in Settings.model_fields} | {FILE_VARIABLE}
    assert set(re.findall(r"LIVESEGMENTS_[A-Z_]+[A-Z]", words(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_metric_exists(page: Path) -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    PrometheusDeliveryMetrics(registry)
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    known = {metric.name + suffix for metric in registry.collect() for suffix in suffixes[metric.type]}
    assert set(re.findall(r"livesegments_[a-z_]+", words(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_path_exists(page: Path) -> None:
    """A path in backticks that begins at the top level is there."""
    tops = {path.name for path in ROOT.iterdir()}
    for path in code(prose(page)):
        if "/" in path and path.partition("/")[0] in tops and re.fullmatch(r"[\w./-]+", path):
            assert (ROOT / path).exists(), path


def test_the_map_of_modules_names_modules() -> None:
    """Each file in a row is in the folder of the row."""
    for folders, cell in table(DOCS / "architecture.md", "modules"):
        (folder,) = code(folders)
        for name in code(cell):
            if name.endswith(".py"):
                assert (ROOT / folder / name).exists(), folder + name


def test_the_readme_ends_at_the_pages() -> None:
    """Every page of the documentation can be reached from the README, or from the list of its folder."""
    for page in PAGES[1:]:
        listed = {"decisions": page.name[0].isdigit(), "platforms": page.name != "README.md"}
        start = page.parent / "README.md" if listed.get(page.parent.name) else README
        assert f"({page.relative_to(start.parent).as_posix()})" in words(start), page
