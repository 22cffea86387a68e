"""The generator's REST contract, asked of a real server."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from porcelain.dataset import load_dataset
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.synthetic_picture import MEDIA_TYPES, Provenance, read_provenance
from services.generator.schemas import GenerateAnswer, ModelAnswer
from tests.services.generator.conftest import GeneratorServer

VASE = {"dynasty": "ming", "type": "vase"}
PROMPT = "museum photograph of a vase, Ming dynasty"
COLLECTION = {"glaze": "celadon", "type": "vase"}  # training never saw them together


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_whole_answer(generator: GeneratorServer) -> None:
    response = generator.generate(**VASE, seed=5, count=2, guidance_scale=3)
    assert response.status_code == 200
    answer = GenerateAnswer.model_validate(response.json())
    assert answer.model.name == "tiny"
    assert [image.seed for image in answer.images] == [5, 6]
    for image in answer.images:
        assert image.prompt == PROMPT
        assert image.labels == {"dynasty": "ming", "glaze": None, "kiln": None, "type": "vase"}
        assert (image.steps, image.guidance_scale) == (4, 3.0)
        assert (image.width, image.height, image.media_type) == (64, 64, "image/png")
        data = base64.b64decode(image.data)
        assert decoded(data).shape == (64, 64, 3)
        assert is_marked_synthetic(data)
        assert read_provenance(data) == Provenance(answer.model.digest, PROMPT, image.seed, 4, 3.0)
    assert answer.images[0].data != answer.images[1].data


def test_the_same_request_gives_the_same_bytes(generator: GeneratorServer) -> None:
    first = generator.image(**VASE, seed=11)
    assert generator.image(**VASE, seed=11) == first
    assert generator.image(**VASE, seed=12)["data"] != first["data"]
    assert generator.image(seed=11)["data"] != first["data"]
    one, other = generator.image(**VASE), generator.image(**VASE)
    assert one["seed"] != other["seed"]
    assert generator.image(**VASE, seed=one["seed"]) == one


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_picture_itself(generator: GeneratorServer, name: str) -> None:
    media_type = MEDIA_TYPES[name]  # type: ignore[index]
    by_accept = generator.generate(media_type, **VASE, seed=5)
    by_format = generator.generate("image/*", **VASE, seed=5, format=name)
    for response in (by_accept, by_format):
        assert response.status_code == 200
        assert response.headers["content-type"] == media_type
        assert response.headers["x-seed"] == "5"
        assert is_marked_synthetic(response.content)
        made = read_provenance(response.content)
        assert made is not None
        assert (made.prompt, made.seed) == (PROMPT, 5)
    assert by_accept.content == by_format.content
    in_json = generator.image(**VASE, seed=5, format=name)
    assert in_json["media_type"] == media_type
    assert base64.b64decode(in_json["data"]) == by_accept.content


def test_a_dataset_folder(generator: GeneratorServer, tmp_path: Path) -> None:
    asked: dict[str, Any] = {**VASE, "seed": 5, "count": 3, "format": "webp"}
    response = generator.generate("application/zip", **asked)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    zipfile.ZipFile(io.BytesIO(response.content)).extractall(tmp_path)
    dataset = load_dataset(tmp_path)
    digest = generator.running.get("/v1/model").json()["model"]["digest"]
    assert [record.extra["seed"] for record in dataset.records] == ["5", "6", "7"]
    for record in dataset.records:
        assert record.synthetic
        assert record.labels == {"dynasty": "ming", "glaze": None, "kiln": None, "type": "vase"}
        assert record.extra["prompt"] == PROMPT
        assert record.extra["generator"] == digest
        assert dataset.path(record).suffix == ".webp"
        assert is_marked_synthetic(dataset.path(record))
    again = generator.generate("application/zip", **asked)
    assert again.content == response.content


def test_what_is_accepted_decides(generator: GeneratorServer) -> None:
    asked = {**VASE, "steps": 1}
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    for accept in ("", "*/*", browser, "application/json", "image/png;q=0.5, application/json"):
        response = generator.generate(accept, **asked)
        assert response.headers["content-type"] == "application/json"
    several = generator.generate("image/png, application/zip;q=0.1", **asked, count=2)
    assert several.headers["content-type"] == "application/zip"
    refused = generator.generate("image/png", **asked, count=2)
    assert refused.status_code == 422
    assert "'count'" in refused.json()["detail"]
    for accept, fields in (("text/html", {}), ("image/png", {"format": "webp"})):
        response = generator.generate(accept, **asked, **fields)
        assert response.status_code == 406
        assert "application/json" in response.json()["detail"]


def test_unknown_labels_name_the_valid_ones(generator: GeneratorServer) -> None:
    for wrong in ("vse", "Vase", "blue_and_white", "vase; drop table"):
        response = generator.generate(type=wrong)
        assert response.status_code == 422
        assert "bowl, vase" in response.json()["detail"]


def test_unseen_combinations_are_made_only_when_asked(generator: GeneratorServer) -> None:
    response = generator.generate(**COLLECTION)
    assert response.status_code == 409
    assert "allow_unseen" in response.json()["detail"]
    image = generator.image(**COLLECTION, allow_unseen=True, steps=1)
    assert image["labels"] == {"dynasty": None, "glaze": "celadon", "kiln": None, "type": "vase"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"type": "vase"', 400),
        (b"type=vase", 400),
        (b"[" * 5000, 400),
        (b"\x80\x04\x95", 400),
        (b"[]", 422),
        (b'{"type": 1}', 422),
        (b'{"count": "many"}', 422),
        (b'{"count": 0}', 422),
        (b'{"count": 17}', 422),
        (b'{"count": 1000000000000000000000}', 422),
        (b'{"steps": 401}', 422),
        (b'{"guidance_scale": 1e9}', 422),
        (b'{"guidance_scale": NaN}', 422),
        (b'{"seed": -1}', 422),
        (b'{"width": 4096}', 422),
        (b'{"prompt": "a cat"}', 422),
        (b'{"type": "' + b"v" * 70_000 + b'"}', 413),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
def test_unusable_bodies(generator: GeneratorServer, body: bytes, status: int) -> None:
    response = generator.running.request(
        "POST", "/v1/generate", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status


class Exploit:
    """Unpickled anywhere, it would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def test_other_content_types_are_refused_and_pickles_never_opened(
    generator: GeneratorServer, tmp_path: Path
) -> None:
    mark = tmp_path / "exploited"
    payload = pickle.dumps(Exploit(str(mark)))
    for kind in ("application/vnd.bentoml+pickle", "application/x-pickle", "text/plain", ""):
        headers = {"Content-Type": kind} if kind else {}
        for path in ("/v1/generate", "/generate", "/infer"):
            response = generator.running.request("POST", path, content=payload, headers=headers)
            assert response.status_code == (415 if path == "/v1/generate" else 404)
    as_json = {"Content-Type": "application/json"}
    response = generator.running.request("POST", "/v1/generate", content=payload, headers=as_json)
    assert response.status_code == 400
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Type": "multipart/form-data"}):
        response = generator.running.request(
            "POST", "/v1/generate", content=b"{}", headers={**as_json, **headers}
        )
        assert response.status_code == 415
    assert not mark.exists()


