"""CPU threads, quotas, memory and processors."""

import gc
import os
import subprocess
import sys

import pytest
import torch
from helpers.engines import engine

from dreamif_model import device as devices
from dreamif_model.errors import ConfigError


class TestCpu:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("max 100000\n", None),
            ("200000 100000\n", 2),
            ("350000 100000\n", 3),
            ("50000 100000", 1),
            ("nonsense", None),
        ],
    )
    def test_quota(self, text, expected, tmp_path):
        path = tmp_path / "cpu.max"
        path.write_text(text)
        assert devices.cpu_quota(path) == expected

    def test_no_quota_without_cgroups(self, tmp_path):
        assert devices.cpu_quota(tmp_path / "none") is None

    @pytest.mark.parametrize(("quota", "expected"), [(None, 6), (2, 2), (8, 6)])
    def test_usable_cores_are_within_affinity_and_quota(self, quota, expected, monkeypatch):
        monkeypatch.setattr(devices, "cpu_quota", lambda: quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
        assert devices.usable_cores() == expected

    @pytest.mark.parametrize(("asked", "expected"), [(3, 3), (0, 2)])
    def test_a_number_of_threads_that_was_asked_for_stays(self, asked, expected, monkeypatch):
        """Whatever the quota; 0 is what may be used."""
        monkeypatch.setattr(devices, "cpu_quota", lambda: 2)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
        before = torch.get_num_threads()
        try:
            devices.use_cpu_threads(asked)
            engine("nano")
            assert (devices.cpu_threads(), torch.get_num_threads()) == (expected, expected)
        finally:
            devices.use_cpu_threads(0)
            torch.set_num_threads(before)

    def test_a_number_below_0_is_refused(self):
        with pytest.raises(ConfigError, match="the number of CPU threads is -1, expected 0 or"):
            devices.use_cpu_threads(-1)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("flags\t\t: fpu avx512f avx512_bf16 sse\n", True),
            ("Features\t: fp asimd bf16 i8mm\n", True),
            ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
            ("flags\t\t: fpu avx512f avx2\nbugs\t\t: bf16\n", False),
            ("flags\t\t: not_bf16 bf16_not\n", False),
            ("", False),
        ],
    )
    def test_a_processor_says_whether_it_has_bf16(self, text, expected, tmp_path):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        assert devices.cpu_has_bf16(path) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16\n", True),
            ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512_bf16 amx_bf16\n", True),
            ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512_bf16\n", False),
            ("Features\t: fp asimd bf16\n", True),
            ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2\n", False),
        ],
    )
    def test_bf16_is_chosen_where_it_is_fast(self, text, expected, tmp_path):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        assert devices.bf16_is_fast(path) == expected

    def test_what_has_settled_is_left_out_of_collections_until_memory_is_freed(self):
        devices.settle_memory()
        try:
            assert gc.get_freeze_count() > 10_000
        finally:
            devices.free_memory()
        assert gc.get_freeze_count() == 0

    @pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
    def test_threads_sleep_while_they_wait_unless_told(self, given, expected):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        if given:
            environment["OMP_WAIT_POLICY"] = given
        code = (
            "import builtins, sys; real = builtins.__import__\n"
            "def spy(name, *rest):\n"
            "    if name == 'torch':\n"
            "        import os; print(os.environ.get('OMP_WAIT_POLICY')); os._exit(0)\n"
            "    return real(name, *rest)\n"
            "builtins.__import__ = spy; sys.stdout.reconfigure(write_through=True)\n"
            "from dreamif_model import FusionPipeline\n"
            "FusionPipeline('nano', 'cpu', backend='torch')"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == [expected]

    @pytest.mark.parametrize(
        ("first", "policy", "threads", "warnings"),
        [
            ("torch", None, 2, 1),
            ("torch", None, 1, 0),
            ("torch", "passive", 2, 0),
            ("dreamif_model", None, 2, 0),
        ],
    )
    def test_a_program_that_imports_torch_first_is_told_once(
        self, first, policy, threads, warnings
    ):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        if policy:
            environment["OMP_WAIT_POLICY"] = policy
        code = (
            f"import {first}\n"
            "from dreamif_model.device import use_cpu_threads\n"
            "from dreamif_model.engine import FusionEngine\n"
            f"use_cpu_threads({threads})\n"
            "for _ in range(2): FusionEngine('nano', 'cpu', backend='torch')\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("torch was imported before dreamif_model") == warnings

    def test_the_machine_has_a_name(self):
        assert devices.machine_name("cpu")
