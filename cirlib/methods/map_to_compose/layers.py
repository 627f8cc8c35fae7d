"""After which text blocks something is put: the released code's choices for CLIP's 12 blocks, carried over to towers of any depth.

A choice is read as "after this share of the tower": block l of 12 becomes the block that ends at the share (l + 1) / 12 of the depth,
rounded up, duplicates dropped. For 12 blocks that is the choice itself; for other depths it is our choice.
"""

from cirlib.types import InputError

CLIP_DEPTH = 12  # blocks of the text tower that the released code was written for
INJECTION_BLOCKS = (3, 7, 9)  # released code, without the last block, which cannot act
COMPOSING_BLOCKS = (1, 3, 5, 7, 9, 11)  # released code


def scale_blocks(blocks: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Blocks (from 0) of a tower with `depth` blocks that stand for blocks of a tower with twelve, ascending.

    Example:
        >>> scale_blocks((3, 7, 9), 12), scale_blocks((3, 7, 9), 24), scale_blocks((1, 3, 5, 7, 9, 11), 3)
        ((3, 7, 9), (7, 15, 19), (0, 1, 2))
    """
    return tuple(sorted({-(-(block + 1) * depth // CLIP_DEPTH) - 1 for block in blocks}))


def injection_blocks(depth: int, released: bool = False) -> tuple[int, ...]:
    """Blocks that visual detail is injected after.

    Never the last one: what changes there is the placeholder's own row, after the last attention, and the sentence is read off another row.

    Args:
        depth: Blocks of the text tower.
        released: Add the last block all the same, as the released code does; it changes nothing and learns nothing.

    Raises:
        InputError: If the tower has a single block.

    Example:
        >>> injection_blocks(12), injection_blocks(12, released=True), injection_blocks(3)
        ((3, 7, 9), (3, 7, 9, 11), (0, 1))
    """
    if depth < 2:
        raise InputError(
            f"a text tower of {depth} block has no block that an injection could act after; use a CLIP with 2 text blocks or more"
        )
    acting = tuple(block for block in scale_blocks(INJECTION_BLOCKS, depth) if block < depth - 1) or (0,)
    return (*acting, depth - 1) if released else acting


def composing_blocks(depth: int) -> tuple[int, ...]:
    """Blocks that a composing adapter follows.

    Example:
        >>> composing_blocks(12), composing_blocks(4)
        ((1, 3, 5, 7, 9, 11), (0, 1, 2, 3))
    """
    return scale_blocks(COMPOSING_BLOCKS, depth)
