"""Files that we write: whole or not at all, never through a link, never over an input."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamif_model.errors import ConfigError, DreamIFError


class WriteError(DreamIFError):
    """A file that could not be written: the disk is full, or a folder is not writable."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to write into, which takes its place once the block is left.

    A link at ``path`` is replaced, not followed, and other names of the same file keep their
    content. Where the block fails, ``path`` is as it was and the new file is gone.

    Yields:
        The path of the new file, with the suffix of ``path``.

    Raises:
        WriteError: The system cannot write it; names ``path`` and the cause.
    """
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
    """ConfigError where an output is an input, by whatever name or link."""
    read = {identity: path for path in inputs if (identity := _identity(path))}
    for path in outputs:
        source = read.get(_identity(path) or (-1, -1))
        if source:
            raise ConfigError(f"{path} would replace {source}, which is read: name another output")


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
