"""What a change's customer is called at a platform, and which fields go along. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import Field

from connectors.changes import Change
from connectors.options import ProfileField, Strict

NameT = TypeVar("NameT", bound=str)
"""What a platform takes as a name: text within its bounds."""


class Events(Strict, Generic[NameT]):
    """Events that a change is also sent as, besides the state; false where there is none."""

    entered: NameT | None = None
    exited: NameT | None = None

    def __bool__(self) -> bool:
        return self.entered is not None or self.exited is not None

    def of(self, change: Change) -> NameT | None:
        """The event that a change is. What is sent anew because all is sent anew did not happen anew."""
        if change.origin == "resync":
            return None
        return self.entered if change.entered else self.exited


class Identity(Strict):
    """By which profile fields a platform knows a customer. A platform's own identity may narrow or extend this."""

    email: ProfileField | None = Field(None, description="The profile field with the e-mail address.")
    external_id: ProfileField | None = Field("customer_id", description="The profile field with our own id.")


def check_identity(identity: Identity) -> None:
    """Raises ValueError where nothing would tell who a customer is."""
    if identity.email is None and identity.external_id is None:
        raise ValueError("identity: give `external_id` or `email`")


def identity_of(change: Change, identity: Identity) -> dict[str, str]:
    """The customer's identifiers by the names of `identity`'s fields; only those that the change has."""
    found = {}
    for name in type(identity).model_fields:
        source = getattr(identity, name)
        value = change.value(source) if source is not None else None
        if value is not None and str(value).strip():
            found[name] = str(value).strip()
    return found


def fields_of(change: Change, fields: Mapping[ProfileField, str]) -> dict[str, Any]:
    """The platform's fields and their values: `fields` maps ours to theirs. A field that is unknown is null."""
    return {theirs: change.value(ours) for ours, theirs in fields.items()}
