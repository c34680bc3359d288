"""Secrets by reference: a destination names an environment variable or a file, never the secret itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

REDACTED = "**********"


class SecretMissing(Exception):
    """A referenced secret cannot be read; the message names the reference only."""


class SecretReference(BaseModel):
    """`{env: NAME}` or `{file: PATH}`. A file is read once, at start; white space at its ends is dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: object) -> object:
        if isinstance(value, SecretReference):
            return value
        if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"env", "file"}:
            raise ValueError("give a reference, {env: NAME} or {file: PATH}, never the secret itself")
        return value

    def read(self, environ: Mapping[str, str]) -> SecretStr:
        """The secret. Raises SecretMissing."""
        if self.env is not None:
            text = environ.get(self.env, "")
            source = f"the environment variable {self.env}"
        else:
            source = f"the file {self.file}"
            try:
                text = Path(str(self.file)).read_text("utf-8")
            except OSError as error:
                raise SecretMissing(f"{source} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise SecretMissing(f"{source} is not UTF-8 text") from None
        if not text.strip():
            raise SecretMissing(f"{source} is not set or empty")
        return SecretStr(text.strip())


def fingerprint(*parts: str) -> str:
    """Names an account by its credentials without telling them: 16 hexadecimal digits of a hash."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"livesegments").hexdigest()


def redact(text: str, hidden: Iterable[str]) -> str:
    """`text` without the hidden strings: receivers quote what they were sent, and it would end in a topic."""
    for secret in sorted(hidden, key=len, reverse=True):  # the longest first: one may contain another
        if len(secret) > 1:
            text = text.replace(secret, REDACTED)
    return text
