"""A driver in a process of its own with planted results: ``other_driver.py MATRIX FOLDER BEGINNING...``.

At each line that has one of these beginnings it prints the line, and goes on when a line comes back.
"""

import sys

from bench_harness import Planted

from fdiv_gym.bench import driver


def report(line):
    if line.startswith(tuple(sys.argv[3:])):
        print(line, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    driver.execute = Planted()
    driver.run_bench(sys.argv[1], sys.argv[2], report=report)
