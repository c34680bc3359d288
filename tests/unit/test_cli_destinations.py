"""Laws of ``livesegments destinations``, as far as they need no broker: listed, checked, asked, and shown unsent."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from connectors.platforms import discover
from stream.cli.app import app
from tests.platforms import servers
from tests.platforms.servers import PlatformServer, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = {"allow_http": True, "allow_private_addresses": True}
WEBHOOK = """destinations:
  crm:
    platform: webhook
    url: https://hooks.example.com/T0PS3CRETPATH
    secret: {env: CRM_SECRET}
    segments: [vip, cart]
"""
BOOK = "segments:\n  vip: {sql: view_count >= 1}\n  carts: {sql: cart_value > 0}\n"


@pytest.fixture(autouse=True)
def none_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings are the test's, and so is the folder; lines are long, so that none is broken."""
    for name in os.environ:
        if name.upper().startswith("LIVESEGMENTS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("CRM_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "destinations.yaml").write_text(WEBHOOK)
    (tmp_path / "segments.yaml").write_text(BOOK)


def run(*arguments: object) -> Result:
    """A command in this process; what it raises is a failure of the test."""
    result = CliRunner().invoke(app, ["destinations", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def declare(**options: Any) -> None:
    """The destinations file says this of one destination, ``here``."""
    Path("destinations.yaml").write_text(yaml.safe_dump({"destinations": {"here": options}}), "utf-8")


def at(server: PlatformServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination is this server, with the right credentials."""
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    declare(**server.options(), **LOOPBACK)


async def asked(*arguments: object) -> Result:
    """A command beside a server that lives in this process."""
    return await asyncio.to_thread(run, *arguments)


def every_platform() -> pytest.MarkDecorator:
    """One run for each server of the platforms' tests."""
    return pytest.mark.parametrize("kind", servers.discover().values(), ids=servers.discover().keys())


# -- platforms ----------------------------------------------------------------------------------------------


def test_every_platform_is_listed_with_what_a_segment_is_there() -> None:
    """With its page; for programs as JSON."""
    text = run("platforms").stdout
    listed = {each["platform"]: each for each in json.loads(run("platforms", "--json").stdout)}
    assert listed.keys() == discover().keys()
    for name, each in listed.items():
        assert f"{name}  {each['what']}" in text
        assert f"docs/platforms/{name}.md" in text
        for target in each["segment_is"]:
            assert f"    {target}" in text
    assert listed["webhook"]["segment_is"] == {}
    assert "attribute" in listed["braze"]["segment_is"]


# -- check --------------------------------------------------------------------------------------------------


def test_a_good_file_is_listed() -> None:
    """What each destination is, and no secret; by a name, or where the setting says."""
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["ok  crm  webhook, 2 segments, https://hooks.example.com", "1 destination"]
    assert run("check", "destinations.yaml").stdout == result.stdout


def test_every_mistake_is_said_with_its_line_and_no_value() -> None:
    """All at once; exit status 1."""
    Path("bad.yaml").write_text(WEBHOOK.replace("{env: CRM_SECRET}", SECRET) + "  b: {platform: pigeon}\n")
    result = run("check", "bad.yaml")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("error: bad.yaml:5: crm.secret")
    assert "never the secret itself" in first
    assert second.startswith("error: bad.yaml:7: b: 'platform' must be one of: ")
    assert SECRET not in result.output


def test_a_file_that_is_not_there_is_named_with_the_remedy() -> None:
    """By every command that needs one; exit status 2."""
    Path("destinations.yaml").unlink()
    for arguments in (("check",), ("try", "crm"), ("status",), ("pause", "crm"), ("resync", "crm")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: destinations.yaml: No such file or directory; --destinations names")


def test_segments_that_the_book_does_not_have_are_warnings() -> None:
    """With what may be meant; --strict takes them for mistakes."""
    result = run("check", "--segments", "segments.yaml")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: destination crm: no segment 'cart' is in the book, so nothing is sent: did you mean carts?\n"
    )
    assert run("check", "--segments", "segments.yaml", "--strict").exit_code == 1


def test_a_secret_that_is_not_set_here_is_a_warning_and_one_of_the_wrong_form_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file may be checked where the secrets are not; but --live and try need them."""
    monkeypatch.delenv("CRM_SECRET")
    result = run("check")
    assert result.exit_code == 0
    assert "warning: destination crm: the environment variable CRM_SECRET is not set or empty" in result.stderr
    assert result.stdout.splitlines() == ["ok  crm  webhook, 2 segments", "1 destination"]
    for arguments in (("check", "--live"), ("try", "crm")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "error: destination crm: the environment variable CRM_SECRET is not set" in result.stderr
    monkeypatch.setenv("CRM_SECRET", "whsec_short")
    result = run("check")
    assert result.exit_code == 1
    assert "error: destination crm: " in result.stderr
    assert "short" not in result.output.replace("too short", "")


@every_platform()
async def test_live_asks_each_platform_whether_it_takes_the_credentials(
    kind: type[PlatformServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so of the right ones, and refuses wrong ones; neither is ever printed, and no customer is sent."""
    async with kind() as server:
        at(server, monkeypatch)
        result = await asked("check", "--live")
        assert result.exit_code == 0
        assert result.stdout.startswith("ok  here  " if server.pings else "not asked  here  ")
        printed = result.output
        if server.pings:
            for name, value in server.wrong.items():
                monkeypatch.setenv(name, value)
            result = await asked("check", "--live")
            assert result.exit_code == 1
            assert result.stdout.startswith("refused  here  ")
            printed += result.output
        assert all(not server.members(segment) for segment in server.segments)
        for secret in [*server.environ.values(), *server.wrong.values()]:
            assert secret not in printed


async def test_live_says_who_does_not_answer_and_what_a_platform_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words; what it quotes of a secret is struck out."""
    async with servers.discover()["braze"]() as server:
        at(server, monkeypatch)
        (key,) = server.environ.values()
        server.fail(status(403, {"message": f"key {key} has no permission"}))
        result = await asked("check", "--live")
        assert result.exit_code == 1
        assert 'http_403 {"message":' in result.stdout.replace(" :", ":").replace('"message" :', '"message":')
        assert "key ********** has no permission" in result.stdout
    result = await asked("check", "--live")
    assert result.exit_code == 1
    assert result.stdout.startswith("unreachable  here  ")
    assert result.stdout.splitlines()[0].endswith(": no connection")


async def test_live_goes_through_what_guards_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of our own network is not asked unless it is allowed."""
    async with servers.discover()["braze"]() as server:
        at(server, monkeypatch)
        declare(**server.options(), allow_http=True)
        result = await asked("check", "--live")
        assert (result.exit_code, server.requests) == (1, [])
        assert result.stdout.startswith("refused  here  ")
        assert "not public" in result.stdout


# -- try ----------------------------------------------------------------------------------------------------


def test_try_shows_the_request_and_hides_what_is_secret() -> None:
    """Method, place, headers and the body as it would be; a webhook's path may be a secret."""
    result = run("try", "crm")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "1. POST https://hooks.example.com**********"
    assert "   content-type: application/json" in lines
    body = json.loads(lines[-1])
    assert (body["type"], body["data"]["segment"], body["data"]["customer_id"]) == ("segment.entered", "vip", "ann")
    assert "T0PS3CRETPATH" not in result.output
    assert SECRET not in result.output


@every_platform()
async def test_try_shows_every_step_of_every_platform_and_sends_none(
    kind: type[PlatformServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever enters and for whoever exits, of each segment; no secret in any form."""
    async with kind() as server:
        at(server, monkeypatch)
        printed = ""
        for segment in server.segments:
            for action in ("entered", "exited"):
                result = await asked("try", "here", "--segment", segment, "--action", action, "--json")
                assert result.exit_code == 0, result.output
                shown = json.loads(result.stdout)
                assert shown["outcome"] == "delivered"
                assert (shown["change"]["segment"], shown["change"]["action"]) == (segment, action)
                if server.tokens_at:
                    assert shown["requests"][0]["url"].endswith(server.tokens_at)
                printed += result.output
        text, curl = await asked("try", "here"), await asked("try", "here", "--curl")
        requests = json.loads((await asked("try", "here", "--json")).stdout)["requests"]
        assert curl.stdout.count("curl --request ") == len(requests)
        for number, request in enumerate(requests, 1):
            assert f"{number}. {request['method']} {request['url']}" in text.stdout
        for secret in server.environ.values():
            assert secret not in printed + text.output + curl.output
        assert server.requests == []


def test_try_takes_a_customer_of_yours() -> None:
    """A whole change or some of its fields; what the file does not say of the customer is unknown."""
    Path("change.json").write_text('{"customer_id": "bob", "profile": {"email": "bob@example.com"}, "sequence": 7}')
    result = run("try", "crm", "--customer-file", "change.json", "--segment", "cart", "--action", "exited", "--json")
    change = json.loads(result.stdout)["change"]
    assert (change["customer_id"], change["segment"], change["action"], change["sequence"]) == (
        "bob",
        "cart",
        "exited",
        7,
    )
    assert change["profile"] == {"email": "bob@example.com"}


def test_try_says_that_a_change_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer without what the platform knows them by; exit status 1."""
    monkeypatch.setenv("BRAZE_API_KEY", "5f4dcc3b-5aa7")
    declare(
        platform="braze",
        api_key={"env": "BRAZE_API_KEY"},
        identity={"email": "email", "external_id": None},
        segments={"vip": {"attribute": "is_vip"}},
    )
    Path("change.json").write_text('{"customer_id": "bob", "profile": {}}')
    assert run("try", "here").exit_code == 0
    result = run("try", "here", "--customer-file", "change.json")
    assert result.exit_code == 1
    assert result.stderr == "error: nothing would be sent: the change is refused, no_identity\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("try", "crn"), "destinations.yaml has no destination 'crn': did you mean crm?"),
        (("try", "zapier"), "destinations.yaml has no destination 'zapier': it has crm"),
        (("try", "crm", "--segment", "gold"), "the destination does not want segment 'gold'"),
        (("resync", "crm", "--segment", "gold"), "destination crm does not want segment 'gold'"),
        (("try", "crm", "--customer-file", "list.json"), "list.json holds no JSON object"),
        (("try", "crm", "--customer-file", "segments.yaml"), "segments.yaml is not JSON: "),
        (("try", "crm", "--customer-file", "odd.json"), "this is no segment change: "),
    ],
)
def test_what_cannot_be_shown_is_named_in_a_line(arguments: tuple[str, ...], said: str) -> None:
    """Exit status 2."""
    Path("list.json").write_text("[]")
    Path("odd.json").write_text('{"sequence": "one"}')
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {said}")
    assert len(result.stderr.splitlines()) == 1
