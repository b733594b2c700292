#!/usr/bin/python3
"""Verifies a sealed whitelist as docs/format.md says, in a second hand: nothing of goldseal is used, only Python and
its `cryptography` (Debian: python3-cryptography).

    verify.py FILE PUB.pem... [--threshold N] [--name NAME] [--min-version N] [--now YYYY-MM-DDThh:mm:ssZ]

Exit codes and reasons are those of `goldseal verify` (docs/exit-codes.md). Of excludes, rules and provenance only order
and repetition are judged, and that excludes are text; of entries everything is. `cryptography` leaves Ed25519 to
openssl, which takes keys and R of small order, and keys in another encoding: these are refused here."""
import argparse, base64, hashlib, re, sys
from datetime import datetime, timedelta, timezone

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

HEX_DIGITS = {b"sha1": 40, b"sha256": 64, b"sha384": 96, b"sha512": 128}
SECTIONS = [(b"provenance", 64 << 20), (b"excludes", 64 << 20), (b"rules", 64 << 20), (b"entries", 2**32 - 1)]
# RFC 8032, section 5.1: the field, the order of the group, the curve's d; y of a point of order 8 (the other is -y).
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, Y8 = -121665 * pow(121666, -1, P), 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826

class Refused(ValueError):
    """A reason of docs/exit-codes.md, and what happened."""

def need(condition, what, reason="malformed"):
    if not condition:
        raise Refused(reason, what)

def is_good_point(encoded):
    """In its one encoding, on the curve, not of small order."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    square = pow((y * y - 1) * (D * y * y + 1) % P, (P - 1) // 2, P)
    return y < P and square in (0, 1) and y not in (0, 1, P - 1, Y8, P - Y8)

def read_key(pem):
    """(keyid, key) of a PEM file's bytes."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("bad-key", "it is no public key") from None
    need(isinstance(key, Ed25519PublicKey), "it is not an Ed25519 public key", "bad-key")
    need(is_good_point(key.public_bytes(Encoding.Raw, PublicFormat.Raw)), "it is weak, or no point", "bad-key")
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(), key

BASE64 = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"

def parse_head(head):
    """Head: (type, payload, signed bytes, [(algorithm, keyid, value)], length of the head)."""
    need(head.startswith(b"DSSEv1 "), "it does not begin with `DSSEv1 `")
    at, parts = 7, []
    for end in (b" ", b""):
        length = re.compile(rb"(0|[1-9][0-9]{0,3}) ").match(head, at)
        need(length, "a length in the head is none")
        start, at = length.end(), length.end() + int(length[1])
        need(at <= min(len(head), 1024) and head[at:].startswith(end), "the head is too long, or ends too early")
        parts.append(head[start:at])
        at += len(end)
    kind, signed, signatures = parts[0].decode(errors="replace"), head[:at], []
    need(kind.encode() == parts[0], "the type is not UTF-8")
    while True:
        line, end, _ = head[at:].partition(b"\n")
        need(end and len(line) < 8192, "the head does not end, or a signature line is too long")
        at += len(line) + 1
        if not line:
            return kind, parts[1], signed, signatures, at
        match = re.fullmatch(rb"sig ([a-z0-9-]{1,64}) ([0-9a-f]{64}) (" + BASE64 + rb")", line)
        value = match and base64.b64decode(match[3])
        need(value and base64.b64encode(value) == match[3], "a line of the head is no signature")
        need(match[1] != b"ed25519" or len(value) == 64, "an Ed25519 signature has 64 bytes")
        need(not signatures or signatures[-1][1] < match[2].decode(), "signatures do not ascend by keyid")
        signatures.append((match[1], match[2].decode(), value))
        need(len(signatures) <= 16, "there are more than 16 signatures")

def check_signatures(signed, signatures, keys, threshold):
    """Signatures: the keyids of the trusted keys that signed."""
    need(signatures, "it is not sealed", "unsealed")
    signers = [signature for signature in signatures if signature[1] in keys]
    for algorithm, keyid, value in signers:
        strict = algorithm == b"ed25519" and is_good_point(value[:32]) and int.from_bytes(value[32:], "little") < L
        need(strict, f"the signature of {keyid} is not as it must be", "bad-signature")
        try:
            keys[keyid].verify(value, signed)
        except InvalidSignature:
            raise Refused("bad-signature", f"the signature of {keyid} does not fit") from None
    need(len(signers) >= threshold, f"{len(signers)} of {threshold} signatures", "threshold")
    return [keyid for _, keyid, _ in signers]

def time(text):
    try:
        return datetime(*map(int, re.split(rb"[-T:Z]", text)[:6]), tzinfo=timezone.utc)
    except ValueError:
        raise Refused("malformed", "a time does not exist") from None

def each_line(section, key_of):
    """The number of a section's lines, which ascend strictly by their keys; None is the key of what is no line."""
    need(not section or section.endswith(b"\n"), "a section's last line has no end")
    last = None
    for line in section.split(b"\n")[:-1]:
        key = key_of(line)
        need(key is not None, f"not in its one encoding: {line[:200]!r}")
        need(last is None or last < key, f"not after the line before it: {line[:200]!r}")
        last = key
    return section.count(b"\n")

