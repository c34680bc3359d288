"""Which changes may leave next: one lane per customer, one change of a customer on its way at a time. Pure.

A lane's first change waits in its group to be packed into a parcel, is on its way, or waits in a parcel to be
sent again; the others stand behind it. So a customer in retry holds up nobody else, and no later change of
theirs overtakes. Redeliveries wait behind everything that is live; but an erasure that is sent again stands in
line as a live one does: what comes after it must not be deleted by it.

What need not be sent any more ends *superseded*: an older change of one customer and segment, where the
newest is enough; everything of a customer who is to be forgotten; a redelivery that something newer overtook.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import count

from connectors.changes import ERASED, Change, instant_key

NEVER = float("inf")

ERASE = "\0erase"
"""The group of those who are to be forgotten: never in a parcel with changes."""

_ERASURE = ""
"""A live erasure's key among what waits; a segment's name is never empty."""

Waiting = dict[str | int, tuple[float, Change]]
"""Since when, and what; in the order in which it will leave."""


class Parcel:
    """Changes of different customers and one group that leave together. A retry has the same ids and bytes."""

    __slots__ = ("attempts", "changes", "firm", "first_failed", "group", "renewed", "untold")

    def __init__(
        self,
        changes: tuple[Change, ...],
        group: str = "",
        attempts: int = 0,
        first_failed: float | None = None,
        untold: frozenset[str] = frozenset(),
    ) -> None:
        self.changes = changes
        self.group = group
        self.attempts = attempts
        self.first_failed = first_failed
        self.untold = untold
        """Customers of whose changes the ledger has to hear before they leave."""
        self.firm = False
        """Its time was set by the platform: not brought forward when the destination recovers."""
        self.renewed = False
        """It was sent with a token that was no longer taken: with another one it must be."""

    def part(self, changes: tuple[Change, ...]) -> Parcel:
        """Some of its changes, with its past."""
        return Parcel(changes, self.group, self.attempts, self.first_failed, self.untold)

    def to_tell(self) -> list[Change]:
        """The changes that the ledger has to hear of before they leave."""
        return [change for change in self.changes if change.customer_id in self.untold]


class _Group:
    """First changes of lanes that may share a parcel."""

    __slots__ = ("entries", "leave_at", "living", "low", "name", "size")

    def __init__(self, name: str, low: bool) -> None:
        self.name, self.low = name, low
        self.entries: deque[_Entry] = deque()
        self.living = 0
        self.size = 0  # bytes
        self.leave_at = NEVER  # when they leave even if they fill no parcel


class _Entry:
    """A lane's first change, waiting to be packed. Dead (no change) once it was superseded."""

    __slots__ = ("change", "group", "lane", "since")

    def __init__(self, change: Change, lane: _Lane, group: _Group, since: float) -> None:
        self.change: Change | None = change
        self.lane, self.group, self.since = lane, group, since


class _Lane:
    __slots__ = ("behind", "entry", "low", "newest", "out", "owed")

    def __init__(self) -> None:
        self.entry: _Entry | None = None
        self.out: Change | None = None  # on its way, or in a parcel that is sent again
        self.behind: Waiting | None = None
        self.low: Waiting | None = None
        self.newest = 0  # sequence of the last live change that came
        self.owed = 0  # sequence of the newest that took an older one's place, and has not left


