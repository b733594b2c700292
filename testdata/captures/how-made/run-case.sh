#!/bin/bash
# usage: run-case.sh NAME  with env KVER(612|61) FW(bios|ovmf) DEV(tis|crb|none) APPEND SCEN POL BANKS AKS ACCEL
B=${IMA_LAB:?set IMA_LAB to an empty work folder}; N=$1; C=$B/captures/$N; W=$B/scratch/$N
: ${KVER:=612} ${FW:=ovmf} ${DEV:=tis} ${BANKS:=sha1,sha256} ${AKS:=rsa,ecc} ${ACCEL:=tcg} ${SMP:=1} ${MEM:=768}
[ -n "$KEEPSTATE" ] || rm -rf $W; rm -rf $C; mkdir -p $C $W
case $KVER in 612) k=linux-image-6.12.117+deb13-cloud-amd64; v=6.12.117+deb13-cloud-amd64;; 61) k=linux-image-6.1.0-56-cloud-amd64; v=6.1.0-56-cloud-amd64;; esac
KERNEL=$B/k/$k/boot/vmlinuz-$v; INITRD=$B/initrd-$k.cpio
NONCE=$(printf '%s' "nonce1:$N" | sha1sum | cut -c1-40); NONCE2=$(printf '%s' "nonce2:$N" | sha1sum | cut -c1-40)
t0=$(date +%s.%N)
if [ $DEV != none ]; then
 mkdir -p $W/tpm $B/ca
 cat > $B/ca/localca.conf <<C
statedir = $B/ca
signingkey = $B/ca/signkey.pem
issuercert = $B/ca/issuercert.pem
certserial = $B/ca/certserial
C
 printf -- '--platform-manufacturer QEMU\n--platform-version 2.1\n--platform-model QEMU\n' > $B/ca/localca.options
 cat > $B/ca/setup.conf <<C
create_certs_tool= /usr/bin/swtpm_localca
create_certs_tool_config = $B/ca/localca.conf
create_certs_tool_options = $B/ca/localca.options
C
 if [ -z "$KEEPSTATE" ] || [ ! -e $W/tpm/tpm2-00.permall ]; then
 swtpm_setup --tpm2 --tpmstate $W/tpm --config $B/ca/setup.conf --create-ek-cert --create-platform-cert --lock-nvram --pcr-banks $BANKS --overwrite >$W/swtpm_setup.log 2>&1 || { echo "swtpm_setup failed"; tail -3 $W/swtpm_setup.log; exit 1; }
 fi
 swtpm socket --tpm2 --tpmstate dir=$W/tpm --ctrl type=unixio,path=$W/sock --terminate --pid file=$W/swtpm.pid >$W/swtpm.log 2>&1 &
 for i in 1 2 3 4 5 6 7 8 9 10; do [ -S $W/sock ] && break; sleep 0.1; done
 TPM="-chardev socket,id=chrtpm,path=$W/sock -tpmdev emulator,id=tpm0,chardev=chrtpm -device tpm-$DEV,tpmdev=tpm0"
fi
t1=$(date +%s.%N)
truncate -s 0 $W/out.raw; truncate -s 48M $W/out.raw
if [ $FW = ovmf ]; then cp /usr/share/OVMF/OVMF_VARS_4M.fd $W/vars.fd; FWA="-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive if=pflash,format=raw,unit=1,file=$W/vars.fd"; fi
[ $ACCEL = kvm ] && CPU="host,-arch-capabilities" || CPU=max
CMDLINE="console=ttyS0 quiet panic=-1 $APPEND cap.nonce=$NONCE cap.nonce2=$NONCE2 cap.scen=$SCEN cap.banks=$BANKS cap.aks=$AKS${POL:+ cap.pol=$POL}"
timeout ${TMO:-240} qemu-system-x86_64 -accel $ACCEL -cpu $CPU -machine q35 -smp $SMP -m $MEM -nodefaults -display none -serial file:$W/serial.log -no-reboot $FWA $TPM \
 -drive if=none,id=d0,format=raw,file=$B/rootfs.ext4,snapshot=on -device virtio-blk-pci,drive=d0 \
 -drive if=none,id=d1,format=raw,file=$W/out.raw,cache=unsafe -device virtio-blk-pci,drive=d1 \
 -kernel $KERNEL -initrd $INITRD -append "$CMDLINE" >$W/qemu.log 2>&1
rc=$?; t2=$(date +%s.%N)
tar xf $W/out.raw -C $C 2>/dev/null
cat > $C/meta.txt <<M
case=$N
kernel=$v
firmware=$FW
tpm_device=$DEV
pcr_banks=$BANKS
aks=$AKS
cmdline=$CMDLINE
scenario=$SCEN
policy_file=$POL
nonce_q1=$NONCE
nonce_q2_q3=$NONCE2
accel=$ACCEL
host_seconds_swtpm_setup=$(echo "$t1-$t0" | bc)
host_seconds_boot_to_poweroff=$(echo "$t2-$t1" | bc)
qemu_rc=$rc
M
echo "$N: rc=$rc setup=$(echo "$t1-$t0"|bc) run=$(echo "$t2-$t1"|bc) $(grep -a CAP-DONE $W/serial.log) $(grep -c . $C/q1/ascii_runtime_measurements 2>/dev/null) lines"
[ -n "$KEEPSTATE" ] || rm -f $W/out.raw
