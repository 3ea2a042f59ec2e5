"""The Triton code itself, without a GPU: the tests in ``interpreted/``, each file in a process with the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted(file.name for file in (HERE / "interpreted").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_kernels_under_the_interpreter(file: str, tmp_path: Path):
    report = tmp_path / "report.xml"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", str(HERE / "interpreted" / file), f"--junitxml={report}"],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) > 0
    assert suite.attrib["skipped"] == "0", ran.stdout


def test_every_triton_module_has_tests_under_the_interpreter():
    kernels = HERE.parents[1] / "kernels" / "motet_kernels"
    modules = {file.stem.removesuffix("_triton") for file in kernels.glob("*_triton.py")}
    assert modules <= {name.removeprefix("test_").removesuffix(".py") for name in FILES}
