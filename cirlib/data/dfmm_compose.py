"""Composed queries from the labels of DeepFashion-MultiModal: the rules of DFMM-Compose-R.

The construction of DFMM-Compose (Pix2Key, 2026) is unpublished; every rule here is our choice, and numbers do not compare with the paper's.

* Split: products, not pictures, are dealt to "val" and "test" by a hash, one in five to "val". No product is in both.
* Gallery: one picture per color variant of a product: among its views with at least 6 applicable dimensions the front, else the first.
* Pair: same gender and category, different product. Among the dimensions that apply to both pictures they differ in one or two, which must
  be editable, from and to values that an edit may name; in all others they agree. A dimension that one of the two does not show is no
  difference, because nobody can see one.
* Target: of all pictures that the same changes lead to, the one that agrees with the reference in most dimensions that apply to both. Ties
  go to the most similar picture where a similarity is given, then by a hash of the pair, so that no picture is favored.
* Balance: queries are drawn one by one, each from the (dimension, new value) that has fewest so far, one change and two changes in turn
  where both are left, at most 3 per reference. The family of the text is the one used least so far among those that fit.
* Positives: the target, then every other picture of the same gender and category that shows an allowed value in each changed dimension (not
  applicable is not allowed) and agrees with the reference in all other dimensions that apply to both. Never the reference.

All that looks random is a hash of names and `VERSION`: equal label files give equal queries on every machine.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from cirlib.data.dfmm_labels import DIMENSIONS, NAMES, PictureLabels
from cirlib.data.dfmm_texts import FAMILIES, Step, is_editable, open_families, write_edit
from cirlib.types import Edit, InputError, Query

VERSION = "r1"
MIN_VISIBLE = 6  # applicable dimensions that a gallery picture shows at least
PER_REFERENCE = 3  # queries that share a reference at most
_VAL_SHARE = 5  # one product in this many is for val
_BLOCK = 256  # references compared with their whole group at once
_NO_STEP = 255  # in an edit's code: there is no second change
_CLOSED = np.uint32(1 << 31)  # in a difference: no edit leads over it
_EDITABLE = np.array([[is_editable(name, v) for v in values] + [False] * (8 - len(values)) for name, values in DIMENSIONS.items()])

Similarity = Callable[[str, Sequence[str]], Sequence[float]]
"""Similarity of a reference to some candidates, for ties between targets; higher is more similar."""


@dataclass(frozen=True)
class _Candidates:
    """Every (reference, edit) that leads to some picture of a split.

    Attributes:
        references: Gallery row of the reference.
        steps: Two codes per edit, dimension * 8 + new value; `_NO_STEP` where there is one change only.
    """

    references: Int[np.ndarray, " c"]
    steps: Int[np.ndarray, "c 2"]


def choose_gallery(labels: PictureLabels, split: str) -> Int[np.ndarray, " g"]:
    """Rows of `labels` that are the gallery of a split, in order of id; see the module."""
    visible = (labels.codes >= 0).sum(axis=1)
    best: dict[tuple[str, ...], tuple[bool, int, int]] = {}
    for row, name in enumerate(labels.names):
        if visible[row] >= MIN_VISIBLE and split_of(name.product) == split:
            variant = (name.gender, name.category, name.product, name.variant)
            place = (name.view != "front", name.number, row)
            best[variant] = min(best.get(variant, place), place)
    return np.array(sorted(row for *_, row in best.values()), np.int64)


def split_of(product: str) -> str:
    """Split that a product belongs to.

    Example:
        >>> [split_of(f"id_{number:08d}") for number in range(1, 6)]
        ['test', 'test', 'val', 'test', 'test']
    """
    return "val" if _name_hash(product) % _VAL_SHARE == 0 else "test"


def compose_queries(
    labels: PictureLabels, gallery: Int[np.ndarray, " g"], split: str, count: int, similarity: Similarity | None = None
) -> list[Query]:
    """Queries of a split, as the module says. `group` is the family of the text, and ids count in the order of drawing.

    Args:
        labels: All labels.
        gallery: Rows of the split's gallery, from `choose_gallery`.
        split: Name of the split, for the ids.
        count: How many.
        similarity: Decides between targets that agree equally; None (default) leaves it to the hash, and needs no picture.

    Raises:
        InputError: If the gallery does not give that many queries.
    """
    ids = [labels.ids[row] for row in gallery]
    codes = labels.codes[gallery]
    groups, products = _groups(labels, gallery)
    hashes = np.array([_name_hash(image_id) for image_id in ids], np.uint64)
    candidates = _find_candidates(codes, groups, products)
    chosen = _draw(candidates, hashes, count)
    if len(chosen) < count:
        raise InputError(
            f"{count} queries asked for, but {len(ids):,} pictures of DFMM-Compose-R {split} give {len(chosen):,}; ask for fewer"
        )
    members = {row: rows for rows in groups for row in rows}
    families: Counter[str] = Counter()
    queries = []
    for number, place in enumerate(chosen):
        row = int(candidates.references[place])
        steps = _steps(codes[row], candidates.steps[place])
        family = min(open_families(steps), key=lambda name: (families[name], FAMILIES.index(name)))
        families[family] += 1
        text, edit = write_edit(steps, family, int(_mix(hashes[[row]], np.array([number], np.uint64))[0] % 1024))
        target = _target(steps, row, members[row], codes, products, hashes, ids, similarity)
        correct = members[row][find_positives(edit, codes[row], codes[members[row]])]
        positives = (ids[target], *(ids[other] for other in correct if other != target))
        queries.append(Query(f"{split}-{number:04d}", ids[row], text, positives, edit=edit, group=family))
    return queries


def find_positives(edit: Edit, reference: Int[np.ndarray, " a"], gallery: Int[np.ndarray, "g a"]) -> Bool[np.ndarray, " g"]:
    """Which pictures answer an edit: allowed values where it changes, and agreement elsewhere as far as both pictures show the dimension.

    Args:
        edit: What changes.
        reference: Codes of the reference.
        gallery: Codes of pictures of the same gender and category.
    """
    correct = np.ones(len(gallery), bool)
    for column, name in enumerate(NAMES):
        change = next((change for change in edit.changes if change.attribute == name), None)
        if change is not None:
            correct &= np.isin(gallery[:, column], [DIMENSIONS[name].index(value) for value in change.allowed])
        elif reference[column] >= 0:
            correct &= (gallery[:, column] == reference[column]) | (gallery[:, column] < 0)
    return correct


def _groups(labels: PictureLabels, gallery: Int[np.ndarray, " g"]) -> tuple[list[Int[np.ndarray, " n"]], Int[np.ndarray, " g"]]:
    """Gallery positions of each gender and category, and a number per picture that stands for its product."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    numbers: dict[str, int] = {}
    for position, row in enumerate(gallery):
        name = labels.names[row]
        found[name.gender, name.category].append(position)
    products = [numbers.setdefault(labels.names[row].product, len(numbers)) for row in gallery]
    return [np.array(positions) for _, positions in sorted(found.items())], np.array(products, np.int64)


