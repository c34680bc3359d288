"""Carts, kept per cart and item, in the order of event time whatever the order of arrival.

A line remembers its additions until a removal or a purchase *of later event time* covers them. So the cart is a
function of the set of facts: a late addition neither revives what was bought nor is lost, and a purchase clears only
what it covers.

Bounds, so that one customer cannot grow without limit: ``MAX_CARTS`` carts, ``MAX_LINES`` items of a cart and
``MAX_ENTRIES`` additions of an item; past them the oldest are folded together or forgotten. At all bounds at
once, with the longest ids, a record has 0.6 MB, and 1.2 MB where each character takes four bytes: the topic of the
state takes records of that size.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import NamedTuple

import msgspec

from stream.core.time import NEVER

#: Above it a double has no six decimals.
_EXACT = 1e9
_MILLION = 1_000_000
#: Above it (in millionths) a sum is not kept: the state holds 64 bits.
_KEPT = 2**62
#: The cart of events that name none.
DEFAULT_CART = ""
#: Not a cart: what purchases that name no cart have covered, for carts and items that are yet to arrive.
EVERY_CART = "\0"
MAX_CARTS = 8
MAX_LINES = 100
MAX_ENTRIES = 16
#: How long (µs of event time) an emptied line remembers when it was emptied, against late additions.
LATENESS = 7 * 86_400_000_000


class Line(msgspec.Struct, array_like=True, gc=False):
    """One item of one cart: additions newer than ``cleared`` as ``(event time µs, quantity, unit price)``.

    ``quantity`` (what is left), ``since`` (µs, from when on something was in it without a break) and ``price`` (of the
    newest addition that stated one, else 0) follow from the entries; they are kept because a cart is summed up with
    every fact about it.
    """

    cleared: int = -1
    entries: list[tuple[int, float, float]] = []
    quantity: float = 0.0
    since: int = 0
    price: float = 0.0

    def clear(self, time: int) -> None:
        """Take out everything put in up to ``time`` (µs)."""
        if time < self.cleared:
            return
        self.cleared = time  # at one instant, the later in the log comes after
        entries = self.entries
        if not entries:
            return
        if entries[-1][0] <= time:  # what nearly always comes: all that is there is older
            self.entries, self.quantity, self.since, self.price = [], 0.0, 0, 0.0
            return
        self.entries = [entry for entry in entries if entry[0] > time]
        self._settle()

    def put(self, time: int, delta: float, price: float) -> None:
        """Add (or, below zero, remove) a quantity at ``time`` (µs), unless a later fact has covered it.

        Between facts of one instant the later in the log comes after.
        """
        if time < self.cleared:
            return
        entries = self.entries
        at = len(entries)
        if delta > 0 and at < MAX_ENTRIES and (not at or entries[-1][0] <= time):
            # What nearly always comes: one more addition, later than all that is there.
            entries.append((time, delta, price))
            if self.quantity <= 0:
                self.since = time
            self.quantity += delta
            self.price = price or self.price
            return
        while at and entries[at - 1][0] > time:
            at -= 1
        entries.insert(at, (time, delta, price))
        if len(entries) > MAX_ENTRIES:
            (start, first, price_a), (then, second, price_b) = entries[0], entries[1]
            entries[:2] = [(start if first > 0 else then, max(0.0, max(0.0, first) + second), price_b or price_a)]
        self._settle()

    def _settle(self) -> None:
        """What the entries come to. A removal of more than there is leaves none."""
        total, since, price = 0.0, 0, 0.0
        for time, delta, stated in self.entries:
            if total <= 0:
                since = time
            total += delta
            if total < 0:
                total = 0.0
            if delta > 0 and stated:
                price = stated
        self.quantity, self.since, self.price = total, since, price


class Cart(msgspec.Struct, array_like=True, gc=False):
    """One cart. ``cleared`` is the event time (µs) up to which a purchase covered all of it.

    What its lines come to is kept beside them, because it is asked for with every fact about a cart: ``value`` and
    ``items`` in millionths, whole, so that it is the same whatever the order of the facts; ``filled``, the lines that
    have something in them, -1 where all this has to be counted anew; ``started`` (µs), the earliest ``since`` of
    those. Nothing in it can be forgotten before the event time ``oldest`` (µs) is over.
    """

    cleared: int = -1
    updated: int = -1
    lines: dict[str, Line] = {}
    value: int = 0
    items: int = 0
    filled: int = -1
    started: int = 0
    oldest: int = -1

    def clear(self, time: int) -> None:
        """A purchase of the whole cart at ``time`` (µs)."""
        self.cleared = max(self.cleared, time)
        for line in self.lines.values():
            line.clear(time)
        self.updated = max(self.updated, time)
        self.oldest = -1
        self.count()

    def change(self, line: Line, delta: float | None, price: float, time: int) -> None:
        """What ``change`` says, for one line."""
        before, stated, since = line.quantity, line.price, line.since
        if delta is None:
            line.clear(time)
        else:
            line.put(time, delta, price)
        latest = line.cleared if line.cleared > time else time
        if latest > self.updated:
            self.updated = latest
        after = line.quantity
        if after <= 0:
            last = _last(line)
            if last < self.oldest:
                self.oldest = last
            if before <= 0:
                return
        if self.filled < 0:
            self.count()
            return
        if before > 0:
            self.value -= millionths(before * stated)
            self.items -= millionths(before)
        else:
            self.filled += 1
        if after > 0:
            self.value += millionths(after * line.price)
            self.items += millionths(after)
            if line.since == since and before > 0:
                return
            if self.filled == 1 or line.since < self.started:
                self.started = line.since
                return
        else:
            self.filled -= 1
        if before > 0 and since == self.started:
            self.started = min([each.since for each in self.lines.values() if each.quantity > 0], default=0)

    def count(self) -> None:
        """Add up all lines."""
        filled = [line for line in self.lines.values() if line.quantity > 0]
        self.value = sum(millionths(line.quantity * line.price) for line in filled)
        self.items = sum(millionths(line.quantity) for line in filled)
        self.filled = len(filled)
        self.started = min((line.since for line in filled), default=0)

    def forget(self, horizon: int) -> bool:
        """Let go of lines that were emptied before ``horizon`` (µs of event time); True if nothing of it is left."""
        empty = [(product, _last(line)) for product, line in self.lines.items() if line.quantity <= 0]
        for product, last in empty:
            if last < horizon:
                del self.lines[product]
        kept = (last for _, last in empty if last >= horizon)
        self.oldest = min(kept, default=NEVER if self.filled else self.updated)
        return not self.lines and self.updated < horizon


class Totals(NamedTuple):
    """The cart columns as segments see them; the instants are None (NULL) when nothing is in any cart."""

    value: float
    items: float
    started_at: int | None
    updated_at: int | None


def _age(line: Line) -> int:
    return line.entries[-1][0] if line.entries else line.cleared


def _last(line: Line) -> int:
    """The event time of the last fact that a line is about."""
    return max(line.cleared, _age(line))


def cart_of(carts: dict[str, Cart], cart_id: str | None) -> Cart:
    """The named cart (or the default one), made if there is none; the least recently used gives way."""
    return _cart(carts, cart_id or DEFAULT_CART)


def _cart(carts: dict[str, Cart], key: str) -> Cart:
    cart = carts.get(key)
    if cart is None:
        real = [name for name in carts if name != EVERY_CART]
        if len(real) >= MAX_CARTS:
            del carts[min(real, key=lambda name: carts[name].updated)]
        covered = carts[EVERY_CART].cleared if EVERY_CART in carts else -1
        cart = carts[key] = Cart(covered, covered, {}, filled=0, oldest=covered)
    return cart


def line_of(carts: dict[str, Cart], cart: Cart, product: str) -> Line:
    """The line of an item, made if there is none; it starts out covered as far as purchases have covered it."""
    line = cart.lines.get(product)
    if line is None:
        if len(cart.lines) >= MAX_LINES:
            del cart.lines[min(cart.lines, key=lambda name: _age(cart.lines[name]))]
            cart.count()
        covered = cart.cleared
        if (every := carts.get(EVERY_CART)) is not None and (bought := every.lines.get(product)) is not None:
            covered = max(covered, bought.cleared)
        line = cart.lines[product] = Line(covered, [])
    return line


def change(
    carts: dict[str, Cart], cart_id: str | None, product: str, delta: float | None, price: float, time: int
) -> None:
    """Put ``delta`` pieces into a cart at ``time`` (µs), take them out (below zero), or take all out (None)."""
    cart = carts.get(cart_id or DEFAULT_CART)
    if cart is None:
        cart = cart_of(carts, cart_id)
    line = cart.lines.get(product)
    if line is None:
        line = line_of(carts, cart, product)
    cart.change(line, delta, price, time)


def purchase(
    carts: dict[str, Cart], cart_id: str | None, items: Iterable[tuple[str, float | None, float]], time: int
) -> None:
    """Take what a purchase covers out of the carts.

    With ``items`` (product, quantity or None for all of it, price) only those; without, the whole of the named cart;
    and with neither items nor a cart, every cart, as far as it was filled by ``time`` (µs).
    """
    whole = True
    for product, quantity, _ in items:
        whole = False
        delta = None if quantity is None else -quantity
        if cart_id:
            change(carts, cart_id, product, delta, 0.0, time)
            continue
        held = False
        for key, cart in carts.items():
            line = cart.lines.get(product)
            if line is not None and key != EVERY_CART:
                held = True
                cart.change(line, delta, 0.0, time)
        if quantity is None:  # the carts that will turn out to have held it, too
            change(carts, EVERY_CART, product, None, 0.0, time)
        elif not held:
            change(carts, DEFAULT_CART, product, delta, 0.0, time)
    if whole:
        if cart_id is None:
            _cart(carts, EVERY_CART)
        for cart in [cart_of(carts, cart_id)] if cart_id else carts.values():
            cart.clear(time)


def totals(carts: dict[str, Cart], now: int) -> Totals:
    """Add up all carts, and forget what was emptied more than ``LATENESS`` before ``now`` (µs of event time)."""
    value = items = 0
    started: int | None = None
    updated: int | None = None
    horizon = now - LATENESS
    old = huge = False
    for cart in carts.values():
        if cart.filled < 0:
            cart.count()
        if cart.filled:
            value += cart.value
            items += cart.items
            if not -_KEPT < cart.value < _KEPT or cart.items >= _KEPT:
                huge = True
            if started is None or cart.started < started:
                started = cart.started
            if updated is None or cart.updated > updated:
                updated = cart.updated
        if cart.oldest < horizon:
            old = True
    if old:
        for key in [key for key, cart in carts.items() if cart.oldest < horizon and cart.forget(horizon)]:
            del carts[key]
    if huge:
        for cart in carts.values():
            cart.filled, cart.value, cart.items = -1, 0, 0
    return Totals(value / _MILLION, items / _MILLION, started, updated)


def millionths(amount: float) -> int:
    """An amount to six decimals, as a whole number of millionths."""
    if amount < _EXACT:
        return floor(amount * 1e6 + 0.5)
    whole = int(amount)
    return whole * _MILLION + floor((amount - whole) * 1e6 + 0.5)


def rounded(amount: float) -> float:
    """To six decimals; ``round`` does it by way of the decimal text, at five times the cost."""
    if -_EXACT < amount < _EXACT:
        return floor(amount * 1e6 + 0.5) / 1e6
    return amount
