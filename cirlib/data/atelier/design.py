"""Sampling designs, and the families of look-alikes that make composed retrieval hard."""

import numpy as np

from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, NO, YES, Design, allowed_values, held_out_pair

DETAIL_SHARE = 0.3  # of the designs that can have a detail, this many have it


def _choose(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[int(rng.integers(len(values)))]


def sample_design(rng: np.random.Generator, *, held_out: bool = False) -> dict[str, str]:
    """One random legal design.

    Args:
        rng: Source of randomness; the same state gives the same design.
        held_out: True admits the held-out pairs of the schema, False redraws until none is shown.
    """
    while True:
        design = {"category": _choose(rng, ATTRIBUTES["category"].values), "pattern": "solid"}
        design["color"] = _choose(rng, ATTRIBUTES["color"].values)
        design["pattern"] = _choose(rng, ATTRIBUTES["pattern"].values)
        for name in ATTRIBUTES:
            values = () if name in design else allowed_values(design, name)
            if not values:
                continue
            if name in DETAILS:
                design[name] = YES if YES in values and rng.random() < DETAIL_SHARE else NO
            else:
                design[name] = _choose(rng, values)
        if held_out or held_out_pair(design) is None:
            return {name: design[name] for name in ATTRIBUTES if name in design}


def change_attribute(rng: np.random.Generator, design: Design, attribute: str) -> dict[str, str] | None:
    """Give one attribute another legal value; None where there is none.

    A pattern that appears brings its second colour, and one that goes takes it away: the two change together.
    """
    values = tuple(v for v in allowed_values(design, attribute) if v != design.get(attribute))
    if attribute == "category" or not values:
        return None
    changed = {**design, attribute: _choose(rng, values)}
    if attribute == "pattern":
        if changed["pattern"] == "solid":
            del changed["second_color"]
        elif "second_color" not in changed:
            changed["second_color"] = _choose(rng, allowed_values(changed, "second_color"))
    return {name: changed[name] for name in ATTRIBUTES if name in changed}


def sample_sibling(rng: np.random.Generator, design: Design, *, held_out: bool = False) -> dict[str, str]:
    """A design that differs from `design` in one attribute or two (equally often)."""
    wanted = 1 + int(rng.integers(2))
    while True:
        names = rng.permutation(list(design))[:wanted]
        sibling: dict[str, str] | None = dict(design)
        for name in names:
            sibling = None if sibling is None else change_attribute(rng, sibling, str(name))
        if sibling is not None and (held_out or held_out_pair(sibling) is None):
            return sibling


def sample_family(
    rng: np.random.Generator, n_designs: int, n_twins: int, n_founders: int, *, held_out: bool = False
) -> list[dict[str, str]]:
    """Designs of one family: a first one, siblings of earlier members, and twins (the same design, to be drawn anew).

    Every sibling departs from one of the first `n_founders` members, so that each picture has many others within one or two attributes: the
    fewer founders, the denser the family and the harder its queries. With `held_out`
    the first design shows a held-out pair, so that most of the family does; without, no member shows one.
    """
    family = [sample_design(rng, held_out=held_out)]
    while held_out and held_out_pair(family[0]) is None:
        family = [sample_design(rng, held_out=True)]
    while len(family) < n_designs:
        sibling = sample_sibling(rng, family[int(rng.integers(min(len(family), n_founders)))], held_out=held_out)
        if sibling not in family:
            family.append(sibling)
    return family + [dict(family[int(i)]) for i in rng.permutation(n_designs)[:n_twins]]
