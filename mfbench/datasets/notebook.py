"""The example of the well-known NumPy notebook, as a data set."""

from __future__ import annotations

import numpy as np

from mfbench.datasets.dataset import Dataset, make_dataset

MATRIX = [[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [1, 0, 0, 4], [0, 1, 5, 4], [2, 1, 3, 0]]  # 0: not observed


def notebook_6x4() -> Dataset:
    """The 16 observed cells row by row; users U1 to U6, items D1 to D4."""
    matrix = np.array(MATRIX)
    rows, columns = np.nonzero(matrix)
    users, items = np.array([f"U{n}" for n in range(1, 7)]), np.array([f"D{n}" for n in range(1, 5)])
    return make_dataset(
        "notebook-6x4",
        users[rows],
        items[columns],
        matrix[rows, columns].astype(np.float32),
        where=lambda k: f"notebook-6x4, cell {k + 1}",
    )
