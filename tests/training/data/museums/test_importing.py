"""From a museum's server to a dataset folder, faults and interruptions included."""

from __future__ import annotations

import bz2
import gzip
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from porcelain.cli import main as cli
from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError, UserError
from porcelain.files import sha256_bytes
from tests.training.data.folders import encoded, jpeg_of, vessel
from tests.training.data.museums import records as write
from tests.training.data.museums.server import Answer, MuseumServer
from training.data.check import check_dataset
from training.data.museums import importing
from training.data.museums.importing import import_museum
from training.data.museums.museum import Museum, museum
from training.data.museums.results import ImportReport
from training.data.museums.settings import ImportSettings


def at(server: MuseumServer, entry: Museum) -> Museum:
    """The museum's entry with this machine's address in place of the hosts'."""
    text = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False)
    for url in (
        "https://collectionapi.metmuseum.org",
        "https://openaccess-api.clevelandart.org",
        "https://api.artic.edu",
        "https://www.artic.edu",
        "https://search.artsmia.org",
        "https://img.artsmia.org",
        "https://raw.githubusercontent.com",
        "https://odapi.npm.gov.tw",
        "https://api.si.edu",
        "https://api.harvardartmuseums.org",
        "https://api.vam.ac.uk",
        "https://framemark.vam.ac.uk",
    ):
        text = text.replace(url, server.url)
    return Museum.model_validate_json(text).model_copy(update={"requests_per_second": 500.0})


