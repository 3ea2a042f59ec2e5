"""Graders of a user's own: what they may do, and that nothing they do harms the run or outlives it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.tasks import user_code, user_function
from motet_benchmarks.strategies.tasks.of_file import FileTask
from motet_benchmarks.strategies.tasks.task import GraderError
from motet_benchmarks.strategies.tasks.user_function import UserFunction, UserFunctionError

Made = Callable[..., UserFunction]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(body: str, *, call_seconds: int = 60) -> UserFunction:
        (tmp_path / "mine.py").write_text(body)
        return UserFunction(str(tmp_path / "mine.py"), "f", call_seconds=call_seconds)

    return make


def ends(process: int) -> bool:
    """Whether it comes to its end; one that nobody has asked for its end is still listed."""
    for _ in range(600):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def test_a_file_is_imported_as_a_module(made: Made, tmp_path: Path):
    (tmp_path / "beside.py").write_text("HALF = 0.5\n")
    call = made(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from beside import HALF\n"
        "@dataclass\n"
        "class Graded:\n"
        "    value: float\n"
        "def f(text, fields):\n"
        "    return Graded(HALF).value\n"
    )
    assert call("a", {}) == 0.5


def test_a_module_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_grading.py").write_text("def f(text, fields):\n    return fields['right'] == text\n")
    monkeypatch.chdir(tmp_path)
    call = UserFunction("my_grading", "f")
    assert [call(text, {"right": "b"}) for text in "ab"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        ("None", None),
        ("True", 1.0),
        ("Fraction(1, 4)", 0.25),
        ("numpy.float32(1)", 1.0),
        ("numpy.bool_(False)", 0.0),
        ("numpy.int64(1)", 1.0),
        ("numpy.array(0.5)", 0.5),
    ],
)
def test_numbers_are_grades(value: str, grade: float | None, made: Made):
    call = made(f"import numpy\nfrom fractions import Fraction\ndef f(text, fields):\n    return {value}\n")
    assert call("a", {}) == grade


@pytest.mark.parametrize("value", ["7", "-0.5", "'1'", "float('nan')", "1j", "[1]", "numpy.float32(2)"])
def test_what_is_no_grade(value: str, made: Made):
    call = made(f"import numpy\ndef f(text, fields):\n    return {value}\n")
    with pytest.raises(UserFunctionError, match=r"ValueError: gave .*, which is no number from 0 to 1"):
        call("a", {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys\nsys.exit()\n", "SystemExit$"),
        ("import os\nos._exit(3)\n", "ended its process with exit code 3"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def g(text, fields):\n    return 1\n", "AttributeError: .* has no attribute 'f'"),
        ("f = 1\n", "TypeError: f is no function"),
    ],
)
def test_an_import_that_fails(body: str, message: str, made: Made, tmp_path: Path):
    with pytest.raises(UserFunctionError, match=message):
        made(body)
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(BenchmarkError, match=f"--grader python:.*mine.py:f: {message}"):
        FileTask(tmp_path / "mine.jsonl", grader=f"python:{tmp_path / 'mine.py'}:f")


def test_an_import_that_hangs(made: Made, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user_function, "IMPORT_SECONDS", 1)
    with pytest.raises(UserFunctionError, match="wasn't imported within 1 s"):
        made("while True:\n    pass\n")


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("sys.exit(0)", "SystemExit: 0"),
        ("os._exit(0)", "ended its process with exit code 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended its process with signal 11"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_the_next_call_is_answered_after_one_that_failed(does: str, message: str, made: Made):
    call = made(
        f"import os, signal, sys\ndef f(text, fields):\n    if text == 'a':\n        {does}\n    return 1\n"
    )
    for _ in range(2):
        with pytest.raises(UserFunctionError, match=message):
            call("a", {})
        assert call("b", {}) == 1.0


def test_a_call_that_hangs_is_ended_with_all_that_it_started(made: Made, tmp_path: Path):
    told = tmp_path / "pids"
    call = made(
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        f"open({str(told)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "def f(text, fields):\n"
        "    while text == 'a': pass\n"
        "    return 1\n",
        call_seconds=5,
    )
    with pytest.raises(UserFunctionError, match="gave no grade within 5 s"):
        call("a", {})
    first = told.read_text()
    assert all(map(ends, map(int, first.split())))
    assert call("b", {}) == 1.0
    assert told.read_text() != first


def test_one_that_hangs_again_and_again_is_given_up(made: Made):
    call = made("def f(text, fields):\n    while text == 'a': pass\n    return 1\n", call_seconds=2)
    for text in "aabaaa":
        if text == "b":
            assert call(text, {}) == 1.0
        else:
            with pytest.raises(UserFunctionError, match="gave no grade within 2 s"):
                call(text, {})
    with pytest.raises(UserFunctionError, match="out of time 3 times, and isn't called any more"):
        call("a", {})


def test_what_fails_is_named_with_its_file_line_and_grader(tmp_path: Path):
    (tmp_path / "mine.py").write_text("import os\ndef f(text, fields):\n    os._exit(4)\n")
    (tmp_path / "mine.jsonl").write_text('\n{"prompt": "a"}\n')
    task = FileTask(tmp_path / "mine.jsonl", grader=f"python:{tmp_path / 'mine.py'}:f")
    with pytest.raises(
        GraderError, match=r"mine\.jsonl: line 2: the grader python:.*mine\.py:f failed on an answer"
    ):
        task.grade(task.problems[0], "b")


def test_what_is_printed_or_read_is_no_answer(made: Made, capfd: pytest.CaptureFixture[str]):
    call = made(
        "import os, sys\n"
        "def f(text, fields):\n"
        "    print('{\"grade\": 0}')\n"
        "    os.system('echo from a child')\n"
        "    return sys.stdin.read() == ''\n"
    )
    assert call("a", {}) == 1.0
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", '{"grade": 0}\nfrom a child\n')


def test_a_text_of_any_length_and_kind_arrives(made: Made):
    call = made("def f(text, fields):\n    return text == fields['text'] and len(text) == fields['length']\n")
    text = "a\n\u2028b\0\U0001f600" * 200_000
    assert call(text, {"text": text, "length": len(text)}) == 1.0


def test_ctrl_c_ends_the_wait_for_a_call(made: Made):
    # A terminal sends it to both processes; here the user's gets it alone, as where asyncio holds back that of the run.
    call = made(
        "import os, signal\ndef f(text, fields):\n    os.kill(os.getpid(), signal.SIGINT)\n    return 1\n"
    )
    with pytest.raises(KeyboardInterrupt):
        call("a", {})


def test_calls_of_several_threads_get_their_own_grades(made: Made):
    call = made("def f(text, fields):\n    return int(text) / 100\n")
    found: dict[int, float | None] = {}

    def ask(number: int) -> None:
        found[number] = call(str(number), {})

    threads = [threading.Thread(target=ask, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number / 100 for number in range(20)}


def test_the_process_ends_with_its_object(made: Made):
    call = made("def f(text, fields):\n    return 1\n")
    # Others may have left a dead child that nobody has waited for.
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    (process,) = [child for child in living if "mine.py" in " ".join(child.cmdline())]
    del call
    gc.collect()
    assert not process.is_running()


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_the_process_ends_with_the_run(how: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "import os, threading\n"
        "def f(text, fields):\n"
        "    print(os.getpid())\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
    )
    script = (
        "import sys\n"
        f"from {user_function.__name__} import UserFunction\n"
        f"call = UserFunction({str(tmp_path / 'mine.py')!r}, 'f')\n"
        "call('a', {})\n"
        "sys.stdin.read()\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with run:
        assert run.stdin is not None
        assert run.stderr is not None
        assert int(run.stderr.readline()) != run.pid
        if how == "kill":
            run.kill()
        run.stdin.close()
        # There is more to read for as long as one of the two lives.
        assert run.stderr.read() == b""


def test_a_call_that_nobody_waits_for_ends_by_itself(tmp_path: Path):
    (tmp_path / "mine.py").write_text("def f(text, fields):\n    while True: pass\n")
    command = [sys.executable, "-P", user_code.__file__, str(tmp_path / "mine.py"), "f", "60", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b'["a", {}]\n')
        process.stdin.flush()
        assert process.wait() == -signal.SIGALRM
