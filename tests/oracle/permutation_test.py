"""The permutation behind split policies, k-shot and limits equals torch.randperm on the CPU."""

import os
import pathlib
import random
import subprocess

import pytest

torch = pytest.importorskip("torch")

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
OFFICIAL = [56, 71, 104, 277, 408, 638, 1043, 1500, 3270, 4848, 5463, 67349]  # rows that the dept policy permutes


def test_permutation_equals_torch_randperm():
    rng = random.Random(11)
    cases = [(n, 42) for n in [0, 1, 2, 3, *OFFICIAL]]
    cases += [(rng.randint(2, 3000), seed) for seed in [0, 1, 2**31, 2**32 - 1, 2**32 + 7, *(rng.randrange(2**31) for _ in range(20))]]
    done = subprocess.run([BIN / "test-permutation"], input="".join(f"{n} {seed}\n" for n, seed in cases), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(cases)
    for (n, seed), line in zip(cases, lines, strict=True):
        expected = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
        assert [int(x) for x in line.split()] == expected, (n, seed)
