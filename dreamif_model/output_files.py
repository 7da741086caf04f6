"""Files that we write: whole or not at all, never through a link, never over a user's file."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamif_model.errors import ConfigError, DreamIFError

JSON_MARK = {"made_by": "dreamif"}  # the first key of our JSON files
TEXT_MARK = "read by Dream-IF.\n"  # ends the first line, a comment, of our YAML files
TABLE_MARK = "<!-- made by dreamif -->\n"  # the first line of our Markdown files
IMAGE_MARK = b"Dream-IF"  # of our PNG files as Software, of our JPEG files as comment
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HEAD = 1024  # bytes in which each of them is
_OURS = re.compile(
    rb"""\s*\[?\s*\{\s*"made_by":\ "dreamif"
    |\#[^\n]*read\ by\ Dream-IF\.\n
    |<!--\ made\ by\ dreamif\ -->
    |\x89PNG.*tEXtSoftware\0Dream-IF
    |\xff\xd8.*\xff\xfe\0\x0aDream-IF
    |.{8}\{"__metadata__":\{[^}]*"format":"dreamif-""",
    re.DOTALL | re.VERBOSE,
)


class WriteError(DreamIFError):
    """A file that could not be written: the disk is full, or a folder is not writable."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to write into, which takes its place once the block is left.

    A link at ``path`` is replaced, not followed, and other names of the same file keep their
    content. Where the block fails, ``path`` is as it was and the new file is gone.

    Yields:
        The path of the new file, with the suffix of ``path``; ``path`` itself where it is a stream
        such as /dev/stdout.

    Raises:
        WriteError: The system cannot write it; names ``path`` and the cause.
    """
    if _is_stream(path):
        with naming(path):
            yield path
        return
    with naming(path):
        handle, name = tempfile.mkstemp(path.suffix, ".unfinished-", path.parent)
        os.close(handle)
    unfinished = Path(name)
    try:
        with naming(path):
            yield unfinished
            unfinished.chmod(0o666 & ~_umask())
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` to make it in, gone after the block.

    Errors of the block name ``path`` in place of what is in that folder.
    """
    with naming(path):
        folder = tempfile.TemporaryDirectory(prefix=".unfinished_", dir=path.parent)
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in _NO_ROOM and name not in str(error.filename):
                raise
            raise WriteError(f"cannot write {path}: {error.strerror or error}") from None
        except DreamIFError as error:
            told = str(error).replace(f"{name}{os.sep}", f"{path.parent}{os.sep}")
            raise type(error)(told) from None


def write_whole(path: Path, content: bytes | str) -> None:
    """Write bytes, or text as UTF-8, to ``path``; see :func:`whole_file`."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with whole_file(path) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError into a WriteError that names ``path``, which is what a user asked for."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from None


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """ConfigError where an output is an input, by whatever name or link.

    The inputs of a folder are all files in it.
    """
    written = [path for path in outputs if path.exists()]
    files = (file for path in inputs if written for file in _files(path))
    read = {identity: file for file in files if (identity := _identity(file))}
    for path in written:
        source = read.get(_identity(path) or (-1, -1))
        if source:
            raise ConfigError(f"{path} would replace {source}, which is read: name another output")


def refuse_foreign(outputs: Iterable[Path], force: bool) -> None:
    """ConfigError where an output exists and we did not write it; force: replace it."""
    for path in outputs:
        if not force and path.is_file() and not _is_stream(path) and not is_ours(path):
            raise ConfigError(
                f"{path} exists, and dreamif did not write it: name another output, or --force "
                "replaces it"
            )


def is_ours(path: Path) -> bool:
    """Whether we wrote the file, or it is empty; one that cannot be read is not ours."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return not head or _OURS.match(head) is not None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Refuse a second command that writes into the folder; ConfigError for the second."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(
            f"another dreamif is writing into {folder}: wait for it, or name another folder"
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


def _files(path: Path) -> Iterable[Path]:
    return path.rglob("*") if path.is_dir() else [path]


def _is_stream(path: Path) -> bool:
    """A device, a pipe or an open file of a process: written in place, never replaced."""
    folder = path.parent.absolute()
    if str(folder) in ("/dev", "/dev/fd") or folder.is_relative_to("/proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _identity(path: Path) -> tuple[int, int] | None:
    """What names one file among all names of it; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
