"""A stand-in for the `lm_eval` program: asks and leaves files as that does, and starts within a moment.

Its tasks are files with a problem a line, `{"question": ..., "answer": ...}`; one with `choices` can't be asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

_DATE = "2026-01-01T00-00-00.000000"


def install(folder: Path) -> Path:
    """The program, in ``folder``."""
    file = folder / "lm_eval"
    file.write_text(f"#!{sys.executable}\nfrom {__name__} import main\nmain()\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def main() -> None:
    """What `lm_eval` does, with the arguments of this process."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in ("--model", "--model_args", "--tasks", "--output_path"):
        parser.add_argument(option, required=True)
    for option in ("--apply_chat_template", "--log_samples"):
        parser.add_argument(option, action="store_true", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--system_instruction")
    parser.add_argument("--repeats", type=int, default=1)
    told = parser.parse_args()
    if told.model != "local-chat-completions":
        parser.error(f"unknown model {told.model}")
    client = dict(pair.split("=", 1) for pair in told.model_args.split(","))
    task = Path(told.tasks)
    problems = [json.loads(line) for line in task.read_text(encoding="utf-8").splitlines()][: told.limit]
    rows = []
    for number, problem in enumerate(problems):
        messages = [{"role": "user", "content": problem["question"]}]
        if "choices" in problem:
            raise NotImplementedError("Loglikelihood is not supported for chat completions.")
        if told.system_instruction:
            messages.insert(0, {"role": "system", "content": told.system_instruction})
        text = _ask(client, messages)
        rows += [
            _row(number, problem, messages, [text] * told.repeats, name, answer)
            for name, answer in (("none", text), ("last-word", text.split(" ")[-1]))
        ]
    folder = Path(told.output_path) / client["model"]
    folder.mkdir(parents=True)
    higher = {task.stem: {"exact_match": True, "distance": False, "length": True}}
    (folder / f"results_{_DATE}.json").write_text(json.dumps({"higher_is_better": higher}), encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"samples_{task.stem}_{_DATE}.jsonl").write_text(lines, encoding="utf-8")


def _ask(client: dict[str, str], messages: list[dict[str, str]]) -> str:
    body = {"messages": messages, "model": client["model"], "max_tokens": 16, "temperature": 0}
    request = urllib.request.Request(
        client["base_url"],
        data=json.dumps({**body, "stop": ["\n"], "seed": 1234}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        choice = json.load(response)["choices"][0]
    # Read by its index, without which lm_eval takes an answer for an empty one.
    return [choice["message"]["content"]][choice["index"]]


def _row(
    number: int, problem: Any, messages: list[dict[str, str]], texts: list[str], used: str, answer: str
) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": problem,
        "target": problem["answer"],
        "arguments": {"gen_args_0": {"arg_0": [json.dumps(messages)], "arg_1": {"until": ["\n"]}}},
        "resps": [texts],
        "filtered_resps": [answer],
        "filter": used,
        "metrics": ["exact_match", "distance", "length"],
        "exact_match": float(answer == problem["answer"]),
        "distance": float(answer != problem["answer"]),
        "length": len(answer),
    }
