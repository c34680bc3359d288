"""Laws of the ledger, on a real Redis and without one: nothing is sent twice, nothing older after something newer."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.changes import ERASED, Change, Origin
from connectors.ledger import Erasure, Known, LedgerLost, Store, begun_of, mark_of
from connectors.ledgerstore import MemoryStore, RedisStore
from stream.embedded.process import free_ports
from stream.embedded.redis import redis_server
from tests.integration.conftest import Broker
from tests.integration.delivering import Bench, Metrics, deliverer, options, value
from tests.receiver import PATIENCE_SECONDS, Answer, Received, Receiver, receiving


@pytest.fixture
async def bench(broker: Broker) -> Bench:
    return await Bench(broker).create()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared() -> AsyncIterator[str]:
    """A Redis for the module; each test's destination has a name of its own there."""
    async with redis_server() as url:
        yield url


@pytest.fixture(params=["redis", "memory"])
def ledger(request: pytest.FixtureRequest, shared: str) -> dict[str, str]:
    """The settings of either."""
    return {"redis_url": shared} if request.param == "redis" else {}


def held(received: Receiver) -> Counter[str]:
    """How often each change was taken."""
    return Counter(change["id"] for one in received.accepted for change in one.changes)


def asked(change: bytes) -> str:
    return str(json.loads(change)["id"])


