"""The classifier's REST contract, asked of a real server."""

from __future__ import annotations

import base64
import io
import json
import pickle
import socket
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from porcelain.watermark import embed_watermark
from services.classifier.schemas import (
    BatchAnswer,
    ClassifyAnswer,
    ModelAnswer,
    ObjectClassified,
    ObjectFailed,
)
from tests import pictures
from tests.services.conftest import LABELS, Server
from tests.services.servers import log_entries

FORMATS = pictures.every_format()
GOOD = pictures.jpeg()


def label(response: httpx.Response, task: str = "dynasty") -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["predictions"][task]["label"])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_by_its_content(server: Server, name: str) -> None:
    data, kind = FORMATS[name]
    response = server.classify(data, name="wrong.name")
    assert label(response) == "red"
    assert response.json()["image"]["format"] == kind


def test_the_whole_answer(server: Server) -> None:
    response = server.classify(pictures.jpeg(pictures.scene(colour="blue")), top_k="2")
    answer = ClassifyAnswer.model_validate(response.json())
    assert answer.model.name == "colours"
    assert answer.image.model_dump() == {"width": 96, "height": 64, "format": "JPEG"}
    assert list(answer.predictions) == list(LABELS)
    for task, prediction in answer.predictions.items():
        assert prediction.label == prediction.top[0].label == LABELS[task][2]
        assert len(prediction.top) == 2
        assert prediction.top[0].probability >= prediction.top[1].probability
    assert not answer.predictions["dynasty"].abstained
    assert answer.predictions["type"].abstained
    assert "explanation" not in response.json()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_answers_as_the_upright_one(server: Server, orientation: int) -> None:
    upright = server.classify(pictures.rotated_jpeg(1)).json()
    turned = server.classify(pictures.rotated_jpeg(orientation)).json()
    assert turned["image"] == upright["image"]
    for task in LABELS:
        ours, theirs = turned["predictions"][task], upright["predictions"][task]
        assert ours["label"] == theirs["label"]
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=0.01)


def test_odd_but_good_pictures(server: Server) -> None:
    assert label(server.classify(pictures.grey_16_bit())) in LABELS["dynasty"]
    for mode in ("1", "L", "LA", "P", "RGBA"):
        data = pictures.encode(pictures.scene().convert(mode), "PNG")
        assert server.classify(data).status_code == 200
    one_pixel = server.classify(pictures.encode(Image.new("RGB", (1, 1), "lime"), "PNG"))
    assert label(one_pixel) == "green"
    assert one_pixel.json()["image"] == {"width": 1, "height": 1, "format": "PNG"}


@pytest.mark.parametrize("declared", ["image/png", "image/gif", "text/html", "nonsense"])
def test_the_declared_type_and_name_do_not_matter(server: Server, declared: str) -> None:
    for name in ("jpeg", "png"):
        files = {"image": ("vase.tiff", FORMATS[name][0], declared)}
        assert label(server.request("POST", "/v1/classify", files=files)) == "red"


@pytest.mark.parametrize("declared", ["image/jpeg", "image/png", "image/x-unheard-of"])
def test_the_picture_itself_as_the_body(server: Server, declared: str) -> None:
    response = server.request(
        "POST", "/v1/classify?top_k=1", content=GOOD, headers={"Content-Type": declared}
    )
    assert label(response) == "red"
    assert len(response.json()["predictions"]["kiln"]["top"]) == 1


def test_a_body_in_chunks(server: Server) -> None:
    chunks = (GOOD[i : i + 100] for i in range(0, len(GOOD), 100))
    response = server.request(
        "POST", "/v1/classify", content=chunks, headers={"Content-Type": "image/jpeg"}
    )
    assert label(response) == "red"


def test_explanations_are_pictures_of_the_pictures_proportions(server: Server) -> None:
    explanation = server.classify(GOOD, explain="true").json()["explanation"]
    assert list(explanation) == list(LABELS)
    for uri in explanation.values():
        kind, _, data = uri.partition(",")
        assert kind == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.format == "PNG"
        assert picture.width / picture.height == pytest.approx(96 / 64, rel=0.01)


