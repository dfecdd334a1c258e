"""Captions: a grammar that says in words what the factors and the style of a picture are.

>>> captions.caption(world.sample("portraits", [3]), "sketch")
['a pencil drawing of a sad person with long dark hair and a full beard, turned to the left']

Text and factors stay aligned: every word about the content comes from `attributes`, which says only what can be seen in
that style. Captions are lower case, their only sign is the comma, and all their words are in `WORDS`.
"""

import re

from stlib.world import noise
from stlib.world.factors import WorldError

# style: what a picture in it is called, and how it was made
STYLES = {
    "photo": (("photo", "photograph"), ("photographed", "taken with a camera")),
    "sketch": (("pencil sketch", "pencil drawing"), ("drawn in pencil", "sketched with a pencil")),
    "ink": (("ink painting", "ink wash"), ("painted in ink", "washed in ink")),
    "cartoon": (("cartoon", "cartoon picture"), ("drawn as a cartoon", "in cartoon style")),
    "oil": (("oil painting", "painting in oil"), ("painted in oil", "painted with oil paint")),
    "line": (("line drawing", "pen drawing"), ("drawn in black lines", "drawn with a pen")),
}
COLOURED = ("photo", "cartoon", "oil")  # the styles that carry hue; the others draw with one colour
HIDDEN = {style: ("light", "background", "hour", "mist") for style in ("sketch", "ink", "line")}  # attributes not seen
HIDDEN["line"] += ("skin",)


def _of(factor, words):
    """The slot of one factor: {word: the option or the limits it stands for}; None stands for any value."""
    return tuple((word, {} if limits is None else {factor: limits}) for word, limits in words.items())


