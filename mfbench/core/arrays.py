"""Names for the array types that the package uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]
Floats64 = npt.NDArray[np.float64]