async def test_what_was_delivered_before_a_crash_is_not_sent_again(
    bench: Bench, ledger: dict[str, str], tmp_path: Path
) -> None:
    """Killed before anything was committed: only what was on its way may come twice, and every change has a receipt."""
    total, concurrency = 400, 8
    await bench.write([value(f"c{n % 20}", n // 20 + 1) for n in range(total)])
    path = tmp_path / "destinations.yaml"

    async def slowly(_: Received) -> Answer:
        await asyncio.sleep(0.01)
        return Answer()

    # With Redis nothing is even written before the crash; without it, receipts are all that is known.
    interval = 60.0 if ledger else 0.1
    async with receiving(slowly) as receiver:
        path.write_text(f"destinations:\n  crm: {{{options(receiver, f'concurrency: {concurrency}')}}}\n")
        for goal in (total // 2, total):
            told = bench.settings | ledger | {"commit_interval": interval if goal < total else 0.2}
            process = await deliverer(told, path)
            try:
                await receiver.until(lambda: len(held(receiver)) >= goal)  # noqa: B023
            finally:
                process.send_signal(signal.SIGKILL if goal < total else signal.SIGTERM)
                await process.wait()
    taken = held(receiver)
    assert len(taken) == total
    # 0.1 s of receipts that were not yet written, at 8 requests per 10 ms, and what was on its way.
    assert sum(taken.values()) - total <= concurrency * (1 if ledger else 15)
    assert {receipt.id for receipt in await bench.receipts()} == taken.keys()
    assert await bench.committed() == total


async def test_a_replay_never_puts_an_old_state_over_a_newer_one(bench: Bench, ledger: dict[str, str]) -> None:
    """After a restart, too; the newest is sent again where somebody asks for it, and the present state as well."""
    changes = [value("ann", sequence) for sequence in (1, 2, 3)]
    await bench.write(changes)
    first, second = Metrics(), Metrics()
    async with receiving() as receiver:
        async with bench.delivering(metrics=first, changed=ledger, crm=options(receiver)):
            await first.until(lambda: first.ended() == 3)
            await bench.redeliver(changes[0])
            await first.until(lambda: first.ended() == 4)
        async with bench.delivering(metrics=second, changed=ledger, crm=options(receiver)):
            await bench.redeliver(changes[1])
            await bench.redeliver(changes[2])
            await bench.redeliver(value("ann", 3, segment="other"), origin="resync")
            await bench.redeliver(value("bob", 1), destination="another")
            await second.until(lambda: second.ended() == 3)
    assert [one.changes[0]["sequence"] for one in receiver.accepted] == [1, 2, 3, 3, 3]
    assert (first.outcomes["crm"]["superseded"], second.outcomes["crm"]["superseded"]) == (1, 1)
    told = [(one.status, one.origin, one.sequence, one.segment) for one in await bench.receipts()]
    assert Counter(told) == {
        **{("delivered", "live", sequence, "vip"): 1 for sequence in (1, 2, 3)},
        **{("superseded", "replay", sequence, "vip"): 1 for sequence in (1, 2)},
        ("delivered", "replay", 3, "vip"): 1,
        ("delivered", "resync", 3, "other"): 1,
    }


async def test_redeliveries_wait_for_what_is_live_and_are_committed(bench: Bench, ledger: dict[str, str]) -> None:
    """A thousand of them hold up nobody, and a restart does not begin them again."""
    for number in range(100):
        await bench.redeliver(value(f"old{number}", 1))
    order: list[str] = []

    async def one_by_one(received: Received) -> Answer:
        order.append(received.changes[0]["customer_id"])
        if len(order) == 10:
            await bench.write([value(f"new{n}", 1) for n in range(20)])
            await metrics.until(lambda: metrics.pendings and metrics.pendings[-1] >= 110)
        return Answer()

    metrics, again = Metrics(), Metrics()
    async with receiving(one_by_one) as receiver:
        async with bench.delivering(metrics=metrics, changed=ledger, crm=options(receiver, "concurrency: 1")):
            await metrics.until(lambda: metrics.ended() == 120)
        async with bench.delivering(metrics=again, changed=ledger, crm=options(receiver)):
            await bench.write([value("last", 1)])
            await again.until(lambda: again.ended() == 1)
    assert all(customer.startswith("new") for customer in order[10:30])
    assert len(receiver.received) == 121


async def test_waiting_changes_coalesce_and_their_receipts_say_so(bench: Bench, ledger: dict[str, str]) -> None:
    """Also where the oldest is being retried; in the end each customer has the newest state."""
    await bench.write([value("stuck", 1), value("stuck", 2, segment="other")])
    broken = asyncio.Event()

    def fail_first(received: Received) -> Answer:
        first = received.changes[0]["customer_id"] == "stuck" and received.changes[0]["sequence"] == 1
        if first:
            broken.set()
        return Answer(503 if first else 204)

    metrics = Metrics()
    async with (
        receiving(fail_first) as receiver,
        bench.delivering(metrics=metrics, changed=ledger, crm=options(receiver, "coalesce: true", "retry_base: 0.3")),
    ):
        await broken.wait()
        await bench.write([value("stuck", sequence) for sequence in range(3, 9)])
        await metrics.until(lambda: metrics.ended() == 8)
    assert [(one.changes[0]["segment"], one.changes[0]["sequence"]) for one in receiver.accepted] == [
        ("other", 2),
        ("vip", 8),
    ]
    told = Counter(one.status for one in await bench.receipts())
    assert told == {"superseded": 6, "delivered": 2}
    assert await bench.committed() == 8


@pytest.mark.parametrize("segments", [("vip", "vip"), ("vip", "other", "vip")])
async def test_what_took_an_older_one_s_place_is_begun_before_it_leaves(
    bench: Bench, shared: str, tmp_path: Path, segments: tuple[str, ...]
) -> None:
    """And what leaves before it. Killed while that is on its way, all is read again, one by one: it is sent again, and
    nothing that was made needless.
    """
    path = tmp_path / "destinations.yaml"
    behind = [value("ann", number, segment) for number, segment in enumerate(segments, start=2)]
    # On all partitions, so on ann's. Those between her first and the others give that time to leave when read again.
    between, others = (
        [value(f"{name}{number}", 1) for number in range(count)] for name, count in (("b", 400), ("c", 40))
    )
    anns: list[int] = []
    all_read, on_its_way = asyncio.Event(), asyncio.Event()

    async def answer(received: Received) -> Answer:
        change = received.changes[0]
        if change["customer_id"] != "ann":
            return Answer()
        anns.append(change["sequence"])
        match anns:
            case [1]:
                await bench.write([*between, *behind, *others])
                await all_read.wait()
                return Answer(503)
            case [1, 3]:
                on_its_way.set()
                await asyncio.sleep(3_600)  # it was applied, and nobody hears of it
        return Answer()

    last = 1 + len(segments)
    async with receiving(answer) as receiver:
        more = "coalesce: true", "retry_base: 0.05", "timeout: 60"
        path.write_text(f"destinations:\n  crm: {{{options(receiver, *more)}}}\n")
        await bench.write([value("ann", 1)])
        for number in (signal.SIGKILL, signal.SIGTERM):
            changed = (
                {"commit_interval": 60.0} if number is signal.SIGKILL else {"commit_interval": 0.2, "fetch_records": 2}
            )
            told = bench.settings | {"redis_url": shared} | changed
            process = await deliverer(told, path)
            try:
                if number is signal.SIGKILL:
                    await receiver.until(lambda: len(held(receiver)) == len(between) + len(others))
                    all_read.set()
                    async with asyncio.timeout(30):
                        await on_its_way.wait()
                else:
                    await receiver.until(
                        lambda: any(
                            (one.changes[0]["customer_id"], one.changes[0]["sequence"]) == ("ann", last)
                            for one in receiver.accepted
                        )
                    )
            finally:
                process.send_signal(number)
                await process.wait()
    assert anns == [1, 3, *range(3, last + 1)]
    told_of = Counter((one.status, one.sequence) for one in await bench.receipts() if one.customer_id == "ann")
    assert told_of == {
        **{("superseded", sequence): 1 for sequence in (1, 2)},
        **{("delivered", sequence): 1 for sequence in range(3, last + 1)},
    }


async def test_a_redis_that_goes_away_and_comes_back_empty_loses_nothing(bench: Bench) -> None:
    """The destination waits and says so, goes on by itself, and knows from its receipts what it had delivered."""
    (port,) = free_ports(1)
    metrics = Metrics()
    changes = [value(f"c{n}", 1) for n in range(50)]
    async with receiving() as receiver:
        destination = options(receiver)
        async with redis_server(port=port) as url:
            running = bench.delivering(metrics=metrics, changed={"redis_url": url}, crm=destination)
            await running.__aenter__()
            await bench.write([value("ann", 1), value("ann", 2)])
            await metrics.until(lambda: metrics.ended() == 2)
        try:
            await bench.write(changes)
            await metrics.until(lambda: metrics.states["crm"] == ["active", "ledger_unavailable"])
            sent_without = len(receiver.received)
            async with redis_server(port=port):
                await metrics.until(lambda: metrics.ended() == 52)
                await bench.redeliver(value("ann", 1))
                await metrics.until(lambda: metrics.ended() == 53)
                await running.__aexit__(None, None, None)
        except BaseException:
            await running.__aexit__(None, None, None)
            raise
    assert sent_without <= 2 + 32  # what was taken in before, at most
    assert set(held(receiver).values()) == {1}
    assert metrics.states["crm"] == ["active", "ledger_unavailable", "active"]
    assert metrics.outcomes["crm"]["superseded"] == 1


async def test_somebody_whose_erasure_was_refused_is_numbered_anew_all_the_same(
    bench: Bench, ledger: dict[str, str]
) -> None:
    """What comes after it is not older than what was delivered before."""
    metrics = Metrics()

    def refuse(received: Received) -> Answer:
        return Answer(422 if json.loads(received.body)["type"] == "customer.erased" else 204)

    async with (
        receiving(refuse) as receiver,
        bench.delivering(metrics=metrics, changed=ledger, crm=options(receiver)),
    ):
        await bench.write([value("ann", sequence) for sequence in (1, 2, 3)])
        await metrics.until(lambda: metrics.ended() == 3)
        await bench.write_erasure("ann")
        await metrics.until(lambda: metrics.ended() == 4)
        await bench.write([value("ann", 1)])
        await metrics.until(lambda: metrics.ended() == 5)
    assert [one.changes[0]["sequence"] for one in receiver.accepted] == [1, 2, 3, 1]
    assert metrics.outcomes["crm"] == {"delivered": 4, "refused": 1, "dead_lettered": 1}


async def test_an_erasure_that_is_sent_again_is_repeated_where_nobody_heard_of_its_end(
    bench: Bench, ledger: dict[str, str], tmp_path: Path
) -> None:
    """Killed while it is on its way. Who comes back then stays, also where it is asked for once more."""
    path = tmp_path / "destinations.yaml"
    kinds: list[str] = []

    async def answer(received: Received) -> Answer:
        kinds.append(json.loads(received.body)["type"])
        match kinds.count("customer.erased"):
            case 1:
                return Answer(422)
            case 2 if kinds[-1] == "customer.erased":
                await asyncio.sleep(3_600)  # it was done, and nobody hears of it
        return Answer()

    async def until_ended(count: int, committed: int = 0) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await bench.receipts()) < count or await bench.committed() < committed:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # only the broker knows

    async with receiving(answer) as receiver:
        path.write_text(f"destinations:\n  crm: {{{options(receiver, 'timeout: 60')}}}\n")
        await bench.write([value("ann", 1)])
        for number in (signal.SIGKILL, signal.SIGTERM):
            told = bench.settings | ledger
            process = await deliverer(told, path)
            try:
                if number is signal.SIGKILL:
                    await until_ended(1)
                    erasure = await bench.write_erasure("ann")
                    await until_ended(2, committed=2)  # else it is read again as well, and sent as what is live
                    await bench.redeliver(erasure, fact="erasure")
                    await receiver.until(lambda: kinds.count("customer.erased") == 2)
                else:
                    await receiver.until(lambda: kinds.count("customer.erased") == 3)
                    await bench.write([value("ann", 1, at="2026-01-02T05:00:00Z")])
                    await until_ended(4)
                    await bench.redeliver(erasure, fact="erasure")
                    await until_ended(5)
            finally:
                process.send_signal(number)
                await process.wait()
    assert kinds == ["segment.entered", *["customer.erased"] * 3, "segment.entered"]
    assert Counter((one.status, one.origin) for one in await bench.receipts()) == {
        ("delivered", "live"): 2,
        ("dead_lettered", "live"): 1,
        ("erased", "replay"): 2,
    }


async def test_what_is_live_and_what_is_sent_again_of_a_customer_meet_in_one_process(bench: Bench, shared: str) -> None:
    """Else an erasure that is sent again would delete what another process has on its way."""
    customers = [f"c{number}" for number in range(24)]  # on every partition
    gate, all_on_their_way, on_its_way = asyncio.Event(), asyncio.Event(), set[str]()
    erased: list[str] = []

    async def answer(received: Received) -> Answer:
        customer = received.changes[0]["customer_id"]
        if json.loads(received.body)["type"] == "customer.erased":
            erased.append(customer)
        elif customer in customers:
            on_its_way.add(customer)
            if len(on_its_way) == len(customers):
                all_on_their_way.set()
            await gate.wait()
        return Answer()

    several = [Metrics(), Metrics(), Metrics()]
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving(answer))
        for metrics in several:
            await stack.enter_async_context(
                bench.delivering(metrics=metrics, changed={"redis_url": shared}, crm=options(receiver, "timeout: 60"))
            )
        sequence = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(metrics.ended() for metrics in several):
                sequence += 1
                await bench.write([value(f"before-{customer}", sequence) for customer in customers])
                await asyncio.sleep(0.2)  # the group has to come together
        await bench.write([value(customer, 1) for customer in customers])
        async with asyncio.timeout(PATIENCE_SECONDS):
            await all_on_their_way.wait()
        for customer in customers:
            fields = {"id": "e" * 32, "customer_id": customer, "at": "2026-01-02T03:00:00Z", "profile": {}}
            await bench.redeliver(json.dumps(fields).encode(), fact="erasure")
        superseded = Counter[str]()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while superseded.total() + len(erased) < len(customers):
                superseded = Counter(one.customer_id for one in await bench.receipts() if one.status == "superseded")
                await asyncio.sleep(0.05)
        gate.set()
    assert (sorted(superseded), erased) == (sorted(customers), [])


async def test_a_redis_that_lost_its_memory_is_noticed(bench: Bench, shared: str) -> None:
    """While it runs, before the next change is let in."""
    metrics = Metrics()
    client = redis.asyncio.from_url(shared)
    async with (
        receiving() as receiver,
        bench.delivering(metrics=metrics, changed={"redis_url": shared}, crm=options(receiver)),
    ):
        await bench.write([value("ann", sequence) for sequence in (1, 2, 3)])
        await metrics.until(lambda: metrics.ended() == 3)
        await client.flushall()
        await bench.redeliver(value("ann", 2))
        await metrics.until(lambda: metrics.ended() == 4)
    await client.aclose()
    assert [one.changes[0]["sequence"] for one in receiver.accepted] == [1, 2, 3]


# The two stores.

PLACES = {0: 0, 1: 0}


def of(customer: str, segment: str, sequence: int, offset: int = 0, origin: Origin = "live") -> Change:
    place = len(customer) % 2, offset
    if not segment:
        fields = (f"e{offset}", customer, "", ERASED, f"2026-01-02T03:04:{sequence:02}Z", 0, b"", *place)
        return Change(*fields, origin=origin)
    return Change("id", customer, segment, "entered", "", sequence, b"", *place, origin=origin)


@settings(max_examples=40, deadline=None)
@example(groups=[[(of("a", "", 1), True), (of("a", "vip", 2), False)], [(of("a", "", 1, origin="replay"), False)]])
@given(
    groups=st.lists(
        st.lists(
            st.tuples(
                st.builds(
                    of,
                    st.sampled_from(["a", "bb", "ü{}", ""]),
                    st.sampled_from(["vip", "x y", ""]),
                    st.integers(1, 59),
                    st.one_of(st.integers(0, 2), st.integers(0, 2**40)),
                    st.sampled_from(["live", "resync"]),
                ),
                st.booleans(),
            ),
            max_size=12,
        ),
        max_size=6,
    )
)
def test_redis_and_memory_know_the_same(shared: str, groups: list[list[tuple[Change, bool]]]) -> None:
    """Whatever is begun and delivered, in whatever order."""

    async def run() -> None:
        client = redis.asyncio.from_url(shared)
        stores: list[Store] = [RedisStore(client, uuid.uuid4().hex, 60.0), MemoryStore()]
        for store in stores:
            await store.adopt(PLACES, PLACES)
            for partition in PLACES:
                await store.rebuilt(partition, 0, 0)
        every = [change for group in groups for change, _ in group]
        for group in groups:
            for store in stores:
                # What is sent again is never begun.
                await store.mark(
                    [begun_of(one) if begun and one.origin == "live" else mark_of(one) for one, begun in group]
                )
            first, second = [await store.look(every) for store in stores]
            assert first == second
        await client.aclose()

    asyncio.run(run())


async def test_a_ledger_of_a_version_that_kept_no_ids_is_understood(shared: str) -> None:
    """Whose erasure was the last it does not say, but whether anything followed."""
    client = redis.asyncio.from_url(shared)
    store = RedisStore(client, "no-ids", 60.0)
    await store.adopt({0: 0}, {0: 10})
    await store.rebuilt(0, 0, 0)
    erasure, again = of("aa", "", 5, 3), of("aa", "", 5, 7, "replay")
    await client.hset("livesegments:ledger:{no-ids}:0:aa", "", f"3 {erasure.at} begun")
    known = Erasure(3, erasure.at, begun=True)
    assert await store.look([again]) == [Known(0, known)]
    await store.mark([mark_of(again)])
    assert await store.look([again]) == [Known(0, known)]
    await store.mark([mark_of(of("aa", "vip", 1, 4))])
    assert await store.look([again]) == [Known(0, known, 1, followed=True)]
    await store.mark([mark_of(erasure)])
    assert await store.look([again]) == [Known(0, Erasure(3, erasure.at, id=erasure.id))]
    await client.aclose()


async def test_a_topic_that_began_again_has_a_ledger_of_its_own(shared: str) -> None:
    """Else everything of the new one would be older than what the old one had."""
    client = redis.asyncio.from_url(shared)
    store = RedisStore(client, "began-again", 60.0)
    assert await store.adopt({0: 0}, {0: 10}) == {0: 0}
    await store.rebuilt(0, 0, 0)
    await store.mark([mark_of(of("aa", "vip", 7))])
    await store.note({0: 10})
    assert await RedisStore(client, "began-again", 60.0).adopt({0: 10}, {0: 12}) == {}
    again = RedisStore(client, "began-again", 60.0)
    assert await again.adopt({0: 0}, {0: 3}) == {0: 0}
    await again.rebuilt(0, 0, 0)
    (known,) = await again.look([of("aa", "vip", 1)])
    assert known.sequence == 0
    await client.aclose()


async def test_a_ledger_that_says_less_than_was_committed_has_lost_something(shared: str) -> None:
    """A snapshot that was an hour old, say: at a start, and while it runs."""
    client = redis.asyncio.from_url(shared)
    store = RedisStore(client, "lost", 60.0)
    await store.adopt({0: 0}, {0: 10})
    await store.rebuilt(0, 0, 0)
    await store.note({0: 8})
    assert await RedisStore(client, "lost", 60.0).adopt({0: 9}, {0: 10}) == {0: 0}
    await client.hset("livesegments:ledger:{lost}", "0", "3")
    with pytest.raises(LedgerLost):
        await store.look([of("aa", "vip", 1)])
    await client.delete("livesegments:ledger:{lost}")
    await store.note({0: 9})  # which must not hide the loss
    with pytest.raises(LedgerLost):
        await store.look([of("aa", "vip", 1)])
    await client.aclose()


async def test_what_was_marked_is_forgotten_after_a_while(shared: str) -> None:
    """Redis does not grow for ever."""
    client = redis.asyncio.from_url(shared)
    store = RedisStore(client, "ttl", 3600.0)
    await store.adopt({0: 0}, {0: 0})
    await store.rebuilt(0, 0, 0)
    await store.mark([mark_of(of("aa", "vip", 1)), mark_of(of("bb", "", 1))])
    keys = [key async for key in client.scan_iter("livesegments:ledger:{ttl}*")]
    assert len(keys) == 3
    assert all([0 < await client.ttl(key) <= 3600 for key in keys])
    await client.aclose()


async def test_a_note_that_overtakes_a_look_is_no_loss(shared: str) -> None:
    """They travel on connections of their own, and the look's answer may be the older one."""
    client = redis.asyncio.from_url(shared)
    store = RedisStore(client, "overtaken", 60.0)
    await store.adopt({0: 0, 1: 0}, {0: 0, 1: 0})
    await store.note({0: 5})  # not yet adopted, so not yet known: says nothing
    await store.rebuilt(0, 0, 0)
    await store.rebuilt(1, 0, 0)
    many = [of("aa", f"s{n}", 1) for n in range(900)]
    for offset in range(1, 200):
        looking = asyncio.create_task(store.look(many))
        await asyncio.sleep(0)
        await asyncio.gather(looking, store.note({0: offset}))
    await client.aclose()