class Run:
    """Imports from the server of the test."""

    def __init__(self, server: MuseumServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.folder = server, folder
        monkeypatch.setattr(importing, "museum", lambda name: at(server, museum(name)))

    def __call__(self, name: str, out: str = "out", **options: Any) -> ImportReport:
        extra = {k: options.pop(k) for k in ("overwrite", "on_progress") if k in options}
        return import_museum(
            ImportSettings(museum=name, **options),
            self.folder / out,
            cache=self.folder / "cache",
            sleep=lambda seconds: None,
            **extra,
        )


@pytest.fixture
def run(server, tmp_path, monkeypatch) -> Run:
    return Run(server, tmp_path, monkeypatch)


def serve_met(server: MuseumServer, count: int) -> list[dict[str, Any]]:
    """The Met's way: pages of ids, then each object."""
    made = []
    for number in range(count):
        url = server.picture(f"/small/{number}.jpg", jpeg_of(vessel(number)))
        made.append(
            write.met(objectID=1000 + number, accessionNumber=f"99.{number}", primaryImageSmall=url)
        )
        server.json(f"/public/collection/v1/objects/{1000 + number}", made[-1])

    def search(query: dict[str, str]) -> Answer:
        start, size = int(query["offset"]), int(query["limit"])
        ids = [record["objectID"] for record in made][start : start + size]
        return Answer(json.dumps({"total": count, "objectIDs": ids or None}).encode())

    server.routes["/public/collection/v1.1/search"] = search
    return made


def test_met(server, run, tmp_path):
    serve_met(server, 5)
    report = run("met")
    dataset = load_dataset(tmp_path / "out")
    assert (report.records, report.ceramics, report.pictures) == (5, 5, 5)
    record = dataset.records[0]
    assert record.labels == {
        "dynasty": "qing",
        "glaze": "blue_and_white",
        "kiln": None,
        "type": "bowl",
    }
    assert record.object_id == "met:99.0"
    assert record.extra["license"] == "CC0-1.0"
    assert record.extra["credit_line"] == "Gift of Nobody, 1999"
    assert record.extra["source"].startswith("https://www.metmuseum.org/")
    assert record.extra["sha256"] == sha256_bytes(dataset.path(record).read_bytes())
    assert not check_dataset(tmp_path / "out").errors
    page = (tmp_path / "out" / "import.html").read_text()
    assert "Cobalt" not in page
    assert "Blue and white" in page
    saved = json.loads((tmp_path / "out" / "import.json").read_text())
    assert saved["tasks"]["kiln"] == {"labels": {}, "blank": {"not stated": 5}, "words": {}}


def test_cleveland_turns_pages_and_keeps_parts_together(server, run, tmp_path):
    rows = []
    for number in range(106):
        url = server.picture(f"/web/{number}.jpg", jpeg_of(vessel(number % 102, 120, 110)))
        part = f"2099.{number // 2}" + ("" if number % 2 == 0 else ".a")
        rows.append(write.cleveland(id=number, accession_number=part, images={"web": {"url": url}}))

    def page(query: dict[str, str]) -> Answer:
        start = int(query["skip"])
        return Answer(json.dumps({"data": rows[start : start + int(query["limit"])]}).encode())

    server.routes["/api/artworks/"] = page
    report = run("cleveland")
    assert report.records == 106
    # The last four show what the first four show: one row a picture.
    assert report.pictures == 102
    assert report.fates == {"imported": 102, "picture of another record": 4}
    assert report.objects == 51
    dataset = load_dataset(tmp_path / "out")
    assert len({record.object_id for record in dataset.records}) == 51
    assert server.asked[0].query["department"] == "Chinese Art"
    assert len(list((tmp_path / "out" / "images").iterdir())) == 102


def test_a_museum_that_gives_everything_at_once_is_asked_twice(server, run):
    rows = [served(server, number) for number in range(3)]
    server.json("/api/artworks/", {"data": rows})  # whatever page is asked for
    assert run("cleveland").records == 3
    assert server.counts()["/api/artworks/"] == 2


def test_a_cursor_that_does_not_rise_ends_the_list(server, run):
    pages = iter([[7, "odd", None], [7, 5], [1]])

    def page(_: dict[str, str]) -> Answer:
        rows = [{**write.artic(), "id": number} for number in next(pages)]
        return Answer(json.dumps({"data": rows}).encode())

    server.routes["/api/v1/artworks/search"] = page
    with pytest.raises(DatasetError, match="3 records"):  # none of them has a picture
        run("artic")


def served(server: MuseumServer, number: int) -> dict[str, Any]:
    url = server.picture(f"/web/{number}.jpg", jpeg_of(vessel(number, 120, 110)))
    images = {"web": {"url": url}}
    return write.cleveland(id=number, accession_number=f"2099.{number}", images=images)


def test_one_picture_of_two_records_keeps_what_they_share(server, run, tmp_path):
    url = server.picture("/web/both.jpg", jpeg_of(vessel(1)))
    rows = [
        write.cleveland(
            id=1, accession_number="2099.1.a", title="Cup", images={"web": {"url": url}}
        ),
        write.cleveland(
            id=2, accession_number="2099.1.b", title="Dish", images={"web": {"url": url}}
        ),
    ]
    server.routes["/api/artworks/"] = lambda query: Answer(
        json.dumps({"data": rows if query["skip"] == "0" else []}).encode()
    )
    run("cleveland")
    (record,) = load_dataset(tmp_path / "out").records
    assert record.labels["type"] is None
    assert record.labels["dynasty"] == "ming"


def test_artic_asks_by_rising_id(server, run):
    made = [
        write.artic(id=n, image_id=f"i{n}", main_reference_number=f"99.{n}") for n in range(1, 8)
    ]
    for number in range(1, 8):
        server.picture(f"/iiif/2/i{number}/full/843,/0/default.jpg", jpeg_of(vessel(number)))

    def search(query: dict[str, str]) -> Answer:
        asked = json.loads(query["params"])
        after = asked["query"]["bool"]["filter"][2]["range"]["id"]["gt"]
        return Answer(json.dumps({"data": [r for r in made if r["id"] > after][:3]}).encode())

    server.routes["/api/v1/artworks/search"] = search
    report = run("artic", contact="me@example.org")
    assert (report.records, report.pictures) == (7, 7)
    assert all("me@example.org" in asked.headers["AIC-User-Agent"] for asked in server.asked)


def test_mia_hits(server, run, tmp_path):
    server.picture("/web_objects_cache/010000/300/90/mia_900301_800.jpg", jpeg_of(vessel(3)))
    hits = [{"_source": write.mia()}, {"_source": write.mia(id=7, rights_type="In Copyright")}]
    path = "/country:%22China%22%20classification:%22Ceramics%22"
    path += "%20rights_type:%22Public%20Domain%22%20image:valid"
    server.routes[path] = lambda query: Answer(
        json.dumps({"hits": {"hits": hits if query["from"] == "0" else []}}).encode()
    )
    report = run("mia")
    assert report.fates == {"imported": 1, "no open licence stated": 1}
    (record,) = load_dataset(tmp_path / "out").records
    assert record.extra["license"] == "PDM-1.0"


def test_npm_is_one_long_list(server, run, tmp_path):
    rows = []
    for number, name in enumerate(["青花盤", "銅胎畫琺瑯碗", "伊萬里瓷瓶", "龍泉窯 青瓷碗"]):
        url = server.picture(f"/m/{number}.jpg", jpeg_of(vessel(number)))
        rows.append(write.npm(identifier=f"故瓷90050{number}", name=name, imageUrl_m=url))
    body = "\ufeff" + json.dumps(rows, ensure_ascii=False)
    server.routes["/data/open/api/v1/digitalCollection/ceramics.json"] = Answer(body.encode())
    report = run("npm")
    assert (report.records, report.ceramics, report.pictures) == (4, 2, 2)
    record = load_dataset(tmp_path / "out").records[0]
    assert record.extra["license"] == "CC-BY-4.0"
    assert "國立故宮博物院" in record.extra["credit_line"]
    assert record.file_name.isascii()


def test_vam_wants_permission_and_each_object(server, run):
    server.picture("/collections/2099AB0001/full/843,/0/default.jpg", jpeg_of(vessel(4)))
    server.routes["/v2/objects/search"] = lambda query: Answer(
        json.dumps(
            {"records": [{"systemNumber": "O900801"}] if query["page"] == "1" else []}
        ).encode()
    )
    server.json("/v2/museumobject/O900801", {"meta": {}, "record": write.vam()})
    with pytest.raises(DatasetError, match="--permission"):
        run("vam")
    assert run("vam", permission=True).licenses == {"not stated": 1}


def test_a_key_is_asked_for(server, run, monkeypatch):
    monkeypatch.delenv("HARVARD_API_KEY", raising=False)
    with pytest.raises(UserError, match="HARVARD_API_KEY"):
        run("harvard", permission=True)
    monkeypatch.setenv("HARVARD_API_KEY", "k3y")
    url = server.picture("/harvard.jpg", jpeg_of(vessel(5)))
    server.routes["/object"] = lambda query: Answer(
        json.dumps(
            {"records": [write.harvard(primaryimageurl=url)] if query["page"] == "1" else []}
        ).encode()
    )
    assert run("harvard", permission=True).pictures == 1
    assert server.asked[0].query["apikey"] == "k3y"


def test_smithsonian_rows(server, run, monkeypatch):
    monkeypatch.setenv("SMITHSONIAN_API_KEY", "k3y")
    raw = write.smithsonian()
    media = raw["content"]["descriptiveNonRepeating"]["online_media"]["media"]
    media[0]["content"] = server.picture("/si.jpg", jpeg_of(vessel(6)))
    server.routes["/openaccess/api/v1.0/search"] = lambda query: Answer(
        json.dumps({"response": {"rows": [raw] if query["start"] == "0" else []}}).encode()
    )
    assert run("smithsonian").licenses == {"CC0-1.0": 1}


def test_carnegies_pictures_are_not_open(server, run):
    picture = server.picture("/cmoa.jpg", jpeg_of(vessel(7)))
    things = [write.carnegie(images=[{"image_url": picture}])]
    server.json("/cmoa/collection/master/cmoa.json", {"things": things})
    with pytest.raises(DatasetError, match="not covered"):
        run("carnegie")
    report = run("carnegie", permission=True)
    assert report.pictures == 1
    assert server.counts()["/cmoa/collection/master/cmoa.json"] == 1, "kept from the first try"


def test_museums_without_an_address_read_files(server, run, tmp_path):
    with pytest.raises(UserError, match="--records"):
        run("ima")
    folder = tmp_path / "dump"
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps(write.ima()))
    with pytest.raises(DatasetError, match="no picture"):
        run("ima", records=folder)


