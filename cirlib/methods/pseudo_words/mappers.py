"""Mappers: small networks from the image embedding of a frozen CLIP to one pseudo-word.

The embedding enters as it comes from the image tower, not at unit length.
"""

from jaxtyping import Float
from torch import Tensor, nn

from cirlib.types import InputError


class Pic2WordMapper(nn.Module):
    """Pic2Word's mapper, which the released Map-to-Compose code uses unchanged: d -> 512 -> 512 -> t.

    Two blocks of linear, dropout, ReLU (in this order), then a plain linear layer (paper). 1,050,368 parameters on ViT-L/14.

    Args:
        d: Width of the joint space.
        t: Width of the token embeddings.
        hidden: Width inside; 512 in the source, whatever the CLIP.
        dropout: Share that is dropped.
    """

    def __init__(self, d: int, t: int, hidden: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        self.settings = {"d": d, "t": t, "hidden": hidden, "dropout": dropout}
        self.layers = nn.Sequential(*_block(d, hidden, dropout, nn.ReLU), *_block(hidden, hidden, dropout, nn.ReLU), nn.Linear(hidden, t))

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b t"]:
        """Pseudo-words of image embeddings that are not normalised."""
        return self.layers(features)


class SearleMapper(nn.Module):
    """SEARLE's and LinCIR's mapper: d -> 4d -> 4d -> t with GELU and dropout after it (paper). 14,162,688 parameters on ViT-L/14.

    Args:
        d: Width of the joint space.
        t: Width of the token embeddings.
        factor: Width inside as a multiple of d.
        dropout: Share that is dropped.
    """

    def __init__(self, d: int, t: int, factor: int = 4, dropout: float = 0.5) -> None:
        super().__init__()
        self.settings = {"d": d, "t": t, "factor": factor, "dropout": dropout}
        wide = factor * d
        self.layers = nn.Sequential(
            nn.Linear(d, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, t)
        )

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b t"]:
        """Pseudo-words of image embeddings that are not normalised."""
        return self.layers(features)


Mapper = Pic2WordMapper | SearleMapper
MAPPERS: dict[str, type[Mapper]] = {"pic2word": Pic2WordMapper, "searle": SearleMapper}


def build_mapper(kind: str, **settings: float) -> Mapper:
    """A mapper by the name of its kind, with random weights from torch's generator.

    Raises:
        InputError: If the kind is not known.

    Example:
        >>> sum(p.numel() for p in build_mapper("searle", d=768, t=768).parameters())
        14162688
    """
    if kind not in MAPPERS:
        raise InputError(f"mapper {kind!r} is not known; choose {' or '.join(MAPPERS)}")
    return MAPPERS[kind](**settings)


def mapper_kind(mapper: nn.Module) -> str:
    """Name of a mapper's kind, as `build_mapper` takes it.

    Raises:
        InputError: If it is no mapper of this file.
    """
    for kind, cls in MAPPERS.items():
        if type(mapper) is cls:
            return kind
    raise InputError(f"{type(mapper).__name__} is no mapper that can be named; known are {', '.join(MAPPERS)}")


def _block(width: int, wide: int, dropout: float, activation: type[nn.Module]) -> list[nn.Module]:
    return [nn.Linear(width, wide), nn.Dropout(dropout), activation()]
