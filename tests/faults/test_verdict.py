"""Laws of the fault matrix itself: what is planted in a recorded run is found, and a clean run is clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import orjson
import pytest

from stream.core.config import CoreSettings
from tests.faults import verdict as verdicts
from tests.faults.contestants import FIRST_BOOK, PARTITIONS
from tests.faults.expected import Expected, by_core, by_oracle, by_stock_rules
from tests.faults.load import Load
from tests.faults.mailer import Mailbox
from tests.faults.stock_rules import RATE_LIMIT, RATE_SECONDS
from tests.faults.verdict import Verdict, judge_moved, judge_ours, judge_stock
from tests.faults.watch import Sample
from tests.simulation import books
from tests.simulation.log import DEAD, REJECTED, Stored

START_MS = 1_800_000_000_000
CORE = CoreSettings(rate_limit=RATE_LIMIT, rate_width=RATE_SECONDS * 1_000_000)


class Here(Executor):
    """Runs in this process what the matrix gives to a pool."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def stored(astray: bool) -> list[list[Stored]]:
    """Most of a minute of the load as a broker stores it, with a book before and a tick behind."""
    load = Load(3, PARTITIONS, 90.0, astray=astray)
    logs: list[list[Stored]] = [[] for _ in range(PARTITIONS)]

    def append(partition: int, at: int, key: bytes | None, value: bytes | None, headers: Any) -> None:
        logs[partition].append(Stored(len(logs[partition]), at, key, value, tuple(headers)))

    for partition in range(PARTITIONS):
        append(partition, START_MS, None, books.fact(FIRST_BOOK), [("fact", b"definitions")])
    for second in range(45):
        at = START_MS + 1000 * second
        for number, sent in enumerate((*load.events(90, float(second), at), *load.beats(at))):
            append(sent.partition, at + number, sent.key, sent.value, sent.headers)
    for partition in range(PARTITIONS):
        append(partition, START_MS + 90_000, None, b"{}", [("fact", b"tick")])
    return logs


class Run:
    """A crash-free run of one partition, as the topics would hold it; to be damaged."""

    def __init__(self) -> None:
        logs = stored(astray=False)
        # Robots are few: a partition in which one was.
        cores = [by_core(number, PARTITIONS, CORE, log)[0] for number, log in enumerate(logs)]
        self.number = next(n for n, core in enumerate(cores) if any(each[2] == "bot_rate" for each in core.refused))
        self.log, self.core = logs[self.number], cores[self.number]
        self.oracle = by_oracle(Here(), self.number, PARTITIONS, CORE, self.log)
        self.changes = [
            Stored(offset, due.at_ms, str(key[0]).encode(), due.value)
            for offset, (key, due) in enumerate(self.core.changes.items())
        ]
        self.refused = {
            topic: [
                Stored(n, START_MS, None, orjson.dumps({"offset": offset, "reason": reason}))
                for n, (where, offset, reason) in enumerate(sorted(self.core.refused))
                if where == topic
            ]
            for topic in (REJECTED, DEAD)
        }
        self.samples = [Sample(self.number, self.log[-1].offset + 1, len(self.changes))]

    def judge(self) -> Verdict:
        return judge_ours(self.number, PARTITIONS, self.core, self.oracle, self.changes, self.refused, self.samples)

    def kinds(self) -> set[str]:
        return set(self.judge().counts())


@pytest.fixture(scope="module")
def whole() -> Run:
    return Run()


@pytest.fixture
def run(whole: Run) -> Iterator[Run]:
    kept = whole.changes, whole.refused, whole.samples
    whole.changes, whole.refused, whole.samples = (
        list(whole.changes),
        {topic: list(each) for topic, each in whole.refused.items()},
        list(whole.samples),
    )
    yield whole
    whole.changes, whole.refused, whole.samples = kept


def test_a_run_that_nothing_happened_to_is_clean(run: Run) -> None:
    """And it is not empty: both actions, changes by events and by time, and both kinds of refusal are in it."""
    found = run.judge()
    assert found.findings == []
    assert found.twice == []
    assert found.changes == len(run.changes) > 100
    said = [orjson.loads(r.value or b"") for r in run.changes]
    assert {change["action"] for change in said} == {"entered", "exited"}
    assert {change["cause"]["kind"] for change in said} >= {"event", "time"}
    assert {"bot_user_agent", "bot_rate", "too_large"} <= {reason for _, _, reason in run.core.refused}
    assert {topic for topic, _, _ in run.core.refused} == {REJECTED, DEAD}