def entry_key(line, algorithms):
    match = re.fullmatch(rb"(\\?)((?:verity:(sha[0-9]+):)?([0-9a-f]+))  (/.+)", line, re.S)
    mark, digest, verity, digits, written = match.groups() if match else [b""] * 5
    escaped = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
    raw = {spelling: byte for byte, spelling in escaped.items()}
    path = re.sub(rb"\\[nr\\]", lambda match: raw[match[0]], written) if mark else written
    spelled = re.sub(rb"[\\\n\r]", lambda match: escaped[match[0]], path)
    algorithm = next((name for name in algorithms if HEX_DIGITS[name] == len(digits)), None)
    good_digest = algorithm and verity in (None, algorithm) and digits.strip(b"0")
    good_path = (spelled == written and bool(mark) == (path != written) and len(path) <= 4095 and b"\0" not in path
                 and not {b"", b".", b".."} & set(path[1:].split(b"/")))
    return (path, digest) if good_digest and good_path else None

def exclude_key(line):
    good = 0 < len(line) <= 4095 and not set(line) & set(b" \r") and line.decode(errors="replace").encode() == line
    return line if good else None

TIME = rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"
HEADER = re.compile(
    rb"\nformat: 1\nname: ([a-z0-9][a-z0-9._-]{0,63})\nversion: ([1-9][0-9]{0,14})\ncreated: " + TIME +
    rb"\nexpires: (?:never|" + TIME + rb")\nfile-hash: (sha[0-9a-z,]+)\n" +
    b"".join(rb"section: %b (0|[1-9][0-9]{0,9}) sha256:([0-9a-f]{64})\n" % name for name, _ in SECTIONS))

def whitelist(payload, body, asked):
    """Header, Sections: `ok` or `stale`."""
    header = HEADER.fullmatch(payload)
    need(header, "the header is not in its one encoding")
    name, version, algorithms = header[1].decode(), int(header[2]), header[5].split(b",")
    created, expires = time(header[3]), header[4] and time(header[4])
    need(created.year >= 1970 and (not expires or created < expires), "created before 1970, or it expires before that")
    need(algorithms == [known for known in HEX_DIGITS if known in algorithms], "file-hash is not in order")
    seals = [(int(header[at]), header[at + 1].decode()) for at in (6, 8, 10, 12)]
    need(all(length <= most for (length, _), (_, most) in zip(seals, SECTIONS)), "a section is too long")
    need(asked.name in (None, name), f"its name is {name}", "wrong-name")
    need(version >= (asked.min_version or 0), f"its version is {version}", "below-floor")
    need(created - timedelta(hours=24) <= asked.now, f"it was created {created}", "from-the-future")
    need(sum(length for length, _ in seals) == len(body), "its length is not the header's", "tampered")
    cut = [body[sum(length for length, _ in seals[:n]):][:seals[n][0]] for n in range(4)]
    need([hashlib.sha256(section).hexdigest() for section in cut] == [digest for _, digest in seals],
         "a section is not as signed", "tampered")
    each_line(cut[0], lambda line: line or None)
    need(each_line(cut[1], exclude_key) <= 4096, "there are more than 4,096 excludes")
    each_line(cut[2], lambda line: line or None)
    each_line(cut[3], lambda line: entry_key(line, algorithms))
    return "stale" if expires and asked.now >= expires else "ok"

# What may be in the container: each type with the function that judges its payload and what follows the head.
TYPES = {"application/vnd.goldseal.whitelist.v1": whitelist}

def verify(file, pems, asked):
    """Verifying, steps 1 to 5: (`ok` or `stale`, payload, keyids of the trusted signers)."""
    keys = dict(map(read_key, pems))
    threshold = len(pems) if asked.threshold is None else asked.threshold
    need(len(keys) == len(pems) and 1 <= threshold <= len(keys), "a key twice, or no such threshold", "usage")
    kind, payload, signed, signatures, length = parse_head(file[:132097])
    signers = check_signatures(signed, signatures, keys, threshold)
    need(kind in TYPES, f"it is a {kind}", "wrong-type")
    return TYPES[kind](payload, file[length:], asked), payload, signers

def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    for name, options in [("file", {}), ("keys", {"nargs": "+"}), ("--threshold", {"type": int}), ("--name", {}),
                          ("--min-version", {"type": int}), ("--now", {"type": lambda text: time(text.encode())})]:
        parser.add_argument(name, **options)
    asked = parser.parse_args()
    asked.now = asked.now or datetime.now(timezone.utc)
    try:
        files = [open(path, "rb").read() for path in (asked.file, *asked.keys)]
        reason, payload, signers = verify(files[0], files[1:], asked)
    except (Refused, OSError) as error:
        reason, what = error.args if isinstance(error, Refused) else ("unreadable", error)
        print(f"NOT VERIFIED: {reason}: {what}", file=sys.stderr)
        return {"usage": 2, "unreadable": 3, "bad-key": 3}.get(reason, 1)
    print(f"{'VERIFIED' if reason == 'ok' else 'STALE'}: signed by {' '.join(signers)}{payload.decode()}", end="")
    return 4 if reason == "stale" else 0

if __name__ == "__main__":
    sys.exit(main())
