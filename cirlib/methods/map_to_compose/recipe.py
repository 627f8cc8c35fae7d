"""Everything that decides the outcome of the two trainings.

Defaults are what the released code uses, except where our correction of it stands; those fields say so and `released()` gives the released
code's side of every one of them. Steps and widths are for a full-sized CLIP; the miniature passes its own.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal, Self

from cirlib.methods.map_to_compose.composing import ComposingInit
from cirlib.methods.map_to_compose.injection import AnswerInit
from cirlib.methods.map_to_compose.losses import Mixing
from cirlib.methods.training import Schedule
from cirlib.types import InputError

Augment = Literal["none", "weak", "strong"]
Decay = Literal["matrices", "released"]
Teacher = Literal["reference", "target"]
COUNTS = {"steps", "look_every", "save_every", "mapper_width", "hidden", "heads", "rank", "negatives"}  # 1 or more
WARMUP_SHARE = 20  # warm-up is one part in twenty where no number is given (our choice)


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """What both stages have in common."""

    steps: int
    temperature: float  # of every softmax; fixed
    batch: int = 1024  # the released code contrasts 8 GPUs x 128; all of a batch is contrasted in one process here
    rate: float = 1e-4  # peak learning rate
    warmup: int = (
        0  # steps; 0: a twentieth of all (our choice). More than there are steps: the peak is not reached, as in the released code
    )
    weight_decay: float = 0.1
    decay: Decay = "matrices"  # norms and biases do not decay (our choice); "released": all but names with bn, ln, bias or logit_scale do
    precision: Literal["fp32", "bf16"] = "fp32"  # of the forward pass; losses are in fp32 in any case
    look_every: int = 100  # steps between two scores on val
    save_every: int = 100  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        for name in sorted(COUNTS & {field.name for field in fields(self)}):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} in a Map-to-Compose recipe; use 1 or more")
        if self.batch < 2:
            raise InputError(
                f"batch = {self.batch} in a Map-to-Compose recipe; a row needs another one to be told apart from, use 2 or more"
            )
        for name in ("rate", "temperature"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} = {getattr(self, name)} in a Map-to-Compose recipe; use a number above 0")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float) and value < 0:
                raise InputError(f"{field.name} = {value} in a Map-to-Compose recipe; use 0 or more")
            choices = getattr(field.type, "__args__", None)
            if choices and value not in choices:
                raise InputError(f"{field.name} = {value!r} in a Map-to-Compose recipe; choose {', '.join(choices)}")

    @property
    def schedule(self) -> Schedule:
        """Linear warm-up, then a cosine to zero."""
        return Schedule(self.steps, min(self.warmup or max(1, self.steps // WARMUP_SHARE), self.steps))

    @property
    def peak(self) -> float:
        """Highest learning rate of the run: below `rate` where the warm-up is longer than the run."""
        return self.rate * min(1.0, self.steps / self.warmup) if self.warmup else self.rate

    @classmethod
    def read(cls, values: dict) -> Self:
        """A recipe from a stored dictionary. Raises InputError on a key that recipes do not have."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"a {cls.__name__} has no {', '.join(sorted(unknown))}; it has {', '.join(f.name for f in fields(cls))}")
        return cls(**values)

    def as_dict(self) -> dict:
        """All fields, as JSON can write them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Stage1Recipe(Optimisation):
    """Mapping: mapper, patch-to-text map and injection adapters learn; CLIP is frozen.

    `soft_weight=0`, `ref_weight=0` and `injection=False` are the rows (a) to (d) of the ablation.
    """

    steps: int = 2830  # ten epochs of 290,000 pictures (our choice; released code: up to 30, one of them picked)
    temperature: float = 0.07
    mapper_width: int = 512
    injection: bool = True  # False: the mapper alone, which is Pic2Word's
    hidden: int = 128  # width of the injection's attention
    heads: int = 8  # of the injection's attention
    dropout: float = 0.1  # in mapper and injection
    grid: int = 0  # side of the grid that patches are averaged to before the injection; 0: as they are (our addition, for speed on a CPU)
    last_block: bool = False  # the released code also injects after the last block, which cannot act
    answer: AnswerInit = "zero"  # our choice; "released": default start and a ReLU at the end
    soft_weight: float = 0.2  # of L_soft
    ref_weight: float = 1.0  # of L_ref
    augment: Augment = "none"  # of the mapper's picture; "weak" is the released code's. "none" makes L_ref the same as L_align
    views: int = 2  # random views of each picture that are encoded, and drawn from, where there is augmentation (our choice)
    view_seed: int = 0  # of the random views, so that trainings with several seeds share their features

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment != "none" and self.views < 1:
            raise InputError("augmentation with 0 views in a Stage1Recipe; give 1 view or more, or augment='none'")

    @classmethod
    def released(cls, **changes: object) -> Self:
        """The released code's side of every choice, with its warm-up of 10,000 steps, longer than 30 epochs of 290,000 pictures."""
        return cls(**{"last_block": True, "answer": "released", "augment": "weak", "decay": "released", "warmup": 10_000, **changes})


@dataclass(frozen=True, kw_only=True)
class Stage2Recipe(Optimisation):
    """Composing: the adapters between text blocks learn, and nothing else.

    `map_weight=0`, `soft_weight=0` and `mixing` are rows (e) to (h) of the ablation.
    """

    steps: int = 960  # thirty epochs of 32,000 triplets (released code)
    temperature: float = 0.01
    rank: int = 128
    init: ComposingInit = "zero"  # our choice; "released": both factors are drawn
    mixing: Mixing = "scaled"  # our choice; "released": mixed negatives that weigh nothing; "off": none
    negatives: int = 10  # mixed negatives of a query
    map_weight: float = 1.0  # of L_map
    soft_weight: float = 0.2  # of L_soft2
    teacher: Teacher = (
        "reference"  # whose profile L_soft2 teaches: our choice; "target": released code, though the caption is the reference's
    )
    stage1_trains: bool = False  # True: stage-1 modules in train mode, with dropout and drifting statistics, as in the released code

    @classmethod
    def released(cls, **changes: object) -> Self:
        """The released code's side of every choice, with its warm-up of 100 steps."""
        corrected = {"init": "released", "mixing": "released", "teacher": "target", "stage1_trains": True, "decay": "released"}
        return cls(**{**corrected, "warmup": 100, **changes})
