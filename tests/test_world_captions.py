"""Captions: what they say is true of the factors and can be seen in the style, and their words are a closed set."""

import re

import pytest

from stlib import world
from stlib.world import captions
from stlib.world.factors import Factor, WorldError, draw

FAMILIES = list(world.FAMILIES)


def words(text):
    return re.findall(r"[a-z]+", text)


def portrait(**values):
    """One portrait of which nothing can be said but hair and a sweater, and then what `values` say."""
    plain = {"smile": 0, "tears": 0, "yaw": 8, "pitch": 0, "roll": 0, "jaw": 0.5, "skin": 0.5, "hair_length": 0.5}
    plain |= {"hair_dark": 0.3, "brow_angle": 0, "eye_open": 0.5, "nose": 0.5, "mouth_open": 0, "beard": 0}
    plain |= {"glasses": "no", "clothes_hue": 0.22, "light": 0, "background": 0.22, "hair": "bun", "clothes": "round"}
    return world.sample("portraits", [4]).replace(**(plain | values))


def landscape(**values):
    plain = {"height": 0.5, "sun_x": 0, "hour": 0.25, "clouds": 0.5, "season": 0.12, "mist": 0, "water": 0, "trees": 0}
    plain |= {"house": "no", "boat": 0, "moon": "sun"}
    return world.sample("landscapes", [4]).replace(**(plain | values))


def test_thousands_of_captions_stay_inside_the_vocabulary_and_use_all_of_it():
    seen = set()
    for family in FAMILIES:
        contents = world.sample(family, range(400))
        for variation, style in enumerate(captions.STYLES):
            for text in captions.caption(contents, style, variation):
                assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", text), text
                assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b", text), text
                seen |= set(words(text))
    assert captions.WORDS == tuple(sorted(seen))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_the_content_comes_from_the_attributes(family):
    contents = world.sample(family, range(200))
    frame = set(words(" ".join([*captions.FRAMES, *captions.NOUNS[family], "an and with wearing noun subject made"])))
    for variation, style in enumerate(captions.STYLES):
        own = frame | set(words(" ".join(sum(captions.STYLES[style], ()))))
        for text, said in zip(
            captions.caption(contents, style, variation), captions.attributes(contents, style), strict=True
        ):
            allowed = set(words(" ".join(said.values())))
            for old, others in captions.SYNONYMS.items():
                if any(re.search(rf"\b{old}\b", each) for each in said.values()):
                    allowed |= set(words(" ".join(others)))
            assert set(words(text)) <= allowed | own, (text, said)


@pytest.mark.parametrize("style", captions.STYLES)
def test_a_caption_names_its_style_and_no_other(style):
    names = {name: sum(texts, ()) for name, texts in captions.STYLES.items()}
    for text in captions.caption(world.sample("portraits", range(60)), style):
        assert any(name in text for name in names[style]), text
        others = [name for other in names if other != style for name in names[other]]
        assert not [name for name in others if re.search(rf"\b{name}\b", text)], text


@pytest.mark.parametrize(
    "values, attribute, expected",
    [
        ({"smile": 1}, "smile", "smiling"),
        ({"smile": -1}, "smile", "sad"),
        ({"smile": 0}, "smile", None),
        ({"tears": 0.5}, "tears", "crying"),
        ({"glasses": "yes"}, "glasses", "wearing glasses"),
        ({"beard": 0.3}, "beard", "stubble"),
        ({"beard": 1}, "beard", "a full beard"),
        ({"yaw": -20}, "yaw", "turned to the left"),
        ({"yaw": 20}, "yaw", "turned to the right"),
        ({"hair": "parted", "hair_length": 1, "hair_dark": 1}, "hair", "long black hair parted on top"),
        ({"hair": "curly", "hair_length": 0, "hair_dark": 0, "hair_red": 0}, "hair", "short blond hair in curls"),
        ({"hair": "bun", "hair_length": 1, "hair_dark": 0.5, "hair_red": 1}, "hair", "auburn hair tied in a bun"),
        ({"clothes_hue": 0.99, "clothes": "shirt"}, "clothes", "wearing a red shirt"),
        ({"clothes_hue": 0.01}, "clothes", "wearing a red sweater"),
        ({"clothes_hue": 2 / 3}, "clothes", "wearing a blue sweater"),
        ({"background": 1 / 3, "backdrop": 0}, "background", "in front of a dark green wall"),
        ({"brow_angle": 1, "brow_weight": 1}, "brow_angle", "bushy angry brows"),
    ],
)
def test_values_of_portraits_become_words(values, attribute, expected):
    assert captions.attributes(portrait(**values), "photo")[0].get(attribute) == expected


