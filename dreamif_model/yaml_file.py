"""YAML files that people and other programs wrote, read safely and within bounds.

PyYAML's safe loader still builds dates, base-60 numbers and shared nodes, fails on some of them
with errors of its own, and needs unbounded time for a few lines of nested aliases. What we read
are settings: mappings, lists, text, numbers, true, false and null, as YAML 1.2 defines them.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from dreamif_model.errors import ConfigError

MAX_BYTES = 256 * 1024  # of a file
MAX_DEPTH = 20  # of lists and mappings within each other
MAX_NODES = 20_000
MAX_NUMBER_LENGTH = 40  # characters
_TAG = "tag:yaml.org,2002:"
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?")


def read_yaml(path: Path) -> Any:
    """What a YAML file holds: dict, list, str, int, float, bool or None.

    Raises:
        ConfigError: The file cannot be read, is larger than MAX_BYTES, nested deeper than
            MAX_DEPTH, uses aliases or other types, repeats a key, or is no YAML at all; one line
            that names the file and the place.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path} has {size} bytes, expected at most {MAX_BYTES}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # not UTF-8, or a path with a null character
        raise ConfigError(f"{path} is no text in UTF-8") from None
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from None
    finally:
        if loader:
            loader.dispose()


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader without aliases, dates and base 60, and with bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        self._nodes += 1
        self._depth += 1
        if self.check_event(yaml.AliasEvent):
            raise ConstructorError(None, None, "aliases (*name) are not allowed: repeat it", mark)
        if self._depth > MAX_DEPTH:
            raise ConstructorError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        if self._nodes > MAX_NODES:
            raise ConstructorError(None, None, f"more than {MAX_NODES} values", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if node.style is None and _DATE.fullmatch(text) and not _is_date(text):
        problem = f"{text} is no date, where other programs would read one: quote it"
        raise ConstructorError(None, None, problem, node.start_mark)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConstructorError(None, None, "half of a surrogate pair in a text", node.start_mark)
    return text


def _is_date(text: str) -> bool:
    try:
        date(*map(int, text.split("-")))
    except ValueError:
        return False
    return True


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = _number_text(loader, node)
    try:
        return int(text, 0 if text.lstrip("+-")[:2] in ("0x", "0o") else 10)
    except ValueError:
        raise _no_number(text, node) from None


def _real(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = _number_text(loader, node)
    try:
        return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
    except ValueError:
        raise _no_number(text, node) from None


def _number_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if len(text) > MAX_NUMBER_LENGTH:
        problem = f"a number of {len(text)} characters, expected at most {MAX_NUMBER_LENGTH}"
        raise ConstructorError(None, None, problem, node.start_mark)
    return text


def _no_number(text: str, node: yaml.ScalarNode) -> ConstructorError:
    return ConstructorError(None, None, f"{text!r} is no number", node.start_mark)


def _truth(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = str(loader.construct_scalar(node)).lower()
    if text not in ("true", "false"):
        raise ConstructorError(None, None, f"{text!r} is neither true nor false", node.start_mark)
    return text == "true"


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(item, deep=True) for item in _items(node, yaml.SequenceNode)]


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key_node, value_node in _items(node, yaml.MappingNode):
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (list, dict)):
            raise ConstructorError(None, None, "a list or mapping as a key", key_node.start_mark)
        if key in made:
            raise ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
        made[key] = loader.construct_object(value_node, deep=True)
    return made


def _items(node: Any, kind: type[yaml.CollectionNode]) -> list[Any]:
    """The parts of a list or mapping; a text with such a tag has none."""
    if not isinstance(node, kind):
        raise ConstructorError(None, None, f"{node.tag} on something else", node.start_mark)
    return list(node.value)


def _unknown(_: _Loader, node: yaml.Node) -> None:
    raise ConstructorError(None, None, f"the type {node.tag} is not allowed", node.start_mark)


_Loader.yaml_constructors = {
    f"{_TAG}str": _text,
    f"{_TAG}int": _whole,
    f"{_TAG}float": _real,
    f"{_TAG}bool": _truth,
    f"{_TAG}null": lambda loader, node: None,  # noqa: ARG005
    f"{_TAG}seq": _list,
    f"{_TAG}map": _mapping,
    None: _unknown,
}
# The core schema of YAML 1.2: 012 is twelve, 1e-3 a number, yes and 12:30 are texts.
_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))
