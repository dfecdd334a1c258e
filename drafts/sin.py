import sys; sys.path.insert(0,"")
import torch, time; torch.set_num_threads(1)
from torch import nn
from torch.nn import functional as FF
from core import *
from stlib import images
from stlib.losses import adversarial
from stlib.nets import stylegan2
from stlib.nets.normalization import InstanceNorm
from types import SimpleNamespace
def plain(G):
    for m in G.modules():
        for k,c in m.named_children():
            if isinstance(c,InstanceNorm): setattr(m,k,nn.Identity())
    for m in G.modules():
        if isinstance(m,(nn.Conv2d,nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(m.weight, 0.0, nonlinearity="relu")
            if isinstance(m, nn.ConvTranspose2d): nn.init.normal_(m.weight,0,(2/(m.in_channels*9/4))**.5)
    for b in [m for m in G.model if isinstance(m,resnet.Block)]: b.conv_block[-2].weight.data.mul_(.3)
    G.model[-2].weight.data.mul_(.3)
    return G
def crops(x,count,side,gen,scale_min=.5):
    """random zoom per batch, random places"""
    z=[float(torch.empty(1).uniform_(scale_min,1,generator=gen)) for _ in range(2)]
    h,w=[max(side,int(d*f)) for d,f in zip(x.shape[2:],z)]
    y=FF.interpolate(x,(h,w),mode="bilinear",antialias=True)
    out=[]
    for _ in range(count):
        i=int(torch.randint(h-side+1,(1,),generator=gen)); j=int(torch.randint(w-side+1,(1,),generator=gen))
        c=y[...,i:i+side,j:j+side]
        if torch.rand(1,generator=gen)<.5: c=c.flip(3)
        out.append(c)
    return torch.cat(out).contiguous(memory_format=torch.channels_last)
def main(photo,painting,tag,steps,norm=False,width=16,blocks=3,dch=None,batch=8,lam=4.0,idl=1.0,rate=2e-3,high=192,patches=256,minutes=5):
    a=2*images.picture(photo,high)-1; b=2*images.picture(painting,high)-1
    a,b=a[...,:a.shape[2]//4*4,:a.shape[3]//4*4],b
    torch.manual_seed(0)
    G=resnet.Generator(width,blocks,antialias=True); G=G if norm else plain(G); G=G.to(memory_format=torch.channels_last)
    D=stylegan2.Discriminator(64,dch or {64:16,32:32,16:48,8:64,4:64})
    places=G.taps; F=PatchSampler(G.widths(places),256)
    n=SimpleNamespace(G=G,D=D,F=F)
    og=torch.optim.Adam([*G.parameters(),*F.parameters()],rate,(0.,.99)); od=torch.optim.Adam(D.parameters(),rate,(0.,.99))
    plan=dict(patches=patches,temperature=.07,negatives="batch")
    gen=torch.Generator().manual_seed(0); t=time.time(); ema=training.EMA(G,500)
    ac=lambda: torch.autocast("cpu",torch.bfloat16)
    for s in range(steps):
        x,y=crops(a,batch,64,gen),crops(b,batch,64,gen)
        with ac():
            keys,made=encode_and_draw(G,torch.cat([x,y]),places)
            fake,same=made.chunk(2)
            r,f=D(torch.cat([y,fake.detach()]),parts=2).float().chunk(2)
        ld=adversarial.d_logistic(r,f)
        if s%4==0:
            yy=y.clone().requires_grad_(True); lo=D(yy); ld=ld+ .5*4*adversarial.r1(lo,yy)
        od.zero_grad(); ld.backward(inputs=list(D.parameters())); od.step()
        with ac():
            lg=adversarial.g_logistic(D(fake).float())
            q=G.features(made,places); k=[m.detach() for m in keys]
            c1=contrast(n,[m[:batch] for m in k],[m[:batch] for m in q],plan); c2=contrast(n,[m[batch:] for m in k],[m[batch:] for m in q],plan)
        idt=(same-y).abs().mean()
        loss=lg+lam*.5*(c1+c2)+idl*idt
        ps=[*G.parameters(),*F.parameters()]
        og.zero_grad(); loss.backward(inputs=ps); og.step()
        ema.update(G,batch)
        if (s+1)%100==0 or s+1==steps:
            print(tag,s+1,"%.2f s/step"%((time.time()-t)/(s+1)),*(f"{v.item():.3f}" for v in (ld,lg,c1,c2,idt)),flush=True)
            with torch.no_grad(): out=(ema.module(a.contiguous(memory_format=torch.channels_last))+1)/2
            h=out.shape[2]; bb=(b+1)/2
            images.write(torch.cat([(a+1)/2,out,bb[...,:h,:]],3)[0],f"sin_{tag}.png")
main(*eval(sys.argv[1]),**(eval(sys.argv[2]) if len(sys.argv)>2 else {}))
