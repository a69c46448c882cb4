"""What the programs of the tests refuse to be told, in one line and with what they take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from services.need import REPOSITORY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("chaos --minutes 0", "--minutes: '0' is no number above 0"),
        ("chaos --minutes soon", "--minutes: 'soon' is no number above 0"),
        ("chaos --on mars", "'nats', 'mosquitto', 'grown'"),
        ("chaos --fault rain", "'kill-agent', 'kill-hub'"),
        ("fuzz --inputs 0", "--inputs: '0' is no number from 1 on"),
        ("fuzz.api --examples -1", "--examples: '-1' is no number from 1 on"),
        ("bench --runs none", "--runs: 'none' is no number from 1 on"),
        ("bench --seconds nan", "--seconds: 'nan' is no number above 0"),
        ("suites.delivery --examples 0", "--examples: '0' is no number from 1 on"),
    ],
)
def test_a_run_of_nothing_is_none(words: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words.split()],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
