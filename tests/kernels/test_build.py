"""Every kernel compiles for every GPU that counts, within its registers, and a kernel that doesn't is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import triton
import triton.language as tl

from motet_kernels import build
from motet_kernels.build import CAPABILITIES, Build, Resources, all_builds, compile_build


def test_every_build_compiles_within_bounds():
    """In a process of its own, where nothing stands in for Triton or has chosen its interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-m", "motet_kernels.build"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for each in all_builds():
        for capability in CAPABILITIES:
            row = rf"^sm_{capability} +{each.num_warps} +(\d+) +0 +0 +\d+  {re.escape(each.name)}$"
            found = re.findall(row, ran.stdout, re.MULTILINE)
            assert len(found) == 1
            assert 0 < int(found[0]) <= 255
    assert f"{len(all_builds()) * len(CAPABILITIES)} compiled, 0 refused" in ran.stdout


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


@pytest.mark.parametrize(("builds", "code"), [((SCALE,), 0), ((SCALE, SPILLS), 1)])
def test_the_command_fails_on_a_spill(monkeypatch, capsys, builds, code):
    monkeypatch.setattr(
        build, "compile_all", lambda: [(each, 80, compile_build(each, 80)) for each in builds]
    )
    assert build.main() == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(builds)} compiled, {code} refused"
    assert ["spills  REFUSED: spills" in line for line in lines[1:-1]] == [each is SPILLS for each in builds]


def test_a_kernel_that_does_not_compile_is_named():
    wrong = Build("wrong", scale, dict(SCALE.signature) | {"values": "fp32"}, SCALE.constexprs)
    with pytest.raises(triton.CompilationError) as caught:
        compile_build(wrong, 90)
    assert caught.value.__notes__ == ["This was wrong for sm_90."]


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
