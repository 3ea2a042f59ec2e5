"""Groups in vLLM's own schedulers: members draw together or not at all, whatever is short, and nothing is left over."""

from __future__ import annotations

import pytest
from tests.decoding.lockstep_play import Worker, make_request, make_scheduler, play, token_after

from motet_decoding.engine.arguments import AdapterFile, Member
from motet_decoding.testing import llama_config, write_model

BASE = Member()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model"), llama_config(64, 1), seed=0))


def scheduler_of(model, **options):
    return make_scheduler(
        model,
        **{"blocks": 100, "max_num_seqs": 8, "max_num_batched_tokens": 16, "max_model_len": 48, **options},
    )


def run(scheduler, worker, steps=200):
    """Steps until nothing is left; the tokens and the ends of the requests."""
    tokens, ends = {}, {}
    for _ in range(steps):
        if not scheduler.has_requests():
            return tokens, ends
        step = scheduler.schedule()
        for outputs in scheduler.update_from_output(step, worker.run(step)).values():
            for output in outputs.outputs:
                tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
                if output.finish_reason is not None:
                    ends[output.request_id] = str(output.finish_reason)
    raise AssertionError("nothing moves any more")


def alone(prompt, count):
    known = list(prompt)
    for _ in range(count):
        known.append(token_after(known))
    return known[len(prompt) :]


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_random_groups_under_random_bounds(model, policy, asynchronous):
    played = [play(model, seed, asynchronous=asynchronous, policy=policy) for seed in range(1000, 1012)]
    assert sum(each.group_draws for each in played) > 500
    assert sum(each.plain_draws for each in played) > 500
    assert sum(each.preemptions for each in played) > 50


def test_prompts_of_different_lengths_are_read_before_any_member_draws(model):
    scheduler = scheduler_of(model)
    worker = Worker(scheduler._key)
    voices = [Member(tokens=(7,)), Member(tokens=tuple(range(40))), BASE]
    scheduler.add_request(make_request("a", [1, 2, 3], voices=voices, max_tokens=5))
    scheduler.add_request(make_request("b", [4], max_tokens=5))
    assert run(scheduler, worker) == (
        {"a": alone([1, 2, 3], 5), "b": alone([4], 5)},
        {"a": "length", "b": "length"},
    )
    assert worker.group_draws == 5


def test_the_leaders_stop_token_ends_its_followers(model):
    scheduler = scheduler_of(model)
    answer = alone([1, 2, 3], 30)
    stop = next(token for place, token in enumerate(answer) if place > 3 and token not in answer[:place])
    scheduler.add_request(make_request("a", [1, 2, 3], voices=[BASE], max_tokens=30, eos=stop))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert tokens["a"] == answer[: answer.index(stop) + 1]
    assert ends == {"a": "stop"}
    assert scheduler.books_are_empty()


def test_no_member_outgrows_the_context(model):
    scheduler = scheduler_of(model)
    scheduler.add_request(make_request("a", [1], voices=[Member(tokens=tuple(range(44)))], max_tokens=30))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert (len(tokens["a"]), ends) == (4, {"a": "length"})


@pytest.mark.parametrize(
    ("options", "voices"),
    [
        ({"max_num_seqs": 2}, [BASE, BASE]),
        ({}, [Member(tokens=tuple(range(48)))]),
        ({"blocks": 12}, [Member(tokens=tuple(range(20))), Member(tokens=tuple(range(20)))]),
        (
            {"lora_slots": 2},
            [
                Member(adapter=AdapterFile(name=f"a{number}", number=number, path="/a"))
                for number in (1, 2, 3)
            ],
        ),
    ],
    ids=["too many members", "a prompt that fills the context", "no room in the cache", "no slots"],
)
def test_a_group_that_can_never_be_served_ends_with_an_error_and_others_go_on(model, options, voices):
    scheduler = scheduler_of(model, **options)
    scheduler.add_request(make_request("a", [1, 2, 3], voices=voices, max_tokens=20))
    scheduler.add_request(make_request("b", [4], max_tokens=5))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert ends == {"a": "error", "b": "length"}
    assert tokens["b"] == alone([4], 5)
    assert scheduler.books_are_empty()


def test_two_groups_that_stand_in_each_others_way_are_served_one_after_the_other(model):
    scheduler = scheduler_of(model, blocks=18, scheduling_policy="priority")
    worker = Worker(scheduler._key)
    voices = [Member(tokens=tuple(range(20, 40)))]
    scheduler.add_request(make_request("a", list(range(20)), voices=voices, max_tokens=12, priority=1))
    step = scheduler.schedule()
    scheduler.update_from_output(step, worker.run(step))
    scheduler.add_request(make_request("b", list(range(10, 30)), voices=voices, max_tokens=12, priority=0))
    tokens, ends = run(scheduler, worker)
    assert tokens == {"a": alone(list(range(20)), 12), "b": alone(list(range(10, 30)), 12)}
    assert ends == {"a": "length", "b": "length"}


def test_a_lost_lockstep_ends_the_group_with_an_error(model):
    scheduler = scheduler_of(model)
    worker = Worker(scheduler._key)
    scheduler.add_request(make_request("a", [1, 2, 3], voices=[BASE], max_tokens=20))
    ends = {}
    while scheduler.has_requests():
        step = scheduler.schedule()
        output = worker.run(step)
        for row, tokens in enumerate(output.sampled_token_ids):
            if tokens and output.req_ids[row] != "a":
                tokens[0] += 1
        for outputs in scheduler.update_from_output(step, output).values():
            ends |= {
                each.request_id: str(each.finish_reason) for each in outputs.outputs if each.finish_reason
            }
    assert ends == {"a": "error"}
    assert scheduler.books_are_empty()


def test_plain_requests_are_planned_as_by_vllm_alone(model):
    from vllm.v1.core.sched.scheduler import Scheduler

    def steps(kind):
        scheduler = scheduler_of(model, blocks=20, kind=kind)
        worker = Worker("motet-none")
        for number in range(8):
            scheduler.add_request(make_request(f"r{number}", list(range(number, 12)), max_tokens=9))
        planned = []
        while scheduler.has_requests():
            step = scheduler.schedule()
            planned.append((dict(step.num_scheduled_tokens), sorted(step.preempted_req_ids or ())))
            scheduler.update_from_output(step, worker.run(step))
        return planned

    assert steps(None) == steps(Scheduler)
