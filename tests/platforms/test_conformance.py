"""The laws of delivery, for every platform that is discovered, against a server that behaves like it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from connectors.changes import Change, Origin
from connectors.destinations import load
from connectors.exchange import Answer, Request
from connectors.options import Hosted
from connectors.platforms import discover as platforms
from connectors.rates import Window
from connectors.results import Outcome, Result
from connectors.secrets import REDACTED, redact
from connectors.sender import Sender
from tests.platforms import servers
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import AGENT, Driver, driving
from tests.platforms.servers import GARBAGE, HANG, LOST, PASS, RESET, Fault, PlatformServer, garbage, status

DOCS = Path(__file__).parents[2] / "docs" / "platforms"

pytestmark = pytest.mark.parametrize("platform", sorted(platforms()))


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def shape(requests: Iterable[Request]) -> list[tuple[str, str, bytes]]:
    return [(request.method, request.url, request.body) for request in requests]


async def test_entering_and_leaving_is_what_the_platform_then_holds(server: PlatformServer, driver: Driver) -> None:
    """Whoever entered is in the segment there, whoever left is not, and each segment is its own."""
    results = await driver.settle([*entered("c1", "c2", "c3"), *entered("c2", "c4", segment="cart")])
    assert outcomes(results) == [Outcome.DELIVERED] * 5
    assert (server.members("vip"), server.members("cart")) == ({"c1", "c2", "c3"}, {"c2", "c4"})
    results = await driver.settle([*exited("c2"), *exited("c4", segment="cart"), *entered("c5", sequence=3)])
    assert outcomes(results) == [Outcome.DELIVERED] * 3
    assert (server.members("vip"), server.members("cart")) == ({"c1", "c3", "c5"}, {"c2"})


async def test_a_repeat_sends_the_same_and_leaves_the_same(server: PlatformServer) -> None:
    """A parcel that is delivered twice, by another process too, is the same bytes and the same state. Where customers
    are made by other requests, the first time is not compared.
    """
    sent = []
    for _ in range(3 if server.creates else 2):
        async with driving(server) as driver:
            assert outcomes(await driver.settle([*entered("c1", "c2"), *exited("c3")])) == [Outcome.DELIVERED] * 3
            sent.append(sorted(part for part in shape(driver.sent) if part[0] != "GET"))
            assert server.members("vip") == {"c1", "c2"}
            assert outcomes(await driver.settle([*entered("c1", "c2"), *exited("c3")])) == [Outcome.DELIVERED] * 3
    assert server.members("vip") == {"c1", "c2"}
    assert sent[-1] == sent[-2]


async def test_the_newest_of_a_customer_decides(server: PlatformServer, driver: Driver) -> None:
    """In, out, in and out again: what was said last holds."""
    for number in range(1, 5):
        action = "entered" if number % 2 else "exited"
        assert outcomes(await driver.settle([change("c1", "vip", action, number)])) == [Outcome.DELIVERED]
        assert server.members("vip") == ({"c1"} if number % 2 else set())


@pytest.mark.parametrize("origin", ["replay", "resync"])
async def test_what_is_sent_again_says_the_same_state(server: PlatformServer, driver: Driver, origin: Origin) -> None:
    """A replay of an entry, and a resync of an exit."""
    again = [change("c1", origin=origin), change("c2", action="exited", origin=origin)]
    for parcel in (entered("c2"), again, again):
        assert set(outcomes(await driver.settle(parcel))) == {Outcome.DELIVERED}
    assert server.members("vip") == {"c1"}


async def test_a_batch_may_be_as_large_as_the_platform_takes(server: PlatformServer, driver: Driver) -> None:
    customers = [f"c{number}" for number in range(server.max_items)]
    assert driver.options.batch_size == server.max_items
    results = await driver.settle(entered(*customers))
    assert outcomes(results) == [Outcome.DELIVERED] * len(customers)
    assert server.members("vip") == set(customers)


@pytest.mark.parametrize("customer", ["o'brien+a/b", "..", "c?x=1&y#z", "50%25 %2F", "Ünï cödé", 'q"u\\o'])
async def test_a_customer_may_be_called_anything(server: PlatformServer, driver: Driver, customer: str) -> None:
    """No character of an identifier steers the request elsewhere: it arrives, or is refused, and alone."""
    first, other = await driver.settle(entered(customer, "c2"))
    assert other.outcome is Outcome.DELIVERED
    assert first.outcome in (Outcome.DELIVERED, Outcome.REFUSED)
    assert server.members("vip") == ({customer, "c2"} if first.outcome is Outcome.DELIVERED else {"c2"})


async def test_one_bad_item_is_refused_alone(server: PlatformServer, driver: Driver) -> None:
    server.refused.add("c2")
    results = await driver.settle(entered("c1", "c2", "c3", "c4"))
    assert outcomes(results) == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED, Outcome.DELIVERED]
    assert results[1].reason and results[1].request is not None
    assert server.members("vip") == {"c1", "c3", "c4"}
    assert outcomes(await driver.settle(entered("c2", sequence=5))) == [Outcome.REFUSED]


async def test_who_has_no_identity_is_refused_alone(server: PlatformServer) -> None:
    if server.anonymous is None:
        pytest.skip("everybody has an identity here")
    async with driving(server, **server.anonymous) as driver:
        results = await driver.settle([*entered("c1"), change("c2", profile={}), *entered("c3")])
        assert [(result.outcome, result.reason) for result in results] == [
            (Outcome.DELIVERED, ""),
            (Outcome.REFUSED, "no_identity"),
            (Outcome.DELIVERED, ""),
        ]
        assert server.members("vip") == {"c1", "c3"}
        count = len(server.sent())
        assert outcomes(await driver.settle([change("c2", profile={}, sequence=2)])) == [Outcome.REFUSED]
        assert len(server.sent()) == count


async def test_beyond_the_limits_it_waits_as_long_as_it_is_told(server: PlatformServer) -> None:
    """Whatever the platform counts first, what it took is delivered and the rest is retried after its wait."""
    for taken in range(3):
        server.quota = (Window(taken, 7.0),)
        async with driving(server) as driver:
            customers = entered("c1", "c2", sequence=taken + 1)
            results = await driver.deliver(customers)
            assert set(outcomes(results)) <= {Outcome.DELIVERED, Outcome.RETRY}
            assert taken or set(outcomes(results)) == {Outcome.RETRY}
            for one, result in zip(customers, results, strict=True):
                if result.outcome is Outcome.DELIVERED:
                    assert one.customer_id in server.members("vip")
                elif server.throttle_tells:
                    assert result.after is not None and 0 < result.after <= 8
            server.quota = ()
            assert outcomes(await driver.settle(customers)) == [Outcome.DELIVERED] * 2
            assert server.members("vip") == {"c1", "c2"}


def hasty(driver: Driver) -> Sender:
    """One that does not wait long for an answer."""
    return Sender(driver.options.model_copy(update={"timeout": 0.4}))


FAULTS = [
    status(500, b"<h1>Internal Server Error</h1>"),
    status(503, {"message": "later"}),
    status(429, b""),
    RESET,
    LOST,
    GARBAGE,
    HANG,
]
FORBIDDEN = status(
    403,
    {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "no permission", "message": "no"},
    content_type="application/problem+json",
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}{fault.status}")
async def test_what_may_heal_is_retried_wherever_it_breaks(platform: str, fault: Fault) -> None:
    """Broken at each of its requests in turn, a delivery loses nothing, says delivered only of what is, and
    heals when it is repeated.
    """
    parcel = [change("c1"), change("c2")]
    for position in range(await _requests_of(platform, parcel)):
        async with servers.discover()[platform]() as server, driving(server) as driver, hasty(driver) as sender:
            await driver.prepare()
            server.fail(*[PASS] * position, fault)
            patient, driver.sender = driver.sender, sender if fault is HANG else driver.sender
            results = await driver.deliver(parcel)
            driver.sender = patient
            assert set(outcomes(results)) <= {Outcome.DELIVERED, Outcome.RETRY}, (position, results)
            for one, result in zip(parcel, results, strict=True):
                if result.outcome is Outcome.DELIVERED:
                    assert one.customer_id in server.members("vip"), (position, results)
                else:
                    assert result.reason and result.request is not None, (position, results)
            if position == 0 and not (fault is GARBAGE and server.silent):
                assert Outcome.RETRY in outcomes(results)
            assert outcomes(await driver.settle(parcel)) == [Outcome.DELIVERED] * 2, position
            assert server.members("vip") == {"c1", "c2"}


async def _requests_of(platform: str, parcel: Sequence[Change]) -> int:
    async with servers.discover()[platform]() as server, driving(server) as driver:
        assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED] * len(parcel)
        return len(server.sent())


def _places(number: str) -> bytes:
    """Errors of the item of this number, as the platforms word them."""
    fields = (f"contacts[{number}].email", f"members_to_add item {number}", f"members_to_remove item {number}")
    errors = [{"field": field, "message": "x", "source": {"pointer": f"/data/{number}/id"}} for field in fields]
    return json.dumps({"errors": errors, "message": f"Invalid at index {number}", "code": "invalid_parameter"}).encode()


def _costs(number: str) -> bytes:
    """What a request has cost and leaves, as Shopify words it, and times to wait."""
    left = f'{{"maximumAvailable":{number},"currentlyAvailable":{number},"restoreRate":{number}}}'
    cost = f'{{"requestedQueryCost":{number},"actualQueryCost":{number},"throttleStatus":{left}}}'
    return f'{{"data":{{}},"extensions":{{"cost":{cost}}},"retry_after":{number},"expires_in":{number}}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"7", b'"x"', b'{"errors":[5],"results":7,"data":[null]}', b"\xff\xfe", b"[" * 10_000),
        *(_places("7"), _places("9" * 5_000), _costs("9" * 400)),
    ],
)
async def test_no_answer_makes_it_stumble(platform: str, body: bytes) -> None:
    """Bodies of every shape, in answers good and bad, at every request: each change gets its result."""
    parcel = [change("c1"), change("c2")]
    for position in range(await _requests_of(platform, parcel)):
        for fault in (garbage(body), *(status(code, body) for code in (200, 207, 400, 409, 413, 422))):
            async with servers.discover()[platform]() as server, driving(server) as driver:
                server.fail(*[PASS] * position, fault)
                assert len(await driver.deliver(parcel)) == 2


async def test_wrong_credentials_pause_the_destination(server: PlatformServer) -> None:
    async with driving(server, server.wrong) as driver:
        results = await driver.settle(entered("c1", "c2"))
        assert outcomes(results) == [Outcome.PAUSE] * 2
        assert server.members("vip") == set()
    async with driving(server) as driver:
        assert outcomes(await driver.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2


async def test_what_is_forbidden_pauses_the_destination(platform: str) -> None:
    """403 at any request speaks of the account, not of the change: nothing is dead-lettered."""
    parcel = [change("c1"), change("c2")]
    for position in range(await _requests_of(platform, parcel)):
        async with servers.discover()[platform]() as server, driving(server) as driver:
            server.fail(*[PASS] * position, FORBIDDEN)
            results = await driver.deliver(parcel)
            assert set(outcomes(results)) <= {Outcome.DELIVERED, Outcome.PAUSE}
            assert Outcome.PAUSE in outcomes(results)


async def test_a_token_that_was_revoked_is_renewed(server: PlatformServer, driver: Driver) -> None:
    if not server.tokens_at:
        pytest.skip("it has no access tokens")
    assert outcomes(await driver.settle(entered("c1"))) == [Outcome.DELIVERED]
    for _ in range(3):
        assert outcomes(await driver.settle(entered("c2"))) == [Outcome.DELIVERED]
    assert len(server.requests) - len(server.sent()) == 1, "one token serves until it ends"
    server.revoke()
    driver.now += 1_800
    assert outcomes(await driver.settle(entered("c3"))) == [Outcome.DELIVERED]
    assert server.members("vip") == {"c1", "c2", "c3"}
    driver.now += 90_000
    assert outcomes(await driver.settle(entered("c4"))) == [Outcome.DELIVERED]
    server.fail(*[status(401, {"message": "no"})] * 20)
    assert outcomes(await driver.settle(entered("c5"))) == [Outcome.PAUSE], "no token is taken"


async def test_secrets_are_shown_nowhere(server: PlatformServer, driver: Driver) -> None:
    """Not by reprs, not in URLs and headers once they are redacted, though the platform echoes them all."""
    await driver.settle(entered("c1", "c2"))
    connector = driver.connector
    shown = [repr(connector), repr(driver.options), connector.endpoint, connector.account]
    for request in list(driver.sent):
        echo = json.dumps([request.url, dict(request.headers), request.body.decode("utf-8", "replace")])
        shown += [repr(request), redact(echo, connector.hidden)]
        for name in ("authorization", "api-key", "x-shopify-access-token"):
            if name in request.headers:
                assert REDACTED in redact(request.headers[name], connector.hidden), name
        server.fail(status(400, echo.encode()))
        results = await driver.deliver([change("c1", sequence=7)])
        shown.append(redact(repr(results), connector.hidden))
    for secret in server.environ.values():
        for text in shown:
            assert secret not in text
    assert re.fullmatch(r"https?://[^/@?]+", connector.endpoint)


async def test_a_delivery_can_be_shown_to_its_end_without_sending(server: PlatformServer, driver: Driver) -> None:
    connector = driver.connector
    conversations = [connector.prepare(driver.now), connector.deliver(entered("c1", "c2"), driver.now)]
    conversations += [connector.deliver(exited("c1", "c2"), driver.now)]
    if server.erases:
        conversations.append(connector.erase([change("c1", "", "erased")], driver.now))
    for steps in conversations:
        if steps is None:
            continue
        answers: Sequence[Answer] | None = None
        for _ in range(20):
            try:
                requests = next(steps) if answers is None else steps.send(answers)
            except StopIteration as end:
                assert set(outcomes(end.value)) == {Outcome.DELIVERED}
                break
            answers = [connector.rehearse(request) for request in requests]
        else:
            raise AssertionError("it has no end")
    assert server.requests == []
    if not server.tokens_at:  # a token that was made up would be believed until it ends
        if server.creates:
            async with driving(server) as first:
                assert outcomes(await first.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2
        assert outcomes(await driver.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2
        async with driving(server) as other:
            assert outcomes(await other.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2
        assert len(driver.sent) == len(other.sent), "an id that was made up is not"


async def test_a_ping_shows_whether_the_credentials_are_taken(server: PlatformServer, driver: Driver) -> None:
    if not server.pings:
        assert driver.connector.ping(driver.now) is None
        return
    assert 200 <= await driver.ping() < 300
    async with driving(server, server.wrong) as wrong:
        assert not 200 <= await wrong.ping() < 300


async def test_every_request_counts_against_a_declared_limit(server: PlatformServer, driver: Driver) -> None:
    await driver.settle([*entered("c1", "c2"), *exited("c1")])
    connector = driver.connector
    assert connector.account
    for windows in connector.limits.values():
        assert windows and all(window.requests > 0 and window.seconds > 0 for window in windows)
    for request in driver.sent:
        assert request.url.startswith(server.url + "/")
        assert request.limit in connector.limits or (not connector.limits and not request.limit)
        assert request.headers["user-agent"] == AGENT
        assert request.cap <= 1024 * 1024


async def test_an_erased_customer_is_deleted_there(server: PlatformServer, driver: Driver) -> None:
    erasures = [change("c1", "", "erased", 3), change("c9", "", "erased", 3)]
    if not server.erases:
        results = await driver.erase(erasures)
        assert [(r.outcome, r.reason) for r in results] == [(Outcome.REFUSED, "erasure_not_supported")] * 2
        return
    await driver.settle(entered("c1", "c2"))
    for _ in range(2):
        assert outcomes(await driver.erase(erasures)) == [Outcome.DELIVERED] * 2
        assert "c1" in server.erased and "c2" not in server.erased
        assert server.members("vip") == {"c2"}
    (result,) = await driver.erase([change("c2", "", "erased", profile={})])
    assert result.outcome is Outcome.DELIVERED or result.reason == "no_identity"
    assert ("c2" in server.erased) is (result.outcome is Outcome.DELIVERED)


@pytest.mark.parametrize("fault", [*FAULTS, FORBIDDEN], ids=lambda fault: f"{fault.kind}{fault.status}")
async def test_an_erasure_that_fails_is_not_forgotten(platform: str, fault: Fault) -> None:
    """Broken at each of its requests in turn, it is said to be done only of whoever is deleted, and is done when it is
    repeated; where it is forbidden, the destination pauses.
    """
    if not servers.discover()[platform].erases:
        pytest.skip("it deletes nobody")
    erasures = [change("c1", "", "erased", 3), change("c2", "", "erased", 3)]
    failed = Outcome.PAUSE if fault is FORBIDDEN else Outcome.RETRY
    async with servers.discover()[platform]() as server, driving(server) as driver:
        await driver.settle(entered("c1", "c2", "c3"))
        before = len(server.sent())
        await driver.erase(erasures)
        requests = len(server.sent()) - before
    for position in range(requests):
        async with servers.discover()[platform]() as server, driving(server) as driver, hasty(driver) as sender:
            await driver.settle(entered("c1", "c2", "c3"))
            server.fail(*[PASS] * position, fault)
            patient, driver.sender = driver.sender, sender if fault is HANG else driver.sender
            results = await driver.erase(erasures)
            driver.sender = patient
            assert set(outcomes(results)) <= {Outcome.DELIVERED, failed}, (position, results)
            for one, result in zip(erasures, results, strict=True):
                if result.outcome is Outcome.DELIVERED:
                    assert one.customer_id in server.erased, (position, results)
                else:
                    assert result.reason and result.request is not None, (position, results)
            if position == 0 and fault is not GARBAGE:  # what was done may be told by the status alone
                assert failed in outcomes(results), (position, results)
            assert outcomes(await driver.erase(erasures)) == [Outcome.DELIVERED] * 2, position
            assert server.erased == {"c1", "c2"}
            assert server.members("vip") == {"c3"}


async def test_a_segment_that_has_no_target_harms_nothing(driver: Driver) -> None:
    """It cannot come (the destination does not want it), and would be an end for itself alone."""
    (result,) = await driver.settle([change("c1", segment="other")])
    assert result.outcome in (Outcome.DELIVERED, Outcome.REFUSED)


async def test_plain_http_has_to_be_allowed(server: PlatformServer) -> None:
    with pytest.raises(ValueError, match="allow_http"):
        async with driving(server, allow_http=False):
            pass


def test_another_host_is_checked_where_it_is_declared_and_shown_nowhere(platform: str) -> None:
    """One rule for all that have a host of their own; a gateway's path may be its secret."""
    module = platforms()[platform]
    if not issubclass(module.Config, Hosted):
        pytest.skip("it has no host of its own")
    server = servers.discover()[platform]()
    options = {**server.options(), "base_url": "https://gateway.example.com/s3cr3t/"}
    config = module.Config.model_validate(options)
    assert "s3cr3t" not in repr(config)
    assert module.connect(config, server.environ, AGENT).endpoint == "https://gateway.example.com"
    assert config.base("https://never.example.com") == "https://gateway.example.com/s3cr3t"
    for wrong in ("https://gateway.example.com/s3cr3t?x", "https://user:s3cr3t@gateway.example.com", "ftp://s3cr3t"):
        with pytest.raises(ValueError, match="base_url") as refused:
            module.Config.model_validate({**options, "base_url": wrong})
        assert "s3cr3t" not in str(refused.value)


async def test_it_has_an_example_that_is_valid(platform: str) -> None:
    """In the module's docstring, and on its page, which the list of pages names."""
    page = (DOCS / f"{platform}.md").read_text("utf-8")
    assert f"({platform}.md)" in (DOCS / "README.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if block.startswith("destinations:")]
    assert len(blocks) == 1
    docstring = platforms()[platform].__doc__ or ""
    (indented,) = re.findall(r"^    destinations:\n(?:(?:     .*)?\n)+", docstring, re.M)
    for text in (blocks[0], textwrap.dedent(indented)):
        (options,) = load(text).by_name.values()
        assert options.platform == platform
