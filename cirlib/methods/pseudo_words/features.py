"""Frozen CLIP features of pictures, computed once per content: global ones as the mappers read them, and every token of the image tower."""

import os

import torch
from accelerate import PartialState
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from cirlib._cache import cache_dir
from cirlib.backbones.clip import Clip
from cirlib.backbones.encode import encode_image_set
from cirlib.backbones.qformer_cache import VisionTokenCache, VisionTokens
from cirlib.data.transforms import ImageTransform
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import ImageSet


def image_features(encoder: ClipEncoder, images: ImageSet) -> Float[Tensor, "n d"]:
    """Image embeddings that are not normalised, in the order of `images.ids`, on the CPU; they share the cache of the gallery.

    Raises:
        InputError: If pictures cannot be read; the first ones are named.
    """
    return encode_image_set(encoder.clip, images, transform=encoder.transform, cache_dir=encoder.cache, progress=encoder.progress).rows


def clip_tokens(
    clip: Clip,
    images: ImageSet,
    folder: str | os.PathLike[str] | None = None,
    *,
    transform: ImageTransform | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> VisionTokens:
    """Every token of the image tower after the visual projection, kept on disk in float16; `.rows(ids)` reads some: (b, 1+p, d).

    Row 0 of a picture is its image embedding, rounded to float16. CLIP never trained the projection on the other tokens. A run that was
    killed goes on where it stopped. On disk: ViT-L/14 257 x 768 x 2 bytes = 0.39 MB a picture, the miniature 65 x 192 x 2 = 25 kB; hold
    `.rows(images.ids)` in memory where that fits.

    Args:
        clip: Frozen CLIP with a plain ViT.
        images: Pictures.
        folder: Where shards are kept; None: the user's cache folder.
        transform: Preprocessing; the checkpoint's own by default.
        batch_size: Pictures per forward pass and per shard.
        progress: Show a bar (first process only).

    Raises:
        InputError: If a picture cannot be read, or the image tower is not a plain ViT.
    """
    transform = transform or clip.transform
    cache = VisionTokenCache(folder or cache_dir("clip_tokens"), {**clip.fingerprint(transform), "tokens": "projected, float16"})
    known = cache.known()
    id_of = {images.content_hash(image_id): image_id for image_id in images.ids}
    state = PartialState(cpu=clip.device.type == "cpu")
    mine = [content for content in id_of if content not in known][state.process_index :: state.num_processes]
    with (
        tqdm(total=len(mine), desc="CLIP tokens", unit="picture", disable=not progress or not state.is_main_process) as bar,
        torch.no_grad(),
    ):
        for start in range(0, len(mine), batch_size):
            batch = mine[start : start + batch_size]
            pixels = torch.stack([transform(images.open(id_of[content])) for content in batch])
            cache.add(batch, clip.pixel_tokens(pixels).projected.half())
            bar.update(len(batch))
    state.wait_for_everyone()
    cache.known()
    return VisionTokens(cache, images)
