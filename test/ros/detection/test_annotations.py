"""Label files: what they say, and one line that names the file and line of what is wrong."""

import numpy as np
import pytest

from dreamif_model import ConfigError
from dreamif_ros.detection.annotations import (
    Annotation,
    AnnotationError,
    Truth,
    read_labels,
    read_names,
    write_yolo,
)

VOC = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <folder>Annotations</folder>
  <filename>{stem}.jpg</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}
</annotation>
"""
OBJECT = """  <object><name>{}</name><pose>Unspecified</pose><difficult>0</difficult>
    <bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
  </object>"""


def voc(*objects, stem="a", width=200, height=100):
    return VOC.format(
        stem=stem,
        width=width,
        height=height,
        objects="\n".join(OBJECT.format(*values) for values in objects),
    )


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / "data" / "labels" / "train"
    folder.mkdir(parents=True)
    return folder


def test_yolo_text(labels):
    (labels / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n\n0 0.95 0.1 0.2 0.2\n")
    (labels / "b.txt").write_text("")
    read = read_labels(labels, ["a", "b", "c"], ["person", "car"])
    assert (read.missing, read.unused, read.layout) == (1, 0, "YOLO text")
    truth = read.of("a").truth(200, 100)
    assert truth.names == ("car", "person")
    assert truth.boxes.dtype == np.float32
    np.testing.assert_allclose(truth.boxes, [[75, 25, 125, 75], [170, 0, 200, 20]], atol=1e-4)
    for stem in ("b", "c"):  # empty, missing
        assert read.of(stem).truth(200, 100).boxes.shape == (0, 4)


def test_pascal_voc(labels):
    """As LLVIP has it; the corners as written, clipped to the image."""
    (labels / "a.xml").write_text(voc(("person", 10, 20, 60, 80), ("bicycle", -5, 0, 30, 101)))
    (labels / "b.xml").write_text(voc())
    (labels / "z.xml").write_text(voc())
    read = read_labels(labels, ["a", "b"])
    assert (read.missing, read.unused, read.layout) == (0, 1, "Pascal VOC XML")
    truth = read.of("a").truth(200, 100)
    assert truth.names == ("person", "bicycle")
    assert truth.boxes.tolist() == [[10, 20, 60, 80], [0, 0, 30, 100]]
    assert read.of("b").truth(200, 100).names == ()


@pytest.mark.parametrize("place", [".", "..", "../.."])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "person\ncar\n"),
        ("data.yaml", "path: /elsewhere\nnames: [person, car]\n"),
        ("data.yaml", "names:\n  1: car\n  0: person\n"),
    ],
)
def test_names_are_found_beside_the_labels(labels, place, file, text):
    (labels / place / file).write_text(text)
    (labels / "a.txt").write_text("1 0.5 0.5 0.25 0.5")
    assert read_labels(labels, ["a"]).of("a").marks[0].name == "car"


def test_what_is_written_is_read_again(labels, rng):
    corners = np.sort(rng.uniform(0, 1, (5, 2, 2)), axis=1).reshape(5, 4) * (640, 480, 640, 480)
    truth = Truth(corners.astype(np.float32), ("car", "person", "car", "car", "person"))
    write_yolo(labels / "a.txt", truth, ["person", "car"], 640, 480)
    again = read_labels(labels, ["a"], ["person", "car"]).of("a").truth(640, 480)
    assert again.names == truth.names
    np.testing.assert_allclose(again.boxes, truth.boxes, atol=1e-3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.2", "4 fields, expected 5: class cx cy w h"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 fields"),
        ("person 0.5 0.5 0.2 0.2", "class 'person' is not a whole number"),
        ("2 0.5 0.5 0.2 0.2", "class 2, expected 0 to 1: --names names person, car"),
        ("-1 0.5 0.5 0.2 0.2", "class -1"),
        ("0 0.5 nan 0.2 0.2", "not four finite numbers"),
        ("0 0.5 x 0.2 0.2", "not four finite numbers"),
        ("0 320 240 40 80", "not within 0 to 1"),
        ("0 0.5 0.5 0 0.2", "a box without area"),
        ("0 0.5 0.5 -0.2 0.2", "a box without area"),
    ],
)
def test_a_bad_line_is_named(labels, line, words):
    (labels / "a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(AnnotationError, match=r"a\.txt:2: ") as caught:
        read_labels(labels, ["a"], ["person", "car"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (voc()[:-20], "a.xml:6: not well-formed XML: unclosed token"),
        ("", "a.xml:1: not well-formed XML: no element found"),
        ("\0\1\2", "not well-formed XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "not well-formed XML: unknown"),
        ("<html></html>", "its root is <html>, expected <annotation>"),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
            "a.xml:1: a DOCTYPE is not accepted",
        ),
        (voc(("", 1, 2, 3, 4)), "a.xml:7: an object without name"),
        (voc(("person", 1, 2, "", 4)), "a.xml:7: '1 2  4' are not four finite numbers"),
        (voc(("person", 1, 2, "inf", 4)), "not four finite numbers"),
        (voc(("person", 5, 2, 3, 4)), "a.xml:7: a box without area: 5 2 3 4"),
        (voc(width="wide"), "a.xml:5: size is ['wide', '100'], expected width and height"),
        ("<annotation><object><name>car</name></object></annotation>", "without bndbox"),
    ],
)
def test_bad_xml_is_named(labels, text, words):
    (labels / "a.xml").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_labels(labels, ["a"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entities_that_blow_up_are_never_expanded(labels):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    (labels / "a.xml").write_text(
        f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><annotation>&e11;</annotation>', "utf-16"
    )
    with pytest.raises(AnnotationError, match="a DOCTYPE is not accepted"):
        read_labels(labels, ["a"])


def test_boxes_must_be_of_their_image(labels):
    (labels / "a.xml").write_text(voc(("person", 210, 20, 260, 80), width=0, height=0))
    (labels / "b.xml").write_text(voc(("person", 10, 20, 60, 80), width=1280, height=1024))
    read = read_labels(labels, ["a", "b"])
    with pytest.raises(AnnotationError, match=r"a\.xml:7: .*lies outside the image of 200x100"):
        read.of("a").truth(200, 100)
    with pytest.raises(AnnotationError, match=r"b\.xml is for an image of 1280x1024"):
        read.of("b").truth(200, 100)
    assert read.of("b").truth(1280, 1024).boxes.tolist() == [[10, 20, 60, 80]]


def missing(labels):
    labels.rmdir()
    return "no such folder of labels"


def nothing(labels):
    (labels / "classes.txt").write_text("person")
    return "no label files in"


def both(labels):
    (labels / "a.txt").write_text("")
    (labels / "b.xml").write_text(voc())
    return "has both .txt and .xml labels"


def of_others(labels):
    (labels / "x.txt").write_text("")
    return "is for one of the 5 images: looked for a.txt, b.txt, c.txt …, found x.txt"


def unnamed(labels):
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    return "no classes.txt or data.yaml beside or above them names the classes: give --names"


def badly_named(labels):
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    (labels / "data.yaml").write_text("names: {0: person, 2: car}")
    return "names must be a list of class names"


def not_yaml(labels):
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    (labels / "data.yaml").write_text("names: [person")
    return "data.yaml, line 1: expected"


def binary(labels):
    (labels / "classes.txt").write_text("person")
    (labels / "a.txt").write_bytes(b"\xff\xd8\xff\xe0")
    return "a.txt is not text"


@pytest.mark.parametrize(
    "spoil", [missing, nothing, both, of_others, unnamed, badly_named, not_yaml, binary]
)
def test_a_folder_that_cannot_be_used_is_named(labels, spoil):
    words = spoil(labels)
    with pytest.raises((AnnotationError, ConfigError)) as caught:
        read_labels(labels, list("abcde"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_files(tmp_path):
    (tmp_path / "names.txt").write_text("person\n\ntraffic light\n", "utf-8-sig")
    assert read_names(tmp_path / "names.txt") == ("person", "traffic light")
    assert Annotation().truth(10, 10).names == ()
