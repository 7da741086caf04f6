"""The `dreamif` command: files in and out, exit statuses, one-line failures."""

import argparse
import io
import subprocess
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT
from helpers.videos import camera, scene

from dreamif_model import FusionPipeline
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.image_files import read_image, write_image
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros import cli


def fuse(folder, *options, infrared="ir", visible="vi"):
    paths = ["--ir", str(folder / infrared), "--vi", str(folder / visible)]
    return cli.main(["fuse", *paths, "--out", str(folder / "out"), "--device", "cpu", *options])


@pytest.mark.parametrize("variant", ["nano", "average"])
def test_fuse_writes_what_the_pipeline_gives(folders, variant, capfd):
    assert fuse(folders, "--variant", variant, "--dominance") == 0
    pipeline = FusionPipeline(variant, "cpu")
    for stem in ("a", "b"):
        visible = read_image(folders / "vi" / f"{stem}.png")
        expected = pipeline.fuse(
            visible=visible, infrared=read_image(folders / "ir" / f"{stem}.png")
        )
        out = folders / "out"
        np.testing.assert_array_equal(read_image(out / f"{stem}.png"), expected.fused)
        for name in ("infrared", "visible"):
            dominance = getattr(expected, f"dominance_{name}")
            written = read_image(out / f"{stem}_{name}.png")
            assert written.shape == (37, 53)
            assert np.abs(written / 255 - dominance).max() <= 0.5 / 255 + 1e-6
    assert "2 fused images in" in capfd.readouterr().out


def test_fuse_takes_two_files_and_writes_only_the_fused_one(folders):
    assert fuse(folders, "--variant", "average", infrared="ir/a.png", visible="vi/a.png") == 0
    assert [path.name for path in (folders / "out").iterdir()] == ["a.png"]


def test_fuse_degrades_the_inputs_first(folders, capfd):
    """Infrared of 16 bit too, once it is gray."""
    texts = ["infrared=stripes:8", "gaussian:20"]
    options = ["--variant", "average", "--seed", "3"]
    assert fuse(folders, *options, "--degrade", texts[0], "--degrade", texts[1]) == 0
    spec, generator = DegradationSpec.parse(texts), torch.Generator().manual_seed(3)
    pipeline = FusionPipeline("average", "cpu")
    for stem in ("a", "b"):
        infrared = read_image(folders / "ir" / f"{stem}.png")
        shown = spec.apply(pipeline.normalizer.normalize(infrared), "infrared", generator)
        visible = spec.apply(read_image(folders / "vi" / f"{stem}.png"), "visible", generator)
        expected = pipeline.fuse(visible=visible, infrared=shown).fused
        np.testing.assert_array_equal(read_image(folders / "out" / f"{stem}.png"), expected)
    printed = capfd.readouterr().out
    assert "inputs were degraded: infrared=stripes:8 gaussian:20, seed 3" in printed


def test_fuse_leaves_the_other_camera_alone(folders):
    """As with no --degrade at all: the infrared keeps its 16 bits."""
    options = ["--variant", "average", "--degrade", "visible=resize:1"]  # which changes nothing
    assert fuse(folders, *options) == 0
    pipeline = FusionPipeline("average", "cpu")
    for stem in ("a", "b"):
        paths = {name: folders / name / f"{stem}.png" for name in ("ir", "vi")}
        expected = pipeline.fuse(
            visible=read_image(paths["vi"]), infrared=read_image(paths["ir"])
        ).fused
        np.testing.assert_array_equal(read_image(folders / "out" / f"{stem}.png"), expected)


@pytest.mark.parametrize("degrade", [[], ["--degrade", "infrared=resize:1"]])  # no change
@pytest.mark.parametrize(("sequence", "smoothing"), [([], 1.0), (["--sequence"], 0.03)])
def test_the_range_of_16_bit_infrared_is_each_images_or_the_videos(
    folders, rng, degrade, sequence, smoothing
):
    for stem, low in (("a", 1000), ("b", 2000)):
        counts = rng.integers(low, low + 3000, (37, 53), dtype=np.uint16)
        write_image(folders / "ir" / f"{stem}.png", counts)
    assert fuse(folders, "--variant", "average", *degrade, *sequence) == 0
    normalizer = ThermalNormalizer(ThermalConfig(smoothing=smoothing))
    for stem in ("a", "b"):
        visible, infrared = (read_image(folders / name / f"{stem}.png") for name in ("vi", "ir"))
        gray = normalizer.normalize(infrared)
        expected = FusionPipeline("average", "cpu").fuse(visible=visible, infrared=gray).fused
        np.testing.assert_array_equal(read_image(folders / "out" / f"{stem}.png"), expected)


