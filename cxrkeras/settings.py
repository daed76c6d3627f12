"""The blocks of settings of a run, the one home of every default.

Names and ranges, not what they do; reads no file (see `config`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PHANTOM = "phantom"


class Section(BaseModel):
    """A frozen block of settings that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PhantomSettings(Section):
    """The embedded data set; see `data.phantom`."""

    films: int = Field(400, ge=20)
    classes: int = Field(2, ge=2, le=5)
    seed: int = Field(0, ge=0)
    shortcut: Literal["tag", "exposure", "sex"] | None = None
    shortcut_probability: float = Field(0.0, ge=0, le=1)


class ConfounderSettings(Section):
    """A shortcut that the films of a run carry, as `robustness.parse_confounder` reads `spec`.

    A share `p` of the films of the class `positive` (None: the finding, else the last in sorted order) has it, no other
    film; validation films like those (`iid`) or none (`clean`). `as_study` lets filter and noise act before the resize.
    """

    spec: str
    p: float = Field(1.0, ge=0, le=1)
    positive: str | None = None
    seed: int = Field(0, ge=0)
    val: Literal["iid", "clean"] = "iid"
    as_study: bool = False


class DataSettings(Section):
    """Which films, how they are labelled and split, and how their pixels are read.

    `path` is a folder or CSV, or `phantom` for the embedded films; a configuration may leave it to `--data`.
    `findings` makes it a task of several findings a film, from columns of a CSV (`all` for every CheXpert one);
    `positive` makes two classes of one finding, `negative` names the films of the other (such as `No Finding`).
    `blank: null` is the table's own default.
    `fraction` is the share of the training patients whose labels are used, see `data.fractions`.
    `confounder` plants a shortcut, or chooses films for one.
    """

    path: str | None = None
    split_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    findings: tuple[str, ...] | None = None
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    blank: Literal["zeros", "ignore"] | None = None
    views: Literal["frontal", "all"] = "frontal"
    positive: str | None = None
    negative: str | None = None
    resize: Literal["squash", "pad"] = "squash"
    bits: int | None = Field(None, ge=8, le=16)
    validation_fraction: float = Field(0.1, gt=0, lt=0.5)
    test_fraction: float = Field(0.2, gt=0, lt=0.5)
    drop_shared: bool = False
    fraction: float = Field(1.0, gt=0, le=1)
    fraction_seed: int = Field(0, ge=0)
    scale_val: bool = False
    limit: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    phantom: PhantomSettings = PhantomSettings()
    confounder: ConfounderSettings | None = None

    @field_validator("findings", mode="before")
    @classmethod
    def _comma_list(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class ModelSettings(Section):
    """Backbone, its size and where its first weights come from."""

    backbone: str = "DenseNet201"
    weights: str = "imagenet"
    preprocessing: str | None = None
    image_size: int | None = Field(None, ge=32, le=1024)
    dropout: float = Field(0.3, ge=0, lt=1)
    allow_coarse: bool = False


class LayerGroupSettings(Section):
    """Layers of stage 2, by name or glob, whose rate is the stage's times `multiplier`."""

    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    multiplier: float = Field(ge=0, allow_inf_nan=False)


class PlateauSettings(Section):
    """The rate is multiplied by `factor` after every `patience` epochs without a gain in validation AUC."""

    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(3, ge=1)


class TrainingSettings(Section):
    """The two stages; epochs 0,0 leave the network as it was loaded, its head untrained.

    `recipe` fills what is not given, see `recipes.RECIPES`; `linear` trains the first stage only. `head_steps` makes
    the first stage one epoch of so many steps. `plateau` and `patience` (epochs without a gain after which training
    stops) work in the last stage that is trained. `keep: best` keeps the checkpoint of the highest validation AUC, and
    the last. `layerwise_decay` and `layer_groups` are the second stage's; `weight_decay` is Adam's, decoupled.
    """

    recipe: Literal["finetune", "linear", "convirt"] = "finetune"
    epochs: tuple[int, int] = (15, 15)
    head_steps: int | None = Field(None, ge=1)
    checkpoint_every: int = Field(5, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: tuple[float, float] = (1e-3, 1e-5)
    layerwise_decay: float | None = Field(None, gt=0, le=1)
    layer_groups: tuple[LayerGroupSettings, ...] | None = None
    weight_decay: float | None = Field(None, ge=0)
    plateau: PlateauSettings | None = None
    patience: int | None = Field(None, ge=1)
    keep: Literal["schedule", "best"] = "schedule"
    augment: bool = False
    batch_norm: Literal["auto", "inference", "calibrate", "train"] = "auto"
    class_weights: Literal["balanced", "none"] = "balanced"
    feature_cache: bool = True
    mixed_precision: bool = False
    deterministic: bool = False
    seed: int = Field(0, ge=0)

    @field_validator("epochs")
    @classmethod
    def _counts(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 0:
            raise ValueError("expected two counts, e.g. 15,15; 0,0 leaves the head untrained")
        return value

    @field_validator("learning_rate")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0:
            raise ValueError("expected two positive rates, e.g. 1e-3,1e-5")
        return value

    @model_validator(mode="after")
    def _one_kind_of_layer_rates(self) -> TrainingSettings:
        if self.layerwise_decay is not None and self.layer_groups is not None:
            raise ValueError("layerwise_decay and layer_groups both set the rates of stage 2; expected one of them")
        return self


class ScoreSettings(Section):
    """Defaults of the C-Score; every one is stored with each result."""

    threshold: float = Field(0.7, ge=0, le=1)
    gamma: float = Field(2.0, gt=0)
    grid: int | Literal["native"] = 56
    pair_weights: Literal["product", "none", "geometric", "min"] = "product"
    macro: Literal["strict", "skip"] = "strict"
    same_patient: Literal["drop", "keep"] = "drop"
