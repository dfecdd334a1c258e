import torch,os,sys
torch.set_num_threads(1)
from stlib import metrics,world,images,oracle,backbones
from stlib.chapters import load_chapter
from stlib.nets import resnet
c=load_chapter("cyclegan")
def get(f,k):
    d=torch.load(os.path.expanduser(f'~/.cache/stlib/training/{f}.pt'),weights_only=False,map_location='cpu')
    print(f,d["step"],{k:round(float(v),3) for k,v in d['losses'].items()})
    G=resnet.Generator(24,4); s=d['averages'][k]
    try: G.load_state_dict(s.get('module',s))
    except Exception: G.load_state_dict({k.replace('module.',''):v for k,v in s.items() if k.startswith('module.')})
    return G.eval()
T=metrics.TASKS["portraits photo->sketch"]; con=T.contents(6); ph=world.render(con,"photo",64); tr=world.render(con,"sketch",64)
G=get('cyclegan_long','G_AB');B=get('cyclegan_long','G_BA');A=get('cyclegan_alone','G_AB')
dr=c.translate(G,ph); al=c.translate(A,ph); back=c.translate(B,dr); bt=c.translate(B,tr); nz=c.translate(B,c.noisy(dr))
x=torch.cat([torch.cat(list(r),2) for r in (ph,al,dr,tr,back,nz,bt)],1)
images.write(images.resize(x[None],x.shape[1]*2)[0].clamp(0,1),"prev.png")
j,f=oracle.load(),backbones.load("worldnet")
for n,g in (("cycle",G),("alone",A)):
    s=metrics.evaluate(lambda x:c.translate(g,x),T,j,f,count=64); print(n,{k:round(s[k],3) for k in ("content","style_raw","kernel_ratio","perceptual","ssim")})