def test_a_sequence_is_fused_with_the_memory_of_its_frames(tmp_path, rng):
    pairs = {}
    for number in range(4):
        pairs[f"{number}"] = camera(scene(1), 20, rng), camera(scene(2), 20, rng)
        for name, image in zip(("ir", "vi"), pairs[f"{number}"], strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            write_image(tmp_path / name / f"{number}.png", image)
    options = "--sequence", "--temporal-mode", "auto", "--temporal-strength", "0.25"
    assert fuse(tmp_path, "--variant", "average", *options) == 0
    stream = FusionPipeline("average", "cpu").stream(TemporalConfig("auto", 0.25))
    for stem, (infrared, visible) in pairs.items():
        expected = stream.fuse(visible=visible, infrared=infrared).fused
        np.testing.assert_array_equal(read_image(tmp_path / "out" / f"{stem}.png"), expected)
    single = FusionPipeline("average", "cpu").fuse(visible=visible, infrared=infrared).fused
    assert np.abs(single.astype(int) - expected).mean() > 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--temporal-mode", "auto"], "--temporal-mode auto needs frames of one video: add --seq"),
        (["--temporal-strength", "1"], "--temporal-strength goes with --temporal-mode auto"),
        (["--temporal-strength", "2"], "temporal strength is 2.0, expected 0 to 1"),
        (["--degrade", "gaussian:-3"], "must be from 0.1 to 255, got -3"),
        (["--degrade", "gaussian:20", "--seed", "-1"], "--seed is -1, expected 0 to 2^63 - 1"),
    ],
)
def test_fuse_refuses_a_bad_degradation(folders, options, words, capfd):
    assert fuse(folders, "--variant", "average", *options) == 2
    assert words in capfd.readouterr().err
    assert not (folders / "out").exists()


def damaged(folder):
    (folder / "vi" / "a.png").write_bytes(b"not an image")


def unpaired(folder):
    (folder / "vi" / "c.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged, "it is empty, damaged or not a PNG, JPEG or TIFF"),
        (unpaired, "1 images have no partner of the same name"),
    ],
)
def test_a_failure_is_one_line_and_status_1(folders, spoil, words, capfd):
    spoil(folders)
    assert fuse(folders, "--variant", "average") == 1
    error = capfd.readouterr().err.strip()
    assert words in error
    assert error.splitlines()[-1].startswith("dreamif: ")
    assert "Traceback" not in error


def test_fuse_never_overwrites_its_inputs(folders, capfd):
    before = (folders / "vi" / "a.png").read_bytes()
    paths = ["--ir", str(folders / "ir"), "--vi", str(folders / "vi")]
    assert cli.main(["fuse", *paths, "--out", str(folders / "vi"), "--variant", "average"]) == 2
    assert (
        f"{folders}/vi/a.png would replace {folders}/vi/a.png, which is read"
        in capfd.readouterr().err
    )
    assert (folders / "vi" / "a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["ir", "vi"])
def test_fuse_adds_no_image_to_a_folder_that_is_read(folders, name, capfd):
    for folder in ("ir", "vi"):
        for path in (folders / folder).iterdir():
            path.rename(path.with_suffix(".bmp"))  # so that no output has an input's name
    before = sorted((folders / name).iterdir())
    paths = ["--ir", str(folders / "ir"), "--vi", str(folders / "vi")]
    out = folders / name / ".." / name
    assert cli.main(["fuse", *paths, "--out", str(out), "--variant", "average"]) == 2
    assert f"--out {out} is a folder that is read: name another folder" in capfd.readouterr().err
    assert sorted((folders / name).iterdir()) == before


def test_dominance_overwrites_neither_an_input_nor_another_pair(folders, capfd):
    for name in ("ir", "vi"):
        (folders / name / "b.png").rename(folders / name / "a_infrared.png")
    assert fuse(folders, "--variant", "average", "--dominance") == 2
    assert "out/a_infrared.png would be written twice: give each" in capfd.readouterr().err
    assert not (folders / "out").exists()
    (folders / "ir" / "a.png").rename(folders / "a_infrared.png")
    paths = ["--ir", str(folders / "a_infrared.png"), "--vi", str(folders / "vi" / "a.png")]
    options = ["--out", str(folders), "--variant", "average"]
    assert cli.main(["fuse", *paths, *options, "--dominance"]) == 2
    assert f"{folders}/a_infrared.png would replace " in capfd.readouterr().err
    assert cli.main(["fuse", *paths, *options]) == 0


@pytest.mark.parametrize(
    "verb",
    [
        ["fuse", "--variant", "average", "--ir", "ir/a.png", "--vi", "vi/a.png"],
        ["evaluate", "--variant", "average", "--ir", "ir/a.png", "--vi", "vi/a.png"],
        ["train", "--config", "train.yaml", "--data", "."],
        ["demo"],
    ],
)
def test_an_out_that_is_a_file_is_named(folders, verb, monkeypatch, capfd):
    monkeypatch.chdir(folders)
    (folders / "train.yaml").write_text("variant: nano\ndata: []\n")
    (folders / "out").write_text("a file where the folder should be")
    assert cli.main([*verb, "--out", "out"]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error == "dreamif: --out out is a file, expected a folder"


@pytest.mark.parametrize(
    "verb",
    [
        ["summary"],
        ["benchmark", "--device", "cpu"],
        ["evaluate", "--ir", "ir", "--vi", "vi"],
        ["metrics", "--ir", "ir", "--vi", "vi", "--fused", "vi"],
    ],
)
def test_a_json_that_is_a_folder_is_refused_before_any_work(folders, verb, monkeypatch, capfd):
    monkeypatch.chdir(folders)
    assert cli.main([*verb, "--json", "."]) == 2
    printed = capfd.readouterr()
    assert printed.err == "dreamif: --json . is a folder, expected a file\n"
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [[], ["fuse"], ["fuse", "--variant", "huge"], ["nonsense"]])
def test_a_wrong_call_is_status_2(arguments):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(arguments)
    assert exit_info.value.code == 2


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["--version"])
    assert exit_info.value.code == 0
    version = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert capsys.readouterr().out == f"dreamif {version}\n"