def _find_candidates(codes: Int[np.ndarray, "g a"], groups: Sequence[np.ndarray], products: Int[np.ndarray, " g"]) -> _Candidates:
    found = [np.empty(0, np.int64)]
    for rows in groups:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            differences = _differences(codes[block], codes[rows])
            rest = differences & (differences - np.uint32(1))  # without the lowest bit
            fits = (differences > 0) & (rest & (rest - np.uint32(1)) == 0) & (differences < _CLOSED)
            fits &= products[block][:, None] != products[rows][None, :]
            left, right = np.nonzero(fits)
            second = rest[left, right]
            step = _step_codes(differences[left, right] ^ second, codes[rows[right]])
            other = np.where(second > 0, _step_codes(second, codes[rows[right]]), _NO_STEP)
            found.append(np.unique((block[left] << 16) | (step << 8) | other))
    packed = np.concatenate(found)
    return _Candidates(packed >> 16, np.stack([(packed >> 8) & 255, packed & 255], axis=1))


def _differences(left: Int[np.ndarray, "b a"], right: Int[np.ndarray, "n a"]) -> Int[np.ndarray, "b n"]:
    """Per pair one bit per dimension that applies to both and differs; the highest bit where no edit leads over one of them."""
    result = np.zeros((len(left), len(right)), np.uint32)
    values = np.array([0, 1, 2, 3, 4, 5, 6, 7, -1])[:, None]  # in the order of an index, so that -1 is the last
    for column, editable in enumerate(_EDITABLE):
        other = right[:, column]
        differ = (values != other) & (values >= 0) & (other >= 0)
        bits = np.where(editable[values] & editable[other], np.uint32(0), _CLOSED) | np.uint32(1 << column)
        result |= np.where(differ, bits, np.uint32(0))[left[:, column]]  # nine rows to look up, not one per picture to compute
    return result


