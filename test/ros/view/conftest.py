"""What a page shows that two modules look at."""

import pytest


@pytest.fixture(scope="module")
def source():
    """A node whose images and words a test knows."""
    from helpers.ros_processes import client  # needs ROS, and the other one aiohttp
    from helpers.view_process import Source

    with client("source", namespace="/view_test") as node:
        yield Source(node)


@pytest.fixture(scope="module")
def known(source, tmp_path_factory):
    """The page beside that node."""
    from helpers.view_process import running_view

    log = tmp_path_factory.mktemp("known") / "log"
    arguments = ["--namespace", "/view_test", "--topic", *source.names]
    with running_view(*arguments, log=log) as process:
        yield process
