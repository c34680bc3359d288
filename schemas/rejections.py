"""Records that were not applied and changes that were not delivered: why, and the original bytes.

A verdict can be wrong. With the bytes, the key and the place that are kept here, it can be reversed.
"""

from __future__ import annotations

from base64 import b64decode
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from schemas.changes import Instant


class _Reason(StrEnum):
    """A vocabulary of reasons, each with one line that says what happened."""

    description: str

    def __new__(cls, value: str, description: str) -> _Reason:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.description = description
        return reason


class RejectionReason(_Reason):
    """Why an event that can be read is refused (topic ``events-rejected``)."""

    BOT_USER_AGENT = "bot_user_agent", "the user agent is that of a known bot"
    BOT_RATE = "bot_rate", "more events of one customer in the rate window than a person causes"
    RECORD_FULL = "record_full", "the customer has more events in the windows of segments than a record can hold"
    MISSING_CUSTOMER_ID = "missing_customer_id", "customer_id is missing, null or blank"
    MISSING_EVENT_TYPE = "missing_event_type", "event_type is missing, null or blank"
    INVALID_TYPE = (
        "invalid_type",
        "a field has the wrong type, or a number that is not finite or beyond ±1e15",
    )
    INVALID_TIMESTAMP = "invalid_timestamp", "timestamp is neither ISO 8601 nor an epoch"
    TOO_OLD = "too_old", "timestamp lies before the year 2000"
    FUTURE = "future", "timestamp lies further ahead of the log time than allowed"
    TOO_LARGE = "too_large", "the value has more bytes than allowed"
    ATTRIBUTE_TYPE = (
        "attribute_type",
        "a profile attribute does not fit its declared type, or with it the customer's text attributes are too long",
    )
    ID_TOO_LONG = (
        "id_too_long",
        "an id, the category, currency or ip is longer than 256 characters, or event_type than 128",
    )


class DeadLetterReason(_Reason):
    """Why a record of the customer log is no fact at all (topic ``dead-letters``)."""

    TOMBSTONE = "tombstone", "the value is null"
    NOT_UTF8 = "not_utf8", "the value is not UTF-8"
    NOT_JSON = "not_json", "the value is not JSON (which knows no NaN, no Infinity and no lone surrogate)"
    NOT_AN_OBJECT = "not_an_object", "the value is JSON, but no object"
    TOO_DEEP = "too_deep", "objects and arrays are nested more than 32 deep"
    UNKNOWN_FACT = "unknown_fact", "the header `fact` names a kind that this version does not know"
    BAD_DEFINITIONS = "bad_definitions", "a book of segments that does not compile; the one before stays"
    MISROUTED = "misrouted", "moved to its customer's partition once already, and still in the wrong one"


class UndeliveredReason(_Reason):
    """Why a segment change was given up for one destination (topic ``dead-letters``)."""

    REFUSED = "refused", "the destination will never take this change"
    RETRIES_EXHAUSTED = "retries_exhausted", "the destination failed for longer than changes are retried"
    UNREADABLE_CHANGE = "unreadable_change", "the record on `segment-changes` is no segment change"


Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class RejectedRecord(BaseModel):
    """A record of the customer log that was not applied (topics ``events-rejected`` and ``dead-letters``)."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    reason: RejectionReason | DeadLetterReason
    detail: Annotated[str, Field(description="For people.")]
    payload: Annotated[Base64 | None, Field(description="The value's bytes as they were; null was null.")]
    key: Annotated[Base64 | None, Field(description="The key's bytes as they were; null was null.")]
    log_time: Instant

    @property
    def original(self) -> bytes | None:
        """The value's bytes."""
        return None if self.payload is None else b64decode(self.payload)


class Source(BaseModel):
    """Where a record stands."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class SentRequest(BaseModel):
    """The last request that carried a change, without its headers; secrets are replaced."""

    model_config = ConfigDict(frozen=True)

    method: str
    url: str
    body: Annotated[str, Field(max_length=2_000, description="Its beginning.")]


class DeadLetter(BaseModel):
    """A segment change that one destination will not get (topic ``dead-letters``)."""

    model_config = ConfigDict(frozen=True)

    destination: str
    reason: UndeliveredReason
    detail: Annotated[str, Field(description="For people.")]
    status: Annotated[int | None, Field(description="HTTP status of the last answer.")] = None
    response: Annotated[str, Field(description="The beginning of the last answer.")] = ""
    request: Annotated[SentRequest | None, Field(description="What was sent last; none where nothing was.")] = None
    attempts: Annotated[int, Field(ge=0)]
    source: Annotated[Source, Field(description="The change's record, which keeps its bytes as well.")]
    at: Annotated[Instant, Field(description="When it was given up.")]
    change: Annotated[
        JsonValue, Field(description="The segment change; any JSON where that is what was unreadable.")
    ] = None
    payload: Annotated[Base64 | None, Field(description="The value's bytes, where they are no JSON.")] = None
