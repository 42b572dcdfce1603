#!/usr/bin/env python3
"""Markdown tables of what scripts/gpu_check or kernel_bench wrote.

    benchmarks/report.py FILE...
"""

import argparse
import json
import pathlib
import sys


def shape_of(case):
    return ", ".join(str(value) if key == "name" else f"{key} {value}" for key, value in case.items() if value not in (0, ""))


def kernel_table(results):
    yield "| kernel | shape | ours, us | % of floor | ratio to | predicted | refused |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        own = result["rows"][0]
        time = f"{own['us_median']:.1f}" if "us_median" in own else "-"
        floor = f"{own['pct_floor']:.0f}" if "pct_floor" in own else "-"
        ratios = ", ".join(f"{impl} {ratio:.2f}" for impl, ratio in result["ratio_vs"].items()) or "-"
        refused = ", ".join(row["impl"] for row in result["rows"] if "refused" in row) or "-"
        yield f"| {result['bench']} | {shape_of(result['case'])} | {time} | {floor} | {ratios} | {result['predicted_ratio']} | {refused} |"


def loss_table(methods):
    places = list(dict.fromkeys(place for row in methods.values() for place in row))
    yield "| method | " + " | ".join(places) + " |"
    yield "|---" * (len(places) + 1) + "|"
    for name, row in methods.items():
        cells = []
        for place in places:
            cell = row.get(place)
            cells.append("-" if cell is None else cell.get("error") or f"{cell['worst_relative_difference']:.1e}{'' if cell['passed'] else ' (too far)'}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def report(file):
    data = json.loads(file.read_text())
    bench = data.get("benchmarks", data)
    yield f"`{file}`: " + ", ".join(f"{key} {data[key]}" for key in ("gpu", "driver", "torch", "date") if key in data)
    if "ceiling" in bench:
        yield f"\nCeilings: copy {bench['ceiling']['copy_TBps']:.2f} TB/s, bfloat16 product {bench['ceiling']['gemm_bf16_TFLOPS']:.0f} TFLOP/s\n"
        yield from kernel_table(bench["results"])
    if "losses" in data:
        yield f"\nLosses of {data['losses']['steps']} steps beside the CPU's in float32, largest relative difference:\n"
        yield from loss_table(data["losses"]["methods"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, nargs="+")
    for file in parser.parse_args().file:
        try:
            print("\n".join(report(file)) + "\n")
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"report: {file}: {error!r} is not what scripts/gpu_check writes" if isinstance(error, KeyError) else f"report: {file}: {error}")


if __name__ == "__main__":
    main()
