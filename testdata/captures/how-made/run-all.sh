#!/bin/bash
# All cases (or ONLY="a b" ...); 20-30 s each under TCG on an idle 2-core machine.
cd "$(dirname "$0")"
T="ima_policy=tcb"
c() { local n=$1; shift; [ -n "$ONLY" ] && [[ ! " $ONLY " == *" $n "* ]] && return; env "$@" ./run-case.sh $n; }
c race-longer-list APPEND="$T ima_template=ima-ng" SCEN=race
c multi-template-pcr11 APPEND="" SCEN=multi,pcr11,signed POL=multi
c evm-sig APPEND="$T ima_template=evm-sig" SCEN=signed
c custom-fmt APPEND="$T ima_template_fmt=d-ng|n-ng|sig|iuid|igid|imode" SCEN=signed
c fmt-d-n APPEND="$T ima_template_fmt=d|n" SCEN=odd,violations
c ramfs-root APPEND="$T ima_template=ima-ng root=/dev/vda" SCEN=nowork
c k61-sig APPEND="$T" SCEN=signed,evil KVER=61
c k61-ng-sha512-fallback APPEND="$T ima_template=ima-ng ima_hash=sha512" SCEN= KVER=61
c sigv2-verity APPEND="ima_template=ima-sigv2" SCEN=signed,verity POL=verity
c bufs APPEND="ima_policy=critical_data" SCEN=bufs,nowork POL=bufs
c ng-incremental APPEND="$T ima_template=ima-ng" SCEN=evil
c sig-signed-crb APPEND="$T ima_template=ima-sig" SCEN=signed DEV=crb
c ngv2 APPEND="$T ima_template=ima-ngv2" SCEN=signed
c ima-legacy-sha1 APPEND="$T ima_template=ima ima_hash=sha1" SCEN=odd,violations
c ng-odd-names APPEND="$T ima_template=ima-ng" SCEN=odd
c sig-violations APPEND="$T ima_template=ima-sig" SCEN=violations,evil
c ng-sha1 APPEND="$T ima_template=ima-ng ima_hash=sha1" SCEN=
c ng-sha384 APPEND="$T ima_template=ima-ng ima_hash=sha384" SCEN=violations
c ng-sha512 APPEND="$T ima_template=ima-ng ima_hash=sha512" SCEN=violations
c critical-boot APPEND="ima_policy=\"tcb|critical_data\"" SCEN=bufs,nowork
c keylime-policy APPEND="ima_template=ima-ng" SCEN=evil POL=keylime,keylime-nolsm
c bios-ng APPEND="$T ima_template=ima-ng" SCEN=evil FW=bios
c banks4-aks APPEND="$T ima_template=ima-ng" SCEN=violations BANKS=sha1,sha256,sha384,sha512 AKS=rsa,ecc,rsapss,rsa384,ecc384,rsa1
c bank-sha256-only APPEND="$T ima_template=ima-ng" SCEN= BANKS=sha256
c bank-sha1-only APPEND="$T ima_template=ima-ng" SCEN= BANKS=sha1
c bank-sha384-only APPEND="$T ima_template=ima-ng" SCEN=violations BANKS=sha384
c no-tpm APPEND="$T ima_template=ima-ng" SCEN= DEV=none
c tampered-pcr10 APPEND="$T ima_template=ima-ng" SCEN=nowork,tamper FW=bios
c big-5000 APPEND="$T ima_template=ima-ng" SCEN=big,evil FW=bios AKS=rsa
c reboot-1 APPEND="$T ima_template=ima-ng" SCEN=nowork,persist AKS=rsa KEEPSTATE=1
if [ -z "$ONLY" ] || [[ " $ONLY " == *" reboot-2 "* ]]; then rm -rf ../scratch/reboot-2; cp -r ../scratch/reboot-1 ../scratch/reboot-2; rm -f ../scratch/reboot-2/{sock,out.raw,serial.log}; c reboot-2 APPEND="$T ima_template=ima-ng" SCEN=nowork,persist AKS=rsa KEEPSTATE=1; fi
echo ALL-DONE
