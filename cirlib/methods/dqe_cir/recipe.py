"""Everything that decides the outcome of a DQE-CIR training.

The defaults are QuRe's for FashionIQ where the optimisation is concerned (released code and paper), and our choice for everything that
DQE-CIR adds, because its own values could not be read. QuRe for CIRR: 50 epochs, rate 1e-5. The miniature passes numbers of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cirlib.methods.dqe_cir.attributes import Absent, Mode
from cirlib.methods.dqe_cir.negatives import Adaptive, Hardest, MidZone, NegativeRule, Random, SteepestDrops
from cirlib.types import InputError

RULES = {"random": Random, "hardest": Hardest, "steepest_drops": SteepestDrops, "midzone": MidZone, "adaptive": Adaptive}
IN_BATCH = "in_batch"


@dataclass(frozen=True)
class Recipe:
    """Settings of one training. QuRe is mode "none", negatives "steepest_drops" and no weight on margin and attributes: see `qure`."""

    mode: Mode = "gated"
    groups: tuple[str, ...] = ("color", "shape")  # "texture" is ours
    absent: Absent = "skip"
    negatives: str = "midzone"  # a name in RULES, or "in_batch": InfoNCE over the targets of the batch, no mining
    rule: Mapping[str, Any] = field(default_factory=dict)  # settings of the rule, such as {"low": 0.03, "high": 0.1}
    pool: Literal["gallery", "targets"] = "gallery"  # negatives: CIRR all training pictures, FashionIQ the category's targets (QuRe)
    preference_weight: float = 1.0
    margin_weight: float = 1.0  # from the first rebuild on; 0 leaves a loss out
    margin: float | None = 0.10  # in cosine, the upper bound of the mid-zone; None: the one that "adaptive" read at the last rebuild
    attribute_weight: float = 0.1
    attribute_tau: float = 0.07
    tau: float = 0.07  # of the preference at the start; learned, in [0.01, 0.5]
    epochs: int = 30
    definitions: int = 6  # n_def: negative sets are defined anew every floor(epochs / definitions) epochs, the first ones are random
    batch: int = 32  # queries a step, each with its target and one negative
    rate: float = 5e-6  # peak learning rate
    attribute_factor: float = 10.0  # the attribute module is new and learns faster
    floor: float = 0.01  # share of the rate that is left at the end, after a cosine
    weight_decay: float = 0.05  # not on norms, biases and single vectors
    precision: Literal["fp32", "bf16"] = "fp32"
    look_epochs: int = 1  # epochs between two looks at val
    val_queries: int = 0  # queries of val that are looked at, evenly spaced; 0: all
    choose: str = "recall@10"  # on val; the weights of its best look are kept
    save_every: int = 100  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "definitions", "batch", "look_epochs", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} in a DQE-CIR recipe; use 1 or more")
        for name in ("preference_weight", "margin_weight", "attribute_weight", "weight_decay", "val_queries"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)} in a DQE-CIR recipe; use 0 or more")
        for name in ("rate", "attribute_factor", "tau", "attribute_tau"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} = {getattr(self, name)} in a DQE-CIR recipe; use a number above 0")
        if self.margin is None and self.negatives != "adaptive" or (self.margin or 0) < 0:
            raise InputError(f"margin = {self.margin} with negatives {self.negatives!r}; use 0 or more, or None with 'adaptive'")
        if self.pool not in ("gallery", "targets") or self.precision not in ("fp32", "bf16"):
            raise InputError(f"pool {self.pool!r}, precision {self.precision!r}; a pool is gallery or targets, a precision fp32 or bf16")
        if self.negatives == IN_BATCH and (self.margin_weight or self.attribute_weight or self.rule):
            raise InputError("negatives 'in_batch' have no single negative for margin and attributes; set their weights to 0 and no rule")
        if self.negatives != IN_BATCH and not (self.preference_weight or self.margin_weight):
            raise InputError("preference_weight = margin_weight = 0 leaves nothing that ranks; give one of them a weight")
        self.negative_rule()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Recipe":
        """A recipe from a dictionary, as JSON or YAML give it. Raises InputError on a key that recipes do not have."""
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            raise InputError(f"a DQE-CIR recipe has no {', '.join(sorted(unknown))}; it has {', '.join(e.name for e in fields(cls))}")
        return cls(**{**values, **({"groups": tuple(values["groups"])} if "groups" in values else {})})

    @classmethod
    def qure(cls, **changes: Any) -> "Recipe":
        """QuRe (released code): no attributes, its own negatives, the preference loss alone; with changes.

        Example:
            >>> Recipe.qure(epochs=50, rate=1e-5).negatives
            'steepest_drops'
        """
        return cls(**{"mode": "none", "negatives": "steepest_drops", "margin_weight": 0.0, "attribute_weight": 0.0, **changes})

    @property
    def interval(self) -> int:
        """Epochs between two definitions of negative sets.

        Example:
            >>> Recipe(epochs=50).interval  # CIRR: rebuilt at epochs 8, 16, 24, 32, 40 and 48, counted from 0
            8
        """
        return max(1, self.epochs // self.definitions)

    def negative_rule(self) -> NegativeRule | None:
        """The rule that defines negatives after the first interval; None for "in_batch".

        Raises:
            InputError: If there is no such rule, or it has no such setting.
        """
        if self.negatives == IN_BATCH:
            return None
        if self.negatives not in RULES:
            raise InputError(f"negatives {self.negatives!r} asked for; there are {', '.join((*RULES, IN_BATCH))}")
        known = {entry.name for entry in fields(RULES[self.negatives])}
        if not set(self.rule) <= known:
            raise InputError(
                f"rule {self.negatives!r} has no {', '.join(sorted(set(self.rule) - known))}; it has {', '.join(sorted(known))}"
            )
        return RULES[self.negatives](**self.rule)
