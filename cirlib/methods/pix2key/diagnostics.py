"""Mechanism measures on atelier, where designs and edits are known: does each part of Pix2Key do what it should? All our own choice.

* Dictionaries against designs: precision and recall, per key and over all keys.
* Updates against edits: precision and recall per polarity, share of changes understood per kind, signs per key.
* Rankings against avoided values: how many of the top K pictures still show one.

Every measure is an array with one value per picture or query, NaN where it is undefined, so that intervals can be made of it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, NO, YES, Design
from cirlib.data.atelier.words import key_name, value_name
from cirlib.data.lexicon import load_lexicon
from cirlib.methods.pix2key.dictionary import Dictionary, canonical
from cirlib.methods.pix2key.signed import Updates
from cirlib.types import Change, Edit, InputError

KINDS = ("set", "add", "remove", "relative", "open")
Fact = tuple[str, str]  # key, single value


def design_dictionary(design: Design) -> Dictionary:
    """The true dictionary of a design: every attribute that applies, details only where present.

    Example:
        >>> [entry.text for entry in design_dictionary({"category": "toptee", "color": "red", "belt": "no", "print": "yes"})]
        ['category: top', 'color: red', 'star print: yes']
    """
    return canonical(("", *_fact(name, value)) for name, value in design.items() if name not in DETAILS or value != NO)


def true_updates(edit: Edit, reference: Design) -> Updates:
    """What a perfect parser answers: the wants, the avoids and the open keys of an edit.

    A relative change wants the nearest allowed value (of equals the first of the schema) and avoids the reference's; an open one opens its
    key and avoids the reference's; a removal avoids the detail. A set change avoids nothing, whatever its wording.
    """
    wants, avoids, opens = [], [], []
    for change in edit.changes:
        if change.kind in ("set", "add"):
            wants.append(_fact(change.attribute, change.after))
        elif change.kind == "relative":
            wants.append(_fact(change.attribute, _nearest(change)))
        elif change.kind == "open":
            opens.append(key_name(change.attribute))
        if change.kind in ("relative", "open", "remove"):
            avoids.append(_fact(change.attribute, change.before))
    named = (canonical(("", *fact) for fact in facts) for facts in (wants, avoids))
    return Updates(*named, open=tuple(opens))


def polarity_scores(updates: Sequence[Updates], edits: Sequence[Edit], references: Sequence[Design]) -> dict[str, Float[np.ndarray, " q"]]:
    """How well parsed updates agree with the edits.

    A want is right where its value is among the allowed values of a change, or is the plain word of a relative one ("dark" for "darker").
    An avoid is right where it is a value that a change rules out, so "instead of red" is right though `true_updates` does not ask for it.
    An open key is right where the edit opens it.

    Args:
        updates: One per query.
        edits: The true edits.
        references: Designs of the reference images.

    Returns:
        Per query: "precision/want", "precision/avoid", "precision/open" (NaN where none is predicted); "recall/want", "recall/avoid",
        "recall/open" (NaN where none is due); "kind/set" and so on, the share of changes of that kind that got all their signs (NaN where
        there is none); "signs", the share of keys of the reference and the edit with the right sign (want, open, avoid or anchor; a want
        comes before an open key, that before an avoid); "exact", 1 where nothing is wrong or missing.
    """
    rows = [_polarity(*row) for row in zip(updates, edits, references, strict=True)]
    return _columns(rows)


def _polarity(updates: Updates, edit: Edit, reference: Design) -> dict[str, float]:
    truth = true_updates(edit, reference)
    allowed = {_fact(c.attribute, v) for c in edit.changes if c.kind not in ("remove", "open") for v in c.allowed}
    ruled_out = {_fact(c.attribute, v) for c in edit.changes for v in ATTRIBUTES[c.attribute].values if v not in c.allowed}
    if any(c.attribute == "pattern" and c.after == "solid" for c in edit.changes):
        ruled_out.add(_fact("second_color", reference["second_color"]))  # it goes with the pattern
    allowed |= {_direction(change) for change in edit.changes if change.kind == "relative"}
    wants, avoids, opens = _facts(updates.wants), _facts(updates.avoids), set(updates.open)
    due = {"want": {key for key, _ in _facts(truth.wants)}, "avoid": _facts(truth.avoids), "open": set(truth.open)}
    met = {"want": {key for key, _ in wants & allowed}, "avoid": avoids & due["avoid"], "open": opens & due["open"]}
    right = {"want": (wants & allowed, wants), "avoid": (avoids & ruled_out, avoids), "open": (met["open"], opens)}
    row = {f"precision/{polarity}": _share(*pair) for polarity, pair in right.items()}
    row |= {f"recall/{polarity}": _share(met[polarity] & due[polarity], due[polarity]) for polarity in due}
    for kind in KINDS:
        changes = [change for change in edit.changes if change.kind == kind]
        understood = [change for change in changes if _understood(change, met)]
        row[f"kind/{kind}"] = len(understood) / len(changes) if changes else float("nan")
    row["signs"] = _sign_agreement(updates, truth, reference)
    row["exact"] = float(all(row[f"{m}/{p}"] != row[f"{m}/{p}"] or row[f"{m}/{p}"] == 1 for m in ("precision", "recall") for p in due))
    return row


def _understood(change: Change, met: Mapping[str, set]) -> bool:
    """Whether a change got every sign that it is due."""
    key, old = _fact(change.attribute, change.before or YES)
    checks = {
        "set": key in met["want"],
        "add": key in met["want"],
        "remove": (key, old) in met["avoid"],
        "relative": key in met["want"] and (key, old) in met["avoid"],
        "open": key in met["open"] and (key, old) in met["avoid"],
    }
    return checks[change.kind]


def _sign_agreement(updates: Updates, truth: Updates, reference: Design) -> float:
    keys = {entry.key for entry in (*design_dictionary(reference), *updates.wants, *updates.avoids, *truth.wants)} | set(updates.open)
    if ("pattern", "solid") in _facts(truth.wants):
        keys -= {"second color"}  # means nothing any more
    return sum(_sign(updates, key) == _sign(truth, key) for key in keys) / len(keys)


def _sign(updates: Updates, key: str) -> str:
    if any(entry.key == key for entry in updates.wants):
        return "want"
    if key in updates.open:
        return "open"
    return "avoid" if any(entry.key == key for entry in updates.avoids) else "anchor"


def dictionary_scores(dictionaries: Sequence[Dictionary], designs: Sequence[Design]) -> dict[str, Float[np.ndarray, " n"]]:
    """How well extracted dictionaries agree with the designs of their pictures.

    Returns:
        Per picture: "precision" and "recall" over all facts; "precision/color", "recall/color" and so on per key of atelier, NaN where the
        dictionary, or the design, has no such key; and "exact", 1 where the two are equal.
    """
    names = [key_name(name) for name in ATTRIBUTES]
    rows = []
    for dictionary, design in zip(dictionaries, designs, strict=True):
        found, true = _facts(dictionary), _facts(design_dictionary(design))
        row = {"precision": _share(found & true, found), "recall": _share(found & true, true), "exact": float(found == true)}
        for name in names:
            of_key = [{fact for fact in facts if fact[0] == name} for facts in (found, true)]
            row[f"precision/{name}"] = _share(of_key[0] & of_key[1], of_key[0])
            row[f"recall/{name}"] = _share(of_key[0] & of_key[1], of_key[1])
        rows.append(row)
    return _columns(rows)


def judged_lines(dictionary: Dictionary, design: Design) -> list[tuple[str, str]]:
    """A dictionary line by line, for reading: each fact that was written is "right" or "wrong", and true facts that it lacks are "missing".

    Example:
        >>> judged_lines(design_dictionary({"color": "red", "belt": "yes"}), {"color": "red", "fit": "loose"})
        [('color: red', 'right'), ('belt: yes', 'wrong'), ('fit: loose', 'missing')]
    """
    true = design_dictionary(design)
    lines = [(entry.text, "right" if _facts([entry]) <= _facts(true) else "wrong") for entry in dictionary]
    written = _facts(dictionary)
    return lines + [(entry.text, "missing") for entry in true if not _facts([entry]) <= written]


def avoid_violations(
    top: Int[np.ndarray, "q k"], avoids: Sequence[Dictionary], shown: Sequence[Dictionary], k: int = 10
) -> Float[np.ndarray, " q"]:
    """Share of the top K pictures that still show an avoided value, by true labels.

    Args:
        top: Gallery rows of the best candidates, best first; padding (-1) is left out.
        avoids: What each query avoids, from `true_updates` for a measure that no parser can move.
        shown: True dictionary of each gallery picture, in gallery order, for example from `design_dictionary`.
        k: Cut-off, at most the width of `top`.

    Returns:
        One share per query; NaN where a query avoids nothing or has no candidate.

    Raises:
        InputError: If the cut-off does not fit the ranking.
    """
    if not 1 <= k <= top.shape[1]:
        raise InputError(f"cut-off {k} given for rankings of {top.shape[1]}; a cut-off lies between 1 and the length of the ranking")
    facts = [_facts(dictionary) for dictionary in shown]
    result = np.full(len(top), np.nan)
    for place, (rows, avoided) in enumerate(zip(top[:, :k], avoids, strict=True)):
        ranked = [facts[int(row)] for row in rows if row >= 0]
        if avoided and ranked:
            result[place] = np.mean([not _facts(avoided).isdisjoint(picture) for picture in ranked])
    return result


def _fact(name: str, value: str) -> Fact:
    return key_name(name), value_name(name, value)


def _facts(entries: Iterable) -> set[Fact]:
    return {(entry.key, part) for entry in entries for part in entry.parts}


def _nearest(change: Change) -> str:
    attribute = ATTRIBUTES[change.attribute]
    return min(change.allowed, key=lambda value: abs(attribute.level(value) - attribute.level(change.before)))


def _direction(change: Change) -> Fact:
    """A relative change by its plain word: "darker" as "dark"."""
    scale, level = load_lexicon().keys[key_name(change.attribute)].scale, ATTRIBUTES[change.attribute].level
    return key_name(change.attribute), scale.most if level(change.after) > level(change.before) else scale.least


def _share(part: set, whole: set) -> float:
    return len(part) / len(whole) if whole else float("nan")


def _columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """One array per measure; no rows have no measures."""
    return {name: np.array([row[name] for row in rows], np.float64) for name in (rows[0] if rows else ())}
