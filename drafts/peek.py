"""peek.py OUT.png NAME...: what the checkpoints whitebox_NAME.pt of a running training draw by now, and its measures. One thread.
PYTHONPATH=<checkout>; NAME: long_white-box, long_adversary, all_0, no_texture_0, ... ; "photographs" is drawn from four photographs."""
import sys
import torch
torch.set_num_threads(1)
from stlib import images, metrics, training, world, figures
from stlib.chapters import load_chapter
ch = load_chapter("whitebox")
out, names = sys.argv[1], sys.argv[2:]
contents = world.sample("portraits", range(2_000_000, 2_000_032))
photos, truth = (world.render(contents, s, 64) for s in ("photo", "cartoon"))
parts = ch.anatomy(contents, 64)
rows = [photos[:8], truth[:8]]
print(f"{'':24}", *(f"{m:>9}" for m in ch.MEASURES), "  L1 to truth")
for n, x in (("photographs", photos), ("true cartoons", truth)):
    print(f"{n:24}", *(f"{v:9.4f}" for v in ch.measured(x, parts).values()), f"{(x - truth).abs().mean():9.4f}")
for name in names:
    state = training.load_checkpoint(f"whitebox_{name}")
    if state is None: print(name, "is not there yet"); continue
    w = state["averages"]["G"]["module"]
    width, blocks = w["first.0.weight"].shape[0], sum(k.endswith("inside.0.weight") for k in w)
    G = ch.Generator(width, blocks).eval(); G.load_state_dict(w)
    head = f"{name} @ {state['step']}"
    if name == "photographs":
        x = torch.cat([images.resize(images.picture(n, 192), 192)[..., :192, :192] for n in ("astronaut", "coffee", "chelsea", "tuebingen")])
        images.write(torch.cat([torch.cat([a, b], 1) for a, b in zip(x, ch.cartoonize(G, x, 1))], 2), out.replace(".png", "_photographs.png"), "peek")
        print(head, state["losses"]); continue
    y = ch.cartoonize(G, photos)
    print(f"{head:24}", *(f"{v:9.4f}" for v in ch.measured(y, parts).values()), f"{(y - truth).abs().mean():9.4f}", {k: round(v, 3) for k, v in state["losses"].items()})
    rows.append(y[:8])
sheet = torch.cat([torch.cat(list(r), 2) for r in rows], 1)
images.write(images.resize(sheet[None], 128 * len(rows))[0], out, "peek")
