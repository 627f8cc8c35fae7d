"""LoRA on the language tower of a vision-language model: off unless asked for, so that the stock model stays at hand.

Hu et al., 2021, as implemented by peft. Where the adapters sit and that they are off by default is our choice.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cirlib import _torchvision
from cirlib.types import InputError

TARGETS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj)"  # a vision tower may have modules of the same names


class LanguageAdapters(nn.Module):
    """Low-rank updates of the query, key, value and output projections of every layer of the language tower.

    The frozen weights are not touched. A model may carry several sets at once; each works only inside its own `active`.

    Args:
        model: The transformers model; its language tower must lie under the name `language_model`.
        rank: Rank r of the update.
        scale: The update is multiplied by scale / rank.
        dropout: On the input of the update, while training.
        seed: Of the initial values. The update starts at zero whatever it is.

    Raises:
        InputError: If the model has no such projections, or the rank is below 1.
    """

    def __init__(self, model: nn.Module, rank: int = 16, scale: float = 32.0, dropout: float = 0.05, seed: int = 0) -> None:
        super().__init__()
        _torchvision.prepare()
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        if rank < 1:
            raise InputError(f"LoRA of rank {rank} asked for; use 1 or more, or no adapters")
        taken = {name for module in model.modules() if isinstance(module, LoraLayer) for name in module.lora_A}
        self.name = f"set_{len(taken)}"
        config = LoraConfig(r=rank, lora_alpha=scale, lora_dropout=dropout, target_modules=TARGETS)
        with torch.random.fork_rng(), warnings.catch_warnings():
            torch.manual_seed(seed)
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several sets are meant
            try:
                inject_adapter_in_model(config, model, adapter_name=self.name)
            except ValueError as error:
                raise InputError("the model has no q_proj, k_proj, v_proj, o_proj under language_model; train without adapters") from error
        self._layers = [module for module in model.modules() if isinstance(module, LoraLayer) and self.name in module.lora_A]
        self.weights = nn.ParameterList(matrix[self.name].weight for layer in self._layers for matrix in (layer.lora_A, layer.lora_B))
        self._switch(False)

    @contextmanager
    def active(self, training: bool = False) -> Iterator[None]:
        """Within the block the model is the adapted one; `training` turns their dropout on. Outside it is the stock model."""
        self._switch(True)
        for layer in self._layers:
            layer.lora_dropout[self.name].train(training)
        try:
            yield
        finally:
            self._switch(False)

    def _switch(self, on: bool) -> None:
        for layer in self._layers:
            if on:
                layer.set_adapter([self.name])
            layer.enable_adapters(on)
