"""Bags behind URLs, such as s3:// or https://: read in parts when they are needed, never copied.

`universal_pathlib` gives URLs the methods of a Path, so that the code for bags on disk reads them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from typing_extensions import Buffer

from dreamif_model.errors import DreamIFError
from dreamif_ros.bag.storage import SUFFIXES, BagError, files_of

INSTALL = "pip install 'dreamif_ros[remote]'"


class BagNotFoundError(BagError):
    """A URL behind which there is nothing."""


class RemoteError(BagError):
    """A server that does not answer, or answers something else."""


def bag_path(text: str) -> Path:
    """The path of a bag; a URL becomes an object with the methods of a path.

    Raises:
        DreamIFError: the package that reads such URLs is not installed.
    """
    if "://" not in text:
        return Path(text)
    try:
        import upath

        path = upath.UPath(text)
        _ = path.fs  # loads what reads this kind of URL
    except ModuleNotFoundError as error:
        raise DreamIFError(f"{text}: URLs need {INSTALL} (there is no {error.name})") from None
    except (ImportError, ValueError) as error:  # "Install s3fs to access S3", unknown protocols
        raise DreamIFError(f"{text} cannot be read: {error}") from None
    return Path(path.path) if path.protocol == "file" else cast(Path, path)


def is_remote(bag: Path) -> bool:
    """Whether it is behind a URL."""
    return not isinstance(bag, os.PathLike)


def absolute_bag(bag: Path) -> Path:
    """The same path for every way to write it; a URL stays, because its server would be asked."""
    return bag if is_remote(bag) else bag.resolve()


def find_bags(text: str) -> list[Path]:
    """The bags that an argument stands for, which are many where a URL has ``*`` in its last part.

    A shell does that for paths. Raises as :func:`bag_path`, and BagError where there is none.
    """
    bag = bag_path(text)
    if not is_remote(bag) or "*" not in bag.name:
        return [bag]
    with remote_errors(bag):
        found = sorted(bag.parent.glob(bag.name), key=str)
    if not found:
        raise BagError(f"no such bag: {bag}")
    return found


def bag_files(bag: Path) -> list[Path]:
    """The storage files of a bag, see :func:`~dreamif_ros.bag.storage.files_of`.

    A URL that ends like a file is taken for one: a web server lists no folders.
    """
    if is_remote(bag) and bag.name.endswith(SUFFIXES):
        return [bag]
    with remote_errors(bag):
        return files_of(bag)


def open_bag_file(path: Path, size: int | None = None) -> BinaryIO:
    """A file of a bag, to read from any place in it; ``size`` in bytes saves asking for it."""
    return cast(BinaryIO, _RemoteFile(path, size)) if is_remote(path) else path.open("rb")


@contextmanager
def remote_errors(path: Path) -> Iterator[None]:
    """Turn every error of reading a URL into a RemoteError of one line; others pass."""
    try:
        yield
    except DreamIFError:
        raise
    # Each protocol has its own: of aiohttp, botocore, OSError, ValueError.
    except Exception as error:
        if not is_remote(path):
            raise
        cause: BaseException = error
        while isinstance(cause, FileNotFoundError) and cause.__cause__:  # so is a lost connection
            cause = cause.__cause__
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", 0) == 404:
            raise BagNotFoundError(f"no such bag: {path}") from error
        reason = " ".join(str(cause).split()) or repr(cause)
        raise RemoteError(f"cannot read {path}: {reason}") from error


class _RemoteFile(io.RawIOBase):
    """Each read is one request for just these bytes."""

    def __init__(self, path: Path, size: int | None) -> None:
        self._path: Any = path
        self._known_size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = self._size if whence == os.SEEK_END else self._at if whence == os.SEEK_CUR else 0
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        """Raises RemoteError also where the server sends another part than it was asked for."""
        view = memoryview(buffer).cast("B")
        begin, end = self._at, min(self._at + len(view), self._size)
        if begin >= end:
            return 0
        with remote_errors(self._path):
            data = self._path.fs.cat_file(self._path.path, start=begin, end=end)
        if len(data) != end - begin:
            raise RemoteError(
                f"{self._path}: asked for {end - begin} bytes, got {len(data)}: its server must "
                "answer requests for a range of bytes"
            )
        view[: len(data)] = data
        self._at = end
        return len(data)

    @property
    def _size(self) -> int:
        if self._known_size is None:
            with remote_errors(self._path):
                self._known_size = int(self._path.stat().st_size)
        return self._known_size
