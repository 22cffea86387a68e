"""Load over HTTP with wrk (https://github.com/wg/wrk; Debian and Ubuntu: `apt install wrk`)."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

BOUNDARY = "porcelainbenchmark"

# Requests are prepared before the clock starts; each connection's next request is the next
# picture of the mix.
_SCRIPT = """
local requests = {}
local place = 0
function init(args)
  for line in io.lines(args[1]) do
    local file = assert(io.open(line, "rb"))
    local body = file:read("*a")
    file:close()
    local headers = {["Content-Type"] = "multipart/form-data; boundary=%(boundary)s"}
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end
function request()
  place = place %% #requests + 1
  return requests[place]
end
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run measured; latencies in milliseconds."""

    requests: int
    throughput: float
    p50: float
    p99: float


class LoadGenerator:
    """Sends a set of pictures as multipart forms, over and over."""

    def __init__(self, pictures: list[bytes], folder: Path) -> None:
        """Prepare the request bodies in `folder`.

        Raises:
            SystemExit: wrk is not installed.
        """
        if shutil.which("wrk") is None:
            raise SystemExit("This benchmark needs wrk: apt install wrk.")
        folder.mkdir(parents=True, exist_ok=True)
        self._script = folder / "requests.lua"
        self._script.write_text(_SCRIPT % {"boundary": BOUNDARY})
        self._list = folder / "bodies.txt"
        names = []
        for number, picture in enumerate(pictures):
            path = folder / f"{number}.form"
            path.write_bytes(form_body(picture))
            names.append(str(path))
        self._list.write_text("\n".join(names) + "\n")

    def run(self, url: str, seconds: float, connections: int) -> Load:
        """Keep `connections` requests in flight for `seconds`.

        Raises:
            RuntimeError: A request failed; a benchmark of failures says nothing.
        """
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{math.ceil(seconds)}s"]
        command += ["--timeout", "30s", "-s", str(self._script), url, "--", str(self._list)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        line = next(x for x in output.splitlines() if x.startswith("RESULT "))
        result = json.loads(line.removeprefix("RESULT "))
        if result["failed"]:
            raise RuntimeError(f"{result['failed']} requests to {url} failed")
        return Load(
            result["requests"],
            result["requests"] / result["microseconds"] * 1e6,
            result["p50"] / 1000,
            result["p99"] / 1000,
        )


def form_body(picture: bytes) -> bytes:
    """A multipart form with one file in the field `image`."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="vase.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
