"""Laws of progress: what a commit covers is finished, and a restart repeats only what was not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.progress import METADATA_LIMIT, Progress

gaps = st.lists(st.integers(1, 3), min_size=1, max_size=60)


@given(start=st.integers(0, 10**12), gaps=gaps, data=st.data())
def test_a_restart_repeats_exactly_what_was_unfinished(start: int, gaps: list[int], data: st.DataObject) -> None:
    """Through any number of restarts, with gaps between the offsets; nothing is lost, nothing comes twice."""
    offsets = [start + sum(gaps[: n + 1]) - gaps[0] for n in range(len(gaps))]
    finished: set[int] = set()
    mark = (start, "")
    for _ in range(4):
        progress = Progress(*mark)
        count = data.draw(st.integers(0, len(offsets)))
        given_out = []
        for offset in [offset for offset in offsets if offset >= mark[0]][:count]:
            if progress.read(offset):
                assert offset not in finished
                given_out.append(offset)
            else:
                assert offset in finished
        for offset in data.draw(st.permutations(given_out))[: data.draw(st.integers(0, len(given_out)))]:
            progress.finish(offset)
            finished.add(offset)
        mark = progress.mark()
        assert progress.first_unfinished() == mark[0]
        assert all(offset in finished for offset in offsets if offset < mark[0])
        assert len(mark[1]) <= METADATA_LIMIT
    progress = Progress(*mark)
    assert {offset for offset in offsets if offset >= mark[0] and progress.read(offset)} == set(offsets) - finished


def test_only_the_contiguous_prefix_is_committed() -> None:
    """However much is finished beyond."""
    progress = Progress(100)
    for offset in range(100, 200):
        assert progress.read(offset)
    for offset in range(101, 200):
        progress.finish(offset)
    assert progress.mark()[0] == 100
    progress.finish(100)
    assert progress.mark() == (200, "")


def test_what_does_not_fit_into_the_metadata_is_repeated() -> None:
    """Never the other way round."""
    progress = Progress(0)
    for offset in range(10_000):
        progress.read(offset)
    for offset in range(1, 10_000, 2):
        progress.finish(offset)
    offset, metadata = progress.mark()
    assert offset == 0
    assert len(metadata) <= METADATA_LIMIT
    resumed = Progress(offset, metadata)
    repeated = {number for number in range(10_000) if resumed.read(number)}
    assert repeated >= set(range(0, 10_000, 2))
    assert len(repeated) < 9_500


def test_one_stuck_change_costs_no_memory_for_those_that_pass_it() -> None:
    """It may be stuck for a day, while millions are delivered."""
    progress = Progress(0)
    progress.read(0)
    for offset in range(1, 20_000):
        progress.read(offset)
        progress.finish(offset)
    assert len(progress._heap) < 2_000
    assert progress.mark() == (0, "1 20000 ")
    resumed = Progress(0, "1 20000 ")
    assert [offset for offset in range(20_005) if resumed.read(offset)] == [0, *range(20_000, 20_005)]


@given(st.text() | st.sampled_from(["1 x y", "1 5", "2 10 1", "1 10 1,x", "1  ", "host:pid"]))
def test_metadata_of_somebody_else_means_nothing(metadata: str) -> None:
    """A tool may have reset the offsets, or another program used the group."""
    if metadata.startswith("1 ") and metadata.split(" ")[1].isdecimal():
        return
    progress = Progress(7, metadata)
    assert progress.mark() == (7, "")
    assert progress.read(7)
