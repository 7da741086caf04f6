"""Bags behind URLs: the same messages as from the disk, and only the bytes that are needed."""

import pickle
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.bag_files import Street, read_bag, street_messages, write_bag
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from dreamif_ros.bag.recorded_pairs import read_pairs
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.remote import bag_path, find_bags, is_remote
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli import main
from dreamif_ros.evaluation.fleet import name_bags, plan_fleet

pytest.importorskip("upath")

CHUNKS = {"compression": (CompressionMode.STORAGE, CompressionFormat.ZSTD)}
QUICK = ("--variant", "average", "--no-check", "--metric-frames", "2", "--no-video")


class Server(SimpleHTTPRequestHandler):
    """Sends files, or the parts of them that are asked for; counts the bytes."""

    sends_parts, sent = True, []

    def send_head(self):
        path = self.translate_path(self.path)
        asked = self.headers.get("Range")
        if not self.sends_parts or not asked:
            return super().send_head()
        begin, end = map(int, asked.removeprefix("bytes=").split("-"))
        with Path(path).open("rb") as file:
            file.seek(begin)
            data = file.read(end + 1 - begin)
        self.sent.append(len(data))
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return None

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bag of many chunks, and one without chunks' compression."""
    folder = tmp_path_factory.mktemp("bags")
    street = Street(size=(320, 240))
    write_bag(folder / "drive", street_messages(3, street=street), **CHUNKS)
    write_bag(folder / "plain", street_messages(1))
    return folder


@pytest.fixture
def url(folder, monkeypatch):
    monkeypatch.setattr(Server, "sent", [])
    with serving(folder) as address:
        yield f"{address}/drive/drive.mcap"


@pytest.fixture
def in_memory(folder):
    """Both bags on another kind of storage."""
    from upath import UPath

    root = UPath("memory://bags")
    for file in folder.rglob("*.*"):
        target = root / str(file.relative_to(folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    yield str(root)
    root.fs.rm(root.path, recursive=True)


def test_the_messages_are_those_on_disk(folder, url):
    assert read_bag(bag_path(url)) == read_bag(folder / "drive" / "drive.mcap")
    assert max(Server.sent) < 0.5 * (folder / "drive" / "drive.mcap").stat().st_size


def test_each_byte_is_asked_for_once(folder, url):
    read_bag(bag_path(url))
    assert sum(Server.sent) < 1.02 * (folder / "drive" / "drive.mcap").stat().st_size


def test_the_topics_need_only_the_index(folder, url):
    with Recording(bag_path(url)) as recording, Recording(folder / "drive") as local:
        assert recording.topics == local.topics
        assert (recording.start_ns, recording.end_ns) == (local.start_ns, local.end_ns)
        assert recording.storage() == local.storage()
    assert sum(Server.sent) < 0.02 * (folder / "drive" / "drive.mcap").stat().st_size


def test_a_folder_and_its_metadata(folder, in_memory):
    for name in ("drive", "plain"):
        bag = bag_path(f"{in_memory}/{name}")
        assert read_bag(bag) == read_bag(folder / name)
        with Recording(bag) as recording:
            assert recording.faults == []


def test_damage_is_read_as_on_disk(folder, in_memory, tmp_path):
    whole = (folder / "drive" / "drive.mcap").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-40] + bytes(40)):
        (tmp_path / "cut.mcap").write_bytes(content)
        remote = bag_path(f"{in_memory}/cut.mcap")
        remote.write_bytes(content)
        with Recording(remote) as there, Recording(tmp_path / "cut.mcap") as here:
            assert list(there.messages(there.topics)) == list(here.messages(here.topics))
            assert there.faults == here.faults != []


def test_pairs_by_url(folder, url):
    stamps = [pair.stamp_ns for pair in read_pairs(url)]
    assert stamps == [pair.stamp_ns for pair in read_pairs(folder / "drive")]
    assert len(stamps) == 30


def test_an_evaluation_by_url_has_the_numbers_of_one_on_disk(folder, url, tmp_path):
    bags = url.replace("drive", "plain"), str(folder / "plain" / "plain.mcap")
    for out, bag in zip(("there", "here"), bags, strict=True):
        assert main(["bag", "evaluate", bag, "--out", str(tmp_path / out), *QUICK]) == 0
    there, here = (tmp_path / out / "frames.csv" for out in ("there", "here"))
    assert there.read_text() == here.read_text() != ""


def test_a_fleet_takes_urls(folder, url):
    """Also to other processes, and a bag that is missing does not stop the others."""
    bags = [bag_path(url), bag_path(url.replace("drive", "plain")), bag_path(f"{url}.gone.mcap")]
    named = pickle.loads(pickle.dumps(name_bags(bags)))
    assert named == {"drive": bags[0], "plain": bags[1], "drive.mcap.gone": bags[2]}
    sizes = [(folder / name / f"{name}.mcap").stat().st_size for name in ("drive", "plain")]
    plan = plan_fleet(named, "")
    assert [(bag["bag"], bag["bytes"]) for bag in plan.bags.values()] == [
        (str(bag), size) for bag, size in zip(bags, (*sizes, 0), strict=True)
    ]


def test_a_star_stands_for_all_that_fit(in_memory):
    found = find_bags(f"{in_memory}/*")
    assert list(map(str, found)) == [f"{in_memory}/drive", f"{in_memory}/plain"]
    with pytest.raises(BagError, match=r"no such bag: memory://bags/\*.mcap"):
        find_bags(f"{in_memory}/*.mcap")


def test_a_url_of_a_file_is_its_path(folder):
    assert bag_path(f"file://{folder}/drive") == folder / "drive"
    assert not is_remote(bag_path("drive.mcap"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("drive.mcap", "gone.mcap"), "no such bag: http://"),
        (("drive.mcap", "metadata.yaml"), "is no bag: give a rosbag2 folder or its"),
        (("http://", "gopher://"), "drive.mcap cannot be read: Unsupported filesystem: 'gopher'"),
    ],
)
def test_what_cannot_be_read_is_one_line(url, capfd, change, reason):
    assert main(["bag", "info", url.replace(*change)]) == 1
    error = capfd.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_server_that_is_gone(folder, capfd):
    with serving(folder) as address:
        pass
    assert main(["bag", "info", f"{address}/drive/drive.mcap"]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"dreamif: cannot read {address}/drive/drive.mcap: Cannot connect")
    assert error.count("\n") == 1


def test_a_server_that_sends_no_parts(url, monkeypatch, capfd):
    monkeypatch.setattr(Server, "sends_parts", False)
    assert main(["bag", "info", url]) == 1
    error = capfd.readouterr().err
    assert "its server must answer requests for a range of bytes" in error
    assert error.count("\n") == 1


def test_sqlite_is_refused(in_memory, tmp_path):
    bag = write_bag(tmp_path / "old", street_messages(1), StoragePlugin.SQLITE3)
    remote = bag_path(f"{in_memory}/old.db3")
    remote.write_bytes((bag / "old.db3").read_bytes())
    with pytest.raises(BagError, match=r"old.db3: only .mcap files are read from URLs"):
        Recording(remote)


def test_without_the_package_is_one_line(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "upath", None)
    assert main(["bag", "info", "s3://drives/a.mcap"]) == 1
    assert "URLs need pip install 'dreamif_ros[remote]'" in capfd.readouterr().err
