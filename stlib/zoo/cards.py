"""Model cards: what a network of the zoo is, how it was made, how to use it, and what it cannot do. Needs no torch.

The numbers come from the record of the training. What no run can measure stands here, in `WORDS`.
"""

from dataclasses import dataclass

from stlib import zoo


@dataclass(frozen=True)
class Words:
    """What a card says beside the record: the data, the lines of Python that load the network, its known limits.

    `shows` says what is to be seen in the picture beside the weights, by someone who has looked at it.
    """

    data: str
    load: str
    limits: str
    shows: str = ""


WORDS = {
    "oracle": Words(
        data="portraits and landscapes of the parametric world, rendered for it alone, a sixth in each style; as the "
        "class *other* noise, plain colours, photographs that ship with scikit-image, and pictures spoilt on purpose",
        load="from stlib import oracle\n\njudge = oracle.load()",
        limits="it sees 64 pixels a side and knows this world only; how well it reads differs by factor and style, see "
        "[how we measure](measuring.md); a pattern that no eye sees may mislead it: nothing is ever trained through it",
    ),
    "worldnet": Words(
        data="portraits and landscapes of the parametric world, a sixth in each style, and other contents than the "
        "oracle's",
        load='from stlib import backbones\n\nnetwork = backbones.load("worldnet")',
        limits="it was made for pictures of this world at 64 pixels; for photographs take a network that has seen "
        "photographs",
    ),
    "stylegan2_portraits": Words(
        data="photographs of the world's portraits, contents 0 to 39,999 of its stream",
        load="from stlib.zoo import stylegan2_portraits\n\nG, D = stylegan2_portraits.load()",
        limits="64 pixels, faces of this world only; where the measured spread is below 1, a factor varies less than "
        "in the data; small features may smear",
        shows="64 portraits of latents that nobody chose, in eight rows: faces of light to dark skin, hair of all "
        "colours and lengths, some with glasses, a beard or tears, before soft coloured backdrops; some cheeks, mouths "
        "and frames of glasses are smeared",
    ),
    "gan_sketches": Words(
        data="the 50 few-shot pencil sketches of the world's portraits and 450 others, or the first 10 of them; the "
        "source is `stylegan2_portraits`",
        load="from stlib import chapters, zoo\n\n"
        'networks = zoo.load("gan_sketches", chapters.load_chapter("gan").three_generators())',
        limits="64 pixels; the two that have seen ten sketches repeat them, which is what they are for",
    ),
    "cyclegan_portraits": Words(
        data="4,000 photographs (contents from 0) and 4,000 pencil sketches (from 1,000,000) of the world's portraits, "
        "unpaired; for the experiment that the record tells of, pen drawings and 10 or 50 sketches",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("cyclegan")\n'
        'about = zoo.record("cyclegan_portraits")\n'
        'nets = zoo.load("cyclegan_portraits", chapter.finished(about["settings"]))\n'
        '# chapter.translate(nets["G_AB"], photographs) draws; "G_BA" leads back, "G_AB_alone" knew no way back',
        limits="64 pixels, faces of this world only; the way back reads from a sketch what this network has hidden in "
        "it, and guesses where there is nothing hidden",
    ),
    "cut_portraits": Words(
        data="4,000 photographs and 4,000 pencil sketches of the world's portraits, of other people in each",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("cut")\n'
        'networks = zoo.load("cut_portraits", chapter.finished(zoo.record("cut_portraits")["settings"]))',
        limits="64 pixels, from photographs of this world to sketches; small features may smear, and strokes may stand "
        "where none belong",
    ),
    "cut_etretat": Words(
        data="a photograph of houses on a river, and Monet's painting of cliffs at Etretat",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("cut")\n'
        'painter = zoo.load("cut_etretat", chapter.painter(zoo.record("cut_etretat")["settings"]))\n'
        "# chapter.whole(painter, photograph) paints",
        limits="made for one photograph; another one it has never seen",
    ),
    "portrait_lines": Words(
        data="4,000 photographs (contents from 0) and 4,000 pen drawings (from 1,000,000) of the world's portraits, of "
        "other people in each",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("portrait")\n'
        'about = zoo.record("portrait_lines")\n'
        'nets = zoo.load("portrait_lines", chapter.finished(about["settings"]))\n'
        '# chapter.translate(nets["G_AB"], photographs) draws in one channel; "G_BA" leads back',
        limits="64 pixels, faces of this world only, one kind of pen; small features may smear, and the way back "
        "returns edges, not colours",
    ),
    "chipgan_portraits": Words(
        data="4,000 photographs and 4,000 ink paintings of the world's portraits, of other people in each; for the "
        "smaller experiment as many of its landscapes; both generators begin as those of `cyclegan_portraits`",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("chipgan")\n'
        'nets = zoo.load("chipgan_portraits", chapter.finished(zoo.record("chipgan_portraits")["settings"]))\n'
        '# chapter.translate(nets["ChipGAN"], photographs) paints; "CycleGAN" was trained without the art\'s losses',
        limits="64 pixels, from photographs of this world to its ink wash, which a formula paints and no hand; small "
        "features may smear",
    ),
    "whitebox_portraits": Words(
        data="4,000 photographs and 4,000 cartoons of the world's portraits, of other people in each; for the "
        "generator of photographs crops of four photographs that ship with scikit-image and scikit-learn, and of the "
        "world's photographs and cartoons, portraits and landscapes",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("whitebox")\n'
        'about = zoo.record("whitebox_portraits")["settings"]\n'
        'nets = zoo.load("whitebox_portraits", chapter.finished(about, about["real"]))\n'
        '# chapter.cartoonize(nets["photographs"], pictures, radius=1); "white-box" and "adversary" at 64 pixels',
        limits="two for 64 pixels and faces of this world only; the one for photographs has seen four real ones, and "
        "cartoons drawn by one program alone",
    ),
    "stargan_portraits": Words(
        data="2,000 portraits of the world in each of its six styles, and 2,000 photographs in each of three moods "
        "(sad, crying, smiling), of other people in each; what its record compares has three of the styles",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("stargan")\n'
        'about = zoo.record("stargan_portraits")\n'
        'nets = zoo.load("stargan_portraits", chapter.finished(about["settings"]))\n'
        '# codes = chapter.from_latents(nets["styles"], domain, count)\n'
        '# chapter.translate(nets["styles"], pictures, codes)',
        limits="64 pixels, faces of this world only, and domains that it was trained on; a code may change colours of "
        "the background or of the clothes, too",
    ),
    "sapgan_landscapes": Words(
        data="2,192 ink paintings of the world's landscapes (contents from 1,000,000), mirrored at random, and their "
        "edges; for the experiment that the record tells of, pencil sketches",
        load='from stlib import chapters, zoo\n\nchapter = chapters.load_chapter("sapgan")\n'
        'about = zoo.record("sapgan_landscapes")["settings"]\n'
        'nets = zoo.load("sapgan_landscapes", chapter.finished(about, about["paint"]))\n'
        '# e = chapter.sample(nets["sketch"], 8, seed=0) are edges, chapter.paint(nets["paint"], e) their paintings',
        limits="64 pixels, ink of this world; PaintGAN takes edges as the chapter's `sketched` computes them, "
        "1 for an edge; small things in made sketches, boats above all, may be smeared",
        shows="Three rows of six pictures of latents that nobody chose: made sketches, hills, shores and trees in dark "
        "lines on white; the same filled with ink; ink paintings made of noise in one go",
    ),
    "adain_decoder": Words(
        data="crops of five photographs that ship with scikit-image and scikit-learn, three paintings, and three "
        "textures painted by code",
        load="from stlib import stylize\n\ndecoder = stylize.adain_decoder()",
        limits="it turns features of SqueezeNet's fire5 into pictures, of no other layer or network; eleven pictures "
        "are few: its chapter measures how paintings fare that it has not seen",
    ),
}


