#!/bin/sh
# Makes the test keys of this folder anew. The Ed25519 keys come out byte for byte as they are: each seed is the SHA-256
# of a sentence. Other keys have no seed: they are made once, and left alone if they are there.
set -eu
cd "$(dirname "$0")"
umask 077

for name in alice bob carol; do
    seed=$(printf 'goldseal test key of %s' "$name" | sha256sum | cut -c -64)
    # PKCS#8 version 1 (RFC 8410, section 7): this prefix, then the seed.
    printf '302E020100300506032B657004220420%s' "$seed" | tr a-f A-F | basenc --base16 -d >"$name.der"
    openssl pkey -inform DER -in "$name.der" -out "$name.key"
    openssl pkey -in "$name.key" -pubout -out "$name.pub"
    rm "$name.der"
done

# Keys that are to be refused, by the 32 bytes that should be their point (RFC 8032, section 5.1.2).
public() {
    printf '302A300506032B6570032100%s' "$2" | basenc --base16 -d |
        openssl base64 | sed -e '1i-----BEGIN PUBLIC KEY-----' -e '$a-----END PUBLIC KEY-----' >"$1.pub"
}
# Of small order: the neutral element, and a point of order 8.
public weak "01$(printf '%062d' 0)"
public order-8 C7176A703D4DD84FBA3C0B760D10670F2A2053FA2C39CCC64EC7FD7792AC037A
# No point has this y: 2.
public off-curve "02$(printf '%062d' 0)"
# A point, y = 3, of large order, written as 3 plus the field's prime.
public other-spelling "F0$(printf '%060d' 0 | tr 0 F)7F"

[ -e rsa.key ] || openssl genrsa -out rsa.key 2048
openssl pkey -in rsa.key -pubout -out rsa.pub

# Keys of the software TPM of the tests.
[ -e ak-rsa.key ] || openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out ak-rsa.key
[ -e ak-p256.key ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ak-p256.key
[ -e ak-p384.key ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ak-p384.key
for name in ak-rsa ak-p256 ak-p384; do
    openssl pkey -in $name.key -pubout -out $name.pub
done
