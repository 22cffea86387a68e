"""The studio in a real Chromium, with real services behind it."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from porcelain.cli.local_server import free_port
from porcelain.cli.main import main
from porcelain.dataset import Record, load_dataset, write_metadata
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.vocabulary import TASKS
from tests import pictures
from tests.services.conftest import COLOURS_KNOWN, Server
from tests.services.generator.conftest import GeneratorServer
from tests.services.studio.running import start_and_wait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
playwright = pytest.importorskip("playwright.sync_api")
FILE = ".q-tab-panel:visible input[type=file]"
PATIENCE = 60_000  # milliseconds; machines are busy


def learned(folder: Path) -> Path:
    """One of the pictures that the colours' bundle has learned from."""
    (folder / "learned/images").mkdir(parents=True)
    (folder / "learned/images/0.jpg").write_bytes(pictures.jpeg())
    labels = {task: COLOURS_KNOWN[task] for task in TASKS}
    write_metadata(folder / "learned", [Record("images/0.jpg", labels)])
    return folder / "learned"


def start_studio(folder: Path, classifier: str, generator: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "porcelain", "serve", "studio", "--port", str(port)]
    command += ["--classifier", classifier, "--generator", generator]
    command += ["--review-folder", str(folder / "reviews"), "--pictures", str(learned(folder))]
    return start_and_wait(command, [port], folder / "log", {})


@pytest.fixture(scope="module")
def studio(
    server: Server, generator: GeneratorServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    running = start_studio(tmp_path_factory.mktemp("studio"), server.url, generator.running.url)
    yield running
    running.stop()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["wide", "phone"])
