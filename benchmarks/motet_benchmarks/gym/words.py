"""The gym's material: words to spell, sort and count, and small closed sets.

Words to be taken apart letter by letter must not be single tokens, so `WORDS` and the made-up words share
no word with the wordings of any family.
"""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((one, other) for one, _, other in (pair.partition("-") for pair in text.split()))


WORDS = _words("""
    acorn actor agent album alder amber angel ankle apple apron arch arrow ash aunt axe badge bag baker
    banjo bank bark barn basil bat bath beach bead beak bean bear beef beet bell belt bench berry bike bird
    boat bone boot bowl brain bread brick broom brush bud bulb bull bus cabin cable cage cake calf camel
    camp candy cane cap cape car cart cat cave chain chair chalk cheek chess chest chick chin city clam claw
    clay cliff cloak cloth cloud coal coast coat cob comb cook coral cord cork corn couch cow crab crane
    crate cream creek crib crop crow crown crumb cube cup curl deck deer desk dish dog doll donut door dove
    drain dress drill drum duck dust eagle egg elbow elk elm farm fawn fence fern field fig film fin fish
    flag flame flask flute fly foam fog fork fort fox frog fruit gate gem ghost giant gift glass glove goat
    goose grape grass gull guest ham harp hawk hay heart hedge hen herb hill hive honey hood hoof hook horn
    horse hose hotel ice igloo ink iron ivy jam jar jaw jeep jelly jewel juice kayak king kite knee knife
    knot lake lamb lamp lawn leaf lemon lily lime lion lock log lunch maple mask mast meal melon mint mole
    moon moose moth mouse mouth mud mule nail neck nest net nut oak oar oat ocean olive onion otter oven owl
    ox paint palm pan panda paper park peach pear pearl pen piano pig pilot pin pipe pizza plane plant plate
    plum pond pony pool pot purse queen quilt radio rail rain ranch raven rice river road robe robin rock
    roof root rope rose rug sail salad salt sand scarf seal seed shark sheep shelf shell ship shirt shoe
    shop silk sink skirt skull sled slope snail snake snow soap sock sofa soup spoon stamp star steam stool
    stork storm stove straw sugar sun swan sword tail tank tape tent tiger toad toast tooth torch tower toy
    train tray tree truck tulip tuna valve vase vest villa vine wagon wall wasp wave whale wheat wheel wing
    wolf wood wool worm yard zebra
    """)

NAMES = _words("Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mary Nick Olga Paul Rosa Tom")
COLOURS = _words("red blue green black white brown pink grey yellow orange purple silver")
THINGS = _words("ball hat book box key ring tie phone bottle clock")
WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words("January February March April May June July August September October November December")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
CLOSINGS = _words("please thanks sir over indeed friend always bye")
CODES = _words("bingo alpha omega zulu tango delta secret nothing")
OPPOSITES = _pairs("""
    hot-cold big-small up-down in-out on-off old-young fast-slow high-low good-bad happy-sad wet-dry
    full-empty hard-soft light-dark rich-poor left-right open-closed early-late near-far thick-thin
    clean-dirty deep-shallow loud-quiet strong-weak true-false wide-narrow sweet-sour north-south
    east-west day-night
    """)

_CONSONANTS = "bdflmnprstv"
_VOWELS = "aiou"


def made_up_word(rng: random.Random, longest: int = 5) -> str:
    """A word of four to `longest` letters that nobody knows, such as "tabo" or "limov"."""
    letters = [rng.choice(_VOWELS if place % 2 else _CONSONANTS) for place in range(rng.randint(4, longest))]
    return "".join(letters)


def any_word(rng: random.Random, longest: int = 5) -> str:
    """A common or a made-up word, so that spelling can't be learned by heart."""
    return rng.choice(WORDS) if rng.random() < 0.4 else made_up_word(rng, longest)


def some_words(rng: random.Random, count: int) -> list[str]:
    """`count` different common words."""
    return rng.sample(WORDS, count)


def two_of_different_length(rng: random.Random) -> list[str]:
    """Two common words, one of them longer."""
    while True:
        one, other = some_words(rng, 2)
        if len(one) != len(other):
            return [one, other]
