import sys,os
from playwright.sync_api import sync_playwright
base,page,out,mode,width=sys.argv[1:6]
with sync_playwright() as p:
    b=p.chromium.launch(executable_path="/usr/bin/chromium",args=["--no-sandbox"]); pg=b.new_page(viewport={"width":int(width),"height":1000},color_scheme=mode)
    pg.add_init_script(f"localStorage.setItem('mode','{mode}');localStorage.setItem('theme','{mode}')")
    pg.goto(f"file://{base}/{page}"); pg.wait_for_timeout(2500)
    h=pg.evaluate("document.documentElement.scrollHeight"); print(h)
    pg.set_viewport_size({"width":int(width),"height":min(h,16000)}); pg.wait_for_timeout(800)
    pg.screenshot(path=out); b.close()
