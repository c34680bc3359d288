"""The words of generated books and logs: what exists, when it plays, and at which pace.

A book and its log share one ``World``, so that the instants and lengths that segments name are those at which something
happens in the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.core.columns import COLUMNS, ColumnType
from stream.core.time import parse_iso

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ATTRIBUTES: dict[str, ColumnType] = {
    "age": "integer",
    "score": "number",
    "city": "text",
    "newsletter": "boolean",
    "renews_at": "timestamp",
}
CUSTOMERS = ("ann", "bob", "Cy")
EVENT_TYPES = ("product_view", "purchase", "add_to_cart", "search", "remove_from_cart", "profile_update")
PRODUCTS = ("a", "b", "50%")
CATEGORIES = ("Games", "Toys", "a_b")
CITIES = ("NYC", "nyc", "Köln", "", "O'Neil", "New York")
ORDERS = ("o1", "o2")
#: Steps of a quarter: sums of them are exact in every order.
PRICES = (0.25, 1.0, 2.5, 10.0, 0.0, 99.75)
QUANTITIES = (1.0, 2.0, 3.0, 0.5)
AGES = (0, 1, 25, 30, 41, -7)
SCORES = (0.0, 0.5, 1.0, 2.5, -1.25, 30.0)

TEXT_FIELDS = ("event_type", "product_id", "category", "order_id")
NUMBER_FIELDS = ("price", "quantity")

#: Clocks that change in the night, by half an hour, over midnight, in the other half of the year, or never; some are
#: off by minutes.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    "UTC",
    "America/Santiago",
    "Asia/Beirut",
    "Atlantic/Azores",
)
#: What the log is laid around.
ANCHORS = tuple(
    map(
        parse_iso,
        (
            "2026-03-01T00:00:00Z",  # the end of a short February
            "2026-03-29T01:00:00Z",  # Berlin's clock goes forward
            "2026-10-25T01:00:00Z",  # and back
            "2026-11-01T06:00:00Z",  # New York's goes back
            "2026-04-04T15:00:00Z",  # Lord Howe's goes back, by half an hour
            "2026-04-05T03:00:00Z",  # Santiago's goes back from midnight into the day before
            "2026-10-24T21:00:00Z",  # and Beirut's
            "2028-02-29T00:00:00Z",  # a leap day
            "2027-01-01T00:00:00Z",  # a new year, in the middle of an ISO week
            "2026-05-31T12:00:00Z",  # a day that the next month does not have
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a log goes (gaps in µs), and the lengths (short to long) and units that segments name with it."""

    gaps: tuple[int, ...]
    lengths: tuple[str, ...]
    units: tuple[str, ...]


PACES = (
    Pace(
        (MINUTE, SECOND, 1000, 0, 10 * SECOND, 10 * MINUTE, 7 * SECOND),
        ("10 seconds", "1 minute", "90 seconds", "5 minutes", "1 hour"),
        ("minute", "hour", "day"),
    ),
    Pace(
        (HOUR, MINUTE, 1000, 0, 30 * MINUTE, 6 * HOUR, 12 * HOUR),
        ("30 minutes", "1 hour", "90 minutes", "6 hours", "24 hours", "1 day", "1 day 6 hours"),
        ("hour", "day", "week", "month"),
    ),
    Pace(
        (DAY, HOUR, 1000, 0, 12 * HOUR, 3 * DAY, 30 * MINUTE),
        ("12 hours", "1 day", "2 days", "1 week", "7 days", "1 month"),
        ("day", "week", "month", "year"),
    ),
    Pace(
        (30 * DAY, DAY, 1000, 0, 12 * HOUR, 20 * DAY, 45 * DAY),
        ("7 days", "30 days", "1 month", "1 month 1 day", "2 months", "90 days", "1 year"),
        ("day", "month", "quarter", "week", "year"),
    ),
)


@dataclass(frozen=True, slots=True)
class World:
    """Where and how fast a case plays. ``anchor`` in µs."""

    anchor: int
    pace: Pace

    def instants(self) -> tuple[int, ...]:
        """Instants near the anchor, in µs: on it, beside it, and a gap or two away."""
        gap = self.pace.gaps[0]
        return tuple(self.anchor + by for by in (0, -gap, gap, 1, -1, 3 * gap, -DAY, 2 * HOUR))


def columns(kind: str) -> tuple[str, ...]:
    """The customer's columns and attributes of a type."""
    return tuple(name for name, of in {**ATTRIBUTES, **COLUMNS}.items() if of == kind)
