"""Laws of SOAP messages: nothing in a value is markup, and nothing in an answer is followed or grown."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import soap

SPACE = "http://example.com/api"


def message(body: str) -> bytes:
    return soap.envelope("Act", "https://example.com/Service.asmx", "", body)


@given(st.text())
def test_a_value_is_text_and_arrives(value: str) -> None:
    """Whatever XML can hold arrives as it is; the rest becomes U+FFFD, one for one."""
    read = soap.read(message(soap.element("Answer", soap.element("Value", soap.text(value)))))
    (found,) = soap.children(read, "Value")
    assert len(read) == 1 and len(found) == 0
    text = found.text or ""
    assert len(text) == len(value)
    assert all(one == other or one == "\ufffd" for one, other in zip(text, value, strict=True))
    assert text == value or any(ord(one) < 32 or 0xD800 <= ord(one) < 0xE000 or ord(one) >= 0xFFFE for one in value)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (59.98, "59.98"), (3, "3")])
def test_values_are_written_as_xml_schema_has_them(value: object, text: str) -> None:
    assert soap.text(value) == text


def test_an_envelope_has_its_parts() -> None:
    root = ElementTree.fromstring(soap.envelope("Update", "https://example.com/a?b=1&c=2", "<h/>", "<b/>"))
    header, body = root
    assert [child.tag for child in header] == [f"{{{soap.ADDRESSING}}}Action", f"{{{soap.ADDRESSING}}}To", "h"]
    assert (header[0].text, header[1].text) == ("Update", "https://example.com/a?b=1&c=2")
    assert [child.tag for child in body] == ["b"]


def test_a_fault_is_raised_with_what_it_says() -> None:
    fault = "<s:Fault><faultcode>q0:Security</faultcode><faultstring>Token Expired</faultstring></s:Fault>"
    with pytest.raises(soap.Fault, match="q0:Security: Token Expired") as caught:
        soap.read(message(fault))
    assert (caught.value.code, caught.value.text) == ("q0:Security", "Token Expired")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(20))
GOOD = message("<Answer/>").decode().partition("?>")[2]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f"<!DOCTYPE r [{LAUGHS}]>{GOOD}".encode(), "document type"),
        (f'<!DOCTYPE r SYSTEM "http://169.254.169.254/">{GOOD}'.encode(), "document type"),
        (f'<!-- x -->\n<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]>{GOOD}'.encode(), "document type"),
        (f"<!doctype r>{GOOD}".encode(), "document type"),
        (f'<!DOCTYPE r [<!ENTITY a "b">]>{GOOD}'.encode("utf-16"), "UTF-8"),
        (f'<!DOCTYPE r [<!ENTITY a "b">]>{GOOD}'.encode("utf-16-le"), "UTF-8"),
        (b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE r+AD4-', "not XML"),
        (GOOD.encode() + b" " * soap.LARGEST, "too large"),
        (b"", "not XML"),
        (b"<html><body>sorry</body></html>", "not a SOAP message"),
        (message(""), "not a SOAP message"),
        (GOOD.encode()[:-5], "not XML"),
        (b'{"errors":[]}', "not XML"),
        (b"\xff\xfe", "UTF-8"),
        (f"{GOOD[:-20]}&bogus;{GOOD[-20:]}".encode(), "not XML"),
    ],
)
def test_what_is_not_plain_soap_is_not_read(body: bytes, why: str) -> None:
    with pytest.raises(soap.UnreadableXml, match=why) as caught:
        soap.read(body)
    assert "passwd" not in str(caught.value)


def test_a_declared_encoding_is_not_believed() -> None:
    """The body is UTF-8, whatever it says: no encoding can hide a declaration from the check."""
    body = f'<?xml version="1.0" encoding="latin-1"?>{message("<Answer>é</Answer>").decode().partition("?>")[2]}'
    assert soap.read(body.encode()).text == "é"


def test_comments_and_character_data_are_no_declarations() -> None:
    assert soap.read(message("<Answer><!-- a --><![CDATA[a<b]]></Answer>")).text == "a<b"


def test_depth_does_no_harm() -> None:
    depth = 100_000
    with pytest.raises(soap.UnreadableXml):
        soap.read(b"<a>" * depth)
    assert soap.read(message("<a>" * depth + "</a>" * depth)).tag == "a"


def test_children_are_found_in_any_namespace() -> None:
    read = soap.read(message(f'<R xmlns="{SPACE}"><V>1</V><x:V xmlns:x="urn:x"> 2 </x:V><W/></R>'))
    assert [child.text for child in soap.children(read, "V")] == ["1", " 2 "]
    assert (soap.value(read, "V"), soap.value(read, "W"), soap.value(read, "X")) == ("1", "", "")
