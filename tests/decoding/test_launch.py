"""Which pairs can be served, and what is said of those that can't."""

from __future__ import annotations

import os

import pytest

from motet_decoding.engine import SCORING_PROCESSOR, vllm_private
from motet_decoding.engine.arguments import KEY_VARIABLE
from motet_decoding.engine.launch import PROCESSOR, pair_options
from motet_decoding.errors import LaunchError
from motet_decoding.testing import byte_tokenizer, llama_config, write_model


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("expert"), llama_config(32, 1), seed=0))


@pytest.fixture(scope="module")
def amateur(tmp_path_factory):
    return str(
        write_model(
            tmp_path_factory.mktemp("amateur"), llama_config(32, 1, max_position_embeddings=128), seed=1
        )
    )


def test_a_pair_keeps_what_was_asked_for_beside_it(expert, amateur):
    options = pair_options(
        expert,
        amateur,
        {"hf_overrides": {"rope_theta": 5.0}, "logits_processors": ["a.b:C"], "max_model_len": 100},
    )
    assert options["hf_overrides"]["rope_theta"] == 5.0
    assert options["hf_overrides"]["architectures"] == ["PairedLlamaForCausalLM"]
    assert options["logits_processors"] == ["a.b:C", PROCESSOR, SCORING_PROCESSOR]
    assert options["max_model_len"] == 100


def test_a_shorter_amateur_shortens_the_context_and_a_longer_one_leaves_it_to_vllm(expert, amateur):
    assert pair_options(expert, amateur, {})["max_model_len"] == 128
    assert pair_options(amateur, expert, {})["max_model_len"] is None


def test_the_amateurs_length_is_vllms_reading_of_it(expert, tmp_path):
    """With 128 positions stretched twofold by RoPE scaling it reads 256."""
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    config = llama_config(32, 1, max_position_embeddings=128, rope_parameters=rope)
    stretched = str(write_model(tmp_path, config, seed=1))
    assert pair_options(expert, stretched, {})["max_model_len"] == 256
    assert pair_options(expert, stretched, {"max_model_len": 256})["max_model_len"] == 256
    with pytest.raises(LaunchError, match="max_model_len: 257 is more than the amateur's 256 positions"):
        pair_options(expert, stretched, {"max_model_len": 257})


def test_an_automatic_length_needs_an_amateur_that_reads_as_far(expert, amateur):
    assert pair_options(amateur, expert, {"max_model_len": -1})["max_model_len"] == -1
    with pytest.raises(LaunchError, match=r"max_model_len: auto .* give a number up to 128"):
        pair_options(expert, amateur, {"max_model_len": -1})


def test_a_folder_without_a_tokenizer_is_said(expert, tmp_path):
    llama_config(32, 1).save_pretrained(tmp_path)
    with pytest.raises(LaunchError, match="the tokenizers can't be compared"):
        pair_options(expert, str(tmp_path), {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_model_len": 129}, "max_model_len: 129 is more than the amateur's 128 positions"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size: .* tensor_parallel_size"),
        ({"speculative_config": {"model": "x"}}, "speculative_config: "),
        ({"enable_prompt_embeds": True}, "enable_prompt_embeds: "),
        ({"compilation_config": {"cudagraph_mode": "FULL"}}, "cudagraph_mode: FULL can't be used"),
        (
            {"load_format": "sharded_state"},
            "load_format: sharded_state can't load .*; auto, .*safetensors can",
        ),
        ({"load_format": "dummy"}, "load_format: dummy can't load"),
        ({"hf_overrides": lambda config: config}, "hf_overrides: must be a dictionary"),
    ],
)
def test_options_that_cannot_be_honoured(expert, amateur, options, says):
    with pytest.raises(LaunchError, match=says):
        pair_options(expert, amateur, options)


SEVERAL_NODES = [
    {"nnodes": 2},
    {"headless": True},
    {"data_parallel_size": 4, "data_parallel_size_local": 2},
]