@pytest.mark.parametrize("kind", ["list", "object", "lines", "folder", "answer"])
def test_files_in_place_of_the_museum(server, run, tmp_path, kind):
    made = serve_met(server, 3)
    path = tmp_path / "records.json"
    if kind == "list":
        path.write_text(json.dumps(made))
    elif kind == "object":
        path.write_text(json.dumps(made[0]))
    elif kind == "answer":
        path.write_text(json.dumps({"objectIDs": [1, 2], **made[0]}))
    elif kind == "lines":
        path = tmp_path / "records.jsonl"
        path.write_text("\n".join(json.dumps(record) for record in made) + "\n")
    else:
        path = tmp_path / "records"
        path.mkdir()
        for number, record in enumerate(made):
            (path / f"{number}.json").write_text(json.dumps(record))
    report = run("met", records=path)
    assert report.pictures == (1 if kind in ("object", "answer") else 3)
    assert all(asked.path.startswith("/small/") for asked in server.asked)


@pytest.mark.parametrize("name", ["00.txt.bz2", "objects.jsonl.gz", "lines.ndjson", "00.bz2"])
def test_lines_end_at_line_feeds_alone_and_may_be_packed(server, run, tmp_path, name):
    made = serve_met(server, 3)
    made[1]["title"] = "Bowl\u2028with\u2029three\x85lines\x0b"
    text = "".join(json.dumps(one, ensure_ascii=False) + "\r\n" for one in made) + "\n"
    path = tmp_path / "dump" / name
    path.parent.mkdir()
    pack = {".bz2": bz2.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text.encode()))
    for records in (path, path.parent):
        assert run("met", records=records, overwrite=True).pictures == 3


