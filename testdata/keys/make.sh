#!/bin/sh
# Makes the test keys of this folder anew. The Ed25519 keys come out byte for byte as they are: each seed is the SHA-256
# of a sentence. An RSA key has no seed: it is made once, and left alone if it is there.
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

# A point of small order: the neutral element.
printf '302A300506032B6570032100%064d' 0 | sed 's/^\(.\{24\}\)00/\101/' | basenc --base16 -d |
    openssl base64 | sed -e '1i-----BEGIN PUBLIC KEY-----' -e '$a-----END PUBLIC KEY-----' >weak.pub

[ -e rsa.key ] || openssl genrsa -out rsa.key 2048
openssl pkey -in rsa.key -pubout -out rsa.pub
