"""MiniRocket and ridge regression on one problem, in an environment that has aeon.

python tser_peer.py GIVEN.npz SEEDS        prints a line of JSON per fit
"""

from __future__ import annotations

import json
import sys
import time

import aeon
import numpy as np
from aeon.regression.convolution_based import MiniRocketRegressor


def main() -> None:
    given = np.load(sys.argv[1])
    # aeon has channels before time
    known, asked = (given[name].transpose(0, 2, 1) for name in ("known", "asked"))
    for seed in range(int(sys.argv[2])):
        started = time.perf_counter()
        model = MiniRocketRegressor(random_state=seed).fit(known, given["numbers"])
        seconds = time.perf_counter() - started
        row = {"model": "MiniRocket (aeon)", "seed": seed, "seconds": seconds}
        row |= {"version": f"aeon {aeon.__version__}", "answers": model.predict(asked).tolist()}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
