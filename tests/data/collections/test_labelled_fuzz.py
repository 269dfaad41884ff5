"""Cut and changed files: each is read, or refused with an error of ours that names the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from labelled_samples import ARFF, RELATIONAL, TS

from gatestack.data.collections import read_labelled
from gatestack.errors import GatestackError

STAMPED = (
    "@timeStamps true\n@missing true\n@classLabel true a b\n@data\n(0,1),(1,?):(0,2),(1,3):a\n(5,1):(5,1):b\n"
)
FILES = {
    "a.ts": TS,
    "stamped.ts": STAMPED,
    "a.arff": ARFF,
    "relational.arff": RELATIONAL,
    "ucr.tsv": "1\t0.5\tNaN\t2\n-1.0\t1\t2\tNaN\n",
    "wide.csv": "label,t0,t1\nup,1,2\ndown,2,\n",
    "long.csv": "case,time,x,y,label\n1,0,1,2,a\n1,1,2,,a\n2,0,5,6,b\n",
}
PIECES = [
    b"", b"\0", b"\xff", b"@data\n", b"?", b":", b",", b"\n", b"\r", b"'", b'"', b"{", b"}", b"(", b")",
    b"\\", b"1e999", b"NaN", b"9" * 400, b"-", b"\t", b"@attribute x relational\n", b"\xe2\x80\xa8",
]  # fmt: skip


def changed(content: bytes, rng: random.Random) -> bytes:
    """Cut a file, or put a piece into it, or take some bytes out, once or twice."""
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(content) + 1)
        content = rng.choice([
            content[:at],
            content[:at] + rng.choice(PIECES) + content[at:],
            content[:at] + content[at + rng.randint(1, 4) :],
            content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :],
        ])  # fmt: skip
    return content


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    path = tmp_path / name
    refused: list[str] = []
    for _ in range(200):
        path.write_bytes(changed(FILES[name].encode(), rng))
        try:
            read_labelled(path)
        except GatestackError as error:
            refused.append(str(error))
    assert len(refused) > 20, "hardly any change was seen"
    assert not [text for text in refused if name not in text]
