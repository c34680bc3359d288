"""Where the ledger is kept: in this process, or in Redis.

In Redis there is a hash per destination and customer, segment → sequence, that expires long after `segment-changes` has
forgotten the changes; under the empty name stands the last erasure, under `ID` its id, and under `LIVE` the newest live
change. Beside them, per destination, a hash says up to where each partition is covered (the last commit, noted before
it is made). Where that says less than what was noted or committed, or nothing, Redis has lost something, and
`deliveries` is read again: what was begun it does not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import redis.asyncio

from connectors.changes import ERASED, Change
from connectors.ledger import LIVE, NOTHING, Erasure, Known, LedgerLost, Mark

ID = "\x02"
"""Where Redis keeps the last erasure's id, beside the segments."""

GROUP = 1_000
"""Customers per call: so that no script keeps Redis busy for more than some milliseconds."""


@dataclass
class _Partition:
    customers: dict[str, dict[str, int]] = field(default_factory=dict)
    erasures: dict[str, Erasure] = field(default_factory=dict)
    position: int = 0
    """Offset in `deliveries` up to which it was read."""


class MemoryStore:
    """For one replica. Outlives the deliverer that uses it, so that only what is new is read again. A new process
    knows from `deliveries` what was delivered, and not what was begun.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    async def adopt(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> Mapping[int, int]:
        # What another owner wrote meanwhile is read, and what is nobody's here any more is forgotten.
        self._partitions = {partition: self._partitions.get(partition, _Partition()) for partition in committed}
        return {partition: held.position for partition, held in self._partitions.items()}

    async def rebuilt(self, partition: int, deliveries: int, committed: int) -> None:
        self._partitions[partition].position = deliveries

    async def look(self, wanted: Sequence[Change]) -> Sequence[Known]:
        found = []
        for change in wanted:
            held = self._partitions[change.partition]
            customer = held.customers.get(change.customer_id)
            erasure = held.erasures.get(change.customer_id)
            if customer is None and erasure is None:
                found.append(NOTHING)
            else:
                sequences = customer or {}
                followed = change.action == ERASED and bool(sequences)
                found.append(Known(sequences.get(change.segment, 0), erasure, sequences.get(LIVE, 0), followed))
        return found

    async def mark(self, marks: Sequence[Mark]) -> None:
        for each in marks:
            held = self._partitions.get(each.partition)
            if held is None:  # given up meanwhile
                continue
            if each.erasure is not None:
                known = held.erasures.get(each.customer_id)
                if not each.live:
                    if known is not None and known.id == each.erasure.id:
                        held.erasures[each.customer_id] = replace(known, begun=False)
                elif known is None or known.offset <= each.erasure.offset:
                    held.erasures[each.customer_id] = each.erasure
                    held.customers.pop(each.customer_id, None)
                continue
            customer = held.customers.setdefault(each.customer_id, {})
            for name in (each.segment, LIVE) if each.live else (each.segment,):
                if each.sequence > customer.get(name, 0):
                    customer[name] = each.sequence

    async def note(self, committed: Mapping[int, int]) -> None:
        pass  # a process that forgets is a process that reads `deliveries`


_LOOK = """
local covered = redis.call('HMGET', KEYS[1], 'epoch', unpack(cmsgpack.unpack(ARGV[2])))
local prefix = KEYS[1] .. ':' .. (covered[1] or '0') .. ':'
local found = {}
for number, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = prefix .. each[1]
  local known = redis.call('HMGET', key, each[2], '', '\\1', '\\2')
  local since = each[2] == '' and redis.call('HLEN', key) - (known[2] and 1 or 0) - (known[4] and 1 or 0) or 0
  if known[1] or known[2] or known[3] or since > 0 then
    found[#found + 1] = {
      number, tonumber(known[1] or '0') or 0, known[2] or '', tonumber(known[3] or '0'), known[4] or '', since > 0
    }
  end
end
table.remove(covered, 1)
for number, offset in ipairs(covered) do covered[number] = tonumber(offset or '-1') end
return cmsgpack.pack({covered, found})
"""

_MARK = """
local prefix = KEYS[1] .. ':' .. (redis.call('HGET', KEYS[1], 'epoch') or '0') .. ':'
for _, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key, segment, sequence = prefix .. each[1], each[2], each[3]
  local function raise(name)
    if sequence > (tonumber(redis.call('HGET', key, name) or '0') or 0) then
      redis.call('HSET', key, name, string.format('%d', sequence))
    end
  end
  if segment == '' then
    local known = redis.call('HGET', key, '')
    if not each[5] then
      if known and redis.call('HGET', key, '\\2') == each[6] then
        redis.call('HSET', key, '', (string.gsub(known, ' begun$', '')))
      end
    elseif not known or tonumber(string.match(known, '^%S+')) <= sequence then
      redis.call('DEL', key)
      redis.call('HSET', key, '', string.format('%d %s', sequence, each[4]), '\\2', each[6])
    end
  else
    raise(segment)
    if each[5] then raise('\\1') end
  end
  redis.call('EXPIRE', key, ARGV[2])
