"""SOAP 1.1: envelopes that are escaped, and answers that are read without following them anywhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

LARGEST = 1024 * 1024
"""Bytes of an answer that are read at most."""

_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""

_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
"""What begins a document type, an entity, and anything else that an answer has no use for."""


class UnreadableXml(ValueError):
    """Not XML, or XML that we do not read; the message says which and quotes nothing."""


class Fault(Exception):
    """The answer is a SOAP fault."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


def text(value: object) -> str:
    """A value as XML text. What XML cannot hold becomes U+FFFD; booleans are XML Schema's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(_UNSPEAKABLE.sub("\ufffd", str(value)), {"\r": "&#13;", '"': "&quot;"})


def element(name: str, *children: str, attributes: str = "") -> str:
    """An element of children that are XML already (see `text`)."""
    return f"<{name}{attributes}>{''.join(children)}</{name}>"


def envelope(action: str, to: str, header: str, body: str) -> bytes:
    """A whole message; `header` and `body` are XML."""
    addressed = element("a:Action", text(action)) + element("a:To", text(to))
    spaces = f' xmlns:s="{ENVELOPE}" xmlns:a="{ADDRESSING}" xmlns:xsi="{INSTANCE}"'
    message = element("s:Envelope", element("s:Header", addressed, header), element("s:Body", body), attributes=spaces)
    return f'<?xml version="1.0" encoding="UTF-8"?>{message}'.encode()


def read(body: bytes) -> ElementTree.Element:
    """The one element in a message's body. Raises Fault, or UnreadableXml: where it is too large, is not UTF-8,
    or declares a document type or entities, which can grow without bound or point elsewhere.
    """
    if len(body) >= LARGEST:
        raise UnreadableXml("too large")
    try:
        document = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableXml("not UTF-8") from None
    if "\0" in document:  # UTF-16, which the parser would recognise, and the check below would not
        raise UnreadableXml("not UTF-8")
    if _DECLARATION.search(document):
        raise UnreadableXml("it has a document type")
    try:
        root = ElementTree.fromstring(document)  # nothing in it can be expanded: it declares nothing
    except (ElementTree.ParseError, ValueError):
        raise UnreadableXml("not XML") from None
    content = root.find(f"{{{ENVELOPE}}}Body")
    if root.tag != f"{{{ENVELOPE}}}Envelope" or content is None or len(content) == 0:
        raise UnreadableXml("not a SOAP message")
    if content[0].tag == f"{{{ENVELOPE}}}Fault":
        raise Fault(content[0].findtext("faultcode", "").strip(), content[0].findtext("faultstring", "").strip())
    return content[0]


def children(parent: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The children of that local name, whatever their namespace."""
    return (child for child in parent if _local(child) == name)


def value(parent: ElementTree.Element, name: str) -> str:
    """The text of the first child of that local name; empty where there is none."""
    return next(((child.text or "").strip() for child in children(parent, name)), "")


def _local(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]
