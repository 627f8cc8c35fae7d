"""Text-to-image retrieval on atelier: a caption that names every attribute, and the picture that it was written for."""

from cirlib.data.atelier.benchmark import load_pictures
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.schema import VERSION
from cirlib.data.atelier.splits import generator, picture
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query


def load_caption_retrieval(split: str = "test", pictures: int = 1024) -> Benchmark:
    """One full caption per design of the first `pictures` of a split, searched among all of them.

    Positives are all pictures of the same design (a family draws some designs twice). The reference of a query is its own target, which a
    text-only method never opens.

    Raises:
        InputError: If the split does not exist or there are fewer than 50 pictures.
    """
    if pictures < 50:
        raise InputError(f"{pictures} pictures asked for; R@50 needs 50 or more")
    known = [picture(split, index) for index in range(pictures)]
    by_design: dict[tuple, list[str]] = {}
    for shown in known:
        by_design.setdefault(tuple(shown.design.items()), []).append(shown.id)
    queries = tuple(
        Query(f"caption-{ids[0]}", ids[0], caption(generator(split, place, 3), dict(design), tuple(dict(design))), tuple(ids))
        for place, (design, ids) in enumerate(by_design.items())
    )
    gallery = load_pictures(split, pictures)
    protocol = BenchmarkProtocol(
        exclude_reference=False, recall_at=(1, 5, 10, 50), map_at=(10,), gallery=f"first {pictures} pictures of {split}"
    )
    return Benchmark("atelier-captions", split, queries, gallery, gallery, protocol, {p.id: dict(p.design) for p in known}, version=VERSION)