def test_metrics_pass_over_dominance_maps(folders, rng, capfd):
    for path in (folders / "ir").iterdir():  # metrics take 8 bit, and larger images than these
        write_image(path, rng.integers(0, 256, (48, 64), dtype=np.uint8))
        write_image(folders / "vi" / path.name, rng.integers(0, 256, (48, 64), dtype=np.uint8))
    assert fuse(folders, "--variant", "average", "--dominance") == 0
    paths = [f"--{name}={folders / name}" for name in ("ir", "vi")]
    assert cli.main(["metrics", *paths, f"--fused={folders / 'out'}"]) == 0
    assert "2 images" in capfd.readouterr().out
    (folders / "out" / "c_infrared.png").write_bytes((folders / "out" / "a.png").read_bytes())
    assert cli.main(["metrics", *paths, f"--fused={folders / 'out'}"]) == 1
    assert "1 images have no partner of the same name" in capfd.readouterr().err


def verbs_of(parser):
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return list(verbs.choices)


@pytest.mark.parametrize("called", [None, "nonsense", "--help"])
def test_the_command_has_every_verb(called):
    assert [name.replace("-", "_") for name in verbs_of(cli.build_parser(called))] == [*cli.VERBS]


@pytest.mark.parametrize("called", ["metrics", "import-checkpoint"])
def test_only_the_verb_that_is_called_is_imported(called):
    code = (
        "import sys; from dreamif_ros import cli\n"
        f"cli.build_parser({called!r})\n"
        "print(*(name for name in cli.VERBS if f'dreamif_ros.cli.{name}' in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [called.replace("-", "_")]
    assert verbs_of(cli.build_parser(called)) == [called]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_too_little_memory_is_a_failure_in_one_line(error, monkeypatch, capfd):
    def run(_):
        raise error

    monkeypatch.setattr(cli.summary, "run", run)
    assert cli.main(["summary"]) == 1
    message = capfd.readouterr().err
    assert message == "dreamif: not enough memory: give smaller images or a smaller size\n"


def test_help_on_a_terminal_of_ascii(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with pytest.raises(SystemExit):
        cli.main(["metrics", "--help"])
    sys.stdout.flush()
    assert b"mean and 95 % interval" in shown.getvalue()
    assert b"AG       ? ? 0" in shown.getvalue()  # ↑ and ≥


def test_a_verb_that_needs_ros_says_so_where_there_is_none(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    for name in [
        name for name in sys.modules if name.startswith("dreamif_ros.simulation.demo_run")
    ]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["demo", "--seconds", "1"]) == 1
    assert "needs ROS 2 and there is no rclpy" in capfd.readouterr().err


def test_degrees_in_tiff_are_read_by_every_verb(tmp_path, rng, capfd):
    for name in ("ir", "vi"):
        (tmp_path / name).mkdir()
    degrees = rng.normal(20, 5, (48, 64)).astype(np.float32)
    assert cv2.imwrite(str(tmp_path / "ir" / "a.tiff"), degrees)
    write_image(tmp_path / "vi" / "a.png", rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    pair = ["--ir", str(tmp_path / "ir"), "--vi", str(tmp_path / "vi")]
    out = ["--out", str(tmp_path / "out")]
    for verb in (
        ["fuse", *pair, *out, "--variant", "average"],
        ["metrics", *pair, "--fused", str(tmp_path / "out"), "--jobs", "1"],
        ["evaluate", *pair, "--variant", "average"],
    ):
        assert cli.main(verb) == 0, capfd.readouterr().err
    make = ["bag", "make", *pair, "--rate", "5", "--out"]
    assert cli.main([*make, str(tmp_path / "jpeg"), "--compressed", "jpeg"]) == 1
    assert "leave out --compressed" in capfd.readouterr().err
    assert cli.main([*make, str(tmp_path / "bag")]) == 0
    assert cli.main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert "32FC1 64x48" in capfd.readouterr().out


def test_files_of_others_are_replaced_on_demand_only(folders, capfd):
    out = folders / "out"
    assert fuse(folders, "--variant", "average") == 0
    assert fuse(folders, "--variant", "average") == 0  # its own files
    (out / "a.png").write_bytes(b"precious")
    assert fuse(folders, "--variant", "average") == 2
    assert "out/a.png exists, and dreamif did not write it" in capfd.readouterr().err
    assert (out / "a.png").read_bytes() == b"precious"
    assert fuse(folders, "--variant", "average", "--force") == 0