def test_json_may_name_its_charset_and_come_in_chunks(generator: GeneratorServer) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        body = json.dumps({"type": "vase", "steps": 1}).encode()
        response = generator.running.request(
            "POST",
            "/v1/generate",
            content=(body[i : i + 5] for i in range(0, len(body), 5)),
            headers={"Content-Type": kind},
        )
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/generate", 405),
        ("PUT", "/v1/generate", 405),
        ("OPTIONS", "/v1/generate", 405),
        ("DELETE", "/v1/model", 405),
        ("POST", "/livez", 405),
        ("GET", "/", 404),
        ("GET", "/docs.json", 404),
        ("POST", "/v1/classify", 404),
        ("POST", "/v1/generate/", 404),
        ("POST", "/sample", 404),
    ],
)
def test_wrong_methods_and_unknown_routes(
    generator: GeneratorServer, method: str, path: str, status: int
) -> None:
    response = generator.running.request(method, path)
    assert response.status_code == status
    if status == 405:
        assert response.headers["allow"]


def test_the_model_describes_itself(generator: GeneratorServer) -> None:
    answer = ModelAnswer.model_validate(generator.running.get("/v1/model").json())
    assert answer.labels["type"] == ["bowl", "vase"]
    assert len(answer.combinations) == 3
    assert answer.sampling.steps == 4
    assert answer.limits.max_count == 16
    assert answer.limits.max_steps == 400
    assert answer.lora.rank == 4
    assert answer.model.digest == generator.generate(**VASE).json()["model"]["digest"]


def test_the_document_names_these_routes_and_no_others(generator: GeneratorServer) -> None:
    document = generator.running.document
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/generate",
        "/v1/model",
        "/livez",
        "/readyz",
        "/metrics",
    }
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])
    operation = document["paths"]["/v1/generate"]["post"]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "application/zip",
        *MEDIA_TYPES.values(),
    }
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert not schema["additionalProperties"]
    fields = schema["properties"]
    assert fields["type"]["enum"] == ["bowl", "vase", None]
    assert fields["count"]["maximum"] == 16
    assert fields["steps"]["anyOf"][0]["maximum"] == 400
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/model"):
        assert generator.running.get(path).status_code == 200
        assert generator.running.request("HEAD", path).content == b""


def test_the_request_id_is_kept(generator: GeneratorServer) -> None:
    headers = {"X-Request-Id": "vase-42"}
    response = generator.running.request("POST", "/v1/generate", json={"steps": 1}, headers=headers)
    assert response.headers["x-request-id"] == "vase-42"
    assert isinstance(response, httpx.Response)
