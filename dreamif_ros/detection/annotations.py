"""The objects in images, from label files: YOLO text or Pascal VOC XML, as LLVIP has it.

All files of a folder have one layout, which their suffix shows. As with YOLO, an image without a
label file has no objects; if no image at all has one, the folder is wrong, which is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ConfigError, DreamIFError, shown
from dreamif_model.output_files import write_whole
from dreamif_model.yaml_file import read_yaml

NAME_FILES = ("classes.txt", "data.yaml")  # beside the labels, or up to two folders above
MAX_BYTES = 16 << 20  # of a label file
OVERSHOOT = 0.01  # of the image's size: by which rounding may take YOLO numbers outside 0 to 1
BoxCorners = tuple[float, float, float, float]  # x1, y1, x2, y2


class AnnotationError(DreamIFError):
    """A label file that is malformed or not of its image."""


@dataclass(frozen=True)
class Truth:
    """The objects in one image."""

    boxes: NDArray[np.float32]  # (n, 4) x1 y1 x2 y2 in pixels from the image's corner
    names: tuple[str, ...]  # n of them
    dark: tuple[bool, ...] = ()  # n or none: whether the visible camera hardly sees it


@dataclass(frozen=True)
class Mark:
    """One box of a label file, and the line that it stands in."""

    name: str
    corners: BoxCorners
    where: str


@dataclass(frozen=True)
class Annotation:
    """One label file."""

    marks: tuple[Mark, ...] = ()
    relative: bool = False  # corners are shares of the image's size, not pixels
    size: tuple[int, int] | None = None  # (width, height) of the image it was drawn on, if told
    source: str = ""

    def truth(self, width: int, height: int) -> Truth:
        """The boxes in an image of this size, clipped to it; AnnotationError for a wrong size."""
        if self.size and self.size != (width, height):
            raise AnnotationError(
                f"{self.source} is for an image of {self.size[0]}x{self.size[1]}, the visible "
                f"image has {width}x{height}: label the images that are evaluated"
            )
        scale = np.array((width, height, width, height) if self.relative else (1, 1, 1, 1))
        boxes = np.array([mark.corners for mark in self.marks], float).reshape(-1, 4) * scale
        clipped = np.clip(boxes, 0, (width, height, width, height))
        for mark, box in zip(self.marks, clipped, strict=True):
            if box[0] >= box[2] or box[1] >= box[3]:
                raise AnnotationError(
                    f"{mark.where}: the box of {mark.name!r} lies outside the image of "
                    f"{width}x{height}"
                )
        return Truth(clipped.astype(np.float32), tuple(mark.name for mark in self.marks))


@dataclass(frozen=True)
class Labels:
    """All labels of some images."""

    by_stem: dict[str, Annotation]
    missing: int  # images without a label file
    unused: int  # label files without an image
    layout: str

    def of(self, stem: str) -> Annotation:
        """The labels of one image; without a label file it has no objects."""
        return self.by_stem.get(stem, Annotation())


def read_labels(folder: Path, stems: Sequence[str], names: Sequence[str] = ()) -> Labels:
    """Read the label files of images.

    Args:
        folder: of the label files.
        stems: names of the images without suffix.
        names: of the class numbers of YOLO files; by default those of ``classes.txt`` or
            ``data.yaml`` beside the labels or up to two folders above.

    Raises:
        AnnotationError: a file is malformed, named with its line, or no image has a label file.
        ConfigError: the class numbers have no names.
    """
    if not folder.is_dir():
        raise AnnotationError(f"no such folder of labels: {folder}")
    suffix, files = _label_files(folder)
    found = {stem: files[stem] for stem in stems if stem in files}
    if not found:
        raise AnnotationError(
            f"no label file in {folder} is for one of the {len(stems)} images: looked for "
            f"{', '.join(f'{stem}{suffix}' for stem in stems[:3])}"
            f"{' …' if len(stems) > 3 else ''}, found {min(files)}{suffix}"
        )
    read = _yolo_reader(folder, names) if suffix == ".txt" else _read_voc
    by_stem = {stem: read(path) for stem, path in found.items()}
    return Labels(
        by_stem,
        missing=len(set(stems)) - len(found),
        unused=len(files.keys() - set(stems)),
        layout="YOLO text" if suffix == ".txt" else "Pascal VOC XML",
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Class names of ``classes.txt`` (one a line) or of the ``names`` of a ``data.yaml``."""
    if path.suffix not in (".yaml", ".yml"):
        return tuple(line.strip() for line in _text(path).splitlines() if line.strip())
    content = read_yaml(path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and names.keys() == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{path}: names must be a list of class names, got {shown(names)}")
    return tuple(names)


def write_yolo(path: Path, truth: Truth, names: Sequence[str], width: int, height: int) -> None:
    """Write the label file of an image of this size; class numbers are places in ``names``."""
    size = np.array((width, height), float)
    lines = []
    for name, box in zip(truth.names, truth.boxes.astype(float), strict=True):
        center, extent = (box[:2] + box[2:]) / 2 / size, (box[2:] - box[:2]) / size
        numbers = " ".join(f"{value:.6f}" for value in (*center, *extent))
        lines.append(f"{names.index(name)} {numbers}\n")
    write_whole(path, "".join(lines))


def _label_files(folder: Path) -> tuple[str, dict[str, Path]]:
    """The suffix of the layout and its files by stem."""
    by_suffix: dict[str, dict[str, Path]] = {
        suffix: {
            path.stem: path
            for path in sorted(folder.glob(f"*{suffix}"))
            if path.name not in NAME_FILES and not path.name.startswith(".")
        }
        for suffix in (".txt", ".xml")
    }
    layouts = [suffix for suffix, files in by_suffix.items() if files]
    if not layouts:
        raise AnnotationError(
            f"no label files in {folder}: expected <image>.txt (YOLO) or <image>.xml (Pascal VOC)"
        )
    if len(layouts) > 1:
        raise AnnotationError(f"{folder} has both .txt and .xml labels: leave one layout in it")
    return layouts[0], by_suffix[layouts[0]]


def _yolo_reader(folder: Path, names: Sequence[str]) -> Callable[[Path], Annotation]:
    known, source = tuple(names), "--names"
    if not known:
        candidates = [place / name for place in _up(folder) for name in NAME_FILES]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise ConfigError(
                f"the labels in {folder} are class numbers and no {' or '.join(NAME_FILES)} "
                "beside or above them names the classes: give --names person,car"
            )
        known, source = read_names(path), str(path)
    return lambda path: _read_yolo(path, known, source)


def _up(folder: Path) -> list[Path]:
    resolved = folder.resolve()
    return [resolved, *resolved.parents[:2]]


def _read_yolo(path: Path, names: Sequence[str], source: str) -> Annotation:
    """Lines of ``class cx cy w h``, shares of the image's size."""
    lines = enumerate(_text(path).splitlines(), start=1)
    marks = [
        _yolo_mark(line.split(), f"{path}:{number}", names, source)
        for number, line in lines
        if line.strip()
    ]
    return Annotation(tuple(marks), relative=True, source=str(path))


def _yolo_mark(fields: list[str], where: str, names: Sequence[str], source: str) -> Mark:
    if len(fields) != 5:
        raise AnnotationError(f"{where}: {len(fields)} fields, expected 5: class cx cy w h")
    try:
        number = int(fields[0])
    except ValueError:
        raise AnnotationError(f"{where}: class {shown(fields[0])} is not a whole number") from None
    if not 0 <= number < len(names):
        raise AnnotationError(
            f"{where}: class {number}, expected 0 to {len(names) - 1}: {source} names "
            f"{', '.join(names)}"
        )
    x, y, width, height = _numbers(fields[1:], where)
    if min(x, y) < -OVERSHOOT or max(x, y, width, height) > 1 + OVERSHOOT:
        raise AnnotationError(
            f"{where}: {' '.join(fields[1:])} is not within 0 to 1: YOLO labels are shares of the "
            "image's width and height, not pixels"
        )
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Mark(names[number], _ordered(corners, where), where)


def _read_voc(path: Path) -> Annotation:
    """Elements ``object`` with ``name`` and ``bndbox``; the corners are taken as written."""
    root = _parse_xml(path)
    if root.tag != "annotation":
        raise AnnotationError(f"{path}: its root is <{root.tag}>, expected <annotation>")
    marks = [_voc_mark(element, path) for element in root.iter("object")]
    return Annotation(tuple(marks), size=_voc_size(root, path), source=str(path))


def _voc_mark(element: Element, path: Path) -> Mark:
    where = f"{path}:{element.get('line')}"
    name = (element.findtext("name") or "").strip()
    box = element.find("bndbox")
    if not name or box is None:
        raise AnnotationError(f"{where}: an object without {'bndbox' if name else 'name'}")
    fields = [box.findtext(key) or "" for key in ("xmin", "ymin", "xmax", "ymax")]
    return Mark(name, _ordered(_numbers(fields, where), where), where)


def _voc_size(root: Element, path: Path) -> tuple[int, int] | None:
    """(width, height) of ``size``; None where it is missing or 0."""
    size = root.find("size")
    if size is None:
        return None
    fields = [size.findtext(key) or "" for key in ("width", "height")]
    try:
        width, height = (int(field) for field in fields)
    except ValueError:
        raise AnnotationError(
            f"{path}:{size.get('line')}: size is {fields}, expected width and height in pixels"
        ) from None
    return (width, height) if width > 0 and height > 0 else None


def _parse_xml(path: Path) -> Element:
    """Elements with their line as attribute ``line``; a DOCTYPE is refused, and so are entities."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG001
        builder.start(tag, {"line": str(parser.CurrentLineNumber)})

    def refuse(*_: Any) -> None:
        raise AnnotationError(
            f"{path}:{parser.CurrentLineNumber}: a DOCTYPE is not accepted in labels, remove it"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(_content(path), True)
    except expat.ExpatError as error:
        raise AnnotationError(
            f"{path}:{error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
        ) from None
    except (LookupError, ValueError) as error:  # an encoding that Python lacks, or of many bytes
        raise AnnotationError(f"{path}: not well-formed XML: {error}") from None
    root: Element = builder.close()
    return root


def _numbers(fields: Iterable[str], where: str) -> BoxCorners:
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise AnnotationError(f"{where}: {shown(' '.join(fields))} are not four finite numbers")
    first, second, third, fourth = values
    return first, second, third, fourth


def _ordered(corners: BoxCorners, where: str) -> BoxCorners:
    left, top, right, bottom = corners
    if left >= right or top >= bottom:
        raise AnnotationError(f"{where}: a box without area: {left:g} {top:g} {right:g} {bottom:g}")
    return corners


def _text(path: Path) -> str:
    try:
        return _content(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not text") from None


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise AnnotationError(f"{path} is no file")
    if path.stat().st_size > MAX_BYTES:
        raise AnnotationError(f"{path} has more than {MAX_BYTES} bytes: it is no label file")
    return path.read_bytes()
