"""Suites, which are one spec over many data sets."""
