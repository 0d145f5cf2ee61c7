import os
from pathlib import Path

import pytest
from deepseek_runtime.job.container import available, oom_kills

ALL = len(os.sched_getaffinity(0))


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, ALL),
        ({"cpu.max": "max 100000\n"}, ALL),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "99900000 100000\n"}, ALL),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, ALL),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "99900000\n", "cpu/cpu.cfs_period_us": "100000\n"}, ALL),
    ],
)
def test_threads_follow_the_containers_quota_on_both_versions(tmp_path: Path, files: dict[str, str], cpus: int) -> None:
    assert available(tree(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, 0),
        ({"memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 1\n"}, 2),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"}, 4),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 0),
    ],
)
def test_kills_for_memory_are_counted_on_both_versions(tmp_path: Path, files: dict[str, str], kills: int) -> None:
    assert oom_kills(tree(tmp_path, files)) == kills