def test_an_erasure_is_no_change(run: Run) -> None:
    erased = Stored(len(run.changes), START_MS, b"c1", b'{"customer_id": "c1"}', (("fact", b"erasure"),))
    run.changes.insert(len(run.changes) // 2, erased)
    assert run.judge().findings == []


def test_a_change_that_is_missing_is_lost(run: Run) -> None:
    gone = run.changes.pop(len(run.changes) // 2)
    assert verdicts.LOST in run.kinds()
    assert any(orjson.loads(gone.value or b"")["customer_id"] in f.customer for f in run.judge().findings)


def test_a_change_that_the_log_does_not_say_is_a_phantom(run: Run) -> None:
    last = run.changes[-1]
    change = orjson.loads(last.value or b"")
    change["sequence"] += 1
    change["action"] = "exited" if change["action"] == "entered" else "entered"
    run.changes.append(Stored(len(run.changes), last.timestamp, last.key, orjson.dumps(change)))
    assert run.kinds() == {verdicts.PHANTOM}


def test_a_change_of_other_bytes_is_wrong(run: Run) -> None:
    change = run.changes[7]
    run.changes[7] = change._replace(value=(change.value or b"").replace(b'"evidence":{', b'"evidence":{"a":1,', 1))
    assert run.kinds() == {verdicts.WRONG}


def test_a_repeat_is_counted_and_one_with_other_bytes_is_wrong(run: Run) -> None:
    change = run.changes[7]
    run.changes.append(change)
    found = run.judge()
    assert (found.twice, found.findings) == ([change.timestamp], [])
    run.changes[-1] = change._replace(value=(change.value or b"").replace(b'"evidence":{', b'"evidence":{"a":1,', 1))
    assert run.kinds() == {verdicts.WRONG}


def test_changes_of_a_customer_that_swapped_places_are_out_of_order(run: Run) -> None:
    places: dict[bytes | None, int] = {}
    for at, record in enumerate(run.changes):
        if record.key in places:
            before = places[record.key]
            run.changes[before], run.changes[at] = run.changes[at], run.changes[before]
            break
        places[record.key] = at
    assert run.kinds() == {verdicts.ORDER}


@pytest.mark.parametrize("topic", [REJECTED, DEAD])
def test_refused_records_are_exactly_the_poison(run: Run, topic: str) -> None:
    kept = run.refused[topic].pop()
    assert run.kinds() == {verdicts.REFUSED}
    run.refused[topic] += [kept, kept]
    assert (run.kinds(), run.judge().refused_twice) == (set(), 1)
    run.refused[topic].append(Stored(0, START_MS, None, orjson.dumps({"offset": 1, "reason": "not_json"})))
    assert run.kinds() == {verdicts.REFUSED}


def test_an_offset_that_was_committed_before_its_changes_were_there_is_found(run: Run) -> None:
    due = run.core.changes[orjson.loads(run.changes[9].value or b"")["customer_id"], 1]
    run.samples.append(Sample(run.number, due.offset, 9))
    assert run.kinds() == set(), "its own record is not below the offset"
    at = max(d.offset for d in run.core.changes.values() if not d.swept)
    run.samples.append(Sample(run.number, at + 1, len(run.changes) - 1))
    assert run.kinds() == {verdicts.BEYOND}


def test_a_record_in_the_wrong_partition_has_to_come_again() -> None:
    logs = stored(astray=True)
    core, _ = by_core(0, PARTITIONS, CORE, logs[0])
    oracle = by_oracle(Here(), 0, PARTITIONS, CORE, logs[0])
    assert core.astray == oracle.astray != set()
    assert len(judge_moved(0, "events", oracle.astray, logs)) == len(oracle.astray)
    moved = [
        Stored(10_000 + n, START_MS, None, b"{}", (("origin", f"events/0/{offset}".encode()),))
        for n, offset in enumerate(sorted(oracle.astray))
    ]
    assert judge_moved(0, "events", oracle.astray, [*logs, moved]) == []


def stock(damage: Any = list, committed: int = 1 << 62) -> Verdict:
    log = stored(astray=False)[0]
    must = by_stock_rules(log)
    changes = [Stored(n, due.at_ms, None, due.value) for n, due in enumerate(must.changes.values())]
    return judge_stock(must, damage(changes), [Sample(0, len(log), len(changes))], committed=committed)


def wrong(changes: Sequence[Stored]) -> list[Stored]:
    change = orjson.loads(changes[3].value or b"")
    change["sequence"] += 1
    return [*changes[:3], changes[3]._replace(value=orjson.dumps(change)), *changes[4:]]


def test_the_stock_app_is_judged_by_its_own_rules_and_clean_where_nothing_happened() -> None:
    found = stock()
    assert (found.findings, found.twice) == ([], [])
    assert found.changes > 100
    assert set(stock(lambda changes: changes[1:]).counts()) == {verdicts.LOST, verdicts.BEYOND}
    assert verdicts.LOST not in stock(lambda changes: changes[:-1], committed=0).counts(), "not reached is not lost"
    assert len(stock(lambda changes: [*changes, changes[5]]).twice) == 1
    assert set(stock(wrong).counts()) == {verdicts.WRONG}


def test_what_follows_from_a_customers_first_finding_is_put_to_its_row() -> None:
    found = Verdict(
        [
            verdicts.Finding(verdicts.WRONG, "c1", 900, ""),
            verdicts.Finding(verdicts.LOST, "c1", 100, ""),
            verdicts.Finding(verdicts.LOST, "c2", 900, ""),
        ],
        [900],
    )
    rows = found.by_row(lambda at: "B1" if at < 500 else "B2")
    assert {name: dict(counts) for name, counts in rows.items()} == {
        "B1": {verdicts.WRONG: 1, verdicts.LOST: 1},
        "B2": {verdicts.LOST: 1, "twice": 1},
    }


def test_the_oracle_alone_says_what_is_expected() -> None:
    """Nothing of the core is asked: an oracle of nothing finds every change of the core a phantom."""
    run = Run()
    run.oracle = Expected(said={}, refused=run.oracle.refused)
    assert run.judge().counts()[verdicts.PHANTOM] == len(run.changes)


def test_core_and_oracle_have_to_refuse_the_same(run: Run) -> None:
    kept = run.core
    run.core = Expected(kept.changes, set(list(kept.refused)[1:]))
    try:
        assert run.kinds() == {verdicts.REFUSED}
    finally:
        run.core = kept


def test_the_platform_applies_an_id_once_and_tells_what_must_not_be() -> None:
    box = Mailbox("m", None)
    body = orjson.dumps({"data": {"id": "a", "customer_id": "c", "sequence": 1}})
    box.apply("a", body)
    box.apply("a", body)
    assert (len(box.applied), box.again, box.broken) == (1, 1, [])
    box.apply("a", body + b" ")
    box.ask_to_wait("b")
    box.came("b")
    assert len(box.broken) == 2
