"""For tests: small random models (real files, real architectures, a second to make) and a look into the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE, extra_tokens: tuple[str, ...] = ()) -> Any:
    """A tokenizer of 256 bytes and the special tokens (ids 256, 257, 258), then ``extra_tokens``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *SPECIAL_TOKENS, *extra_tokens])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = chat_template
    return fast


def write_model(folder: Path, config: Any, *, seed: int, tokenizer: Any = None) -> Path:
    """Writes a randomly initialised model of ``config`` and its tokenizer into ``folder``, as safetensors."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).float().save_pretrained(folder)
    (byte_tokenizer() if tokenizer is None else tokenizer).save_pretrained(folder)
    return folder


def llama_config(hidden_size: int = 128, layers: int = 3, **overrides: Any) -> Any:
    """A Llama shape with head size 32, the least that vLLM's CPU attention takes."""
    from transformers import LlamaConfig

    return LlamaConfig(
        **{
            "vocab_size": 320,
            "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden_size // 32,
            "num_key_value_heads": hidden_size // 32,
            "max_position_embeddings": 512,
            # Wide enough that greedy continuations of different prompts differ.
            "initializer_range": 0.2,
            "bos_token_id": None,
            "eos_token_id": 258,
            **overrides,
        }
    )


class StepCounter:
    """A vLLM worker extension (``worker_extension_cls``): how often the amateur ran, and for whom (V1 runner)."""

    def motet_steps(self) -> tuple[int, int]:
        """Forward passes so far, and those of them in which the amateur took part."""
        stage = self._motet_stage()
        return stage.steps, stage.amateur_steps

    def motet_watch(self) -> None:
        """Starts to note every batch."""
        runner = self.model_runner  # type: ignore[attr-defined]
        run, stage = runner.execute_model, self._motet_stage()
        self._motet_batches: list[tuple[int, int, int]] = []

        def execute_model(scheduled: Any, *args: Any, **kwargs: Any) -> Any:
            output = run(scheduled, *args, **kwargs)
            asking = len(stage.processor.asking)
            plain = runner.input_batch.num_reqs - asking
            self._motet_batches.append((asking, plain, scheduled.total_num_scheduled_tokens))
            return output

        runner.execute_model = execute_model

    def motet_batches(self) -> list[tuple[int, int, int]]:
        """Stops noting; of each batch its contrast requests, its plain requests, and the tokens it computed."""
        del self.model_runner.execute_model  # type: ignore[attr-defined]
        return self._motet_batches

    def motet_compiled(self) -> tuple[int, int]:
        """How many parts of the expert and of the amateur vLLM compiled."""
        expert = self.model_runner.get_model()  # type: ignore[attr-defined]
        parts = [
            [part for part in model.modules() if getattr(part, "do_not_compile", True) is False]
            for model in (expert, expert.amateur)
        ]
        return len(parts[0]), len(parts[1])

    def _motet_stage(self) -> Any:
        from motet_decoding.engine.stage import stage_of

        return stage_of(self.vllm_config)  # type: ignore[attr-defined]


class LayerListener:
    """A vLLM worker extension (``worker_extension_cls``): what the model's layers say, whatever requests ask."""

    def motet_listen(self, layers: list[int]) -> None:
        """Starts to note the logits of some layers at each step's logits rows."""
        from motet_decoding.engine.stage import stage_of

        model: Any = self.model_runner.get_model()  # type: ignore[attr-defined]
        stage = stage_of(self.vllm_config)  # type: ignore[attr-defined]
        self._motet_heard: list[dict[int, list[list[float]]]] = []
        forward, compute_logits = model.forward, model.compute_logits

        def asking(*args: Any, **kwargs: Any) -> Any:
            stage.wanted_layers = tuple(layers)
            return forward(*args, **kwargs)

        def listening(hidden_states: torch.Tensor) -> Any:
            logits = compute_logits(hidden_states)
            last = torch.tensor([len(hidden_states) - 1])
            heard = {layer: stage.layer_logits(layer) for layer in layers}
            for layer, rows in heard.items():
                torch.testing.assert_close(stage.layer_logits(layer, last), rows[last])
            self._motet_heard.append({layer: rows.tolist() for layer, rows in heard.items()})
            return logits

        model.forward, model.compute_logits = asking, listening

    def motet_heard(self) -> list[dict[int, list[list[float]]]]:
        """Of each step so far, each layer's logits, [rows, vocab]."""
        return self._motet_heard
