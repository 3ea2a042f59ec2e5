"""Which options of ``motet bench strategies`` have anything to apply to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from motet_benchmarks.errors import BenchmarkError

_SERVER = "of the server that is started, and --url names a running one"
#: Options that only some runs have a use for, and what they need.
_NEEDS: Mapping[str, str] = {
    "--model": "server",
    "--amateur": "server",
    "--serve-options": "server",
    "--grader": "a FILE.jsonl",
    "--limit": "a file or a task of lm_eval's",
    "--lm-eval-options": "a task of lm_eval's",
    "--count": "the gym",
    "--families": "the gym",
}


def check(tasks: Sequence[str], *, started: bool, told: Mapping[str, object]) -> None:
    """Raises BenchmarkError for an option that would do nothing.

    Args:
        tasks: the words of --tasks.
        started: whether the run starts its server itself.
        told: options by name; None or an empty text where one wasn't given.
    """
    lm_eval = any(task.startswith("lm-eval:") for task in tasks)
    file = any(task.endswith(".jsonl") and not task.startswith(("lm-eval:", "gsm8k:")) for task in tasks)
    given = {
        "server": started,
        "a FILE.jsonl": file,
        "a file or a task of lm_eval's": any(task != "gym" for task in tasks),
        "a task of lm_eval's": lm_eval,
        "the gym": "gym" in tasks,
    }
    for option, value in told.items():
        need = _NEEDS[option]
        if value in (None, "") or given[need]:
            continue
        if need == "server":
            hint = "; --name says which of its models to ask" if option == "--model" else ""
            raise BenchmarkError(f"{option} {value}: {_SERVER}{hint}")
        raise BenchmarkError(f"{option} {value}: only for {need}, and --tasks names none")