def card(name, folder=zoo.FOLDER):
    """The card of a network as lines of MyST Markdown. Raises ZooError for an unknown name and a damaged record."""
    about = zoo.record(name, folder)
    words = WORDS.get(name, Words("not stated", "", "not stated"))
    training, settings = dict(about["training"]), about["settings"]
    steps, seconds, pictures = (training.pop(key, None) for key in ("steps", "seconds", "pictures"))
    if isinstance(pictures, int):
        seen = f"{pictures:,}"
    else:  # earlier records name them instead
        seen = [f"about {steps * settings['batch']:,}"] if steps and "batch" in settings else []
        seen = ", of ".join(seen + ([listed({"": pictures}).strip()] if pictures else []))
    script = zoo.recipe_of(about["chapter"])
    facts = {
        "Made by": f"the script `{script.module}`" if script else f"the chapter `{about['chapter']}`, at scale `zoo`",
        "Data": training.pop("data", words.data),
        "Steps": f"{steps:,}" if steps else "",
        "Pictures": seen,
        "Time": f"{seconds / 60:,.0f} minutes" if seconds else "",
        "Machine": about["device"] + (f" ({training.pop('device')})" if "device" in training else ""),
        "Versions": listed(about["versions"]),
        "Settings": listed(settings),
        "Measured": listed(training),
        "Size": f"{about['parameters']:,} parameters, {about['bytes'] / 1e6:.2f} MB",
        "Limits": words.limits,
        "Licence": about["licence"],
        "Date": about["date"],
    }
    lines = [f"**{name}**: {about['description'].rstrip('.')}."]
    for term, fact in facts.items():
        lines += ["", term, f": {fact}"] if fact else []
    again = name if script else about["chapter"]
    load = words.load or f'from stlib import zoo\n\nzoo.load("{name}", module)'
    lines += ["", "```python", *load.splitlines(), "```", "", "```bash", f"python -m stlib.zoo train {again}", "```"]
    if sheet := zoo.sheet(name, folder):
        lines[1:1] = ["", f"![{words.shows}](/stlib/zoo/weights/{sheet.name})"]
    return [*lines, "", "```text", f"code     {about['code_hash']}", f"SHA-256  {about['sha256']}", "```"]


def listed(values):
    """The numbers and words of a dict as one text; a dict in it is listed too, one within that is left out."""
    texts = []
    for name, value in values.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {short(v)}" for key, v in value.items() if not isinstance(v, (dict, list)))
            texts += [f"{name}: {value}"] if value else []
        else:
            value = ", ".join(map(short, value)) if isinstance(value, list) else short(value)
            texts += [f"{name} {value}"]
    return "; ".join(texts)


def short(value):
    """A value as a reader wants it: four digits of a number that is not whole."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
