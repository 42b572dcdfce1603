"""Buckets of the position bias against those of transformers' T5."""

import json
import random
import subprocess

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from conftest import BIN  # noqa: E402


def test_buckets_are_those_of_transformers():
    from transformers.models.t5.modeling_t5 import T5Attention

    rng = random.Random(5)
    cases = [{"first": -600, "last": 600, "bidirectional": b, "buckets": 32, "max_distance": 128} for b in (True, False)]
    for _ in range(200):
        buckets = 4 * rng.randint(1, 64)
        cases.append({"first": -rng.randint(0, 2000), "last": rng.randint(0, 2000), "bidirectional": rng.random() < 0.5,
                      "buckets": buckets, "max_distance": buckets + rng.randint(1, 1000)})  # fmt: skip
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    answers = subprocess.run([BIN / "test-relative-buckets"], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    for case, answer in zip(cases, answers, strict=True):
        distance = torch.arange(case["first"], case["last"] + 1)
        expected = T5Attention._relative_position_bucket(
            distance, bidirectional=case["bidirectional"], num_buckets=case["buckets"], max_distance=case["max_distance"]
        )
        assert json.loads(answer) == expected.tolist(), case
