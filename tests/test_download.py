"""Getting an archive: from where, how it goes on after a break, and that only the official one gets its name."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refused
from servers import free_port, serving
from waiting import SECONDS

from mfbench.core.errors import DataError, WorkError
from mfbench.data.download import Archive, fetch

CONTENT = np.random.default_rng(0).bytes(700_000)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; `server.manner` says in which way it goes wrong."""

    server: Any

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        if self.server.manner == "busy":
            self.send_error(503)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and self.server.manner != "no ranges":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.manner != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        upto = 400_000 if self.server.manner in ("cut", "no length") else len(content)
        self.wfile.write(content[start:upto])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.manner, httpd.asked = {"/a.zip": CONTENT}, "well", []
    with serving(httpd):
        yield httpd


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MFBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MFBENCH_MIRROR", raising=False)
    return tmp_path / "data"


def archive(address: str = "http://127.0.0.1:1/") -> Archive:
    md5, sha256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
    return Archive("a.zip", len(CONTENT), md5, sha256, "csv", address=address)


def served(server: Any) -> Archive:
    return archive(f"http://127.0.0.1:{server.server_port}/")


def only_the_archive(home: Path) -> bool:
    return [p.name for p in home.iterdir() if not p.name.endswith(".lock")] == ["a.zip"]


def test_from_the_official_address(server: Any, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fetch(served(server))
    assert path == home / "a.zip"
    assert path.read_bytes() == CONTENT
    assert only_the_archive(home)
    assert fetch(served(server)) == path
    assert len(server.asked) == 1
    assert capfd.readouterr() == ("", "")


def test_what_is_there_is_checked_too(home: Path) -> None:
    home.mkdir()
    for wrong, fault in ((CONTENT[:-1], "bytes"), (CONTENT[:-1] + b"x", "md5")):
        (home / "a.zip").write_bytes(wrong)
        with refused(DataError, "not the official a.zip", fault):
            fetch(archive())
        assert (home / "a.zip").read_bytes() == wrong


def test_each_hash_that_is_known_is_checked(home: Path) -> None:
    home.mkdir()
    (home / "a.zip").write_bytes(CONTENT)
    assert fetch(replace(archive(), sha256=None)) == home / "a.zip"
    for wrong in (replace(archive(), md5="0" * 32), replace(archive(), sha256="0" * 64)):
        with pytest.raises(DataError):
            fetch(wrong)


def test_a_mirror_that_is_a_folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFBENCH_MIRROR", str(tmp_path))
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert fetch(archive()) == home / "a.zip"
    assert (home / "a.zip").read_bytes() == CONTENT
    assert only_the_archive(home)
    (home / "a.zip").unlink()
    (tmp_path / "a.zip").write_bytes(CONTENT[::-1])
    with refused(DataError, str(tmp_path / "a.zip")):
        fetch(archive())


def test_a_mirror_that_is_an_address(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFBENCH_MIRROR", f"http://127.0.0.1:{server.server_port}/far")
    server.files = {"/far/a.zip": CONTENT}
    assert fetch(archive()).read_bytes() == CONTENT


def test_a_mirror_without_the_archive(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mirror in (str(tmp_path), f"http://127.0.0.1:{server.server_port}/far"):
        monkeypatch.setenv("MFBENCH_MIRROR", mirror)
        assert fetch(served(server)).read_bytes() == CONTENT
        fetch(served(server)).unlink()


def test_a_mirror_that_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFBENCH_MIRROR", "/no/such/folder")
    with refused(DataError, "MFBENCH_MIRROR"):
        fetch(archive())


@pytest.mark.parametrize("manner", ["cut", "no length"])
def test_a_cut_connection_goes_on_from_where_it_was(server: Any, home: Path, manner: str) -> None:
    server.manner = manner
    with refused(WorkError, "interrupted") as caught:
        fetch(served(server))
    assert caught.value.exit_code == 1
    assert not (home / "a.zip").exists()
    there = (home / "a.zip.part").stat().st_size
    assert 0 < there <= 400_000
    server.manner = "well"
    assert fetch(served(server)).read_bytes() == CONTENT
    assert server.asked[-1] == ("/a.zip", f"bytes={there}-")
    assert only_the_archive(home)


def test_a_server_without_ranges_sends_all_again(server: Any, home: Path) -> None:
    home.mkdir()
    (home / "a.zip.part").write_bytes(b"x" * 1000)
    server.manner = "no ranges"
    assert fetch(served(server)).read_bytes() == CONTENT
    assert only_the_archive(home)


def test_a_wrong_part_is_removed_and_the_next_try_works(server: Any, home: Path) -> None:
    home.mkdir()
    (home / "a.zip.part").write_bytes(b"x" * 1000)
    with refused(DataError, "was deleted"):
        fetch(served(server))
    assert not (home / "a.zip").exists()
    assert fetch(served(server)).read_bytes() == CONTENT


def test_a_part_that_is_complete_or_too_long(home: Path, server: Any) -> None:
    home.mkdir()
    (home / "a.zip.part").write_bytes(CONTENT)
    assert fetch(archive()).read_bytes() == CONTENT
    (home / "a.zip").unlink()
    (home / "a.zip.part").write_bytes(CONTENT + b"x")
    assert fetch(served(server)).read_bytes() == CONTENT


def test_another_file_under_that_name(server: Any, home: Path) -> None:
    for other in (b"<html>please log in</html>", CONTENT + b"x", CONTENT[::-1]):
        server.files = {"/a.zip": other}
        with refused(DataError, "not the official a.zip"):
            fetch(served(server))
        assert [p for p in home.iterdir() if not p.name.endswith(".lock")] == []


def test_not_found_and_busy(server: Any) -> None:
    server.manner = "busy"
    with refused(DataError, "503"):
        fetch(served(server))
    server.files = {}
    with refused(DataError, "not found", "MFBENCH_MIRROR"):
        fetch(served(server))


def test_no_network() -> None:
    with refused(DataError, "cannot be reached"):
        fetch(archive(f"http://127.0.0.1:{free_port()}/"))


def test_trouble_with_tls(server: Any) -> None:
    with refused(DataError, "MFBENCH_MIRROR"):
        fetch(archive(f"https://127.0.0.1:{server.server_port}/"))


def test_two_at_once_download_once(server: Any) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(served(server)).read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == [CONTENT] * 4
    assert len(server.asked) == 1


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MFBENCH_DATA", str(tmp_path / "file" / "data"))
    with refused(DataError, "MFBENCH_DATA"):
        fetch(archive())
