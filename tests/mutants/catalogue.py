"""Bugs that somebody could write into the protocol tomorrow. Every one of them must be caught."""

from __future__ import annotations

from tests.mutants.planting import Mutant

_HELD, _HOST = "stream.engine.held:Held", "stream.engine.host:Host"
_STATE, _CORE = "stream.core.state", "stream.core.membership:Membership"
_PROCESS = "stream.core.partition:Partition.process"
_WAIT_FOR_CHANGES = """        end = await sent.acknowledged()
        self._left_at(sent, end)
"""
_WAIT_FOR_STATE = """    for sent in states:
        self._alone(sent, await sent.acknowledged())
"""
_CHECK_STAMP = """        elif customer.offset >= offset:
            out.skipped += 1  # a replay: the record already covers this fact, and its changes have left
            continue
"""
_REMEMBER_ID = """        event_id = fact.event_id
        if event_id is not None:"""

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "state is written before the changes are acknowledged",
        f"{_HELD}.checkpoint",
        ((_WAIT_FOR_CHANGES, "        pass\n"),),
    ),
    Mutant(
        "the checkpoint record does not wait for the customers",
        f"{_HELD}.checkpoint",
        ((_WAIT_FOR_STATE, ""),),
    ),
    Mutant(
        "the checkpoint record is written first",
        f"{_HELD}.checkpoint",
        (
            (
                "    states: list[Sent] = []\n",
                "    states: list[Sent] = []\n"
                "    (early,) = await self._state_writes.append(\n"
                "        self._topics.state, self.number, [cp.record(read_back)]\n"
                "    )\n"
                "    await early.acknowledged()\n",
            ),
        ),
    ),
    Mutant(
        "Y is the end of the topic while a replay is still catching up",
        f"{_HELD}.checkpoint",
        (("(end, self._strange, unmet)", "(end, self._strange)"),),
    ),
    Mutant(
        "the offset is committed beyond what the checkpoint covers",
        f"{_HELD}.checkpoint",
        (("return position + 1", "return self.partition.position + 1"),),
    ),
    Mutant(
        "a checkpoint is written while a fill is being swept",
        f"{_CORE}.filling",
        (("return any(edition.filled is not None for edition in self.editions)", "return False"),),
    ),
    Mutant(
        "nothing is read back",
        f"{_HELD}._not_said_yet",
        (("self._left.pop((change.customer_id, change.sequence), None)", "None"),),
        ((f"{_HELD}._end_of_replay", (('self._difference(b"(nothing)", value)', "pass"),)),),
    ),
    Mutant(
        "what is read back is not compared with the customer's sequence",
        "stream.engine.recovery:Recovery.load",
        (("if customer is None or said.sequence > customer.sequence:", "if customer is None:"),),
    ),
    Mutant(
        "recovery reads from the committed end instead of from X + 1",
        f"{_HELD}.read_on",
        (("return max(self.partition.position + 1, self._events_start)", "return max(0, self._replay_end)"),),
    ),
    Mutant(
        "a failed produce is taken for done",
        "stream.engine.writes:Sent.acknowledged",
        (
            (
                "    return int((await self.future).offset) + self.records",
                "    try:\n"
                "        return int((await self.future).offset) + self.records\n"
                "    except Exception:\n"
                "        return 0",
            ),
        ),
    ),
    Mutant(
        "changes leave in batches that may overtake each other",
        f"{_HELD}._emit",
        (("for change in changes\n", "for change in reversed(changes)\n"),),
    ),
    Mutant(
        "chunks of ids count without the checkpoint that names them",
        f"{_STATE}:Loader._restore_chunks",
        (("if last <= covered and not partition.ids", "if not partition.ids"),),
    ),
    Mutant(
        "chunks of ids are forgotten by a log time that no checkpoint has written yet",
        f"{_STATE}:Checkpointer._tombstones",
        (("over <= self._over_at", "over <= self._partition.log_time + 3 * 3_600_000_000"),),
    ),
    Mutant(
        "of two records of a customer the last one holds",
        f"{_STATE}:Loader.apply",
        (("if known is None or _age(customer) >= _age(known):", "if True:"),),
    ),
    Mutant(
        "a customer that is touched during a checkpoint is put into bytes late",
        f"{_CORE}.touch",
        (("if self.pending and self.pending.pop(name, None) is not None:", "if False:"),),
    ),
    Mutant(
        "a customer that is touched during a checkpoint is in neither",
        f"{_CORE}.touch",
        (("    self.touched[name] = customer\n", "    if not self.pending:\n        self.touched[name] = customer\n"),),
    ),
    Mutant(
        "a replayed fact is folded in again, whatever the stamp says",
        _PROCESS,
        ((_CHECK_STAMP, ""),),
    ),
    Mutant(
        "a skipped fact's id is not remembered",
        _PROCESS,
        (
            (
                _REMEMBER_ID,
                "        if customer is not None and customer.offset >= offset:\n            continue\n" + _REMEMBER_ID,
            ),
        ),
    ),
    Mutant(
        "deadlines stamp the customer with the record that has not been folded yet",
        _PROCESS,
        (("membership.fire(now, offset - 1, changes)", "membership.fire(now, offset, changes)"),),
    ),
    Mutant(
        "the heap of deadlines is not built again",
        f"{_CORE}.restore",
        (("self.heap.append((customer.wake, name))", "pass"),),
    ),
    Mutant(
        "customers under an older book are forgotten by a recovery",
        f"{_CORE}.restore",
        (("self._laggards = iter(behind) if behind or len(self.editions) > 1 else None", "self._laggards = None"),),
    ),
    Mutant(
        "an exit carries the time of the record that let it pass",
        f"{_CORE}._pass_time",
        (("self.evaluate(customer, segments, instant, _TIME", "self.evaluate(customer, segments, log_time, _TIME"),),
    ),
    Mutant(
        "an exit carries the wall clock",
        f"{_CORE}._pass_time",
        (
            (
                "self.evaluate(customer, segments, instant, _TIME",
                "self.evaluate(customer, segments, instant + __import__('time').time_ns() % 1000, _TIME",
            ),
        ),
    ),
    Mutant(
        "an id is drawn at random",
        "stream.core.changes:change_id",
        (
            (
                'name = customer_id.encode("utf-8", "surrogatepass")',
                "name = __import__('os').urandom(8)",
            ),
        ),
    ),
    Mutant(
        "a worker keeps, sweeps and ticks what it no longer owns",
        f"{_HOST}.assigned",
        (
            ("if p in partitions}, {}", "if p in partitions}, self._held"),
            ("self._held = dict(kept)", "self._held = {**self._held, **kept}"),
        ),
    ),
    Mutant(
        "a stop leaves the group while changes are on their way",
        f"{_HOST}._leave",
        (("await self._writes.settled()", "pass"),),
    ),
    Mutant(
        "a worker keeps its state warm although another has written since",
        f"{_HOST}.assigned",
        (("if ends[p] == self._ends.get(p)}", "if True}"),),
    ),
    Mutant(
        "the ends that are kept warm by are read after the commit that shows they were ours",
        f"{_HOST}.revoked",
        (
            ("                ends = await self._recovery.ends(set(covered))\n", ""),
            (
                "await self.offsets.commit(covered)\n",
                "await self.offsets.commit(covered)\n                ends = await self._recovery.ends(set(covered))\n",
            ),
        ),
    ),
    Mutant(
        "of a content that two owners wrote the time in the last range holds",
        f"{_STATE}:Loader._restore_chunks",
        (
            ("in self._chunks.items():", "in sorted(self._chunks.items()):"),
            ("max(at, contents.get(item, at))", "at"),
        ),
    ),
    Mutant(
        "a batch of an earlier epoch is processed",
        "stream.engine.delivery:Delivery.hand_over",
        (("if batch.epoch != self.epoch:", "if self.epoch < 0:"),),
    ),
    Mutant(
        "a moved record gets a new origin",
        f"{_HELD}._emit",
        (('/{self.number}/{moved.record.offset}".encode()', '/{self.number}/{id(moved)}".encode()'),),
    ),
    Mutant(
        "a fill is taken from what was read before its fact was written",
        f"{_HELD}._prepare",
        (
            (
                "    await self._fills.advance(fill, self.number, record.offset, share=1.0, going=going)\n",
                "    fill.until = record.offset\n",
            ),
        ),
    ),
    Mutant(
        "what a book misses is forgotten by a checkpoint",
        f"{_STATE}:Checkpointer.begin",
        (("dict(e.since)", "dict.fromkeys(e.since, 0)"),),
    ),
    Mutant(
        "what holds a customer back is forgotten by a checkpoint",
        f"{_CORE}.encode_pending",
        (
            (
                "encoded.append((name, encode(customer)))",
                "customer.holds = None; encoded.append((name, encode(customer)))",
            ),
        ),
    ),
    Mutant(
        "a spare worker begins what nobody ends",
        f"{_HOST}.assigned",
        (("    if self._held:\n", "    if True:\n"),),
    ),
    Mutant(
        "state that a zombie wrote is not noticed",
        f"{_HELD}._alone",
        (("if known is not None and begin > known:", "if False:"),),
    ),
    Mutant(
        "state that a zombie wrote is not written over after a recovery",
        f"{_STATE}:Loader.apply",
        (("self._overtaken.add(key)", "pass"),),
    ),
    Mutant(
        "Y jumps over what another owner has said",
        f"{_HELD}.checkpoint",
        (("(end, self._strange, unmet)", "(end, unmet)"),),
    ),
    Mutant(
        "after a recovery what was read meanwhile is committed, too",
        f"{_HOST}._checkpoints",
        (("await self._commit(held, held.covered)", "await self._commit(held, held.read_on)"),),
    ),
    Mutant(
        "of two records of a customer with one stamp the last one holds",
        f"{_STATE}:Loader.apply",
        (("_age(customer) >= _age(known)", "customer.offset >= known.offset"),),
    ),
    Mutant(
        "a fill remembers for another book than it speaks of",
        "stream.engine.fills:Fills.begin",
        (("self._of(partition, edition, fact)", "self.of(partition, fact)"),),
    ),
)
