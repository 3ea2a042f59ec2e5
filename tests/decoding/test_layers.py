"""Which layers are candidates, and what a layer says in a real engine, against transformers' hidden states."""

from __future__ import annotations

import pytest
import torch

from motet_decoding.layers import layer_candidates
from motet_decoding.testing import llama_config, write_model

from .conftest import write_adapter

LAYERS = 4


@pytest.mark.parametrize(
    ("layers", "tied", "low", "high"),
    [
        (12, False, (0, 2, 4), (6, 8, 10)),
        (12, True, (2, 4), (6, 8, 10)),
        (7, False, (0, 2), (3, 5)),
        (40, False, tuple(range(0, 20, 2)), tuple(range(20, 40, 2))),
        (41, False, tuple(range(0, 20, 2)), tuple(range(21, 41, 2))),
        (80, True, tuple(range(2, 20, 2)), tuple(range(60, 80, 2))),
        # Too shallow for a half: one layer is better than none.
        (3, True, (2,), (1,)),
        (2, True, (1,), (1,)),
        (2, False, (0,), (1,)),
        (1, False, (0,), (0,)),
        (1, True, (0,), (0,)),
    ],
)
def test_candidates_are_every_second_layer_of_a_half(layers, tied, low, high):
    assert layer_candidates("low", layers, tied) == low
    assert layer_candidates("high", layers, tied) == high


@pytest.mark.engine
def test_a_models_layers_say_what_transformers_makes_of_their_states(tmp_path):
    """Beside an amateur, for rows with and without an adapter, one of which is on the head as well."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    from motet_decoding.engine.adapters import adapter_options
    from motet_decoding.engine.launch import CPU_WORKER, pair_options
    from motet_decoding.engine.launch_voices import voice_options

    expert = write_model(tmp_path / "expert", llama_config(64, LAYERS), seed=1)
    amateur = write_model(tmp_path / "amateur", llama_config(32, 1), seed=2)
    adapters = [
        write_adapter(tmp_path / name, expert, seed=seed, head=name == "headed")
        for seed, name in enumerate(("plain", "headed"))
    ]
    options = {"dtype": "float32", "enforce_eager": True, "max_num_batched_tokens": 64, "max_num_seqs": 8}
    options |= pair_options(str(expert), str(amateur), options)
    options |= adapter_options(str(expert), options, slots=2, loaded=2, max_rank=8)
    voices = voice_options(str(expert), options, voices=2, layers="all")
    assert voices.layers == (0, 1, 2, 3)
    options |= voices.options
    llm = LLM(
        model=str(expert),
        worker_cls=CPU_WORKER,
        worker_extension_cls="motet_decoding.testing.LayerListener",
        **options,
    )
    prompts = [list(range(start, start + length)) for start, length in ((5, 17), (60, 1), (100, 30))]
    loras = [None, *(LoRARequest(path.name, 1 + place, str(path)) for place, path in enumerate(adapters))]
    try:
        llm.collective_rpc("motet_listen", args=(list(voices.layers),))
        llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            SamplingParams(temperature=0.0, max_tokens=1),
            lora_request=loras,
            use_tqdm=False,
        )
        heard = llm.collective_rpc("motet_heard")[0]
    finally:
        llm.llm_engine.engine_core.shutdown()
    # Those of one prompt after the other, in as many steps as it took to hear of them.
    rows = {layer: [row for step in heard for row in step[layer]] for layer in voices.layers}
    for row, (prompt, adapter) in enumerate(zip(prompts, [None, *adapters], strict=True)):
        model = AutoModelForCausalLM.from_pretrained(expert, dtype=torch.float32).eval()
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        with torch.no_grad():
            states = model.model(torch.tensor([prompt]), output_hidden_states=True).hidden_states
            for layer in voices.layers:
                expected = model.lm_head(model.model.norm(states[layer][0, -1]))
                torch.testing.assert_close(torch.tensor(rows[layer][row]), expected, atol=2e-4, rtol=1e-3)
