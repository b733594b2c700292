#!/usr/bin/python3
"""Verifies a sealed whitelist as docs/format.md says, in a second hand: nothing of goldseal is used, only Python and
its `cryptography` (Debian: python3-cryptography).

    verify.py FILE PUB.pem... [--threshold N] [--name NAME] [--min-version N] [--now YYYY-MM-DDThh:mm:ssZ]
    verify.py FILE --trust-root FIRST [NEXT...] [--name NAME] [--min-version N] [--now YYYY-MM-DDThh:mm:ssZ]

Trust is in keys, or in the last of a chain of trust roots whose first you vouch for. No state is kept: T is the clock.
Exit codes and reasons are those of `goldseal verify` (docs/exit-codes.md). Of excludes, rules and provenance only order
and repetition are judged, and that excludes are text; of entries everything is. `cryptography` leaves Ed25519 to
openssl, which takes keys and R of small order, and keys in another encoding: these are refused here."""
import argparse, base64, hashlib, re, sys
from collections import namedtuple
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

HEX_DIGITS = {b"sha1": 40, b"sha256": 64, b"sha384": 96, b"sha512": 128}
WHITELIST, TRUST_ROOT = "application/vnd.goldseal.whitelist.v1", "application/vnd.goldseal.trust-root.v1"
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

def unbase64(text):
    value = base64.b64decode(text)
    need(base64.b64encode(value) == text, "base64 with unused bits that are not zero")
    return value

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
        need(match, "a line of the head is no signature")
        value = unbase64(match[3])
        need(match[1] != b"ed25519" or len(value) == 64, "an Ed25519 signature has 64 bytes")
        need(not signatures or signatures[-1][1] < match[2].decode(), "signatures do not ascend by keyid")
        signatures.append((match[1], match[2].decode(), value))
        need(len(signatures) <= 16, "there are more than 16 signatures")

EVER, NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)

def time(text):
    """A time that has the form of one; None is `never`."""
    try:
        at = datetime(*map(int, re.split(rb"[-T:Z]", text)[:6]), tzinfo=timezone.utc) if text else NEVER
    except ValueError:
        raise Refused("malformed", "a time does not exist") from None
    need(at >= EVER, "a time before 1970")
    return at

# A known key. What is trusted: keys by their ids, thresholds by role and pattern, and what only a root says.
Key = namedtuple("Key", "key name owner roles start until active")
Trust = namedtuple("Trust", "keys thresholds floors revoked name version created expires")

def check_signatures(signed, signatures, keys):
    """Verifying 2a: the known keys that signed. A bad signature of one refuses, whatever that key may sign."""
    need(signatures, "it is not sealed", "unsealed")
    signers = [signature for signature in signatures if signature[1] in keys]
    for algorithm, keyid, value in signers:
        strict = algorithm == b"ed25519" and is_good_point(value[:32]) and int.from_bytes(value[32:], "little") < L
        need(strict, f"the signature of {keyid} is not as it must be", "bad-signature")
        try:
            keys[keyid].key.verify(value, signed)
        except InvalidSignature:
            raise Refused("bad-signature", f"the signature of {keyid} does not fit") from None
    return [keys[keyid] for _, keyid, _ in signers]

def counting(signers, role, now):
    """Verifying 2b: those whose signatures count for a role."""
    return [key for key in signers if key.active and role in key.roles and key.start <= now < key.until]

def need_role(role, threshold, signers, now):
    owners = {key.owner for key in counting(signers, role, now)}
    need(len(owners) >= threshold, f"{len(owners)} of {threshold} owners signed as {role}", "threshold")

def trust_in_keys(pems, threshold):
    """Verifying 2f: each key is its own owner."""
    keys = {keyid: Key(key, keyid, keyid, ["list"], EVER, NEVER, True) for keyid, key in map(read_key, pems)}
    threshold = len(pems) if threshold is None else threshold
    need(len(keys) == len(pems) and 1 <= threshold <= len(keys), "a key twice, or no such threshold", "usage")
    return Trust(keys, {("list", "*"): threshold}, {}, (), None, None, EVER, NEVER)

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
NAME, VERSION, HEX = rb"([a-z0-9][a-z0-9._-]{0,63})", rb"([1-9][0-9]{0,14})", rb"([0-9a-f]{64})"
DOCUMENT = (rb"\nformat: 1\nname: " + NAME + rb"\nversion: " + VERSION + rb"\ncreated: " + TIME +
            rb"\nexpires: (?:never|" + TIME + rb")\n")
