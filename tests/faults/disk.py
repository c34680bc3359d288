"""Disks that can be full: file systems in memory, where this process may mount them (Linux, as root)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mounted(place: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system of its own at ``place`` while the block runs; False where that may not be."""
    place.mkdir(exist_ok=True)
    done = os.geteuid() == 0 and sys.platform == "linux"
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    done = done and not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextlib.contextmanager
def full(place: Path) -> Iterator[None]:
    """Leave no byte on the file system of ``place`` while the block runs."""
    filler = place / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            left = os.statvfs(place)
            os.posix_fallocate(file.fileno(), 0, max(1, left.f_bavail * left.f_frsize - 4096))
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:  # what another had freed meanwhile
                file.write(bytes(1024))
        yield
    finally:
        filler.unlink(missing_ok=True)
