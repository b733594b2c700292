#!/usr/bin/env python3
"""Independent check of one capture: replay lists against quoted PCRs, tpm2_checkquote, evmctl. Prints a summary + writes verify.txt"""
import sys, os, re, struct, hashlib, subprocess, glob
B=__import__('os').environ['IMA_LAB']+''
def u32(b,o): return struct.unpack_from('<I',b,o)[0]
def parse_bin(data, dlen):
    o=0; out=[]
    while o < len(data):
        st=o
        pcr=u32(data,o); o+=4
        dg=data[o:o+dlen]; o+=dlen
        nl=u32(data,o); o+=4
        name=data[o:o+nl]; o+=nl
        if name==b'ima':
            # digest 20 bytes no length prefix, then u32 strlen + name without NUL
            p=o; fdg=data[o:o+20]; o+=20
            fl=u32(data,o); o+=4
            fn=data[o:o+fl]; o+=fl
            td=fdg+fn.ljust(256,b'\0')
            fields=[fdg,fn]
        else:
            tl=u32(data,o); o+=4
            td=data[o:o+tl]; o+=tl
            fields=[]; q=0
            while q<len(td):
                l=u32(td,q); q+=4; fields.append(td[q:q+l]); q+=l
            assert q==len(td),(name,q,len(td))
        out.append(dict(pcr=pcr,digest=dg,name=name,data=td,fields=fields,off=st))
    return out
def pcrs_yaml(f):
    r={}; alg=None
    if not os.path.exists(f): return r
    for l in open(f):
        m=re.match(r'\s+(sha\w+)\s*:',l)
        if m: alg=m.group(1); r[alg]={}; continue
        m=re.match(r'\s+(\d+)\s*:\s*0x([0-9A-Fa-f]+)',l)
        if m: r[alg][int(m.group(1))]=bytes.fromhex(m.group(2))
    return r
