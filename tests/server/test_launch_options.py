"""What the launch has checked and will show is what vLLM serves, whichever way an option took."""

from __future__ import annotations

import os
import socket
from argparse import Namespace
from pathlib import Path

import pytest
from tests.servers import free_port, wait_for

from motet_decoding.errors import LaunchError
from motet_server import launch, launch_private
from motet_server.adapters.settings import AdapterOptions
from motet_server.command import ServeCommand

pytestmark = pytest.mark.engine


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What looks like a model to every check before the engine; and an environment to which nothing is done."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path)


def command(model: str, *vllm: str, port: int = 0) -> ServeCommand:
    return ServeCommand(
        model=model,
        port=port,
        vllm=vllm,
        verbose=True,
        adapters=AdapterOptions(enabled=False),
        max_voices=0,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--uds", "/tmp/socket"], "--uds"),
        (["--grpc"], "--grpc"),
        (["--data-parallel-multi-port-external-lb"], "--data-parallel-multi-port-external-lb"),
        # Behind `--`, or shortened, motet's own options are left for vLLM.
        (["--port", "9"], "--port 9"),
        (["--hos", "0.0.0.0"], "--host 0.0.0.0"),
        (["--model", "other"], "--model other"),
    ],
)
def test_an_option_that_would_move_the_server_is_refused_by_its_name(model, monkeypatch, arguments, told):
    monkeypatch.setattr(launch_private, "serve", lambda options: pytest.fail(f"served {options}"))
    with pytest.raises(LaunchError) as refused:
        launch.serve(command(model, *arguments))
    assert told in str(refused.value)


def test_what_a_config_file_says_is_served_at_the_address_that_is_shown(model, monkeypatch, capfd):
    file = Path(model) / "options.yaml"
    file.write_text("served-model-name: [named-in-the-file]\nmax-model-len: 64\n")
    shown = []

    def serve(options: Namespace) -> None:
        assert (options.model, options.max_model_len) == (model, 64)
        with socket.create_server((options.host, options.port)):
            wait_for(lambda: shown.append(capfd.readouterr().out) or "curl" in "".join(shown))
        shown.append(f"{options.host}:{options.port}")

    monkeypatch.setattr(launch_private, "serve", serve)
    launch.serve(command(model, "--config", str(file)))
    *block, address = shown
    assert f"curl http://{address}/v1/chat/completions" in "".join(block)
    assert "model    named-in-the-file" in "".join(block)


def test_a_node_without_a_server_needs_no_port_and_shows_none(model, monkeypatch, capfd):
    served = []
    monkeypatch.setattr(launch_private, "serve", served.append)
    with socket.create_server(("127.0.0.1", 0)) as other:
        launch.serve(command(model, "--headless", port=other.getsockname()[1]))
    assert served[0].headless
    assert "another node" in (out := capfd.readouterr().out)
    assert "curl" not in out


def test_the_front_end_that_has_no_routes_of_ours_is_refused(model, monkeypatch):
    monkeypatch.setitem(os.environ, "VLLM_USE_RUST_FRONTEND", "1")
    with pytest.raises(LaunchError, match="VLLM_USE_RUST_FRONTEND"):
        launch.serve(command(model))


def test_vllms_way_to_load_adapters_unchecked_is_refused(model, monkeypatch):
    monkeypatch.setitem(os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    with pytest.raises(LaunchError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING: unset it"):
        launch.serve(command(model))


def test_a_name_of_two_addresses_is_looked_at_where_vllm_binds_it(model):
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} on localhost is in use"):
            launch.serve(command(model, port=port).model_copy(update={"host": "localhost"}))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"best_of_by": "Judge"}, "--best-of-by"),
        ({"best_of_by": "reward+vote"}, "--best-of-by"),
        ({"best_of_by": "vote:0.5*wisdom"}, "--best-of-by: there is no scorer wisdom"),
        ({"preset": ('wise={"best_of": {"n": 2, "by": "wisdom"}}',)}, "preset wise: best_of.by: .*wisdom"),
        (
            {"preset": ('wise={"best_of": {"n": 2, "reject": {"at": 2, "by": "wisdom"}}}',)},
            "preset wise: best_of.reject.by: .*wisdom",
        ),
        ({"scorers": ("mine",)}, "--scorer mine"),
        ({"scorers": ("vote=http://127.0.0.1:1/",)}, "--scorer vote"),
        ({"preset": ('best={"best_of": {"n": 65}}',)}, "--max-candidates 64"),
    ],
)
def test_a_judge_that_cant_be_is_refused_before_anything_is_loaded(model, options, told):
    with pytest.raises(LaunchError, match=told):
        launch.serve(command(model).model_copy(update=options))
