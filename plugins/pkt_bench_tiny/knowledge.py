"""The knowledge suite: who lives where and does what in a made-up village, asked with four choices.

640 facts (128 people x 5 relations). Every fact belongs to exactly one split, so splits are disjoint by fact.
Validation and test facts reach the checkpoints as statements only, never as a question with its answer.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .splits import SIZES, Split, seeded

_PEOPLE = 128
_SYLLABLES_FIRST = (
    "Bel",
    "Cor",
    "Dra",
    "El",
    "Fen",
    "Gor",
    "Hal",
    "Is",
    "Jor",
    "Kel",
    "Lor",
    "Mar",
    "Nev",
    "Or",
)
_SYLLABLES_SECOND = ("ba", "dwi", "fo", "gri", "lu", "mi", "no", "pe", "ra", "sto", "ti", "vo", "za")
_SYLLABLES_LAST = ("ck", "da", "lim", "n", "nor", "ph", "r", "sk", "th", "x")


@dataclass(frozen=True)
class Relation:
    """One thing that can be known about a person: how it is said and asked, and its possible values."""

    name: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    values: tuple[str, ...]


RELATIONS: tuple[Relation, ...] = (
    Relation(
        "home",
        (
            "{who} lives in {what}.",
            "The home of {who} is {what}.",
            "{who} has a house in {what}.",
            "The town where {who} lives is {what}.",
        ),
        ("Where does {who} live?", "What is the home of {who}?"),
        (
            "Arden", "Brock", "Calder", "Dover", "Esker", "Fallow", "Garth", "Holm", "Inver", "Kirby",
            "Leven", "Moss", "Norwick", "Oban", "Penrith", "Quarry", "Rydal", "Selby", "Thorn", "Wick",
        ),
    ),
    Relation(
        "job",
        (
            "{who} works as a {what}.",
            "The job of {who} is {what}.",
            "{who} earns a living as a {what}.",
            "The work {who} does is that of a {what}.",
        ),
        ("What does {who} work as?", "What is the job of {who}?"),
        (
            "baker", "carpenter", "doctor", "farmer", "gardener",
            "hunter", "judge", "lawyer", "miner", "nurse",
            "painter", "pilot", "potter", "sailor", "singer",
            "smith", "tailor", "teacher", "weaver", "writer",
        ),
    ),
    Relation(
        "pet",
        (
            "{who} keeps a {what}.",
            "The pet of {who} is a {what}.",
            "{who} is never seen without a {what}.",
            "The animal {who} keeps is a {what}.",
        ),
        ("Which animal does {who} keep?", "What is the pet of {who}?"),
        (
            "badger", "cat", "crow", "dog", "duck", "ferret", "fox", "frog", "goat", "hamster",
            "hen", "lizard", "mouse", "parrot", "pony", "rabbit", "sheep", "snake", "toad", "turtle",
        ),
    ),
    Relation(
        "instrument",
        (
            "{who} plays the {what}.",
            "The instrument of {who} is the {what}.",
            "{who} makes music on the {what}.",
            "The instrument {who} plays is the {what}.",
        ),
        ("Which instrument does {who} play?", "What is the instrument of {who}?"),
        (
            "banjo", "bassoon", "bugle", "cello", "clarinet", "cornet", "drum", "fiddle", "flute", "gong",
            "guitar", "harp", "horn", "lute", "oboe", "organ", "piano", "trumpet", "viola", "zither",
        ),
    ),
    Relation(
        "dish",
        (
            "{who} likes to eat {what}.",
            "The favourite food of {who} is {what}.",
            "{who} eats {what} every day.",
            "The food {who} likes best is {what}.",
        ),
        ("What does {who} like to eat?", "What is the favourite food of {who}?"),
        (
            "bacon", "beans", "bread", "cabbage", "cake", "carrots", "cheese", "cherries", "corn", "eggs",
            "fish", "honey", "jam", "lentils", "mushrooms", "noodles", "onions", "plums", "rice", "soup",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One person, one relation, its value, and the split that may ask for it."""

    who: str
    relation: Relation
    what: str
    split: Split

    def statement(self, form: int) -> str:
        """Say the fact in one of the relation's statement forms."""
        return self.relation.statements[form].format(who=self.who, what=self.what)


