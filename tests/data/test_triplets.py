"""Triplets and the sets that hold them."""

import pytest
from PIL import Image

from cirlib.data.triplets import Triplet, TripletSet, fill_reference_captions, join_images
from cirlib.types import ImageSet, InputError


def pictures(*ids, shade=0):
    return ImageSet(ids, lambda i: Image.new("RGB", (2, 2), (shade, 0, 0)), lambda i: f"{shade}-{i}")


def test_a_set_names_the_picture_that_it_lacks():
    TripletSet("ours", (Triplet("a", "is red", "b"),), pictures("a", "b"))
    with pytest.raises(InputError, match="'c', which is not among its 2 pictures"):
        TripletSet("ours", (Triplet("a", "is red", "c"),), pictures("a", "b"))


def test_joined_pictures_come_from_their_own_set():
    joined = join_images(pictures("a", "b", shade=1), pictures("c", shade=2))
    assert joined.ids == ("a", "b", "c")
    assert [joined.open(i).getpixel((0, 0))[0] for i in joined.ids] == [1, 1, 2]
    assert [joined.content_hash(i) for i in joined.ids] == ["1-a", "1-b", "2-c"]
    with pytest.raises(InputError, match="'a' is in both"):
        join_images(pictures("a"), pictures("b", "a"))


def test_captions_are_filled_in_or_missed():
    triplets = [Triplet("a", "is red", "b", "old"), Triplet("b", "is blue", "a", target_caption="kept")]
    filled = fill_reference_captions(triplets, {"a": "A", "b": "B"})
    assert [t.reference_caption for t in filled] == ["A", "B"] and filled[1].target_caption == "kept"
    with pytest.raises(InputError, match="'b' has no caption"):
        fill_reference_captions(triplets, {"a": "A", "b": ""})
