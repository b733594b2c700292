#!/usr/bin/python3
"""Verifies a DSSE envelope in JSON as the DSSE protocol, version 1, says, with `cryptography` and nothing of goldseal.

    verify-dsse.py ENVELOPE PUB.pem...

Every key must have signed, by the keyid that is the SHA-256 of its SubjectPublicKeyInfo. Writes the type, LF and the
payload; exit 1 where a signature does not hold."""
import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

envelope = json.load(open(sys.argv[1], encoding="utf-8"))
kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
signatures = {line["keyid"]: base64.b64decode(line["sig"], validate=True) for line in envelope["signatures"]}

for path in sys.argv[2:]:
    key = load_pem_public_key(open(path, "rb").read())
    keyid = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    try:
        key.verify(signatures.get(keyid, b""), signed)
    except InvalidSignature:
        sys.exit(f"{path}: no good signature")
sys.stdout.buffer.write(kind + b"\n" + payload)
