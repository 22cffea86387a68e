"""Holding a running service against its own OpenAPI document, with schemathesis."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.services.servers import Server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
"""Not whether data that fit the schema are accepted: random bytes fit it, and are no picture."""


def requests_that_conform(server: Server, key: str, seconds: int) -> int:
    """How many requests were answered as the document says; fails with the first that was not."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", "1000", "--max-time", str(seconds), "--generation-deterministic"]
    command += ["--request-timeout", "30", "--no-color", "--warnings", "off"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
        cwd=server.log.parent,  # it keeps what it found in its working directory
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"([\d,]+) generated, ([\d,]+) passed", done.stdout)
    assert passed is not None, done.stdout[-3000:]
    return int(passed[2].replace(",", ""))
