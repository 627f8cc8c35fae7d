"""Compile every kernel for GPUs that are not here, and read off what would make it slow: spills, shared memory, missing matrix units.

Triton compiles for any NVIDIA GPU on any machine, and its wheel holds the assembler and the disassembler. What is compiled is what
`triton_scan.choose_tile` chooses for capabilities 8.0, 9.0 and 10.0. This says nothing about speed: `cirlib bench gpu` does.

    python -m cirlib.kernels.compile_gate [--out results/benchmarks/compile_gate.csv]
"""

import argparse
import csv
import io
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cirlib._atomic import atomic_write_text
from cirlib.kernels.triton_kernels import load
from cirlib.kernels.triton_scan import Tile, choose_tile
from cirlib.types import InputError

CAPABILITIES = (80, 90, 100)
SHARED_KIB = {80: 163, 90: 227, 100: 227}  # that one program can have
MATRIX = {80: "HMMA|IMMA", 90: "HGMMA|IGMMA", 100: "UTCHMMA|UTCIMMA|HMMA|IMMA"}  # tcgen05 has no 8-bit form in Triton: IMMA
COLUMNS = (
    "kernel", "capability", "dtype", "copy", "tile", "warps", "stages", "constants", "registers", "spill_bytes", "shared_kib", "matrix",
    "shuffles", "triton",
)  # fmt: skip
_ITEMSIZE = {"fp16": 2, "bf16": 2, "i8": 1}
_ALIGNED = ("query_stride", "gallery_stride", "picture_stride", "slot_stride", "dim")  # Triton sees at run time that 16 divides them


@dataclass(frozen=True)
class Configuration:
    """One kernel as one GPU would run it.

    Attributes:
        kernel: Name in `triton_kernels.load`.
        capability: Compute capability times ten.
        dtype: Of the rows, as Triton spells it.
        tile: See `Tile`.
        bulk: Copied by TMA; by pointers otherwise.
        constants: Other compile-time arguments.
    """

    kernel: str
    capability: int
    dtype: str
    tile: Tile
    bulk: bool
    constants: dict[str, Any] = field(default_factory=dict)


