"""One customer's day: when they come, what they look at and put into their cart, and what becomes of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any

from stream.demo.catalog import BROWSERS, CITIES, Catalog, Product
from stream.demo.dialects import Act, Line

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: How many visits begin in each hour of the day, relative to the average.
CURVE = (
    0.4, 0.22, 0.13, 0.1, 0.1, 0.18, 0.4, 0.8, 1.1, 1.3, 1.4, 1.5,
    1.7, 1.5, 1.3, 1.25, 1.3, 1.4, 1.6, 1.9, 2.2, 2.1, 1.5, 0.8,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """Who a customer is. ``id`` is what the shop calls them, sometimes a number."""

    id: str | int
    age: int
    city: str
    subscribed: bool
    visits: float  # expected visits a day
    browser: str


def person(rng: Random, number: int) -> Person:
    """Draw the customer with this number."""
    names: list[tuple[str | int, float]] = [
        (f"cust-{number:04d}", 0.94),
        (700_000 + number, 0.03),
        (f"zoë-{number:04d}", 0.01),
        (f"łukasz-{number:04d}", 0.01),
        (f"顧客-{number:04d}", 0.01),
    ]
    (name,) = rng.choices([name for name, _ in names], [share for _, share in names])
    return Person(
        id=name,
        age=min(89, max(16, round(rng.gauss(38, 14)))),
        city=rng.choices(list(CITIES), list(CITIES.values()))[0],
        subscribed=rng.random() < 0.7,
        visits=1.35 * rng.lognormvariate(-0.25, 0.75),
        browser=rng.choice(BROWSERS),
    )


class Shopper:
    """Plays the day of one person. Everything random comes from ``rng``, so a seed fixes the day."""

    def __init__(self, person: Person, catalog: Catalog, start: int, rng: Random) -> None:
        self.person, self._catalog, self._start, self._rng = person, catalog, start, rng
        self._cart: dict[str, Line] = {}
        self._cart_id = self._new_id(8)
        self._tastes = [catalog.category(rng) for _ in range(2)]
        self._agenda: list[tuple[int, str]] = []

    def day(self) -> Iterator[list[Act]]:
        """The visits (and looks at e-mails) of the day, each a list of acts in the order of event time."""
        rng = self._rng
        for _ in range(_poisson(rng, self.person.visits)):
            (hour,) = rng.choices(range(24), CURVE)
            self._plan(hour * HOUR + rng.randrange(HOUR), "visit")
        if self.person.subscribed and rng.random() < 0.22:
            self._plan(9 * HOUR + int(rng.expovariate(1 / 70) * MINUTE), "newsletter")
        while self._agenda:
            time, what = heapq.heappop(self._agenda)
            if what in ("newsletter", "reminder"):
                yield self._read_mail(time, what)
            else:
                yield self._visit(time, returning=what == "return")

    def _plan(self, time: int, what: str) -> None:
        heapq.heappush(self._agenda, (time, what))

    def _read_mail(self, time: int, what: str) -> list[Act]:
        rng = self._rng
        mail = {"campaign": what}
        acts = [self._act("email_open", time, properties=mail)]
        if rng.random() < (0.12 if what == "newsletter" else 0.5):
            clicked = time + rng.randrange(3, 40) * SECOND
            acts.append(self._act("email_click", clicked, properties=mail))
            self._plan(clicked + SECOND, "return" if what == "reminder" else "visit")
        return acts

    def _visit(self, time: int, returning: bool) -> list[Act]:
        """A visit: views, things into the cart, now and then out again, and at the end a decision."""
        rng, session = self._rng, self._new_id(12)
        acts: list[Act] = []

        def did(kind: str, **more: Any) -> None:
            nonlocal time
            acts.append(self._act(kind, time, session_id=session, user_agent=self.person.browser, **more))
            time += max(1, int(rng.lognormvariate(3.0, 0.9) * 1000)) * 1000

        did("page_view", properties={"page": "/cart" if returning else "/"})
        category = rng.choice(self._tastes) if rng.random() < 0.7 else self._catalog.category(rng)
        if rng.random() < 0.35:
            did("search", properties={"query": category.lower()})
        for _ in range(0 if returning else 1 + _poisson(rng, rng.expovariate(1 / 6))):
            if rng.random() < 0.2:
                category = self._catalog.category(rng)
            product = self._catalog.product(rng, category)
            did("product_view", line=Line(product, 1))
            if rng.random() < 0.13:
                did("add_to_cart", **self._put(product))
        if self._cart and rng.random() < 0.12:
            name = rng.choice(sorted(self._cart))
            did("remove_from_cart", line=self._cart.pop(name), cart_id=self._cart_id)
        if self._cart:
            self._decide(did, returning)
            if self._cart:
                self._leave_cart(time)
        return acts

    def _decide(self, did: Any, returning: bool) -> None:
        rng = self._rng
        if rng.random() > (0.85 if returning else 0.6):
            return
        did("checkout_started", cart_id=self._cart_id)
        if rng.random() > (0.8 if returning else 0.66):
            return
        order, order_id = tuple(self._cart.values()), self._new_id(10)
        if rng.random() < 0.5:  # half of the clients say each line of an order, the others the order as a whole
            for line in order:
                did("purchase", line=line, cart_id=self._cart_id, order_id=order_id)
        else:
            did("purchase", order=order, cart_id=self._cart_id, order_id=order_id)
        self._cart, self._cart_id = {}, self._new_id(8)

    def _leave_cart(self, time: int) -> None:
        """What follows a cart that was left: a reminder by e-mail, a second thought, nothing."""
        rng = self._rng
        if self.person.subscribed and rng.random() < 0.4:
            self._plan(time + rng.randrange(33, 180) * MINUTE, "reminder")
        elif rng.random() < 0.15:
            self._plan(time + rng.randrange(10, 300) * MINUTE, "return")

    def _put(self, product: Product) -> dict[str, Any]:
        quantity = 1 if self._rng.random() < 0.85 else 2
        held = self._cart.get(product.id)
        self._cart[product.id] = Line(product, quantity + (held.quantity if held else 0))
        return {"line": Line(product, quantity), "cart_id": self._cart_id}

    def _act(self, kind: str, time: int, **more: Any) -> Act:
        at = (self._start + time) // 1000 * 1000
        return Act(kind, at, self._new_id(16), self.person.id, **more)

    def _new_id(self, size: int) -> str:
        return f"{self._rng.getrandbits(size * 4):0{size}x}"


def _poisson(rng: Random, mean: float) -> int:
    """A Poisson number by Knuth's method; means here are small."""
    limit, product, count = exp(-mean), rng.random(), 0
    while product > limit and count < 60:
        product *= rng.random()
        count += 1
    return count
