"""Many bags: each evaluated once and as if alone, whatever happens to the processes."""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers.bag_files import Street, street_messages, write_bag
from helpers.deadly_task import deadly

from dreamif_model.device import cpu_quota
from dreamif_model.errors import ConfigError, DreamIFError
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli.bag_evaluate import add_evaluate
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings
from dreamif_ros.evaluation.evaluation_job import EvaluationJob, ModelOptions
from dreamif_ros.evaluation.fleet import (
    BagTask,
    evaluate_task,
    evaluate_task_on_node,
    name_bags,
    open_fleet,
    plan_fleet,
)
from dreamif_ros.evaluation.process_workers import in_processes
from dreamif_ros.evaluation.ray_workers import on_ray

# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

QUICK = ("--device", "cpu", "--no-check", "--metric-frames", "2", "--no-video")
WAIT_S = 120.0  # for Ray and torch to start, on a busy machine


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, arguments)])
    return options.run(options)


def start(*arguments):
    """The command in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dreamif_ros.cli", "bag", "evaluate", *map(str, arguments)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition):
    """What ``condition`` gives as soon as it is true."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def begun(out, name):
    """Process ids of the attempts at a bag that are not ended."""
    return {int(path.name.split(".")[1]) for path in (out / ".unfinished").glob(f"{name}.*")}


def kill_one(out, name):
    """Kill the process that evaluates a bag; its id."""
    (pid,) = wait_for(lambda: begun(out, name))
    os.kill(pid, signal.SIGKILL)
    assert not (out / name).exists()  # it was in the middle
    return pid


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Three seconds of three streets, and a file that is no bag."""
    folder = tmp_path_factory.mktemp("bags")
    for seed in range(3):
        write_bag(folder / f"street{seed}", street_messages(3, street=Street(seed=seed)))
    (folder / "torn.mcap").write_bytes(b"\x89MCAP0\r\nno more of it")
    return folder


@pytest.fixture(scope="module")
def streets(bags):
    return sorted(bags.glob("street*"))


@pytest.fixture(scope="module")
def local(streets, tmp_path_factory):
    """All streets, over two processes."""
    out = tmp_path_factory.mktemp("local") / "fleet"
    assert run(*streets, "--out", out, "--jobs", "2", *QUICK) == 0
    return out


def numbers(out):
    """Bytes of all files that only depend on the bags and the settings."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.name in ("metrics.json", "frames.csv", "summary.json", "summary.csv", "index.html")
    }


