"""Fails when vLLM moves what we lean on without its promise; then ``engine/vllm_private.py`` wants a new look."""

from __future__ import annotations

import inspect

import pytest
import vllm

from motet_decoding.engine import vllm_private
from motet_decoding.engine.model import PairedModel, ScoringModel, own_class
from motet_decoding.plugin import register


def test_the_version_that_was_looked_at():
    assert vllm.__version__.split("+")[0] == "0.32.0"


def test_every_architecture_gets_a_paired_one_and_registering_again_changes_nothing():
    from vllm import ModelRegistry

    register()
    known = set(ModelRegistry.get_supported_archs())
    assert {"PairedLlamaForCausalLM", "PairedQwen3ForCausalLM", "PairedGPT2LMHeadModel"} <= known
    register()
    assert set(ModelRegistry.get_supported_archs()) == known
    assert "ScoredLlamaForCausalLM" in known
    assert not any(name.startswith(("PairedPaired", "PairedScored", "ScoredPaired")) for name in known)


def test_configuration_checks_follow_the_expert():
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    register()
    checked = [name for name in MODELS_CONFIG_MAP if not name.startswith("Paired")]
    assert checked
    registered = set(vllm_private.architectures())
    for name in checked:
        if f"Paired{name}" in registered:
            assert MODELS_CONFIG_MAP[f"Paired{name}"] is MODELS_CONFIG_MAP[name]


def test_a_paired_class_is_the_experts_class_with_a_second_voice():
    from vllm.model_executor.models.interfaces import supports_lora
    from vllm.model_executor.models.llama import LlamaForCausalLM

    paired = own_class("PairedLlamaForCausalLM")
    assert paired.__mro__[1:4] == (PairedModel, ScoringModel, LlamaForCausalLM)
    assert supports_lora(paired)
    assert not hasattr(paired.__new__(paired), "compute_logits_local")


def test_a_class_compiled_as_a_whole_is_paired_uncompiled():
    """Ernie's class is; the compiled Llama layers inside it stay."""
    from vllm.compilation.decorators import _should_ignore_torch_compile

    expert = vllm_private.architecture_class("Ernie4_5ForCausalLM")
    assert not _should_ignore_torch_compile(expert)
    assert _should_ignore_torch_compile(own_class("PairedErnie4_5ForCausalLM"))
    assert not _should_ignore_torch_compile(expert)


def test_a_second_checkpoint_is_read_where_the_first_is():
    from types import SimpleNamespace

    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    config = SimpleNamespace(model="somewhere", revision="abc")
    source = vllm_private.weights_source(
        SimpleNamespace(fall_back_to_pt_during_load=False), config, "amateur."
    )
    assert source == DefaultModelLoader.Source("somewhere", "abc", prefix="amateur.", fall_back_to_pt=False)
    assert "secondary_weights" in inspect.getsource(DefaultModelLoader.get_all_weights)
    formats = vllm_private.two_checkpoint_formats()
    assert {"auto", "hf", "safetensors"} <= set(formats)
    assert not {"dummy", "tensorizer", "sharded_state", "runai_streamer"} & set(formats)


def test_vllm_knows_which_architectures_it_cannot_compile():
    assert "DeepseekV4ForCausalLM" in vllm_private.whole_graph_architectures()
    assert "LlamaForCausalLM" not in vllm_private.whole_graph_architectures()


def test_signatures():
    from vllm.compilation.backends import set_model_tag
    from vllm.forward_context import ForwardContext
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.v1.worker.gpu.model_states.interface import ModelState

    assert "vllm_config" in inspect.signature(initialize_model).parameters
    assert "tag" in inspect.signature(set_model_tag).parameters
    assert "attn_metadata" in ForwardContext.__dataclass_fields__
    assert list(inspect.signature(ModelState.prepare_inputs).parameters) == [
        "self",
        "input_batch",
        "req_states",
    ]


