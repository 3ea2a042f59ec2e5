"""Which engines have groups and layers, and what is said of those that haven't."""

from __future__ import annotations

import os

import pytest

from motet_decoding.engine import SCORING_PROCESSOR
from motet_decoding.engine import launch_voices as launching
from motet_decoding.engine.adapters import adapter_options
from motet_decoding.engine.arguments import KEY_VARIABLE
from motet_decoding.engine.launch import PROCESSOR, pair_options
from motet_decoding.engine.launch_voices import ASYNC_SCHEDULER, SCHEDULER, VoiceOptions, voice_options
from motet_decoding.errors import LaunchError
from motet_decoding.testing import byte_tokenizer, llama_config, write_model

DEPTH = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model"), llama_config(32, DEPTH), seed=0))


@pytest.fixture(scope="module")
def amateur(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("amateur"), llama_config(32, 1), seed=1))


def write_config(folder, config, *architectures):
    config.architectures = list(architectures)
    config.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def test_a_model_alone_gets_our_class_both_processors_and_the_scheduler(model):
    made = voice_options(
        model,
        {"hf_overrides": {"rope_theta": 5.0}, "logits_processors": ["a.b:C"]},
        voices=4,
        layers=[2, 0, 2],
    )
    assert made.options == {
        "hf_overrides": {
            "rope_theta": 5.0,
            "architectures": ["ScoredLlamaForCausalLM"],
            "motet": {"layers": [0, 2]},
        },
        "tokenizer_mode": "auto",
        "logits_processors": ["a.b:C", PROCESSOR, SCORING_PROCESSOR],
        "scheduler_cls": SCHEDULER,
        "compilation_config": {"cudagraph_mode": "PIECEWISE"},
    }
    told = (made.no_groups, made.no_layers, made.no_edits, made.layers, made.depth, made.tied)
    assert told == (None, None, None, (0, 2), DEPTH, False)


def test_without_layers_the_graphs_are_vllms_own(model):
    made = voice_options(model, {}, voices=4, layers="none")
    assert "compilation_config" not in made.options
    assert "motet" not in made.options["hf_overrides"]
    assert (made.no_groups, made.layers) == (None, ())
    assert made.no_layers == "it was started without any"


@pytest.mark.parametrize(
    ("layers", "known"), [("all", (0, 1, 2, 3)), ("low", (0,)), ("high", (2,)), ((3,), (3,))]
)
def test_layers_are_named_by_half_or_number(model, layers, known):
    made = voice_options(model, {"enforce_eager": True}, voices=1, layers=layers)
    assert made.layers == known
    assert made.options["hf_overrides"]["motet"] == {"layers": list(known)}


def test_a_tied_model_is_said_to_be(tmp_path):
    tied = write_model(tmp_path, llama_config(32, 6, tie_word_embeddings=True), seed=0)
    made = voice_options(str(tied), {}, voices=1, layers="low")
    assert (made.tied, made.layers) == (True, (2,))


@pytest.mark.parametrize("layers", [[0, 4], [-1]])
def test_layers_that_the_model_hasnt_are_refused(model, layers):
    with pytest.raises(LaunchError, match=rf"^layers: .* has no layer {layers[-1]}; .* from 0, .* to 3$"):
        voice_options(model, {}, voices=4, layers=layers)


def test_none_at_all_leaves_the_engine_as_it_was(model):
    reason = "it was started without further voices"
    assert voice_options(model, {}, voices=0, layers="all") == VoiceOptions(
        no_groups=reason, no_layers=reason
    )


def test_a_pair_with_adapters_keeps_what_those_have_made(model, amateur):
    options = pair_options(model, amateur, {})
    options |= adapter_options(model, options, slots=1, loaded=1, max_rank=8)
    made = voice_options(model, options, voices=4, layers="all")
    assert made.options["hf_overrides"]["architectures"] == ["PairedLlamaForCausalLM"]
    assert made.options["hf_overrides"]["motet"] == {
        "amateur": amateur,
        "revision": None,
        "layers": [0, 1, 2, 3],
    }
    assert made.options["logits_processors"] == [PROCESSOR, SCORING_PROCESSOR]
    again = voice_options(model, options | made.options, voices=4, layers="all")
    assert again == made


def test_a_model_with_adapters_gets_the_one_processor_that_it_lacks(model):
    options = adapter_options(model, {}, slots=1, loaded=1, max_rank=8)
    made = voice_options(model, options, voices=4, layers="none")
    assert made.options["logits_processors"] == [SCORING_PROCESSOR, PROCESSOR]
    assert (options | made.options)["hf_overrides"]["architectures"] == ["ScoredLlamaForCausalLM"]


@pytest.mark.parametrize(
    ("cpu", "asked", "scheduler"),
    [
        (True, None, SCHEDULER),
        (True, True, SCHEDULER),
        (False, None, ASYNC_SCHEDULER),
        (False, True, ASYNC_SCHEDULER),
        (False, False, SCHEDULER),
    ],
)
def test_the_scheduler_is_the_one_that_vllm_will_run(model, monkeypatch, cpu, asked, scheduler):
    monkeypatch.setattr(launching, "on_cpu", lambda: cpu)
    made = voice_options(model, {"async_scheduling": asked}, voices=4, layers="none")
    assert made.options["scheduler_cls"] == scheduler
    assert "async_scheduling" not in made.options


