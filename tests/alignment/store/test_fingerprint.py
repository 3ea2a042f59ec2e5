"""The fingerprint: the same wherever and however a model is stored, another for another model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.alignment.store.folders import HIDDEN, VOCAB, base_tensors, make_base

from motet_alignment.errors import StoreError
from motet_alignment.store import find_base, fingerprint
from motet_alignment.store.weights import read_header, sample


def edit(folder, name, change):
    """Rewrites a JSON file of the folder by ``change``, which alters the value it is given."""
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))


def shard(folder):
    """Splits the folder's weights into two files with an index, as large models come."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for index, name in enumerate(sorted(tensors)):
        weight_map[name] = f"model-0000{index % 2 + 1}-of-00002.safetensors"
    for file in set(weight_map.values()):
        held = {name: tensors[name] for name in tensors if weight_map[name] == file}
        save_file(held, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_known_parts(base, base_folder):
    assert base.name == "tiny"
    assert (base.hidden_size, base.vocab_size) == (HIDDEN, VOCAB)
    assert fingerprint(base_folder) == base
    assert fingerprint(str(base_folder)) == base


@pytest.mark.parametrize(
    "change",
    [
        shard,
        lambda folder: save_file(
            {**load_file(folder / "model.safetensors"), "lm_head.weight": np.zeros((VOCAB, HIDDEN), "float32")},
            folder / "model.safetensors",
        ),
        lambda folder: edit(folder, "config.json", lambda c: c.update(transformers_version="9", dtype="float16")),
        lambda folder: edit(folder, "config.json", lambda c: c.update(use_cache=False, head_dim=None)),
        lambda folder: edit(folder, "config.json", lambda c: c.update(_attn_implementation_autoset=True)),
        lambda folder: edit(
            folder,
            "config.json",
            lambda c: c.update(rope_parameters={"rope_theta": c.pop("rope_theta"), "rope_type": "default"}),
        ),
        lambda folder: edit(folder, "tokenizer.json", lambda t: t.update(truncation={"max_length": 5}, padding=1)),
        lambda folder: edit(folder, "tokenizer.json", lambda t: t["model"].update(merges=[["t1", "t2"], ["t3", "t4"]])),
        lambda folder: edit(folder, "tokenizer_config.json", lambda t: t.update(eos_token={"content": "t0"})),
        lambda folder: (folder / "generation_config.json").write_text("{}"),
    ],
    ids="shards tied-head versions defaults private rope cutting merges special-tokens generation".split(),
)  # fmt: skip
def test_same_model_stored_otherwise(base, tmp_path, change):
    folder = make_base(tmp_path / "copy")
    change(folder)
    assert base.differences(fingerprint(folder)) == ()


def test_chat_template_counts_wherever_it_stands(base, tmp_path):
    folder = make_base(tmp_path / "copy")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    assert fingerprint(folder).chat_template is None
    assert base.differences(fingerprint(folder)) == ("chat template",)
    assert base.differences(fingerprint(folder), template=False) == ()
    for written in (
        template,
        [{"name": "tools", "template": "x"}, {"name": "default", "template": template}],
    ):
        edit(
            folder,
            "tokenizer_config.json",
            lambda config, written=written: config.update(chat_template=written),
        )
        assert fingerprint(folder).chat_template == base.chat_template


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda f: edit(f, "config.json", lambda c: c.update(num_attention_heads=4)), "weights"),
        (lambda f: edit(f, "config.json", lambda c: c.update(rope_theta=500000.0)), "weights"),
        (lambda f: save_file(base_tensors(1), f / "model.safetensors"), "weights"),
        (lambda f: edit(f, "tokenizer.json", lambda t: t["model"]["vocab"].update(t9=8, t8=9)), "tokenizer"),
        (lambda f: edit(f, "tokenizer_config.json", lambda t: t.update(add_bos_token=True)), "tokenizer"),
        (lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"), "chat template"),
    ],
    ids="heads rope values vocabulary bos template".split(),
)
def test_other_model(base, tmp_path, change, differs):
    folder = make_base(tmp_path / "other")
    change(folder)
    assert base.differences(fingerprint(folder)) == (differs,)


@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_number_at_either_end_of_a_tensor_is_seen(base, tmp_path, place):
    for name in base_tensors():
        tensors = base_tensors()
        tensors[name].reshape(-1)[place] += 1
        folder = make_base(tmp_path / name)
        save_file(tensors, folder / "model.safetensors")
        assert base.differences(fingerprint(folder)) == ("weights",)


def test_large_tensors_are_sampled_and_small_ones_read_whole(tmp_path):
    tensors = {"large": np.arange(2**20, dtype="float32"), "small": np.arange(1024, dtype="float32")}
    save_file(tensors, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    with (tmp_path / "x.safetensors").open("rb") as file:
        taken = {name: sample(file.fileno(), tensor) for name, tensor in header.items()}
    assert taken["small"] == tensors["small"].tobytes()
    assert len(taken["large"]) == 4096
    values = np.frombuffer(taken["large"], "float32")
    assert values[0] == 0
    assert values[-1] == 2**20 - 1
    assert len(set(values // 2**17)) == 8  # from every eighth of it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json is not JSON"),
        (lambda f: edit(f, "config.json", lambda c: c.pop("hidden_size")), "hidden_size must be"),
        (lambda f: edit(f, "config.json", lambda c: c.update(rope_scaling="yarn")), "rope_scaling must be"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda f: os.rename(f / "model.safetensors", f / "pytorch_model.bin"), "no safetensors weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), "not a whole safetensors file"),
        (lambda f: (shard(f), (f / "model-00002-of-00002.safetensors").unlink()), "lacks model-00002"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../x"}}'),
            "no file of the folder",
        ),
    ],
    ids="configuration json hidden rope tokenizer pickled truncated shard index".split(),
)
def test_folders_that_are_no_whole_model(tmp_path, change, words):
    folder = make_base(tmp_path / "model")
    change(folder)
    with pytest.raises(StoreError, match=words):
        fingerprint(folder)


def test_slow_tokenizers_are_hashed_as_they_lie(tmp_path):
    folder = make_base(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"one")
    first = fingerprint(folder)
    (folder / "tokenizer.model").write_bytes(b"two")
    assert first.differences(fingerprint(folder)) == ("tokenizer",)


def test_hub_names_are_found_in_the_local_cache(base_folder, base, tmp_path):
    """In a process of its own, because the hub's library reads where its cache is when it is imported."""
    repository = tmp_path / "hub" / "models--some--tiny"
    shutil.copytree(base_folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    code = "from motet_alignment.store import fingerprint; print(fingerprint('some/tiny').model_dump_json())"
    variables = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=variables
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {**base.model_dump(), "name": "some/tiny"}
    assert fingerprint(repository / "snapshots" / ("0" * 40)).name == "some/tiny"


@pytest.mark.parametrize("model", ["nobody/has-this", "./nowhere", "/nowhere/at/all", "a b", "x" * 300])
def test_models_that_are_nowhere(model):
    with pytest.raises(StoreError, match=r"no model folder|can't be had"):
        find_base(model)