def test_the_v2_runner_asks_the_model_for_its_state():
    from vllm.v1.worker.gpu.model_states import resolve_model_state_cls

    from motet_decoding.engine.model_state import AskingModelState

    model = own_class("PairedLlamaForCausalLM")
    assert resolve_model_state_cls(None, model.__new__(model)) is AskingModelState


def test_what_adapters_may_ask_of_vllm():
    from vllm.lora.layers.logits_processor import LogitsProcessorWithLoRA
    from vllm.v1.worker.gpu.model_states import resolve_model_state_cls

    assert vllm_private.adapter_ranks()[:3] == (1, 8, 16)
    assert vllm_private.takes_lora("LlamaForCausalLM")
    assert not vllm_private.takes_lora("GPT2LMHeadModel")
    assert not vllm_private.prepares_its_own_inputs("LlamaForCausalLM")
    assert "model.get_model_state_cls()" in inspect.getsource(resolve_model_state_cls)
    assert str(vllm_private.LARGEST_LORA_VOCABULARY) in inspect.getsource(
        LogitsProcessorWithLoRA.create_lora_weights
    )


def test_a_scored_class_is_vllms_class_with_rewards():
    from vllm.model_executor.models.llama import LlamaForCausalLM

    scored = own_class("ScoredLlamaForCausalLM")
    assert scored.__mro__[1:3] == (ScoringModel, LlamaForCausalLM)
    with pytest.raises(AttributeError):
        own_class("LlamaForCausalLM")


def test_rows_of_the_v2_runner_know_how_far_they_are():
    from vllm.v1.worker.gpu.input_batch import InputBatch
    from vllm.v1.worker.gpu.states import RequestState

    used = {"idx_mapping_np", "num_computed_tokens_np", "num_scheduled_tokens"}
    assert used <= set(InputBatch.__dataclass_fields__)
    assert "self.prompt_len.np[req_idx] = prompt_len" in inspect.getsource(RequestState.add_request)


def test_the_v1_runner_hands_over_its_running_list_of_drawn_tokens():
    from vllm.v1.worker.gpu_input_batch import InputBatch

    assert "request.output_token_ids,\n" in inspect.getsource(InputBatch._register_add_request)


def test_whole_numbers_reach_a_device():
    import torch

    told = vllm_private.to_device([(3, 4), (5, 6)], torch.device("cpu"))
    assert (told.dtype, told.tolist()) == (torch.int64, [[3, 4], [5, 6]])


def test_prompts_whose_likelihoods_are_asked_for_read_no_cache_and_adapters_have_blocks_of_their_own():
    from types import SimpleNamespace

    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.v1.core.kv_cache_utils import _gen_lora_extra_hash_keys

    assert SamplingParams(prompt_logprobs=0).skip_reading_prefix_cache
    keys = [
        _gen_lora_extra_hash_keys(SimpleNamespace(lora_request=lora))
        for lora in (None, LoRARequest("a@1", 1, "/a"), LoRARequest("a@2", 2, "/a"))
    ]
    assert keys[0] == []
    assert keys[1] != keys[2]


def test_a_request_that_fails_is_told_from_an_engine_that_died():
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    failures = vllm_private.request_failures()
    assert issubclass(VLLMValidationError, failures)
    assert issubclass(EngineGenerateError, failures)
    assert not issubclass(EngineDeadError, failures)


def test_the_v1_runner_computes_prompts_log_probabilities_of_all_that_stand_in_one_table():
    """``prompts_one_by_one`` hands it the table with one of them."""
    from vllm.v1.worker import gpu_input_batch
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    source = inspect.getsource(GPUModelRunner._get_prompt_logprobs_dict)
    assert list(inspect.signature(GPUModelRunner._get_prompt_logprobs_dict).parameters) == [
        "self",
        "hidden_states",
        "num_scheduled_tokens",
    ]
    for leant_on in (
        "num_prompt_logprobs_dict = self.num_prompt_logprobs",
        "self.model.compute_logits(prompt_hidden_states)",
        "del num_prompt_logprobs_dict[req_id]",
    ):
        assert leant_on in source
    assert "request_lora_mapping" in inspect.getsource(gpu_input_batch)
