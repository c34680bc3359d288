"""What must hold of each input, whatever it is. A law gives the outcomes to count, and lets no error pass but ours."""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_settings import SettingsError

from connectors.changes import ERASED, Change, UnreadableChange, read_change, read_erasure
from connectors.destinations import DestinationErrors, load
from connectors.exchange import AddressRefused, Answer, Request, Response, Steps, Unreachable
from connectors.options import Options
from connectors.platforms import Connector, discover
from connectors.progress import Progress
from connectors.records import Source, dead_letter, receipt
from connectors.results import Outcome, Result
from connectors.retry import RetryPolicy
from connectors.secrets import SecretMissing, redact
from schemas.rejections import DeadLetter, DeadLetterReason, RejectedRecord, RejectionReason
from stream.core.decode import Fact, Unusable, decode
from stream.core.fact import Limits
from stream.core.output import DEAD_LETTERED, REJECTED, Refused
from stream.core.routing import partition_of
from stream.core.segments import DefinitionErrors, canonical_json, compile_book, load_book
from stream.core.state import Checkpointer, Loader
from stream.core.time import format_iso
from stream.engine.gate import ForeignTopic, Unmappable, map_record
from stream.interpreter import InMemoryRecord, Interpreter
from stream.settings import FILE_VARIABLE, Settings, SettingsUnusable
from tests.fuzz import corpus, inputs
from tests.fuzz.mutation import bytewise

_CONTROL = (b"tick", b"definitions", b"filled")
#: What a broker takes, less its own; a refused event is written in base64 with its reason beside it.
_LONGEST_DETAIL = 4000
_SECRET = "whsec_" + b64encode(bytes(range(32))).decode()


def decoding(given: inputs.Value) -> list[str]:
    """A value is a fact, or has one ending and a reason of the vocabulary."""
    try:
        fact = decode(given.value, inputs.NOW, given.origin, given.limits)
    except Unusable as unusable:
        _known(unusable.ending, unusable.reason, unusable.detail)
        return [f"{unusable.ending}: {unusable.reason}"]
    assert isinstance(fact, Fact)
    assert fact.customer_id.strip() == fact.customer_id != ""
    return ["fact"]


def core(given: inputs.Log) -> list[str]:
    """Each record ends in one place, batch cuts change nothing, and what came of it can be written and read again."""
    one = Interpreter(given.book, number=given.number, partitions=given.partitions, keeps_log=True)
    ends = [_end(one, record) for record in given.records]
    said = one.report()
    rejected, dead = said["rejected"], said["dead_lettered"]
    assert isinstance(rejected, dict) and isinstance(dead, dict)
    assert said["read"] == said["applied"] + said["duplicates"] + sum(rejected.values()) + sum(dead.values())  # type: ignore[operator]
    assert len(one.refused) == sum(rejected.values()) + sum(dead.values())
    for refused in one.refused:
        _letter(refused)

    other = Interpreter(given.book, number=given.number, partitions=given.partitions, keeps_log=True)
    for begin, end in zip([0, *given.cuts], [*given.cuts, len(given.records)], strict=True):
        other.feed(given.records[begin:end])
    assert _by_customer(other) == _by_customer(one), "the batches change what is said"
    assert (other.endings, other.refused) == (one.endings, one.refused), "the batches change how records end"
    _state(one)
    return ends


def _by_customer(log: Interpreter) -> dict[str, list[bytes]]:
    """The changes of each, in their order. Between customers it is open: a new book comes to them little by little."""
    found: dict[str, list[bytes]] = {}
    for change in log.decided:
        found.setdefault(change.customer_id, []).append(change.value)
    return found


