"""``livesegments destinations``: what there is to send to, and whether what is declared can be sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import typer
from pydantic import BaseModel
from rich.markup import escape

from stream.cli import destinations_check, destinations_resync, destinations_state, destinations_try
from stream.cli.console import out
from stream.cli.options import AsJson
from stream.cli.versions import print_json

if TYPE_CHECKING:
    from connectors.platforms import Platform


def register(app: typer.Typer) -> None:
    """Hang the commands on ``livesegments destinations``."""
    app.command("platforms")(platforms)
    destinations_check.register(app)
    destinations_try.register(app)
    destinations_state.register(app)
    destinations_resync.register(app)


def platforms(as_json: AsJson = False) -> None:
    """List the platforms that segment changes can be sent to, and what a segment can be at each.

    What is listed is what `segments` in destinations.yaml maps a segment to. The page that is named tells how to get
    the credentials, what to write into destinations.yaml, and what the platform's limits are.
    """
    from connectors.platforms import discover

    found = [about(name, platform) for name, platform in discover().items()]
    if as_json:
        print_json(found)
        return
    for number, each in enumerate(found):
        if number:
            out.print()
        out.print(f"[bold]{each['platform']}[/]  {escape(each['what'])}")
        if not each["segment_is"]:
            out.print("    each change is sent as it is")
        widest = max(map(len, each["segment_is"]), default=0)
        for name, what in each["segment_is"].items():
            out.print(escape(f"    {name:<{widest}}  {what}".rstrip()))
        out.print(escape(f"    {each['page']}"))


def about(name: str, platform: Platform) -> dict[str, Any]:
    """A platform for people and programs."""
    lines = (getattr(platform, "__doc__", None) or name).strip().partition("\n\n")[0].split()
    return {
        "platform": name,
        "what": " ".join(lines),
        "segment_is": targets_of(platform),
        "page": f"docs/platforms/{name}.md",
    }


def targets_of(platform: Platform) -> dict[str, str]:
    """What a segment can be at the platform, and its description; nothing where changes are sent as they are."""
    pending: list[Any] = [platform.Config.model_fields["segments"].annotation]
    while pending:
        each = pending.pop(0)
        if isinstance(each, type) and issubclass(each, BaseModel):
            return {name: field.description or "" for name, field in each.model_fields.items()}
        pending += get_args(each)
    return {}