class TestCommand:
    def test_each_bag_as_if_alone(self, local, streets, tmp_path):
        threads = torch.get_num_threads()
        torch.set_num_threads(3)  # as on another machine: the evaluation has its own number
        try:
            assert run(streets[1], "--out", tmp_path / "one", *QUICK) == 0
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(threads)
        for name in ("metrics.json", "frames.csv"):
            alone = (tmp_path / "one" / name).read_bytes()
            assert alone == (local / "street1" / name).read_bytes()
        assert {path.name for path in (local / "street1").iterdir()} == {
            path.name for path in (tmp_path / "one").iterdir()
        }

    def test_tables(self, local, streets):
        assert {path.name for path in local.iterdir()} == {
            *("street0", "street1", "street2"),
            *("index.html", "summary.json", "summary.csv", "plan.json"),
        }
        summary = json.loads((local / "summary.json").read_text())
        assert summary["failed"] == []
        rows = list(csv.DictReader((local / "summary.csv").read_text().splitlines()))
        for bag, row, line in zip(streets, summary["bags"], rows, strict=True):
            found = json.loads((local / bag.name / "metrics.json").read_text())
            assert (row["name"], row["bag"], line["bag"]) == (bag.name, str(bag), str(bag))
            assert (row["pairs"], row["fused"], row["drops"]) == (30, 30, 0)
            for method in ("fused", "average", "max"):
                for metric in ("Qabf", "SSIM", "VIFF"):
                    mean = found["metrics"][method][metric]["mean"]
                    assert row["metrics"][method][metric] == mean
                    assert float(line[f"{method}_{metric}"]) == mean
                assert float(line[f"{method}_flicker"]) == found["flicker"][method]
            assert row["skew_p95_ms"] == found["skew_ms"]["p95"]
            assert row["warnings"] == found["warnings"]

    def test_a_bag_that_fails_does_not_stop_the_others(self, bags, streets, tmp_path, capsys):
        out, copy = tmp_path / "out", tmp_path / "copy.json"
        options = ("--out", out, "--json", copy, *QUICK)
        assert run(bags / "torn.mcap", streets[0], bags / "gone.mcap", *options) == 1
        printed = capsys.readouterr()
        assert "2 of 3 bags failed" in printed.err
        assert f"dreamif: gone: no such bag: {bags / 'gone.mcap'}" in printed.err
        assert "dreamif: torn: the bag" in printed.err
        assert len(printed.err.strip().splitlines()) == 3
        table = printed.out.splitlines()
        assert [line.split()[:3] for line in table[1:4]] == [
            ["gone", "failed"], ["street0", "2.9", "30"], ["torn", "failed"],
        ]  # fmt: skip
        summary = json.loads(copy.read_text())
        assert summary["failed"] == ["gone", "torn"]
        assert [row["fused"] for row in summary["bags"]] == [0, 30, 0]
        assert not (out / "torn").exists()
        page = (out / "index.html").read_text()
        assert "<b>gone</b> no such bag" in page

    def test_resume_keeps_what_is_done(self, local, streets, tmp_path, capsys):
        out = tmp_path / "out"
        shutil.copytree(local, out)
        shutil.rmtree(out / "street2")
        (out / ".unfinished" / "street2.1.x").mkdir(parents=True)  # of a run that was killed
        before = (out / "street0" / "timings.json").stat().st_mtime_ns
        with pytest.raises(BagError, match="--resume goes on with it, --force replaces it"):
            run(*streets, "--out", out, *QUICK)
        with pytest.raises(BagError, match="was begun with other settings"):
            run(*streets, "--out", out, "--resume", "--every", 2, *QUICK)
        assert run(*streets, "--out", out, "--resume", *QUICK) == 0
        assert (out / "street0" / "timings.json").stat().st_mtime_ns == before
        assert not (out / ".unfinished").exists()
        names = [name for name in numbers(out) if name != "index.html"]
        assert {name: numbers(out)[name] for name in names} == {
            name: numbers(local)[name] for name in names
        }
        assert run(streets[0], "--out", out, "--resume", *QUICK) == 0
        assert "not in this table: 2 evaluated before" in capsys.readouterr().out
        assert (out / "street1" / "metrics.json").exists()

    def test_resume_evaluates_a_bag_that_has_grown(self, local, streets, tmp_path):
        out = tmp_path / "out"
        shutil.copytree(local, out)
        named = name_bags(streets)
        settings = json.loads((out / "plan.json").read_text())["settings"]
        plan = plan_fleet(named, settings)
        plan.bags["street1"]["bytes"] += 1
        assert open_fleet(out, plan, force=False, resume=True) == []
        assert [(out / name / "metrics.json").exists() for name in named] == [True, False, True]

    def test_force_replaces_all(self, local, streets, tmp_path):
        out = tmp_path / "out"
        shutil.copytree(local, out)
        assert run(*streets[:2], "--out", out, "--force", "--every", 3, *QUICK) == 0
        assert not (out / "street2").exists()
        rows = json.loads((out / "summary.json").read_text())["bags"]
        assert [(row["name"], row["fused"]) for row in rows] == [("street0", 10), ("street1", 10)]

    def test_what_is_no_fleet_is_not_touched(self, streets, tmp_path):
        (tmp_path / "notes.txt").write_text("keep me")
        for option in ("--force", "--resume"):
            with pytest.raises(BagError, match="holds no bags' evaluation"):
                run(*streets, "--out", tmp_path, option, *QUICK)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    @pytest.mark.parametrize(
        ("options", "kind", "reason"),
        [
            (["--jobs", "0"], ConfigError, "--jobs is 0"),
            (["--cpu-threads", "0"], ConfigError, "cpu_threads is 0"),
            (["--every", "0"], ConfigError, "every is 0"),
            (["--force", "--resume"], ConfigError, "give one"),
            (["--ray", "a/b.mcap"], ConfigError, "put the bags before --ray"),
            (["--ray", "host:1", "--jobs", "2"], ConfigError, "--jobs is for this machine"),
            (["--calibration", "/nowhere.yaml"], ConfigError, "cannot read /nowhere.yaml"),
            (["--weights", "/nowhere"], DreamIFError, "no weights at /nowhere"),
            (["--device", "cuda:99"], DreamIFError, "cuda:99"),
            (["--detector", "/nowhere.pt"], DreamIFError, "there is no model /nowhere.pt"),
            (["--detector", "/nowhere.pt", "--ray", "host:1"], DreamIFError, "there is no model"),
            (["--detector", __file__], DreamIFError, "is of an unknown format"),
            (["--json", "/"], ConfigError, "--json / is a folder"),
        ],
    )
    def test_impossible_options_are_refused_once(self, streets, tmp_path, options, kind, reason):
        with pytest.raises(kind, match=reason):
            run(*streets, "--out", tmp_path / "out", *QUICK, *options)
        assert list(tmp_path.iterdir()) == []

    def test_processes_fit_a_containers_quota(self, streets, tmp_path, monkeypatch):
        quota = tmp_path / "cpu.max"
        quota.write_text("200000 100000\n")
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
        monkeypatch.setattr("dreamif_model.device.cpu_quota", lambda: cpu_quota(quota))
        in_processes = "dreamif_ros.cli.bag_evaluate_many.in_processes"
        monkeypatch.setattr(in_processes, lambda _, __, n: pytest.fail(f"{n} of them"))
        with pytest.raises(pytest.fail.Exception, match="2 of them"):
            run(*streets, "--out", tmp_path / "out", *QUICK)

    def test_a_killed_process_costs_one_bag_a_second_try(self, local, streets, tmp_path):
        out = tmp_path / "fleet"
        command = start(*streets, "--out", out, "--jobs", "2", *QUICK)
        first = kill_one(out, "street0")
        second = wait_for(lambda: begun(out, "street0") - {first})
        assert second != {first}
        _, errors = command.communicate(timeout=WAIT_S)
        assert (command.returncode, errors) == (0, "")
        assert numbers(out) == numbers(local)

    def test_interrupt_ends_all_processes(self, streets, tmp_path):
        out = tmp_path / "out"
        command = start(*streets, "--out", out, "--jobs", "2", "--device", "cpu")
        workers = wait_for(lambda: begun(out, "street0")) | wait_for(lambda: begun(out, "street1"))
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        _, errors = command.communicate(timeout=WAIT_S)
        assert (command.returncode, errors) == (130, "")
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert not (out / ".unfinished").exists()

    def test_workers_end_with_a_command_that_is_killed(self, streets, tmp_path):
        out = tmp_path / "out"
        command = start(*streets, "--out", out, "--jobs", "1", "--device", "cpu")
        (worker,) = wait_for(lambda: begun(out, "street0"))
        command.kill()
        command.communicate(timeout=WAIT_S)
        wait_for(lambda: not running(worker))


