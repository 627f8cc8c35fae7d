"""`cirlib data`: list the benchmarks, fetch their annotation files, verify a folder."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cirlib.data.manifest import Manifest
    from cirlib.data.verify import Bounds
    from cirlib.types import Benchmark


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("data", help="list, fetch and verify benchmark data")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="benchmarks: what they are, their licence, where their pictures are to be had")
    fetch = actions.add_parser("fetch", help="download the public annotation files of a benchmark")
    fetch.add_argument("name", metavar="NAME", help="fashioniq, cirr, circo or genecis")
    fetch.add_argument("--root", required=True, metavar="DIR", help="folder to fill; an interrupted download goes on where it stopped")
    fetch.add_argument("--base-url", metavar="URL", help="another server with the same folder tree")
    verify = actions.add_parser("verify", help="counts, checksums, missing and unreadable pictures, and the bounds that they put on recall")
    verify.add_argument("name", metavar="NAME", help="fashioniq, cirr, circo, genecis or dfmm")
    verify.add_argument("--root", required=True, metavar="DIR", help="annotation folder")
    verify.add_argument("--images", metavar="DIR", help="picture folder; default: the usual places below --root")
    verify.add_argument("--split", default="val", help="split whose pictures are looked at (default: val)")
    verify.add_argument("--allow-missing", action="store_true", help="exit with 0 although pictures are missing or unreadable")
    verify.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the action. Returns 1 when `verify` finds something wrong or `fetch` had to leave a file out, else 0."""
    return {"list": _list, "fetch": _fetch, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from cirlib.data.manifest import NAMES, load_manifest

    for manifest in map(load_manifest, NAMES):
        val = [counts["queries"] for part, counts in manifest.counts.items() if part.startswith("val/")]
        print(f"{manifest.name:<10} {manifest.title}, {sum(val):,} val queries. {manifest.licence}. {manifest.source}")
        print(f"{'':<10} {manifest.where}\n")
    print("Annotations of all but dfmm: cirlib data fetch NAME --root DIR. Drawn garments that need no download: cirlib.data.atelier.")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from cirlib.data.fetch import fetch_annotations
    from cirlib.data.manifest import load_manifest

    manifest = load_manifest(args.name)
    bars, failed = {}, []

    def progress(file):
        def show(done: int, total: int | None) -> None:
            bar = bars.setdefault(file.path, tqdm(total=total, unit="B", unit_scale=True, desc=file.path, disable=None, leave=False))
            bar.update(done - bar.n)

        return show

    def report(file, state: str) -> None:
        if file.path in bars:
            bars.pop(file.path).close()
        word, _, reason = state.partition(": ")
        failed.extend([file.path] if reason else [])
        note = reason or ("" if file.sha256 else "no checksum is known for this file")
        print(f"{word:<8} {file.path}{'  (' + note + ')' if note else ''}")

    try:
        fetch_annotations(manifest, args.root, args.base_url, progress=progress, done=report)
    finally:
        for bar in bars.values():
            bar.close()
    complete = f"complete but for {', '.join(failed)}, which the evaluation does not need," if failed else "complete"
    print(f"\n{manifest.title}: annotations {complete} in {args.root}. Licence: {manifest.licence}.\n{manifest.where}")
    print(f"Then: cirlib data verify {manifest.name} --root {args.root} --images DIR")
    return 1 if failed else 0


def _verify(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from cirlib.data.assemble import check_choice
    from cirlib.data.files import PictureFolder
    from cirlib.data.manifest import load_manifest
    from cirlib.data.registry import SPLITS
    from cirlib.data.verify import bound_recall, check_files, find_bad_pictures

    manifest = load_manifest(args.name)
    check_choice(f"split of {args.name}", args.split, SPLITS[args.name])
    files = check_files(manifest, args.root)
    parts, problems = _load_parts(manifest, args.root, {file.path for file in files if not file.state.startswith("absent")})
    problems = [f"{file.path} is {file.state}" for file in files if file.state in ("changed", "absent")] + problems
    folder = manifest.picture_folder(args.root, args.images)
    wanted = {part: benchmark for part, benchmark in parts.items() if benchmark.split == args.split}
    missing, unreadable, bounds = {}, {}, []
    if folder is not None:
        ids = {image_id for benchmark in wanted.values() for image_id in benchmark.references.ids}
        missing, unreadable = find_bad_pictures(manifest, ids, PictureFolder(folder), _progress_bar)
        bounds = [bound_recall(manifest, benchmark, part, missing | unreadable) for part, benchmark in wanted.items()]
        if (missing or unreadable) and not args.allow_missing:
            problems.append(f"{len(missing):,} pictures are missing and {len(unreadable):,} unreadable; --allow-missing accepts that")
    found = {
        "name": args.name,
        "root": str(args.root),
        "ok": not problems,
        "problems": problems,
        "files": [asdict(file) for file in files],
        "counts": {part: {"queries": len(b.queries), "gallery": len(b.gallery)} for part, b in parts.items()},
        "galleries": {part: b.protocol.gallery for part, b in parts.items()},
        "pictures": {"folder": None if folder is None else str(folder), "missing": sorted(missing), "unreadable": unreadable},
        "bounds": [asdict(bound) | {"max_recall": bound.max_recall} for bound in bounds],
    }
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _print_findings(manifest, found, bounds)
    return 0 if found["ok"] else 1


def _load_parts(manifest: "Manifest", root: str, present: set[str]) -> tuple[dict[str, "Benchmark"], list[str]]:
    """Every part whose files are there, loaded without pictures and with its counts checked; and what went wrong."""
    from cirlib.data.registry import SPLITS, load_benchmarks
    from cirlib.types import InputError

    parts, problems = {}, []
    for split in SPLITS[manifest.name]:
        whole = manifest.name in ("genecis", "dfmm")  # their files hold every split
        needed = [file.path for file in manifest.files if whole or f".{split}." in file.path or f"/{split}." in file.path]
        if not all(path in present for path in needed if "_ext" not in path):
            continue
        try:
            for benchmark in load_benchmarks(manifest.name, root, split, images=False):
                group = benchmark.queries[0].group
                parts[f"{split} {group}".rstrip()] = benchmark
        except InputError as error:
            problems.append(str(error))
    return parts, problems


def _progress_bar(names):
    from tqdm import tqdm

    return tqdm(names, desc="pictures", unit="", disable=None, leave=False, file=sys.stderr)


def _print_findings(manifest: "Manifest", found: dict, bounds: list["Bounds"]) -> None:
    states = [file["state"] for file in found["files"]]
    print(f"{manifest.title}, {found['root']}")
    said = {"ok": "with the right checksum", "unchecked": "there, but no checksum is known", "changed": "CHANGED"}
    print("  files    " + ", ".join(f"{states.count(state)} {said.get(state, state)}" for state in dict.fromkeys(states)))
    for part, counts in found["counts"].items():
        print(f"  counts   {part:<21} {counts['queries']:>6,} queries, gallery {counts['gallery']:>7,}")
    if manifest.name == "dfmm":  # its gallery is chosen from the labels, so say how
        for part, gallery in found["galleries"].items():
            print(f"  gallery  {part:<21} {gallery}")
    pictures = found["pictures"]
    if pictures["folder"] is None:
        print(f"  pictures not looked at: no folder was given or found. {manifest.where}")
    else:
        print(f"  pictures {pictures['folder']}: {len(pictures['missing']):,} missing, {len(pictures['unreadable']):,} unreadable")
        _print_some("missing", pictures["missing"])
        _print_some("unreadable", list(pictures["unreadable"].values()))
    for bound in bounds:
        print(f"  recall   {bound.part:<21} {_bound_in_words(bound)}")
    for problem in found["problems"]:
        print(f"  WRONG    {problem}")
    print("OK" if found["ok"] else "Not OK")


def _bound_in_words(bound: "Bounds") -> str:
    if bound.answerable == bound.queries and not bound.missing_gallery:
        return "not limited: every picture is there"
    return (
        f"at most {100 * bound.max_recall:.2f} % here: {bound.answerable:,} of {bound.queries:,} queries have both pictures.\n{'':33}"
        f"With all pictures R@K lies between R@(K - {bound.missing_gallery:,}) and R@K + {100 * (1 - bound.max_recall):.2f} points."
    )


def _print_some(what: str, names: list[str], limit: int = 5) -> None:
    for name in names[:limit]:
        print(f"           {what}: {name}")
    if len(names) > limit:
        print(f"           ... and {len(names) - limit:,} more; --json lists all")