SECTION = rb"section: %b (0|[1-9][0-9]{0,9}) sha256:" + HEX + rb"\n"
HEADER = DOCUMENT + rb"file-hash: (sha[0-9a-z,]+)\n" + b"".join(SECTION % name for name, _ in SECTIONS)
ROOT_HEADER = DOCUMENT + SECTION % b"keys"

def parse_header(form, payload):
    """Header, Trust root 2: the match, name, version, created, expires."""
    header = re.fullmatch(form, payload)
    need(header, "the header is not in its one encoding")
    created, expires = time(header[3]), time(header[4])
    need(created < expires, "it expires before it was created")
    return header, header[1].decode(), int(header[2]), created, expires

ROOT_ROLE = "root", "-"
HOLDER = rb"([A-Za-z0-9][A-Za-z0-9@._+-]{0,63})"
STATEMENTS = {
    b"floor": NAME + b" " + VERSION,
    b"key": HEX + rb" ed25519 (" + BASE64 + rb") " + HOLDER + b" " + HOLDER + rb" ([a-z0-9._,-]+) " + TIME +
            rb" (?:never|" + TIME + rb") (active|revoked)",
    b"reset": NAME + b" " + VERSION,
    b"revoke-list": HEX,
    b"role": NAME + rb" (-|\*|" + NAME + rb"\*?) (1[0-6]|[1-9])",
}

def root_key(keyid, spki, name, owner, roles, start, until, status):
    """Trust root 5."""
    der, names, start, until = unbase64(spki), roles.split(b","), time(start), time(until)
    # The SubjectPublicKeyInfo of an Ed25519 key: this, and its point (RFC 8410, section 4).
    point = der.removeprefix(bytes.fromhex("302a300506032b6570032100"))
    need(len(der) == 44 and len(point) == 32 and is_good_point(point), "a key is weak, or none")
    need(hashlib.sha256(der).hexdigest() == keyid.decode(), "a key has another keyid")
    need(all(re.fullmatch(NAME, role) for role in names) and names == sorted(set(names)), "roles are not in order")
    need(start < until, "a key ends before it begins")
    return Key(Ed25519PublicKey.from_public_bytes(point), name.decode(), owner, roles.decode().split(","), start, until,
               status == b"active")

def parse_root(payload, section):
    """Trust root: what it says, whoever signed it."""
    header, *facts = parse_header(ROOT_HEADER, payload)
    need(int(header[5]) <= 1 << 20, "the section is too long")
    need(int(header[5]) == len(section), "its length is not the header's", "tampered")
    need(hashlib.sha256(section).hexdigest() == header[6].decode(), "the section is not as signed", "tampered")
    each_line(section, lambda line: line or None)
    said = {word: {} for word in STATEMENTS}
    for line in section.split(b"\n")[:-1]:
        word, _, rest = line.partition(b" ")
        match = re.fullmatch(STATEMENTS.get(word, b"(?!)"), rest)
        need(match, f"no statement: {line[:200]!r}")
        subject = match[1].decode()
        if word == b"role":
            subject = subject, match[2].decode()
            need((subject[0] == "root") == (subject[1] == "-"), "the role root is for no list, and no other for roots")
        need(subject not in said[word], f"said twice: {line[:200]!r}")
        said[word][subject] = root_key(*match.groups()) if word == b"key" else match[match.lastindex]
    keys, revoked = said[b"key"], said[b"revoke-list"]
    floors, resets, thresholds = ({subject: int(number) for subject, number in said[word].items()}
                                  for word in (b"floor", b"reset", b"role"))
    need(ROOT_ROLE in thresholds, "there is no role root")
    need(len({key.name for key in keys.values()}) == len(keys), "two keys have one name")
    need({role for key in keys.values() for role in key.roles} <= {role for role, _ in thresholds}, "an unknown role")
    for (role, _), threshold in thresholds.items():
        owners = {key.owner for key in keys.values() if key.active and role in key.roles}
        need(threshold <= len(owners), f"the role {role} has too few owners")
    need(all(reset >= floors.get(name, 0) for name, reset in resets.items()), "a reset below its floor")
    return Trust(keys, thresholds, floors, revoked, *facts)

def follow(known, file, now):
    """Chain of roots: the first root, where none is known, or the one after the one that is."""
    kind, payload, signed, signatures, length = parse_head(file[:132097])
    if known:
        need_role("root", known.thresholds[ROOT_ROLE], check_signatures(signed, signatures, known.keys), now)
    need(kind == TRUST_ROOT, f"it is a {kind}", "wrong-type")
    root = parse_root(payload, file[length:])
    if known:
        need(root.name == known.name, f"its name is {root.name}", "wrong-name")
        need(root.version == known.version + 1, f"version {root.version} after {known.version}", "not-next")
    need_role("root", root.thresholds[ROOT_ROLE], check_signatures(signed, signatures, root.keys), now)
    need(root.created - timedelta(hours=24) <= now, f"it was created {root.created}", "from-the-future")
    return root

