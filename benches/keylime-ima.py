"""Keylime's own judgement of a measurement list: `keylime-ima.py ASCII-LIST DIGESTS PCR10 ROUNDS`, seconds of processor
time per round on standard output. The list must be accepted. A module `gpg` is not needed for it and stood in for."""

import logging
import sys
import time
import types

sys.modules["gpg"] = types.ModuleType("gpg")
logging.disable(logging.WARNING)

from keylime.common.algorithms import Hash  # noqa: E402
from keylime.ima import ima  # noqa: E402

with open(sys.argv[1], encoding="utf-8") as file:
    lines = file.read().splitlines()
digests = {}
with open(sys.argv[2], encoding="utf-8") as file:
    for line in file:
        digest, path = line.rstrip("\n").split("  ", 1)
        digests.setdefault(path, []).append(digest)
policy = {
    "meta": {"version": 5},
    "release": 0,
    "digests": digests,
    "excludes": [],
    "keyrings": {},
    "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
    "ima-buf": {},
    "verification-keys": "",
}
for _ in range(int(sys.argv[4])):
    start = time.process_time()
    _, failure = ima.process_measurement_list(None, lines, policy, pcrval=sys.argv[3], hash_alg=Hash.SHA256)
    seconds = time.process_time() - start
    if failure:
        sys.exit(f"not accepted: {[event.context for event in failure.events][:3]}")
    print(seconds)
