"""The worker takes the newest item; statistics count and rank."""

import queue
import threading
import time

import pytest

from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.node.worker import NewestWorker


def test_the_newest_item_wins_and_the_overtaken_one_is_reported():
    started, go_on, done = threading.Event(), threading.Event(), []

    def process(item):
        started.set()
        go_on.wait(5)
        done.append(item)

    worker = NewestWorker(process, "test-worker")
    assert worker.offer(1) is False
    assert started.wait(5)
    assert [worker.offer(2), worker.offer(3), worker.offer(4)] == [False, True, True]
    go_on.set()
    while len(done) < 2:
        pass
    worker.stop()
    assert done == [1, 4]


def test_a_slow_worker_begins_with_the_newest_each_time_and_never_with_an_older_one():
    begun, go_on = queue.SimpleQueue(), threading.Semaphore(0)

    def process(item):
        begun.put(item)
        go_on.acquire()

    worker = NewestWorker(process, "test-worker")
    newest = 0
    worker.offer(newest)
    assert begun.get(timeout=5) == newest
    for came_meanwhile in (1, 6, 2, 60):
        superseded = [worker.offer(newest + k) for k in range(1, came_meanwhile + 1)]
        assert superseded == [False] + [True] * (came_meanwhile - 1)
        newest += came_meanwhile
        go_on.release()
        assert begun.get(timeout=5) == newest
    go_on.release()
    worker.stop()
    assert begun.empty()


def test_stop_ends_an_idle_worker_and_drops_what_waits():
    started, go_on, done = threading.Event(), threading.Event(), []

    def process(item):
        started.set()
        go_on.wait(5)
        done.append(item)

    worker = NewestWorker(process, "test-worker")
    worker.offer(1)
    assert started.wait(5)
    worker.offer(2)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while not worker._stopping:
        time.sleep(0.001)
    go_on.set()
    stopping.join()
    assert done == [1]


def test_counts_and_age():
    statistics = Statistics()
    assert statistics.seconds_since("frame") is None
    statistics.count("frame")
    statistics.count("frame")
    assert statistics.counts() == {"frame": 2}
    assert 0 <= statistics.seconds_since("frame") < 5
    assert statistics.rate_hz("frame", over_s=10.0) == pytest.approx(0.2)


def test_percentiles_are_of_the_samples():
    statistics = Statistics()
    for ms in range(101):
        statistics.add_latencies({"infer": ms / 1000})
    found = [statistics.percentile_ms("infer", share) for share in (0.5, 0.99)]
    assert found == pytest.approx([50.0, 99.0])
    assert statistics.percentile_ms("warp", 0.5) is None
