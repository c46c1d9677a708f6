"""What runs on a leash ends with its owner, and asks nobody anything."""

import subprocess
import sys

from tests.helpers.small import ROOT

# In the place of dvc, a program that reads what a person would type.
PROGRAM = """
import sys
from ops import leash
leash.runpy.run_module = lambda *words, **more: print(repr(sys.stdin.read()), flush=True)
leash.main()
"""


def test_a_question_is_answered_by_the_end_of_the_input_though_the_pipe_stays_open() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "''\n"
    process.communicate(timeout=20)
