"""What must not be published, and what must not reach an engine: each is refused by name, and leaves no rest."""

from __future__ import annotations

import json
import os
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.alignment.store.folders import (
    HIDDEN,
    RANK,
    lora_tensors,
    make_adapter,
    make_base,
    make_reward,
    rests,
)

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store import check, fingerprint
from motet_alignment.store.weights import write_tensors

Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def refused(publish, store, tmp_path):
    """Asserts that publishing the folder is refused with the words given, and that nothing came of it."""

    def go(folder, words, *, error=Refused, **told):
        with pytest.raises(error, match=words):
            publish(folder, **told)
        assert store.names() == []
        assert rests(store) == []

    return go


def changed(tmp_path, change, **made):
    """An adapter whose tensors ``change`` has had its way with."""
    tensors = lora_tensors()
    change(tensors)
    return make_adapter(tmp_path / "changed", tensors=tensors, **made)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("use_dora", True, "DoRA"),
        ("lora_bias", True, "bias"),
        ("bias", "all", "trained biases"),
        ("peft_type", "IA3", "only LORA"),
        ("init_lora_weights", "pissa", "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", "corda", "changes the base's own weights"),
        ("modules_to_save", ["lm_head"], "lm_head"),
        ("modules_to_save", ["score"], "score"),
        ("trainable_token_indices", [1], "token embeddings"),
        ("target_parameters", ["experts.gate_up_proj"], "bare parameters"),
        ("layer_replication", [[0, 1]], "replicated"),
        ("alora_invocation_tokens", [1], "activated"),
        ("use_bdlora", {"nblocks": 2}, "block-diagonal"),
        ("task_type", "SEQ_CLS", "reward adapter"),
        ("task_type", "SEQ_2_SEQ_LM", "CAUSAL_LM"),
        ("r", 0, "r must be"),
        ("r", 513, "r must be"),
        ("r", True, "r must be"),
        ("r", "8", "r must be"),
        ("lora_alpha", None, "lora_alpha"),
        ("lora_alpha", float("nan"), "lora_alpha"),
        ("rank_pattern", {"q_proj": 0}, "rank_pattern"),
        ("rank_pattern", {"(": 8}, "no regular expression"),
        ("rank_pattern", {"(a+)+": 8}, "too involved"),
        ("alpha_pattern", {"a*a*a*": 8}, "too involved"),
        ("alpha_pattern", {"a?" * 40 + "a" * 40: 8}, "too involved"),
        ("rank_pattern", {"(a|a)" * 40: 8}, "too involved"),
        ("rank_pattern", {f"layers.{n}.*": 8 for n in range(17)}, "17 patterns with repetitions"),
        ("rank_pattern", {f"layers.{n}": 8 for n in range(1025)}, "1025 patterns"),
        ("alpha_pattern", [1], "alpha_pattern"),
        ("use_future_lora", True, "use_future_lora is set, an option that this motet doesn't know"),
    ],
)
def test_configurations_that_engines_would_not_honour(refused, tmp_path, option, value, words):
    refused(make_adapter(tmp_path / "odd", **{option: value}), words)


def test_every_option_of_peft_is_either_refused_or_known_to_be_harmless():
    """A new PEFT with a new option fails here, and somebody decides what it means to the engine."""
    from dataclasses import fields

    from peft import LoraConfig

    from motet_alignment.store.lora import HARMLESS, UNSUPPORTED

    names = {field.name for field in fields(LoraConfig)} - {"runtime_config"}  # never written
    assert names == set(UNSUPPORTED) | HARMLESS


@pytest.mark.parametrize("pickled", ["adapter_model.bin", "adapter_model.pt"])
def test_pickles_are_refused_by_name(refused, tmp_path, pickled):
    folder = make_adapter(tmp_path / "pickled")
    os.rename(folder / "adapter_model.safetensors", folder / pickled)
    refused(folder, rf"{pickled} is a pickle")


