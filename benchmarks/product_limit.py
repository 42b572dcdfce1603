"""What the matrix products of a step alone would take: forward and input gradients of every linear map of the layers, on the rows of each
step, by torch's linear. A step cannot be faster by these products; compare_hf.py prints which share of it a whole step reaches.

python benchmarks/product_limit.py MODEL_FOLDER THREADS DTYPE ROWS[,ROWS...]     prints one JSON: seconds of one step, the median of five
"""

import json
import pathlib
import statistics
import sys
import time

import torch
from torch.nn.functional import linear


def main():
    folder, threads, dtype, rows = sys.argv[1:]
    torch.set_num_threads(int(threads))
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    kind = getattr(torch, dtype)
    shapes = [(3 * width, width), (width, width), (inner, width), (width, inner)]
    weights = [torch.randn(shape).mul_(0.02).to(kind) for shape in shapes]
    inputs = {(n, columns): torch.randn(n, columns).to(kind) for n in map(int, rows.split(",")) for columns in (width, 3 * width, inner)}

    def step():
        for n in map(int, rows.split(",")):
            for weight in weights * config["num_hidden_layers"]:
                linear(inputs[n, weight.shape[1]], weight)
                inputs[n, weight.shape[0]].mm(weight)

    step()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        seconds.append((time.perf_counter() - start) / len(rows.split(",")))
    print(json.dumps({"step_seconds": statistics.median(seconds)}))


if __name__ == "__main__":
    main()
