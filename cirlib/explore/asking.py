"""How each family of methods is asked, and how it explains itself: what it made of the query, and why a result is there.

The three weights are factors on what a method uses anyway, so that 1 is the method as it was tuned:

    sum        unit(want (1 - w) text + anchor w image) - avoid 0.5 without             `cirlib search` has the same sum
    Pix2Key    want alpha, anchor beta, avoid (1 - alpha), divided by a common factor, which changes no order
    others     have no such weights; "but without" joins the text as words
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.methods.baselines import CaptionRewrite, ImageOnly, TextOnly, WeightedSum
from cirlib.methods.baselines.combiner import CombinerMethod
from cirlib.methods.dqe_cir.method import DqeCir
from cirlib.methods.pix2key.explanation import Constraint, explain, list_constraints
from cirlib.methods.pix2key.method import Pix2Key
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.types import ImageSet, InputError, Method, Query

WITHOUT_WEIGHT = 0.5  # of the sum's exception, as in `cirlib search`
NEIGHBOURS = 6  # words shown for a pseudo-word


@dataclass(frozen=True)
class Wish:
    """What is asked for. Texts may be empty; weights are factors, 1 is the method as tuned."""

    text: str = ""
    without: str = ""
    want: float = 1.0
    anchor: float = 1.0
    avoid: float = 1.0

    @property
    def words(self) -> str:
        """Text and exception as one sentence.

        Example:
            >>> Wish("in red", "a belt").words, Wish("", "a belt").words
            ('in red, without a belt', 'without a belt')
        """
        return ", ".join(part for part in (self.text, f"without {self.without}" if self.without else "") if part)


@dataclass(frozen=True)
class Fact:
    """One line about the query: a label, and values with how strong each is (a fraction for a bar) where that is known."""

    label: str
    values: tuple[tuple[str, float | None], ...]
    tone: str = ""  # "want", "keep", "avoid" or ""


@dataclass(frozen=True)
class Why:
    """Why a result is there: constraints held against it where the method has some, else cosines; the method's own score if it has one."""

    constraints: tuple[Constraint, ...] = ()
    cosines: tuple[tuple[str, float], ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Asked:
    """A composed query.

    Attributes:
        row: (d,) unit row in the method's space.
        facts: What the method made of the query.
        why: Explains some results, from their gallery ids and unit rows (n, d).
        notes: What the visitor should know.
    """

    row: Tensor
    facts: tuple[Fact, ...] = ()
    why: Callable[[Sequence[str], Tensor], list[Why]] = lambda ids, rows: [Why()] * len(ids)
    notes: tuple[str, ...] = ()


def ask(method: Method, wish: Wish, reference: tuple[str, ImageSet] | None, gallery: ImageSet) -> Asked:
    """Compose the query of one method.

    Args:
        method: Of any family; one that is not known here is asked with the words, and explains nothing.
        wish: Texts and weights.
        reference: Id of the reference picture and the set that holds it, or None.
        gallery: What is searched, for explanations.

    Raises:
        InputError: If the method needs a picture or words that are not there, or cannot make sense of them.
    """
    _check_needs(method, wish, reference)
    if isinstance(method, WeightedSum):
        return _ask_sum(method, wish, reference)
    if isinstance(method, Pix2Key):
        return _ask_pix2key(method, wish, reference, gallery)
    image_id, images = reference or ("", gallery)
    queries = [Query("page", image_id, wish.words)]
    row = method.compose(queries, images).rows[0].float().cpu()
    notes = []
    if (wish.want, wish.anchor, wish.avoid) != (1, 1, 1):
        notes.append(f"{method.name} has no want, anchor or avoid weights: they change nothing here.")
    if type(method) is ImageOnly and wish.words:
        notes.append(f"{method.name} looks at the picture alone: words change nothing here.")
    return Asked(row, _facts(method, queries, images), notes=tuple(notes))


def _check_needs(method: Method, wish: Wish, reference: object) -> None:
    picture = not isinstance(method, TextOnly | WeightedSum)
    words = not isinstance(method, ImageOnly) or isinstance(method, TextOnly)
    if isinstance(method, WeightedSum) and reference is None and not wish.text:
        raise InputError("there is nothing to search for; pick a picture, say what to look for, or both")
    if picture and reference is None:
        raise InputError(f"{method.name} needs a reference picture; pick or upload one, or choose sum or text only")
    if words and not wish.words:
        raise InputError(f"{method.name} needs to know what to change; type it, or choose sum or image only")


def _facts(method: Method, queries: list[Query], images: ImageSet) -> tuple[Fact, ...]:
    """What a method made of one query."""
    if isinstance(method, PseudoWordMethod):
        words = method.neighbours(method.words(images.select([queries[0].reference])), NEIGHBOURS)[0]
        return (Fact("The picture as a word is nearest to", tuple((word, cosine) for word, cosine in words)),)
    if isinstance(method, DqeCir):
        present, weights = method.attribute_weights(queries, images)
        shown = zip(method.composer.attributes.groups, present[0].tolist(), weights[0].tolist(), strict=True)
        return (
            Fact("Attribute weights", tuple((name if acts else f"{name} (not named)", w if acts else None) for name, acts, w in shown)),
        )
    if isinstance(method, CaptionRewrite):
        caption = method.target_captions(queries, images)[0]
        return (Fact("Looks for", ((f"“{caption}”", None),)),)
    if isinstance(method, CombinerMethod):
        return (Fact("Leans on", (("the text", float(method.text_shares(queries, images)[0])),)),)
    return ()


def _ask_sum(method: WeightedSum, wish: Wish, reference: tuple[str, ImageSet] | None) -> Asked:
    encoder, parts = method.encoder, {}
    both = reference is not None and bool(wish.text)
    if reference is not None:
        image_id, images = reference
        share = wish.anchor * method.weight if both else 1.0
        parts["picture"] = share, encoder.images(images.select([image_id])).rows[0]
    if wish.text:
        parts["text"] = wish.want * (1 - method.weight) if both else 1.0, encoder.texts([wish.text])[0]
    total = sum(share for share, _ in parts.values())
    if not total:
        raise InputError("want and anchor leave nothing to search for; raise one of the two")
    row = normalize(sum(share * row for share, row in parts.values()), dim=0)
    if wish.without:
        parts["without"] = -wish.avoid * WITHOUT_WEIGHT, encoder.texts([wish.without])[0]
        row = normalize(row + parts["without"][0] * parts["without"][1], dim=0)
    mixed = Fact("Mix", tuple((name, share / total) for name, (share, _) in parts.items() if name != "without"))
    held = torch.stack([vector for _, vector in parts.values()])

    def why(ids: Sequence[str], rows: Tensor) -> list[Why]:
        return [Why(cosines=tuple(zip(parts, cosines, strict=True))) for cosines in (rows @ held.T).tolist()]

    return Asked(row, (mixed,) if both else (), why)


def _ask_pix2key(method: Pix2Key, wish: Wish, reference: tuple[str, ImageSet], gallery: ImageSet) -> Asked:
    options = method.options
    wants, avoids = wish.want * options.alpha, wish.avoid * (1 - options.alpha)
    if not wants + avoids:
        raise InputError("want and avoid are both 0, and Pix2Key weighs one against the other; raise one of the two")
    weighted = method.variant(alpha=wants / (wants + avoids), beta=wish.anchor * options.beta / (wants + avoids))
    image_id, images = reference
    query, own = Query("page", image_id, wish.words), images.select([image_id])
    (shown,) = method.read(own)
    if wish.without and not method.parser.parse([f"without {wish.without}"], [shown])[0].avoids:
        raise InputError(f"“{wish.without}” names nothing that the parser ({method.parser.name}) knows; say it in other words")
    notes = []
    if wish.text and not method.parser.parse([wish.text], [shown])[0]:
        notes.append(f"The parser ({method.parser.name}) read no change in the text; results keep what the reference shows.")
    row = weighted.compose([query], own).rows[0].float().cpu()
    (signed,) = weighted.signed([query], own)
    facts = {
        sign: Fact(label, tuple((entry.text, None) for its, entry in list_constraints(signed) if its == sign), sign)
        for sign, label in (("want", "wants"), ("keep", "keeps"), ("avoid", "avoids"))
    }

    def why(ids: Sequence[str], rows: Tensor) -> list[Why]:
        return [Why(item.constraints, score=item.score) for item in explain(weighted, query, own, ids, gallery)]

    return Asked(row, tuple(fact for fact in facts.values() if fact.values), why, tuple(notes))
