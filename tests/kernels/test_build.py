"""Every kernel compiles for every GPU that counts, within its registers, and a kernel that doesn't is refused."""

from __future__ import annotations

import pytest
import triton
import triton.language as tl

from motet_kernels import build
from motet_kernels.build import CAPABILITIES, Build, Resources, all_builds, compile_build


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: f"sm_{capability}")
@pytest.mark.parametrize("each", all_builds(), ids=lambda each: each.name)
def test_compiles_within_bounds(each: Build, capability: int):
    needs = compile_build(each, capability)
    assert not needs.faults(capability), needs
    assert 0 < needs.registers <= 255


@triton.jit
def scale(values, out, count, SIZE: tl.constexpr):
    index = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(out + index, tl.load(values + index, mask=index < count).to(tl.float32) * 2, mask=index < count)


@triton.jit
def normalise(values, out, SIZE: tl.constexpr):
    """Holds all of its values in registers until it knows their sum: 256 a thread with SIZE 8,192 and one warp."""
    index = tl.arange(0, SIZE)
    row = tl.load(values + index)
    tl.store(out + index, row / tl.sum(row))


SCALE = Build("scale", scale, {"values": "*bf16", "out": "*fp32", "count": "i32"}, {"SIZE": 1024})
SPILLS = Build("spills", normalise, {"values": "*fp32", "out": "*fp32"}, {"SIZE": 8192}, num_warps=1)


def test_a_spill_is_seen():
    needs = compile_build(SPILLS, 90)
    assert needs.spills > 0
    assert needs.stack > 0
    assert any("spills" in fault for fault in needs.faults(90))
    assert not compile_build(SCALE, 90).faults(90)


def test_shared_memory_is_measured_against_the_gpu():
    needs = Resources(registers=32, stack=0, spills=0, shared=200 * 1024)
    assert needs.faults(80) == ["needs 204800 of 166912 bytes of shared memory"]
    assert needs.faults(90) == []


def test_known_multiples_of_16_change_the_code():
    """Otherwise the suffix would be read and do nothing."""
    wide = Build("wide", scale, dict(SCALE.signature) | {"count": "i32:16"}, SCALE.constexprs)
    assert compile_build(SCALE, 90) != compile_build(wide, 90)


@pytest.mark.parametrize(
    ("builds", "code", "refused"), [((SCALE,), 0, 0), ((SCALE, SPILLS), 1, len(CAPABILITIES))]
)
def test_the_command_fails_on_a_spill(monkeypatch, capsys, builds, code, refused):
    monkeypatch.setattr(build, "all_builds", lambda: builds)
    assert build.main() == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(builds) * len(CAPABILITIES)} compiled, {refused} refused"
    assert [line.split()[0] for line in lines if "REFUSED" in line] == ["spills"] * refused


def test_arguments_that_are_not_the_kernels_are_named():
    with pytest.raises(ValueError, match="typo: amount, count in either"):
        compile_build(
            Build("typo", scale, {"values": "*bf16", "out": "*fp32", "amount": "i32"}, {"SIZE": 64}), 90
        )


def test_nothing_is_compiled_under_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="unset it"):
        compile_build(SCALE, 90)


def test_builds_of_one_name_are_refused(monkeypatch):
    # token_logprobs_triton stands for any module of kernels.
    from motet_kernels import token_logprobs_triton

    monkeypatch.setattr(token_logprobs_triton, "BUILDS", (SCALE, SCALE))
    with pytest.raises(ValueError, match="share a name: scale"):
        all_builds()
