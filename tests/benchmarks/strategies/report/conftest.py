"""A made-up run in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_benchmarks.strategies.report.writing import write
from motet_benchmarks.strategies.testing_runs import make_run, write_run

#: A text and a name that would do harm wherever they aren't escaped.
HOSTILE = '<script>document.title = "taken"</script><img src=x onerror="document.title=1">&amp;</pre>'


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """The folder of a run of everything, with its report and a hostile answer in it."""
    folder = tmp_path_factory.mktemp("run")
    run, samples = make_run(problems=45)
    samples = [
        sample.model_copy(update={"text": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE})
        for sample in samples
    ]
    strategies = tuple(
        each.model_copy(update={"name": f"same {HOSTILE}"}) if each.name == "same" else each
        for each in run.strategies
    )
    samples = [
        each.model_copy(update={"strategy": f"same {HOSTILE}"}) if each.strategy == "same" else each
        for each in samples
    ]
    write_run(folder, run.model_copy(update={"strategies": strategies}), samples)
    write(folder)
    return folder