def test_pickles_beside_the_weights_are_left_behind(publish, tmp_path):
    from motet_alignment.store import left_out

    folder = make_adapter(tmp_path / "trained")
    for name in ("training_args.bin", "optimizer.pt", "adapter_model.bin"):
        (folder / name).write_bytes(b"\x80\x04.")
    assert left_out(folder) == ["README.md", "adapter_model.bin", "optimizer.pt", "training_args.bin"]
    adapter = publish(folder)
    assert sorted(path.name for path in adapter.path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "motet.json",
    ]


def test_missing_files_and_folders(refused, tmp_path):
    refused(tmp_path / "nowhere", "there is no adapter folder", error=NotFound)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        folder = make_adapter(tmp_path / name)
        (folder / name).unlink()
        refused(folder, f"has no {name}", error=NotFound)


def test_truncated_weights_at_every_length(tmp_path, refused, publish, store):
    folder = make_adapter(tmp_path / "cut")
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1}:
        weights.write_bytes(whole[:length])
        refused(folder, rf"{folder}/adapter_model\.safetensors is not a whole safetensors file")
    weights.write_bytes(whole + b"\0")
    refused(folder, "not a whole safetensors file")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 3) + b"{}}",
        struct.pack("<Q", 60) + b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}      ' + b"\0" * 4,
        struct.pack("<Q", 60) + b'{"x":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}      ' + b"\0" * 4,
        b"\x80\x04\x95pickled, not saved",
    ],
)
def test_headers_that_lie(refused, tmp_path, content):
    folder = make_adapter(tmp_path / "lying")
    (folder / "adapter_model.safetensors").write_bytes(content)
    refused(folder, "not a whole safetensors file")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_one_number_that_is_none_is_found_in_every_type(refused, tmp_path, wrong, dtype):
    values = np.full(RANK * HIDDEN, 1.5, dtype="float32")
    values[-3] = wrong
    stored = {
        "F64": values.astype("float64").tobytes(),
        "F32": values.tobytes(),
        "F16": values.astype("float16").tobytes(),
        "BF16": (values.view("uint32") >> 16).astype("uint16").tobytes(),
    }
    folder = make_adapter(tmp_path / "broken")
    content = write_tensors([(f"{Q_PROJ}.lora_A.weight", dtype, (RANK, HIDDEN), stored[dtype])])
    (folder / "adapter_model.safetensors").write_bytes(content)
    refused(folder, rf"{Q_PROJ}\.lora_A\.weight holds NaN or infinity")


def test_largest_finite_numbers_are_no_infinity(publish, tmp_path):
    def grow(tensors):
        tensors[f"{Q_PROJ}.lora_A.weight"][:] = np.finfo("float32").max

    assert publish(changed(tmp_path, grow)).manifest.rank == RANK


def test_whole_numbers_are_no_weights(refused, tmp_path):
    def cast(tensors):
        tensors[f"{Q_PROJ}.lora_A.weight"] = tensors[f"{Q_PROJ}.lora_A.weight"].astype("int8")

    refused(changed(tmp_path, cast), "is of type I8")


def test_tensors_that_no_engine_would_apply(refused, tmp_path):
    def add(name):
        def change(tensors):
            tensors[name] = np.zeros((2, 2), "float32")

        folder = changed(tmp_path / name, change)
        refused(folder, "is no LoRA matrix")

    add("base_model.model.score.weight")
    add("base_model.model.lm_head.weight")
    add("base_model.model.model.embed_tokens.base_layer.weight")
    add(f"{Q_PROJ}.lora_magnitude_vector")
    add("model.layers.0.self_attn.q_proj.lora_A.weight")


