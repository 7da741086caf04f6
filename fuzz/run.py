"""Read damaged files again and again: each must give a result or a DreamIFError, and soon.

    .venv/bin/python fuzz/run.py                             # each target for a minute
    .venv/bin/python fuzz/run.py mcap --cases 300 --seed 7
    .venv/bin/python fuzz/run.py mcap --input out/fuzz/mcap/finding-12.mcap     # it again

A case is a valid file in which some bytes, numbers or words were changed. It depends on the seed
and its number only. The exit status is 1 where a case gave something else. What ended the process
itself lies in out/fuzz/TARGET/input, what libraries wrote to stderr in out/fuzz/TARGET.log.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from targets import TARGETS, Target

from dreamif_model import DreamIFError

ROOT = Path(__file__).resolve().parent.parent
CPU_S = 10.0  # of one case
MEMORY_BYTES = 1 << 30  # above what the process has when it begins
CHANGES_OF_A_CASE = (1, 1, 1, 2, 4)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)
WORDS = (
    *(b"0", b"-1", b"1e999", b"nan", b".inf", b"9" * 400, b"1_000", b"0x10", b"\x00", b"\xff\xfe"),
    *(b"null", b"true", b"~", b"''", b"[]", b"{}", b"[" * 40, b"*a", b"&a", b"!!binary", b"---"),
    *(b"\n", b"\t", b": ", b"- ", b"<a>", b"</a>", b"&lt;", b"<!DOCTYPE a>", "°é\u2028".encode()),
    *(b"\xff\xd8", b"\xff\xda", b"IHDR", b"IEND", b"\x28\xb5\x2f\xfd", b"SQLite format 3"),
)


class TooSlowError(BaseException):
    """A case took more than CPU_S; no reader may handle it as a damaged file."""


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """The file with one change or a few."""
    changed = bytearray(data)
    for _ in range(rng.choice(CHANGES_OF_A_CASE)):
        rng.choice(CHANGES)(rng, changed, others)
    return bytes(changed)


def _place(rng: random.Random, data: bytes) -> int:
    """A position; headers stand at the beginning, indexes at the end."""
    share = rng.random() ** rng.choice((1, 4, 8))
    return int(len(data) * (share if rng.random() < 0.7 else 1 - share))


def _flip(rng: random.Random, data: bytearray, _: Any) -> None:
    if data:
        data[min(_place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)


def _put_number(rng: random.Random, data: bytearray, _: Any) -> None:
    size, at = rng.choice((1, 2, 4, 8)), _place(rng, data)
    number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
    data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _put_word(rng: random.Random, data: bytearray, _: Any) -> None:
    word, at = rng.choice(WORDS), _place(rng, data)
    data[at : at + rng.choice((0, len(word)))] = word


def _replace_number(rng: random.Random, data: bytearray, _: Any) -> None:
    """A number that is written in digits, as in text files."""
    if found := list(NUMBER.finditer(bytes(data[:4096]))):
        start, end = rng.choice(found).span()
        data[start:end] = rng.choice((*WORDS, str(rng.choice(NUMBERS)).encode()))


def _cut(rng: random.Random, data: bytearray, _: Any) -> None:
    del data[_place(rng, data) :]


def _remove(rng: random.Random, data: bytearray, _: Any) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 4, 40))]


def _repeat(rng: random.Random, data: bytearray, _: Any) -> None:
    at, size = _place(rng, data), rng.choice((1, 8, 100))
    data[at:at] = data[at : at + size] * rng.choice((1, 2, 30))


def _splice(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    """The end of another valid file after the beginning of this one."""
    other = rng.choice(others)
    data[_place(rng, data) :] = other[_place(rng, other) :]


Change = Callable[[random.Random, bytearray, Any], None]
CHANGES: tuple[Change, ...] = (
    *(_flip, _put_number, _put_word, _replace_number, _cut, _remove, _repeat, _splice),
)


@contextmanager
def limits() -> Any:
    """Limit the memory of the process, and let an alarm of the CPU time raise TooSlowError."""

    def too_slow(*_: Any) -> None:
        raise TooSlowError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    memory = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, before[1]))
    handler = signal.signal(signal.SIGPROF, too_slow)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def try_case(target: Target, path: Path) -> tuple[bool, str]:
    """Whether the file could be read, and the finding: empty for a result or a DreamIFError."""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        target.read(path)
    except DreamIFError as error:
        return False, "" if str(error) else f"a {type(error).__name__} without a message"
    except (Exception, TooSlowError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        return False, f"{kind} at {Path(where.filename).name}:{where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return True, ""


def fuzz(name: str, target: Target, out: Path, seed: int, cases: int, seconds: float) -> int:
    """Try cases until their number or the time is reached; returns the number of findings."""
    samples = target.samples()
    shutil.rmtree(out, ignore_errors=True)
    found: dict[str, Path] = {}
    number = read = 0
    end = time.monotonic() + seconds
    with limits():
        while number < cases and time.monotonic() < end:
            path = write_case(samples, out / "input", random.Random(f"{seed}/{name}/{number}"))
            was_read, finding = try_case(target, path)
            read += was_read
            if finding and finding not in found:
                found[finding] = out / f"finding-{number}{path.suffix}"
                shutil.copyfile(path, found[finding])
                print(f"{name}: {finding}: {found[finding]} (from {path.name})", flush=True)
            number += 1
    print(f"{name}: {number} cases, seed {seed}: {read} read, {len(found)} findings", flush=True)
    return len(found)


def write_case(samples: dict[str, bytes], folder: Path, rng: random.Random) -> Path:
    """One damaged file, alone in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name = rng.choice(sorted(samples))
    path = folder / name
    path.write_bytes(mutated(rng, samples[name], list(samples.values())))
    return path


def fuzz_all(out: Path, arguments: list[str]) -> int:
    """Fuzz each target in a process of its own; returns the exit status."""
    failed = False
    out.mkdir(parents=True, exist_ok=True)
    for name in TARGETS:
        with (out / f"{name}.log").open("w") as log:
            ended = subprocess.run([sys.executable, __file__, name, *arguments], stderr=log)
        failed |= ended.returncode != 0
        if ended.returncode not in (0, 1):
            print(f"{name}: the process ended with status {ended.returncode}: {log.name}")
    return int(failed)


def main() -> int:
    """Fuzz one target, or each; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", choices=TARGETS, help="(default: each)")
    parser.add_argument("--seconds", type=float, default=60.0, help="(default: %(default)g)")
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("--input", type=Path, help="read this file, with the traceback")
    options = parser.parse_args()
    if not options.target:
        return fuzz_all(options.out, sys.argv[1:])
    faulthandler.enable()
    target = TARGETS[options.target]
    if options.input:
        print(target.read(options.input))
        return 0
    out = options.out / options.target
    found = fuzz(options.target, target, out, options.seed, options.cases, options.seconds)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
