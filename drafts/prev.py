import torch,os
torch.set_num_threads(1)
from stlib import metrics,world,images,oracle,backbones
from stlib.chapters import load_chapter
from stlib.nets import resnet
c=load_chapter("cyclegan")
d=torch.load(os.path.expanduser('~/.cache/stlib/training/cyclegan_long.pt'),weights_only=False,map_location='cpu')
print(d['averages'].keys(), {k:round(float(v),3) for k,v in d['losses'].items()})
def net(k,a=True):
    G=resnet.Generator(24,4); s=d['averages'][k] if a else d['modules'][k]
    s=s.get('module',s) if isinstance(s,dict) and 'module' in s else s
    try: G.load_state_dict(s)
    except Exception as e: print(list(s)[:5]); G.load_state_dict({k.replace('module.',''):v for k,v in s.items() if k.startswith('module.')})
    return G.eval()
G=net('G_AB'); B=net('G_BA')
T=metrics.TASKS["portraits photo->sketch"]; con=T.contents(8); ph=world.render(con,"photo",64); tr=world.render(con,"sketch",64)
dr=c.translate(G,ph); back=c.translate(B,dr); bt=c.translate(B,tr); nz=c.translate(B,c.noisy(dr))
images.write(torch.cat([torch.cat(list(r),2) for r in (ph,dr,tr,back,nz,bt)],1),"prev.png")
s=metrics.evaluate(lambda x:c.translate(G,x),T,oracle.load(),backbones.load("worldnet"),count=128); print({k:round(s[k],3) for k in ("content","style_raw","kernel_ratio","perceptual","ssim")})
