"""What of a webhook's URL is shown."""

from __future__ import annotations

import pytest

from connectors.platforms import webhook
from connectors.secrets import redact
from tests.platforms.servers.webhook import SECRET


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/segments", "https://a.example/segments"),
        ("https://a.example/api/segment-changes/", "https://a.example/api/segment-changes/"),
        ("https://a.example/T0PS3CRETPATH", "**********"),
        ("https://a.example/hook?key=0123456789", "**********"),
        ({"env": "URL"}, "**********"),
    ],
)
def test_a_url_is_shown_only_where_nothing_of_it_looks_secret(url: object, shown: str) -> None:
    """What was given by reference is a secret, and so is what has a part that is no plain word."""
    config = webhook.Config.model_validate({"url": url, "secret": {"env": "S"}})
    plain = "https://a.example/correct-horse-battery"
    connector = webhook.connect(config, {"S": SECRET, "URL": plain}, "livesegments/1")
    assert redact(connector.url, connector.hidden) == shown
    assert redact("livesegments/1 segments", connector.hidden) == "livesegments/1 segments"
    if isinstance(url, dict):
        assert redact("no /correct-horse-battery here", connector.hidden) == "no ********** here"
        assert redact("correct-horse-battery", connector.hidden) == "**********"