class Lanes:
    """Times are seconds of a monotonic clock."""

    def __init__(
        self,
        *,
        batch_size: int = 1,
        batch_bytes: int = 1_000_000,
        batch_wait: float = 0.0,
        coalesce: bool = False,
        group: Callable[[Change], str] = lambda _: "",
    ) -> None:
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._batch_wait = batch_wait if batch_size > 1 else 0.0
        self._coalesce = coalesce
        self._group_of = group
        self._lanes: dict[str, _Lane] = {}
        self._groups: dict[tuple[bool, str], _Group] = {}  # those with something in them
        self._again: list[tuple[float, int, Parcel]] = []
        self._due: dict[str, deque[Parcel]] = {}  # of those, whose time has come, by group
        self._tickets = count()
        self._superseded: list[Change] = []
        self._given_up: dict[str, tuple[int, int]] = {}  # partition and offset of a customer's last, nothing sent since
        self.pending: Counter[tuple[str, int]] = Counter()
        """Unfinished changes by topic and partition."""
        self.total = 0
        """Unfinished changes."""

    # In.

    def add(self, change: Change, now: float) -> None:
        """Take in a change; it stands behind its customer's earlier ones."""
        self.pending[change.topic, change.partition] += 1
        self.total += 1
        lane = self._lanes.get(change.customer_id)
        if lane is None:
            lane = self._lanes[change.customer_id] = _Lane()
            lane.newest = change.sequence if change.origin == "live" else 0
            self._put_first(lane, change, now)
        elif change.action == ERASED and change.origin != "live":
            self._add_another_try(lane, change, now)
        elif change.action == ERASED:
            since = min((since for since, _ in self._drop_all(lane)), default=now)
            lane.newest = lane.owed = 0  # numbers begin again
            self._stand(lane, change, since)
        elif change.origin == "live":
            if change.sequence < lane.newest:  # written twice, by a worker that had been paused
                self._end(change)
                return
            lane.newest = change.sequence
            self._drop_low(lane, lambda other: _makes_needless(change, other))
            since = self._drop_older(lane, change, now) if self._coalesce else now
            self._stand(lane, change, since)
        else:
            self._add_low(lane, change, now)

    def superseded(self) -> list[Change]:
        """The changes that have ended without being sent since this was last asked."""
        ended, self._superseded = self._superseded, []
        return ended

    def _stand(self, lane: _Lane, change: Change, since: float) -> None:
        """Put a live change or an erasure at the end of what is live."""
        entry = lane.entry
        if lane.out is None and not lane.behind and (entry is None or entry.group.low):
            if entry is not None and entry.change is not None:  # a redelivery steps back
                lane.low = {self._key(entry.change): (entry.since, entry.change), **(lane.low or {})}
                self._take_out(entry)
            self._put_first(lane, change, since)
            return
        if lane.behind is None:
            lane.behind = {}
        lane.behind[self._key(change)] = since, change

    def _add_another_try(self, lane: _Lane, erasure: Change, now: float) -> None:
        """Take in an erasure that was given up. What is live is newer than it, and so is a redelivery that may have
        arrived: the ledger would have ended what is older. A redelivery that only waits stands behind it.
        """
        line = list(_live(lane))
        if lane.out is not None and _is_low(lane.out):
            line.append(lane.out)
        followed = any(other.origin == "live" or _is_low(other) for other in line)
        if (followed and not erasure.even_if_returned) or any(other.id == erasure.id for other in line):
            self._end(erasure)
            return
        self._drop_low(lane, lambda other: _makes_needless(erasure, other))
        self._stand(lane, erasure, now)

    def _add_low(self, lane: _Lane, change: Change, now: float) -> None:
        if any(_makes_needless(other, change) for other in _live(lane)) or any(
            _is_older(change, other) for other in _redelivered(lane)
        ):
            self._end(change)
            return
        if self._coalesce:
            self._drop_low(lane, lambda other: other.segment == change.segment)
        if lane.low is None:
            lane.low = {}
        lane.low[self._key(change)] = now, change
        if lane.entry is None and lane.out is None:
            self._advance(lane)

    def _key(self, change: Change) -> str | int:
        if change.action == ERASED:
            return _ERASURE if change.origin == "live" else f"\0{change.id}"
        return change.segment if self._coalesce else change.offset

    def _put_first(self, lane: _Lane, change: Change, since: float) -> None:
        low = _is_low(change)
        name = ERASE if change.action == ERASED else self._group_of(change)
        group = self._groups.get((low, name))
        if group is None:
            group = self._groups[low, name] = _Group(name, low)
        lane.entry = _Entry(change, lane, group, since)
        group.entries.append(lane.entry)
        group.living += 1
        group.size += len(change.raw)
        leave_at = since + self._batch_wait
        if leave_at < group.leave_at:
            group.leave_at = leave_at

    # What need not be sent any more.

    def _drop_older(self, lane: _Lane, change: Change, now: float) -> float:
        """End what waits of the same segment. Gives since when the first of it waited."""
        since = now
        if lane.behind and (older := lane.behind.pop(change.segment, None)):
            since = older[0]
            self._replace(lane, older[1], change)
        entry = lane.entry
        if entry is not None and entry.change is not None and not entry.group.low:
            first = entry.change
            if first.segment == change.segment:
                since = entry.since
                self._take_out(entry)
                self._replace(lane, first, change)
                if lane.behind:
                    self._advance(lane)
        return since

    def _replace(self, lane: _Lane, change: Change, newer: Change) -> None:
        """End a live change whose place a newer one took."""
        lane.owed = max(lane.owed, newer.sequence)
        self._end(change)

    def _drop_all(self, lane: _Lane) -> list[tuple[float, Change]]:
        """End everything that waits."""
        ended = [*(lane.behind or {}).values(), *(lane.low or {}).values()]
        if lane.entry is not None and lane.entry.change is not None:
            ended.append((lane.entry.since, lane.entry.change))
            self._take_out(lane.entry)
        lane.behind = lane.low = None
        for _, change in ended:
            self._end(change)
        return ended

    def _drop_low(self, lane: _Lane, needless: Callable[[Change], bool]) -> None:
        """End the waiting redeliveries of which this holds. Leaves a lane whose first is to be put."""
        entry = lane.entry
        if entry is not None and entry.group.low and entry.change is not None and needless(entry.change):
            self._end(entry.change)
            self._take_out(entry)
        if lane.low:
            lane.low = self._without(lane.low, needless)

    def _without(self, waiting: Waiting, needless: Callable[[Change], bool]) -> Waiting | None:
        for _, change in waiting.values():
            if needless(change):
                self._end(change)
        return {key: each for key, each in waiting.items() if not needless(each[1])} or None

    def _replaced(self, change: Change) -> bool:
        """Need a change that failed not be sent again?"""
        lane = self._lanes[change.customer_id]
        if lane.behind:
            if _is_forgetting(lane):
                return True
            if self._coalesce and change.segment in lane.behind:
                return True
            if _is_low(change) and any(_makes_needless(other, change) for other in _live(lane)):
                return True
        return self._coalesce and bool(lane.low) and _is_low(change) and change.segment in (lane.low or {})

    def _take_out(self, entry: _Entry) -> None:
        """Take a first change out of its group."""
        change, group = entry.change, entry.group
        assert change is not None
        entry.change = entry.lane.entry = None
        self._gone(group, change)

    def _gone(self, group: _Group, change: Change) -> None:
        group.living -= 1
        group.size -= len(change.raw)
        if not group.living:
            del self._groups[group.low, group.name]

    def _end(self, change: Change) -> None:
        self.pending[change.topic, change.partition] -= 1
        self.total -= 1
        self._superseded.append(change)

    # Out.

    def take(
        self, now: float, *, may: Callable[[str], bool] = lambda _: True, fresh_first: bool = False
    ) -> Parcel | None:
        """The parcel that leaves now: one that is due again, else one packed from the lanes' first changes.

        `may` says whether a parcel of a group may leave, and is asked only about one that would. `fresh_first`
        turns the order round, for probes: what failed before may be what is wrong.
        """
        while self._again and self._again[0][0] <= now:
            parcel = heapq.heappop(self._again)[2]
            self._due.setdefault(parcel.group, deque()).append(parcel)
        if fresh_first:
            return self._fresh(now, may, False) or self._due_again(may) or self._fresh(now, may, True)
        return self._due_again(may) or self._fresh(now, may, False) or self._fresh(now, may, True)

    def _due_again(self, may: Callable[[str], bool]) -> Parcel | None:
        for name in list(self._due):
            parcels = self._due[name]
            while parcels:
                parcel = parcels[0]
                replaced = [change for change in parcel.changes if self._replaced(change)]
                if replaced:
                    self._leave_out(parcel, replaced)
                if not parcel.changes:
                    parcels.popleft()
                    continue
                if not may(name):
                    break
                parcels.popleft()
                if not parcels:
                    del self._due[name]
                return parcel
            if not parcels:
                del self._due[name]
        return None

    def _leave_out(self, parcel: Parcel, replaced: list[Change]) -> None:
        gone = {change.customer_id for change in replaced}
        parcel.changes = tuple(change for change in parcel.changes if change.customer_id not in gone)
        for change in replaced:
            lane = self._lanes[change.customer_id]
            newer = (lane.behind or {}).get(change.segment) if self._coalesce and change.origin == "live" else None
            if newer is None:  # by an erasure, of which the ledger hears in any case
                self._end(change)
            else:
                self._replace(lane, change, newer[1])
            self._step(lane, change.customer_id)

    def _fresh(self, now: float, may: Callable[[str], bool], low: bool) -> Parcel | None:
        ready = [group for group in self._groups.values() if group.low is low and self._is_ready(group, now)]
        if len(ready) > 1:
            ready.sort(key=lambda group: group.leave_at)
        for group in ready:
            if may(group.name):
                return self._pack(group)
        return None

    def _is_ready(self, group: _Group, now: float) -> bool:
        return now >= group.leave_at or group.living >= self._batch_size or group.size >= self._batch_bytes

    def _pack(self, group: _Group) -> Parcel:
        entries = group.entries
        changes: list[Change] = []
        untold: set[str] = set()
        size = 0
        while entries and len(changes) < self._batch_size:
            entry = entries[0]
            change = entry.change
            if change is not None:
                size += len(change.raw)
                if changes and size > self._batch_bytes:
                    break
                changes.append(change)
                entry.lane.entry, entry.lane.out = None, change
                self._gone(group, change)
                if self._is_owed(entry.lane, change):
                    untold.add(change.customer_id)
            entries.popleft()
        while entries and entries[0].change is None:
            entries.popleft()
        group.leave_at = entries[0].since + self._batch_wait if entries else NEVER
        return Parcel(tuple(changes), group.name, untold=frozenset(untold))

    def _is_owed(self, lane: _Lane, change: Change) -> bool:
        """Has the ledger to hear of a change before it leaves? Where something older of its customer has ended that no
        mark remembers: a newer one took its place, or it was given up. Asked when it first leaves: what ends so while
        it is on its way is newer.
        """
        if change.origin != "live":
            return False
        owed = change.action == ERASED or change.sequence <= lane.owed
        if change.sequence >= lane.owed:
            lane.owed = 0
        if self._given_up and self._given_up.pop(change.customer_id, None) is not None:
            owed = True
        return owed

    def next_due(self, now: float) -> float:
        """When something more than now may leave by time alone; NEVER if that does not happen."""
        again = self._again[0][0] if self._again else NEVER
        later = (group.leave_at for group in self._groups.values() if not self._is_ready(group, now))
        return min(again, min(later, default=NEVER))

    def is_ready(self, now: float) -> bool:
        """Is there anything that `take` might give?"""
        return (
            bool(self._due)
            or bool(self._again and self._again[0][0] <= now)
            or any(self._is_ready(group, now) for group in self._groups.values())
        )

    def ready(self) -> int:
        """About how many parcels could be made of what waits now."""
        waiting = sum(-(-group.living // self._batch_size) for group in self._groups.values())
        return waiting + sum(len(parcels) for parcels in self._due.values())

    # Back.

    def finish(self, change: Change, *, sent: bool = False) -> None:
        """A change has ended: the next of its customer steps forward.

        Where it was `sent`, nothing older of its customer and segment leaves any more: a redelivery may have
        overtaken what was read late. (What a live change overtakes has ended when that came.)
        """
        self.pending[change.topic, change.partition] -= 1
        self.total -= 1
        lane = self._lanes[change.customer_id]
        if _is_low(change):
            if sent and lane.behind and not _is_forgetting(lane):  # what is behind an erasure is numbered anew
                lane.behind = self._without(lane.behind, lambda other: _is_older(other, change))
        elif not sent and change.origin == "live":
            self._given_up[change.customer_id] = change.partition, change.offset
        self._step(lane, change.customer_id)

    def committed(self, offsets: Mapping[int, int]) -> None:
        """What was given up below these offsets, by partition, will not be read again."""
        if self._given_up:
            kept = self._given_up.items()
            self._given_up = {name: place for name, place in kept if place[1] >= offsets.get(place[0], 0)}

    def _step(self, lane: _Lane, customer: str) -> None:
        lane.out = None
        if lane.behind or lane.low:
            self._advance(lane)
        else:
            del self._lanes[customer]

    def _advance(self, lane: _Lane) -> None:
        waiting = lane.behind or lane.low
        assert waiting
        since, change = waiting.pop(next(iter(waiting)))
        self._put_first(lane, change, since)

    def park(self, parcel: Parcel, due: float, *, firm: bool = False) -> None:
        """Keep a parcel to be sent again at `due`; its customers wait."""
        parcel.firm = firm
        heapq.heappush(self._again, (due, next(self._tickets), parcel))

    def split(self, parcel: Parcel, changes: tuple[Change, ...], now: float) -> None:
        """Send apart the halves of what was refused as a whole: one bad of n costs 2·log2(n) requests."""
        middle = len(changes) // 2
        for half in (changes[:middle], changes[middle:]):
            self.park(parcel.part(half), now)

    def release(self, now: float) -> None:
        """The destination recovered: what waits by our own choice is due at once."""
        self._again = [(due if parcel.firm else min(due, now), n, parcel) for due, n, parcel in self._again]
        heapq.heapify(self._again)


def _is_low(change: Change) -> bool:
    """Does it wait behind everything that is live?"""
    return change.origin != "live" and change.action != ERASED


def _is_forgetting(lane: _Lane) -> bool:
    """Does a live erasure wait for what is on its way? One that is sent again ends nothing live."""
    return lane.behind is not None and _ERASURE in lane.behind


def _live(lane: _Lane) -> Iterable[Change]:
    """Everything of a lane that is live, and erasures, in order; a live erasure ends what it follows."""
    if lane.out is not None and not _is_low(lane.out) and not _is_forgetting(lane):
        yield lane.out
    if lane.entry is not None and lane.entry.change is not None and not lane.entry.group.low:
        yield lane.entry.change
    for _, change in (lane.behind or {}).values():
        yield change


def _redelivered(lane: _Lane) -> Iterable[Change]:
    """Everything of a lane that is sent again, and that no erasure follows."""
    if lane.out is not None and _is_low(lane.out) and not _is_forgetting(lane):
        yield lane.out
    if lane.entry is not None and lane.entry.change is not None and lane.entry.group.low:
        yield lane.entry.change
    for _, change in (lane.low or {}).values():
        yield change


def _makes_needless(live: Change, redelivery: Change) -> bool:
    """Is a redelivery overtaken by something live (or sent), or by an erasure?"""
    if live.action == ERASED:
        return instant_key(redelivery.at) <= instant_key(live.at)
    if live.origin != "live":  # equals were asked for on purpose
        return _is_older(redelivery, live)
    return redelivery.segment == live.segment and redelivery.sequence <= live.sequence


def _is_older(change: Change, than: Change) -> bool:
    return change.segment == than.segment and change.sequence < than.sequence
