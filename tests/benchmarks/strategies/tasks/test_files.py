"""Problems from files: what a line may hold, and every mistake named with its file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.tasks.named import Choosing, tasks_of
from motet_benchmarks.strategies.tasks.of_file import FileTask
from motet_benchmarks.strategies.tasks.of_gsm8k import REQUEST, Gsm8kTask
from motet_benchmarks.strategies.tasks.task import GraderError, record_of

GSM8K = Path(__file__).parents[5] / "shared" / "data" / "gsm8k" / "train_300.jsonl"


def lines_in(folder: Path, *lines: Any, name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_lines_are_problems(tmp_path: Path):
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    file = lines_in(
        tmp_path,
        {"prompt": "Say a\u2028b", "reference": "a", "note": "kept for graders"},
        "",
        {
            "messages": conversation,
            "references": [4, "four"],
            "family": "sums",
            "id": "two",
            "grader": "contains",
        },
        {"prompt": "Write a poem.", "grader": "none"},
    )
    task = FileTask(file)
    first, second, third = task.problems
    assert (task.name, task.metric) == ("mine", "accuracy")
    assert (first.id, first.family, first.reference) == ("1", "mine", "a")
    assert first.messages == ({"role": "user", "content": "Say a\u2028b"},)
    assert (second.id, second.family, second.reference) == ("two", "sums", "4 or four")
    assert list(second.messages) == conversation
    assert [task.grade(first, text) for text in (" a\n", "A", "a b")] == [1.0, 0.0, 0.0]
    assert [task.grade(second, text) for text in ("It is FOUR.", "five")] == [1.0, 0.0]
    assert (third.id, third.reference, task.grade(third, "Roses")) == ("4", None, None)
    assert len(FileTask(file, limit=2).problems) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", ', "line 2 is no JSON"),
        ('{"prompt": "\\ud800", "reference": "a"}', "line 2 is no JSON: .*surrogates not allowed"),
        ('["prompt"]', "line 2 is no JSON object"),
        ({"reference": "a"}, "line 2: must have either a prompt or messages"),
        ({"prompt": " ", "reference": "a"}, "line 2: prompt must be a text"),
        ({"prompt": "a"}, "line 2: the grader exact compares with a reference, and there is none"),
        ({"prompt": "a", "reference": None}, "line 2: a reference must be a text or a number"),
        ({"prompt": "a", "references": "b"}, "line 2: references must be a list"),
        ({"prompt": "a", "reference": "b", "grader": "number"}, "line 2: reference 'b' has no number"),
        ({"prompt": "a", "reference": "3 or 4", "grader": "number"}, "line 2: reference '3 or 4' has several numbers"),
        ('{"prompt": "a", "reference": NaN}', "line 2: a reference must be a text or a number, got nan"),
        ('{"prompt": "a", "reference": 1e400}', "line 2: a reference must be a text or a number, got inf"),
        ({"prompt": "a", "reference": "(", "grader": "regex"}, "line 2: reference .* is no regular expression"),
        ({"prompt": "a", "grader": "python:os:getcwd"}, "line 2: grader must be exact"),
        ({"messages": [{"role": "user"}]}, "line 2: messages.0 must have a role and content"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "line 2: messages end with the assistant's"),
        ({"prompt": "a", "reference": "b", "id": 7}, "line 2: id 7 is that of line 1 too"),
        ({"prompt": "a", "reference": "b", "family": 7}, "line 2: family must be a text"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_and_line(line: Any, message: str, tmp_path: Path):
    file = lines_in(tmp_path, {"prompt": "a", "reference": "b", "id": "7"}, line)
    with pytest.raises(BenchmarkError, match=f"mine.jsonl: {message}"):
        FileTask(file)


def test_ids_that_are_taken_by_the_number_of_a_line(tmp_path: Path):
    named, unnamed = ({"prompt": "a", "reference": "b", **more} for more in ({"id": 2}, {}))
    with pytest.raises(
        BenchmarkError, match="line 2: has no id and is called 2 by its place, as line 1 is by"
    ):
        FileTask(lines_in(tmp_path, named, unnamed))
    with pytest.raises(BenchmarkError, match="line 3: id 2 is what line 2 is called, which has none"):
        FileTask(lines_in(tmp_path, {**named, "id": 7}, unnamed, named))


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("4.0", "4"),
        ("-0.0", "0"),
        ("0.00001", "0.00001"),
        ("1e16", "10000000000000000"),
        ("2.50", "2.5"),
        ("12345678901234567890", "12345678901234567890"),
        ("1" * 400, "1" * 400),
    ],
)
def test_references_that_are_numbers_are_written_as_an_answer_has_them(
    written: str, reference: str, tmp_path: Path
):
    file = lines_in(tmp_path, f'{{"prompt": "a", "reference": {written}}}')
    for grader in ("exact", "number"):
        task = FileTask(file, grader=grader)
        (problem,) = task.problems
        assert (problem.reference, task.grade(problem, reference)) == (reference, 1.0)


def test_numbers_are_compared_by_their_value(tmp_path: Path):
    file = lines_in(
        tmp_path,
        {"prompt": "a", "reference": "3/4"},
        {"prompt": "b", "reference": 0.00001},
        {"prompt": "c", "reference": "-$1,500 a year"},
    )
    task = FileTask(file, grader="number")
    right = (("0.75", "it is 3/4."), ("1e-5", "0.000010"), ("-1.5e3", "\u2212$1{,}500.00"))
    wrong = (("4", "0.7500001", "none"), ("5", "1"), ("1500", "-1,500 or -1,600", "<think>-1500"))
    for problem, texts in zip(task.problems, right, strict=True):
        assert [task.grade(problem, text) for text in texts] == [1.0] * len(texts)
    for problem, texts in zip(task.problems, wrong, strict=True):
        assert [task.grade(problem, text) for text in texts] == [0.0] * len(texts)


@pytest.mark.parametrize("grader", ["exact", "contains", "number", "regex"])
def test_thoughts_before_an_answer_are_not_graded(grader: str, tmp_path: Path):
    task = FileTask(lines_in(tmp_path, {"prompt": "a", "reference": 4}), grader=grader)
    (problem,) = task.problems
    said = [task.grade(problem, text) for text in ("<think>5?</think>4", "<think>4?</think>5", "<think>4")]
    assert said == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_a_line_is_no_task(content: bytes, tmp_path: Path):
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"mine\.jsonl: has no line"):
        tasks_of([str(tmp_path / "mine.jsonl")], Choosing(count=1))


def test_a_file_that_isnt_there_and_two_of_one_name(tmp_path: Path):
    with pytest.raises(BenchmarkError, match=r"mine\.jsonl: No such file"):
        tasks_of([str(tmp_path / "mine.jsonl")], Choosing(count=1))
    (tmp_path / "other").mkdir()
    files = [lines_in(folder, {"prompt": "a", "reference": "b"}) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(BenchmarkError, match="2 tasks are called mine; rename a file"):
        tasks_of([str(file) for file in files], Choosing(count=1))


def test_a_function_of_the_users_own_grades(tmp_path: Path):
    grader = tmp_path / "mine.py"
    grader.write_text(
        "def half(text, fields):\n"
        "    if text == 'boom':\n"
        "        raise KeyError('no such thing')\n"
        "    return {'a': 0.5, 'b': 7}.get(text, fields['bonus'])\n"
    )
    file = lines_in(tmp_path, {"prompt": "a", "bonus": True}, {"prompt": "b", "bonus": None})
    task = FileTask(file, grader=f"python:{grader}:half")
    first, second = task.problems
    assert [task.grade(first, "a"), task.grade(first, "c"), task.grade(second, "c")] == [0.5, 1.0, None]
    with pytest.raises(
        GraderError, match=r"line 2: the grader python:.*:half failed .*\(KeyError: .no such thing.\)"
    ):
        task.grade(second, "boom")
    with pytest.raises(
        GraderError, match=r"line 1: .*\(ValueError: gave 7, which is no number from 0 to 1\)"
    ):
        task.grade(first, "b")


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ("rhyme", "--grader rhyme: must be exact"),
        ("python:mine", "must be python:FILE.py:FUNCTION"),
        ("python:no.such.module:f", "ModuleNotFoundError"),
        ("python:none.py:f", "FileNotFoundError"),
        ("python:math:pi", "pi is no function"),
        ("python:math:tau_of", "AttributeError"),
        ("python::f", "must be python:FILE.py:FUNCTION"),
    ],
)
def test_a_grader_that_there_isnt(grader: str, message: str, tmp_path: Path):
    with pytest.raises(BenchmarkError, match=message):
        FileTask(lines_in(tmp_path, {"prompt": "a"}), grader=grader)


def test_gsm8k_wants_the_final_number(tmp_path: Path):
    file = lines_in(
        tmp_path, {"question": "How many?", "answer": "1200 + 34.5\n#### 1,234.5"}, name="slice.jsonl"
    )
    task = Gsm8kTask(file)
    (problem,) = task.problems
    assert problem.messages == ({"role": "user", "content": f"How many?\n{REQUEST}"},)
    assert (task.name, problem.reference) == ("gsm8k slice", "1,234.5")
    right = (
        "#### 1234.50",
        "So it is $1,234.5.",
        "5 #### 1,234.5 pounds for 3",
        "####\nIt makes 1234.5",
        "#### **$1,234.5**",
        "#### \\boxed{1{,}234.5} and no 7",
        "#### Step 1: add\n1200 + 34.5 is 1234.5\n#### 1234.5",
        "#### 1,234.5\n\nQuestion: What is 1 + 1?\nAnswer: 1 + 1 = 2\n#### 2",
        "<think>#### 5</think>#### 1234.5",
    )
    wrong = ("1234.5 #### 1", "1234.5 or 7", "", "#### 2\n#### 1234.5", "#### -1234.5")
    assert [task.grade(problem, text) for text in right] == [1.0] * len(right)
    assert [task.grade(problem, text) for text in wrong] == [0.0] * len(wrong)


@pytest.mark.parametrize("answer", ["42", "#### ", "#### none", "#### 4 or 5"])
def test_gsm8k_without_a_final_number(answer: str, tmp_path: Path):
    file = lines_in(tmp_path, {"question": "How many?", "answer": answer})
    with pytest.raises(BenchmarkError, match=r"mine\.jsonl: line 1: answer has no #### and final number"):
        tasks_of([f"gsm8k:{file}"], Choosing(count=1))


@pytest.mark.skipif(not GSM8K.is_file(), reason="no ../shared/data/gsm8k here")
def test_the_slice_of_gsm8k_is_read_and_its_own_answers_are_right():
    task = Gsm8kTask(GSM8K)
    worked = [json.loads(line)["answer"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    assert len(task.problems) == len(worked) == 300
    assert all(task.grade(problem, text) == 1.0 for problem, text in zip(task.problems, worked, strict=True))
    others = [*task.problems[1:], task.problems[0]]
    wrong = [task.grade(problem, text) for problem, text in zip(others, worked, strict=True)]
    assert sum(filter(None, wrong)) < 30


def test_the_digest_follows_the_problems_and_their_grading(tmp_path: Path):
    file = lines_in(tmp_path, {"prompt": "a", "reference": "1"})
    other = lines_in(tmp_path, {"prompt": "a", "reference": "2"}, name="mine2.jsonl")
    own = lines_in(tmp_path, {"prompt": "a", "reference": "1", "grader": "contains"}, name="mine3.jsonl")
    digests = [
        record_of(task).digest
        for task in (
            FileTask(file),
            FileTask(file),
            FileTask(file, grader="number"),
            FileTask(other),
            FileTask(own),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_a_users_grader_is_the_same_when_it_is_mended_or_moved(tmp_path: Path):
    file = lines_in(tmp_path, {"prompt": "a"})
    (tmp_path / "there").mkdir()

    def digest(grader: Path, function: str, content: str) -> str:
        grader.write_text(content)
        return record_of(FileTask(file, grader=f"python:{grader}:{function}")).digest

    first = digest(tmp_path / "mine.py", "f", "def f(text, fields):\n    return 1\n")
    assert digest(tmp_path / "mine.py", "f", "def f(text, fields):\n    return 0\n") == first
    assert digest(tmp_path / "there" / "mine.py", "f", "def f(text, fields):\n    return 1\n") == first
    assert digest(tmp_path / "mine.py", "g", "def g(text, fields):\n    return 1\n") != first
    assert digest(tmp_path / "other.py", "f", "def f(text, fields):\n    return 1\n") != first