end
return ''
"""

_NOTE = """
for partition, offset in pairs(cmsgpack.unpack(ARGV[1])) do
  local known = redis.call('HGET', KEYS[1], partition)
  if known and tonumber(known) < offset then redis.call('HSET', KEYS[1], partition, string.format('%d', offset)) end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return ''
"""
"""Only where the partition is known: to note what was lost would hide that it was."""

_RESTART = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', string.format('%d', epoch + 1))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return ''
"""
"""The topic began again: so do the sequences. What was known expires by itself."""


class RedisStore:
    """For all replicas of a destination. `group` is its consumer group: unique among installations that share a Redis
    and a broker; `ttl` is in seconds.
    """

    def __init__(self, client: redis.asyncio.Redis, group: str, ttl: float, prefix: str = "livesegments:") -> None:
        self._redis = client
        self._key = f"{prefix}ledger:{{{group}}}"  # the braces: one slot of a Redis Cluster
        self._ttl = round(ttl)
        self._look = client.register_script(_LOOK)
        self._mark = client.register_script(_MARK)
        self._note = client.register_script(_NOTE)
        self._restart = client.register_script(_RESTART)
        self._noted: dict[int, int] = {}

    async def adopt(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> Mapping[int, int]:
        covered = await self._covered(committed)
        if any(offset > ends.get(partition, offset) for partition, offset in covered.items()):
            await self._restart(keys=[self._key], args=[self._ttl])
            covered = {}
        self._noted = {p: offset for p, offset in covered.items() if offset >= max(committed[p], self._noted.get(p, 0))}
        return {partition: 0 for partition in committed if partition not in self._noted}

    async def _covered(self, partitions: Mapping[int, int]) -> dict[int, int]:
        if not partitions:
            return {}
        offsets: Sequence[Any] = await self._redis.hmget(self._key, [str(partition) for partition in partitions])
        return {p: int(offset) for p, offset in zip(partitions, offsets, strict=True) if offset is not None}

    async def rebuilt(self, partition: int, deliveries: int, committed: int) -> None:
        await self._redis.hset(self._key, str(partition), str(committed))
        await self._redis.expire(self._key, self._ttl)
        self._noted[partition] = committed

    async def look(self, wanted: Sequence[Change]) -> Sequence[Known]:
        found = [NOTHING] * len(wanted)
        for start in range(0, len(wanted), GROUP):
            group = wanted[start : start + GROUP]
            partitions = sorted({change.partition for change in group})
            noted = {p: self._noted.get(p, 0) for p in partitions}  # what is noted meanwhile, the answer may not know
            asked = msgspec.msgpack.encode([(change.customer_id, change.segment) for change in group])
            places = msgspec.msgpack.encode([str(partition) for partition in partitions])
            answer: bytes = await self._look(keys=[self._key], args=[asked, places])
            covered, known = msgspec.msgpack.decode(answer)
            lost = [
                partition for partition, offset in zip(partitions, covered, strict=True) if offset < noted[partition]
            ]
            if lost:
                raise LedgerLost(lost)
            for number, sequence, erasure, live, erased, followed in known:
                found[start + number - 1] = Known(int(sequence), _erasure(erasure, erased), int(live), followed)
        return found

    async def mark(self, marks: Sequence[Mark]) -> None:
        for start in range(0, len(marks), GROUP):
            entries = msgspec.msgpack.encode([_entry(each) for each in marks[start : start + GROUP]])
            await self._mark(keys=[self._key], args=[entries, self._ttl])

    async def note(self, committed: Mapping[int, int]) -> None:
        moved = {p: offset for p, offset in committed.items() if p in self._noted and offset > self._noted[p]}
        if not moved:
            return
        entries = msgspec.msgpack.encode({str(partition): offset for partition, offset in moved.items()})
        await self._note(keys=[self._key], args=[entries, self._ttl])
        self._noted.update(moved)


def _entry(marked: Mark) -> tuple[str, str, int, str, bool, str]:
    if marked.erasure is not None:
        text = f"{marked.erasure.at} begun" if marked.erasure.begun else marked.erasure.at
        return marked.customer_id, "", marked.erasure.offset, text, marked.live, marked.erasure.id
    return marked.customer_id, marked.segment, marked.sequence, "", marked.live, ""


def _erasure(text: str | bytes, erased: str | bytes) -> Erasure | None:
    if not text:
        return None
    offset, at, *begun = _text(text).split(" ")
    return Erasure(int(offset), at, bool(begun), _text(erased))


def _text(said: str | bytes) -> str:
    return said.decode() if isinstance(said, bytes) else said