UNUSABLE: dict[str, tuple[bytes, int]] = {
    "svg": (pictures.SVG, 415),
    "pdf": (pictures.PDF, 415),
    "html": (pictures.HTML, 415),
    "url": (b"http://127.0.0.1/vase.jpg", 415),
    "pickle": (pickle.dumps({"image": 1}), 415),
    "empty": (b"", 422),
    "png bomb": (pictures.png_bomb(), 413),
    "jpeg bomb": (pictures.jpeg_bomb(), 413),
    "huge": (GOOD + bytes(70_000_000), 413),
    "only a signature": (b"\xff\xd8\xff", 422),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_picture_is_refused_with_its_status(server: Server, name: str) -> None:
    data, status = UNUSABLE[name]
    assert server.classify(data).status_code == status
    raw = {"content": data, "headers": {"Content-Type": "image/jpeg"}}
    assert server.request("POST", "/v1/classify", **raw).status_code == status


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "png", "webp", "avif", "tiff"])
def test_a_truncated_picture_is_refused(server: Server, name: str, place: int) -> None:
    whole = pictures.every_format(pictures.grainy())[name][0]
    response = server.classify(pictures.truncations(whole)[place])
    assert response.status_code in (415, 422)
    if name == "jpeg":
        assert response.status_code == 422


def test_a_missing_field(server: Server) -> None:
    response = server.request("POST", "/v1/classify", files={"photo": ("a.jpg", GOOD)})
    assert response.status_code == 400
    assert "'image'" in response.json()["detail"]
    response = server.request("POST", "/v1/classify", files={"top_k": (None, "3")})
    assert response.status_code == 400
    assert server.request("POST", "/v1/classify_batch", files={}).status_code == 415


def test_two_files(server: Server) -> None:
    files = [("image", ("a.jpg", GOOD)), ("image", ("b.jpg", GOOD))]
    response = server.request("POST", "/v1/classify", files=files)
    assert response.status_code == 400
    assert "classify_batch" in response.json()["detail"]


