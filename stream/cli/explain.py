"""``livesegments explain``: why a customer is, or is not, in a segment."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from stream.cli.console import err, fail, out, settings
from stream.cli.options import AsJson, Servers

if TYPE_CHECKING:
    from stream.core.explanation import CustomerExplained, Held, SegmentExplained
    from stream.core.segments.explain import Explained

_TRUTHS = {True: ("true ", "green"), False: ("false", "red"), None: ("NULL ", "yellow")}
#: Changes between two signs of life.
_OFTEN = 500_000
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
#: Characters of a sub-query's text that stand before its value; the whole stands in the condition above.
_WIDEST = 60


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments``."""
    app.command("explain")(explain)


def explain(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    segment: Annotated[str | None, typer.Argument(help="One segment; without it, all of them.")] = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a customer is, or is not, in a segment.

    For each segment: since when, what decided, and when it will change by itself if nothing happens. For each of its
    conditions: whether it is true (NULL: it cannot be said), the values it reads, and until when that stays so by
    itself. Read from Kafka, as of the last checkpoint of the customer's partition, some seconds ago.
    """
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.explain import NotExplained
    from stream.explain import explain as explained_by

    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    needed = (topics.EVENTS, topics.STATE, topics.SEGMENT_CHANGES)
    partitions = reach(made, needed)[topics.name(topics.EVENTS, made.topic_prefix)]
    with broker_errors(made.kafka_bootstrap_servers):
        try:
            found = asyncio.run(explained_by(made, partitions, customer.strip(), segment, _progress()))
        except NotExplained as error:
            fail(str(error))
    if as_json:
        typer.echo(json.dumps(as_data(found), ensure_ascii=False, indent=2))
    else:
        print_explanation(found)


def as_data(found: CustomerExplained) -> dict[str, Any]:
    """The explanation for programs; instants are ISO 8601."""
    return {
        "customer_id": found.customer_id,
        "as_of": _iso(found.at),
        "partition": found.partition,
        "version": found.version,
        "version_since": _iso(found.in_force_since),
        "segments": [
            {
                "segment": segment.name,
                "member": segment.member,
                "since": None if segment.since is None else _iso(segment.since),
                "last_change": segment.last,
                "changes_by_itself": None
                if segment.turn is None
                else {"action": "enters" if segment.turn.enters else "exits", "at": _iso(segment.turn.at)},
                "held": None
                if segment.held is None
                else {"by": segment.held.by, "until": _iso(segment.held.since + segment.held.length)},
                "complete_since": None if segment.complete_since is None else _iso(segment.complete_since),
                "condition": _condition(segment.condition),
            }
            for segment in found.segments
        ],
        "newer_changes": list(found.newer),
    }


def _condition(explained: Explained) -> dict[str, Any]:
    return {
        "sql": explained.text,
        "truth": explained.truth,
        "values": dict(explained.values),
        "until": _until(explained.until),
        "parts": [_condition(part) for part in explained.parts],
    }


def print_explanation(found: CustomerExplained) -> None:
    """The explanation for people."""
    out.print(
        f"[bold]{escape(found.customer_id)}[/] as of {_iso(found.at)} (log time), "
        f"by version {found.version}, in force since {_iso(found.in_force_since)}"
    )
    for segment in found.segments:
        out.print()
        out.print(f"[bold]{segment.name}[/]: {escape(_membership(segment))}")
        if segment.last is not None:
            out.print(escape(f"  {_decided(segment.last)}"))
        if segment.held is not None:
            out.print(escape(f"  {_held(segment.held)}"))
        if segment.complete_since is not None:
            out.print(f"  counts only what arrived since {_iso(segment.complete_since)}: then it was first asked for")
        _print_condition(segment.condition, "  ")
    if found.newer:
        out.print()
        out.print("Said since then, and to be explained by the next checkpoint:")
        for change in found.newer:
            out.print(escape(f"  {change['action']} {change['segment']} at {change['at']}"))


def _print_condition(explained: Explained, indent: str) -> None:
    word, colour = _TRUTHS[explained.truth]
    out.print(f"{indent}[{colour}]{word}[/]  {escape(explained.text)}")
    for part in explained.parts:
        _print_condition(part, indent + "    ")
    if explained.parts:
        return
    for name, value in explained.values.items():
        shown = name if len(name) <= _WIDEST else f"{name[:_WIDEST]}…"
        out.print(escape(f"{indent}         {shown} = {_value(value)}"))
    if (until := _until(explained.until)) is not None:
        out.print(f"{indent}         stays so by itself until {until}")


def _membership(segment: SegmentExplained) -> str:
    words = "in" if segment.member else "out"
    if segment.since is not None:
        words += f" since {_iso(segment.since)}"
    elif segment.never:
        words += ", never in so far"
    elif not segment.member:
        words += ", for longer than changes are kept"
    if segment.turn is not None:
        words += f"; {'enters' if segment.turn.enters else 'leaves'} by itself at {_iso(segment.turn.at)}"
    elif (bound := _until(segment.seen)) is not None:
        words += f"; does not change by itself before {bound}"
    else:
        words += "; does not change by itself"
    return words


def _decided(change: dict[str, Any]) -> str:
    cause = change["cause"]
    match cause["kind"]:
        case "event":
            named = f" {cause['event_id']}" if cause.get("event_id") else ""
            why = f"by the {cause['event_type']} event{named} of {cause['event_time']}"
        case "time":
            why = "by time alone"
        case _:
            why = f"by the definitions of version {cause['definition_version']}"
    return f"{change['action']} {why} (change {change['id']}, number {change['sequence']})"


def _held(held: Held) -> str:
    until, since = _iso(held.since + held.length), _iso(held.since)
    match held.by:
        case "enter_after":
            return f"its condition has been true since {since}; by enter_after that counts from {until} on"
        case "min_stay":
            return f"its condition is not true, but by min_stay whoever entered at {since} stays until {until}"
        case "cooldown":
            return f"its condition is true, but by cooldown whoever left at {since} stays out until {until}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        said = dict(value)
        first = said.pop("count", None) if "count" in said else said.pop("value", None)
        more = " or more" if said.pop("or_more", False) else ""
        rest = ", ".join(f"{name} {_value(each)}" for name, each in said.items() if each is not None)
        return f"{_value(first)}{more}" + (f" ({rest})" if rest else "")
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return value if _INSTANT.fullmatch(value) else "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)


def _iso(at: int) -> str:
    from stream.core.time import format_iso

    return format_iso(at)


def _until(at: int) -> str | None:
    from stream.core.time import NEVER

    return None if at >= NEVER else _iso(at)


def _progress() -> Callable[[int], None]:
    """Signs of life on standard error for whoever waits at a terminal; a partition may hold millions of changes."""
    next_sign = _OFTEN

    def looked(records: int) -> None:
        nonlocal next_sign
        if err.is_terminal and records >= next_sign:
            next_sign = records + _OFTEN
            err.print(f"looked at {records:,} changes of the partition so far")

    return looked
