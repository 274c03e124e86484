"""A run's model in MLflow's format: a folder that `mlflow.pyfunc.load_model` and `mlflow models serve` can load.

It is a "model from code", so nothing is pickled: the arrays as npz, the source of `predicting`, and the file MLmodel that
describes them. `mlflow.pyfunc.save_model` is not used: it would load the model to save it, copy its arrays twice and store
absolute paths of this machine.

Its input is a table of pairs, with the columns `user` and `item`. The optional column `rating` has the ratings of new users,
who are folded in for that request only; it is null in the rows to predict.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from mfbench.matrix import predicting
from mfbench.runs.records import Record

ARRAYS, CODE, REQUIREMENTS, PYTHON = "model.npz", "predicting.py", "requirements.txt", "python_env.yaml"
EXAMPLE, SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"
FACTORS = {"P", "Q", "user_bias", "item_bias", "mean", "user_ids", "item_ids"}
EXAMPLES = 3


def put_model(folder: Path, record: Record, path: Path) -> None:
    """Fill the folder with the model of that record, whose npz file is `path`; it is linked, since it may be large.

    A model without factors P and Q is exported as its arrays alone.
    """
    (folder / ARRAYS).symlink_to(path.resolve())
    with np.load(path, allow_pickle=False) as arrays:
        if not set(arrays) >= FACTORS:
            return
        is_posterior = "sample_mean" in arrays
        ids = {"user": arrays["user_ids"], "item": arrays["item_ids"]}
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, Schema

    versions = record.environment.versions or {}
    needed = [f"{name}=={versions[name]}" if versions.get(name) else name for name in ("mlflow", "numpy", "pandas")]
    example = {"columns": list(ids), "data": list(zip(*(each[:EXAMPLES].tolist() for each in ids.values()), strict=False))}
    inputs = [ColSpec("string" if each.dtype.kind == "U" else "long", name) for name, each in ids.items()]
    inputs.append(ColSpec("double", "rating", required=False))
    outputs = [ColSpec("double", "prediction"), ColSpec("string", "known")]
    outputs += [ColSpec("double", "std")] if is_posterior else []
    described = Model(
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        saved_input_example_info={
            "artifact_path": EXAMPLE, "serving_input_path": SERVING_EXAMPLE, "type": "dataframe", "pandas_orient": "split"
        },
        metadata={"run_key": record.run_key},
    )  # fmt: skip
    add_to_model(
        described, "mlflow.pyfunc.loaders.code_model", python_env=PYTHON, model_code_path=CODE,
        artifacts={"arrays": {"path": ARRAYS, "uri": ARRAYS}},
    )  # fmt: skip
    described.save(str(folder / "MLmodel"))
    (folder / CODE).write_text(f"{Path(predicting.__file__).read_text()}\n\nserve(ridge={(record.beta or 0.0) / 2})\n")
    (folder / REQUIREMENTS).write_text("\n".join(needed) + "\n")
    python = {"python": record.environment.python, "build_dependencies": ["pip"], "dependencies": [f"-r {REQUIREMENTS}"]}
    (folder / PYTHON).write_text(yaml.safe_dump(python))
    (folder / EXAMPLE).write_text(json.dumps(example))
    (folder / SERVING_EXAMPLE).write_text(json.dumps({"dataframe_split": example}))