def test_nothing_is_ever_fetched(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/vase.jpg"
        html = f"<img src='{url}'>".encode()
        svg = f"<svg xmlns:x='http://www.w3.org/1999/xlink'><image x:href='{url}'/></svg>".encode()
        for text in (url, "/etc/passwd", "file:///etc/passwd", "../../etc/passwd"):
            for path, field in (("/v1/classify", "image"), ("/v1/classify_batch", "images")):
                response = server.request("POST", path, files={field: (None, text)})
                assert response.status_code == 400
                assert "never fetched" in response.json()["detail"]
                assert server.request("POST", path, json={field: text}).status_code == 415
                assert server.request("POST", path, data={field: text}).status_code == 415
                assert server.request("POST", path, content=text).status_code == 415
            typed = {"content": text, "headers": {"Content-Type": "image/jpeg"}}
            assert server.request("POST", "/v1/classify", **typed).status_code == 415
            assert server.classify(text.encode()).status_code == 415
        assert server.classify(html).status_code == 415
        assert server.classify(svg).status_code == 415
        # Who had called would wait in the listener's queue.
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()


class Exploit:
    """Unpickled anywhere, it would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def test_pickles_are_refused_and_never_opened(server: Server, tmp_path: Any) -> None:
    mark = tmp_path / "exploited"
    payload = pickle.dumps(Exploit(str(mark)))
    for kind in ("application/vnd.bentoml+pickle", "application/x-pickle"):
        headers = {"Content-Type": kind}
        for path in ("/v1/classify", "/v1/classify_batch"):
            response = server.request("POST", path, content=payload, headers=headers)
            assert response.status_code == 415
        assert server.request("POST", "/infer", content=payload, headers=headers).status_code == 404
    assert not mark.exists()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/classify", 405),
        ("PUT", "/v1/classify_batch", 405),
        ("DELETE", "/v1/model", 405),
        ("POST", "/livez", 405),
        ("POST", "/metrics", 405),
        ("OPTIONS", "/v1/classify", 405),
        ("GET", "/", 404),
        ("GET", "/docs.json", 404),
        ("GET", "/v1/classify/", 404),
        ("POST", "/v1/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%00", 404),
    ],
)
def test_wrong_methods_and_unknown_routes(
    server: Server, method: str, path: str, status: int
) -> None:
    response = server.request(method, path)
    assert response.status_code == status
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": "0"},
        {"top_k": "-1"},
        {"top_k": "many"},
        {"top_k": "1e3"},
        {"top_k": "51"},
        {"top_k": "٣"},
        {"top_k": ""},
        {"explain": "maybe"},
        {"similar": "21"},
        {"similar": "-1"},
        {"similar": "five"},
        {"topk": "3"},
    ],
)
def test_impossible_options(server: Server, fields: dict[str, str]) -> None:
    assert server.classify(GOOD, **fields).status_code == 400
    raw = {"content": GOOD, "headers": {"Content-Type": "image/jpeg"}, "params": fields}
    assert server.request("POST", "/v1/classify", **raw).status_code == 400


MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", PART, 400),
        (MULTIPART, b"", 400),
        (MULTIPART, PART + GOOD, 400),
        (MULTIPART, PART + GOOD + b"\r\n--x\r\n", 200),
        (MULTIPART, b"garbage", 400),
        (MULTIPART, b"--x\r\n\r\nno name\r\n--x--\r\n", 400),
        (MULTIPART, b"--x\r\n" + b"A: b\r\n" * 100 + b"\r\n\r\n--x--\r\n", 400),
        (MULTIPART, b"--x\r\nA: " + b"b" * 9000 + b"\r\n\r\n\r\n--x--\r\n", 400),
        (MULTIPART, (PART + b"a\r\n") * 100 + b"--x--\r\n", 413),
        (MULTIPART, PART + GOOD + b"\r\n--x--\r\n", 200),
        ("Multipart/Form-Data; Boundary=x", PART + GOOD + b"\r\n--x--\r\n", 200),
        ("multipart/form-data; boundary=" + "y" * 500, PART, 400),
        ("multipart/mixed; boundary=x", PART, 415),
        ("application/octet-stream", GOOD, 415),
        ("", GOOD, 415),
    ],
)
def test_malformed_forms(server: Server, kind: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = server.request("POST", "/v1/classify", content=body, headers=headers)
    assert response.status_code == status, response.text


def test_compressed_bodies_are_refused(server: Server) -> None:
    headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
    response = server.request("POST", "/v1/classify", content=GOOD, headers=headers)
    assert response.status_code == 415


def test_a_batch_answers_in_order_with_errors_in_their_places(server: Server) -> None:
    blue = pictures.jpeg(pictures.scene(colour="blue"))
    contents = [GOOD, pictures.PDF, blue, b"", GOOD[:300], pictures.png_bomb(), GOOD]
    files = [("images", (f"{i}.jpg", data)) for i, data in enumerate(contents)]
    response = server.request("POST", "/v1/classify_batch", files=files, data={"top_k": "1"})
    assert response.status_code == 200
    BatchAnswer.model_validate(response.json())
    outcomes = [
        entry["error"]["status"] if "error" in entry else entry["predictions"]["dynasty"]["label"]
        for entry in response.json()["results"]
    ]
    assert outcomes == ["red", 415, "blue", 422, 422, 413, "red"]


def test_a_batch_of_64_and_one_of_65(server: Server) -> None:
    files = [("images", ("a.jpg", GOOD))] * 64
    response = server.request("POST", "/v1/classify_batch", files=files)
    assert len(response.json()["results"]) == 64
    response = server.request("POST", "/v1/classify_batch", files=[*files, files[0]])
    assert response.status_code == 413
    assert "64" in response.json()["detail"]


def test_pictures_of_one_object_are_also_answered_together(server: Server) -> None:
    blue = pictures.jpeg(pictures.scene(colour="blue"))
    faint = pictures.jpeg(pictures.scene(colour="#664040"))
    contents = [blue, faint, GOOD, pictures.PDF, GOOD, pictures.PDF]
    names = ["1957.32", "x", "x", "1957.32", "", "lost"]
    files = [("images", (f"{i}.jpg", data)) for i, data in enumerate(contents)]
    response = server.request(
        "POST", "/v1/classify_batch", files=files, data={"object": names, "top_k": "3"}
    )
    answer = BatchAnswer.model_validate(response.json())
    assert len(answer.results) == 6
    assert answer.objects is not None
    alone, both, lost = answer.objects
    assert isinstance(alone, ObjectClassified)
    assert isinstance(both, ObjectClassified)
    assert isinstance(lost, ObjectFailed)
    assert (alone.object, alone.pictures) == ("1957.32", [0])
    assert alone.predictions == answer.results[0].predictions  # type: ignore[union-attr]
    assert (both.object, both.pictures) == ("x", [1, 2])
    sure, unsure = (
        answer.results[i].predictions["dynasty"].probability  # type: ignore[union-attr]
        for i in (2, 1)
    )
    assert unsure < both.predictions["dynasty"].probability < sure
    assert (lost.object, lost.error.status) == ("lost", 422)
    plain = server.request("POST", "/v1/classify_batch", files=files[:1])
    assert "objects" not in plain.json()


def test_objects_are_named_for_every_picture_or_for_none(server: Server) -> None:
    files = [("images", ("a.jpg", GOOD))] * 2
    for data in ({"object": "x"}, {"object": ["x"] * 3}):
        response = server.request("POST", "/v1/classify_batch", files=files, data=data)
        assert response.status_code == 400
        assert "one for each picture" in response.json()["detail"]
    assert server.classify(GOOD, object="x").status_code == 400
    long = {"object": ["x" * 2000] * 2}
    response = server.request("POST", "/v1/classify_batch", files=files, data=long)
    assert response.status_code == 413


def test_a_picture_is_like_the_training_pictures_or_not(server: Server) -> None:
    for colour, inside in (("red", True), ("blue", False)):
        answer = server.classify(pictures.jpeg(pictures.scene(colour=colour))).json()
        assert answer["in_domain"]["value"] is inside
        assert -1 <= answer["in_domain"]["score"] <= 1
    assert server.metrics()['porcelain_domain_pictures_total{in_domain="false"}'] >= 1


def test_the_watermark_of_a_generated_picture_is_warned_of_when_asked(server: Server) -> None:
    pixels = np.random.default_rng(1).integers(60, 200, (16, 16, 3), dtype=np.uint8)
    plain = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)
    marked = pictures.jpeg(Image.fromarray(embed_watermark(np.asarray(plain))))
    assert "warnings" not in server.classify(marked).json()
    (warning,) = server.classify(marked, watermark="true").json()["warnings"]
    assert "watermark of a generated one" in warning
    assert "warnings" not in server.classify(pictures.jpeg(plain), watermark="true").json()
    assert server.classify(marked, watermark="perhaps").status_code == 400


def test_label_sets_come_when_asked_for_with_the_chance_asked_for(server: Server) -> None:
    assert "label_sets" not in server.classify(GOOD).json()
    answer = server.classify(GOOD, label_sets="true").json()
    assert answer["label_sets"]["coverage"] == 0.9
    sets = answer["label_sets"]["labels"]
    assert sets["dynasty"] == ["red"]
    assert sets["type"] == ["type_red", "type_blue"]  # of which the model is hardly ever sure
    surer = server.classify(GOOD, label_sets="true", coverage="0.99").json()
    assert {*surer["label_sets"]["labels"]["type"]} == {*LABELS["type"]}
    files = [("images", ("a.jpg", GOOD))]
    query = "/v1/classify_batch?label_sets=true&coverage=0.8"
    entry = server.request("POST", query, files=files).json()["results"][0]
    assert entry["label_sets"]["coverage"] == 0.8
    assert server.classify(GOOD, label_sets="true", coverage="1.5").status_code == 400


def test_the_document_says_likeness_label_sets_and_objects(server: Server) -> None:
    schemas = server.document["components"]["schemas"]
    assert {"value", "score"} == set(schemas["InDomain"]["required"])
    assert {"in_domain", "label_sets"} <= set(schemas["Classified"]["properties"])
    assert "objects" in schemas["BatchAnswer"]["properties"]
    for path in ("/v1/classify", "/v1/classify_batch"):
        operation = server.document["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        query = {parameter["name"] for parameter in operation["parameters"]}
        assert {"label_sets", "coverage", "similar"} <= query & set(form)
        assert form["coverage"]["default"] == 0.9
        assert ("object" in form) == (path == "/v1/classify_batch")


def test_the_model_describes_itself(server: Server) -> None:
    answer = ModelAnswer.model_validate(server.get("/v1/model").json())
    assert answer.labels == LABELS
    assert answer.model.digest == server.classify(GOOD).json()["model"]["digest"]
    assert answer.preprocessing.input_size == 224
    assert (answer.selective_accuracy, answer.selective_confidence) == (0.95, 0.9)
    assert answer.abstention_caveats == {"type": "Too few validation pictures."}
    assert (answer.in_domain_threshold, answer.label_sets, answer.similar) == (0.95, True, True)
    assert answer.names["glaze"]["verdant"].model_dump() == {"en": "verdant", "zh": None}


def test_similar_training_pictures_are_listed_where_asked_for(server: Server) -> None:
    asked = server.request(
        "POST",
        "/v1/classify?similar=5",
        content=GOOD,
        headers={"Content-Type": "image/jpeg"},
    )
    answer = ClassifyAnswer.model_validate(asked.json())
    assert answer.similar is not None
    assert len(answer.similar) == 5
    assert len({one.object_id for one in answer.similar}) == 5
    assert all(one.labels["glaze"] == "rubescent" for one in answer.similar)
    assert [one.similarity for one in answer.similar] == sorted(
        (one.similarity for one in answer.similar), reverse=True
    )
    every = server.classify(GOOD, similar="20").json()["similar"]
    (copied,) = [one for one in every if "thumbnail" in one]
    assert copied["object_id"] == "pot 2"
    assert copied["thumbnail"].startswith("data:image/jpeg;base64,")
    files = [("images", ("a.jpg", GOOD))]
    batch = server.request("POST", "/v1/classify_batch?similar=2", files=files).json()
    assert len(batch["results"][0]["similar"]) == 2
    assert "similar" not in server.classify(GOOD).json()


def test_the_document_names_these_routes_and_no_others(server: Server) -> None:
    document = server.document
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/classify",
        "/v1/classify_batch",
        "/v1/model",
        "/livez",
        "/readyz",
        "/metrics",
    }
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/model"):
        assert server.get(path).status_code == 200
        assert server.request("HEAD", path).content == b""


def test_the_request_id_is_kept_or_made(server: Server) -> None:
    given = server.get("/v1/model", headers={"X-Request-Id": "vase-42"})
    assert given.headers["x-request-id"] == "vase-42"
    for bad in ("a b", "x" * 65, "<script>"):
        made = server.get("/v1/model", headers={"X-Request-Id": bad})
        assert made.headers["x-request-id"] != bad
    entry = next(line for line in log_entries(server.log) if line.get("request_id") == "vase-42")
    assert (entry["path"], entry["status"]) == ("/v1/model", 200)
    assert entry["client"] == "127.0.0.1"


PALE = pictures.jpeg(pictures.scene(colour="#664044"))
"""A picture of which no label is sure."""


def test_what_is_known_is_answered_with_and_moves_the_other_answers(server: Server) -> None:
    plain = server.classify(PALE).json()["predictions"]
    assert all("known" not in prediction for prediction in plain.values())
    response = server.classify(PALE, known="dynasty:green")
    assert response.status_code == 200, response.text
    found = response.json()["predictions"]
    fact = found["dynasty"]
    assert (fact["label"], fact["probability"], fact["known"]) == ("green", 1.0, True)
    assert fact["model_probability"] == plain["dynasty"]["top"][-1]["probability"]
    assert fact["top"] == plain["dynasty"]["top"]
    assert fact["conflict"] is False
    before, after = (
        {one["label"]: one["probability"] for one in answer["kiln"]["top"]}
        for answer in (plain, found)
    )
    assert after["kiln_green"] > 2 * before["kiln_green"]
    assert sum(after.values()) == pytest.approx(1, abs=1e-5)
    assert "known" not in found["kiln"]


def test_a_fact_that_the_picture_speaks_against_is_a_conflict(server: Server) -> None:
    answer = server.classify(GOOD, known="dynasty:green").json()
    fact = answer["predictions"]["dynasty"]
    assert fact["conflict"] is True
    assert "green" in fact["note"]
    assert "red" in fact["note"]


def test_answers_that_never_occurred_together_are_told(server: Server) -> None:
    assert "unusual_combination" not in server.classify(GOOD).json()
    unusual = server.classify(GOOD, known="dynasty:green").json()["unusual_combination"]
    assert unusual["labels"]["dynasty"] == "green"
    assert "never occurred together" in unusual["note"]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("dynasty:tang", "red"),
        ("colour:red", "dynasty, glaze, kiln, type"),
        ("dynasty", "task:label"),
        ("dynasty:red,dynasty:blue", "twice"),
    ],
)
def test_an_unknown_fact_lists_the_valid_ones(server: Server, known: str, told: str) -> None:
    raw = server.request(
        "POST",
        "/v1/classify",
        params={"known": known},
        content=GOOD,
        headers={"Content-Type": "image/jpeg"},
    )
    for response in (server.classify(GOOD, known=known), raw):
        assert response.status_code == 400
        assert told in response.json()["detail"]


def test_a_batch_has_what_is_known_once_for_each_picture(server: Server) -> None:
    files = [("images", (f"{i}.jpg", PALE)) for i in range(3)]
    data: dict[str, list[str]] = {"known": ["dynasty:green", "", "dynasty:green,kiln:kiln_red"]}
    answer = server.request("POST", "/v1/classify_batch", files=files, data=data).json()
    one, none, two = (entry["predictions"] for entry in answer["results"])
    assert one == server.classify(PALE, known="dynasty:green").json()["predictions"]
    assert none == server.classify(PALE).json()["predictions"]
    assert two["kiln"]["known"] is True
    for wrong in (["dynasty:green"], ["dynasty:green"] * 4, ["", "", "dynasty:tang"]):
        response = server.request("POST", "/v1/classify_batch", files=files, data={"known": wrong})
        assert response.status_code == 400
    response = server.request("POST", "/v1/classify_batch?known=dynasty:green", files=files)
    assert response.status_code == 400


def test_what_is_known_of_a_picture_is_known_of_its_object(server: Server) -> None:
    files = [("images", (f"{i}.jpg", PALE)) for i in range(2)]
    data = {"object": ["x", "x"], "known": ["dynasty:green", ""]}
    answer = server.request("POST", "/v1/classify_batch", files=files, data=data).json()
    (whole,) = answer["objects"]
    assert whole["predictions"]["dynasty"]["known"] is True
    data["known"] = ["dynasty:green", "dynasty:blue"]
    response = server.request("POST", "/v1/classify_batch", files=files, data=data)
    assert response.status_code == 400
    assert "an object has one" in response.json()["detail"]
