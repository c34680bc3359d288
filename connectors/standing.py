"""Whether a destination is sent to, all told: by order, by our own ledger, by its valve. Says so where it changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from connectors.metrics import DeliveryMetrics
from connectors.states import Board, Order, StateName
from connectors.valve import State, Valve

logger = logging.getLogger(__name__)


class Standing:
    """`recovered` is called when an order ends that nothing is to be sent."""

    def __init__(
        self, name: str, endpoint: str, metrics: DeliveryMetrics, board: Board, *, recovered: Callable[[], None]
    ) -> None:
        self.valve = Valve()
        self.ledger_available = True
        self._name = name
        self._endpoint = endpoint
        self._metrics = metrics
        self._board = board
        self._recovered = recovered
        self._said: tuple[StateName, str] = ("active", "")
        self._order = Order()

    def begin(self) -> None:
        """Take up the order that stands, and say how the destination stands at first."""
        self._metrics.state(self._name, True, "")
        self._order = self._board.order(self._name, self._ordered)
        self._board.say(self._name, *self._said, time.time())
        self.tell()

    @property
    def open(self) -> bool:
        """May anything be sent at all? Then the valve decides when."""
        return self._order.state == "active" and self.ledger_available

    def disable(self, reason: str) -> None:
        """The receiver says that it is gone for good."""
        if self._order.state != "disabled":
            self._order = Order("disabled", reason)
            self._board.disable(self._name, reason)
            self.tell()

    def _ordered(self, order: Order) -> None:
        before, self._order = self._order, order
        if before.state != "active" and order.state == "active":
            self.valve = Valve()  # whatever it was closed for, somebody says otherwise
        self.tell()
        if self.open:
            self._recovered()

    def _all_told(self) -> tuple[StateName, str]:
        match self._order.state:
            case "disabled":
                return "disabled", self._order.reason
            case "paused":
                return "paused", "operator"
        if not self.ledger_available:
            return "waiting", "ledger_unavailable"
        match self.valve.state:
            case State.BROKEN:
                return "broken", self.valve.reason
            case State.PAUSED:
                return "paused", self.valve.reason
            case _:
                return "active", ""

    def tell(self) -> None:
        """Say how the destination stands, if that changed."""
        state, reason = said = self._all_told()
        if said == self._said:
            return
        self._said = said
        self._metrics.state(self._name, state == "active", reason)
        self._board.say(self._name, state, reason, time.time())
        place = f"destination {self._name} ({self._endpoint})"
        if state == "active":
            logger.info("%s is sent to again", place)
        elif state == "disabled":
            logger.warning("%s is disabled: %s; nothing is lost; it stays so until it is enabled again", place, reason)
        elif reason == "operator":
            logger.warning("%s is paused by an operator: %s", place, self._order.reason)
        elif state == "waiting":
            logger.warning("%s waits: %s; nothing is lost", place, reason)
        else:
            logger.warning("%s is %s: %s; nothing is lost, a probe follows", place, state, reason)
