"""Draw runs from runs/, every backend among them, make each again with `mfbench reproduce`, and print what came of it.

python benchmarks/reproduce_campaign.py -n 20 --seed 0 planted-100k movielens-small
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mfbench.core.tables import markdown
from mfbench.runs.record_files import studies_of, study_records
from mfbench.runs.records import Record


def drawn(records: Sequence[Record], n: int, seed: int) -> list[Record]:
    """n of them without repetition, the backends and stages taking turns."""
    rng = np.random.default_rng(seed)
    queues: dict[tuple[str, str], list[Record]] = {}
    for k in rng.permutation(len(records)):
        queues.setdefault((records[k].backend, records[k].stage), []).append(records[k])
    found: list[Record] = []
    while len(found) < n and any(queues.values()):
        for key in sorted(queues):
            if queues[key] and len(found) < n:
                found.append(queues[key].pop())
    return found


def reproduced(record: Record) -> dict[str, Any]:
    """What `mfbench reproduce --json` says of a run."""
    command = [sys.executable, "-m", "mfbench", "reproduce", record.run_key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        return {"verdict": "error", "cause": done.stderr.strip(), "lines": []}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    studies = [study for name in given.experiments for study in studies_of(name)]
    records = [record for study in studies for record in study_records(study) if record.outcome != "failed"]
    body, verdicts = [], Counter[str]()
    for record in drawn(records, given.n, given.seed):
        answer = reproduced(record)
        verdicts[answer["verdict"]] += 1
        agree = f"{sum(line['agrees'] for line in answer['lines'])} of {len(answer['lines'])}"
        told = [record.outcome, str(record.epochs), agree, answer["verdict"], answer.get("cause") or ""]
        body.append([record.run_key, *told])
        print(record.run_key, answer["verdict"], file=sys.stderr)
    print(markdown(["run", "outcome", "epochs", "agree", "verdict", "cause"], body))
    print(", ".join(f"{count} of {len(body)} {verdict}" for verdict, count in verdicts.items()))
    return 0 if set(verdicts) == {"to the bit"} else 1


if __name__ == "__main__":
    sys.exit(main())
