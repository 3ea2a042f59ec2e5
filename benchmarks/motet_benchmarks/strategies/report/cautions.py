"""What a reader must know before trusting a report's figures, in sentences."""

from __future__ import annotations

from motet_benchmarks.strategies.report.analysis import Analysis

#: The share of a strategy's answers that may be cut off without a word.
CUT = 0.05


def cautions(found: Analysis) -> list[str]:
    """What a reader must know before trusting the figures."""
    run, recorded = found.table.run, found.recorded
    said = [f"Refused by the endpoint: {name}: {reason}" for name, reason in run.refused.items()]
    for task, name in ((task, name) for task in found.table.tasks for name in found.table.strategies):
        if refused := found.table.refused(task, name):
            answered = len(found.table.each(task, name))
            count = "count as wrong and" if found.scored(task) else "have no reward and count"
            told = (
                f"{len(refused):,} of {len(refused) + answered:,} questions of {task}, which {count} in no cost or time"
                if answered
                else f"every question of {task}, of which it has no figures therefore"
            )
            said.append(f"{name}: the endpoint refused {told}; the first: {refused[0].refusal}")
    said += _unrewarded(found)
    said += _cut(found)
    if counted := sum(sample.counted for sample in recorded.samples):
        said.append(
            f"Of {counted:,} answers the endpoint didn't tell the tokens: they are counted as the pieces that came, "
            "and their prompts as nothing, so that their costs are too low."
        )
    if run.salted is False:
        said.append(
            "The endpoint can't be told to keep strategies' prompts apart in its cache: all but the first strategy may "
            "have found theirs there, and have got their first tokens sooner for it."
        )
    if recorded.answers < recorded.expected():
        said.append(
            f"The run isn't complete: {recorded.answers:,} of {recorded.expected():,} answers are there. Strategies "
            "are compared on the problems that both have answered, and none is ranked that has answered fewer than "
            "others; the same command asks for the rest."
        )
    said += [f"The run was gone on with, and not as it was begun: {each}." for each in run.changed]
    if run.refused.get(run.strategies[0].name) is not None:
        said.append(
            f"{run.strategies[0].name}, which others were to be compared with, was refused; they are compared with "
            f"{found.table.first}."
        )
    return said


def _unrewarded(found: Analysis) -> list[str]:
    """Who has answers without a reward that weren't refused to begin with, where others have some."""
    said = []
    for task in dict.fromkeys(each.task for each in found.likings):
        for name in (name for of, name in found.table.cells() if of == task):
            answers = found.table.each(task, name)
            missing = sum(sample.reward is None for sample in answers)
            if missing:
                said.append(
                    f"{name}: {missing:,} of {len(answers):,} answers to {task} have no reward and are in no figure of "
                    "rewards. What a judge can't read is often too long, so that this may flatter who writes at length."
                )
    return said


def _cut(found: Analysis) -> list[str]:
    """Whose answers were often ended by their bound, so that their scores say as much of the bound as of them."""
    bounds = {task.name: found.table.run.tokens or task.tokens for task in found.table.run.tasks}
    said = []
    for task, name in found.table.cells():
        share = found.cost(task, name).cut.value
        if share > CUT:
            own = found.strategy(name).sampling
            bound = own.get("max_tokens", own.get("max_completion_tokens", bounds[task]))
            at = f" at {bound:,} tokens" if isinstance(bound, int) else ""
            said.append(
                f"{name}: {100 * share:.0f}% of its answers to {task} were cut off{at}; --tokens lets them go on."
            )
    return said
