"""What a visitor hands over: good pictures come back upright, everything else is refused in one line before it is decoded."""

import base64
import hashlib
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cirlib.explore.uploads import HELD_PX, MOST_BYTES, read_data_url, read_upload
from cirlib.types import InputError


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that states a size and holds no pixel: whoever decodes before looking at the size fails in another way."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pictures_come_back_as_rgb(form):
    data = encoded(Image.new("RGB", (40, 30), (250, 0, 0)), form)
    upload = read_upload(data, "C:\\photos\\my <coat>.png")
    assert upload.image.mode == "RGB" and upload.image.size == (40, 30) and upload.image.getpixel((5, 5))[0] > 240
    assert upload.name == "my <coat>.png" and upload.content == hashlib.sha256(data).hexdigest()


def test_exif_turns_a_picture_upright_and_transparency_lies_on_white():
    image = Image.new("RGB", (40, 30), "black")
    image.paste("white", (0, 0, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: the first column is the top row
    upright = read_upload(encoded(image, "JPEG", exif=exif, quality=95)).image
    assert upright.size == (30, 40) and upright.getpixel((15, 2))[0] > 240 and upright.getpixel((15, 37))[0] < 15
    assert read_upload(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))).image.getpixel((3, 3)) == (255, 255, 255)


def test_large_pictures_are_held_smaller():
    assert read_upload(encoded(Image.new("RGB", (3000, 1500)), "JPEG")).image.size == (HELD_PX, HELD_PX // 2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no picture of a known type"),
        (b"%PDF-1.4 not a picture", "no picture of a known type"),
        (encoded(Image.new("RGB", (30, 30)), "GIF"), "no picture of a known type"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "no picture of a known type"),
        (encoded(Image.effect_noise((300, 300), 90).convert("RGB"), "JPEG")[:2000], "damaged"),
        (png_header(30, 30), "damaged"),
        (png_header(20_000, 20_000), "pixels"),
        (png_header(8_000, 6_000), "8,000 x 6,000 pixels; at most 40 million"),
        (encoded(Image.new("RGB", (15, 400))), "each side needs 16 or more"),
        (encoded(Image.new("RGB", (16, 400))), "none 20 times the other"),
        (bytes(MOST_BYTES + 1), "MB; give a JPEG, PNG or WebP of at most 10 MB"),
    ],
)
def test_everything_else_is_refused_in_one_line(data, told):
    with pytest.raises(InputError) as refused:
        read_upload(data, "a\nb.png")
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_data_urls():
    data = encoded(Image.new("RGB", (20, 20), "red"))
    upload = read_data_url("data:text/html;base64," + base64.b64encode(data).decode(), None)
    assert upload.image.size == (20, 20), "the stated type is not believed"
    for text in (None, 7, "", "data:image/png", "data:image/png;base64", "http://example.com/a.png", "file:///etc/passwd,;base64"):
        with pytest.raises(InputError, match="no file arrived"):
            read_data_url(text)
    with pytest.raises(InputError, match="did not arrive whole"):
        read_data_url("data:image/png;base64,????")
    with pytest.raises(InputError, match="larger than 10 MB"):
        read_data_url("data:image/png;base64," + "A" * (4 * MOST_BYTES // 3 + 100))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x20\0\0\0WEBPVP8 "]),
    st.text(max_size=80),
)
def test_no_bytes_do_anything_but_refuse(data, head, name):
    with pytest.raises(InputError) as refused:
        read_upload(head + data, name)
    assert len(str(refused.value).splitlines()) == 1
