"""The picture that a search starts from: a row of the gallery, or an upload."""

from dataclasses import dataclass

from cirlib.explore.collection import Collection
from cirlib.explore.uploads import Upload
from cirlib.types import ImageSet, InputError

UPLOADED = "uploaded picture"  # id of an upload; ids of galleries end in a number or in the suffix of a file


@dataclass(frozen=True)
class Reference:
    """Exactly one of the two.

    Attributes:
        row: Gallery row.
        upload: A checked picture.
    """

    row: int | None = None
    upload: Upload | None = None

    def __post_init__(self) -> None:
        if (self.row is None) == (self.upload is None):
            raise ValueError("a reference is a gallery row or an upload, and not both")

    def within(self, collection: Collection) -> tuple[str, ImageSet]:
        """Its id, and a set that holds it.

        Raises:
            InputError: If the gallery has no such row.
        """
        if self.upload is not None:
            upload = self.upload
            return UPLOADED, ImageSet((UPLOADED,), lambda _: upload.image, lambda _: upload.content)
        if not 0 <= self.row < len(collection.images):
            raise InputError(f"picture {self.row} asked for; the gallery has rows 0 to {len(collection.images) - 1}, pick one of them")
        return collection.images.ids[self.row], collection.images

    def copies(self, collection: Collection) -> list[int]:
        """Gallery rows that show the very picture, for leaving them out; the row itself among them."""
        image_id, images = self.within(collection)
        content = images.content_hash(image_id)
        return sorted(collection.rows_by_content.get(content, ()))