def running(pid):
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestNames:
    def names(self, *paths):
        return {name: str(path) for name, path in name_bags(map(Path, paths)).items()}

    def test_stems(self):
        found = self.names("/d/a.mcap", "/d/b.db3", "/d/c.mcap.zstd", "/d/2026.11.21")
        assert list(found) == ["a", "b", "c", "2026.11.21"]

    def test_equal_ones_get_their_folders(self):
        paths = ["/x/one/run.mcap", "/x/two/run.mcap", "/x/two/run2.mcap"]
        expected = {"one_run": paths[0], "two_run": paths[1], "run2": paths[2]}
        assert self.names(*paths) == expected
        assert self.names(*reversed(paths)) == expected

    def test_deeper_folders_and_cases(self):
        found = self.names("/x/one/day/run.mcap", "/x/two/day/RUN.mcap")
        assert list(found) == ["one_day_run", "two_day_RUN"]

    def test_what_no_folder_tells_apart_gets_a_hash(self):
        paths = ["/d/run.mcap", "/d/run.db3"]
        found = self.names(*paths)
        assert found == self.names(*reversed(paths))
        assert all(name.startswith("run_") and len(name) == 12 for name in found)

    def test_a_bag_is_taken_once(self):
        assert self.names("/d/a.mcap", "/d/../d/a.mcap") == {"a": "/d/../d/a.mcap"}

    def test_names_of_our_own_files_and_long_ones(self):
        assert list(self.names("/d/index.html.mcap")) == ["d_index.html"]
        (name,) = self.names(f"/d/{'x' * 240}.mcap")
        assert len(name) <= 200


