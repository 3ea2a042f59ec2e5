"""What every test relies on: no network, no proxy, no trace in the user's home, asyncio for async tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A busy machine is slow, and that proves nothing.
settings.register_profile("motet", deadline=None)
settings.load_profile("motet")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Files run side by side: threads of each would wait for each other's, and vLLM would bind them to the same core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

# Set before any test module imports transformers or vLLM, which read these at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["VLLM_NO_USAGE_STATS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# The servers that tests talk to are on this machine, whatever stands between it and the world.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.fixture(scope="session", autouse=True)
def motet_home(tmp_path_factory: pytest.TempPathFactory):
    """A fresh $MOTET_HOME for the whole run; servers that tests start inherit it."""
    home = tmp_path_factory.mktemp("motet-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTET_HOME", str(home))
        yield home


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files that take minutes come first, so that at the end no process waits long for the other.
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("engine", "timeout"))))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch  # a second and more, for which a run without GPU tests has no use

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and this machine has none"))