def _end(log: Interpreter, record: InMemoryRecord) -> str:
    before = Counter(log.endings)
    log.feed([record])
    ended = log.endings - before
    kind = next((value for key, value in reversed(record.headers) if key == "fact"), None)
    if kind in _CONTROL:
        assert not ended or (kind == b"definitions" and ended == {(DEAD_LETTERED, "bad_definitions"): 1}), ended
        return "dead_lettered: bad_definitions" if ended else "control"
    if not ended:  # it is another partition's: sent there, and counted there
        origin = next((v.decode("utf-8", "replace") for k, v in reversed(record.headers) if k == "origin"), None)
        fact = decode(record.value, log.partition.log_time, origin, log.settings.limits)
        assert partition_of(fact.customer_id, log.partitions) != log.number, "a record vanished"
        return "moved"
    assert sum(ended.values()) == 1, f"a record ended in several places: {ended}"
    ((ending, reason),) = ended
    return f"{ending}: {reason}" if ending in (REJECTED, DEAD_LETTERED) else ending


def _letter(refused: Refused) -> None:
    """As the engine writes it."""
    _known(refused.ending, refused.reason, refused.detail)
    value, key = refused.record.value, refused.record.key
    letter = {
        "topic": "events",
        "partition": 0,
        "offset": refused.record.offset,
        "reason": refused.reason,
        "detail": refused.detail,
        "payload": None if value is None else b64encode(value).decode(),
        "key": None if key is None else b64encode(key).decode(),
        "log_time": format_iso(refused.log_time),
    }
    assert RejectedRecord.model_validate_json(orjson.dumps(letter)).original == value


def _state(log: Interpreter) -> None:
    """A checkpoint of it can be written, and read back as the same customers."""
    checkpointer, loader = Checkpointer(log.partition, -1), Loader()
    checkpointer.begin()
    while records := checkpointer.slice(100):
        for key, value in records:
            loader.apply(key, value)
    loader.apply(*checkpointer.record(0))
    restored, _, _ = loader.finish(log.number, log.partitions, log.settings)
    assert restored.customers.keys() == log.partition.customers.keys(), "a customer did not come back"


def book(text: str) -> list[str]:
    """A book is refused with places and reasons, or says the same when it is written and read again."""
    try:
        read = load_book(text)
        compiled = compile_book(read)
    except DefinitionErrors as refused:
        return [_refused(refused)]
    said = canonical_json(read)
    assert compile_book(load_book(said.decode())).version == compiled.version, (
        "written and read again it is another book"
    )
    assert all(str(warning) for warning in compiled.warnings)
    return ["compiled"]


def sql(text: str) -> list[str]:
    """A segment is refused, or decides about every customer, and says why."""
    try:
        read = load_book(
            corpus.attributes()
            + f"segments: {{asked: {{sql: {orjson.dumps(_half(text)).decode()}}}, vip: {{sql: total_spent > 500}}}}"
        )
        compiled = compile_book(read)
    except DefinitionErrors as refused:
        return [_refused(refused)]
    log = Interpreter(canonical_json(read).decode())
    for record in _LIFE:
        log.feed([record])
    assert log.endings == {("applied", "fact"): len(_LIFE) - 1}, log.endings
    now, asked = log.partition.log_time, compiled.by_name["asked"]
    for customer in log.partition.customers.values():
        member, until = asked.evaluate(customer, now)
        assert type(member) is bool and until > now
        assert (asked.explain(customer, now).truth is True) == member, "the explanation says otherwise"
    _state(log)
    return ["compiled"]


def _half(text: str) -> str:
    """Half characters come to SQL by no file: the reader of books refuses them."""
    return text.encode("utf-8", "replace").decode()


