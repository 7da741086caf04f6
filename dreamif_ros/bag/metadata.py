"""What metadata.yaml says otherwise than the files of its bag, which alone are believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dreamif_model.errors import ConfigError
from dreamif_model.yaml_file import read_yaml
from dreamif_ros.bag.storage import CAUSES, printable
from dreamif_ros.stamps import to_seconds

NAME = "metadata.yaml"
ROUNDING_NS = 1_000_000  # of times, which is no difference
MAX_TOPICS = 5  # that are told one by one


def metadata_faults(
    bag: Path,
    files: Iterable[Path],
    counts: Counter[tuple[str, str]],
    span_ns: tuple[int, int],
) -> Iterator[str]:
    """Every difference in words, one line each.

    Args:
        bag: folder.
        files: of messages in it.
        counts: messages by the name and type of their topic.
        span_ns: when its first and its last message were recorded.
    """
    path = bag / NAME
    if not path.is_file():
        yield (
            f"{NAME} is missing ({CAUSES}): the files beside it were read; `ros2 bag reindex` "
            "writes a new one"
        )
        return
    try:
        told = read_yaml(path)["rosbag2_bagfile_information"]
        listed = _file_names(told["relative_file_paths"])
        start_ns = int(told["starting_time"]["nanoseconds_since_epoch"])
        long_ns = int(told["duration"]["nanoseconds"])
        messages = int(told["message_count"])
        topics = _topics(told["topics_with_message_count"])
    except ConfigError as error:
        why = printable(str(error).replace(str(path), NAME))
        yield f"{NAME} cannot be compared with the files, which were read: {why}"
        return
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        yield f"{NAME} is incomplete or damaged: the files beside it were read"
        return
    yield from _files(listed, {file.name for file in files})
    begin_ns, end_ns = span_ns
    if abs(start_ns - begin_ns) > ROUNDING_NS:
        yield (
            f"{NAME} gives a wrong start: {_moment(start_ns)}, and the files begin at "
            f"{_moment(begin_ns)}"
        )
    if abs(long_ns - (end_ns - begin_ns)) > ROUNDING_NS:
        yield (
            f"{NAME} gives a wrong duration: {to_seconds(long_ns):.3f} s, and the files last "
            f"{to_seconds(end_ns - begin_ns):.3f} s"
        )
    if messages != counts.total():
        yield (
            f"{NAME} gives a wrong number of messages: {messages}, and the files hold "
            f"{counts.total()}"
        )
    yield from _differences(topics, counts)


def _file_names(listed: Any) -> set[str]:
    if not isinstance(listed, list):
        raise TypeError(f"a list of files was expected, got {listed}")
    return {Path(name).name for name in listed}


def _topics(listed: list[Any]) -> Counter[tuple[str, str]]:
    topics = Counter[tuple[str, str]]()
    for entry in listed:
        topic = entry["topic_metadata"]
        name, type_name = printable(str(topic["name"])), printable(str(topic["type"]))
        topics[name, type_name] += int(entry["message_count"])
    return topics


def _files(listed: set[str], held: set[str]) -> Iterator[str]:
    if more := sorted(map(printable, held - listed)):
        yield f"{NAME} does not list {', '.join(more)}: read too"
    if gone := sorted(map(printable, listed - held)):
        yield f"{NAME} lists {', '.join(gone)}, which {'is' if len(gone) == 1 else 'are'} missing"


def _differences(told: Counter[tuple[str, str]], held: Counter[tuple[str, str]]) -> Iterator[str]:
    """Topics whose number of messages is another."""
    wrong = sorted(topic for topic in {*told, *held} if told[topic] != held[topic])
    for name, type_name in wrong[:MAX_TOPICS]:
        topic = name, type_name
        yield (
            f"{NAME} gives a wrong number of messages of {name} ({type_name}): {told[topic]}, and "
            f"the files hold {held[topic]}"
        )
    if len(wrong) > MAX_TOPICS:
        yield f"{NAME} gives wrong numbers of messages of {len(wrong) - MAX_TOPICS} more topics"


def _moment(time_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(to_seconds(time_ns), timezone.utc):%Y-%m-%d %H:%M:%S.%f}"
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
