import json,sys
def edit(path, pairs):
    raw=json.load(open(path))
    done=set()
    for c in raw['cells']:
        s="".join(c['source'])
        for k,(a,b) in enumerate(pairs):
            if a in s: s=s.replace(a,b); done.add(k)
        c['source']=s.splitlines(keepends=True)
    for k,(a,b) in enumerate(pairs):
        if k not in done: print("NOT FOUND:",a[:90])
    from stlib import chapters
    chapters.write(__import__('pathlib').Path(path), {**raw, 'cells':[{**c,'source':"".join(c['source'])} for c in raw['cells']]})
