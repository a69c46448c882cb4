"""Programs that tests start end with them, also when nobody is left to end them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from services.leftovers import processes_of
from services.process import Children
from services.wait import eventually

TESTS = Path(__file__).parents[1]
RUN = """
import sys, time
from pathlib import Path
from services.process import Children

Children(Path(sys.argv[1])).start([sys.executable, "-c", "import time; time.sleep(60)", *sys.argv[1:]])
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_test_run_that_is_killed_leaves_nothing_behind(children: Children, tmp_path: Path) -> None:
    marks = tmp_path / "mark"
    marks.mkdir()
    run = children.start([sys.executable, "-c", RUN, marks], env={"PYTHONPATH": str(TESTS)})
    eventually(lambda: len(processes_of(marks)) == 2)
    run.signal(signal.SIGKILL)
    eventually(lambda: not processes_of(marks))
