"""The files around the packages agree with them and with each other."""

import importlib.util
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from helpers import ROOT
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from dreamif_model.image_files import find_pairs, read_gray, read_rgb
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.scene import Scene, SceneConfig


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workflow():
    return yaml.load(text(".github/workflows/test.yml"), yaml.BaseLoader)


@pytest.fixture(scope="module")
def nav():
    """The pages of the site's menu."""

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        children = entry.values() if isinstance(entry, dict) else entry
        return [page for child in children for page in pages(child)]

    return pages(yaml.safe_load(text("mkdocs.yml"))["nav"])


def moved():
    """scripts/docs_pages.py tells where pages from outside docs/ go; read without mkdocs."""
    table = re.search(r"^MOVED = \{.*?\n(.*?)^\}", text("scripts/docs_pages.py"), re.M | re.S)[1]
    return dict(re.findall(r'"(.+)": "(.+)"', table))


def targets():
    return set(re.findall(r"^([a-z_-]+):", text("Makefile"), re.MULTILINE))


def makefile_variable(name):
    value = re.search(rf"^{name} := ((?:.*\\\n)*.*)$", text("Makefile"), re.MULTILINE)[1]
    return value.replace("\\\n", " ").split()


def test_the_workflow_tests_the_pythons_that_setup_py_allows(workflow, description):
    allowed = SpecifierSet(description["python_requires"])
    named = [
        classifier.rpartition(" ")[2]
        for classifier in description["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    ]
    assert all(allowed.contains(version) for version in named)
    oldest = min(named, key=Version)
    assert not allowed.contains(f"3.{Version(oldest).minor - 1}")
    for job in ("fast", "all"):
        assert workflow["jobs"][job]["strategy"]["matrix"]["python"] == named


def test_the_workflow_runs_what_people_run(workflow):
    assert set(workflow["jobs"]) == {"lint", "fast", "jazzy", "all", "weekly"}
    assert workflow["on"]["schedule"]
    for job in workflow["jobs"].values():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        made = {word for line in commands if line.startswith("make ") for word in line.split()[1:]}
        assert made <= targets()
        assert made or ".ci/run" in commands
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


@pytest.mark.filterwarnings("ignore:nodes.Node.traverse:DeprecationWarning")  # catkin_pkg's
def test_the_changelog_names_the_version(description):
    pytest.importorskip("catkin_pkg", reason="needs catkin_pkg (extra test)")
    from catkin_pkg.changelog import get_changelog_from_path

    changelog = get_changelog_from_path(str(ROOT / "CHANGELOG.rst"), "dreamif_ros")
    released = [version for version, _, _ in changelog.foreach_version()]
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert released[0] == description["version"] == package.findtext("version")
    assert "\nForthcoming\n-----------\n" in text("CHANGELOG.rst")


def test_contributing_names_every_folder():
    named = set(re.findall(r"`([\w/.-]+)/`", text("CONTRIBUTING.md")))
    assert all((ROOT / folder).is_dir() for folder in named)
    for parent in ("dreamif_model", "dreamif_ros", "test"):
        folders = {f"{parent}/{path.name}" for path in (ROOT / parent).iterdir() if path.is_dir()}
        assert {name for name in folders if "__pycache__" not in name} <= named


def test_the_menu_of_the_site_lists_every_page(nav):
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(nav) == sorted(pages | set(moved().values()))


def test_pages_from_elsewhere_exist():
    assert all((ROOT / path).is_file() for path in moved())


@pytest.mark.parametrize("page", sorted(moved()))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text(page))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_site_builds(tmp_path):
    pytest.importorskip("material", reason="needs mkdocs-material (extra docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "dominance" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_what_the_fast_tier_leaves_out_exists():
    left_out = makefile_variable("SLOW")
    assert left_out
    assert [path for path in left_out if not (ROOT / path).exists()] == []


def test_pre_commit_calls_the_tools_of_make_lint():
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f".venv/bin/{tool}" in entries
        assert f"$(BIN)/{tool}" in text("Makefile")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def get_data():
    return script("get_data")


def test_the_drawings_are_what_their_scripts_draw():
    assert script("data_flow").picture() == text("docs/data_flow.svg")
    assert script("concept_pictures").pairing_picture() == text("docs/pairing.svg")


def images(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_get_data_names_every_set_of_the_training_configurations(get_data, capsys):
    assert get_data.main([]) == 0
    told = capsys.readouterr().out
    for path in (ROOT / "config" / "train").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text())["data"]:
            assert f"{entry['path']}/ir, {entry['path']}/vi" in told


def test_only_the_permissive_configuration_is_free_of_research_data(get_data):
    free = {folder for data in get_data.SETS if data.permissive for folder in data.folders}
    licences = text("docs/data_licences.md")
    for data in get_data.SETS:
        group = "permissive" if data.permissive else "research"
        assert re.search(rf"\| {group} \| \[?{data.name}", licences, re.IGNORECASE)
    configs = {
        path.stem: {entry["path"] for entry in yaml.safe_load(path.read_text())["data"]}
        for path in (ROOT / "config" / "train").glob("*.yaml")
    }
    assert [name for name, sets in configs.items() if sets <= free] == ["nano_permissive"]


@pytest.mark.slow
def test_drawn_streets_are_those_of_the_simulation(tmp_path):
    drawn = script("drawn_pairs")
    assert drawn.main([str(tmp_path), "--streets", "1", "--instants", "2", "--leaves", "0"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["street"]
    folder = tmp_path / "street"
    assert sorted(path.name for path in (folder / "ir").iterdir()) == ["000_00.png", "000_01.png"]
    scene = Scene(SceneConfig(drawn.FIRST_STREET, noise=0.0))
    np.testing.assert_array_equal(read_rgb(folder / "vi" / "000_01.png"), scene.visible(7.0))
    gray = read_gray(folder / "ir" / "000_00.png")
    np.testing.assert_array_equal(gray, ThermalNormalizer().normalize(scene.infrared(0.0)))


def test_drawn_leaves_are_seen_by_both_cameras_or_by_one(tmp_path):
    drawn = script("drawn_pairs")
    assert drawn.main([str(tmp_path), "--streets", "0", "--leaves", "2"]) == 0
    pairs = find_pairs(tmp_path / "leaves" / "ir", tmp_path / "leaves" / "vi")
    assert [pair.stem for pair in pairs] == ["0000_00", "0001_00"]
    for pair in pairs:
        infrared, visible = read_gray(pair.infrared), read_rgb(pair.visible).mean(axis=2)
        edges = [
            np.hypot(*np.gradient(np.asarray(image, float))) > 12 for image in (infrared, visible)
        ]
        both, either = np.logical_and(*edges).mean(), np.logical_or(*edges).mean()
        assert either > 0.1  # of the pixels lie on an edge
        assert 0.1 < both / either < 0.9


def test_get_data_counts_pairs(get_data, tmp_path, capsys):
    images(tmp_path / "msrs" / "ir", "1.png", "2.png")
    images(tmp_path / "msrs" / "vi", "1.png", "2.jpg")
    assert get_data.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "msrs: 2 pairs\n"


def test_get_data_names_what_is_wrong(get_data, tmp_path, capsys):
    assert get_data.main([str(tmp_path)]) == 1
    assert "holds none of the folders roadscene, msrs" in capsys.readouterr().err
    images(tmp_path / "tno" / "ir", "1.png", "2.png")
    images(tmp_path / "tno" / "vi", "1.png")
    assert get_data.main([str(tmp_path)]) == 1
    assert "1 images have no partner of the same name" in capsys.readouterr().err
