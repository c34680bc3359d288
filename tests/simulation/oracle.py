"""What a log must say, by brute force: every customer from all its facts, instant by instant.

Shares nothing with ``stream.core``: no incremental state, no heap, no memories. It reads the log as it is stored,
judges every record by itself, keeps all facts of a customer for ever, and asks each condition again at every instant
at which its answer could be another. Slow, and short enough to be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from aiokafka.partitioner import murmur2

from tests.simulation import books
from tests.simulation.log import CREATE_TIME, DEAD, REJECTED, Stored

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
#: The end of the year 9999 (µs).
_NO_TIME = 253_402_300_799_999_999


class Happened(NamedTuple):
    """One applied fact."""

    offset: int
    time: int
    kind: str
    product: str | None
    category: str | None
    price: float | None
    age: int | None


class Said(NamedTuple):
    """One change; instants in µs. ``complete_since`` is None where the change does not say it."""

    customer: str
    sequence: int
    segment: str
    action: str
    at: int
    cause: str
    complete_since: int | None


#: (all facts of a customer, those that its sub-query knows, now) -> truth
Truth = Callable[[Sequence[Happened], Sequence[Happened], int], bool]


class Condition(NamedTuple):
    """``turns``: how long (µs) after a fact's time the answer can change by itself. ``reach``: how long a fact counts
    in its sub-query, 0 where there is none."""

    truth: Truth
    turns: tuple[int, ...] = ()
    reach: int = 0


def _views(facts: Sequence[Happened]) -> list[Happened]:
    return [fact for fact in facts if fact.kind == "product_view"]


def _cart(facts: Sequence[Happened]) -> tuple[float, int]:
    """Value, and when it last changed: of each product, what was added after the last purchase of it."""
    value, updated = 0.0, 0
    for product in {fact.product for fact in facts if fact.kind == "add_to_cart"}:
        lines = [f for f in facts if f.product == product and f.kind in ("add_to_cart", "purchase")]
        updated = max(updated, *(f.time for f in lines))
        lines.sort(key=lambda f: f.time)  # stable: of one instant the later in the log comes after
        held: list[Happened] = []
        for line in lines:
            held = [*held, line] if line.kind == "add_to_cart" else []
        if held:
            value += len(held) * (held[-1].price or 0.0)
    return value, updated


def _abandoned(facts: Sequence[Happened], known: Sequence[Happened], now: int) -> bool:
    value, updated = _cart(facts)
    return value > 0 and now - 24 * _HOUR <= updated <= now - 30 * _MINUTE


def _spent(facts: Sequence[Happened]) -> float:
    return sum(fact.price or 0.0 for fact in facts if fact.kind == "purchase")


def _young(facts: Sequence[Happened], known: Sequence[Happened], now: int) -> bool:
    ages = sorted((f for f in facts if f.kind == "profile_update"), key=lambda f: f.time)
    return bool(ages) and ages[-1].age is not None and 25 <= ages[-1].age <= 35


CONDITIONS: dict[str, Condition] = {
    books.CART: Condition(_abandoned, (30 * _MINUTE, 24 * _HOUR + 1)),
    books.KEEN: Condition(
        lambda facts, known, now: (
            sum(f.category == "Electronics" and f.time >= now - 2 * _HOUR for f in _views(known)) >= 3
        ),
        (2 * _HOUR + 1,),
        2 * _HOUR + 1,
    ),
    books.QUIET: Condition(
        lambda facts, known, now: len(_views(facts)) > 0 and not any(f.time >= now - _HOUR for f in _views(known)),
        (_HOUR + 1,),
        _HOUR + 1,
    ),
    books.VIP: Condition(lambda facts, known, now: _spent(facts) >= 500),
    books.RICH: Condition(lambda facts, known, now: _spent(facts) >= 300),
    books.SEEKING: Condition(
        lambda facts, known, now: any(f.kind == "search" and f.time > now - 20 * _MINUTE for f in known),
        (20 * _MINUTE,),
        20 * _MINUTE,
    ),
    books.YOUNG: Condition(_young),
    books.BUSY: Condition(
        lambda facts, known, now: (
            sum(f.kind in ("add_to_cart", "purchase") and f.time >= now - 40 * _MINUTE for f in known) >= 2
        ),
        (40 * _MINUTE + 1,),
        40 * _MINUTE + 1,
    ),
}
_UNITS = {"minute": _MINUTE, "minutes": _MINUTE, "hour": _HOUR, "hours": _HOUR}


@cache
def _length(words: str) -> int:
    said = words.split()
    return sum(int(count) * _UNITS[unit] for count, unit in zip(said[::2], said[1::2], strict=True))


@dataclass
class _Known:
    """Since which offset a sub-query counts facts, and since which log time (µs; 0 for all of it) that is so."""

    offset: int
    since: int


@dataclass
class _Book:
    at: int
    content: dict[str, Any]
    known: dict[str, _Known]  # by the condition's text

    @property
    def segments(self) -> dict[str, dict[str, str]]:
        return dict(sorted(self.content["segments"].items()))

    @property
    def version(self) -> str:
        canonical = orjson.dumps(self.content, option=orjson.OPT_SORT_KEYS)
        return blake2b(canonical, digest_size=8).hexdigest()


@dataclass
class _Standing:
    """How a customer stands to a segment."""

    true_since: int | None = None
    entered: int | None = None
    left: int | None = None


@dataclass
class _Person:
    name: str
    facts: list[Happened] = field(default_factory=list)
    standing: dict[str, _Standing] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)  # the segments that it is in, in the order of entry
    turns: set[int] = field(default_factory=set)  # instants at which to ask again
    rate: tuple[int, int] = (-1, 0)


@dataclass
class Oracle:
    """One partition of ``events``. Lengths in µs, as the settings of the simulation have them."""

    partition: int
    partitions: int
    rate_limit: int
    rate_width: int
    dedup_horizon: int
    content_horizon: int
    future: int
    skew: int
    #: What a ``filled`` fact calls the sub-query of a condition -> the condition's text.
    names: Mapping[str, str]
    said: list[Said] = field(default_factory=list)
    #: (topic, offset, reason) of what is refused, and the offsets of what is in the wrong partition.
    refused: set[tuple[str, int, str]] = field(default_factory=set)
    astray: set[int] = field(default_factory=set)
    #: What a ``filled`` fact claims, and is not so.
    untrue: list[str] = field(default_factory=list)
    now: int = 0
    _ticked: int = 0
    _times: dict[int, int] = field(default_factory=dict)
    _people: dict[str, _Person] = field(default_factory=dict)
    _book: _Book | None = None
    _met_facts: bool = False
    _ids: dict[tuple[str, str], int] = field(default_factory=dict)
    _contents: dict[tuple[str, bytes], int] = field(default_factory=dict)

    def read(self, log: Iterable[Stored]) -> Oracle:
        """The whole log, in its order."""
        for record in log:
            self.now = max(self.now, self._stamp(record))
            self._times[record.offset] = self.now
            for person in self._people.values():
                self._let_pass(person)
            kind = dict(record.headers).get("fact")
            if kind == b"definitions":
                self._new_book(record)
            elif kind == b"filled":
                self._filled(record)
            elif kind is None:
                self._met_facts = True
                self._event(record)
        return self

    @property
    def members(self) -> dict[str, dict[str, int]]:
        """Segment -> instant of entry, by customer."""
        return {
            person.name: {name: s.entered for name, s in person.standing.items() if s.entered is not None}
            for person in self._people.values()
        }

    def _stamp(self, record: Stored) -> int:
        """The time that a record states, as far as it is believed."""
        headers, stamp = dict(record.headers), record.timestamp * 1000
        if stamp > _NO_TIME:
            stamp = self.now
        if headers.get("fact") == b"tick":
            self._ticked = max(self._ticked, stamp)
        elif record.timestamp_type == CREATE_TIME and self._ticked:
            # A producer's own clock; and what was moved only says when that was.
            stamp = min(stamp, self._ticked if "origin" in headers else self._ticked + self.skew)
        return stamp

    # -- records --------------------------------------------------------------------------------------------------

    def _refuse(self, topic: str, record: Stored, reason: str) -> None:
        self.refused.add((topic, record.offset, reason))

    def _event(self, record: Stored) -> None:
        if record.value is None:
            return self._refuse(DEAD, record, "tombstone")
        try:
            record.value.decode()
        except UnicodeDecodeError:
            return self._refuse(DEAD, record, "not_utf8")
        try:
            event = orjson.loads(record.value)
        except orjson.JSONDecodeError:
            return self._refuse(DEAD, record, "not_json")
        if not isinstance(event, dict):
            return self._refuse(DEAD, record, "not_an_object")
        name = str(event.get("customer_id", "")).strip()
        if not name:
            return self._refuse(REJECTED, record, "missing_customer_id")
        time = event["timestamp"] * 1000 if "timestamp" in event else self.now
        if time > self.now + self.future:
            return self._refuse(REJECTED, record, "future")
        if (murmur2(name.encode()) & 0x7FFFFFFF) % self.partitions != self.partition:
            self.astray.add(record.offset)
            return None
        if "Googlebot" in event.get("user_agent", ""):
            return self._refuse(REJECTED, record, "bot_user_agent")
        origin = dict(record.headers).get("origin")
        event_id = event.get("event_id") or (origin.decode() if origin else None)
        if self._seen(name, event_id, event):
            return None
        person = self._people.get(name)
        if event["event_type"] != "profile_update" and person is not None:
            window, count = person.rate
            count = count + 1 if window == self.now // self.rate_width else 1
            person.rate = self.now // self.rate_width, count
            if count > self.rate_limit:
                return self._refuse(REJECTED, record, "bot_rate")
        age = event.get("properties", {}).get("age")
        if age is not None and not isinstance(age, int) and self._book and self._book.content.get("attributes"):
            return self._refuse(REJECTED, record, "attribute_type")
        if person is None:
            person = self._people[name] = _Person(name)
            if event["event_type"] != "profile_update":
                person.rate = self.now // self.rate_width, 1
        product, category, price = (event.get(key) for key in ("product_id", "category", "price"))
        fact = Happened(record.offset, time, event["event_type"], product, category, price, age)
        person.facts.append(fact)
        for condition in CONDITIONS.values():
            person.turns |= {fact.time + turn for turn in condition.turns if fact.time + turn > self.now}
        self._ask(person, self.now, "event")
        return None

    def _seen(self, name: str, event_id: str | None, event: dict[str, Any]) -> bool:
        """Whether it was there before: an id for as long as its window stands, a content for some seconds."""
        if event_id is not None:
            width = self.dedup_horizon // 2
            first = self._ids.get((name, event_id))
            # A window of half the horizon stands until the horizon has passed since its end.
            if first is not None and self.now // width <= first // width + 2:
                return True
            self._ids[name, event_id] = self.now
            return False
        content = (name, orjson.dumps(event, option=orjson.OPT_SORT_KEYS))
        last = self._contents.get(content)
        if last is not None and self.now - last <= self.content_horizon:
            return True
        self._contents[content] = self.now
        return False

    # -- books ----------------------------------------------------------------------------------------------------

    def _new_book(self, record: Stored) -> None:
        content = orjson.loads(record.value or b"")["book"]
        if any(segment["sql"] not in CONDITIONS for segment in content["segments"].values()):
            return self._refuse(DEAD, record, "bad_definitions")
        before = self._book
        if before is not None and before.content == content:
            return None
        missed = _Known(record.offset, self.now if self._met_facts else 0)
        texts = {segment["sql"] for segment in content["segments"].values()}
        held = before.known if before else {}
        self._book = _Book(
            self.now, content, {text: held.get(text, missed) for text in texts if CONDITIONS[text].reach}
        )
        old = before.segments if before else {}
        anew = {name for name, segment in self._book.segments.items() if old.get(name) != segment}
        for person in self._people.values():
            for name in [name for name in person.order if name not in self._book.segments]:
                self._say(person, name, "exited", self.now, "definition", None)
                person.order.remove(name)
            for name in list(person.standing):
                if name not in self._book.segments:
                    del person.standing[name]
                elif name in anew:
                    standing = person.standing[name]
                    standing.true_since = standing.left = None
            self._ask(person, self.now, "definition", anew)
        return None

    def _filled(self, record: Stored) -> None:
        fact, book = orjson.loads(record.value or b""), self._book
        texts = [self.names.get(key, "") for key in fact["keys"]]
        if book is None or fact["version"] != book.version:
            return
        if not all(text in book.known and fact["since"] < book.known[text].since for text in texts):
            return
        if fact["since"] < (self._times[fact["first"]] if fact["first"] else 0):
            self.untrue.append(f"{fact} says nothing is missing since then, and begins at {self._times[fact['first']]}")
        for text in texts:
            book.known[text] = _Known(fact["first"] - 1, fact["since"])
        for person in self._people.values():
            self._ask(person, self.now, "definition")

    # -- a customer -----------------------------------------------------------------------------------------------

    def _let_pass(self, person: _Person) -> None:
        while due := [turn for turn in person.turns if turn <= self.now]:
            instant = min(due)
            person.turns.discard(instant)
            self._ask(person, instant, "time")

    def _ask(self, person: _Person, at: int, cause: str, anew: Iterable[str] = ()) -> None:
        if self._book is None:
            return
        for name, segment in self._book.segments.items():
            condition = CONDITIONS[segment["sql"]]
            known = self._book.known.get(segment["sql"])
            facts = person.facts if known is None else [f for f in person.facts if f.offset > known.offset]
            true = condition.truth(person.facts, facts, at)
            enter_after, min_stay, cooldown = (
                _length(segment[wait]) if wait in segment else 0 for wait in ("enter_after", "min_stay", "cooldown")
            )
            standing = person.standing.setdefault(name, _Standing())
            standing.true_since = None if not true else at if standing.true_since is None else standing.true_since
            if standing.entered is not None:
                stays = true or (at < standing.entered + min_stay and name not in anew)
                if not stays:
                    standing.entered, standing.left = None, at
                    standing.true_since = None
                    person.order.remove(name)
                    self._say(person, name, "exited", at, cause, segment["sql"])
                    person.turns.add(at + cooldown)
                elif not true:
                    person.turns.add(standing.entered + min_stay)
            elif standing.true_since is not None:
                earliest = standing.true_since + enter_after
                if standing.left is not None:
                    earliest = max(earliest, standing.left + cooldown)
                if at >= earliest:
                    standing.entered = at
                    person.order.append(name)
                    self._say(person, name, "entered", at, cause, segment["sql"])
                else:
                    person.turns.add(earliest)
        person.turns = {turn for turn in person.turns if turn > at}

    def _say(self, person: _Person, segment: str, action: str, at: int, cause: str, text: str | None) -> None:
        since = None
        if text is not None and self._book is not None and (known := self._book.known.get(text)) is not None:
            since = known.since if known.since > max(0, at - CONDITIONS[text].reach) else None
        sequence = sum(said.customer == person.name for said in self.said) + 1
        self.said.append(Said(person.name, sequence, segment, action, at, cause, since))