@dataclass(frozen=True)
class KnowledgeItem:
    """A question about one fact: `choices[gold]` is right; every choice starts with a space."""

    fact: Fact
    prompt: str
    choices: tuple[str, ...]
    gold: int

    @property
    def answer(self) -> str:
        """The right choice."""
        return self.choices[self.gold]

    @property
    def key(self) -> str:
        """What may be in one split only: the fact."""
        return f"{self.fact.who}|{self.fact.relation.name}"


@cache
def people() -> tuple[str, ...]:
    """The 128 names, all different."""
    rng = seeded("knowledge people")
    names = [a + b + c for a in _SYLLABLES_FIRST for b in _SYLLABLES_SECOND for c in _SYLLABLES_LAST]
    return tuple(rng.sample(names, _PEOPLE))


@cache
def facts() -> tuple[Fact, ...]:
    """All 640 facts in a fixed order, each with its value and its split."""
    rng = seeded("knowledge facts")
    pairs = [(who, relation) for who in people() for relation in RELATIONS]
    rng.shuffle(pairs)
    # train takes what the others leave and asks each of its facts in both forms
    splits: list[Split] = [s for s in ("test", "validation", "align", "extract") for _ in range(SIZES[s])]
    splits += ["train"] * (len(pairs) - len(splits))
    return tuple(
        Fact(who, relation, rng.choice(relation.values), split)
        for (who, relation), split in zip(pairs, splits, strict=True)
    )


@cache
def known_to_student() -> frozenset[tuple[str, str]]:
    """The (person, relation name) pairs that the student's pretraining states: 40 % of each split."""
    rng = seeded("knowledge student")
    known: set[tuple[str, str]] = set()
    for split in ("extract", "align", "train", "validation", "test"):
        members = [(fact.who, fact.relation.name) for fact in facts() if fact.split == split]
        known.update(rng.sample(members, round(0.4 * len(members))))
    return frozenset(known)


def ask(fact: Fact, form: int, rng: random.Random) -> KnowledgeItem:
    """Ask for one fact in one question form, with three wrong values of the same relation, shuffled."""
    wrong = rng.sample([value for value in fact.relation.values if value != fact.what], 3)
    choices = [fact.what, *wrong]
    rng.shuffle(choices)
    question = fact.relation.questions[form].format(who=fact.who)
    return KnowledgeItem(
        fact, f"Question: {question}\nAnswer:", tuple(f" {c}" for c in choices), choices.index(fact.what)
    )


@cache
def items(split: Split) -> tuple[KnowledgeItem, ...]:
    """The records of one split; train asks every one of its facts in both question forms."""
    rng = seeded(f"knowledge {split}")
    asked = [
        (fact, form)
        for fact in facts()
        if fact.split == split
        for form in ((0, 1) if split == "train" else (rng.randrange(2),))
    ]
    rng.shuffle(asked)
    return tuple(ask(fact, form, rng) for fact, form in asked)


def biographies(rng: random.Random, known: frozenset[tuple[str, str]] | None) -> Iterator[str]:
    """Endless rounds over all people: a few sentences on each, in changing order and wording.

    With `known` given, only those (person, relation name) pairs are told.
    """
    by_person = {
        who: [f for f in facts() if f.who == who and (known is None or (who, f.relation.name) in known)]
        for who in people()
    }
    told = [who for who in people() if by_person[who]]
    while True:
        rng.shuffle(told)
        for who in told:
            chosen = rng.sample(by_person[who], len(by_person[who]))
            yield " ".join(fact.statement(rng.randrange(4)) for fact in chosen)


def quizzes(rng: random.Random, known: frozenset[tuple[str, str]] | None) -> Iterator[KnowledgeItem]:
    """Endless rounds of questions, never about a validation or test fact."""
    askable = [
        f
        for f in facts()
        if f.split not in ("validation", "test") and (known is None or (f.who, f.relation.name) in known)
    ]
    while True:
        rng.shuffle(askable)
        for fact in askable:
            yield ask(fact, rng.randrange(2), rng)