HUES = {"red": (-0.04, 0.03), "brown": (0.06, 0.11), "yellow": (0.14, 0.19), "green": (0.25, 0.42)}
HUES |= {"turquoise": (0.46, 0.54), "blue": (0.58, 0.70), "purple": (0.74, 0.82), "pink": (0.86, 0.93)}
# slot: words, each with the values of factors that it stands for; a slot takes the first word that fits. Values are in
# the factor's own unit. Between two words there is a gap: where none fits, an attribute with that slot is left out.
# fmt: off
SLOTS = {
    "smile": _of("smile", {"sad": (-1, -0.35), "smiling": (0.35, 1)}), "tears": _of("tears", {"crying": (0.25, 1)}),
    "yaw": _of(
        "yaw", {"turned to the left": (-32, -12), "facing the viewer": (-5, 5), "turned to the right": (12, 32)}
    ),
    "pitch": _of("pitch", {"looking down": (-12, -7), "looking up": (7, 12)}),
    "roll": _of("roll", {"leaning to the left": (-10, -6), "leaning to the right": (6, 10)}),
    "jaw": _of("jaw", {"pointed": (0, 0.2), "square": (0.8, 1)}),
    "skin": _of("skin", {"light": (0, 0.25), "dark": (0.7, 1)}),
    "length": _of("hair", {"": "bun"}) + _of("hair_length", {"short": (0, 0.3), "long": (0.6, 1), "": None}),
    "colour": (("black", {"hair_dark": (0.8, 1)}), ("brown", {"hair_dark": (0.35, 0.7), "hair_red": (0, 0.4)}),
               ("auburn", {"hair_dark": (0.35, 0.7), "hair_red": (0.6, 1)}),
               ("blond", {"hair_dark": (0, 0.25), "hair_red": (0, 0.4)}),
               ("ginger", {"hair_dark": (0, 0.25), "hair_red": (0.6, 1)}), ("", {})),
    "hair": _of("hair", {"parted on top": "parted", "cut in a fringe": "fringe", "combed back": "swept",
                         "in curls": "curly", "tied in a bun": "bun"}),
    "brows": _of("brow_angle", {"worried": (-1, -0.5), "angry": (0.5, 1)}),
    "weight": _of("brow_weight", {"thin": (0, 0.25), "bushy": (0.75, 1), "": None}),
    "eyes": _of("eye_open", {"narrow": (0, 0.2), "wide open": (0.8, 1)}),
    "nose": _of("nose", {"small": (0, 0.2), "large": (0.8, 1)}),
    "mouth": _of("mouth_open", {"open": (0.4, 1)}),
    "beard": _of("beard", {"stubble": (0.15, 0.45), "a full beard": (0.6, 1)}),
    "glasses": _of("glasses", {"glasses": "yes"}),
    "cloth": _of("clothes_hue", HUES | {"": None}),
    "clothes": _of("clothes", {"sweater": "round", "sweater with a v neck": "vneck", "shirt": "shirt"}),
    "light": _of("light", {"left": (-1, -0.5), "right": (0.5, 1)}),
    "wall": _of("background", HUES),
    "backdrop": _of("backdrop", {"dark": (0, 0.25), "light": (0.75, 1), "": None}),
    # landscapes
    "height": _of("height", {"low hills": (0, 0.3), "high mountains": (0.65, 1)}),
    "rough": _of("rough", {"rolling": (0, 0.25), "jagged": (0.75, 1), "": None}),
    "disc": _of("moon", {"the sun": "sun", "the moon": "moon"}),
    "disc_low": _of("sun_height", {"low": (0, 0.25), "": None}),
    "disc_x": _of("sun_x", {"on the left": (-1, -0.25), "on the right": (0.25, 1)}),
    "hour": _of("moon", {"at night": "moon"}) + _of("hour", {"at dawn": (0, 0.15), "at noon": (0.35, 0.65),
                                                             "at dusk": (0.85, 1)}),
    "clouds": _of("clouds", {"clear": (0, 0.15), "cloudy": (0.7, 1)}), "mist": _of("mist", {"misty": (0.6, 1)}),
    "season": _of("season", {"spring": (-0.09, 0.09), "summer": (0.16, 0.34), "autumn": (0.41, 0.59),
                             "winter": (0.66, 0.84)}),
    "water": _of("water", {"small": (0.25, 0.45), "wide": (0.65, 1)}),
    "many": _of("trees", {"a few": (0.12, 0.35), "": (0.35, 0.7), "many": (0.7, 1)}),
    "trees": _of("tree_kind", {"round trees": "round", "conifers": "conifer", "poplars": "poplar"}),
    "house": _of("house", {"house": "yes"}),
    "house_x": _of("house_x", {"on the left": (-1, -0.25), "on the right": (0.25, 1), "": None}),
    "boat": (("boat", {"boat": (0.1, 1), "water": (0.25, 1)}),),
    "boat_x": _of("boat_x", {"on the left": (-1, -0.25), "on the right": (0.25, 1), "": None}),
}
DRAWN = {  # what takes the place of a slot in styles of one colour
    "colour": _of("hair_dark", {"light": (0, 0.25), "dark": (0.7, 1), "": None}), "cloth": (("", {}),),
    "skin": _of("skin", {"dark": (0.7, 1)}), "beard": _of("beard", {"a full beard": (0.6, 1)}),
    "disc": _of("moon", {"the sun or moon": None}), "season": _of("season", {"winter": (0.66, 0.84)}),
}
# attribute, called after its chief factor: its place in the sentence, and its words with slots
ATTRIBUTES = {
    "portraits": {
        "smile": ("adjective", "{smile}"), "tears": ("adjective", "{tears}"),
        "hair": ("with", "{length} {colour} hair {hair}"), "beard": ("with", "{beard}"),
        "jaw": ("with", "a {jaw} chin"), "skin": ("with", "{skin} skin"),
        "brow_angle": ("with", "{weight} {brows} brows"), "eye_open": ("with", "{eyes} eyes"),
        "nose": ("with", "a {nose} nose"), "mouth_open": ("with", "an {mouth} mouth"),
        "glasses": ("wearing", "wearing {glasses}"), "clothes": ("wearing", "wearing a {cloth} {clothes}"),
        "yaw": ("clause", "{yaw}"), "pitch": ("clause", "{pitch}"), "roll": ("clause", "{roll}"),
        "light": ("clause", "lit from the {light}"), "background": ("last", "in front of a {backdrop} {wall} wall"),
    },
    "landscapes": {
        "mist": ("adjective", "{mist}"), "season": ("time", "in {season}"), "hour": ("time", "{hour}"),
        "height": ("with", "{rough} {height}"), "sun_x": ("with", "{disc} {disc_low} {disc_x}"),
        "water": ("with", "a {water} lake"), "trees": ("with", "{many} {trees}"),
        "house": ("with", "a {house} {house_x}"), "boat": ("with", "a {boat} {boat_x}"),
        "clouds": ("last", "under a {clouds} sky"),
    },
}
FRAMES = ("a {noun} of a {subject}", "a {noun} showing a {subject}",
          "a {subject}, {made}", "a {subject}, seen in a {noun}")
# fmt: on
MENTIONED = {"portraits": 10, "landscapes": 7}  # a caption speaks of that many attributes, where they have a word
NOUNS = {"portraits": ("person", "sitter", "model"), "landscapes": ("landscape", "scene", "view")}
SYNONYMS = {  # words of attributes, and what a caption may say instead
    **{"sad": ("unhappy",), "smiling": ("happy", "cheerful"), "crying": ("weeping", "tearful"), "brows": ("eyebrows",)},
    **{"blond": ("fair",), "large": ("big",), "tied": ("worn",), "sweater": ("pullover",), "turned": ("facing",)},
    **{"a full beard": ("a thick beard",), "facing the viewer": ("seen from the front",), "glasses": ("spectacles",)},
    **{"misty": ("foggy", "hazy"), "at dawn": ("at sunrise",), "at dusk": ("at sunset",), "cloudy": ("overcast",)},
    **{"conifers": ("fir trees",), "boat": ("sailing boat",), "house": ("cottage",), "autumn": ("fall",)},
}


