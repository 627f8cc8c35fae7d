"""Pictures that a visitor hands over: checked before they are decoded, held in memory, never written anywhere.

The page reads the file in the browser and sends it inside a request, so that nothing passes through a folder for uploads on the server.
"""

import base64
import binascii
import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image

from cirlib.data.files import upright_rgb
from cirlib.types import InputError

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 40_000_000  # a phone's camera has 12 to 50 million; decoded, this is 120 MB
LEAST_SIDE, MOST_RATIO = 16, 20  # px, and longest side over shortest
HELD_PX = 1024  # longest side of what is kept: more than any encoder here reads
TYPES = ("JPEG", "PNG", "WEBP")
_ALLOWED = f"give a JPEG, PNG or WebP of at most {MOST_BYTES // 2**20} MB"


@dataclass(frozen=True)
class Upload:
    """A checked picture.

    Attributes:
        image: Upright RGB, its longest side at most `HELD_PX`.
        name: File name, for the page.
        content: SHA-256 of the file, which also finds the very file in an index.
    """

    image: Image.Image
    name: str
    content: str


def read_data_url(text: object, name: object = "") -> Upload:
    """A picture from a data URL (`data:image/png;base64,...`), as a browser's file reader makes it.

    The stated type is not believed; the file itself decides.

    Raises:
        InputError: If it is no such URL, or `read_upload` refuses the file.
    """
    head, comma, body = str(text).partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise InputError(f"no file arrived; {_ALLOWED}")
    if len(body) > 4 * (MOST_BYTES // 3 + 2):
        raise InputError(f"the file is larger than {MOST_BYTES // 2**20} MB; {_ALLOWED}")
    try:
        return read_upload(base64.b64decode(body, validate=True), name)
    except binascii.Error:
        raise InputError(f"the file did not arrive whole; send it again, and {_ALLOWED}") from None


def read_upload(data: bytes, name: object = "") -> Upload:
    """Check a file and decode it: bytes, type by content, and pixels, all before one is decoded. Then EXIF turns it upright.

    Args:
        data: The file.
        name: Its name, for messages; shortened, and never used as a path.

    Raises:
        InputError: In one line, if the file is too large, of another type, damaged, or of a size that no encoder can use.
    """
    name = "".join(letter for letter in str(name).replace("\\", "/").rpartition("/")[2] if letter.isprintable())[:60]
    shown = f"“{name}”" if name else "the file"
    if len(data) > MOST_BYTES:
        raise InputError(f"{shown} has {len(data) / 2**20:.1f} MB; {_ALLOWED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's on odd metadata and large pictures: what matters is checked here
            with Image.open(io.BytesIO(data), formats=TYPES) as image:
                _check_size(shown, *image.size)
                upright = upright_rgb(image)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{shown} has far more than {MOST_PIXELS // 10**6} million pixels; give a smaller picture") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{shown} is no picture of a known type; {_ALLOWED}") from None
    except Exception as error:  # a damaged file raises whatever its decoder meets first
        raise InputError(f"{shown} is damaged and cannot be read ({type(error).__name__}); {_ALLOWED}") from None
    upright.thumbnail((HELD_PX, HELD_PX), Image.Resampling.LANCZOS)
    return Upload(upright, name or "a picture", hashlib.sha256(data).hexdigest())


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(f"{name} has {width:,} x {height:,} pixels; at most {MOST_PIXELS // 10**6} million are read, shrink it")
    if min(width, height) < LEAST_SIDE or max(width, height) > MOST_RATIO * min(width, height):
        raise InputError(
            f"{name} has {width:,} x {height:,} pixels; each side needs {LEAST_SIDE} or more, and none {MOST_RATIO} times the other"
        )
