"""unbuild.py NB.ipynb OUT.txt : the reverse of build.py."""
import json, sys
n = json.load(open(sys.argv[1])); t = []
for c in n["cells"]:
    tags = c["metadata"].get("tags", []); ex = c["metadata"].get("exercise")
    head = " ".join(["md" if c["cell_type"] == "markdown" else "code", *tags, *([f"exercise={ex}"] if ex else [])])
    body = "" if {"badge", "setup"} & set(tags) else "".join(c["source"])
    t.append(f"#%% {head}\n{body}\n")
open(sys.argv[2], "w").write("\n".join(t))