def test_pairs_that_do_not_fit_are_named(refused, tmp_path):
    module = r"model\.layers\.0\.self_attn\.q_proj"

    def case(name, change, words, **made):
        refused(changed(tmp_path / name, change, **made), words)

    def lone(tensors):
        del tensors[f"{Q_PROJ}.lora_B.weight"]

    def ragged(tensors):
        tensors[f"{Q_PROJ}.lora_B.weight"] = np.zeros((HIDDEN, RANK + 1), "float32")

    def wide(tensors):
        tensors[f"{Q_PROJ}.lora_A.weight"] = np.zeros((RANK, HIDDEN + 1), "float32")

    def elsewhere(tensors):
        tensors[f"{Q_PROJ.replace('.0.', '.2.')}.lora_A.weight"] = np.zeros((RANK, HIDDEN), "float32")
        tensors[f"{Q_PROJ.replace('.0.', '.2.')}.lora_B.weight"] = np.zeros((HIDDEN, RANK), "float32")

    def keep(tensors):
        pass

    case("lone", lone, rf"{module}: has lora_A and not one pair")
    case("ragged", ragged, rf"{module}: A is 4x32 and B 32x5")
    case("wide", wide, rf"{module}: maps 33 inputs to 32 outputs, the base tiny's 32 to 32")
    case("elsewhere", elsewhere, r"model\.layers\.2\.self_attn\.q_proj: the base tiny has no such layer")
    case("rank", keep, r"is of rank 4, where adapter_config\.json says 8", r=8)
    case("pattern", keep, r"q_proj: is of rank 4, where .* says 2", rank_pattern={"self_attn.q_proj": 2})


def test_ranks_by_pattern_are_read_as_peft_reads_them(publish, tmp_path):
    def change(tensors):
        for name in [name for name in tensors if "q_proj" in name]:
            shape = (8, HIDDEN) if "lora_A" in name else (HIDDEN, 8)
            tensors[name] = np.ones(shape, "float32")

    folder = changed(tmp_path, change, rank_pattern={r"layers\.[01]\.self_attn\.q_proj": 8})
    assert publish(folder).manifest.rank == 8


def test_a_rank_that_no_module_has_still_needs_room(publish, base, tmp_path):
    adapter = publish(make_adapter(tmp_path / "adapter", rank_pattern={"k_proj": 64}))
    assert adapter.manifest.rank == 64
    with pytest.raises(Refused, match="is of rank 64; the engine was started for 16"):
        check(adapter, base, 16)


def test_empty_adapter_is_refused(refused, tmp_path):
    folder = make_adapter(tmp_path / "empty")
    save_file({}, folder / "adapter_model.safetensors")
    refused(folder, "holds no LoRA matrices")


def test_reward_needs_one_head_of_the_right_size(refused, tmp_path):
    refused(make_adapter(tmp_path / "headless", task_type="SEQ_CLS"), r"lacks .*score\.weight", kind="reward")
    refused(make_adapter(tmp_path / "causal"), "a reward adapter's is SEQ_CLS", kind="reward")
    folder = make_reward(tmp_path / "two")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.score.weight"] = np.zeros((2, HIDDEN), "float32")
    save_file(tensors, folder / "adapter_model.safetensors")
    refused(folder, "is 2x32; one score a text needs 1x32", kind="reward")


def test_adapter_for_another_base_is_refused_when_published(refused, tmp_path):
    other = make_base(tmp_path / "wider", hidden=2 * HIDDEN)
    refused(
        make_adapter(tmp_path / "adapter"),
        "the base wider's 48 to 64; it belongs to another model",
        base=fingerprint(other),
        base_folder=other,
    )
    refused(
        make_adapter(tmp_path / "second"),
        "is not the base tiny that the fingerprint was taken of",
        error=StoreError,
        base_folder=other,
    )


