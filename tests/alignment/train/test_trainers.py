"""The trainers in this process, on a tiny base: they learn, mask, resume, repeat and publish what they trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.alignment.train.conftest import same_weights, turn, weights_of, write_lines

from motet_alignment.errors import AlignmentError, TrainError
from motet_alignment.store import AdapterStore
from motet_alignment.train import (
    DpoSettings,
    RewardSettings,
    SftSettings,
    train,
    train_dpo,
    train_reward,
    train_sft,
)
from motet_alignment.train.record import read_lines


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl") if "loss" in line]


def test_sft_memorises_publishes_and_records(place, sums):
    trained = train_sft(SftSettings(**place, data=(sums,), name="adder", steps=40, learning_rate=1e-2))
    found = losses(trained.folder)
    assert found[-1] < 0.3 * found[0]
    assert trained.adapter is not None
    assert trained.adapter.reference == AdapterStore(place["store"]).get("adder").reference
    manifest = trained.adapter.manifest
    assert manifest.data[0].examples == 24
    assert manifest.settings["learning_rate"] == 1e-2
    assert manifest.metrics["held_out_loss"]["n"] == 6
    assert (trained.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (trained.folder / "loss.svg").stat().st_size > 1000
    assert list((trained.folder / "tensorboard").glob("events.*"))
    line = read_lines(trained.folder / "metrics.jsonl")[0]
    assert {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second"} <= line.keys()
    assert json.loads((trained.folder / "result.json").read_text())["adapter"] == trained.adapter.reference


def test_a_published_adapter_gives_the_logits_it_was_trained_to(place, sums, tiny):
    """Loaded by plain PEFT, the adapter repeats the held-out loss that the trainer measured."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = train_sft(SftSettings(**place, data=(sums,), steps=5, learning_rate=1e-2))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(trained.adapter.path))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    from motet_alignment.data import read_examples, render
    from motet_alignment.train.samples import split

    _, held = split(read_examples(sums).items, 0.25, 0)
    total = tokens = 0.0
    for item in held:
        rendered = render(tokenizer, item.messages, context=512)
        ids = torch.tensor([rendered.input_ids])
        marked = torch.tensor([rendered.assistant])[:, 1:]
        with torch.no_grad():
            logprobs = model(ids).logits[:, :-1].log_softmax(-1)
        said = logprobs.gather(-1, ids[:, 1:, None]).squeeze(-1)
        total -= float((said * marked).sum())
        tokens += float(marked.sum())
    assert total / tokens == pytest.approx(trained.metrics["held_out_loss"].value, rel=1e-4)


def test_tokens_without_loss_teach_nothing(place, tmp_path):
    """Two answers in one conversation, the first of weight 0: what it says is context and never a target."""
    from transformers import AutoTokenizer

    from motet_alignment.data import Message
    from motet_alignment.data.items import Demonstration
    from motet_alignment.train.batches import Collator
    from motet_alignment.train.samples import Rendering, make_samples

    tokenizer = AutoTokenizer.from_pretrained(place["model"])
    messages = (
        Message(role="user", content="One?"),
        Message(role="assistant", content="aaa", weight=0),
        Message(role="user", content="Two?"),
        Message(role="assistant", content="bbb"),
    )
    (sample,) = make_samples(
        [Demonstration(messages=messages, source="x:1")], tokenizer, 64, rendering=Rendering()
    )
    labels = Collator(0)(((0,),), [sample])["labels"][0]
    learnt = tokenizer.decode([token for token in labels.tolist() if token >= 0])
    assert learnt == "bbb<|im_end|>"


def test_the_loss_is_the_mean_over_marked_tokens_and_no_others(place, sums):
    """Worked out from plain logits: what isn't marked has no part in it, as target."""
    from motet_alignment.train.batches import IGNORED

    trainer = built(SftSettings(**place, data=(sums,), steps=1))
    inputs = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        found = trainer.losses(trainer.model, inputs)
        logits = trainer.model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    texts = [trainer.work.samples[row[0]].texts[0] for row in trainer.work.plan.batches[0]]
    said = [
        -logits[row, place - 1].log_softmax(-1)[text.ids[place]]
        for row, text in enumerate(texts)
        for place in range(1, len(text.ids))
        if text.mask[place]
    ]
    assert found.item() == pytest.approx((sum(said) / len(said)).item(), rel=1e-5)
    assert len(said) == int((inputs["labels"] != IGNORED).sum())
    assert len(said) < sum(len(text.ids) for text in texts) / 3


