"""The spec: what one run or one sweep is told, as strict YAML checked by pydantic.

A module a section of the YAML; `experiment` puts them together, `reading` reads them, `keys` gives a study its key.
`quickstart.yaml` is the spec that `mfbench new` writes, and `experiments/quickstart.yaml` is a copy of it.
"""

from mfbench.spec.data import Data, Planted
from mfbench.spec.experiment import Evaluation, Race, Spec
from mfbench.spec.keys import run_study_key, study_key
from mfbench.spec.model import FIRST, OF_MODEL, Init, ModelSpec
from mfbench.spec.reading import SpecSource, load_model_spec, load_spec
from mfbench.spec.space import Choice, FloatRange, Hyper, IntRange, NumberRange, Range, Space, Value, ordered
from mfbench.spec.split import (
    FoldSplit,
    KFoldSplit,
    LastSplit,
    LeaveOutSplit,
    NoSplit,
    RandomSplit,
    Split,
    TailSplit,
    TemporalSplit,
    UsersSplit,
)
from mfbench.spec.sweep import Sweep

__all__ = [
    "FIRST",
    "OF_MODEL",
    "Choice",
    "Data",
    "Evaluation",
    "FloatRange",
    "FoldSplit",
    "Hyper",
    "Init",
    "IntRange",
    "KFoldSplit",
    "LastSplit",
    "LeaveOutSplit",
    "ModelSpec",
    "NoSplit",
    "NumberRange",
    "Planted",
    "Race",
    "RandomSplit",
    "Range",
    "Space",
    "Spec",
    "SpecSource",
    "Split",
    "Sweep",
    "TailSplit",
    "TemporalSplit",
    "UsersSplit",
    "Value",
    "load_model_spec",
    "load_spec",
    "ordered",
    "run_study_key",
    "study_key",
]