@pytest.mark.parametrize("bad", ['{"objectID": 7', "nonsense", "[" * 100_000])
def test_a_bad_line_is_named(run, tmp_path, bad):
    path = tmp_path / "records.jsonl"
    good = json.dumps(write.met())
    path.write_text(f"{good}\n\n{good}\n{bad}\n{good}\n")
    with pytest.raises(UserError, match=r"records\.jsonl line 4 is not a record in JSON"):
        run("met", records=path)


def test_a_packed_file_that_is_cut_off_is_named(run, tmp_path):
    path = tmp_path / "records.jsonl.bz2"
    path.write_bytes(bz2.compress(json.dumps(write.met()).encode() * 99)[:-40])
    with pytest.raises(UserError, match=r"records\.jsonl\.bz2"):
        run("met", records=path)


def test_what_was_never_answered_is_counted(server, run, tmp_path):
    serve_met(server, 20)
    refused = Answer(b"<html>Just a moment...</html>", "text/html", 403)
    for number in range(1000, 1020, 2):
        server.routes[f"/public/collection/v1/objects/{number}"] = refused
    server.routes["/public/collection/v1/objects/1001"] = Answer(b"", "text/plain", 404)
    report = run("met")
    assert (report.records, report.pictures) == (9, 9)
    assert Counter(one.why for one in report.unanswered) == {"status 403": 10, "status 404": 1}
    assert report.unanswered[0].url.endswith("/objects/1000")
    assert "did not give" in (tmp_path / "out" / "import.html").read_text()
    # Another day the same command gets them, and asks for nothing twice.
    serve_met(server, 20)
    report = run("met", overwrite=True)
    assert (report.records, report.unanswered) == (20, [])
    assert server.counts()["/public/collection/v1/objects/1003"] == 1


def test_a_museum_that_refuses_ends_the_import_in_one_line(server, run, tmp_path):
    serve_met(server, 40)
    refused = Answer(b"<html>Just a moment...</html>", "text/html", 403)
    for number in range(1010, 1040):
        server.routes[f"/public/collection/v1/objects/{number}"] = refused
    with pytest.raises(UserError, match=r"status 403.*run the same command again later"):
        run("met")
    counts = server.counts()
    assert sum(counts[f"/public/collection/v1/objects/{n}"] for n in range(1010, 1040)) == 8
    serve_met(server, 40)
    assert run("met").records == 40
    assert server.counts()["/public/collection/v1/objects/1003"] == 1, "kept in the cache"


def test_csv_with_a_byte_order_mark(server, run, tmp_path):
    url = server.picture("/s.jpg", jpeg_of(vessel(1)))
    path = tmp_path / "npm.csv"
    path.write_text(
        f'\ufeffname,category,era,desc,url,imageUrl_s,id\n青花盤,陶瓷,明,"一\n二",,{url},故瓷900001\n',
        encoding="utf-8",
    )
    assert run("npm", records=path).pictures == 1


@pytest.mark.parametrize(
    "content", ["{", '{"no": "records"', "\x00"], ids=["brace", "object", "zero"]
)
def test_broken_files_are_named(run, tmp_path, content):
    path = tmp_path / "records.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"records\.json"):
        run("met", records=path)
    with pytest.raises(UserError, match=r"\.json"):
        run("met", records=tmp_path / "none.json")
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(UserError, match=r"\.csv"):
        run("met", records=tmp_path / "a.xlsx")


