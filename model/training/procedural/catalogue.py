"""Which subjects there are: what each is called, looks like, sounds like and moves like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.training.procedural import creatures, instruments, tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.training.procedural.canvas import Pen
    from model.training.procedural.dice import Dice
    from model.training.procedural.drawn import Drawn

    Painter = Callable[[Pen, Dice], Drawn]


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that can be seen and heard.

    Args:
        kind: its law of motion (`impact`, `bark`, `bow`, `shot`, `horn`, `flow`, `wind`, `beat`, `boom`, `engine`).
        voice: the synthesis of its sound.
        painters: how it may look.
        phrases: what a prompt may call it.
        is_grounded: stands on the ground and is not held up.
    """

    kind: str
    voice: str
    painters: tuple[Painter, ...]
    phrases: tuple[str, ...]
    is_grounded: bool = True


SUBJECTS: tuple[Subject, ...] = (
    Subject("impact", "wood", (tools.hammer,), ("hammering", "hammer", "hammering a nail", "hitting", "knocking")),
    Subject("impact", "skin", (tools.drum,), ("drum", "drumming", "playing drum", "drummer", "percussion")),
    Subject("impact", "rubber", (tools.ball,), ("ball", "bouncing ball", "basketball", "ball bounces")),
    Subject("impact", "clatter", (tools.pins,), ("bowling", "striking bowling", "bowling pins")),
    Subject("impact", "metal", (instruments.bottle, instruments.blob), ("clinking", "banging", "tapping", "metal")),
    Subject("bark", "dog", (creatures.dog,), ("dog barking", "dog", "barking", "puppy barks")),
    Subject("bark", "lion", (creatures.lion,), ("lion roaring", "lion", "roaring", "lion roars")),
    Subject("bark", "baby", (creatures.face,), ("baby babbling crying", "baby", "crying", "baby crying")),
    Subject("bark", "speech", (creatures.face,), ("talking", "person talking", "speaking", "man talking")),
    Subject("bark", "speech", (creatures.face,), ("singing", "person singing", "woman singing", "singing song")),
    Subject("bark", "frog", (creatures.frog,), ("frog croaking", "frog", "croaking")),
    Subject("bark", "chicken", (creatures.bird,), ("chicken crowing", "chicken", "rooster", "crowing")),
    Subject("bow", "violin", (instruments.violin,), ("playing violin fiddle", "violin", "fiddle", "violinist"), False),
    Subject("bow", "cello", (instruments.violin,), ("playing cello", "cello", "cello music"), False),
    Subject("bow", "scrape", (tools.knife,), ("sharpening knife", "knife", "sharpening", "sawing"), False),
    Subject("shot", "single", (tools.gun,), ("cap gun shooting", "gun", "shooting", "gun shot"), False),
    Subject("shot", "automatic", (tools.gun,), ("machine gun shooting", "machine gun", "rifle shooting"), False),
    Subject("horn", "trumpet", (instruments.horn,), ("playing trumpet", "trumpet", "trumpet music"), False),
    Subject("horn", "trombone", (instruments.horn,), ("playing trombone", "trombone", "horn"), False),
    Subject("flow", "water", (instruments.water,), ("water", "waves", "sea waves", "river", "rain")),
    Subject("flow", "flush", (instruments.bowl,), ("toilet flushing", "toilet", "flushing", "pouring water")),
    Subject("wind", "gust", (instruments.tree, instruments.flag), ("wind", "windy", "tree in wind", "flag", "storm")),
    Subject("beat", "kit", (instruments.speaker, creatures.figure), ("music", "dancing", "beat", "techno", "dance")),
    Subject("boom", "blast", (tools.bomb,), ("explosion", "thunder", "exploding", "bomb", "blast")),
    Subject("engine", "motor", (tools.car, tools.rocket), ("engine", "car", "motor", "car engine", "rocket")),
)  # fmt: skip

KINDS = tuple(dict.fromkeys(subject.kind for subject in SUBJECTS))

# Shapes that stand in for any subject: a caller's picture is seldom one that the words fit.
STAND_INS: tuple[Painter, ...] = (instruments.blob, instruments.bottle, instruments.blob)

FILLER = (
    "a", "the", "in", "outside", "video", "of", "loud", "person", "someone", "with", "room", "and", "is", "on", "close",
    "up", "old", "young", "big", "small", "red", "at", "home", "street", "garden", "sound",
)  # fmt: skip


def vocabulary() -> frozenset[str]:
    """Every word that a procedural prompt can hold."""
    phrases = (phrase for subject in SUBJECTS for phrase in subject.phrases)
    return frozenset(word for phrase in phrases for word in phrase.split()) | set(FILLER)


def prompt_for(subject: Subject, dice: Dice) -> str:
    """One to three words of the subject among up to three others; one prompt in ten is empty."""
    if dice.chance(0.1):
        return ""
    words = dice.pick(subject.phrases).split()
    for _ in range(dice.integer(0, 3)):
        words.insert(dice.integer(0, len(words)), dice.pick(FILLER))
    return " ".join(words)