def test_adapter_of_another_tokenizer_is_refused(refused, publish, base_folder, tmp_path):
    folder = make_adapter(tmp_path / "adapter")
    shutil.copy(base_folder / "tokenizer.json", folder)
    rules = json.loads((folder / "tokenizer.json").read_text())
    for token, number, words in (
        ("<pad>", 64, "'<pad>' 64, the base has none"),
        ("t1", 2, "the base gives it 1"),
    ):
        told = {**rules, "added_tokens": [{"id": number, "content": token}]}
        (folder / "tokenizer.json").write_text(json.dumps(told))
        refused(folder, words)
    (folder / "tokenizer.json").write_text(json.dumps({**rules, "padding": {"strategy": "BatchLongest"}}))
    assert publish(folder).manifest.chat_template is None


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for message in messages %}", r"chat_template\.jinja, line 1: no chat template"),
        ("line\n{{ messages[ }}", r"chat_template\.jinja, line 2: no chat template"),
        ("{% include 'x' %}{% unknown %}", "unknown"),
        (" \n", "is empty"),
        ("{" * 300_000, "more than 262144 bytes"),
        (b"\xff\xfe", "not UTF-8"),
        ("(" * 5_000 + "{{ " + "(" * 5_000 + " }}", "no chat template"),
    ],
)
def test_templates_that_would_fail_are_refused(refused, tmp_path, template, words):
    folder = make_adapter(tmp_path / "adapter")
    (folder / "chat_template.jinja").write_bytes(
        template if isinstance(template, bytes) else template.encode()
    )
    refused(folder, words)


@pytest.mark.parametrize(
    "name", "adapter_config.json adapter_model.safetensors chat_template.jinja tokenizer_config.json".split()
)
def test_links_and_pipes_are_refused(refused, tmp_path, name):
    folder = make_adapter(tmp_path / "linked")
    if (folder / name).exists():
        os.rename(folder / name, tmp_path / name)
    else:
        (tmp_path / name).write_text("{{ messages }}")
    (folder / name).symlink_to(tmp_path / name)
    refused(folder, f"{name} is a symbolic link")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, f"{name} is not a plain file")


def test_links_of_the_hubs_own_cache_are_followed(publish, tmp_path):
    folder = make_adapter(tmp_path / "models--x--y" / "snapshots" / "abc", seed=1)
    blobs = tmp_path / "models--x--y" / "blobs"
    blobs.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        os.rename(folder / name, blobs / name)
        (folder / name).symlink_to(f"../../blobs/{name}")
    assert publish(folder).version == publish(1).version


def test_huge_and_deep_json_is_refused(refused, tmp_path):
    folder = make_adapter(tmp_path / "adapter")
    (folder / "adapter_config.json").write_text("[" * 100_000)
    refused(folder, r"adapter_config\.json is not JSON")
    (folder / "adapter_config.json").write_text(" " * (2**20 + 1))
    refused(folder, "more than 1048576 bytes")
    (folder / "adapter_config.json").write_text("[]")
    refused(folder, "must hold a JSON object")


def test_check_before_loading_names_what_differs(publish, base, base_folder, tmp_path):
    adapter = publish(1)
    check(adapter, base, RANK, base_folder=base_folder)
    check(adapter, base.model_copy(update={"name": "called otherwise"}))
    with pytest.raises(Refused, match="is of rank 4; the engine was started for 2"):
        check(adapter, base, 2)
    for change, words in (
        ({"weights": "0" * 64}, "different weights$"),
        ({"tokenizer": "0" * 64}, "different tokenizer$"),
        ({"chat_template": None}, "different chat template$"),
        ({"weights": "0" * 64, "tokenizer": "0" * 64}, "different weights and tokenizer$"),
    ):
        with pytest.raises(Refused, match=words):
            check(adapter, base.model_copy(update=change))


def test_other_base_template_matters_only_to_adapters_without_their_own(publish, base, tmp_path):
    folder = make_adapter(tmp_path / "own")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    check(publish(folder), base.model_copy(update={"chat_template": None}))


def test_check_looks_at_the_files_too(publish, base, tmp_path):
    adapter = publish(make_reward(tmp_path / "reward"), kind="reward")
    check(adapter, base, 16)
    score = adapter.path / "engine" / "score.safetensors"
    content = score.read_bytes()
    score.unlink()
    with pytest.raises(Refused, match=r"score\.safetensors is missing"):
        check(adapter, base)
    score.write_bytes(content)
    check(adapter, base)
    (adapter.path / "engine" / "adapter_model.bin").touch()
    with pytest.raises(Refused, match="doesn't belong"):
        check(adapter, base)