def _life() -> Iterator[InMemoryRecord]:
    at = inputs.NOW // 1000
    stated: list[dict[str, Any]] = [
        {"event_type": "profile_update", "properties": {"age": 30, "score": 1e15, "location": "NYC"}},
        {"event_type": "profile_update", "properties": {"newsletter": True, "renews_at": "2026-03-29T03:00:00+02:00"}},
        {"event_type": "product_view", "product_id": "a", "category": "Electronics"},
        {"event_type": "add_to_cart", "product_id": "a", "price": 19.99, "quantity": 2},
        {"event_type": "purchase", "order_id": "o", "price": -1e15, "quantity": 1e15},
        {"event_type": "product_view", "product_id": "%_\\", "category": "İ\u0301\0", "price": 5e-324},
        {"customer_id": "empty", "event_type": "x"},
    ]  # fmt: skip
    for number, event in enumerate(stated):
        yield InMemoryRecord(number + 1, at + number * 900_000, None, orjson.dumps({"customer_id": "ann", **event}))
    yield InMemoryRecord(len(stated) + 1, at + 40 * 86_400_000, None, b"{}", (("fact", b"tick"),))


_LIFE = tuple(_life())


def _refused(refused: DefinitionErrors) -> str:
    assert refused.errors and all(error.message for error in refused.errors)
    str(refused).encode("utf-8", "surrogatepass")
    return "refused"


def delivery(given: inputs.Delivery) -> list[str]:
    """Each change gets one result, and receipts, dead letters and waits can be made of it."""
    Progress(5, given.metadata).mark()
    changes: list[Change] = []
    now = inputs.NOW / 1e6
    ends = []
    for number, record in enumerate(given.records):
        try:
            read = read_erasure if b'"erased"' in record else read_change
            changes.append(read(record, offset=number, logged_at=now))
        except UnreadableChange as error:
            _given_up(record, "unreadable_change", str(error), "", None)
            ends.append("unreadable")
    if not changes:
        return ["unreadable"]
    connector, wanted = _connector(given.platform)
    answering = _Answering(connector, given)
    if (preparing := connector.prepare(now)) is not None:
        answering.carry(preparing, 1)
    for parcel in _parcels(
        connector, [change for change in changes if change.action == ERASED or wanted(change.segment)]
    ):
        erased = parcel[0].action == ERASED
        results = answering.carry((connector.erase if erased else connector.deliver)(parcel, now), len(parcel))
        for change, result in zip(parcel, results, strict=True):
            wait = RetryPolicy().delay(1, result.after, 0.5)
            assert result.outcome in Outcome and 0 <= wait <= RetryPolicy().retry_after_cap, wait
            receipt(change, destination="d", status="delivered", attempts=1, latency_ms=1.0, now=now)
            _given_up(change.raw, "refused", result.reason, redact(result.excerpt, connector.hidden), result.status)
            ends.append(str(result.outcome))
    return ends or ["skipped"]


def _parcels(connector: Connector, changes: list[Change]) -> Iterator[list[Change]]:
    """As the deliverer packs them: of one group, and one change per customer."""
    parcels: dict[object, list[Change]] = {}
    for change in changes:
        group = ERASED if change.action == ERASED else (connector.group(change),)
        parcel = parcels.setdefault(group, [])
        if all(change.customer_id != other.customer_id for other in parcel):
            parcel.append(change)
    yield from parcels.values()


class _Answering:
    """The platform's side of a conversation, with no network and no waiting."""

    #: A job that never ends is asked for at most so often.
    ROUNDS = 2_000

    def __init__(self, connector: Connector, given: inputs.Delivery) -> None:
        self._connector = connector
        self._answers = cycle(given.answers)
        self._rng = Random(given.bending)

    def carry(self, steps: Steps, items: int) -> Sequence[Result]:
        """The results of a conversation."""
        try:
            requests = next(steps)
            for _ in range(self.ROUNDS):
                requests = steps.send([self._answer(request) for request in requests])
        except StopIteration as end:
            results: Sequence[Result] = end.value
        except AddressRefused:
            return [Result(Outcome.PAUSE, "address_refused")] * items
        else:
            raise AssertionError("the conversation does not end")
        assert len(results) == items
        return results

    def _answer(self, request: Request) -> Answer:
        assert request.url.startswith("https://") and all(map(str.isascii, request.headers.values()))
        assert not request.limit or request.limit in self._connector.limits, request.limit
        answer = next(self._answers)
        if self._rng.random() < 0.6:
            answer = self._connector.rehearse(request)
            if self._rng.random() < 0.5:
                answer = replace(answer, body=bytewise(self._rng, answer.body))
        if isinstance(answer, AddressRefused):
            raise answer
        assert isinstance(answer, Response | Unreachable)
        return answer