def trust_in_roots(files, now):
    trust = None
    for number, file in enumerate(files, 1):
        try:
            trust = follow(trust, file, now)
        except Refused as error:
            raise Refused("bad-root", "trust root {}: {}: {}".format(number, *error.args)) from None
    return trust

def check_sections(header, body):
    """Sections, and Entries."""
    algorithms = header[5].split(b",")
    seals = [(int(header[at]), header[at + 1].decode()) for at in (6, 8, 10, 12)]
    need(sum(length for length, _ in seals) == len(body), "its length is not the header's", "tampered")
    cut = [body[sum(length for length, _ in seals[:n]):][:seals[n][0]] for n in range(4)]
    need([hashlib.sha256(section).hexdigest() for section in cut] == [digest for _, digest in seals],
         "a section is not as signed", "tampered")
    each_line(cut[0], lambda line: line or None)
    need(each_line(cut[1], exclude_key) <= 4096, "there are more than 4,096 excludes")
    each_line(cut[2], lambda line: line or None)
    each_line(cut[3], lambda line: entry_key(line, algorithms))

def verify(file, pems, roots, asked):
    """Verifying, steps 1 to 5: (`ok` or `stale`, payload, names of the keys that count)."""
    need(not pems and asked.threshold is None if roots else pems, "trust is in keys or in roots", "usage")
    trust = trust_in_roots(roots, asked.now) if roots else trust_in_keys(pems, asked.threshold)
    kind, payload, signed, signatures, length = parse_head(file[:132097])
    good = check_signatures(signed, signatures, trust.keys)
    lists = [(*role, threshold) for role, threshold in trust.thresholds.items() if role != ROOT_ROLE]
    need(any(counting(good, role, asked.now) for role, *_ in lists), "no signature counts for any list", "threshold")
    need(kind == WHITELIST, f"it is a {kind}", "wrong-type")
    header, name, version, created, expires = parse_header(HEADER, payload)
    algorithms = header[5].split(b",")
    need(algorithms == [known for known in HEX_DIGITS if known in algorithms], "file-hash is not in order")
    need(all(int(header[6 + 2 * n]) <= most for n, (_, most) in enumerate(SECTIONS)), "a section is too long")
    roles = [(role, threshold) for role, pattern, threshold in lists if fnmatchcase(name, pattern)]
    need(roles, f"no role is for lists named {name}", "no-role")
    for role, threshold in roles:
        need_role(role, threshold, good, asked.now)
    need(hashlib.sha256(signed).hexdigest() not in trust.revoked, "the trust root revokes this list", "revoked-list")
    need(asked.name in (None, name), f"its name is {name}", "wrong-name")
    floor = max(asked.min_version or 0, trust.floors.get(name, 0))
    need(version >= floor, f"its version is {version}, below {floor}", "below-floor")
    need(created - timedelta(hours=24) <= asked.now, f"it was created {created}", "from-the-future")
    check_sections(header, file[length:])
    signers = dict.fromkeys(key.name for role, _ in roles for key in counting(good, role, asked.now))
    return "stale" if asked.now >= min(expires, trust.expires) else "ok", payload, signers

def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    for name, options in [("file", {}), ("keys", {"nargs": "*"}), ("--trust-root", {"nargs": "+", "default": []}),
                          ("--threshold", {"type": int}), ("--name", {}), ("--min-version", {"type": int}),
                          ("--now", {"type": lambda text: time(text.encode())})]:
        parser.add_argument(name, **options)
    asked = parser.parse_args()
    asked.now = asked.now or datetime.now(timezone.utc)
    try:
        file, *keys = [open(path, "rb").read() for path in (asked.file, *asked.keys)]
        roots = [open(path, "rb").read() for path in asked.trust_root]
        reason, payload, signers = verify(file, keys, roots, asked)
    except (Refused, OSError) as error:
        reason, what = error.args if isinstance(error, Refused) else ("unreadable", error)
        print(f"NOT VERIFIED: {reason}: {what}", file=sys.stderr)
        return {"usage": 2, "unreadable": 3, "bad-key": 3, "bad-root": 3}.get(reason, 1)
    print(f"{'VERIFIED' if reason == 'ok' else 'STALE'}: signed by {' '.join(signers)}{payload.decode()}", end="")
    return 4 if reason == "stale" else 0

if __name__ == "__main__":
    sys.exit(main())
