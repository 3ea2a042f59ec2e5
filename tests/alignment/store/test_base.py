"""The shapes of a base's modules, found under other prefixes, transposed, tied and quantised."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from motet_alignment.errors import Refused
from motet_alignment.store.base import BaseFolder


def shapes(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return BaseFolder(folder).shapes


def matrix(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def test_modules_are_found_under_whatever_prefix(tmp_path):
    held = {
        "language_model.model.layers.0.attn.q_proj.weight": matrix(6, 4),
        "language_model.model.layers.10.attn.q_proj.weight": matrix(8, 4),
        "vision.layers.1.attn.q_proj.weight": matrix(2, 2),
        "h.0.attn.c_attn.weight": matrix(4, 12),
    }
    of = shapes(tmp_path, held).of
    assert of("model.language_model.layers.0.attn.q_proj") == (6, 4)
    assert of("language_model.model.layers.10.attn.q_proj") == (8, 4)
    assert of("transformer.h.0.attn.c_attn", transposed=True) == (12, 4)
    assert of("model.layers.2.attn.q_proj") is None
    assert of("model.layers.0.attn.k_proj") is None
    assert of("q_proj") is None


def test_a_module_that_two_parts_of_a_model_have_is_none(tmp_path):
    held = {"a.layers.0.q_proj.weight": matrix(6, 4), "b.layers.0.q_proj.weight": matrix(6, 4)}
    of = shapes(tmp_path, held).of
    assert of("model.layers.0.q_proj") is None
    assert of("a.layers.0.q_proj") == (6, 4)


def test_head_that_shares_the_embedding(tmp_path):
    held = {"model.embed_tokens.weight": matrix(10, 4), "model.norm.weight": matrix(4)}
    assert shapes(tmp_path, held, tie_word_embeddings=True).of("lm_head") == (10, 4)
    assert shapes(tmp_path, held, tie_word_embeddings=False).of("lm_head") is None
    assert shapes(tmp_path, held).of("model.norm") is None


def test_quantised_bases(tmp_path):
    awq = {"l.0.q.qweight": matrix(64, 4, dtype="int32"), "l.0.q.scales": matrix(2, 32, dtype="float16")}
    said = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    assert shapes(tmp_path, awq, **said).of("l.0.q") == (32, 64)
    gptq = {"l.0.q.qweight": matrix(8, 32, dtype="int32"), "l.0.q.scales": matrix(2, 32, dtype="float16")}
    said = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    assert shapes(tmp_path, gptq, **said).of("l.0.q") == (32, 64)
    assert shapes(tmp_path, {"l.0.q.weight": matrix(32, 64, dtype="int8")}).of("l.0.q") == (32, 64)
    packed = {"l.0.q.weight": matrix(1024, 1, dtype="uint8")}
    with pytest.raises(Refused, match=r"stores l\.0\.q in a form whose shape can't be read"):
        shapes(tmp_path, packed).of("l.0.q")
