"""What e-mail and CRM platforms take: people per call, and calls per time. One row per platform, with its source.

The call is the one that keeps a membership as state: an audience's people, or a field of the person. The numbers are
those of the platform's own module, for a destination that says nothing else about them; so they are those of the plan
that ``source`` names. An account's own may be higher or lower, and other software may use them too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from connectors.changes import Change
from connectors.platforms import Connector, discover

Shared = Literal["all", "segment", "direction"]

_AGENT = "livesegments"
_MADE_UP = {"env": "MADE_UP"}
#: Nothing is sent: any secret does that has the form of one.
_SECRETS = {"MADE_UP": f"whsec_{b64encode(bytes(24)).decode()}"}
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform's call.

    ``people`` fit into one call. ``shared`` says what one call can hold together: changes of any segment (``all``),
    entries and exits of one segment (``segment``), or only the one or the other (``direction``). ``limits`` are calls
    per seconds; none where nobody names a number. ``source`` is the vendor's page that says so.
    """

    name: str
    call: str
    people: int
    shared: Shared
    limits: tuple[tuple[int, int], ...]
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """Where a platform's numbers are taken from: ``module`` of ``connectors.platforms``, for a destination with these
    ``options`` and, as segments, ``targets``; ``limit`` is the module's name of the rate that the call counts against.

    ``beyond`` are limits that no deliverer counts.
    """

    name: str
    call: str
    module: str
    limit: str
    options: Mapping[str, Any]
    targets: tuple[Any, Any]
    source: str
    beyond: tuple[tuple[int, int], ...] = ()

    def connector(self) -> Connector:
        """The connector of such a destination, with made-up secrets."""
        return _connected(self)[0]


SEGMENTS = ("a", "b")
"""What the segments are called that a row has targets for."""

ROWS = (
    Row(
        "Klaviyo",
        "POST, DELETE /api/lists/{id}/relationships/profiles",
        "klaviyo",
        "list-add",
        {"api_key": _MADE_UP},
        ({"list": "AAAAAA"}, {"list": "BBBBBB"}),
        "Klaviyo API reference, revision 2026-07-15: Add Profiles to List, Remove Profiles from List",
    ),
    Row(
        "HubSpot",
        "POST /crm/v3/objects/contacts/batch/upsert",
        "hubspot",
        "api",
        # The plan that `beyond` is of, too.
        {"access_token": _MADE_UP, "identity": {"email": "email"}, "requests_per_10_seconds": 190},
        ({"property": "a"}, {"property": "b"}),
        "HubSpot developer documentation, API usage guidelines: private app, Professional",
        beyond=((625_000, _DAY),),
    ),
    Row(
        "Braze",
        "POST /users/track",
        "braze",
        "track",
        {"api_key": _MADE_UP, "instance": "EU-01"},
        ({"attribute": "a"}, {"attribute": "b"}),
        "Braze documentation, POST: Create and update users: rate limit; 75 people with contracts of 2026",
    ),
    Row(
        "Mailchimp",
        "POST /lists/{id}/segments/{id}",
        "mailchimp",
        "",
        {"api_key": _MADE_UP, "list": "a1b2c3d4e5", "base_url": "https://us1.api.mailchimp.com"},
        ({"segment": 1}, {"segment": 2}),
        "Mailchimp Marketing API reference, Batch add or remove members; no rate, 10 connections at once",
    ),
    Row(
        "Customer.io",
        "POST /api/v1/segments/{id}/add_customers, remove_customers",
        "customerio",
        "track",
        {"site_id": _MADE_UP, "api_key": _MADE_UP},
        ({"segment": 1}, {"segment": 2}),
        "Customer.io Track API reference, Manual segments; 100 a second of the 1,000 that are not enforced",
    ),
    Row(
        "Iterable",
        "POST /api/users/bulkUpdate",
        "iterable",
        "users",
        {"api_key": _MADE_UP},
        ({"field": "a"}, {"field": "b"}),
        "Iterable API reference, Bulk update user data: rate limit; people as production connectors batch them",
    ),
    Row(
        "Salesforce",
        "PATCH /composite/sobjects/Contact/{external id}",
        "salesforce",
        "api",
        {
            "domain": "acme",
            "client_id": _MADE_UP,
            "client_secret": _MADE_UP,
            "object": "Contact",
            "external_id_field": "Customer_Id__c",
        },
        ({"field": "A__c"}, {"field": "B__c"}),
        "Salesforce developer limits and allocations, API request limits: Enterprise, without its licences",
    ),
    Row(
        "SFMC",
        "POST /hub/v1/dataevents/key:{key}/rowset",
        "salesforce_marketing_cloud",
        "rest",
        {"subdomain": "mc", "client_id": _MADE_UP, "client_secret": _MADE_UP, "key_column": "SubscriberKey"},
        ({"data_extension": "Segments", "column": "A"}, {"data_extension": "Segments", "column": "B"}),
        "Marketing Cloud Engagement REST reference, Upsert data extension rowset: best practice; no rate published, "
        "ours is 2,000 a minute",
    ),
    Row(
        "Zapier",
        "POST to a webhook trigger",
        "webhook",
        "",
        {"url": "https://hooks.zapier.com/hooks/catch/1/a", "secret": [_MADE_UP]},
        (None, None),
        "Zapier platform documentation, Operating constraints: REST hook triggers",
        beyond=((30, 1), (10_000, 300)),
    ),
)


@cache
def platforms() -> tuple[Platform, ...]:
    """Every row with its platform's numbers."""
    return tuple(_of(row) for row in ROWS)


def _of(row: Row) -> Platform:
    connector, people = _connected(row)
    declared = connector.limits[row.limit] if row.limit else ()
    windows = tuple((window.requests, round(window.seconds)) for window in declared)
    return Platform(row.name, row.call, people, _shared(connector), windows + row.beyond, row.source)


def _connected(row: Row) -> tuple[Connector, int]:
    """The connector, and how many changes a request of it holds."""
    platform = discover()[row.module]
    targets = dict(zip(SEGMENTS, row.targets, strict=True))
    segments = targets if all(row.targets) else list(targets)
    config = platform.Config.model_validate({"platform": row.module, "segments": segments, **row.options})
    return platform.connect(config, _SECRETS, _AGENT), config.batch_size


def _shared(connector: Connector) -> Shared:
    entered, exited, other = (
        connector.group(Change("", "", segment, action, "", 1, b""))
        for segment, action in ((SEGMENTS[0], "entered"), (SEGMENTS[0], "exited"), (SEGMENTS[1], "entered"))
    )
    if entered != exited:
        return "direction"
    return "all" if entered == other else "segment"
