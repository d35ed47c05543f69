"""A table of graph indexes at equal recall: `python asv_bench/benchmarks/vector_peers.py --help`.

Every library builds and answers in a process of its own, so that its memory is its own. All answer all queries at each
effort in five interleaved rounds: one by one, in one call, and in one call with two threads. Figures are medians,
interpolated at recall@10 of 0.95 and 0.99; those of processor time stand beside those of the clock, since machines are
shared. Not a suite of asv: it compares where that tool only times.
"""

import argparse
import importlib
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from _vector_libraries import LIBRARIES, K, embeddings, nearest

ROUNDS = 5
EFFORTS = (10, 13, 16, 20, 24, 32, 40, 50, 64, 80, 100, 130, 170)
WAYS = ("one by one", "in one call", "two threads")
TARGETS = (0.95, 0.99)


def resident():
    """Return bytes, counted page by page: the quick figure of the kernel lags behind by megabytes."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))


def answered(index, queries, ef, way):
    if way == "one by one":
        return [index.search(query, ef) for query in queries]
    return index.search_many(queries, ef, 1 if way == "in one call" else 2)


def child(name, count, queries, threads):
    vectors, asked = embeddings(count, queries)
    truth = nearest(vectors, asked)
    try:
        importlib.import_module(LIBRARIES[name].module)  # which is not the memory of the index
    except ImportError:
        return
    index = LIBRARIES[name]()
    before, begin, cpu = resident(), time.perf_counter(), time.process_time()
    index.build(vectors, threads)
    built = [time.perf_counter() - begin, time.process_time() - cpu, (resident() - before) / 1e6]
    sys.stdout.write(json.dumps(built) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        ef, way = json.loads(line)
        begin, cpu = time.perf_counter(), time.process_time()
        found = answered(index, asked, ef, way)
        took, used = time.perf_counter() - begin, time.process_time() - cpu
        same = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth, strict=True))
        sys.stdout.write(json.dumps([same / (len(asked) * K), len(asked) / took, len(asked) / used]) + "\n")
        sys.stdout.flush()


def at_recall(curve, target, figure):
    points = sorted((recall, float(np.median([row[figure] for row in rows]))) for recall, rows in curve)
    recalls = [recall for recall, _ in points]
    return float(np.interp(target, recalls, [speed for _, speed in points])) if recalls[-1] >= target else 0.0


def started(libraries, *sizes):
    children = {}
    for name in libraries:  # one after another: two builds at once would slow each other
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps([name, *sizes])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline()
        if line:
            children[name] = (process, json.loads(line))
            seconds, cpu, megabytes = children[name][1]
            sys.stdout.write(f"{name:12} build {seconds:7.1f} s ({cpu:.1f} s of cpu), {megabytes:.0f} MB\n")
            sys.stdout.flush()
    return children


def main(libraries, *sizes):
    children = started(libraries, *sizes)
    rows = {(name, way, ef): [] for name in children for way in WAYS for ef in EFFORTS}
    for _ in range(ROUNDS):
        for ef in EFFORTS:
            for way in WAYS:
                for name, (process, _) in children.items():
                    process.stdin.write(json.dumps([ef, way]) + "\n")
                    process.stdin.flush()
                    rows[name, way, ef].append(json.loads(process.stdout.readline()))
    for process, _ in children.values():
        process.stdin.close()
        process.wait()
    for way in WAYS:
        sys.stdout.write(f"\n{way}: queries a second (of processor time), and how many times the best peer's\n")
        curves = {name: [(row[0][0], row) for ef in EFFORTS for row in [rows[name, way, ef]]] for name in children}
        for name, curve in curves.items():
            cells = []
            compared = 1 if way == "two threads" else 2
            for target in TARGETS:
                clock, cpu = at_recall(curve, target, 1), at_recall(curve, target, 2)
                peers = [at_recall(curves[peer], target, compared) for peer in curves if "llmspell" not in peer]
                own = at_recall(curve, target, compared)
                ratio = f"{own / max(peers):5.2f} x" if peers and max(peers) > 0 else ""
                cells.append(f"{target}: {clock:7.0f} ({cpu:7.0f}) {ratio}")
            most = max(recall for recall, _ in curve)
            sys.stdout.write(f"{name:12} " + "   ".join(cells) + f"   highest recall {most:.4f}\n")


def options():
    parser = argparse.ArgumentParser(description="Compare graph indexes at equal recall.")
    parser.add_argument("--count", type=int, default=100_000, help="vectors in each index")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1, help="threads that build")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = options()
    if given.child:
        child(*json.loads(given.child))
    else:
        main(given.libraries, given.count, given.queries, given.threads)
