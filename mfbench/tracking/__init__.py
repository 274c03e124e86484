"""MLflow: an export of records that can be repeated at will, its pages, its server. The only home of MLflow.

`contents` says under which name each number goes there; `client` sends it. Only a run named by its id is read back.
"""
