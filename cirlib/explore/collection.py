"""What the page searches: atelier's drawn garments, or the pictures of an index."""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from cirlib.data.atelier.benchmark import load_pictures
from cirlib.data.atelier.draw import SIZE
from cirlib.data.atelier.render import draw_picture
from cirlib.types import Embeddings, ImageSet, InputError

SPLIT = "test"
SHOWN_PX = 240  # longest side of a picture on the page: sharp on screens with two dots a pixel
HELD_THUMBNAILS = 6000  # JPEGs of about 10 kB


@dataclass(frozen=True)
class Collection:
    """A gallery to explore.

    Attributes:
        name: In words, for the page.
        images: The gallery. `content_hash` opens no file that is known already.
        show: Reads or draws a picture for the eye, by id; it may be larger than what the encoders see.
        note: What a visitor should know; may be empty.
        example: A row and words that the page opens with; None opens it empty.
        plain: Rows of plain CLIP image embeddings where they exist already (an index).
    """

    name: str
    images: ImageSet
    show: Callable[[str], Image.Image]
    note: str = ""
    example: tuple[int, str] | None = None
    plain: Embeddings | None = None

    @functools.cached_property
    def thumbnail(self) -> Callable[[int], bytes]:
        """JPEG of a gallery row, at most `SHOWN_PX` a side; the most recent ones stay in memory.

        Raises:
            InputError: From the returned function: if there is no such row, or its file cannot be read any more.
        """

        @functools.lru_cache(HELD_THUMBNAILS)
        def make(row: int) -> bytes:
            if not 0 <= row < len(self.images):
                raise InputError(f"picture {row} asked for; rows go from 0 to {len(self.images) - 1}")
            return jpeg(self.show(self.images.ids[row]))

        return make

    @functools.cached_property
    def rows_by_content(self) -> dict[str, list[int]]:
        """Gallery rows by content hash; copies share one."""
        found: dict[str, list[int]] = {}
        for row, image_id in enumerate(self.images.ids):
            found.setdefault(self.images.content_hash(image_id), []).append(row)
        return found

    def starters(self, count: int, first: int = 0) -> list[int]:
        """Up to `count` rows, spread evenly over the gallery; another `first` gives others, until all were shown.

        Example:
            >>> images = ImageSet(tuple("abcdef"), None, None)
            >>> Collection("letters", images, None).starters(3), Collection("letters", images, None).starters(3, 1)
            ([0, 2, 4], [1, 3, 5])
        """
        total = len(self.images)
        count = min(count, total)
        return sorted({(total * place // count + first) % total for place in range(count)})


def atelier_collection(pictures: int = 5000) -> Collection:
    """The first pictures of atelier's test split. The page draws them anew, larger than the encoders see them.

    Raises:
        InputError: If fewer than 3 pictures are asked for, which leaves nothing to search.
    """
    if pictures < 3:
        raise InputError(f"{pictures} pictures asked for; a gallery to explore needs 3 or more")

    def draw(image_id: str) -> Image.Image:
        return Image.fromarray(draw_picture(SPLIT, int(image_id.rsplit("-", 1)[1]), SHOWN_PX))

    note = f"Garments are drawn at {SHOWN_PX} px for your eyes; the models see them at {SIZE} px."
    return Collection(f"atelier, {pictures:,} drawn garments", load_pictures(SPLIT, pictures), draw, note, (0, "in blue"))


def jpeg(image: Image.Image, longest_px: int = SHOWN_PX) -> bytes:
    """A picture as JPEG, shrunk to at most `longest_px` and never enlarged."""
    small = image.convert("RGB")
    small.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()