def task(bag, fleet, name="street"):
    model = ModelOptions("average", "cpu", None, "auto", "torch")
    settings = EvaluationSettings(check=False, metric_frames=0, film_frames=0)
    (fleet / ".unfinished").mkdir(parents=True, exist_ok=True)
    return BagTask(name, EvaluationJob(bag, model, settings, write_video=False), fleet)


class TestTask:
    def test_twice_is_once(self, streets, tmp_path):
        work = task(streets[0], tmp_path)
        assert evaluate_task(work) == ""
        before = (work.folder / "timings.json").read_bytes()
        assert evaluate_task(work) == ""
        assert (work.folder / "timings.json").read_bytes() == before
        assert list((tmp_path / ".unfinished").iterdir()) == []

    def test_the_first_of_two_attempts_wins(self, streets, tmp_path, monkeypatch):
        from dreamif_ros.evaluation import fleet

        work, evaluate_into = task(streets[0], tmp_path), fleet.evaluate_into

        def overtaken(job, folder):
            evaluate_into(job, folder)
            if not work.done:
                shutil.copytree(folder, work.folder)
                (work.folder / "first").touch()

        monkeypatch.setattr(fleet, "evaluate_into", overtaken)
        assert evaluate_task(work) == ""
        assert (work.folder / "first").exists()
        assert list((tmp_path / ".unfinished").iterdir()) == []

    def test_any_failure_is_one_line(self, streets, tmp_path, monkeypatch):
        from dreamif_ros.evaluation import fleet

        def fail(*_):
            raise RuntimeError("out of\nmemory")

        monkeypatch.setattr(fleet, "evaluate_into", fail)
        work = task(streets[0], tmp_path)
        assert evaluate_task(work) == "RuntimeError: out of memory"
        assert not work.folder.exists()

    def test_a_node_that_does_not_see_a_bag_is_named(self, streets, tmp_path, monkeypatch):
        monkeypatch.setattr("platform.node", lambda: "worker-3")
        missing = tmp_path / "gone.mcap"
        reason = evaluate_task_on_node(task(missing, tmp_path))
        assert reason.startswith(f"node worker-3 does not see {missing}: put it on storage")
        work = task(streets[0], tmp_path)
        shutil.rmtree(tmp_path)
        assert f"does not see {tmp_path}:" in evaluate_task_on_node(work)


class TestProcesses:
    def test_a_task_that_always_kills_its_process_is_named(self):
        answers = dict(in_processes(deadly, [1, -signal.SIGKILL, 2, -signal.SIGSEGV, 3], 2))
        assert {n: answers[n] for n in (1, 2, 3)} == {1: "1", 2: "2", 3: "3"}
        assert answers[-9] == (
            "its process was ended by SIGKILL (out of memory? fewer --jobs need less), 2 times"
        )
        assert answers[-11] == "its process was ended by SIGSEGV, 2 times"

    def test_no_tasks(self):
        assert list(in_processes(deadly, [], 2)) == []

    def test_an_iteration_that_is_left_ends_its_processes(self):
        import multiprocessing

        with closing(in_processes(deadly, [1, 2, 3], 1)) as answers:
            assert next(answers) == (1, "1")
        assert multiprocessing.active_children() == []


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")


class TestRay:
    @needs_ray
    def test_a_killed_worker_loses_nothing_and_counts_nothing_twice(self, local, streets, tmp_path):
        out = tmp_path / "fleet"
        shared = set(Path("/dev/shm").glob("plasma*"))
        command = start(*streets, "--out", out, "--ray", "--jobs", "2", *QUICK)
        first = kill_one(out, "street0")
        second = wait_for(lambda: begun(out, "street0") - {first})
        _, errors = command.communicate(timeout=WAIT_S)
        assert (command.returncode, errors) == (0, "")
        assert numbers(out) == numbers(local)
        wait_for(lambda: not any(running(pid) for pid in {first} | second))
        assert set(Path("/dev/shm").glob("plasma*")) == shared

    @needs_ray
    @pytest.mark.filterwarnings("ignore")  # ray's own, of what it imports
    @pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
    def test_no_cluster_is_one_line(self, address):
        with pytest.raises(DreamIFError, match=f"^no Ray answers at {address}: [^\n]*$"):
            list(on_ray(deadly, [1], address=address, jobs=1, cpus=1))

    def test_without_ray_is_one_line(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(DreamIFError, match=r"pip install 'dreamif_ros\[ray\]'"):
            list(on_ray(deadly, [1], address=None, jobs=1, cpus=1))
