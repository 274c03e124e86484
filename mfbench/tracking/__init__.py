"""MLflow: the export of records, the addresses of its pages, its server; and the export of trials to Optuna's dashboard.

This is the only room that uses MLflow.

The export is idempotent. `contents` maps records to tags, params and metrics; `client` sends them. mfbench reads a run back
from MLflow only if the user names it by its id.
"""
