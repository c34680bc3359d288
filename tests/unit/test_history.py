"""Laws of the history of the book: which version is in force, which was before, and how one is named."""

from __future__ import annotations

import pytest

from schemas.definitions import AppliedBook
from stream.history import History, NoSuchVersion, book_in, history_of

ONE, TWO, THREE = "1111111111111111", "1111222222222222", "3333333333333333"


def applied(version: str, minute: int, sql: str = "view_count >= 1") -> AppliedBook:
    """A version with one segment, applied in that minute."""
    return AppliedBook.model_validate(
        {
            "version": version,
            "applied_at": f"2026-03-01T12:{minute:02}:00Z",
            "author": "ada",
            "book": {"segments": {"viewer": {"sql": sql}}},
            "text": "",
        }
    )


def told(*versions: AppliedBook) -> History:
    """The history that these records tell."""
    return history_of((offset, each.model_dump_json().encode()) for offset, each in enumerate(versions))


def test_the_newest_version_is_the_one_in_force() -> None:
    """The last record counts, whatever the clocks of those who applied said."""
    assert told().newest is None
    assert told(applied(TWO, 9), applied(ONE, 1)).newest == applied(ONE, 1)


def test_a_version_twice_in_a_row_counts_once_and_from_its_first_record_on() -> None:
    """Two who apply the same at once both write it; going back to an older version is a new entry."""
    assert told(applied(ONE, 1), applied(ONE, 2), applied(TWO, 3)).versions == (applied(ONE, 1), applied(TWO, 3))
    assert len(told(applied(ONE, 1), applied(TWO, 2), applied(ONE, 3)).versions) == 3


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b'{"version": "1"}'], ids=str)
def test_a_record_that_holds_no_book_is_passed_over_and_named(value: bytes | None) -> None:
    """A stranger's record does not take the history away."""
    history = history_of([(0, applied(ONE, 1).model_dump_json().encode()), (7, value)])
    assert (history.newest, history.unreadable) == (applied(ONE, 1), (7,))


def test_a_field_of_a_later_version_of_the_code_is_no_obstacle() -> None:
    """The history is read by whoever comes after."""
    value = applied(ONE, 1).model_dump_json().replace('"author"', '"ticket":"T-1","author"')
    assert history_of([(0, value.encode())]).versions == (applied(ONE, 1),)


def test_a_version_is_named_by_its_first_digits() -> None:
    """As many as make it the only one, and at least four."""
    history = told(applied(ONE, 1), applied(TWO, 2), applied(THREE, 3))
    assert history.find(ONE).version == history.find("11111").version == ONE
    assert history.find("3333").version == THREE


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("1111", f"1111 may be {ONE} or {TWO}"),
        ("4444", "no version begins with 4444"),
        ("333", "'333' is no version"),
        ("latest", "'latest' is no version"),
        ("", "'' is no version"),
    ],
)
def test_what_names_no_single_version_is_refused(word: str, said: str) -> None:
    """With what to do instead."""
    with pytest.raises(NoSuchVersion, match=said):
        told(applied(ONE, 1), applied(TWO, 2), applied(THREE, 3)).find(word)


def test_of_a_version_that_was_applied_again_the_last_time_is_meant() -> None:
    """And what it replaced then."""
    history = told(applied(ONE, 1), applied(TWO, 2), applied(ONE, 3))
    assert history.find(ONE) == applied(ONE, 3)
    assert history.before(history.find(ONE)) == applied(TWO, 2)
    assert history.before(applied(ONE, 1)) is None


def test_a_segment_is_as_it_is_since_its_last_change() -> None:
    """Versions that changed others are passed over, and older ones in which it happened to be the same count not."""
    first, other, back = applied(ONE, 1), applied(TWO, 2, "view_count >= 2"), applied(ONE, 3)
    later = applied(THREE, 4)
    history = told(first, other, back, later)
    assert history.unchanged_since(later, "viewer") == back
    assert history.unchanged_since(other, "viewer") == other
    assert history.unchanged_since(first, "viewer") == first


def test_the_book_of_a_version_needs_no_language() -> None:
    """What this code would refuse today can still be looked at."""
    assert book_in(applied(ONE, 1, "EVERY WEDNESDAY"))["segments"]["viewer"]["sql"] == "EVERY WEDNESDAY"
