"""The reference is believed by other tests, so its parts are held against what isn't ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from transformers import AutoModelForCausalLM, LogitsProcessorList

from motet_decoding.adapting import ByDivergence, ByEntropy, ByPosition
from motet_decoding.contrast import Contrast, Formula
from motet_decoding.reference import (
    AmateurVoice,
    Speaker,
    divergence,
    drawn_from,
    greedy_tokens,
    mixed_scores,
    share,
)
from motet_decoding.testing import llama_config

from .conftest import write_adapter


def logits(*shape, seed=0):
    return 3.0 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_measures_are_scipys():
    expert, first, second = logits(3, 50, seed=0)
    p, q, r = (row.softmax(-1).numpy() for row in (expert, first, second))
    assert float(divergence(expert, first)) == pytest.approx(jensenshannon(p, q) ** 2)
    assert float(share(expert, [], ByEntropy(by="entropy", scale=50.0), 0)) == pytest.approx(entropy(p) / 50)
    assert float(share(expert, [], ByEntropy(by="entropy", scale=0.1), 0)) == 1.0
    bits = (1.0 * jensenshannon(p, q, base=2) ** 2 + 3.0 * jensenshannon(p, r, base=2) ** 2) / 4.0
    asked = ByDivergence(by="divergence", scale=2.0)
    assert float(share(expert, [(1.0, first), (-3.0, second)], asked, 0)) == pytest.approx(bits / 2.0)


def test_a_schedule_begins_and_ends_where_it_says():
    def shares(shape):
        asked = ByPosition(by="position", tokens=4, start=0.2, end=1.0, shape=shape)
        return [float(share(torch.zeros(1), [], asked, place)) for place in range(6)]

    assert shares("linear") == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert shares("step") == pytest.approx([0.2, 0.2, 0.2, 0.2, 1.0, 1.0])
    assert shares("cosine")[::2] == pytest.approx([0.2, 0.6, 1.0])
    assert shares("cosine")[1] == pytest.approx(0.2 + 0.8 * (1 - np.cos(np.pi / 4)) / 2)


def test_proxy_tuning_is_a_product_of_experts():
    base, tuned, untuned = logits(3, 40, seed=3)
    formula = Formula(strength=0.7, plausibility=0.0, form="ratio")
    p, q, r = (row.softmax(-1) for row in (base, tuned, untuned))
    product = p * (q / r) ** 0.7
    scores = mixed_scores(base, [(-1.0, tuned), (1.0, untuned)], formula)
    assert torch.allclose(scores.softmax(-1), product / product.sum())


def test_what_the_expert_cannot_say_is_excluded_whatever_the_weights():
    expert, voice = logits(2, 10)
    expert[:5] = -torch.inf
    for strength in (0.5, 2.0):
        formula = Formula(strength=strength, plausibility=0.0)
        scores = mixed_scores(expert, [(-1.0, voice)], formula)
        assert scores.isneginf().tolist() == [True] * 5 + [False] * 5


@pytest.mark.parametrize("tied", [False, True])
def test_a_layers_voice_is_the_model_cut_off_there(tied):
    torch.manual_seed(0)
    config = llama_config(64, 4, tie_word_embeddings=tied)
    whole = AutoModelForCausalLM.from_config(config).eval()
    prompt, answer = [5, 6, 7], [8, 9]
    voices = []
    for layer in range(4):
        cut = AutoModelForCausalLM.from_config(llama_config(64, layer, tie_word_embeddings=tied)).eval()
        cut.load_state_dict(whole.state_dict(), strict=False)
        with torch.no_grad():
            voices.append(cut(torch.tensor([prompt + answer])).logits[0, -1])
        assert torch.allclose(Speaker(whole, prompt, (layer,))(answer), voices[-1], atol=1e-5)
    last = Speaker(whole, prompt)(answer).softmax(-1).numpy()
    apart = [jensenshannon(last, voice.softmax(-1).numpy()) for voice in voices]
    chosen = Speaker(whole, prompt, (0, 1, 2, 3))(answer)
    assert torch.allclose(chosen, voices[int(np.argmax(apart))], atol=1e-5)


def test_an_adapter_is_part_of_its_layers(tmp_path):
    from peft import PeftModel

    config = llama_config(64, 2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    write_adapter(tmp_path / "adapter", tmp_path / "model", seed=1, head=True)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    # Merged, the adapter leaves a plain model that says the same.
    merged = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "model"), tmp_path / "adapter"
    ).merge_and_unload()
    tuned = PeftModel.from_pretrained(plain, tmp_path / "adapter")
    heard = [Speaker(model, [1, 2], (1,))([3]) for model in (tuned, merged)]
    assert torch.allclose(*heard, atol=1e-4)
    with tuned.disable_adapter():
        assert not torch.allclose(Speaker(tuned, [1, 2], (1,))([3]), heard[0], atol=1e-2)


def test_generate_beside_a_voice_agrees_with_the_plain_loop_of_a_schedule():
    torch.manual_seed(1)
    expert, amateur = (AutoModelForCausalLM.from_config(llama_config(64, n)).eval() for n in (2, 1))
    contrast = Contrast(strength=2.0, adapt=ByPosition(by="position", tokens=6))
    prompt = [3, 4, 5]
    found = expert.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 3, dtype=torch.long),
        logits_processor=LogitsProcessorList([AmateurVoice(amateur, contrast)]),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert found[0, 3:].tolist() == greedy_tokens(expert, amateur, prompt, contrast, 12)
    fixed = greedy_tokens(expert, amateur, prompt, contrast.model_copy(update={"adapt": None}), 12)
    assert found[0, 3:].tolist() != fixed


def test_truncation_keeps_the_likeliest():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert drawn_from(scores, top_k=2).tolist() == pytest.approx([0.625, 0.375, 0, 0])
    assert drawn_from(scores, top_p=0.7).tolist() == pytest.approx([0.625, 0.375, 0, 0])
    assert drawn_from(scores, min_p=0.2).tolist() == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0])
    assert drawn_from(scores, temperature=0.5).tolist() == pytest.approx(
        (torch.tensor([0.25, 0.09, 0.0225, 0.0025]) / 0.365).tolist()
    )
