"""pilot.py STEPS NAME FOLDER [key=value ...]: the training on six styles alone, with sheets on the way. One thread; PYTHONPATH=<checkout>."""
import sys, time, torch
torch.set_num_threads(1)
from stlib import images, world, metrics
from stlib.chapters import load_chapter
ch=load_chapter("stargan")
steps, name, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
PLAN = dict(size=64, code=32, latent=16, hidden=64, width=16, cap=64, critic=(16, 96), batch=8, rate=7e-4, decay=1e-4)
PLAN |= dict(style=1.0, diversity=1.0, cycle=1.0, fade=steps, r1=1.0, r1_every=4, half_life=2000, steps=steps)
for kv in sys.argv[4:]:
    k,v=kv.split("="); PLAN[k]=float(v) if "." in v or "e" in v else int(v)
STYLES=world.STYLES
sets=ch.style_sets(STYLES, 1500)
contents=world.sample("portraits", range(2_000_000,2_000_006)); photos=world.render(contents,"photo",64)
refs={s: world.render(world.sample("portraits", range(2_100_000,2_100_001)), s, 64) for s in STYLES}
t=time.time()
for run,n in ch.train("sgpilot_"+name, sets, PLAN, resume=True):
    if run.step in (100,250) or run.step%500==0:
        now=ch.averaged(run); rows=[photos]
        for i,s in enumerate(STYLES[1:],1):
            rows.append(ch.translate(now, photos, ch.from_latents(now,i,6)))
            rows.append(ch.translate(now, photos, ch.from_pictures(now,i,refs[s])))
        sheet=torch.cat([torch.cat(list(r),2) for r in rows],1)
        images.write(images.resize(sheet[None], 96*len(rows))[0], f"{out}/{name}_{run.step}.png","pilot")
        print(run.step, f"{(time.time()-t)/60:.1f} min", {k: round(float(v),3) for k,v in run.losses.items()}, flush=True)
