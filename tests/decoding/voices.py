"""Any voices in a real engine and in transformers, asked for in the words of one request."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import AMATEUR, AdapterFile, Heard, Member, Mix, engine_arguments
from motet_decoding.layers import layer_candidates
from motet_decoding.reference import Speaker, greedy_scores, mixed_scores
from motet_decoding.testing import llama_config, write_model
from motet_decoding.voices import LayersVoice, LayerVoice, SequenceVoice, Voice

from .conftest import write_adapter

LAYERS, CONTEXT, BLOCK, SEATS, SLOTS = 6, 256, 32, 32, 2
#: From the first to the second candidate of either half.
QUIET = (0, 1, 3, 4)
ADAPTERS = ("blue", "green", "red")
#: Where the reference's two best scores are as close, the engine's rounding may choose the other.
TIE = 1e-4


@dataclass(frozen=True)
class Ask:
    """One request: what a client says of it, its prompt and prompts of voices in tokens."""

    prompt: tuple[int, ...]
    contrast: Contrast | None = None
    adapter: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)

    def with_(self, **sampling: Any) -> Ask:
        return replace(self, sampling={**self.sampling, **sampling})

    @property
    def tokens(self) -> int:
        return int(self.sampling.get("max_tokens", 16))


@dataclass
class Choir:
    """An engine with an amateur, adapters, groups and layers, and the same voices in transformers and PEFT."""

    llm: Any
    models: dict[str | None, Any]
    amateur: Any
    files: dict[str, AdapterFile]
    #: The ids of all requests of which the engine's core has ever sent an output.
    told: set[str]

    # The engine's side.

    def request(self, ask: Ask) -> tuple[dict[str, Any], Any, Any]:
        """The engine's prompt, sampling parameters and adapter."""
        from vllm import SamplingParams

        sampling = SamplingParams(
            **{"temperature": 0.0, "max_tokens": ask.tokens, "ignore_eos": True, **ask.sampling}
        )
        prompt: dict[str, Any] = {"prompt_token_ids": list(ask.prompt)}
        if ask.contrast is not None:
            arguments = engine_arguments(*self.heard(ask))
            sampling.extra_args = arguments.extra_args
            if arguments.cache_salt is not None:
                prompt["cache_salt"] = arguments.cache_salt
        return prompt, sampling, self.lora(ask.adapter)

    def lora(self, adapter: str | None) -> Any:
        from vllm.lora.request import LoRARequest

        file = None if adapter is None else self.files[adapter]
        return None if file is None else LoRARequest(file.name, file.number, file.path)

    def heard(self, ask: Ask) -> tuple[Mix, str | None, tuple[Member, ...]]:
        """The mix, no salt of the client's, and the members, as the server would make them."""
        assert ask.contrast is not None
        heard: list[Heard] = []
        members: list[Member] = []
        for weighted in ask.contrast.voices:
            layers = layers_of(weighted.voice)
            if layers:
                heard.append(Heard(source="layer", layers=layers, weight=weighted.weight))
            elif weighted.voice == "amateur":
                heard.append(AMATEUR.model_copy(update={"weight": weighted.weight}))
            else:
                adapter, prompt = read(weighted.voice, ask)
                file = None if adapter is None else self.files[adapter]
                members.append(Member(tokens=None if prompt == ask.prompt else prompt, adapter=file))
                heard.append(Heard(source="member", member=len(members), weight=weighted.weight))
        return Mix.of(ask.contrast, tuple(heard)), None, tuple(members)

    def run(self, asks: Sequence[Ask]) -> list[Any]:
        """Their outputs, all of them at once in the engine."""
        return self.generate([self.request(ask) for ask in asks])

    def generate(self, requests: Sequence[tuple[dict[str, Any], Any, Any]]) -> list[Any]:
        """The outputs of ``request``'s."""
        prompts, sampling, loras = zip(*requests, strict=True)
        outputs: list[Any] = self.llm.generate(
            list(prompts), list(sampling), lora_request=list(loras), use_tqdm=False
        )
        return outputs

    def answers(self, asks: Sequence[Ask]) -> list[list[int]]:
        """The tokens of each one's first answer."""
        return [list(output.outputs[0].token_ids) for output in self.run(asks)]

    def preemptions(self) -> int:
        """How often a sequence had to leave the KV cache so far."""
        return sum(
            int(metric.value) for metric in self.llm.get_metrics() if metric.name == "vllm:num_preemptions"
        )

    def idle(self) -> bool:
        """Whether the engine holds no request and no block of its KV cache; it tells so after a step, so one is run."""
        self.run([Ask((5,), sampling={"max_tokens": 1})])
        gauges = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        found = [metric.value for metric in self.llm.get_metrics() if metric.name in gauges]
        assert len(found) >= len(gauges)
        return not any(found)

    # The reference's side.

    def voices(self, ask: Ask) -> tuple[Speaker, list[tuple[float, Speaker]]]:
        """The answering voice, and the others with their weights."""
        others = [
            (weighted.weight, self.speaker(weighted.voice, ask))
            for weighted in (ask.contrast.voices if ask.contrast is not None else ())
        ]
        return Speaker(self.models[ask.adapter], ask.prompt), others

    def speaker(self, voice: Voice, ask: Ask) -> Speaker:
        if layers := layers_of(voice):
            return Speaker(self.models[ask.adapter], ask.prompt, layers)
        if voice == "amateur":
            return Speaker(self.amateur, ask.prompt)
        adapter, prompt = read(voice, ask)
        return Speaker(self.models[adapter], prompt)

    def scores(self, ask: Ask, answer: Sequence[int] = (), banned: Any = None) -> torch.Tensor:
        """The exact scores, [vocab], of the token after an answer so far.

        Args:
            banned: tokens, boolean [vocab], that the answering voice may not say.
        """
        return self.steps(ask, answer, banned)[-1]

    def steps(self, ask: Ask, answer: Sequence[int], banned: Any = None) -> list[torch.Tensor]:
        """The exact scores, [vocab], of each of an answer's tokens after those before it, and of the one after it."""
        expert, others = self.voices(ask)
        mine = expert.along(answer).double()
        if banned is not None:
            mine = mine.masked_fill(banned, -torch.inf)
        if ask.contrast is None:
            return list(mine)
        heard = [(weight, voice.along(answer).double()) for weight, voice in others]
        return [
            mixed_scores(row, [(weight, rows[place]) for weight, rows in heard], ask.contrast, place)
            for place, row in enumerate(mine)
        ]

    def expected(self, ask: Ask) -> list[int]:
        """The greedy answer, by a plain loop."""
        expert, others = self.voices(ask)
        return [int(row.argmax()) for row in islice(greedy_scores(expert, others, ask.contrast), ask.tokens)]

    def check(self, asks: Sequence[Ask], answers: Sequence[Sequence[int]]) -> None:
        """Holds each token of greedy answers to the best one after those before it, bar one tie in a batch."""
        ties = 0
        for ask, answer in zip(asks, answers, strict=True):
            assert len(answer) == ask.tokens, ask
            for place, (token, scores) in enumerate(zip(answer, self.steps(ask, answer), strict=False)):
                best = int(scores.argmax())
                assert scores[best] - scores[token] < TIE, (place, best, ask, answer)
                ties += token != best
        assert ties <= 1


