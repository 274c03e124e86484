"""Suites, which are one spec over many data sets, and claims, the files by which others can check a table of results."""
