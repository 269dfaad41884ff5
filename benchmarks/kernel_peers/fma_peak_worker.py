"""Measures the peak of fused multiply-adds on registers: `fma_peak_worker.py THREADS`, all threads at once.

Commands and replies are JSON lines, as in `worker_io.py`: `hello` tells the instruction set, or that there
are no compiled kernels; `peak` tells the GFLOP/s of float32 over 20 ms.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from gatestack.kernels.library import find

SECONDS = 0.02

if __name__ == "__main__":
    library, threads = find(), int(sys.argv[1])
    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            if json.loads(line)["do"] == "hello":
                reply: dict[str, object] = {"isa": library and library.isa, "isas": library and library.isas}
            elif library is None:
                reply = {"gflops": None}
            else:
                # The calls release Python's lock, so the threads run at the same time.
                rates = [pool.submit(library.peak_gflops, seconds=SECONDS) for _ in range(threads)]
                reply = {"gflops": sum(rate.result() for rate in rates)}
            print(json.dumps(reply), flush=True)
