"""What e-mail and CRM platforms take: people per call, and calls per time. One row per platform, with its source.

The call is the one that keeps a membership as state: an audience's people, or a field of the person. Limits are those
of the plan that is named; an account's own may be higher or lower, and other software may use them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform's call.

    ``people`` fit into one call. ``shared`` says what one call can hold together: changes of any segment (``all``),
    entries and exits of one segment (``segment``), or only the one or the other (``direction``). ``limits`` are calls
    per seconds; none where the vendor publishes no number. ``source`` is the vendor's page that says so.
    """

    name: str
    call: str
    people: int
    shared: Literal["all", "segment", "direction"]
    limits: tuple[tuple[int, int], ...]
    source: str


PLATFORMS: tuple[Platform, ...] = (
    Platform(
        "Klaviyo",
        "POST, DELETE /api/lists/{id}/relationships/profiles",
        1_000,
        "direction",
        ((10, 1), (150, 60)),
        "Klaviyo API reference, revision 2026-07-15: Add Profiles to List, Remove Profiles from List",
    ),
    Platform(
        "HubSpot",
        "POST /crm/v3/objects/contacts/batch/upsert",
        100,
        "all",
        ((190, 10), (625_000, _DAY)),
        "HubSpot developer documentation, API usage guidelines: private app, Professional",
    ),
    Platform(
        "Braze",
        "POST /users/track",
        50,
        "all",
        ((3_000, 3),),
        "Braze documentation, POST: Create and update users: rate limit; 75 people with contracts of 2026",
    ),
    Platform(
        "Mailchimp",
        "POST /lists/{id}/segments/{id}",
        500,
        "segment",
        (),
        "Mailchimp Marketing API reference, Batch add or remove members; no rate, 10 connections at once",
    ),
    Platform(
        "Customer.io",
        "POST /api/v1/segments/{id}/add_customers, remove_customers",
        1_000,
        "direction",
        ((100, 1),),
        "Customer.io Track API reference, Manual segments; 100 a second of the 1,000 that are not enforced",
    ),
    Platform(
        "Iterable",
        "POST /api/users/bulkUpdate",
        1_000,
        "all",
        ((5, 1),),
        "Iterable API reference, Bulk update user data: rate limit; people as production connectors batch them",
    ),
    Platform(
        "Salesforce",
        "PATCH /composite/sobjects/Contact/{external id}",
        200,
        "all",
        ((100_000, _DAY),),
        "Salesforce developer limits and allocations, API request limits: Enterprise, without its licences",
    ),
    Platform(
        "SFMC",
        "POST /hub/v1/dataevents/key:{key}/rowset",
        50,
        "all",
        (),
        "Marketing Cloud Engagement REST reference, Upsert data extension rowset: best practice; no rate published",
    ),
    Platform(
        "Zapier",
        "POST to a webhook trigger",
        1,
        "all",
        ((30, 1), (10_000, 300)),
        "Zapier platform documentation, Operating constraints: REST hook triggers",
    ),
)
