"""Download public annotation files: with checksums, resumed where an earlier try stopped, whole or absent.

A file grows as `NAME.part` beside its target and takes its place when it is complete and its checksum is right. The next try asks the
server for the rest only (HTTP Range); a server that sends everything again works as well.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from cirlib.data.manifest import AnnotationFile, Manifest, sha256_of
from cirlib.types import InputError

_CHUNK = 1 << 16
Progress = Callable[[int, int | None], None]


def fetch_file(
    url: str, path: str | os.PathLike[str], sha256: str | None = None, *, progress: Progress | None = None, timeout: float = 30
) -> str:
    """Download one file, or find that it is there.

    Args:
        url: http or https address.
        path: Where it goes; missing folders are made.
        sha256: Expected checksum, hex; None accepts what the server sends.
        progress: Called with (bytes so far, bytes in all or None).
        timeout: Seconds without an answer before giving up.

    Returns:
        "present" (it was there, with the right checksum or none to compare), or "fetched".

    Raises:
        InputError: If the address does not answer or the transfer breaks (what arrived is kept for the next try), or if the checksum is
            wrong (the download is removed; a file that was there before stays).
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"address {url!r} cannot be used; give one that begins with http:// or https://")
    if path.is_file() and (sha256 is None or sha256_of(path) == sha256):
        return "present"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _download(url, part, progress, timeout)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        kept = part.stat().st_size if part.exists() else 0
        advice = (
            f"{kept:,} bytes are kept, run the command again to go on" if kept else "check the address and the connection, then try again"
        )
        raise InputError(f"{url} could not be fetched ({reason}); {advice}") from None
    found = sha256_of(part)
    if sha256 is not None and found != sha256:
        part.unlink()
        given = f"{url} has the checksum {found[:12]}..., {sha256[:12]}... expected"
        raise InputError(f"{given}; the download was removed, try again or ask the authors")
    os.replace(part, path)
    return "fetched"


def _download(url: str, part: Path, progress: Progress | None, timeout: float) -> None:
    """Append what is missing to `part`, or write it anew if the server sends everything."""
    held = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 416 or not held:
                raise
        # Nothing lies beyond what we hold: the file is complete, or it has become shorter. The checksum or a fresh start decides.
        part.unlink()
        _download(url, part, progress, timeout)
        return
    with response:
        resumed = response.status == 206 and _range_start(response) == held
        if not resumed and response.status == 206:
            raise InputError(f"{url} answered with a part that was not asked for; remove {part} and try again")
        done = held if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


def _range_start(response: HTTPResponse) -> int:
    """First byte of a partial answer, from "Content-Range: bytes 100-199/200"; -1 if it does not say."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes").strip().partition("-")[0]
    return int(start) if start.isdecimal() else -1


def fetch_annotations(
    manifest: Manifest,
    root: str | os.PathLike[str],
    base_url: str | None = None,
    *,
    progress: Callable[[AnnotationFile], Progress] | None = None,
    done: Callable[[AnnotationFile, str], None] | None = None,
) -> None:
    """Download every annotation file of a benchmark into its official folder tree below `root`.

    Args:
        manifest: The benchmark's manifest.
        root: Folder to fill.
        base_url: Another server with the same tree; default is the official repository.
        progress: Gives a progress callback for a file.
        done: Called after each file with "present", "fetched" or, for a file that the evaluation does not need, "failed: " and the reason.

    Raises:
        InputError: As `fetch_file`, for a file that the evaluation needs; files that came before it stay. Also if there is no address.
    """
    if not (base_url or manifest.base_url):
        raise InputError(f"the files of {manifest.title} have no address to be fetched from without asking their owners. {manifest.where}")
    base = (base_url or manifest.base_url).rstrip("/") + "/"
    for file in manifest.files:
        path = file.find(Path(root)) or Path(root, file.path)
        try:
            state = fetch_file(base + file.path, path, file.sha256, progress=progress(file) if progress else None)
        except InputError as error:
            if not file.optional:
                raise
            state = f"failed: {error}"
        if done:
            done(file, state)
