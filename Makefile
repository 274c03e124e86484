# make demo: the main job on embedded data, with all its set-up.  make test: the tests, with what they need.
.PHONY: demo test check docs constraints
.SUFFIXES:

demo: .venv/run.stamp
	.venv/bin/mfbench sweep experiments/quickstart.yaml --workers 2

test: .venv/dev.stamp
	.venv/bin/pytest

check: .venv/dev.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The documentation, into site/; fails if a link or a name in it does not exist. Needs no network.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# The pinned set, for Python 3.11 to 3.13 on any system; needs uv. Not for the extra gp, whose torch pins CUDA libraries.
constraints:
	uv pip compile --universal --python-version 3.11 --extra dev --extra gpu --extra tpu --extra browser --extra docs --no-header --no-annotate --no-emit-index-url \
		--upgrade -o constraints.txt pyproject.toml

.venv/run.stamp: pyproject.toml constraints.txt
	@sh .ci/install .venv -e '.[dvc]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt
	@sh .ci/install .venv -e '.[dev]'
	@touch $@ .venv/run.stamp

.venv/docs.stamp: pyproject.toml constraints.txt
	@sh .ci/install .venv -e '.[docs]'
	@touch $@
