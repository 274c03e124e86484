"""Sweeps on a Dask cluster: the crew here, what it asks of a cluster, and what runs in a worker there."""