def _given_up(value: bytes, reason: str, detail: str, response: str, status: int | None) -> None:
    """The deliverer's dead letter can be written, and is one."""
    letter = dead_letter(
        value,
        source=Source("segment-changes", 0, 1),
        destination="crm",
        reason=reason,
        detail=detail,
        status=status,
        response=response,
        attempts=1,
        now=inputs.NOW / 1e6,
    )
    DeadLetter.model_validate_json(letter)


class _AnySecret(Mapping[str, str]):
    """An environment that has whatever is asked for."""

    def __getitem__(self, name: str) -> str:
        return self.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def get(self, name: str, default: object = None) -> str:
        return "0123456789abcdef-us21" if "MAILCHIMP" in name else _SECRET  # its keys end in their data centre


def _connector(platform: str) -> tuple[Connector, Callable[[str], bool]]:
    """The platform as the example in its own head configures it, and which segments it wants."""
    for text in corpus.destinations():
        for options in load(text).by_name.values():
            if options.platform == platform:
                return discover()[platform].connect(options, _AnySecret(), "fuzz"), options.wants
    raise LookupError(f"{platform}: its module begins with no example of `destinations:`")


def destinations(text: str) -> list[str]:
    """A file of destinations is refused with its lines, or each of them can be connected or says what is missing."""
    try:
        found = load(text)
    except DestinationErrors as refused:
        assert refused.errors
        return ["refused"]
    found.segments()
    return ["loaded"] if all(map(_connected, found.by_name.values())) else ["no secret"]


def _connected(options: Options) -> bool:
    options.retry_policy().delay(9, None, 0.5)
    try:
        discover()[options.platform].connect(options, _AnySecret(), "fuzz")
    except (SecretMissing, ValueError):
        return False
    return True


def settings(given: inputs.Told) -> list[str]:
    """Settings are refused in words, or everything that is made of them can be made."""
    with _told(given):
        try:
            found = Settings()
        except (ValidationError, SettingsError, SettingsUnusable) as refused:
            return [type(refused).__name__] if str(refused) else []
    found.core()
    try:
        found.kafka()
    except SettingsUnusable:
        return ["no certificate"]
    return ["understood"]


@contextmanager
def _told(given: inputs.Told) -> Iterator[None]:
    """The file and the environment, for a while."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "settings.yaml")
        file.write_bytes(given.file)
        try:
            os.environ.update(given.environment | {FILE_VARIABLE: str(file)})
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def foreign(given: inputs.Foreign) -> list[str]:
    """A foreign record becomes a value for the decoder, or has a reason why not."""
    fields = {
        "customer_id": "customer_id",
        "event_type": "event_type",
        f"{given.path}.x": "price",
        f"{given.path}.y": "properties.y",
    }
    topic = ForeignTopic("orders", None, fields)
    try:
        mapped = map_record(given.value, given.timestamp, topic)
    except Unmappable as unmappable:
        _known(unmappable.ending, unmappable.reason.value, unmappable.detail)
        return [f"{unmappable.ending}: {unmappable.reason.value}"]
    return decoding(inputs.Value(mapped.value, None, Limits()))


def _known(ending: str, reason: str, detail: str) -> None:
    vocabulary = RejectionReason if ending == REJECTED else DeadLetterReason
    assert ending in (REJECTED, DEAD_LETTERED) and reason in {known.value for known in vocabulary}, (ending, reason)
    assert len(detail) <= _LONGEST_DETAIL, "the detail is too long to be written"
    orjson.dumps(detail)
