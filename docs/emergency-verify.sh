#!/bin/sh
# Verifies a sealed whitelist or a trust root with coreutils and openssl (3.0 or later) alone, as docs/format.md says.
#
#   emergency-verify.sh FILE PUB.pem
#
# Exit 0: the key of PUB.pem signed this header, and every section is as the header says. Exit 1: not so. Exit 2: usage.
# It does not judge time, the version floor, a threshold of several keys, other keys' signatures, or whether the values of
# the header and the lines of the sections are well formed; `goldseal verify` does. openssl takes an R of small order,
# which nobody but the key's holder can make. FILE is read several times: copy it from a medium that can change before you start.
set -eu
LC_ALL=C
export LC_ALL

refuse() {
    printf 'NOT VERIFIED: %s\n' "$1" >&2
    exit 1
}

# A decimal number without leading zero, small enough for the shell's arithmetic.
number() {
    case $1 in
    0) ;;
    '' | 0* | *[!0-9]* | ????????????????*) refuse "\"$1\" is no length" ;;
    esac
}

if [ $# -ne 2 ]; then
    echo "usage: $0 FILE PUB.pem" >&2
    exit 2
fi
file=$1
key=$2
[ -f "$file" ] && [ -r "$file" ] || refuse "cannot read $file"
[ -f "$key" ] && [ -r "$key" ] || refuse "cannot read $key"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key, and its id: SHA-256 of the SubjectPublicKeyInfo.
openssl pkey -pubin -in "$key" -outform DER -out "$work/key.der" 2>"$work/error" || refuse "$key is no public key"
kind=$(openssl pkey -pubin -in "$key" -noout -text_pub | head -n 1)
case $kind in
ED25519*) ;;
*) refuse "$key is no Ed25519 key: $kind" ;;
esac
keyid=$(sha256sum <"$work/key.der" | cut -c -64)

# The signed bytes are the first bytes of the file. Their first line says how many: it ends with a blank, and the LF
# after it is the first of the payload's bytes. (Head: 1,024 bytes, 16 signature lines of at most 8 KiB, one LF.)
head -c 132097 <"$file" >"$work/head"
line=
IFS= read -r line <"$work/head" || refuse "the file has no first line"
case $line in
'DSSEv1 37 application/vnd.goldseal.whitelist.v1 '*)
    what=list
    prefix='DSSEv1 37 application/vnd.goldseal.whitelist.v1 '
    keys='name version created expires file-hash'
    sections='provenance excludes rules entries'
    ;;
'DSSEv1 38 application/vnd.goldseal.trust-root.v1 '*)
    what='trust root'
    prefix='DSSEv1 38 application/vnd.goldseal.trust-root.v1 '
    keys='name version created expires'
    sections=keys
    ;;
*) refuse "the file is no whitelist and no trust root of format 1" ;;
esac
case $line in
*' ') ;;
*) refuse "the first line does not end with a blank" ;;
esac
payload=${line#"$prefix"}
payload=${payload% }
number "$payload"
signed=$((${#line} + payload))
[ "$signed" -le 1024 ] || refuse "the header has $signed bytes, more than 1024"
head -c "$signed" <"$work/head" >"$work/signed"
[ "$(wc -c <"$work/signed")" -eq "$signed" ] || refuse "the file ends within its header"

# The signature lines, up to the empty line.
tail -c "+$((signed + 1))" <"$work/head" >"$work/block"
signature=
others=0
at=$signed
start=
while IFS= read -r line; do
    at=$((at + ${#line} + 1))
    case $line in
    '')
        start=$at
        break
        ;;
    "sig ed25519 $keyid "*) signature=${line##* } ;;
    'sig '*) others=$((others + 1)) ;;
    *) refuse "a line between header and sections is no signature" ;;
    esac
done <"$work/block"
[ -n "$start" ] || refuse "no empty line ends the signatures"
[ -n "$signature" ] || refuse "no signature of key $keyid ($others of other keys)"
[ "$others" -lt 16 ] || refuse "more than 16 signatures"
printf '%s' "$signature" | base64 -d >"$work/signature" 2>"$work/error" || refuse "the signature is no base64"
[ "$(base64 -w 0 <"$work/signature")" = "$signature" ] || refuse "the signature is not written as base64 writes it"
openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/signed" -sigfile "$work/signature" >"$work/error" 2>&1 ||
    refuse "the signature of key $keyid does not fit the header"

# From here on the header is authentic. Its lines, in order; then the sections as it describes them.
next_line() {
    IFS= read -r line || refuse 'the header ends too early'
}
{
    next_line
    next_line
    [ "$line" = 'format: 1' ] || refuse "unknown format: $line"
    for name in $keys; do
        next_line
        case $line in
        "$name: "*) printf '%s\n' "$line" >>"$work/facts" ;;
        *) refuse "the header has no $name where it should" ;;
        esac
    done
    for name in $sections; do
        next_line
        case $line in
        "section: $name "*' sha256:'*) ;;
        *) refuse "the header has no section $name where it should" ;;
        esac
        length=${line#"section: $name "}
        length=${length%% *}
        number "$length"
        digest=$(tail -c "+$((start + 1))" <"$file" | head -c "$length" | sha256sum | cut -c -64)
        [ "$line" = "section: $name $length sha256:$digest" ] || refuse "section $name is not as signed"
        start=$((start + length))
    done
    if IFS= read -r line || [ -n "$line" ]; then refuse "the header has a line too many"; fi
} <"$work/signed"
size=$(wc -c <"$file")
[ "$size" -eq "$start" ] || refuse "the file has $size bytes, signed were $start"

echo "VERIFIED: key $keyid signed this $what, and every byte of it is as signed."
cat "$work/facts"
echo "identity: $(sha256sum <"$work/signed" | cut -c -64)"
echo "Not judged here: whether it has expired, is the newest version, bears enough signatures ($others of other keys), and is well formed."