@pytest.mark.parametrize(
    "values, attribute, expected",
    [
        ({"moon": "moon"}, "hour", "at night"),
        ({"hour": 0.05}, "hour", "at dawn"),
        ({"hour": 1}, "hour", "at dusk"),
        ({"season": 0.98}, "season", "in spring"),
        ({"season": 0.02}, "season", "in spring"),
        ({"season": 0.75}, "season", "in winter"),
        ({"sun_x": -1, "sun_height": 0.1}, "sun_x", "the sun low on the left"),
        ({"sun_x": 1, "sun_height": 0.9, "moon": "moon"}, "sun_x", "the moon on the right"),
        ({"house": "no", "house_x": 1}, "house", None),
        ({"house": "yes", "house_x": 1}, "house", "a house on the right"),
        ({"boat": 1, "water": 0, "boat_x": 1}, "boat", None),
        ({"boat": 1, "water": 1, "boat_x": 0}, "boat", "a boat"),
        ({"trees": 1, "tree_kind": "conifer"}, "trees", "many conifers"),
        ({"trees": 0}, "trees", None),
        ({"height": 1, "rough": 1}, "height", "jagged high mountains"),
    ],
)
def test_values_of_landscapes_become_words(values, attribute, expected):
    assert captions.attributes(landscape(**values), "photo")[0].get(attribute) == expected


def test_no_hue_and_nothing_hidden_where_the_style_does_not_show_it():
    hues = {*captions.HUES, "black", "blond", "fair", "ginger", "auburn", "spring", "summer", "wall", "lit"}
    for family in FAMILIES:
        contents, coloured = world.sample(family, range(300)), set()
        for style in captions.STYLES:
            said = set(words(" ".join(text for each in captions.attributes(contents, style) for text in each.values())))
            if style in captions.COLOURED:
                coloured |= said & hues
            else:
                assert not said & hues, (style, said & hues)
        assert coloured, "the words are said where they can be seen"
    dark = portrait(hair_dark=1, skin=1, clothes_hue=0)
    assert captions.attributes(dark, "line")[0] == {"hair": "dark hair tied in a bun", "clothes": "wearing a sweater"}
    assert captions.attributes(dark, "sketch")[0]["skin"] == "dark skin"
    night = landscape(moon="moon", sun_x=1, sun_height=1)
    assert captions.attributes(night, "ink")[0] == {"sun_x": "the sun or moon on the right"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_content_has_one_caption_in_any_batch_and_other_ones_in_other_variations(family):
    contents = world.sample(family, range(40))
    texts = captions.caption(contents, "oil")
    assert texts == captions.caption(contents, "oil") and len(texts) == 40
    assert captions.caption(contents[7], "oil") == texts[7:8]
    assert captions.caption(world.sample(family, [7], seed=1), "oil") != texts[7:8]
    rows = [captions.caption(contents, "oil", variation) for variation in range(6)]
    ways = [set(each) for each in zip(*rows, strict=True)]
    assert min(len(each) for each in ways) >= 4, "paraphrases"


def test_an_edit_changes_its_word_and_nothing_else():
    sad, happy = portrait(smile=-1), portrait(smile=1)
    pairs = [(captions.caption(sad, "photo", v)[0], captions.caption(happy, "photo", v)[0]) for v in range(30)]
    told = 0
    for before, after in pairs:
        one, two = set(words(before)), set(words(after))
        assert one - two <= {"sad", "unhappy", "an", "a"} and two - one <= {"smiling", "happy", "cheerful", "an", "a"}
        told += before != after
    assert 5 < told < 30, "each attribute is mentioned in some captions, not in all"


def test_the_style_changes_only_the_style():
    photo, oil = (captions.caption(world.sample("portraits", range(30)), style) for style in ("photo", "oil"))
    style_words = {style: set(words(" ".join(sum(captions.STYLES[style], ())))) for style in ("photo", "oil")}
    for one, two in zip(photo, oil, strict=True):
        assert set(words(one)) - set(words(two)) <= style_words["photo"] | {"a"}
        assert set(words(two)) - set(words(one)) <= style_words["oil"] | {"an"}


@pytest.mark.parametrize("family", FAMILIES)
def test_words_depend_on_the_factors_that_are_named_and_on_no_others(family):
    known = {factor.name: factor for factor in world.FAMILIES[family].FACTORS}
    base, others = world.sample(family, range(150)), world.sample(family, range(1000, 1150))
    before = captions.attributes(base, "photo")
    for name in captions.ATTRIBUTES[family]:
        mine = captions.factors_of(family, name)
        assert name in mine and set(mine) <= set(known)
        same = captions.attributes(others.replace(**{each: base[each] for each in mine}), "photo")
        assert [each.get(name) for each in same] == [each.get(name) for each in before]
        for factor in mine:
            moved = captions.attributes(base.replace(**{factor: others[factor]}), "photo")
            assert [each.get(name) for each in moved] != [each.get(name) for each in before], (name, factor)


def test_the_limits_are_those_of_the_factors():
    known = {f.name: f for module in world.FAMILIES.values() for f in module.FACTORS}
    for slot in [*captions.SLOTS.values(), *captions.DRAWN.values()]:
        for _, box in slot:
            for name, limits in box.items():
                if isinstance(limits, str):
                    assert limits in known[name].options
                else:
                    low = -0.5 if known[name].periodic else known[name].low
                    assert low <= limits[0] < limits[1] <= known[name].high, name
    assert set(captions.STYLES) == set(world.STYLES) and set(captions.ATTRIBUTES) == set(world.FAMILIES)


def test_what_has_no_words_is_a_sentence():
    with pytest.raises(WorldError, match="no words for 'portraits' in 'fresco'; styles: photo, sketch"):
        captions.caption(portrait(), "fresco")
    with pytest.raises(WorldError, match="no words for 'horses'"):
        captions.attributes(draw("horses", (Factor("legs", "how long"),), [0]), "photo")
