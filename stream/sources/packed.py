"""Opens files, unpacked where they are packed, and reads their lines."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from stream.sources.records import SourceError, Tell, untold

#: Lines between two looks at how far the file is read.
_LOOK = 4_096


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, Callable[[], float]]]:
    """A file for reading, unpacked if it is ``.gz`` or ``.zst``, and a function that tells which share of it is read.

    Raises ``SourceError``, within the block too.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            size = path.stat().st_size or 1
            yield _unpacked(path, raw), lambda: min(1.0, raw.tell() / size)
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # zstandard is not installed everywhere
            raise
        raise SourceError(f"{path}: {error}") from error


def lines(path: str | Path, tell: Tell = untold) -> Iterator[bytes]:
    """The lines of a file without their ends. Raises ``SourceError``."""
    with opened(path) as (file, share):
        for number, line in enumerate(file):
            if not number % _LOOK:
                tell(share())
            yield line.rstrip(b"\r\n")
    tell(1.0)


def _unpacked(path: Path, raw: BinaryIO) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if path.suffix != ".zst":
        return raw
    try:
        import zstandard
    except ImportError as error:
        raise SourceError(
            f"{path}: reading .zst needs the package zstandard (pip install zstandard); "
            f"or unpack it first: zstd -d {path.name}"
        ) from error
    return cast(BinaryIO, io.BufferedReader(_Zst(raw, zstandard.ZstdDecompressor), 1 << 16))


class _Zst(io.RawIOBase):
    """Unpacks the frames of a file. zstandard's own reader takes a frame that is cut off for its end."""

    def __init__(self, file: BinaryIO, decompressor: Callable[[], Any]) -> None:
        self._file, self._decompressor = file, decompressor
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            rest = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
            packed = rest or self._file.read(1 << 16)
            if not packed:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError("the archive is cut off")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor().decompressobj()
            self._ready = self._frame.decompress(packed)
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)
