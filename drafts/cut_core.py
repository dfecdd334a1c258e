import torch, time, sys
from types import SimpleNamespace
from torch import nn
from stlib import training, world, metrics, oracle, backbones, images, runtime
from stlib.losses.adversarial import d_least_squares, g_least_squares
from stlib.losses.contrastive import patch_nce
from stlib.nets import patchgan, resnet
from stlib.nets.patch_sampler import PatchSampler, draw_positions
from stlib.training import linear_decay, EMA, Run
from stlib.world import datasets
CL=torch.channels_last
def networks(p):
    G=resnet.Generator(p["width"],p["blocks"],init=p.get("init","normal")); D=patchgan.Discriminator(p["critic"],p.get("layers",2))
    taps=p.get("taps") or G.taps
    F=PatchSampler(G.widths(taps),p.get("proj",256))
    return SimpleNamespace(G=G.to(memory_format=CL),D=D.to(memory_format=CL),F=F), taps
def whole(G,x,taps):
    *maps,c=G.features(x,[*taps,len(G.model)-2])
    return G.model[-1](c.float()),maps
def nce(n,keys,x,taps,p):
    B=len(x)
    pos=draw_positions(keys,p.get("patches",256))
    q=n.F(n.G.features(x,taps),pos)
    with torch.no_grad(): k=n.F(keys,pos)
    return torch.stack([patch_nce(a,b,p.get("T",.07),p.get("neg","picture"),"none").mean(1) for a,b in zip(q,k)]).mean(0)
def g_losses(n,a,b,taps,p):
    idt=p["idt"]
    x=torch.cat([a,b]) if idt else a
    y,maps=whole(n.G,x,taps)
    keys=[m.detach() for m in maps]
    fake=y[:len(a)]
    L={"GAN":g_least_squares(n.D(fake))}
    l=p["nce"]*nce(n,keys,y,taps,p)
    if idt: L["NCE"],L["NCE_identity"]=l.chunk(2)[0].mean()/2,l.chunk(2)[1].mean()/2
    else: L["NCE"]=l.mean()
    return L,fake
def step(run,n,a,b,taps,p):
    with run.autocast(): L,fake=g_losses(n,a,b,taps,p)
    tot=sum(L.values())
    ps=[*n.G.parameters(),*n.F.parameters()]
    gs=torch.autograd.grad(tot,ps)
    # D on the made picture, before
    with run.autocast():
        r,f=n.D(torch.cat([b,fake.detach()])).chunk(2); L["D"]=d_least_squares(r,f)
    for q,g in zip(ps,gs): q.grad=g
    run.update("G"); run.update("F"); run.descend("D",L["D"])
    return L
def train(name,photos,sketches,p,steps,seed=0,look=None,every=500,device=None):
    torch.manual_seed(seed); n,taps=networks(p)
    A=lambda m,l=p.get("rate",2e-4): torch.optim.Adam(m.parameters(),l,(p.get("beta",.5),.999))
    opt={"G":A(n.G),"D":A(n.D,p.get("rate_d",p.get("rate",2e-4))),"F":A(n.F)}
    half=steps//2; sch={k:torch.optim.lr_scheduler.LambdaLR(o,lambda t: linear_decay(t,half,steps-half)) for k,o in opt.items()}
    B=p["batch"]
    run=Run(name,vars(n),opt,batch=B,averages={"G":EMA(n.G,p.get("half",1000)*B,.2)},states=sch,seed=seed,steps=steps,fast=True,resume=True,every=3)
    ia,ib=photos.indices(B,2*seed,run.step),sketches.indices(B,2*seed+1,run.step)
    put=lambda s,i:(s.pictures[i].float()/127.5-1).contiguous(memory_format=CL)
    t0=time.process_time(); 
    for _,i,j in zip(run,ia,ib):
        L=step(run,n,put(photos,i),put(sketches,j),taps,p)
        for s in sch.values(): s.step()
        run.after(**L)
        if look and run.step%every==0: look(run,n)
    return run,n
task=metrics.TASKS["portraits photo->sketch"]
@torch.no_grad()
def apply(G,x): return ((G((2*x-1).contiguous(memory_format=CL))+1)/2).clamp(0,1)
def score(G,count=128,arm=""):
    s=metrics.evaluate(lambda x: apply(G,x),task,oracle.load(),backbones.load("worldnet"),count=count,arm=arm)
    return {k:round(s[k],3) for k in ("content","style_raw","kernel_ratio","perceptual","ssim")}
def sheet(G,path,k=12):
    c=task.contents(k); photo=world.render(c,"photo",64); truth=world.render(c,"sketch",64)
    images.write(torch.cat([torch.cat(list(r),2) for r in (photo,apply(G,photo),truth)],1),path,"x")
def look(run,n):
    print(run.step,"%.3f s/step"%(run.seconds/run.step),{k:round(float(v),3) for k,v in run.losses.items()},score(run.averages["G"].module),flush=True)
