"""URLs of destinations: which are usable, and what of them may be secret. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PLAIN = re.compile(r"[a-z]+([_-][a-z]+)*")


def check_url(url: str, *, allow_http: bool, name: str = "url") -> None:
    """Raises ValueError, without quoting the URL; `name` is the option that holds it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError(f"{name}: not a URL") from None
    if parts.scheme == "http" and not allow_http:
        raise ValueError(f"{name}: plain http needs `allow_http: true`")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{name}: expected https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name}: user and password do not belong in a URL")
    if not url.isascii() or any(character <= " " for character in url):
        raise ValueError(f"{name}: only ASCII without spaces; percent-encode the rest")


def check_base_url(url: str, *, allow_http: bool, name: str = "base_url") -> str:
    """`url` without a slash at its end, ready for a path to be appended. Raises ValueError, also where it has
    a query or a fragment.
    """
    check_url(url, allow_http=allow_http, name=name)
    if "?" in url or "#" in url:
        raise ValueError(f"{name}: a query or a fragment does not belong here")
    return url.rstrip("/")


def secret_parts(url: str, *, declared: bool) -> list[str]:
    """What of a URL must not be shown: everything but scheme and host where it was `declared` a secret, else
    only what has a part that looks like one: no plain word, such as `segments`.
    """
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    long = [part for part in [*parts.path.split("/"), parts.query] if len(part) >= 8]
    if not declared:
        long = [part for part in long if not _PLAIN.fullmatch(part)]
    return [url, path, *long] if declared or long else []
