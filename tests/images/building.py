"""Images built with buildah, without a daemon, on a base of Debian's own packages.

The base stands in for the official Python image where that cannot be pulled: Debian bookworm has
the same Python version. It gets this machine's certificates, for registries behind a proxy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"


def lacking() -> str | None:
    """Why images cannot be built here; None where they can."""
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (Debian: apt install buildah debootstrap)"
    return "building images needs root" if os.geteuid() != 0 else None


@dataclass(frozen=True)
class Builder:
    """buildah with a storage of its own."""

    storage: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def command(self, *words: str) -> list[str]:
        where = ["--root", str(self.storage / "root"), "--runroot", str(self.storage / "run")]
        return ["buildah", *where, *words]

    def run(self, *words: str) -> str:
        result = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=self.environment(),
        )
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
        return result.stdout.strip()

    def has(self, image: str) -> bool:
        return image in self.run("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()

    def make_base(self) -> None:
        """Make what the Dockerfile calls its base image, unless it is there."""
        found = re.search(r"^ARG PYTHON=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
        assert found is not None
        image = found[1]
        self.storage.mkdir(parents=True, exist_ok=True)
        if self.has(image):
            return
        folder = self.storage / "debian"
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        subprocess.run([*command, str(folder)], check=True, capture_output=True)
        shutil.copy(CERTIFICATES, folder / "etc/ssl/certs/ca-certificates.crt")
        shutil.rmtree(folder / "var/cache/apt")
        container = self.run("from", "scratch")
        self.run("copy", container, str(folder), "/")
        for name in ("SSL_CERT_FILE", "PIP_CERT"):
            self.run("config", "--env", f"{name}=/etc/ssl/certs/ca-certificates.crt", container)
        self.run("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", container)
        self.run("commit", "--rm", container, image)
        shutil.rmtree(folder)

    def build(self, target: str) -> str:
        """Build one target; returns the image's name."""
        image = f"localhost/porcelain/{target}:test"
        self.run("build", "--format", "docker", "--target", target, "--tag", image, ".")
        return image

    def container(self, image: str) -> str:
        return self.run("from", "--pull-never", image)

    def files(self, container: str) -> Path:
        """Where a container's file system is to be seen."""
        return Path(self.run("mount", container))

    def size(self, path: Path) -> int:
        """Bytes below `path`."""
        result = subprocess.run(
            ["du", "--summarize", "--block-size=1", "--one-file-system", str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(result.stdout.split()[0])

    def serve(self, container: str, volumes: dict[Path, str], words: list[str]) -> list[str]:
        """The command that runs `words` in a container, as the image's user."""
        mounts = [
            word for at, to in volumes.items() for word in ("--volume", f"{at.resolve()}:{to}:ro")
        ]
        return self.command("run", "--isolation", "chroot", *mounts, container, "--", *words)
