"""Publishing, looking up, moving names, removing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.alignment.store.folders import TEMPLATE, assert_whole, make_adapter, make_reward, rests

import motet_alignment.store as room
from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store import AdapterStore, default_store


def test_published_version_is_described_whole_and_read_only(publish, store, base, tmp_path):
    parent = publish(1)
    data = [{"path": "train.jsonl", "sha256": "a" * 64, "examples": 7}]
    adapter = publish(
        2, parents=[parent.reference], data=data, settings={"rate": 1e-3}, metrics={"accuracy": 0.5}
    )
    manifest = json.loads((adapter.path / "motet.json").read_text())
    assert adapter.path == store.root / "tutor" / adapter.version
    assert manifest["name"] == "tutor"
    assert manifest["kind"] == "sft"
    assert manifest["base"] == base.model_dump()
    assert manifest["parents"] == [parent.reference]
    assert manifest["data"] == data
    assert manifest["settings"] == {"rate": 1e-3}
    assert manifest["metrics"] == {"accuracy": 0.5}
    assert manifest["rank"] == 4
    assert manifest["target_modules"] == ["down_proj", "q_proj"]
    assert sorted(path.name for path in adapter.path.iterdir()) == sorted(["motet.json", *manifest["files"]])
    assert {stat.S_IMODE(path.stat().st_mode) for path in adapter.path.iterdir()} == {0o444}
    assert store.get("tutor").manifest == adapter.manifest
    assert rests(store) == []
    assert_whole(store)


def test_equal_content_is_one_version_whatever_is_told_of_it(publish, store, tmp_path):
    first = publish(1, settings={"a": 1})
    # PEFT writes its sets in any order, and the base as the trainer's machine called it.
    same = make_adapter(
        tmp_path / "same",
        seed=1,
        target_modules=["down_proj", "q_proj"],
        base_model_name_or_path="/elsewhere",
    )
    again = publish(same, settings={"a": 2})
    assert again == first
    assert store.get("tutor").manifest.settings == {"a": 1}
    assert publish(1, name="other").version == first.version
    assert publish(1, kind="dpo").version != first.version
    assert publish(2).version != first.version


def test_reference_by_name_version_and_beginning(publish, store):
    first, second = publish(1), publish(2)
    assert store.get("tutor").version == second.version
    assert store.get(first.reference).version == first.version
    assert store.get(f"tutor@{first.version[:6]}").version == first.version
    assert [adapter.version for adapter in store.versions("tutor")] == [first.version, second.version]
    unknown = "0" * 12 if "0" * 6 not in (first.version[:6], second.version[:6]) else "1" * 12
    with pytest.raises(NotFound, match=unknown):
        store.get(f"tutor@{unknown}")
    with pytest.raises(NotFound, match="nobody"):
        store.get("nobody")
    for reference in (
        "tutor@abc",
        f"tutor@{first.version}0",
        "tutor@",
        "tutor@ABCDEF",
        "tutor@../../x",
        "a@b@c",
    ):
        with pytest.raises(StoreError, match="hexadecimal"):
            store.get(reference)


def test_ambiguous_beginning_is_refused(publish, store):
    adapter = publish(1)
    twin = adapter.version[:6] + ("0" * 6 if adapter.version[6:] != "0" * 6 else "1" * 6)
    (store.root / "tutor" / twin).mkdir()
    with pytest.raises(StoreError, match=f"{adapter.version}|{twin}"):
        store.get(f"tutor@{adapter.version[:6]}")
    assert list(store.damaged("tutor")) == [twin]
    assert [found.version for found in store.versions("tutor")] == [adapter.version]


def test_promote_and_rollback_undo_each_other(publish, store):
    a, b, c = publish(1), publish(2), publish(3)
    assert store.rollback("tutor").version == b.version
    assert store.rollback("tutor").version == a.version
    with pytest.raises(Refused, match="no version was current before"):
        store.rollback("tutor")
    assert store.promote(c.reference).version == c.version
    assert store.current("tutor") == c.version
    assert store.rollback("tutor").version == a.version
    moves = [(move.by, move.version) for move in store.history("tutor")]
    assert moves == [
        ("publish", a.version),
        ("publish", b.version),
        ("publish", c.version),
        ("rollback", b.version),
        ("rollback", a.version),
        ("promote", c.version),
        ("rollback", a.version),
    ]


def test_promoting_what_is_current_is_no_move(publish, store):
    publish(1)
    b = publish(2)
    publish(2)
    store.promote("tutor")
    store.promote(b.reference)
    assert len(store.history("tutor")) == 2


def test_published_without_promotion(publish, store):
    a = publish(1, promote=False)
    assert store.current("tutor") is None
    with pytest.raises(NotFound, match="stands for none"):
        store.get("tutor")
    store.promote(a.reference)
    b = publish(2, promote=False)
    assert store.get("tutor").version == a.version
    assert store.get(b.reference).version == b.version


def test_current_version_goes_only_by_force(publish, store):
    a, b, c = publish(1), publish(2), publish(3)
    store.promote(a.reference)
    with pytest.raises(Refused, match="current version"):
        store.remove(a.reference)
    with pytest.raises(Refused, match="say which"):
        store.remove("tutor")
    assert store.remove(c.reference) == c.reference
    assert store.current("tutor") == a.version
    store.remove(a.reference, force=True)
    assert store.current("tutor") == b.version
    assert not a.path.exists()
    store.remove("tutor")
    assert store.names() == []
    assert not (store.root / "tutor").exists()
    with pytest.raises(NotFound):
        store.remove("tutor")
    assert rests(store) == []


def test_rollback_never_meets_a_removed_version(publish, store):
    a, b, _ = publish(1), publish(2), publish(3)
    store.remove(b.reference)
    assert store.rollback("tutor").version == a.version


def test_removing_all_takes_damaged_versions_too(publish, store):
    a, b = publish(1), publish(2)
    publish(1, name="other")
    (a.path / "motet.json").chmod(0o644)
    (a.path / "motet.json").write_text("{")
    assert sorted(store.remove_all("tutor")) == sorted([a.version, b.version])
    assert store.names() == ["other"]
    assert rests(store) == []


def test_prune_keeps_newest_current_and_what_a_rollback_needs(publish, store):
    versions = [publish(seed) for seed in range(6)]
    store.promote(versions[0].reference)
    store.promote(versions[1].reference)
    publish(9, name="other")
    gone = store.prune("tutor", keep=1)
    assert [adapter.version for adapter in gone] == [adapter.version for adapter in versions[2:5]]
    assert {left.version for left in store.versions("tutor")} == {
        versions[index].version for index in (0, 1, 5)
    }
    assert store.current("tutor") == versions[1].version
    assert store.rollback("tutor").version == versions[0].version
    assert store.prune(None, keep=1) != []
    assert len(store.versions("other")) == 1
    with pytest.raises(StoreError, match="at least 1"):
        store.prune("tutor", keep=0)


def test_reward_is_split_for_the_engine(publish, store, tmp_path):
    import numpy as np
    from safetensors.numpy import load_file

    folder = make_reward(tmp_path / "reward", seed=3)
    adapter = publish(folder, kind="reward", name="judge")
    assert adapter.engine_path == adapter.path / "engine"
    assert adapter.head_path == adapter.path / "engine" / "score.safetensors"
    original = load_file(folder / "adapter_model.safetensors")
    head = load_file(adapter.head_path)
    assert list(head) == ["score.weight"]
    np.testing.assert_array_equal(head["score.weight"], original.pop("base_model.model.score.weight"))
    split = load_file(adapter.engine_path / "adapter_model.safetensors")
    assert set(split) == set(original)
    for name, values in original.items():
        np.testing.assert_array_equal(split[name], values)
    config = json.loads((adapter.engine_path / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM"
    assert config["modules_to_save"] is None
    assert {stat.S_IMODE(path.stat().st_mode) for path in adapter.engine_path.iterdir()} == {0o444}
    plain = publish(1)
    assert plain.engine_path == plain.path
    assert plain.head_path is None


def test_own_chat_template_is_kept_only_where_it_differs(publish, tmp_path):
    same, own, old = (make_adapter(tmp_path / name, seed=1) for name in ("same", "own", "old"))
    (same / "chat_template.jinja").write_text(TEMPLATE + "\n")
    (own / "chat_template.jinja").write_text("{% generation %}{{ messages }}{% endgeneration %}")
    (old / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}"}))
    assert publish(same).chat_template is None
    assert publish(same).version == publish(1).version
    assert publish(own).chat_template == "{% generation %}{{ messages }}{% endgeneration %}"
    assert publish(old).chat_template == "{{ messages[0].content }}"
    assert publish(old).manifest.chat_template != publish(own).manifest.chat_template


def test_damage_is_found_named_and_healed_by_publishing_again(publish, store):
    adapter = publish(1)
    weights = adapter.path / "adapter_model.safetensors"
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Refused, match=r"adapter_model\.safetensors is not what was published"):
        store.verify(adapter)
    store.verify(publish(1))
    weights.unlink()
    with pytest.raises(Refused, match=r"adapter_model\.safetensors is missing"):
        store.verify(adapter)
    store.verify(publish(1))
    assert rests(store) == []


@pytest.mark.parametrize("field", ["kind", "files", "base", "name"])
def test_changed_manifest_is_found(publish, store, field):
    adapter = publish(1)
    path = adapter.path / "motet.json"
    manifest = json.loads(path.read_text())
    manifest[field] = {
        "kind": "dpo",
        "files": {**manifest["files"], "adapter_config.json": "0" * 64},
        "base": {**manifest["base"], "weights": "0" * 64},
        "name": "other",
    }[field]
    path.chmod(0o644)
    path.write_text(json.dumps(manifest))
    with pytest.raises(Refused, match=r"motet\.json"):
        store.get("tutor")


def test_things_put_into_a_version_afterwards_are_found(publish, store):
    adapter = publish(1)
    (adapter.path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(Refused, match=r"adapter_model\.bin doesn't belong"):
        store.verify(adapter)
    (adapter.path / "adapter_model.bin").unlink()
    weights = adapter.path / "adapter_model.safetensors"
    os.rename(weights, store.root / "elsewhere")
    weights.symlink_to(store.root / "elsewhere")
    with pytest.raises(Refused, match="not a plain file"):
        store.verify(adapter)


def test_linked_names_and_versions_are_not_the_stores(publish, store, tmp_path):
    adapter = publish(1)
    (store.root / "linked").symlink_to(store.root / "tutor")
    assert store.names() == ["tutor"]
    with pytest.raises(NotFound):
        store.get(f"linked@{adapter.version}")
    os.rename(adapter.path, tmp_path / "moved")
    adapter.path.symlink_to(tmp_path / "moved")
    with pytest.raises(Refused, match="symbolic link"):
        store.get("tutor")


def test_damaged_alias_is_named_and_mended_by_a_promotion(publish, store):
    adapter = publish(1)
    for content in ('{"current": "../../x"}', "{", "[" * 100_000, '{"before": ["x"]}'):
        (store.root / "tutor" / "alias.json").write_text(content)
        for use in (lambda: store.get("tutor"), lambda: store.rollback("tutor"), lambda: publish(2)):
            with pytest.raises(Refused, match=r"alias\.json.*promoting tutor@VERSION writes it anew"):
                use()
        assert [found.version for found in store.versions("tutor")] == [adapter.version]
        store.promote(adapter.reference)
        assert store.get("tutor") == adapter
    (store.root / "tutor" / "alias.json").write_text("{")
    store.remove_all("tutor")
    assert store.names() == []


def test_a_damaged_version_can_be_removed(publish, store):
    broken, whole = publish(1), publish(2)
    (broken.path / "motet.json").unlink()
    assert store.remove(broken.reference) == broken.reference
    assert store.damaged("tutor") == {}
    assert store.get("tutor") == whole


def test_a_store_that_is_not_there_is_made_by_publishing_only(tmp_path):
    store = AdapterStore(tmp_path / "none")
    assert store.names() == []
    assert store.sweep() == 0
    uses = (store.get, store.versions, store.promote, store.rollback, store.remove, store.remove_all)
    for look in (*uses, lambda name: store.prune(name, 1)):
        with pytest.raises(NotFound):
            look("tutor")
    assert not store.root.exists()


def test_default_store_follows_motet_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOTET_HOME", str(tmp_path))
    assert default_store() == tmp_path / "adapters"
    monkeypatch.delenv("MOTET_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_store() == Path("/home/somebody/.motet/adapters")


def test_numbers_that_json_lacks_and_unknown_kinds_are_refused(publish, store):
    with pytest.raises(StoreError, match=r"metrics\.eval\.loss is nan"):
        publish(1, metrics={"eval": {"loss": float("nan")}})
    with pytest.raises(StoreError, match="settings"):
        publish(1, settings={"rate": object()})
    with pytest.raises(StoreError, match="kind"):
        publish(1, kind="lora")
    with pytest.raises(StoreError, match="at most"):
        publish(1, settings={"text": "x" * 2**23})
    assert store.names() == []
    assert rests(store) == []


def test_store_needs_no_training_or_serving_library():
    code = "import sys, motet_alignment.store, motet_alignment.store.cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    loaded = set(ran.stdout.split())
    assert "motet_alignment.store.cli" in loaded, ran.stderr
    assert loaded.isdisjoint({"torch", "transformers", "vllm", "trl", "peft", "datasets", "huggingface_hub"})


def test_public_names():
    assert set(room.__all__) == {
        "KINDS",
        "Adapter",
        "AdapterStore",
        "BaseFingerprint",
        "DataFile",
        "Kind",
        "Manifest",
        "Move",
        "check",
        "check_name",
        "default_store",
        "find_base",
        "fingerprint",
        "is_name",
        "left_out",
        "split_reference",
    }
