"""Activations that are computed again in the backward pass instead of being kept: a third more work for a fraction of the memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def recompute_activations(model: nn.Module, unet: nn.Module) -> Iterator[None]:
    """Within the block, the layers of a language tower and the blocks of a UNet keep their inputs only. The backward pass belongs inside.

    transformers recomputes in training mode alone, so the language tower is put there; its dropout must be zero, as Qwen's is.

    Args:
        model: A transformers model with a `language_model`.
        unet: A diffusers UNet.
    """
    tower = model.model.language_model
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # renamed in transformers 5.23
    tower.train()
    unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()
        tower.eval()
        getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()