@pytest.mark.parametrize(
    ("options", "groups", "layers"),
    [
        ({"scheduler_cls": "a.b.C"}, "a scheduler of its own", None),
        ({"max_num_seqs": 1}, "one sequence (max_num_seqs)", None),
        (
            {"speculative_config": {"method": "ngram"}},
            "takes several tokens in one step",
            "not one a request",
        ),
        ({"kv_transfer_config": {"kv_connector": "X"}}, "transferred caches", None),
        ({"kv_offloading_size": 1.0}, "offloaded caches", None),
        ({"ec_transfer_config": {"ec_connector": "X"}}, "transferred encodings", None),
        ({"max_num_active_seqs": 1}, "one sequence (max_num_active_seqs)", None),
        ({"prefill_schedule_interval": 2}, "between the steps that read prompts", None),
        ({"watermark_config": {"key": 1}}, "a watermark", None),
        ({"pipeline_parallel_size": 2}, "several batches", "several batches"),
        ({"decode_context_parallel_size": 2}, "decode context parallel", "decode context parallel"),
        ({"prefill_context_parallel_size": 2}, "prefill context parallel", "prefill context parallel"),
        ({"enable_dbo": True}, None, "dual batch overlap"),
        ({"kv_sharing_fast_prefill": True}, None, "fast prefill"),
        (
            {"compilation_config": {"cudagraph_mode": "FULL"}},
            None,
            "cudagraph_mode: FULL can't be used with layers",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_rules_voices_out_is_told(model, options, groups, layers):
    made = voice_options(model, options, voices=4, layers="all")
    for told, reason in ((made.no_groups, groups), (made.no_layers, layers)):
        assert (told is None) if reason is None else (reason in told)
    assert ("scheduler_cls" in made.options) == (groups is None)
    assert made.layers == (() if layers else (0, 1, 2, 3))
    assert ("motet" in made.options.get("hf_overrides", {})) == (layers is None)
    if groups and layers:
        assert made.options == {}


def test_several_nodes_without_a_key_have_no_voices(model, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    made = voice_options(model, {"nnodes": 2}, voices=4, layers="all")
    assert made.options == {}
    assert made.no_groups == made.no_layers
    assert made.no_groups.startswith(f"{KEY_VARIABLE}: not set, ")


def test_graphs_over_whole_passes_leave_groups(model, monkeypatch):
    monkeypatch.setenv("VLLM_USE_BREAKABLE_CUDAGRAPH", "1")
    made = voice_options(model, {}, voices=4, layers="all")
    assert made.no_groups is None
    assert made.no_layers.startswith("VLLM_USE_BREAKABLE_CUDAGRAPH: can't be used with layers")
    assert os.environ["VLLM_USE_BREAKABLE_CUDAGRAPH"] == "1"


#: Which of them vLLM makes of a configuration alone, and why they have no groups.
OTHER_KINDS = {
    "JambaForCausalLM": "recurrent state",
    "BertModel": "a pooling model",
    "WhisperForConditionalGeneration": "has an encoder",
}


@pytest.mark.parametrize("architecture", OTHER_KINDS)
def test_kinds_of_model_without_groups(tmp_path, architecture):
    import transformers

    config = getattr(transformers, architecture).config_class()
    made = voice_options(write_config(tmp_path, config, architecture), {}, voices=4, layers="all")
    assert made.options == {}
    assert OTHER_KINDS[architecture] in made.no_groups
    assert made.no_layers


def test_a_class_of_vllms_that_ours_cannot_stand_over_still_has_groups(model, tmp_path):
    """Without the states between its layers, and without its logits before they are biased."""
    from transformers import Qwen2AudioConfig

    several = write_config(tmp_path, Qwen2AudioConfig(), "Qwen2AudioForConditionalGeneration")
    for path, options, reason in (
        (several, {}, "reads more than text"),
        (model, {"model_impl": "transformers"}, "no class of its own"),
        (model, {"hf_overrides": lambda config: config}, "hf_overrides are a function"),
    ):
        made = voice_options(path, options, voices=4, layers="all")
        assert made.options == {"logits_processors": [PROCESSOR], "scheduler_cls": SCHEDULER}
        assert made.no_groups is None
        assert reason in made.no_layers
        assert reason in made.no_edits
        sharded = {**options, "enable_batch_sharded_sampling": True}
        assert "different ranks" in voice_options(path, sharded, voices=4, layers="all").no_groups
    assert (
        voice_options(model, {"enable_batch_sharded_sampling": True}, voices=4, layers="all").no_groups
        is None
    )


def test_a_class_that_cannot_show_its_layers_has_groups_and_edits(tmp_path):
    from transformers import GPT2Config

    gpt2 = write_config(tmp_path, GPT2Config(n_layer=2), "GPT2LMHeadModel")
    made = voice_options(gpt2, {}, voices=4, layers="all")
    assert made.no_layers == "vLLM's class for GPT2LMHeadModel can't show its inner layers"
    assert (made.no_groups, made.no_edits) == (None, None)
    assert made.options["hf_overrides"] == {"architectures": ["ScoredGPT2LMHeadModel"]}
