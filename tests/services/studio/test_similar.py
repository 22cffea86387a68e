"""Where the page takes names and similar training pictures from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from porcelain.dataset import Record, write_metadata
from porcelain.errors import DatasetError
from porcelain.vocabulary import TASKS
from services.studio.client import ClassifierClient, ServiceError
from services.studio.names import Names
from services.studio.similar import training_copies
from services.studio.training_pictures import TrainingPictures
from tests import pictures
from tests.services.studio.answers import answer


class Service:
    """Answers as a classifier whose model may be another at any time."""

    def __init__(self, digest: str, *, similar: bool) -> None:
        self.digest, self.similar = digest, similar
        self.models = 0
        self.client = ClassifierClient(
            "classifier", "http://test", transport=httpx.MockTransport(self.handle)
        )

    def handle(self, request: httpx.Request) -> httpx.Response:
        model = {"digest": self.digest}
        if request.url.path == "/v1/model":
            self.models += 1
            limits = {"max_top_k": 7}
            return httpx.Response(
                200, json={"model": model, "similar": self.similar, "limits": limits}
            )
        body = request.read()
        assert b'name="top_k"\r\n\r\n7\r\n' in body
        if b"similar" in body and not self.similar:
            return httpx.Response(400, json={"detail": "No index."})
        more = {"similar": []} if b"similar" in body else {}
        return httpx.Response(200, json={**answer(0.6, 0.3, 0.1), "model": model, **more})

    async def ask(self, times: int = 1) -> list[bool]:
        found = [await self.client.classify(b"picture", similar=5) for _ in range(times)]
        return ["similar" in one for one in found]


def test_similar_pictures_are_asked_of_models_that_know_them() -> None:
    old, new = Service("a", similar=False), Service("a", similar=True)
    assert asyncio.run(old.ask()) == [False]
    assert asyncio.run(new.ask(3)) == [True, True, True]
    assert new.models == 1


def test_a_model_that_has_changed_is_asked_anew_what_it_is() -> None:
    service = Service("a", similar=False)

    async def all_changes() -> None:
        assert await service.ask() == [False]
        service.digest, service.similar = "b", True
        assert await service.ask(2) == [False, True]
        service.digest, service.similar = "c", False
        with pytest.raises(ServiceError, match="No index"):
            await service.ask()
        assert await service.ask() == [False]

    asyncio.run(all_changes())


def test_labels_are_called_as_the_bundle_calls_them() -> None:
    names = Names.of({"names": {"glaze": {"celadon": {"en": "Sea green", "zh": "海綠"}, "x": {}}}})
    assert names.label("glaze", "celadon") == "Sea green · 海綠"
    assert names.label("glaze", "x") == "x"
    assert names.label("dynasty", "ming") == "Ming · 明"  # the service does not name it
    assert Names().label("type", "my_own") == "my own"


def test_other_labels_are_the_models_and_the_taxonomys_without_those_on_buttons() -> None:
    names = Names.of({"names": {"glaze": {"celadon": {}, "our_own": {"en": "Ours"}}}})
    others = names.others("glaze", ["celadon", None])
    assert others["our_own"] == "Ours"
    assert others["black_brown"].startswith("Black")  # no model has learned it
    assert "celadon" not in others


def test_pictures_come_from_the_bundle_or_the_datasets_own_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.jpg").write_bytes(pictures.jpeg(pictures.scene(900, 600)))
    (tmp_path / "images/2.jpg").write_bytes(b"broken")
    (tmp_path / "images/secret.jpg").write_bytes(pictures.jpeg())
    labels = dict.fromkeys(TASKS)
    write_metadata(
        tmp_path, [Record(f"images/{i}.jpg", {**labels, "type": "bowl"}) for i in (1, 2)]
    )
    similar = [{"file_name": f"images/{name}.jpg"} for name in (1, 2, "secret", "../secret")]
    similar.append({"file_name": "images/1.jpg", "thumbnail": "data:given"})
    copies = training_copies(similar, TrainingPictures(tmp_path))
    assert copies[0] is not None
    assert copies[0].startswith("data:image/jpeg;base64,")
    assert copies[1:] == [None, None, None, "data:given"]
    assert training_copies(similar[:1], TrainingPictures(None)) == [None]
    with pytest.raises(DatasetError, match="not a folder"):
        TrainingPictures(tmp_path / "nowhere")
