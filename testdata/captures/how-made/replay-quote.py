#!/usr/bin/env python3
"""Replays a kernel IMA list that was taken WITHOUT a TPM into a fresh swtpm (PCR 10, sha1+sha256) and quotes it.
   usage: replay-quote.py LISTDIR OUTDIR big|little   (loopback TCP ports 42321/42322)"""
import sys,os,struct,hashlib,subprocess,time,shutil
src,out,endian=sys.argv[1:4]; e='>' if endian=='big' else '<'
raw=open(src+'/binary_runtime_measurements','rb').read(); o=0; ents=[]
while o<len(raw):
    pcr,=struct.unpack_from(e+'I',raw,o);o+=4;dg=raw[o:o+20];o+=20
    nl,=struct.unpack_from(e+'I',raw,o);o+=4;name=raw[o:o+nl];o+=nl
    if name==b'ima':
        f=raw[o:o+20];o+=20;l,=struct.unpack_from(e+'I',raw,o);o+=4;fn=raw[o:o+l];o+=l;td=f+fn.ljust(256,b'\0')
    else:
        tl,=struct.unpack_from(e+'I',raw,o);o+=4;td=raw[o:o+tl];o+=tl
    ents.append((pcr,dg,td))
W=__import__('os').environ['IMA_LAB']+'/scratch/replay'; shutil.rmtree(W,ignore_errors=True); os.makedirs(W); os.makedirs(out+'/q1',exist_ok=True)
sw=subprocess.Popen(['swtpm','socket','--tpm2','--tpmstate','dir='+W,'--server','type=tcp,port=42321,bindaddr=127.0.0.1','--ctrl','type=tcp,port=42322,bindaddr=127.0.0.1','--flags','not-need-init,startup-clear'])
time.sleep(0.5)
env=dict(os.environ,TPM2TOOLS_TCTI='swtpm:host=127.0.0.1,port=42321')
def t(*a): subprocess.run(a,env=env,check=True,stdout=subprocess.DEVNULL); 
try:
    for pcr,dg,td in ents:
        v=dg==b'\0'*20
        t('tpm2_pcrextend','%d:sha1=%s,sha256=%s'%(pcr,'ff'*20 if v else hashlib.sha1(td).hexdigest(),'ff'*32 if v else hashlib.sha256(td).hexdigest()))
    nonce=hashlib.sha1(('nonce1:'+os.path.basename(out.rstrip('/'))).encode()).hexdigest()
    for n,ek,ak,s in(('rsa','rsa','rsa','rsassa'),('ecc','ecc','ecc','ecdsa')):
        t('tpm2_createek','-Q','-c',W+'/ek.ctx','-G',ek,'-u',out+'/ek-%s.tpm2b'%n); t('tpm2_flushcontext','-t')
        t('tpm2_createak','-Q','-C',W+'/ek.ctx','-c',W+'/ak.ctx','-G',ak,'-s',s,'-g','sha256','-u',out+'/ak-%s.tpm2b'%n,'-n',out+'/ak-%s.name'%n); t('tpm2_flushcontext','-t')
        t('tpm2_readpublic','-Q','-c',W+'/ak.ctx','-f','pem','-o',out+'/ak-%s.pem'%n); t('tpm2_flushcontext','-t')
        b=out+'/q1/quote-%s-all'%n
        t('tpm2_quote','-Q','-c',W+'/ak.ctx','-l','sha1:0,1,2,3,4,5,6,7,8,9,10+sha256:0,1,2,3,4,5,6,7,8,9,10','-q',nonce,'-g','sha256','-m',b+'.msg','-s',b+'.sig','-o',b+'.pcrs'); t('tpm2_flushcontext','-t')
    open(out+'/q1/nonce.hex','w').write(nonce+'\n')
    open(out+'/q1/pcrs.yaml','w').write(subprocess.run(['tpm2_pcrread','sha1:all+sha256:all'],env=env,check=True,capture_output=True,text=True).stdout)
finally:
    sw.terminate(); sw.wait()
for f in os.listdir(src):
    d=out+'/q1/' if 'measurements' in f or f=='violations' else out+'/'
    shutil.copy(src+'/'+f,d+{'runtime_measurements_count':'count','cmdline':'proc-cmdline','version':'proc-version'}.get(f,f))
os.system("chmod -R a+rX "+out)
for f in ('violations','count'): pass
r=subprocess.run(['tpm2_checkquote','-u',out+'/ak-rsa.pem','-m',out+'/q1/quote-rsa-all.msg','-s',out+'/q1/quote-rsa-all.sig','-f',out+'/q1/quote-rsa-all.pcrs','-g','sha256','-q',nonce],capture_output=True)
r2=subprocess.run(['tpm2_checkquote','-u',out+'/ak-ecc.pem','-m',out+'/q1/quote-ecc-all.msg','-s',out+'/q1/quote-ecc-all.sig','-f',out+'/q1/quote-ecc-all.pcrs','-g','sha256','-q',nonce],capture_output=True)
open(out+'/verify.txt','w').write('entries=%d endian=%s tpm2_checkquote rsa rc=%d ecc rc=%d (PCR10 was filled by replay on the host, PCR 0-9 are zero)\n'%(len(ents),endian,r.returncode,r2.returncode))
print(out,len(ents),'entries, checkquote rc',r.returncode,r2.returncode)