def configurations(capability: int) -> Iterator[Configuration]:
    """All that the launchers would run on a GPU of this capability, on aligned rows of at least 128 entries."""

    def of(
        kernel: str, dtype: str, queries: int, epilogue: str = "groups", slots: int = 1, bulk: bool = True, **constants: Any
    ) -> Configuration:
        tile = choose_tile(queries, _ITEMSIZE[dtype], epilogue, slots, capability // 10)
        return Configuration(kernel, capability, dtype, tile, bulk and capability >= 90, constants)

    for dtype in ("fp16", "bf16", "i8"):
        yield of("group_maxima", dtype, 4096)
    for queries in (16, 64):
        yield of("group_maxima", "fp16", queries)
        yield of("group_maxima", "i8", queries)
    yield of("group_maxima", "fp16", 4096, bulk=False)
    yield of("slot_scores", "fp16", 4096, "slots", 32, bulk=False, SLOTS=32, PARTS=1, KEYS=False)
    yield of("slot_scores", "fp16", 4096, "slots", 16, bulk=False, SLOTS=16, PARTS=8, KEYS=False)
    yield of("slot_scores", "fp16", 4096, "keys", 16, bulk=False, SLOTS=16, PARTS=8, KEYS=True)
    yield of("outrank_counts", "fp16", 4096, "counts", SLOTS=1)
    yield of("outrank_counts", "i8", 4096, "counts", SLOTS=1)
    yield of("outrank_counts", "fp16", 4096, "counts", 32, bulk=False, SLOTS=32)
    yield Configuration("pair_products", capability, "fp16", Tile(dim=128, warps=4, stages=3), False, {"BLOCK_C": 32})


def compile_one(configuration: Configuration) -> dict[str, Any]:
    """Compile and disassemble one configuration; the values of `COLUMNS`.

    Raises:
        InputError: If Triton is not installed, or interprets kernels instead of compiling them.
    """
    kernel = load()[configuration.kernel]
    if type(kernel).__name__ == "InterpretedFunction":
        raise InputError("TRITON_INTERPRET is set, so that nothing is compiled; unset it and start again")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    tile, capability = configuration.tile, configuration.capability
    signature, constants, attributes = _signature(configuration, kernel.arg_names)
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tile.warps, "num_stages": tile.stages},
    )
    usage, code = _disassemble(compiled.asm["cubin"])
    matrix = re.findall(rf"\b({MATRIX[capability]})\b", code)
    return {
        **describe(configuration),
        "registers": int(usage["REG"]),
        "spill_bytes": int(usage["STACK"]) + int(usage["LOCAL"]),
        "shared_kib": -(-compiled.metadata.shared // 2**10),
        "matrix": max(set(matrix), key=matrix.count) if matrix else "",
        "shuffles": len(re.findall(r"\bSHFL\b", code)),
        "triton": triton.__version__,
    }


def describe(configuration: Configuration) -> dict[str, Any]:
    """What is compiled, in the first of `COLUMNS`; a tile's rows, columns and steps as the matrix units see them."""
    tile = configuration.tile
    sizes = (tile.gallery, tile.query, tile.dim) if tile.swap else (tile.query, tile.gallery, tile.dim)
    return {
        "kernel": configuration.kernel,
        "capability": configuration.capability,
        "dtype": configuration.dtype,
        "copy": "bulk" if configuration.bulk else "pointers",
        "tile": "x".join(map(str, sizes)),
        "warps": tile.warps,
        "stages": tile.stages,
        "constants": " ".join(f"{name.lower()}={int(value)}" for name, value in configuration.constants.items()),
    }


def problems(row: dict[str, Any]) -> list[str]:
    """What of a compiled configuration is not as it must be; empty where all is well."""
    limit = SHARED_KIB[row["capability"]]
    found = [f"spills {row['spill_bytes']} bytes"] if row["spill_bytes"] else []
    if row["shared_kib"] > limit:
        found.append(f"takes {row['shared_kib']} KiB of shared memory, of which there are {limit}")
    if not row["matrix"] and row["kernel"] != "pair_products":  # which reads more than it computes
        found.append("uses no matrix unit")
    if row["kernel"] == "group_maxima" and row["capability"] == 90 and row["tile"].startswith("128x256") and row["shuffles"]:
        found.append(f"shuffles {row['shuffles']} times, where a group's maximum lies within one thread")
    return found


def write_table(rows: list[dict[str, Any]], path: Path) -> Path:
    """Keep compiled configurations as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return atomic_write_text(path, text.getvalue())


def _signature(configuration: Configuration, names: list[str]) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any]]:
    """Types, compile-time values and alignments of the arguments, as a launch on large aligned tensors would give them."""
    tile, dtype = configuration.tile, configuration.dtype
    constants = {
        "BLOCK_Q": tile.query,
        "BLOCK_G": tile.gallery,
        "BLOCK_D": tile.dim,
        "KIND": "integer" if dtype == "i8" else "float",
        **configuration.constants,
    }
    constants |= {"TMA": configuration.bulk, "SWAP": tile.swap}
    constants = {name: value for name, value in constants.items() if name in names}
    blocks = {"query": tile.query, "gallery": tile.gallery}
    signature, attributes = {}, {}
    for place, name in enumerate(names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in blocks and configuration.bulk:
            signature[name] = f"tensordesc<{dtype}[{blocks[name]},{tile.dim}]>"
        elif name in blocks or name.endswith("_ptr"):
            whole = "key" in name or name in ("above_ptr", "entries_ptr", "list_ptr")
            signature[name] = f"*{dtype}" if name in blocks else "*i64" if name == "row_ptr" else "*i32" if whole else "*fp32"
            attributes[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i32"
            if name in _ALIGNED:
                attributes[(place,)] = [["tt.divisibility", 16]]
    return signature, constants, attributes


def _disassemble(cubin: bytes) -> tuple[dict[str, str], str]:
    """Resources and instructions of a compiled kernel."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        usage, code = (
            subprocess.run([tool, *options, str(path)], capture_output=True, text=True, check=True).stdout
            for tool, options in ((knobs.nvidia.cuobjdump.path, ["-res-usage"]), (knobs.nvidia.nvdisasm.path, []))
        )
    return dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)), code


def main(arguments: list[str] | None = None) -> int:
    """Compile all, print a table, keep it with --out; 1 if any configuration is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m cirlib.kernels.compile_gate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    parser.add_argument("--capability", type=int, action="append", choices=CAPABILITIES, help="only this one (may be repeated)")
    parser.add_argument("--first", action="store_true", help="only the first configuration")
    args = parser.parse_args(arguments)
    rows, failed = [], 0
    for capability in args.capability or CAPABILITIES:
        for configuration in itertools.islice(configurations(capability), 1 if args.first else None):
            rows.append(row := compile_one(configuration))
            found = problems(row)
            failed += bool(found)
            numbers = f"{row['registers']:>4} registers {row['shared_kib']:>4} KiB {row['shuffles']:>4} shuffles  {row['matrix']:<8}"
            what = f"{row['kernel']:<15}{row['dtype']:<5}{row['copy']:<9}{row['tile']:<12} {row['constants']}"
            print(f"sm_{capability:<4}{numbers}{what}" + "".join(f"; {text}" for text in found), flush=True)
    if args.out:
        write_table(rows, args.out)
    print(f"{len(rows)} configurations, {failed} not as they must be")
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
