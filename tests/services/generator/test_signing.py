"""Content credentials of what the generator's service answers, from its settings to the bytes."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from porcelain.content_credentials import load_signing, read_credentials
from porcelain.synthetic_picture import MEDIA_TYPES
from porcelain.verification import examine
from porcelain.vocabulary import TASKS
from services.generator.answers import JSON, ZIP, Composer
from services.generator.planning import Order
from services.schemas import Model
from tests.services.generator.conftest import GeneratorServer
from tests.services.servers import check_log, start_server

pytest.importorskip("c2pa")
slow = pytest.mark.slow  # a server of its own loads torch
VASE = {"dynasty": "ming", "type": "vase", "steps": 2}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the demo's chain, made by the server."""
    return tmp_path_factory.mktemp("signer")


@pytest.fixture(scope="module")
def signing(
    generator_bundle: Path, signer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GeneratorServer]:
    """A server that signs."""
    log = tmp_path_factory.mktemp("signing") / "log"
    server = start_server(
        generator_bundle, log, kind="generator", THREADS="1", DEMO_CERTIFICATE=str(signer)
    )
    yield GeneratorServer(server)
    server.stop()
    check_log(log)


def pictures_in(archive: bytes) -> list[bytes]:
    """The pictures of a dataset folder in an archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as folder:
        return [folder.read(name) for name in folder.namelist() if name.endswith(".png")]


def trusted(data: bytes, signer: Path) -> bool:
    """Whether a picture says that a model made it, in the name of this signer."""
    read = read_credentials(data, (signer / "certificate.pem").read_bytes())
    return read.state == "trusted" and read.synthetic


@pytest.mark.parametrize("media_type", [*MEDIA_TYPES.values(), JSON, ZIP])
def test_whatever_is_composed_is_signed(signer: Path, media_type: str) -> None:
    labels = {**dict.fromkeys(TASKS), "type": "vase"}
    order = Order(labels, "a vase", (1, 2), steps=2, guidance_scale=3.0, format=None)
    pixels = [np.full((64, 64, 3), shade, dtype=np.uint8) for shade in (90, 160)]
    model = Model(name="tiny", version="1", digest="0" * 64)
    kind = next((k for k, name in MEDIA_TYPES.items() if name == media_type), "png")
    composer = Composer(model, load_signing(None, None, signer))
    body = bytes(composer.compose(order, pixels, media_type, kind).body)
    if media_type == JSON:
        files = [base64.b64decode(image["data"]) for image in json.loads(body)["images"]]
    else:
        files = pictures_in(body) if media_type == ZIP else [body]
    assert len(files) == (2 if media_type in (JSON, ZIP) else 1)
    assert all(trusted(data, signer) for data in files)


@slow
@pytest.mark.parametrize("media_type", MEDIA_TYPES.values())
def test_the_picture_itself_is_signed(
    signing: GeneratorServer, signer: Path, media_type: str
) -> None:
    data = signing.generate(media_type, **VASE, seed=3).content
    assert trusted(data, signer)
    assert {"metadata", "content credentials"} <= {*examine(data).evidence}


@slow
def test_pictures_in_json_and_in_a_folder_are_signed(
    signing: GeneratorServer, signer: Path
) -> None:
    images = signing.generate(**VASE, count=2).json()["images"]
    content = signing.generate("application/zip", **VASE, count=2).content
    files = [*pictures_in(content)]
    files += [base64.b64decode(image["data"]) for image in images]
    assert len(files) == 4
    assert all(trusted(data, signer) for data in files)


@slow
def test_a_server_without_a_certificate_signs_nothing(generator: GeneratorServer) -> None:
    data = generator.generate("image/png", **VASE).content
    assert read_credentials(data).state == "none"
    assert "content credentials" not in examine(data).evidence