def _step_codes(bits: Int[np.ndarray, " e"], target: Int[np.ndarray, "e a"]) -> Int[np.ndarray, " e"]:
    """Dimension * 8 + value on the target, for the dimension of a single bit; anything where there is no bit."""
    dimension = np.maximum(np.frexp(bits.astype(np.float64))[1] - 1, 0).astype(np.int64)
    return dimension * 8 + target[np.arange(len(bits)), dimension]


def _draw(candidates: _Candidates, hashes: Int[np.ndarray, " g"], count: int) -> list[int]:
    """Positions of up to `count` candidates, balanced as the module says."""
    first, second = candidates.steps.T
    order = np.argsort(_mix(hashes[candidates.references], (first * 256 + second).astype(np.uint64)), kind="stable")
    double = second != _NO_STEP
    cells = sorted({*first.tolist(), *second[double].tolist()})
    of_cell = {cell: order[((first == cell) | (second == cell))[order]] for cell in cells}
    queues = {(cell, two): iter(rows[double[rows] == two].tolist()) for cell, rows in of_cell.items() for two in (False, True)}
    made: Counter[int] = Counter()
    used: Counter[int] = Counter()
    kinds: Counter[bool] = Counter()
    chosen: dict[int, None] = {}

    def take(queue: Iterator[int]) -> int | None:
        return next((place for place in queue if place not in chosen and used[int(candidates.references[place])] < PER_REFERENCE), None)

    while cells and len(chosen) < count:
        cell = min(cells, key=lambda cell: (made[cell], cell))
        tries = (take(queues[cell, two]) for two in sorted((False, True), key=lambda two: kinds[two]))
        place = next((place for place in tries if place is not None), None)
        if place is None:
            cells.remove(cell)
            continue
        chosen[place] = None
        used[int(candidates.references[place])] += 1
        kinds[bool(double[place])] += 1
        made.update(int(step) for step in candidates.steps[place] if step != _NO_STEP)
    return list(chosen)


def _steps(reference: Int[np.ndarray, " a"], codes: Int[np.ndarray, " 2"]) -> list[Step]:
    """Changes as words."""
    steps = []
    for code in codes[codes != _NO_STEP]:
        name = NAMES[code >> 3]
        steps.append((name, DIMENSIONS[name][reference[code >> 3]], DIMENSIONS[name][code & 7]))
    return steps


def _target(
    steps: Sequence[Step],
    row: int,
    members: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, "g a"],
    products: Int[np.ndarray, " g"],
    hashes: Int[np.ndarray, " g"],
    ids: Sequence[str],
    similarity: Similarity | None,
) -> int:
    """Gallery position of the designated target."""
    reference, others = codes[row], codes[members]
    goal = reference.copy()
    for name, _, after in steps:
        goal[NAMES.index(name)] = DIMENSIONS[name].index(after)
    changed = [NAMES.index(name) for name, _, _ in steps]
    agree = (others == goal) & (goal >= 0)
    fits = (agree | (others < 0) | (goal < 0)).all(axis=1) & agree[:, changed].all(axis=1) & (products[members] != products[row])
    number = np.where(fits, agree.sum(axis=1), -1)
    tied = members[number == number.max()]
    if similarity is not None:
        scores = np.asarray(similarity(ids[row], [ids[other] for other in tied]), np.float64)
        tied = tied[scores == scores.max()]
    return int(tied[_mix(hashes[tied], hashes[[row]]).argmin()])


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{VERSION}|{name}".encode()).digest()[:8], "big")


def _mix(left: Int[np.ndarray, " n"], right: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """One 64-bit hash of two, not symmetric; the finisher of SplitMix64 (Steele et al., 2014). Wraps around on every machine alike."""
    mixed = left ^ (right * np.uint64(0x9E3779B97F4A7C15))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