def attributes(contents, style):
    """What can be said of each content in a style: a dict {attribute: words} each, such as {"hair": "long black hair"}.

    An attribute is called after its chief factor (`factors_of` names all); one that is neither here nor there, or that
    the style does not show, is left out. Raises WorldError for a style or family that has no words.
    """
    if style not in STYLES or contents.family not in ATTRIBUTES:
        raise WorldError(f"There are no words for {contents.family!r} in {style!r}; styles: {', '.join(STYLES)}.")
    slots = SLOTS if style in COLOURED else SLOTS | DRAWN
    shown = {name: x[1] for name, x in ATTRIBUTES[contents.family].items() if name not in HIDDEN.get(style, ())}
    found = []
    for row in contents.values.tolist():
        content = {factor.name: (factor, value) for factor, value in zip(contents.factors, row, strict=True)}
        said = {name: _fill(template, slots, content) for name, template in shown.items()}
        found.append({name: words for name, words in said.items() if words})
    return found


def caption(contents, style, variation=0):
    """One sentence for each content: a list of B texts.

    The frame, the order, the synonyms and the choice of what is mentioned are drawn from the content's number and from
    `variation` (an int), not from the values or the style: an edited content keeps its sentence, up to what changed.
    """
    found, names = attributes(contents, style), list(ATTRIBUTES[contents.family])
    draws = noise.uniform(contents.key(f"caption/{variation}"), 3 * len(names) + 5).tolist()
    return [_sentence(said, names, contents.family, style, u) for said, u in zip(found, draws, strict=True)]


def factors_of(family, attribute):
    """The names of the factors that an attribute's words depend on, as a sorted tuple."""
    slots = re.findall(r"{(\w+)}", ATTRIBUTES[family][attribute][1])
    return tuple(sorted({factor for slot in slots for _, box in SLOTS[slot] for factor in box}))


def _fill(template, slots, content):
    """A template with the words of one content, or "" where a slot has none."""
    words = {}
    for slot in re.findall(r"{(\w+)}", template):
        fitting = (word for word, box in slots[slot] if all(_within(*content[name], box[name]) for name in box))
        words[slot] = next(fitting, None)
    return "" if None in words.values() else " ".join(template.format(**words).split())


def _within(factor, value, limits):
    """Whether a factor's value is the option, or lies between the limits; angles also one turn on."""
    if isinstance(limits, str):
        return factor.options[int(value)] == limits
    return limits[0] <= value <= limits[1] or (factor.periodic and limits[0] <= value - 1 <= limits[1])


def _sentence(said, names, family, style, u):
    """A caption of the attributes `said`, by the uniform numbers `u`: three for each of `names`, five for the frame."""
    rank, place, other = (dict(zip(names, u[i * len(names) :], strict=False)) for i in range(3))
    mentioned = sorted(names, key=rank.get)[: MENTIONED[family]]
    parts = {role: [] for role in ("adjective", "time", "with", "wearing", "clause", "last")}
    for name in sorted(mentioned, key=place.get):
        if name in said:
            parts[ATTRIBUTES[family][name][0]].append(_synonym(said[name], other[name]))
    worn = [words.removeprefix("wearing ") for words in parts["wearing"]]
    clauses = [f"with {_listed(parts['with'])}"] * bool(parts["with"]) + [f"wearing {_listed(worn)}"] * bool(worn)
    clauses = (clauses + parts["clause"])[:: 1 if u[-1] < 0.7 else -1] + parts["last"]
    tables = (FRAMES, *STYLES[style], NOUNS[family])
    frame, noun, made, subject = (table[int(x * len(table))] for table, x in zip(tables, u[-5:-1], strict=True))
    subject = " ".join([*parts["adjective"], subject, *parts["time"], ", ".join(clauses)]).strip()
    text = frame.format(noun=noun, made=made, subject=subject)
    return re.sub(r"\ban?(?= ([a-z]))", lambda found: "an" if found[1] in "aeiou" else "a", text)


def _synonym(words, u):
    """The words of an attribute, or, by the uniform number `u`, the same with a synonym in them."""
    found = [(old, new) for old, others in SYNONYMS.items() if f" {old} " in f" {words} " for new in others]
    old, new = [("", ""), *found][int(u * (len(found) + 1))]
    return words.replace(old, new)


def _listed(words):
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])


def _vocabulary():
    """Every word of the tables, sorted."""
    texts = [word for table in (SLOTS, DRAWN) for slot in table.values() for word, _ in slot]
    texts += [template for family in ATTRIBUTES.values() for _, template in family.values()]
    texts += [text for style in STYLES.values() for choices in style for text in choices]
    texts += [text for choices in (*NOUNS.values(), *SYNONYMS.values(), FRAMES) for text in choices]
    text = re.sub(r"{\w+}", " ", " ".join([*texts, "an and"]))
    return tuple(sorted(set(re.findall(r"[a-z]+", text))))


WORDS = _vocabulary()  # all words that captions can contain: a tokenizer needs no others