@pytest.mark.parametrize("options", SEVERAL_NODES, ids=str)
def test_several_nodes_need_a_key_that_each_of_them_was_given(expert, amateur, options, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(LaunchError, match=f"^{KEY_VARIABLE}: not set, .* on every node"):
        pair_options(expert, amateur, options)
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(LaunchError, match=f"^{KEY_VARIABLE}: must have at least 16 characters"):
        pair_options(expert, amateur, options)
    secret = "given-on-every-node"
    monkeypatch.setenv(KEY_VARIABLE, secret)
    assert secret not in str(pair_options(expert, amateur, options))  # vLLM logs and hashes the options
    monkeypatch.delenv(KEY_VARIABLE)
    own_server = {"data_parallel_size": 4, "data_parallel_size_local": 1, "data_parallel_rank": 2}
    assert pair_options(expert, amateur, own_server)  # its requests come from this node
    monkeypatch.setenv("VLLM_RAY_EXTRA_ENV_VARS_TO_COPY", "THEIRS")
    pair_options(expert, amateur, {"data_parallel_size": 2, "data_parallel_backend": "ray"})
    assert os.environ["VLLM_RAY_EXTRA_ENV_VARS_TO_COPY"] == f"{KEY_VARIABLE},THEIRS"


def test_graphs_over_whole_passes_are_refused(expert, amateur, monkeypatch):
    variable = "VLLM_USE_BREAKABLE_CUDAGRAPH"
    monkeypatch.delenv(variable, raising=False)
    pair_options(expert, amateur, {})
    assert os.environ[variable] == "0"  # or vLLM would choose
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    with pytest.raises(LaunchError, match=r"^VLLM_BATCH_INVARIANT: needs enforce_eager"):
        pair_options(expert, amateur, {})
    assert pair_options(expert, amateur, {"enforce_eager": True})
    monkeypatch.setenv(variable, "1")
    with pytest.raises(LaunchError, match=f"^{variable}: "):
        pair_options(expert, amateur, {"enforce_eager": True})


def test_an_expert_that_vllm_cannot_compile_needs_eager_mode(expert, amateur, monkeypatch):
    monkeypatch.setattr(vllm_private, "whole_graph_architectures", lambda: {"LlamaForCausalLM"})
    with pytest.raises(LaunchError, match=r"^enforce_eager: needed for LlamaForCausalLM with an amateur"):
        pair_options(expert, amateur, {})
    assert pair_options(expert, amateur, {"enforce_eager": True})


def test_a_revision_is_handed_on_and_is_the_one_whose_tokenizer_is_compared(expert, amateur, monkeypatch):
    from transformers import AutoTokenizer

    load, compared = AutoTokenizer.from_pretrained, []
    monkeypatch.setattr(
        AutoTokenizer,
        "from_pretrained",
        lambda path, revision=None, **rest: compared.append((path, revision)) or load(path, **rest),
    )
    options = pair_options(expert, amateur, {"revision": "of-the-expert"}, amateur_revision="of-the-amateur")
    assert options["hf_overrides"]["motet"]["revision"] == "of-the-amateur"
    assert compared == [(expert, "of-the-expert"), (amateur, "of-the-amateur")]
    pair_options(expert, amateur, {"revision": "one", "tokenizer": amateur, "tokenizer_revision": "two"})
    assert compared[2] == (amateur, "two")


def test_paths_that_are_no_models(expert, amateur, tmp_path):
    with pytest.raises(LaunchError, match=r"amateur: .* has no config\.json"):
        pair_options(expert, str(tmp_path), {})
    with pytest.raises(LaunchError, match=r"model: .*nowhere is neither a model folder nor found on the hub"):
        pair_options(str(tmp_path / "nowhere"), amateur, {})


OTHER_KINDS = {
    "JambaForCausalLM": "keeps a recurrent state",
    "BertModel": "is a pooling model",
    "WhisperForConditionalGeneration": "has an encoder",
    "Qwen2AudioForConditionalGeneration": "reads more than text",
}


@pytest.mark.parametrize("architecture", OTHER_KINDS)
def test_only_decoders_of_text_are_paired(expert, tmp_path, architecture):
    import transformers

    config = getattr(transformers, architecture).config_class(architectures=[architecture])
    config.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    for field, pair in (("model", (str(tmp_path), expert)), ("amateur", (expert, str(tmp_path)))):
        with pytest.raises(
            LaunchError, match=rf"^{field}: .* \({architecture}\) {OTHER_KINDS[architecture]}"
        ):
            pair_options(*pair, {})


def write_architecture(folder, name):
    llama_config(32, 1, architectures=[name]).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def test_an_expert_must_have_a_class_of_vllms(expert, tmp_path):
    unknown = write_architecture(tmp_path / "unknown", "NoSuchForCausalLM")
    for field, pair in (("model", (unknown, expert)), ("amateur", (expert, unknown))):
        with pytest.raises(LaunchError, match=rf"^{field}: .* can't be served: .*NoSuchForCausalLM"):
            pair_options(*pair, {})
    with pytest.raises(LaunchError, match=r"^model: vLLM has no class of its own for LlamaForCausalLM"):
        pair_options(expert, expert, {"model_impl": "transformers"})


def write_with_tokenizer(folder, tokenizer):
    return str(write_model(folder, llama_config(32, 1), seed=2, tokenizer=tokenizer))


def test_a_larger_vocabulary_is_refused_by_naming_the_tokens(expert, tmp_path):
    other = write_with_tokenizer(tmp_path, byte_tokenizer(extra_tokens=("alpha", "beta", "gamma", "delta")))
    with pytest.raises(
        LaunchError,
        match=r"259 tokens, the amateur 263: 4 only the amateur has \('alpha', 'beta', 'gamma', \.\.\.\)",
    ):
        pair_options(expert, other, {})


def test_the_same_tokens_under_other_ids_are_refused(tmp_path):
    one = write_with_tokenizer(tmp_path / "one", byte_tokenizer(extra_tokens=("alpha", "beta")))
    two = write_with_tokenizer(tmp_path / "two", byte_tokenizer(extra_tokens=("beta", "alpha")))
    with pytest.raises(LaunchError, match=r"2 with another id \('alpha', 'beta'\)"):
        pair_options(one, two, {})


def test_the_same_tokens_cut_otherwise_are_refused(expert, tmp_path):
    from tokenizers import normalizers

    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Strip()
    with pytest.raises(LaunchError, match=r"the vocabularies agree, but .* becomes"):
        pair_options(expert, write_with_tokenizer(tmp_path, tokenizer), {})


def test_a_mixture_of_experts_amateur_is_refused_under_data_parallel(expert, tmp_path):
    from transformers import MixtralConfig

    config = MixtralConfig(
        architectures=["MixtralForCausalLM"],
        vocab_size=320,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    config.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert pair_options(expert, str(tmp_path), {"data_parallel_size": 1})
    for option in ({"data_parallel_size": 2}, {"enable_ep_weight_filter": True}):
        with pytest.raises(LaunchError, match=rf"{next(iter(option))}: .* mixture-of-experts"):
            pair_options(expert, str(tmp_path), option)


def test_the_command_lines_own_compilation_settings_become_piecewise(expert, amateur):
    from vllm.config import CompilationConfig, CUDAGraphMode

    chosen = pair_options(expert, amateur, {"compilation_config": CompilationConfig()})["compilation_config"]
    assert chosen.cudagraph_mode is CUDAGraphMode.PIECEWISE
    with pytest.raises(LaunchError, match="cudagraph_mode: FULL_AND_PIECEWISE can't be used"):
        pair_options(
            expert, amateur, {"compilation_config": CompilationConfig(cudagraph_mode="FULL_AND_PIECEWISE")}
        )
