"""Spark: ALS of its library for machine learning, in local mode on one machine, in one go.

Its ridge is regParam times n_u for a user with n_u ratings, that of `als` with regParam = beta / 2; it has no alpha. It has
neither biases nor a mean: with center: true the mean is subtracted from the ratings, and bias: true changes nothing. It draws
its start itself, from a seed that the harness draws. Items are solved for first. `blocks` is its numUserBlocks and
numItemBlocks, which change the result. float32. Needs Java 17 or newer; it listens on loopback only, without its web page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """ALS of pyspark.ml.recommendation."""
    check_java()
    folder = _scratch()
    session = _session(folder, given.cores)
    from pyspark.ml.recommendation import ALS

    yield {}
    file = folder / "ratings.csv"
    columns = [given.users, given.items, given.values.astype(np.float64) - given.mean]
    np.savetxt(file, np.column_stack(columns), fmt=["%d", "%d", "%.17g"], delimiter=",")
    ratings = session.read.csv(file.as_uri(), schema="user INT, item INT, rating DOUBLE")
    als = ALS(
        rank=given.K, maxIter=given.n_iter, regParam=given.beta / 2, seed=given.seed, userCol="user", itemCol="item",
        ratingCol="rating", numUserBlocks=given.blocks, numItemBlocks=given.blocks,
    )  # fmt: skip
    model = als.fit(ratings)
    file.unlink()
    yield {
        "P": _all(given.n_users, given.K, model.userFactors), "Q": _all(given.n_items, given.K, model.itemFactors),
        "user_bias": np.zeros(given.n_users, np.float32), "item_bias": np.zeros(given.n_items, np.float32),
        "mean": np.float64(given.mean),
    }  # fmt: skip


def check_java() -> None:
    """RuntimeError unless the Java that Spark would start is 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    says = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    version = re.search(r'version "(\d+)[^"]*"', says)
    if version is None or int(version[1]) < 17:
        where = f"JAVA_HOME, {home}, has" if home else "the PATH has"
        found = version[0] if version else "none"
        raise RuntimeError(f"Java 17 or newer is needed, but {where} {found}; install it, or set JAVA_HOME to where it is")


_kept: list[Any] = []  # as its input would end with the object


@cache
def _scratch() -> Path:
    """A folder for what Java and Spark write, deleted soon after this process has ended, however it ends."""
    folder = tempfile.mkdtemp(prefix="mfbench-spark-")
    # This process ends by SIGKILL, as the harness ends all peers. So a shell, in a group of its own, waits for the end of its
    # input, of which only this process has the other end, and then a second longer, until Java is gone too.
    cleaner = subprocess.Popen(
        ["/bin/sh", "-c", 'cat; sleep 1; rm -rf -- "$1"', "sh", folder],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
    )  # fmt: skip
    _kept.append(cleaner)
    return Path(folder)


@cache
def _session(folder: Path, cores: int) -> Any:
    for name in [name for name in os.environ if name.startswith(("SPARK_", "PYSPARK_", "HADOOP_"))]:
        del os.environ[name]  # settings for another Spark
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
    from pyspark.sql import SparkSession

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    settings = {
        "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder), "spark.sql.warehouse.dir": str(folder), "spark.driver.memory": f"{memory >> 20}m",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={folder} -XX:-UsePerfData", "spark.log.level": "ERROR",
    }  # fmt: skip
    session = SparkSession.builder.master(f"local[{cores}]").config(map=settings).getOrCreate()
    session.sparkContext.setCheckpointDir(str(folder))  # else the stack overflows where there are many passes
    return session


def _all(n: int, K: int, found: Any) -> Any:
    """The factors [n, K] of n ids, zero for those that Spark has not seen."""
    whole = np.zeros((n, K), np.float32)
    for row in found.toLocalIterator():
        whole[row["id"]] = row["features"]
    return whole
