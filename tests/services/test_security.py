"""Nothing is fetched for a caller, and no pickle is read: asked of every door of a service."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests import pictures
from tests.services.attacks import Exploit, check_doors, exploit_everywhere, nobody_calls
from tests.services.servers import Server, start_server


@pytest.fixture(scope="module")
def inner(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the model behind a socket of its own, as on a GPU: the most doors a service has."""
    log = tmp_path_factory.mktemp("inner") / "log"
    server = start_server(bundle, log, "--workers", "1", INFERENCE="service")
    yield server
    server.stop()


def test_the_exploit_works_where_a_pickle_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "exploited"
    pickle.loads(pickle.dumps(Exploit(str(mark))))
    assert mark.exists()


def test_no_door_of_the_classifier_reads_a_pickle(server: Server, tmp_path: Path) -> None:
    check_doors(server, sockets=0)
    statuses = exploit_everywhere(server, tmp_path / "exploited")
    assert set(statuses) <= {400, 404, 405, 415}
    assert server.classify(pictures.jpeg()).status_code == 200


def test_no_public_door_reads_a_pickle_before_an_inner_service(
    inner: Server, tmp_path: Path
) -> None:
    check_doors(inner, sockets=1)
    statuses = exploit_everywhere(inner, tmp_path / "exploited")
    assert set(statuses) <= {400, 404, 405, 415}
    assert inner.classify(pictures.jpeg()).status_code == 200


def test_the_classifier_fetches_nothing(server: Server) -> None:
    statuses = nobody_calls(server)
    assert 200 in statuses
    assert all(status < 500 for status in statuses)


def test_addresses_in_a_pictures_metadata_are_not_followed(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        xmp = (
            f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
            f'rdf:about="{url}" xmlns:dcterms="http://purl.org/dc/terms/" '
            f'dcterms:provenance="{url}manifest.c2pa">&e;</rdf:Description></rdf:RDF></x:xmpmeta>'
        )
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        info.add_text("url", url)
        exif = Image.Exif()
        exif[0x010E] = exif[0x013B] = url  # ImageDescription, Artist
        for data in (
            pictures.encode(pictures.scene(), "PNG", pnginfo=info),
            pictures.jpeg(xmp=xmp.encode(), exif=exif.tobytes()),
            pictures.encode(pictures.scene(), "WEBP", xmp=xmp.encode()),
        ):
            assert server.classify(data).status_code == 200
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()
