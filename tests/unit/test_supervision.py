"""A retrain is alone in its folder, and what is measured of its memory is what it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from retrain import supervision
from retrain.memory import MIB, group_private_bytes, private_bytes

HOLDER = """
import os, signal, sys, time
from pathlib import Path
from retrain.supervision import alone_in
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with alone_in(Path(sys.argv[1])):
    print(flush=True)
    time.sleep(600)
"""


def test_one_that_hangs_is_killed_for_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "LAST_RESORT_SECONDS", 0.1)
    hanging = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert hanging.stdout is not None
        hanging.stdout.readline()
        with supervision.alone_in(tmp_path):
            assert hanging.wait(timeout=60) == -9
    finally:
        hanging.kill()
        hanging.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process takes")
def test_memory_is_that_of_the_whole_group() -> None:
    script = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=1);"
        "rows = b'1' * 50_000_000; child.wait()"
    )
    child = "rows = b'1' * 100_000_000; print(flush=True); input()"
    group = subprocess.Popen(
        [sys.executable, "-c", script, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert group.stdout is not None
    group.stdout.readline()
    assert 90 * MIB < group_private_bytes(group.pid) < 400 * MIB
    assert 0 < private_bytes(group.pid) < 100 * MIB
    group.communicate(b"\n", timeout=60)
    assert group_private_bytes(group.pid) == private_bytes(group.pid) == 0