def layers_of(voice: Voice) -> tuple[int, ...]:
    """The layers that a voice is read at; none for a voice of the last."""
    if isinstance(voice, LayerVoice):
        return (voice.layer,)
    return layer_candidates(voice.layers, LAYERS, tied=False) if isinstance(voice, LayersVoice) else ()


def read(voice: Voice, ask: Ask) -> tuple[str | None, tuple[int, ...]]:
    """Whose weights a sequence voice has, and what it reads before the answer."""
    if not isinstance(voice, SequenceVoice):
        assert voice == "base"
        return None, ask.prompt
    assert voice.messages is None
    assert not isinstance(voice.prompt, str)
    adapter = ask.adapter if voice.own_adapter else voice.adapter
    return adapter, ask.prompt if voice.prompt is None else voice.prompt


def against(voice: Any, **settings: Any) -> Contrast:
    """A contrast as a request says it, of a strength that shows."""
    return Contrast.model_validate({"strength": 1.0, "plausibility": 0.02, "against": voice, **settings})


def quieten(model: Path) -> Path:
    """Has a model's layers between two candidates do little, so that now one and now the other differs most."""
    tensors = load_file(model / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")) and int(name.split(".")[2]) in QUIET:
            tensor *= 0.2
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    return model


@contextmanager
def start_choir(root: Path, **options: Any) -> Iterator[Choir]:
    """Starts an engine with chunked prefill in small pieces and a small KV cache, and stops it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from vllm import LLM

    from motet_decoding.engine.adapters import adapter_options
    from motet_decoding.engine.launch import CPU_WORKER, pair_options
    from motet_decoding.engine.launch_voices import voice_options

    expert = quieten(write_model(root / "expert", llama_config(64, LAYERS), seed=0))
    amateur = write_model(root / "amateur", llama_config(64, 2), seed=1)
    folders = {
        name: write_adapter(root / name, expert, seed=seed, rank=8) for seed, name in enumerate(ADAPTERS)
    }
    options = {
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": CONTEXT,
        "max_num_batched_tokens": 64,
        "max_num_seqs": SEATS,
        "block_size": BLOCK,
        "num_gpu_blocks_override": 32,
        "disable_log_stats": False,
        **options,
    }
    options |= pair_options(str(expert), str(amateur), options)
    options |= adapter_options(str(expert), options, slots=SLOTS, loaded=4, max_rank=8)
    options |= voice_options(str(expert), options, voices=4, layers="all").options
    llm = LLM(model=str(expert), worker_cls=CPU_WORKER, **options)
    core, told = llm.llm_engine.engine_core, set()
    get_output = core.get_output

    def listen() -> Any:
        outputs = get_output()
        told.update(output.request_id for output in outputs.outputs)
        return outputs

    core.get_output = listen
    load = AutoModelForCausalLM.from_pretrained
    models: dict[str | None, Any] = {None: load(expert, dtype=torch.float32).eval()}
    for name, folder in folders.items():
        models[name] = PeftModel.from_pretrained(load(expert, dtype=torch.float32), folder).eval()
    files = {
        name: AdapterFile(name=f"{name}@1", number=100 + place, path=str(folder))
        for place, (name, folder) in enumerate(folders.items())
    }
    try:
        yield Choir(llm, models, load(amateur, dtype=torch.float32).eval(), files, told)
    finally:
        core.shutdown()
        del llm
        gc.collect()