def page(
    request: pytest.FixtureRequest, browser: playwright.Browser, studio: Server
) -> Iterator[playwright.Page]:
    """An open page, which must ask nobody but the studio and fit the screen's width."""
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    opened.set_default_timeout(PATIENCE)
    asked: list[str] = []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("websocket", lambda one: asked.append(one.url))
    opened.goto(studio.url)
    opened.wait_for_selector(FILE, state="attached")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()
    here = studio.url.removeprefix("http://")
    inside = (f"http://{here}/", f"ws://{here}/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(inside)] == []


def photograph(folder: Path, colour: str) -> Path:
    """Of one colour, in a pattern of its own: else `data check` rightly calls two the same."""
    path = folder / f"{colour}.jpg"
    plain = np.array(Image.new("RGB", (640, 480), colour), dtype=np.float64)
    tiles = np.random.default_rng(len(colour)).uniform(0.5, 1, (6, 8)).repeat(80, 0).repeat(80, 1)
    path.write_bytes(pictures.jpeg(Image.fromarray((plain * tiles[..., None]).astype(np.uint8))))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


def test_upload_answer_heat_map_and_table(page: playwright.Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pictures.jpeg()[:200])
    page.set_input_files(FILE, [photograph(tmp_path, "red"), broken])
    page.get_by_text("rubescent").first.wait_for()
    page.get_by_text("not sure").first.wait_for()
    page.get_by_text("at least 95% of such answers are right (Dynasty").wait_for()
    page.get_by_text("Type 器型: no accuracy is guaranteed. Too few validation").wait_for()
    page.locator("[role=alert]", has_text="broken.jpg").wait_for()
    page.get_by_text("Show where it looked").click()
    page.get_by_text("Glaze 釉色").nth(1).wait_for()
    page.get_by_text("Most similar pictures that the model learned from").wait_for()
    similar = page.locator(".porcelain-similar")
    assert similar.count() == 5
    assert all("rubescent" in text for text in similar.all_inner_texts())
    with page.expect_download() as download:
        page.get_by_text("Download as CSV").click()
    table = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert "red.jpg,red" in table
    assert "corrupt or truncated" in table


def test_what_is_known_moves_the_other_answers(page: playwright.Page, tmp_path: Path) -> None:
    page.set_input_files(FILE, photograph(tmp_path, "red"))
    kiln = page.get_by_label("Known kiln")
    kiln.click()
    page.get_by_role("option", name="kiln blue").click()
    page.get_by_text("The picture speaks against it").wait_for()
    page.get_by_text("The picture alone says").wait_for()
    page.get_by_text("Kiln 窯口 kiln blue never occurred together").wait_for()
    assert page.locator(".porcelain-known").count() == 1
    with page.expect_download() as download:
        page.get_by_text("Download as CSV").click()
    row = read_csv(Path(download.value.path()))[0]
    assert (row["kiln"], row["kiln_known"], row["dynasty_known"]) == ("kiln_blue", "True", "False")
    kiln.click()
    kiln.press("Backspace")  # what was typed
    page.locator(".q-select:has([aria-label='Known kiln']) .q-field__focusable-action").click()
    page.get_by_text("The picture speaks against it").wait_for(state="detached")
    assert page.locator(".porcelain-known").count() == 0


def test_what_is_unlike_training_is_said(page: playwright.Page, tmp_path: Path) -> None:
    page.set_input_files(FILE, photograph(tmp_path, "blue"))
    page.get_by_text("this may be no porcelain").wait_for()


def test_generate_and_download(page: playwright.Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Generate").click()
    page.get_by_label("Dynasty").click()
    page.get_by_role("option", name="Ming").click()
    page.get_by_label("Glaze").click()
    page.get_by_role("option", name="Celadon").click()
    page.get_by_text("No photograph shows Ming · 明 with Celadon · 青釉").wait_for()
    button = page.get_by_role("button", name="Generate")
    assert button.is_disabled()
    page.get_by_text("Make it all the same").click()
    button.click()
    page.get_by_text("Synthetic · seed").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download as dataset folder").locator("visible=true").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        archive.extractall(tmp_path / "made")
    (record,) = load_dataset(tmp_path / "made").records
    assert record.synthetic
    assert record.labels["glaze"] == "celadon"
    assert is_marked_synthetic((tmp_path / "made" / record.file_name).read_bytes())


def test_review_by_keyboard_alone(
    page: playwright.Page, studio: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.get_by_role("tab", name="Classify").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("The least certain and most different").wait_for()
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([photograph(tmp_path, colour) for colour in ("red", "lime")])
    page.get_by_text("0 of 2 confirmed").wait_for()
    page.wait_for_function("document.activeElement.ariaLabel === 'Review'")
    for key in ("3", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("1 of 2 confirmed").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("2 of 2 confirmed").wait_for()
    page.get_by_role("button", name="Save").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Saved as").wait_for()
    saved = sorted((studio.log.parent / "reviews").iterdir())[-1]
    assert len(load_dataset(saved)) == 2
    monkeypatch.setattr(sys, "argv", ["porcelain", "data", "check", str(saved), "--minimum", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


def test_review_by_mouse_reaches_labels_that_no_button_shows(
    page: playwright.Page, studio: Server, tmp_path: Path
) -> None:
    page.get_by_role("tab", name="Review").click()
    page.get_by_text("The least certain and most different").wait_for()
    page.set_input_files(FILE, photograph(tmp_path, "red"))
    page.get_by_text("0 of 1 confirmed").wait_for()
    page.get_by_label("Another type").click()
    page.get_by_role("option", name="Zhadou").click()
    page.get_by_role("button", name="Zhadou").wait_for()
    page.get_by_role("button", name="Confirm and next").click()
    page.get_by_text("1 of 1 confirmed").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as dataset folder").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        archive.extractall(tmp_path / "reviewed")
    (record,) = load_dataset(tmp_path / "reviewed").records
    assert record.labels["type"] == "spittoon"
    assert (tmp_path / "reviewed" / record.file_name).read_bytes() == (
        tmp_path / "red.jpg"
    ).read_bytes()


def test_what_was_confirmed_can_be_gone_back_to_by_touch(
    page: playwright.Page, tmp_path: Path
) -> None:
    page.get_by_role("tab", name="Review").click()
    page.set_input_files(FILE, photograph(tmp_path, "red"))
    page.get_by_role("button", name="Confirm and next").click()
    page.get_by_text("All pictures are confirmed.").wait_for()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Confirm and next").wait_for()


def test_a_phone_offers_its_camera(
    browser: playwright.Browser, studio: Server, tmp_path: Path
) -> None:
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = phone.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(studio.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photograph").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    assert not chooser.value.is_multiple()
    chooser.value.set_files(photograph(tmp_path, "red"))
    page.get_by_text("rubescent").first.wait_for()
    phone.close()


def test_a_computer_offers_files_alone(page: playwright.Page) -> None:
    page.get_by_role("button", name="Choose photographs").wait_for()
    assert page.get_by_role("button", name="Take a photograph").count() == 0
    choosers = []
    page.on("filechooser", lambda one: choosers.append(one))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose photographs").click()
    assert chooser.value.is_multiple()
    page.wait_for_timeout(500)
    assert len(choosers) == 1, "one press, one dialog"


def test_services_that_are_down_are_said(browser: playwright.Browser, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    running = start_studio(tmp_path, nobody, nobody)
    try:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(running.url)
        page.wait_for_selector(FILE, state="attached")
        page.set_input_files(FILE, photograph(tmp_path, "red"))
        page.get_by_text(f"The classifier at {nobody} cannot be reached").wait_for()
        page.get_by_role("tab", name="Generate").click()
        page.get_by_text(f"The generator at {nobody} cannot be reached").wait_for()
        page.close()
    finally:
        running.stop()


def test_the_policy_names_no_outside_address(studio: Server) -> None:
    policy = httpx.get(studio.url).headers["content-security-policy"]
    assert "http" not in policy


def test_another_sites_page_reaches_neither_page_nor_socket(
    browser: playwright.Browser, studio: Server
) -> None:
    socket = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    for path in ("/", socket):
        assert httpx.get(studio.url + path, headers={"Origin": "http://evil"}).status_code == 403
        assert httpx.get(studio.url + path, headers={"Host": "evil:80"}).status_code == 403
    assert httpx.get(studio.url + socket).status_code == 200
    page = browser.new_page()
    page.goto("about:blank")
    address = studio.url.replace("http", "ws") + socket.replace("polling", "websocket")
    opened = page.evaluate(
        """address => new Promise(done => {
            const socket = new WebSocket(address);
            socket.onopen = () => done(true);
            socket.onerror = () => done(false);
        })""",
        address,
    )
    page.close()
    assert opened is False
