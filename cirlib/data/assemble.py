"""From parsed annotations and a folder of pictures to a `Benchmark`: the checks that every loader shares."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cirlib.data.files import Crop, PictureFolder, picture_set
from cirlib.data.manifest import Manifest, sha256_of
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query


def plain_name(image_id: str) -> tuple[str, ...]:
    """File name (no suffix) of pictures that are called like their id."""
    return (image_id,)


def coco_name(image_id: str) -> tuple[str, ...]:
    """File names of a COCO picture: twelve digits, or the plain number.

    Example:
        >>> coco_name("121506")
        ('000000121506', '121506')
    """
    return (f"{int(image_id):012d}", image_id)


def assemble(
    manifest: Manifest,
    split: str,
    queries: Sequence[Query],
    gallery: Iterable[str],
    protocol: BenchmarkProtocol,
    *,
    sources: Sequence[Path],
    pictures: PictureFolder,
    names: Callable[[str], tuple[str, ...]] = plain_name,
    crops: Mapping[str, tuple[str, Crop]] | None = None,
    allow_missing: bool = False,
) -> Benchmark:
    """Join queries, gallery and pictures, after checking that they fit together.

    Gallery rows are sorted by id. Ties between equal scores fall to the lower row, and the official lists begin with the pictures of the
    first queries: their order would tell a collapsed model where the targets are.

    With a folder of pictures that lacks some, nothing is loaded unless `allow_missing`. Then the gallery is what is there; a query whose
    target is missing stays and can only miss; a query whose reference is missing cannot be asked and is left out, with a warning that
    counts them. `cirlib data verify` states what that does to recall.

    Args:
        manifest: The benchmark's manifest.
        split: Name of the split.
        queries: In file order.
        gallery: Image ids, in any order, each once.
        protocol: See `BenchmarkProtocol`.
        sources: Annotation files; their checksums become the version.
        pictures: Where pictures are looked for; its root may be None.
        names: File names (without suffix) under which a picture of an id may lie.
        crops: Per id, a name of the cut and the cut.
        allow_missing: See above.

    Raises:
        InputError: If ids repeat, a query names pictures outside the gallery, or pictures are missing and may not be.
    """
    gallery = sorted(gallery)
    _check_ids(queries, set(gallery), sources[0])
    references = sorted({*gallery, *(query.reference for query in queries)})
    missing: tuple[str, ...] = ()
    if pictures.root is not None:
        missing = tuple(i for i in references if not pictures.has(*names(i)))
        if missing and not allow_missing:
            raise InputError(
                f"{len(missing):,} of {len(references):,} pictures of {manifest.title} are not in {pictures.root}, such as {missing[0]!r}; "
                f"see the bounds on recall with `cirlib data verify {manifest.name}`, then allow missing pictures if you accept them"
            )
    gone = set(missing)
    asked = tuple(query for query in queries if query.reference not in gone)
    if len(asked) < len(queries):
        warnings.warn(
            f"{len(queries) - len(asked):,} of {len(queries):,} queries left out: their reference picture is missing", stacklevel=3
        )
    crops = crops or {}
    everything = picture_set(
        (i for i in references if i not in gone),
        lambda image_id: pictures.find(*names(image_id), image_id=image_id),
        {image_id: cut for image_id, (_, cut) in crops.items()},
        {image_id: key for image_id, (key, _) in crops.items()},
    )
    version = f"{manifest.version}-{'-'.join(sha256_of(path)[:12] for path in sources)}"
    shown = everything.select(i for i in gallery if i not in gone)
    groups = {query.group for query in queries}
    part = groups.pop() if len(groups) == 1 else ""  # FashionIQ's category, GeneCIS's task
    return Benchmark(manifest.name, split, asked, shown, everything, protocol, missing=missing, version=version, part=part)


def _check_ids(queries: Sequence[Query], gallery: set[str], path: Path) -> None:
    seen: set[str] = set()
    for query in queries:
        if query.id in seen:
            raise InputError(f"{path}: query id {query.id!r} occurs twice; every query needs its own")
        seen.add(query.id)
        for image_id in (*query.positives, *query.subset):
            if image_id not in gallery:
                raise InputError(f"{path}, query {query.id!r}: image {image_id!r} is not in the gallery; the files do not belong together")


def check_choice(what: str, given: str, allowed: Iterable[str]) -> None:
    """Raise InputError unless `given` is one of `allowed`."""
    allowed = tuple(allowed)
    if given not in allowed:
        raise InputError(f"{what} {given!r} is unknown; choose one of {', '.join(allowed)}")
