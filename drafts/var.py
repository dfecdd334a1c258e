import sys,torch,json
torch.set_num_threads(1)
from types import SimpleNamespace
from torch.optim.lr_scheduler import LambdaLR
from stlib import metrics,world,images,oracle,backbones,training
from stlib.chapters import load_chapter
from stlib.nets import resnet,patchgan
from stlib.world import datasets
tag,cyc,steps=sys.argv[1],float(sys.argv[2]),int(sys.argv[3]); over=eval(sys.argv[4])
c=load_chapter("cyclegan")
PLAN=dict(size=64, width=24, blocks=4, critic=48, layers=2, batch=1, rate=5e-4, pool=50, steps=20_000, half_life=500)|over
def networks(plan, cycle=True):
    n={}
    for name in ("G_AB","D_B","G_BA","D_A") if cycle else ("G_AB","D_B"):
        n[name]=(resnet.Generator(plan["width"],plan["blocks"],antialias=plan.get("aa",False)) if name[0]=="G" else patchgan.Discriminator(plan["critic"],plan["layers"],antialias=plan.get("daa",False))).to(memory_format=torch.channels_last)
    return SimpleNamespace(**n)
c.networks=networks
def descent(n, side, plan):
    ps=[p for name,net in vars(n).items() if name[0]==side for p in net.parameters()]
    o=torch.optim.Adam(ps, plan["rate"]*(plan.get("ttur",1) if side=="D" else 1),(0.5,0.999)); half=plan["steps"]//2
    return o, LambdaLR(o, lambda s: training.linear_decay(s,half,plan["steps"]-half))
c.descent=descent
if "noise" in over:
    old=c.discriminator_losses
A,B=datasets.unpaired("portraits","photo","sketch",4000)
T=metrics.TASKS["portraits photo->sketch"]; con=T.contents(8); ph=world.render(con,"photo",64)
J,F=oracle.load(),backbones.load("worldnet")
W=dict(cycle=cyc,identity=over.get("idw",5.0))
low=0;tot=0
for run,n in c.train("v_"+tag,A,B,PLAN,W,resume=False):
    if run.step%1500==0 and run.step:
        G=run.averages["G_AB"].module
        s=metrics.evaluate(lambda x:c.translate(G,x),T,J,F,count=96)
        h=[r for r in run.history if r["step"]>run.step-1500]
        print(tag,run.step,"%.3f"%(run.seconds/run.step),"D_B %.3f G_AB %.3f min D_B %.3f"%(sum(r["D_B"] for r in h)/len(h),sum(r["G_AB"] for r in h)/len(h),min(r["D_B"] for r in h)),{k:round(s[k],3) for k in ("content","style_raw","kernel_ratio","perceptual")},flush=True)
        images.write(torch.cat([torch.cat(list(r),2) for r in (ph,c.translate(G,ph))],1),f"v_{tag}.png")
    if run.step>=steps: break
