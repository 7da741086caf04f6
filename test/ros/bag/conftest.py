"""A bag of noise images that several modules read."""

import pytest
from helpers.bag_files import noise_pairs, write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Ten pairs."""
    return noise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def bag(pairs, tmp_path_factory):
    """A bag of them at 10 Hz."""
    path = tmp_path_factory.mktemp("bags") / "recording"
    write_pairs(pairs, 10.0, path)
    return path