ALG={4:'sha1',0xb:'sha256',0xc:'sha384',0xd:'sha512'}
def quote_pcrs(f):
    """tpm2-tools 'serialized' -o file: LE dump of TPML_PCR_SELECTION (132 B), u32 n, n x TPML_DIGEST (532 B)"""
    b=open(f,'rb').read(); n,=struct.unpack_from('<I',b,0); want=[]
    for i in range(n):
        h,sz=struct.unpack_from('<HB',b,4+8*i); sel=b[4+8*i+3:4+8*i+3+sz]
        want+=[(ALG[h],k) for k in range(8*sz) if sel[k//8]>>(k%8)&1]
    m,=struct.unpack_from('<I',b,132); dg=[]
    for j in range(m):
        o=136+532*j; c,=struct.unpack_from('<I',b,o)
        for i in range(c):
            l,=struct.unpack_from('<H',b,o+4+66*i); dg.append(b[o+6+66*i:o+6+66*i+l])
    r={}
    for (a,k),v in zip(want,dg): r.setdefault(a,{})[k]=v
    assert len(want)==len(dg),(f,len(want),len(dg)); return r
def meta(c): return dict(l.rstrip('\n').split('=',1) for l in open(c+'/meta.txt') if '=' in l)
def main(c):
    m=meta(c); res=[]; ok=True
    def p(s): res.append(s)
    p('capture %s  kernel %s fw %s tpm %s'%(m['case'],m['kernel'],m['firmware'],m['tpm_device']))
    for d in sorted(glob.glob(c+'/q*')):
        q=os.path.basename(d); raw=open(d+'/binary_runtime_measurements','rb').read()
        ents=parse_bin(raw,20); pcrs=pcrs_yaml(d+'/pcrs.yaml'); late=False
        if not pcrs and os.path.exists(d+'/quote-rsa-all.pcrs'): pcrs=quote_pcrs(d+'/quote-rsa-all.pcrs'); late=True
        viol=[e for e in ents if e['digest']==b'\0'*20]
        tm={}; 
        for e in ents: tm[e['name'].decode()]=tm.get(e['name'].decode(),0)+1
        pc={}
        for e in ents: pc[e['pcr']]=pc.get(e['pcr'],0)+1
        p('%s: entries=%d count=%s before_quote=%s violations_in_list=%d kernel_violations=%s templates=%s by_pcr=%s ascii_lines=%d'%(q,len(ents),open(d+'/count').read().strip(),open(d+'/count-before-quote').read().strip(),len(viol),open(d+'/violations').read().strip(),tm,pc,open(d+'/ascii_runtime_measurements','rb').read().count(b'\n')))
        # template hash sha1 check
        bad=[e for e in ents if e['digest']!=b'\0'*20 and hashlib.sha1(e['data']).digest()!=e['digest']]
        p('%s: sha1(template_data)==digest for all non-violations: %s'%(q,not bad)); ok&=not bad
        if ents and ents[0]['fields']:
            p('%s: boot_aggregate field=%s'%(q,ents[0]['fields'][0][:40]))
        for alg,bank in pcrs.items():
            H=getattr(hashlib,alg); n=H().digest_size
            for pn in sorted(pc):
                for mode in ('native','pad'):
                    v=b'\0'*n; hit=[]
                    for i,e in enumerate(ents):
                        if e['pcr']!=pn: continue
                        if e['digest']==b'\0'*20: x=b'\xff'*n
                        elif mode=='native': x=H(e['data']).digest()
                        else: x=e['digest'].ljust(n,b'\0')[:n]
                        v=H(v+x).digest()
                        if v==bank.get(pn): hit.append(i+1)
                    if mode=='native': ok&= (not hit) if (m['case']=='tampered-pcr10' and q=='q2') else bool(hit)
                    p('%s: %s PCR%d %s replay=%s.. pcr=%s.. matches_after_entry=%s'%(q,alg,pn,mode,v.hex()[:16],bank.get(pn,b'').hex()[:16],hit))
        if late: # race dump: take from quote prefix
            p('%s: list longer than quote: PCRs above come from the .pcrs file of the quote'%q)
        # algo variants
        for f in sorted(glob.glob(d+'/binary_runtime_measurements_*')):
            a=f.rsplit('_',1)[1]; n=hashlib.new(a).digest_size; es=parse_bin(open(f,'rb').read(),n)
            okv=all(e['data']==f2['data'] and (e['digest']==hashlib.new(a,e['data']).digest() or e['digest']==b'\0'*n) for e,f2 in zip(es,ents)) and len(es)==len(ents)
            p('%s: variant %s entries=%d template-hash=%s(template_data): %s'%(q,a,len(es),a,okv)); ok&=okv
        # boot aggregate
        if pcrs:
            for alg,bank in pcrs.items():
                for r,t in ((8,'0-7'),(10,'0-9')):
                    for ha in ('sha1','sha256','sha384','sha512'):
                        h=hashlib.new(ha,b''.join(bank[i] for i in range(r))).digest()
                        if h in ents[0]['fields'][0]: p('%s: boot_aggregate == %s over %s bank PCR %s'%(q,ha,alg,t))
        # quotes
        for msg in sorted(glob.glob(d+'/*.msg')):
            b=msg[:-4]; ak=os.path.basename(b).split('-')[1]
            g='sha384' if ak in('ecc384','rsa384') else 'sha1' if ak=='rsa1' else 'sha256'
            r=subprocess.run(['tpm2_checkquote','-u',c+'/ak-%s.pem'%ak,'-m',msg,'-s',b+'.sig','-f',b+'.pcrs','-g',g,'-q',open(d+'/nonce.hex').read().strip()],capture_output=True,text=True)
            r2=subprocess.run(['tpm2_checkquote','-u',c+'/ak-%s.pem'%ak,'-m',msg,'-s',b+'.sig','-f',b+'.pcrs','-g',g,'-q','00'*20],capture_output=True,text=True)
            if ak=='rsapss': # tpm2_checkquote 5.4 only knows PKCS#1 v1.5 for RSA: fall back to openssl
                sg=open(b+'.sig','rb').read(); l,=struct.unpack_from('>H',sg,4); sf=__import__('os').environ['IMA_LAB']+'/scratch/pss.sig'; open(sf,'wb').write(sg[6:6+l])
                r3=subprocess.run(['openssl','dgst','-sha256','-verify',c+'/ak-rsapss.pem','-sigopt','rsa_padding_mode:pss','-sigopt','rsa_pss_saltlen:digest','-signature',sf,msg],capture_output=True,text=True)
                nz=bytes.fromhex(open(d+'/nonce.hex').read().strip()) in open(msg,'rb').read()
                p('%s: quote-rsapss-all: tpm2_checkquote 5.4 cannot check RSAPSS (rc=%d); openssl dgst PSS saltlen=digest: %s; nonce present: %s'%(q,r.returncode,r3.stdout.strip(),nz)); ok&= r3.returncode==0 and nz; continue
            p('%s: tpm2_checkquote %s rc=%d (wrong nonce rc=%d) %s'%(q,os.path.basename(b),r.returncode,r2.returncode,r.stderr.strip()[:120])); ok&= r.returncode==0 and r2.returncode!=0
        # evmctl
        if pcrs and not late:
            args=[]
            for alg,bank in pcrs.items():
                if alg not in('sha1','sha256','sha384','sha512'): continue
                fn=__import__('os').environ['IMA_LAB']+'/scratch/pcrs-%s.txt'%alg
                open(fn,'w').write(''.join('PCR-%02d: %s\n'%(i,' '.join('%02X'%x for x in v)) for i,v in sorted(bank.items())))
                args+=['--pcrs','%s,%s'%(alg,fn)]
            for extra,ar in [(x,args[i:i+4]) for i in range(0,len(args),4) for x in ([],['--ignore-violations'])]:
                r=subprocess.run(['evmctl','ima_measurement']+extra+ar+[d+'/binary_runtime_measurements'],capture_output=True,text=True,errors='replace')
                p('%s: evmctl ima_measurement %s[%s] rc=%d %s%s'%(q,' '.join(extra)+(' ' if extra else ''),'+'.join(x.split(',')[0] for x in ar[1::2]),r.returncode,'NOT CHECKED: ' if 'Failed to read any TPM PCRs' in r.stdout+r.stderr else '',' | '.join(x for x in (r.stdout+r.stderr).strip().split('\n') if 'Failed to stat' not in x)[-200:]))
    # firmware event log
    ev=c+'/binary_bios_measurements'
    if os.path.exists(ev) and pcrs_yaml(c+'/q1/pcrs.yaml'):
        r=subprocess.run(['tpm2_eventlog',ev],capture_output=True,text=True,errors='replace')
        n=r.stdout.count('EventNum'); cur=None; elog={}; inp=False
        for l in r.stdout.split('\n'):
            if l.startswith('pcrs:'): inp=True; continue
            if inp:
                m2=re.match(r'\s+(sha\w+):',l)
                if m2: cur=m2.group(1); elog[cur]={}; continue
                m2=re.match(r'\s+(\d+)\s*:\s*0x([0-9a-f]+)',l)
                if m2: elog[cur][int(m2.group(1))]=bytes.fromhex(m2.group(2))
        pcrs=pcrs_yaml(c+'/q1/pcrs.yaml')
        p('eventlog: %d bytes, %d events, rc=%d; %s'%(os.path.getsize(ev),n,r.returncode,'; '.join('%s: %d/%d PCRs match (differ: %s)'%(a,sum(pcrs.get(a,{}).get(i)==v for i,v in e.items()),len(e),[i for i,v in e.items() if pcrs.get(a,{}).get(i)!=v]) for a,e in elog.items())))
    # EK certificate
    crt=c+'/nv-0x01c00002.der'
    if os.path.exists(crt):
        S=B+'/captures/_shared'
        pk=subprocess.run('openssl x509 -inform DER -in %s -pubkey -noout'%crt,shell=True,capture_output=True,text=True).stdout.strip()
        same=pk==open(c+'/ek-rsa.pem').read().strip() if os.path.exists(c+'/ek-rsa.pem') else None
        v=subprocess.run('openssl x509 -inform DER -in %s | openssl verify -ignore_critical -CAfile %s/ek-ca-root.pem -untrusted %s/ek-ca-issuer.pem'%(crt,S,S),shell=True,capture_output=True,text=True)
        p('EK RSA cert NV 0x01c00002: pubkey==createek pub: %s; openssl verify: %s'%(same,(v.stdout+v.stderr).strip().replace('\n',' | ')))
    p('OVERALL %s'%('OK' if ok else 'CHECK'))
    open(c+'/verify.txt','w').write('\n'.join(res)+'\n'); print('\n'.join(res))
for n in sys.argv[1:]: main(n if '/' in n else B+'/captures/'+n)
