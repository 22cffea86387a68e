"""Downloading from a hub, here a server that answers as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sampling.layout import digest_of, pipeline_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "museum/tiny"
PROGRAM = """
import sys
from porcelain.errors import UserError
from sampling.finding import resolve_base
from sampling.hub import revision_of
try:
    folder = resolve_base(*sys.argv[1:])
    print(folder, revision_of(folder))
except UserError as error:
    print("UserError", error)
"""


class Hub(BaseHTTPRequestHandler):
    """The two kinds of requests that a download makes."""

    root: Path
    asked: list[str]

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def log_message(self, *_):
        pass

    def _answer(self, body):
        path = self.path.partition("?")[0]
        files = [p for p in self.root.rglob("*.*") if p.is_file()]
        if path == f"/api/models/{NAME}/tree/{COMMIT}":
            entries = [
                {
                    "type": "file",
                    "path": file.relative_to(self.root).as_posix(),
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                }
                for file in files
            ]
            self._send(200, json.dumps(entries).encode())
            return
        if path.startswith(f"/api/models/{NAME}"):
            if not path.endswith(("/revision/main", "/revision/v1")):
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [{"rfilename": p.relative_to(self.root).as_posix()} for p in files]
            self._send(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
            return
        prefix = f"/{NAME}/resolve/{COMMIT}/"
        file = self.root / path.removeprefix(prefix)
        if not path.startswith(prefix) or not file.is_file():
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        if body:
            self.asked.append(path.removeprefix(prefix))
        data = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self._send(200, data, headers, body)

    def _send(self, status, data, headers=None, body=True):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(base, tmp_path):
    """A hub with one model, in a repository that holds much else too."""
    root = shutil.copytree(base, tmp_path / "hub")
    (root / "v1-5-pruned.ckpt").write_bytes(b"pickle")
    (root / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (root / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
    (root / "safety_checker").mkdir()
    (root / "safety_checker" / "model.safetensors").write_bytes(b"large")
    handler = type("Handler", (Hub,), {"root": root, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def resolve(server, home, *arguments, **environment):
    """Resolve in a process of its own: the hub's address is read when it is imported."""
    address = f"http://127.0.0.1:{server.server_port}"
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_ETAG_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
    )
    return answer.stdout.strip()


def test_only_what_a_pipeline_needs_is_downloaded_and_only_once(hub, base, tmp_path):
    folder, commit = resolve(hub, tmp_path / "home", NAME).split()
    assert commit == COMMIT
    assert digest_of(Path(folder)) == digest_of(base)
    needed = [path.relative_to(base).as_posix() for path in pipeline_files(base)]
    handler = hub.RequestHandlerClass
    assert sorted(handler.asked) == sorted(needed)
    handler.asked.clear()
    assert resolve(hub, tmp_path / "home", NAME).split() == [folder, commit]
    # What was downloaded serves without the hub too.
    assert resolve(hub, tmp_path / "home", NAME, HF_HUB_OFFLINE="1").split() == [folder, commit]
    assert not handler.asked


def test_a_model_in_half_precision_alone(hub, tmp_path):
    root = hub.RequestHandlerClass.root
    for file in root.rglob("*.safetensors"):
        if "fp16" not in file.name and "safety" not in str(file):
            file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    folder = resolve(hub, tmp_path / "home", NAME).split()[0]
    assert all("fp16" in p.name for p in pipeline_files(Path(folder)) if p.suffix == ".safetensors")


def test_refusals_say_what_to_do(hub, tmp_path):
    home = tmp_path / "home"
    said = resolve(hub, home, "museum/unknown")
    assert said.startswith("UserError The hub has no model 'museum/unknown'")
    assert "no revision 'v9'" in resolve(hub, home, NAME, "v9")
    for gone in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        said = resolve(hub, home, NAME, **gone)
        assert "out of reach" in said
        assert "give its path" in said
        assert "\n" not in said
