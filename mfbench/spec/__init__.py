"""The spec: everything that defines a run or a sweep, as strict YAML that pydantic validates.

There is one module for each section of the YAML; `experiment` combines them, `reading` loads a spec and reports what is
wrong with it, and `keys` computes the key of a study. `quickstart.yaml` is the template of `mfbench new`, and
`experiments/quickstart.yaml` is an identical copy.
"""

from mfbench.spec.data import Data, Planted
from mfbench.spec.experiment import Evaluation, Race, Spec
from mfbench.spec.keys import run_study_key, study_key
from mfbench.spec.model import FIRST, OF_MODEL, Init, ModelSpec
from mfbench.spec.reading import SpecSource, load_model_spec, load_spec
from mfbench.spec.sources.entry import DataEntry, Titles
from mfbench.spec.sources.own import own_datasets
from mfbench.spec.sources.table import COLUMNS, Duplicates, Table, Wide
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
from mfbench.spec.sweep import COMPARING, Sweep

__all__ = [
    "COLUMNS",
    "COMPARING",
    "FIRST",
    "OF_MODEL",
    "Choice",
    "Data",
    "DataEntry",
    "Duplicates",
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
    "Table",
    "TailSplit",
    "TemporalSplit",
    "Titles",
    "UsersSplit",
    "Value",
    "Wide",
    "load_model_spec",
    "load_spec",
    "ordered",
    "own_datasets",
    "run_study_key",
    "study_key",
]
