"""The report of a suite: one table over all its data sets, ranks over them, pictures, and all of it as files."""
