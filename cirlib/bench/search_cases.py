"""The galleries of `cirlib bench search`, by name and size; `cirlib.bench.search_data` makes them. The command line loads nothing more."""

from dataclasses import dataclass

_SIZES = (1, 16, 64, 256, 1024)


@dataclass(frozen=True)
class Data:
    """One gallery and its queries.

    Attributes:
        name: Stands in the name of a case.
        kind: "even" (directions without structure), "clip-like" (a common mean and a decaying spectrum, as CLIP's embeddings have),
            "atelier" (the shipped CLIP's embeddings of drawn clothes) or "photos" (its embeddings of a folder of photographs).
        rows: Rows of the gallery; 0 for all real ones. Where there are more than real ones, near-duplicates fill up.
        dim: Entries of a random row.
        queries: How many at once, one case each.
    """

    name: str
    kind: str
    rows: int
    dim: int = 512
    queries: tuple[int, ...] = _SIZES


DATA = (
    Data("even-1m", "even", 1_000_000),
    Data("clip-like-1m", "clip-like", 1_000_000),
    Data("even-200k", "even", 200_000, queries=(16, 256)),
    Data("atelier", "atelier", 0, queries=(1, 64, 1024)),
    Data("atelier-copies-200k", "atelier", 200_000, queries=(1, 64, 1024)),
    Data("photos", "photos", 0, queries=(1, 64, 1024)),
    Data("photos-copies-200k", "photos", 200_000, queries=(1, 64, 1024)),
)
