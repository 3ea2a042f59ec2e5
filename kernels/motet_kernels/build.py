"""Compiles every Triton kernel for the GPUs that we care about, on any machine, and refuses one that spills.

``python -m motet_kernels.build`` prints a line for every build and GPU and exits with 1 if any of them spills
registers, uses the stack or asks for more shared memory than a block may have. Neither a GPU nor a CUDA toolkit is
needed: Triton brings its own assembler.

A module whose name ends in ``_triton`` holds kernels and names in ``BUILDS`` each combination of types and branches
that its launcher can choose.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import motet_kernels

#: Compute capabilities: A100, H100 and H200, B200.
CAPABILITIES = (80, 90, 100)

#: What every launch passes as ``enable_fp_fusion``. Triton's default depends on its version and on an environment
#: variable; with it off, a product is rounded before it is added to, as the torch twins do it. It costs nothing in
#: kernels that wait for memory.
FP_FUSION = False

#: Bytes of shared memory that one block may have (CUDA C++ programming guide, "Technical Specifications per Compute
#: Capability").
_SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}


@dataclass(frozen=True)
class Build:
    """One kernel with one choice of types and branches.

    Attributes:
        name: for people: the kernel and what sets this build apart, "token_logprobs forward bf16".
        kernel: the ``triton.jit`` function.
        signature: each argument's type in Triton's spelling, "*bf16", "i32", "fp32". Pointers count as 16-byte aligned;
            "i32:16" is an integer that is known to be a multiple of 16, which lets the compiler read in wider pieces.
        constexprs: each ``tl.constexpr`` argument's value.
        num_warps: as at the launch.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    num_warps: int = 4


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel needs.

    Attributes:
        registers: per thread.
        stack: bytes of stack per thread.
        spills: bytes per thread that are stored to or loaded from memory for want of registers.
        shared: bytes of shared memory per block.
    """

    registers: int
    stack: int
    spills: int
    shared: int

    def faults(self, capability: int) -> list[str]:
        """Why a kernel with these needs is refused for a GPU of this compute capability; empty if it isn't."""
        limit = _SHARED_LIMIT[capability]
        return [
            *([f"spills {self.spills} bytes"] if self.spills else []),
            *([f"uses {self.stack} bytes of stack"] if self.stack else []),
            *([f"needs {self.shared} of {limit} bytes of shared memory"] if self.shared > limit else []),
        ]


def all_builds() -> tuple[Build, ...]:
    """Every build of every kernel in this package. Imports Triton.

    Raises:
        AttributeError: if a ``_triton`` module names no ``BUILDS``.
        ValueError: if two builds share a name.
    """
    modules = sorted(
        m.name for m in pkgutil.iter_modules(motet_kernels.__path__) if m.name.endswith("_triton")
    )
    builds = [build for name in modules for build in importlib.import_module(f"motet_kernels.{name}").BUILDS]
    names = [build.name for build in builds]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"builds share a name: {', '.join(doubled)}")
    return tuple(builds)


def compile_build(build: Build, capability: int) -> Resources:
    """Compiles one kernel from its source, past Triton's cache, and returns what it needs.

    Args:
        build: what to compile.
        capability: the GPU's compute capability, 90 for sm_90.

    Raises:
        RuntimeError: under ``TRITON_INTERPRET``, where there is no code to compile.
        ValueError: if the build's arguments aren't the kernel's.
        triton.CompilationError, triton.runtime.errors.PTXASError: if the kernel does not compile.
    """
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget

    if knobs.runtime.interpret:
        raise RuntimeError("kernels can't be compiled under TRITON_INTERPRET: unset it")
    expected = set(build.kernel.arg_names)
    if given := expected ^ {*build.signature, *build.constexprs}:
        raise ValueError(
            f"{build.name}: {', '.join(sorted(given))} in either the build or the kernel, not both"
        )

    types = {name: kind.removesuffix(":16") for name, kind in build.signature.items()}
    aligned = [name for name, kind in build.signature.items() if kind.startswith("*") or kind.endswith(":16")]
    source = triton.compiler.ASTSource(
        build.kernel,
        signature=types | dict.fromkeys(build.constexprs, "constexpr"),
        constexprs=dict(build.constexprs),
        attrs={(build.kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    log = io.StringIO()
    # A cache of its own, because a kernel that comes out of Triton's has no assembler's log.
    with tempfile.TemporaryDirectory() as cache, knobs.cache.scope(), knobs.nvidia.scope():
        knobs.cache.dir = cache
        knobs.nvidia.dump_ptxas_log = True
        try:
            with contextlib.redirect_stdout(log):
                compiled = triton.compile(
                    source,
                    target=GPUTarget("cuda", capability, 32),
                    options={"num_warps": build.num_warps, "enable_fp_fusion": FP_FUSION},
                )
        except Exception as error:
            error.add_note(f"This was {build.name} for sm_{capability}.")
            raise
    return _resources(log.getvalue(), compiled.metadata.shared)


def _resources(log: str, dynamic_shared: int) -> Resources:
    """Reads ``ptxas -v``; Triton asks for its shared memory at launch, so the assembler doesn't see that."""

    def total(pattern: str) -> int:
        return sum(int(number) for number in re.findall(pattern, log))

    if not re.search(r"Used \d+ registers", log) or "bytes stack frame" not in log:
        raise RuntimeError(f"the assembler's log names no registers or no stack:\n{log}")
    return Resources(
        registers=max(int(number) for number in re.findall(r"Used (\d+) registers", log)),
        stack=total(r"(\d+) bytes stack frame"),
        spills=total(r"(\d+) bytes spill stores") + total(r"(\d+) bytes spill loads"),
        shared=total(r"(\d+) bytes smem") + dynamic_shared,
    )


def compile_all() -> Iterator[tuple[Build, int, Resources]]:
    """Compiles every build for every capability, in order, in as many processes as there are cores.

    Raises:
        as ``all_builds`` and ``compile_build`` do.
    """
    wanted = [(build, capability) for build in all_builds() for capability in CAPABILITIES]
    # A Triton function can't be sent to another process, its build's name can. Spawned, because torch has threads.
    with ProcessPoolExecutor(min(8, os.cpu_count() or 1), get_context("spawn")) as pool:
        results = pool.map(_compile_named, [build.name for build, _ in wanted], [each for _, each in wanted])
        for (build, capability), resources in zip(wanted, results, strict=True):
            yield build, capability, resources


def _compile_named(name: str, capability: int) -> Resources:
    return compile_build(next(build for build in all_builds() if build.name == name), capability)


def report(results: Iterable[tuple[Build, int, Resources]]) -> int:
    """Prints what each of these needs, as it comes, and returns how many are refused."""
    compiled, refused = 0, 0
    print("GPU     warps  registers  stack  spills  shared  build")
    for build, capability, needs in results:
        faults = needs.faults(capability)
        compiled += 1
        refused += bool(faults)
        print(
            f"sm_{capability:<4} {build.num_warps:5}  {needs.registers:9}  {needs.stack:5}  {needs.spills:6}"
            f"  {needs.shared:6}  {build.name}{'  REFUSED: ' if faults else ''}{', '.join(faults)}",
            flush=True,
        )
    print(f"{compiled} compiled, {refused} refused")
    return refused


def main() -> int:
    """The command: 0 if every build of the package compiles within bounds."""
    return 1 if report(compile_all()) else 0


if __name__ == "__main__":
    sys.exit(main())