def test_faults_among_pictures_are_told_and_the_rest_comes(server, run, tmp_path):
    serve_met(server, 8)
    whole = jpeg_of(vessel(2))
    server.routes["/small/0.jpg"] = Answer(b"", "text/plain", 404)
    server.picture("/small/1.jpg", b"<html>Just a moment...</html>", "text/html")
    server.picture("/small/2.jpg", whole[: len(whole) // 2])
    server.picture("/small/3.jpg", jpeg_of(vessel(3).resize((40, 30))))
    server.picture("/small/4.jpg", encoded(vessel(4), "PNG"), "image/jpeg")
    server.fault("/small/5.jpg", Answer(b"<html>wait</html>", "text/html"))
    server.fault("/small/6.jpg", Answer(b"", "text/plain", 429, {"Retry-After": "2"}))
    server.fault("/small/7.jpg", Answer(jpeg_of(vessel(7)), "image/jpeg", cut=100))
    report = run("met")
    assert report.fates == {"imported": 4, "no usable picture": 4}
    assert report.failures == {
        "status 404": 1,
        "no picture (text/html)": 1,
        "no picture (image/jpeg)": 1,
        "only 40 x 30 pixels": 1,
    }
    dataset = load_dataset(tmp_path / "out")
    assert sorted(r.file_name for r in dataset.records) == [
        "images/met-1004-1.png",
        "images/met-1005-1.jpg",
        "images/met-1006-1.jpg",
        "images/met-1007-1.jpg",
    ]
    assert not check_dataset(tmp_path / "out").errors


def test_views(server, run, tmp_path):
    made = serve_met(server, 1)
    more = [server.picture(f"/more/{n}.jpg", jpeg_of(vessel(50 + n))) for n in range(3)]
    made[0]["additionalImages"] = more
    server.json("/public/collection/v1/objects/1000", made[0])
    assert run("met").pictures == 1
    assert run("met", out="three", views=3).pictures == 3
    assert {r.object_id for r in load_dataset(tmp_path / "three").records} == {"met:99.0"}


def test_limit_reads_no_further_than_it_must(server, run):
    serve_met(server, 30)
    report = run("met", limit=4)
    assert report.pictures == 4
    objects = [a for a in server.asked if "/objects/" in a.path]
    assert len(objects) == 4


class StopError(Exception):
    pass


def test_interrupted_and_run_again(server, run, tmp_path):
    serve_met(server, 10)

    def stop(part: str, done: int, total: int, note: str) -> None:
        if part == importing.FETCHING and done == 4:
            raise StopError

    with pytest.raises(StopError):
        run("met", on_progress=stop)
    assert not (tmp_path / "out").exists()
    before = server.counts()
    run("met")
    after = server.counts()
    assert all(after[f"/small/{n}.jpg"] == 1 for n in range(10))
    assert after["/public/collection/v1/objects/1000"] == 1
    assert before["/small/9.jpg"] == 0
    again = Run.__call__(run, "met", out="whole")
    resumed, whole = load_dataset(tmp_path / "out"), load_dataset(tmp_path / "whole")
    assert resumed.records == whole.records
    assert resumed.digest() == whole.digest()
    assert again.requests["requests"] == 0


def test_leftovers_of_an_interrupted_run_do_not_stay(server, run, tmp_path):
    serve_met(server, 3)

    def stop(part: str, done: int, total: int, note: str) -> None:
        if part == importing.FETCHING and done == 3:
            raise StopError

    with pytest.raises(StopError):
        run("met", on_progress=stop)
    stray = tmp_path / ".out.partial" / "images" / "met-9999-1.jpg"
    stray.write_bytes(jpeg_of(vessel(9)))
    run("met")
    assert not (tmp_path / "out" / "images" / stray.name).exists()


def test_refresh_tells_what_the_museum_changed(server, run):
    serve_met(server, 3)
    run("met")
    server.picture("/small/1.jpg", jpeg_of(vessel(99)))
    report = run("met", out="again", refresh=True)
    assert [url.rpartition("/")[2] for url in report.replaced] == ["1.jpg"]
    assert report.requests["downloaded"] == 1, "the others answered 304"


def test_a_museum_that_changed_its_api_is_told(server, run):
    server.json("/public/collection/v1.1/search", {"error": "gone"})
    with pytest.raises(UserError, match="has its API changed"):
        run("met")
    server.routes["/public/collection/v1.1/search"] = Answer(b"", "text/plain", 410)
    with pytest.raises(UserError, match="does not give its records"):
        run("met", refresh=True)


def test_the_command(server, run, tmp_path, monkeypatch, capsys):
    serve_met(server, 2)
    arguments = ["data", "import", "met", "--out", tmp_path / "out", "--cache", tmp_path / "c"]
    assert command(monkeypatch, *arguments) == 0
    shown = capsys.readouterr()
    assert "blue_and_white 2" in " ".join(shown.out.split())
    assert "porcelain data check" in shown.err
    assert command(monkeypatch, *arguments) == 2
    assert "already exists" in capsys.readouterr().err
    assert command(monkeypatch, *arguments, "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2


def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert command(monkeypatch, "data", "import", "louvre", "--out", out) == 2
    assert "choose one of met, cleveland" in " ".join(capsys.readouterr().err.split())
    assert command(monkeypatch, "data", "import", "met", "--out", out, "--rate", "-1") == 2
    assert "--rate" in capsys.readouterr().err


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["porcelain", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0
