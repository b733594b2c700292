#!/usr/bin/python3
"""Prints what docs/verify.py makes of each vector of testdata/vectors, one `NAME OUTCOME` a line, `bad-root` with the
reason; all in one process."""
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("verify", ROOT / "docs/verify.py")
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)


def files(folder, names, extension):
    return [(ROOT / "testdata" / folder / f"{name}.{extension}").read_bytes() for name in names.split()]


for path in sorted((ROOT / "testdata/vectors").glob("*.vector")):
    text, _, file = path.read_bytes().partition(b"\n\n")
    how = dict(line.split(": ", 1) for line in text.decode().split("\n"))
    number = {key: int(how[key]) if key in how else None for key in ("threshold", "min-version")}
    asked = SimpleNamespace(name=how.get("name"), now=verify.time(how["now"].encode()), threshold=number["threshold"],
                            min_version=number["min-version"])
    keys, roots = files("keys", how.get("trust", ""), "pub"), files("vectors/roots", how.get("roots", ""), "root")
    try:
        outcome = verify.verify(file, keys, roots, asked)[0]
    except verify.Refused as refused:
        outcome, what = refused.args
        # `trust root NUMBER: REASON: …`
        outcome += f" {what.split(': ')[1]}" if outcome == "bad-root" else ""
    print(path.stem, outcome)
