"""smoke.py NB.ipynb [scale] [--png DIR]: execute a copy of a notebook, print the first error with its traceback's end, save pictures."""
import base64, os, sys, time
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
nb, scale = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 and not sys.argv[2].startswith("-") else "smoke")
os.environ.update(STLIB_SCALE=scale, STLIB_RECORD="")
node = nbformat.read(nb, as_version=4)
t = time.time(); times = []
class C(NotebookClient):
    async def async_execute_cell(self, cell, i, **k):
        s = time.time(); r = await super().async_execute_cell(cell, i, **k); times.append((round(time.time() - s, 1), i, cell.source[:60].replace("\n", " | "))); return r
try:
    C(node, timeout=None, resources={"metadata": {"path": os.path.dirname(os.path.abspath(nb))}}).execute(); print("ok")
except CellExecutionError as e:
    print(str(e)[-3000:])
print(round(time.time() - t), "s; slowest:", sorted(times, reverse=True)[:6])
d = sys.argv[sys.argv.index("--png") + 1] if "--png" in sys.argv else None
for i, c in enumerate(node.cells):
    for o in c.get("outputs", []):
        if o.output_type == "stream" and o.name == "stdout": print(f"[{i}]", o.text[:1500])
        if o.output_type in ("execute_result",): print(f"[{i}]", str(o.data.get("text/plain", ""))[:1500])
        for kind in ("image/png", "image/jpeg"):
            if d and kind in o.get("data", {}):
                os.makedirs(d, exist_ok=True); open(f"{d}/{i:02d}.{kind[6:]}", "wb").write(base64.b64decode(o.data[kind]))
