"""The real hub client against a server on this machine that speaks the hub's protocol, found through HF_ENDPOINT."""

import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.prepare.climbmix import REPOSITORY, VALIDATION_SHARD, shard_name
from shared.files import sha256_bytes
from tests.services.prepare.tiny_corpus import make_documents

COMMIT = "0123456789" * 4


def make_shard(seed):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": make_documents(40, seed)}), buffer)
    return buffer.getvalue()


class HubHandler(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    arrives: dict[str, list[bytes]]  # what downloads of a file give, the last one for ever

    def log_message(self, *_):
        pass

    def answer(self, content=b"", headers=(), status=200, length=None):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self):
        assert self.path == f"/api/datasets/{REPOSITORY}/paths-info/{COMMIT}"
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        found = [(name, self.files[name]) for name in body["paths"] if name in self.files]
        entries = [
            {
                "type": "file",
                "path": name,
                "size": len(data),
                "oid": "0" * 40,
                "lfs": {"oid": sha256_bytes(data), "size": len(data), "pointerSize": 130},
            }
            for name, data in found
        ]
        self.answer(json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def do_GET(self):
        if self.path.startswith(f"/api/datasets/{REPOSITORY}"):
            info = {"id": REPOSITORY, "sha": COMMIT, "siblings": []}
            return self.answer(json.dumps(info).encode(), {"Content-Type": "application/json"})
        name = self.path.rpartition("/")[2]
        if name not in self.files or COMMIT not in self.path:
            return self.answer(b"", {"X-Error-Code": "EntryNotFound"}, status=404)
        data = self.files[name]
        headers = {"ETag": f'"{sha256_bytes(data)}"', "X-Repo-Commit": COMMIT}
        if self.command == "HEAD":
            return self.answer(b"", headers, length=len(data))
        arriving = self.arrives.get(name, [data])
        return self.answer(arriving.pop(0) if len(arriving) > 1 else arriving[0], headers)

    do_HEAD = do_GET


@pytest.fixture
def hub():
    files = {shard_name(index): make_shard(index) for index in (0, VALIDATION_SHARD)}
    Handler = type("Handler", (HubHandler,), {"files": files, "arrives": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


def prepare_climbmix(hub, home, shards=1):
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "NO_PROXY": "127.0.0.1"}
    job = json.dumps({"corpus": "climbmix", "shards": shards, "seq_lens": [16]})
    arguments = [sys.executable, "-m", "services.prepare", job]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True)


def test_climbmix_comes_from_the_endpoint_and_survives_a_damaged_download(hub, home):
    good = hub.files[shard_name(0)]
    hub.arrives[shard_name(0)] = [good[:-9] + b"x" * 9, good]
    finished = prepare_climbmix(hub, home)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "climbmix: 0 shards reused, 2 downloaded" in finished.stdout
    directory = home / "corpora" / "climbmix"
    found = {path.name: path.read_bytes() for path in directory.glob("*.parquet")}
    assert found == hub.files
    assert json.loads((directory / "index.json").read_text())["revision"] == COMMIT


def test_a_shard_the_hub_lacks_is_one_line(hub, home):
    finished = prepare_climbmix(hub, home, shards=2)
    assert finished.returncode == 2
    assert "has no shard_00001.parquet" in finished.stderr
    assert finished.stderr.count("\n") == 1