def built(settings):
    """The trainer that a run would train with."""
    from motet_alignment.train import run as room

    place = room.choose_place(settings.device, settings.precision)
    base = room.open_base(settings)
    inputs = room.read_inputs(settings, base)
    plan, batching = room.planned(settings, base, inputs, place)
    from motet_alignment.train.trainer import Work

    work = Work(plan, inputs.samples, inputs.held_out, batching, base.tokenizer.pad_token_id)
    model = room.load_model(settings, base, place)
    return room.make_trainer(settings, base, place, work, settings.folder, model, inputs)


def test_the_reward_of_the_better_answer_rises(place, pairs, tiny):
    trained = train_reward(RewardSettings(**place, data=(pairs,), steps=30, learning_rate=1e-2))
    accuracy = trained.metrics["held_out_accuracy"]
    assert accuracy.value == 1.0
    assert accuracy.n == 6
    assert accuracy.low == pytest.approx(0.61, abs=0.01)  # Wilson's, 6 of 6
    assert losses(trained.folder)[-1] < 0.1
    assert trained.adapter.kind == "reward"
    assert trained.adapter.head_path.exists()


def test_a_published_reward_adapter_scores_the_last_token(place, pairs, tiny):
    """By plain transformers and PEFT, one conversation at a time: as the trainer's batches scored."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from motet_alignment.data import read_examples
    from motet_alignment.train.samples import split

    trained = train_reward(RewardSettings(**place, data=(pairs,), steps=6, learning_rate=3e-3))
    plain = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1)
    model = PeftModel.from_pretrained(plain, str(trained.adapter.path)).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    _, held = split(read_examples(pairs).items, 0.25, 0)
    found = []
    for item in held:
        rewards = []
        for answer in (item.chosen, item.rejected):
            chat = [{"role": one.role, "content": one.content} for one in (*item.prompt, *answer)]
            ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
            with torch.no_grad():
                rewards.append(model(ids).logits.item())
        found.append(torch.nn.functional.softplus(torch.tensor(rewards[1] - rewards[0])).item())
    assert sum(found) / len(found) == pytest.approx(trained.metrics["held_out_loss"].value, rel=1e-4)


def test_rankings_and_ratings(place, tmp_path):
    words = [f"w{place}" for place in range(12)]
    rankings = write_lines(
        tmp_path / "rankings.jsonl",
        [
            {
                "prompt": f"Say {word}.",
                "answers": [f"good {word}", f"fair {word}", f"bad {word}"][: 2 + place % 2],
            }
            for place, word in enumerate(words)
        ],
    )
    ratings = write_lines(
        tmp_path / "ratings.jsonl",
        [
            {**turn(f"Say {word}.", f"{kind} {word}"), "score": score}
            for word in words
            for kind, score in (("good", 9.0), ("bad", 1.0))
        ],
    )
    for file in (rankings, ratings):
        settings = RewardSettings(
            **{**place, "folder": tmp_path / file.stem, "held_out": 0.0},
            data=(file,),
            steps=25,
            learning_rate=1e-2,
        )
        trained = train_reward(settings)
        found = losses(trained.folder)
        assert found[-1] < 0.3 * found[0], file
    # The last were ratings of 9 and 1: learnt as 1 and -1, and the manifest says how to go back.
    kept = trained.adapter.manifest.settings
    assert (kept["score_mean"], kept["score_spread"]) == (5.0, 4.0)


def test_dpo_prefers_the_chosen_answers_and_starts_from_its_reference(place, pairs, sums, tmp_path):
    first = train_sft(
        SftSettings(**{**place, "folder": tmp_path / "sft"}, data=(sums,), steps=3, name="start")
    )
    trained = train_dpo(
        DpoSettings(**place, data=(pairs,), steps=30, learning_rate=3e-3, start="start", name="polite")
    )
    found = losses(trained.folder)
    assert found[0] == pytest.approx(0.6931, abs=1e-3)  # -log sigmoid(0): the policy is its reference
    assert found[-1] < 0.2
    assert trained.metrics["held_out_accuracy"].value == 1.0
    assert trained.adapter.manifest.parents == (first.adapter.reference,)
    assert set(weights_of(trained.adapter.path)) == set(weights_of(first.adapter.path))


@pytest.mark.parametrize(
    "options", [{"loss": "ipo"}, {"loss": "hinge"}, {"loss": "robust"}, {"reference": "base"}]
)
def test_dpos_variants_run(place, pairs, options):
    trained = train_dpo(DpoSettings(**place, data=(pairs,), steps=12, learning_rate=3e-3, **options))
    found = losses(trained.folder)
    assert found[-1] < found[0]


def test_packing_and_padding_give_the_same_gradients(place, sums, tmp_path):
    """One step on all conversations: packed or padded, in one batch or in several."""
    folders = []
    for name, options in {
        "padded": {"batch_size": 24},
        "packed": {"packing": True, "batch_tokens": 4096},
        "apart": {"batch_size": 6, "accumulation": 4},
    }.items():
        settings = SftSettings(
            **{**place, "folder": tmp_path / name, "held_out": 0},
            data=(sums,),
            epochs=1,
            publish=False,
            **options,
        )
        train(settings)
        folders.append(tmp_path / name / "adapter")
    one, *others = map(weights_of, folders)
    for other in others:
        for key in one:
            torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=2e-6)


def test_a_seed_repeats_its_weights_and_another_gives_others(place, sums, tmp_path):
    def run(name: str, seed: int) -> Path:
        settings = SftSettings(
            **{**place, "folder": tmp_path / name}, data=(sums,), steps=3, seed=seed, dropout=0.1
        )
        return train(settings).folder / "adapter"

    first, again, other = run("a", 5), run("b", 5), run("c", 6)
    assert same_weights(first, again)
    assert not same_weights(first, other)


@pytest.mark.parametrize("kind", ["sft", "reward", "dpo"])
def test_going_on_ends_where_an_unbroken_run_ends(place, sums, pairs, tmp_path, kind, monkeypatch):
    """Bit by bit, dropout's dice included; the lines of metrics too, but for their times."""
    from motet_alignment.train import watching

    model, data = {
        "sft": (SftSettings, sums),
        "reward": (RewardSettings, pairs),
        "dpo": (DpoSettings, pairs),
    }[kind]

    def settings(name: str):
        return model(
            **{**place, "folder": tmp_path / name},
            data=(data,),
            steps=8,
            batch_size=6,
            dropout=0.1,
            save_every=3,
            learning_rate=1e-3,
        )

    unbroken = train(settings("unbroken")).folder

    class Killed(Exception):
        pass

    sealed = watching.Seal.on_save

    def killed_at_six(self, args, state, *rest, **more):
        if state.global_step == 6:
            raise Killed
        sealed(self, args, state, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(watching.Seal, "on_save", killed_at_six)
        with pytest.raises(Killed):
            train(settings("broken"))
    assert not (tmp_path / "broken" / "adapter").exists()
    assert (tmp_path / "broken" / "checkpoint-6").exists()  # not whole, so it doesn't count
    broken = train(settings("broken")).folder
    assert same_weights(unbroken / "adapter", broken / "adapter")

    def lines(folder: Path):
        return [
            {key: value for key, value in line.items() if "per_second" not in key}
            for line in read_lines(folder / "metrics.jsonl")
        ]

    assert lines(unbroken) == lines(broken)


def test_a_finished_run_is_published_again_without_training(place, sums):
    settings = SftSettings(**place, data=(sums,), steps=3)
    first = train(settings)
    shutil.rmtree(place["store"])
    again = train(settings)
    assert again.adapter.version == first.adapter.version
    assert len(losses(again.folder)) == 3


def test_other_settings_do_not_go_on(place, sums):
    train(SftSettings(**place, data=(sums,), steps=2))
    with pytest.raises(TrainError, match=r"rank was 8 and is now 4"):
        train(SftSettings(**{**place, "rank": 4}, data=(sums,), steps=2))


def test_fewer_examples_than_a_batch_and_no_held_out(place, tmp_path):
    file = write_lines(tmp_path / "one.jsonl", [turn("What?", "That.")])
    trained = train_sft(SftSettings(**place, data=(file,), steps=2, batch_size=64, accumulation=3))
    assert "held_out_loss" not in trained.metrics
    assert trained.adapter is not None


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(place, sums):
    settings = SftSettings(
        **{**place, "clip": 1e30}, data=(sums,), steps=30, learning_rate=1e20, save_every=1
    )
    with pytest.raises(TrainError, match=r"Lower --learning-rate"):
        train(settings)
    assert not (settings.folder / "adapter").exists()
    from motet_alignment.train.checkpoints import last_checkpoint

    kept = last_checkpoint(settings.folder)
    assert kept is None or all(bool(weight.isfinite().all()) for weight in weights_of(kept).values())


def test_out_of_memory_says_what_to_lower(place, sums, tmp_path, monkeypatch):
    from motet_alignment.train.sft import SftTrainer

    def no_room(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB. More words.")

    monkeypatch.setattr(SftTrainer, "losses", no_room)
    with pytest.raises(TrainError, match=r"lower --batch-tokens 4096 .*--context.*--gradient-checkpointing"):
        train(SftSettings(**place, data=(sums,), steps=1))

    def no_room_on_the_processor(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(SftTrainer, "losses", no_room_on_the_processor)
    with pytest.raises(TrainError, match="lower --batch-size 3 "):
        train(SftSettings(**{**place, "folder": tmp_path / "other"}, data=(sums,), steps=1, batch_size=3))


def test_starting_adapters_are_checked(place, sums, pairs, tmp_path):
    train_reward(RewardSettings(**place, data=(pairs,), steps=1, name="judge"))
    with pytest.raises(TrainError, match="has a scalar head"):
        train_dpo(DpoSettings(**{**place, "folder": tmp_path / "b"}, data=(pairs,), start="judge"))
    with pytest.raises(AlignmentError, match="nobody"):
        train_dpo(DpoSettings(**{**place, "folder": tmp_path / "c"}, data=(pairs,), start="nobody"))
    with pytest.raises(TrainError, match="--rank 4"):
        train_reward(
            RewardSettings(**{**place, "rank": 4, "folder": tmp_path / "d"}, data=(pairs,), start="judge")
        )
    for option, value in (("alpha", 1.0), ("dropout", 0.5), ("target_modules", "q_proj")):
        asked = RewardSettings(**{**place, option: value}, data=(pairs,), start="judge", steps=1)
        with pytest.raises(
            TrainError, match=f"--{option.replace('_', '-')} .* judge@.*, which --from goes on"
        ):
            train_reward(asked)


def test_models_that_will_not_do(place, sums, tiny, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(TrainError, match="no chat template"):
        train(SftSettings(**{**place, "model": str(bare)}, data=(sums,), steps=1))
    with pytest.raises(TrainError, match="--target-modules nowhere"):
        train(SftSettings(**place, data=(sums,), steps=1, target_modules="nowhere"))
    with pytest.raises(TrainError, match=r"--context 9999: the model's own context is 512"):
        train(SftSettings(**{**place, "folder": tmp_path / "e"}, data=(sums,), steps=1, context=9999))


def test_a_template_of_ones_own_is_published_along(place, sums, tmp_path):
    own = tmp_path / "own.jinja"
    own.write_text(
        "{% for message in messages %}<|im_start|>{{ message.role }}: {{ message.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}",
        "utf-8",
    )
    trained = train(SftSettings(**place, data=(sums,), steps=1, chat_template=own))
    assert trained.adapter.chat_template == own.read_text("utf-8")


def test_pretraining_text_is_mixed_in(place, sums, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("once upon a time there was a frog. " * 60, "utf-8")
    trained = train(
        SftSettings(
            **place, data=(sums,), pretraining=(text,), mix=0.5, steps=20, learning_rate=1e-2, context=64
        )
    )
    assert losses(trained.folder)[-1] < 0.7 * losses(trained.folder)[0]
    assert [Path(file.path).name for file in trained.adapter.manifest.data] == ["sums.jsonl", "text.txt"]
