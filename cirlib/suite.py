"""Every method of a profile, built on demand: with the numbers that its notebook tuned, and the weights that its notebook trained.

Notebooks 02 and 04 to 08 save what they find below `results/<profile>/models` (`cirlib.results.model_folder`). A method without training
can be asked before any notebook has run; it then has the library's own numbers, and `tuned` says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cirlib.backbones.clip import load_clip
from cirlib.backbones.qformer import load_qformer
from cirlib.backbones.vlm import VisionLanguageModel, load_vlm
from cirlib.config import Config
from cirlib.methods.baselines import CaptionRewrite, ImageOnly, Slerp, TextOnly, WeightedSum, caption_with, rewrite_with
from cirlib.methods.baselines.stored import CARD as BASELINE
from cirlib.methods.baselines.stored import load_baseline
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.dqe_cir import load_dqe_cir
from cirlib.methods.dqe_cir.method import CARD as DQE_CIR
from cirlib.methods.map_to_compose.storage import DESCRIPTION as MAP_TO_COMPOSE
from cirlib.methods.map_to_compose.storage import load_map_to_compose
from cirlib.methods.pix2key.extraction import DictionaryExtractor
from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
from cirlib.methods.pix2key.model_parser import ModelParser
from cirlib.methods.pix2key.rule_parser import RuleParser
from cirlib.methods.pix2key.slot_writer import SlotWriter
from cirlib.methods.pix2key.v_dict_ae_training import TRAINING as V_DICT_AE
from cirlib.methods.pix2key.v_dict_ae_training import load_v_dict_ae
from cirlib.methods.pseudo_words.stored import FACTS as MAPPER
from cirlib.methods.pseudo_words.stored import load_mapper
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.results import load_settings, model_folder
from cirlib.types import InputError, Method

PARSERS = ("rules", "model")


@dataclass(frozen=True)
class _Origin:
    """Where a method comes from: its notebook, the file that a trained one has in its folder, and whether numbers of it are tuned."""

    notebook: str
    file: str = ""  # empty: nothing is trained
    tuned: bool = False


METHODS: Mapping[str, _Origin] = {
    "image only": _Origin("02_embeddings_and_baselines"),
    "text only": _Origin("02_embeddings_and_baselines"),
    "sum": _Origin("02_embeddings_and_baselines", tuned=True),
    "slerp": _Origin("02_embeddings_and_baselines", tuned=True),
    "caption rewrite": _Origin("04_pix2key"),
    "Pix2Key, no MMR": _Origin("04_pix2key", tuned=True),
    "Pix2Key": _Origin("04_pix2key", tuned=True),
    "Pix2Key + V-Dict-AE": _Origin("05_v_dict_ae", V_DICT_AE),
    "QuRe": _Origin("06_dqe_cir", DQE_CIR),
    "DQE-CIR": _Origin("06_dqe_cir", DQE_CIR),
    "SPRC": _Origin("06_dqe_cir", BASELINE),
    "Combiner": _Origin("06_dqe_cir", BASELINE),
    "tuned sum": _Origin("06_dqe_cir", BASELINE),
    "Pic2Word": _Origin("07_pseudo_words", MAPPER),
    "SEARLE": _Origin("07_pseudo_words", MAPPER),
    "LinCIR": _Origin("07_pseudo_words", MAPPER),
    "Map-to-Compose stage 1": _Origin("07_pseudo_words", MAP_TO_COMPOSE),
    "Map-to-Compose": _Origin("08_composing", MAP_TO_COMPOSE),
}


class Suite:
    """The methods of one profile. Models are loaded at the first method that needs them, and shared.

    Args:
        config: Of the profile.
        folder: Where methods were saved; default: `results/<profile>/models` of the project.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...
        seed: Of trained methods. Notebooks save the first seed of their profile, which is 0 in all of them.
        progress: Show bars while pictures are encoded or written about.

    Example:
        >>> from cirlib.config import load_config
        >>> suite = Suite(load_config("smoke"), device="cpu")
        >>> suite.names[:4], suite.missing("sum")
        (('image only', 'text only', 'sum', 'slerp'), None)
    """

    def __init__(self, config: Config, folder: Path | None = None, device: str = "auto", seed: int = 0, *, progress: bool = False) -> None:
        self.config, self.device, self.seed, self.progress = config, device, seed, progress
        self.folder = Path(folder) if folder is not None else config.root / "results" / config.name / "models"
        self._methods: dict[str, Method] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every method that is known, in the order of the main table, whether it can be asked or not."""
        return tuple(METHODS)

    def missing(self, name: str) -> str | None:
        """None if a method can be asked; else, in one line, which notebook makes it. Raises InputError for an unknown name."""
        origin = self._origin(name)
        if not origin.file or (self._place(name) / origin.file).is_file():
            return None
        seed = f" of seed {self.seed}" if self.seed else ""
        return (
            f"{name}{seed} is not trained in profile {self.config.name} ({self._place(name)} is not there);"
            f" run notebook {origin.notebook} in this profile, which saves seed {self.config.profile.seeds[0]}"
        )

    def tuned(self, name: str) -> bool:
        """Whether a method is as its notebook made it.

        False for a method with the library's own numbers, because its notebook has not run in this profile, and for a trained one that is
        missing. What has nothing to tune (image only, text only, caption rewrite) is always as it should be.
        """
        origin = self._origin(name)
        return self.missing(name) is None and (not origin.tuned or load_settings(self.folder, name) is not None)

    def method(self, name: str) -> Method:
        """A method, built at the first call and kept.

        Raises:
            InputError: With the line of `missing`; or if what was saved is damaged or belongs to other checkpoints than the profile's.
        """
        if name not in self._methods:
            if line := self.missing(name):
                raise InputError(line)
            method = self._builders[name]()
            method.name = name
            self._methods[name] = method
        return self._methods[name]

    @cached_property
    def encoder(self) -> ClipEncoder:
        """CLIP of the profile."""
        return ClipEncoder(load_clip(self.config.checkpoint("clip"), device=self.device), progress=self.progress)

    @cached_property
    def qformer_encoder(self) -> QFormerEncoder:
        """Q-Former of the profile, as it was pretrained; trained methods have copies."""
        return QFormerEncoder(load_qformer(self.config.checkpoint("qformer"), device=self.device), progress=self.progress)

    @cached_property
    def vlm(self) -> VisionLanguageModel:
        """Vision-language model of the profile."""
        return load_vlm(self.config.checkpoint("vlm"), device=self.device)

    @cached_property
    def _builders(self) -> Mapping[str, Callable[[], Method]]:
        """How each method is made; nothing is loaded before one is called."""
        build = {
            "image only": lambda: ImageOnly(self.encoder),
            "text only": lambda: TextOnly(self.encoder),
            "sum": lambda: WeightedSum(self.encoder, **self._numbers("sum", weight=0.5)),
            "slerp": lambda: Slerp(self.encoder, **self._numbers("slerp", share=0.5)),
            "caption rewrite": lambda: CaptionRewrite(
                self.encoder, caption_with(self.vlm, progress=self.progress), rewrite_with(self.vlm, progress=self.progress)
            ),
            "Pix2Key, no MMR": lambda: self._pix2key("Pix2Key, no MMR", self._stock_writer),
            "Pix2Key": lambda: self._pix2key("Pix2Key", self._stock_writer),
            "Pix2Key + V-Dict-AE": lambda: self._pix2key("Pix2Key + V-Dict-AE", self._slot_writer()),
        }
        load = {MAPPER: load_mapper, MAP_TO_COMPOSE: load_map_to_compose}
        for name, origin in METHODS.items():
            if origin.file in load:
                build[name] = lambda name=name, read=load[origin.file]: read(self._place(name), self.encoder)
            elif origin.file == DQE_CIR:
                build[name] = lambda name=name: load_dqe_cir(self._place(name), self.qformer_encoder)
            elif origin.file == BASELINE:
                build[name] = lambda name=name: load_baseline(
                    self._place(name), self.encoder if name == "Combiner" else self.qformer_encoder
                )
        return build

    @cached_property
    def _stock_writer(self) -> DictionaryExtractor:
        return DictionaryExtractor(self.vlm, progress=self.progress)

    def _slot_writer(self) -> DictionaryExtractor:
        model = load_v_dict_ae(self._place("Pix2Key + V-Dict-AE"), self.vlm)
        return DictionaryExtractor(None, write=SlotWriter(model, progress=self.progress))

    def _pix2key(self, name: str, writer: DictionaryExtractor) -> Pix2Key:
        own = self.config.settings("04_pix2key")
        numbers = self._numbers(name, parser=own["parser"], **asdict(Pix2KeyOptions(separator=own["separator"])))
        parser = numbers.pop("parser")
        if parser not in PARSERS:
            raise InputError(f"settings of {name} in {self._place(name)} name the parser {parser!r}; known are {' and '.join(PARSERS)}")
        reader = RuleParser() if parser == "rules" else ModelParser(self.vlm, progress=self.progress)
        return Pix2Key(self.encoder, writer, reader, Pix2KeyOptions(**numbers), name)

    def _numbers(self, name: str, **own: Any) -> dict[str, Any]:
        """The library's own numbers of a method, with those that its notebook tuned in their place."""
        tuned = load_settings(self.folder, name) or {}
        if unknown := [key for key in tuned if key not in own]:
            raise InputError(f"settings of {name} in {self._place(name)} hold {', '.join(unknown)}; known are {', '.join(own)}")
        return own | tuned

    def _place(self, name: str) -> Path:
        return model_folder(self.folder, name, self.seed)

    def _origin(self, name: str) -> _Origin:
        if name not in METHODS:
            raise InputError(f"method {name!r} is not known; choose among {', '.join(METHODS)}")
        return METHODS[name]
