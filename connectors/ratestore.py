"""Where what was granted is remembered: in this process, or in Redis for all replicas together.

The script in Redis is `connectors.rates` once more, in Lua: reading, deciding and counting are one atomic step, for
all windows of all limits that a request counts against, by the clock of Redis.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import redis.asyncio

from connectors.rates import BUCKETS, COOLDOWN, LEAST_SHARE, STEP, Grant, Meter, Window, take

Limits = Sequence[tuple[str, Sequence[Window]]]
"""The limits that a request counts against, by name, with the windows that are published."""


class Rates(Protocol):
    """Names are of an account's limit. Raises `redis.exceptions.RedisError` where Redis does not answer."""

    async def take(self, limits: Limits, want: int) -> Grant:
        """Grant up to `want` requests."""

    async def hold(self, name: str, seconds: float) -> None:
        """Grant nothing for that long."""

    async def throttle(self, name: str, windows: Sequence[Window], measured: float) -> None:
        """Lower the rate; `measured` (per second) is the one at which it was too high."""


class MemoryRates:
    """For one replica."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = defaultdict(Meter)

    async def take(self, limits: Limits, want: int) -> Grant:
        meters = [self._meters[name] for name, _ in limits]
        return take(meters, [windows for _, windows in limits], want, time.monotonic())

    async def hold(self, name: str, seconds: float) -> None:
        meter = self._meters[name]
        meter.hold = max(meter.hold, time.monotonic() + seconds)

    async def throttle(self, name: str, windows: Sequence[Window], measured: float) -> None:
        self._meters[name].throttle(windows, measured, time.monotonic())


_SCRIPT = f"""
local BUCKETS, STEP, LEAST, COOLDOWN = {BUCKETS}, {STEP!r}, {LEAST_SHARE!r}, {COOLDOWN!r}
local op, argument, declared = ARGV[1], tonumber(ARGV[2]), cmsgpack.unpack(ARGV[3])
local now = tonumber(ARGV[4])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function load(key)
  local packed = redis.call('GET', key)
  if packed then return cmsgpack.unpack(packed) end
  return {{hold = 0, share = 1, at = -1e18, learned = 0, marks = {{}}}}
end

local function save(key, state, windows)
  local keep = math.max(300, state.hold - now + 60)
  for _, window in ipairs(windows) do keep = math.max(keep, window[2] * 1.5) end
  redis.call('SET', key, cmsgpack.pack(state), 'EX', math.ceil(keep))
end

local function current_share(state)
  local most = 1
  if state.learned > 0 then most = 2 end
  return math.min(most, state.share + math.max(0, now - state.at) * STEP)
end

local function settle(state, windows)
  if state.learned > 0 and (#windows > 0 or current_share(state) >= 2) then
    state.learned, state.share = 0, 1
  end
  if #windows == 0 and state.learned > 0 then
    windows = {{{{math.max(1, math.floor(state.learned)), 1}}}}
  end
  if #state.marks ~= #windows then
    state.marks = {{}}
    for number = 1, #windows do state.marks[number] = {{}} end
  end
  return windows
end

local function room(state, windows)
  local share, free, wait = current_share(state), nil, 0
  if state.hold > now then free, wait = 0, state.hold - now end
  for number, window in ipairs(windows) do
    local width = window[2] / BUCKETS
    local oldest = math.floor(now / width) - BUCKETS
    local marks, used = {{}}, 0
    for _, mark in ipairs(state.marks[number]) do
      if mark[1] >= oldest then
        marks[#marks + 1] = mark
        used = used + mark[2]
      end
    end
    state.marks[number] = marks
    local allowed = math.max(1, math.floor(window[1] * share))
    free = math.min(allowed - used, free or allowed)
    if used >= allowed then
      for _, mark in ipairs(marks) do
        used = used - mark[2]
        if used < allowed then
          wait = math.max(wait, (mark[1] + BUCKETS + 1) * width - now)
          break
        end
      end
    end
  end
  return free, wait
end

if op == 'hold' then
  local state = load(KEYS[1])
  state.hold = math.max(state.hold, now + argument)
  save(KEYS[1], state, declared[1])
  return ''
end

if op == 'throttle' then
  local state = load(KEYS[1])
  if now - state.at >= COOLDOWN then
    settle(state, declared[1])
    local share = current_share(state)
    if #declared[1] == 0 and state.learned == 0 then state.learned = math.max(1, argument) end
    state.share, state.at = math.max(LEAST, share / 2), now
    save(KEYS[1], state, declared[1])
  end
  return ''
end

local states, windows, granted, wait, limited, least = {{}}, {{}}, argument, 0, false, 1
for number, key in ipairs(KEYS) do
  states[number] = load(key)
  windows[number] = settle(states[number], declared[number])
  local free, until_then = room(states[number], windows[number])
  if free then
    limited = true
    granted = math.min(granted, free)
  end
  wait = math.max(wait, until_then)
  least = math.min(least, current_share(states[number]))
end
granted = math.max(0, granted)
if granted > 0 then
  wait = 0
  for number, key in ipairs(KEYS) do
    for each, window in ipairs(windows[number]) do
      local bucket = math.floor(now / (window[2] / BUCKETS))
      local marks = states[number].marks[each]
      local last = marks[#marks]
      if last and last[1] == bucket then
        last[2] = last[2] + granted
      else
        marks[#marks + 1] = {{bucket, granted}}
      end
    end
    if #windows[number] > 0 then save(key, states[number], windows[number]) end
  end
end
return cmsgpack.pack({{granted, wait, limited, least}})
"""


class RedisRates:
    """For all replicas that share a Redis. `prefix` begins every key."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str = "livesegments:") -> None:
        self._script = client.register_script(_SCRIPT)
        self._prefix = prefix

    async def take(self, limits: Limits, want: int, *, now: float = -1.0) -> Grant:
        """`now` (seconds) is for tests; else the clock of Redis decides."""
        answer = await self._run([name for name, _ in limits], "take", want, [windows for _, windows in limits], now)
        granted, wait, limited, share = msgspec.msgpack.decode(answer)
        return Grant(int(granted), float(wait), bool(limited), float(share))

    async def hold(self, name: str, seconds: float, *, now: float = -1.0) -> None:
        await self._run([name], "hold", seconds, [()], now)

    async def throttle(self, name: str, windows: Sequence[Window], measured: float, *, now: float = -1.0) -> None:
        await self._run([name], "throttle", measured, [windows], now)

    async def _run(
        self, names: Sequence[str], op: str, argument: float, declared: Sequence[Sequence[Window]], now: float
    ) -> Any:
        windows = msgspec.msgpack.encode([[[w.requests, w.seconds] for w in each] for each in declared])
        keys = [f"{self._prefix}rates:{name}" for name in names]
        return await self._script(keys=keys, args=[op, repr(float(argument)), windows, repr(now)])
