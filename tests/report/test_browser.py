"""The page in a real browser: its controls work, it asks for nothing, it fits a phone and a sheet of paper."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxrkeras.render.overlay import overlay
from cxrkeras.report.contents import Contents
from cxrkeras.report.page import assemble, write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install cxrkeras[test]")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    pytest.skip("no Chromium with its driver on this machine", allow_module_level=True)

HOSTILE = """<b>"x"&'</script>"""
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def chrome():
    """One browser for all tests of this file."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def view(chrome):
    """Return a function that opens a page at a width; afterwards the console must be empty and the network unused."""

    def opened(page, width=1280, scripts=True, start=2):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        chrome.get_log("browser"), chrome.get_log("performance")
        chrome.get(page.as_uri())
        if scripts and start is not None:
            # it begins at the checkpoint that is reported; the tests step from the first
            wait_for(chrome, f"0|0|0|0|{start}")
            choose(chrome, "pick-epoch", 0)
            wait_for(chrome, "0|0|0|0|0")
        return chrome

    yield opened
    assert chrome.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    asked = {m["params"]["request"]["url"][:8] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert asked <= {"file:///", "data:ima", "data:,"}
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def wait_for(chrome, drawn: str) -> None:
    """Wait until the viewer says that it has drawn this run, film, method, class and checkpoint."""
    script = """
      const done = arguments[1], app = document.getElementById("viewer-app"), end = Date.now() + 5000;
      const look = () => app.dataset.drawn === arguments[0] || Date.now() > end
        ? done(app.dataset.drawn) : setTimeout(look, 10);
      look();
    """
    assert chrome.execute_async_script(script, drawn) == drawn


def choose(chrome, name: str, value: int) -> None:
    chrome.execute_script(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event(s.tagName === 'SELECT' ? 'change' : 'input', { bubbles: true }));",
        name,
        value,
    )


def press(chrome, name: str) -> None:
    chrome.execute_script("document.getElementById(arguments[0]).click()", name)


def facts(chrome) -> dict[str, str]:
    rows = "[...document.querySelectorAll('#viewer-facts div')]"
    return dict(chrome.execute_script(f"return {rows}.map((row) => [...row.children].map((cell) => cell.textContent))"))


def canvas(chrome) -> np.ndarray:
    uri = chrome.execute_script("return document.getElementById('viewer-canvas').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def test_the_viewer_draws_what_render_draws(view, run_page, fake_run):
    chrome = view(run_page)
    for epoch, column in ((0, 0), (1, 1), (2, 2)):
        choose(chrome, "pick-epoch", epoch)
        wait_for(chrome, f"0|0|0|0|{epoch}")
        heat = np.zeros((3, 3), np.float32)
        heat[0, column] = 1
        wanted = overlay(fake_run.viewer.films[0].picture, heat).astype(float)
        # the film went through JPEG
        assert np.abs(canvas(chrome) - wanted).max() <= 6
    choose(chrome, "pick-alpha", 0)
    bare = overlay(fake_run.viewer.films[0].picture, np.zeros((1, 1)))
    assert np.abs(canvas(chrome) - bare).max() <= 6


def test_controls_step_and_say_what_is_shown(view, run_page, fake_run):
    chrome = view(run_page)
    assert facts(chrome) == {
        "Film": fake_run.viewer.films[0].image,
        "Label": "NORMAL",
        "Checkpoint": "epoch 2, transfer learning",
        "Probability of NORMAL": "0.600",
        "In the gold list": "no, below the confidence 0.7",
        "Map": "ok",
        "Native grid": "3 × 3",
    }
    assert chrome.execute_script("return document.getElementById('step-back').disabled")
    press(chrome, "step-on")
    wait_for(chrome, "0|0|0|0|1")
    assert facts(chrome)["In the gold list"] == "yes"
    chrome.execute_script(
        "document.getElementById('step-back').dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))"
    )
    wait_for(chrome, "0|0|0|0|2")
    press(chrome, "step-on")
    wait_for(chrome, "0|0|0|0|3")
    assert chrome.execute_script("return document.getElementById('step-on').disabled")
    chrome.execute_script("document.querySelectorAll('#viewer-strip button')[1].click()")
    wait_for(chrome, "0|0|0|0|1")
    marked = "return [...document.querySelectorAll('#viewer-strip button')].map((b) => b.getAttribute('aria-current'))"
    assert chrome.execute_script(marked) == ["false", "true", "false", "false"]
    # another film brings its own class, and names stay text
    choose(chrome, "pick-film", 1)
    wait_for(chrome, "0|1|0|1|1")
    assert facts(chrome)[f"Probability of {HOSTILE}"] == "0.200"
    assert facts(chrome)["In the gold list"] == "no, wrongly classified"
    assert chrome.execute_script("return document.querySelectorAll('#viewer-app b b, option b').length") == 0
    press(chrome, "step-play")
    wait_for(chrome, "0|1|0|1|2")
    press(chrome, "step-play")
    assert chrome.execute_script("return document.getElementById('step-play').textContent") == "Play"


def test_a_map_that_is_not_there_says_why(view, run_page):
    chrome = view(run_page)
    absent = "const p = document.getElementById('viewer-absent'); return p.hidden ? '' : p.textContent"
    choose(chrome, "pick-method", 2)
    wait_for(chrome, "0|0|2|0|0")
    assert chrome.execute_script(absent) == ""
    choose(chrome, "pick-class", 1)
    wait_for(chrome, "0|0|2|1|0")
    assert chrome.execute_script(absent) == f"no ms-gradcam++ map of this film for {HOSTILE} was made"
    choose(chrome, "pick-class", 0)
    choose(chrome, "pick-method", 1)
    wait_for(chrome, "0|0|1|0|0")
    assert chrome.execute_script(absent) == "the map is degenerate: it has no contrast to show"
    assert (
        chrome.execute_script("return document.querySelector('#viewer-strip button').textContent")
        == "epoch 2degenerate"
    )
    label = chrome.execute_script("return document.getElementById('viewer-canvas').getAttribute('aria-label')")
    assert "Map: degenerate" in label


def test_a_study_picks_its_backbone(view, study_page):
    chrome = view(study_page, start=3)
    names = "return [...document.getElementById('pick-run').options].map((o) => o.textContent)"
    assert chrome.execute_script(names) == ["ResNet50V2", "DenseNet201"]
    choose(chrome, "pick-epoch", 1)
    wait_for(chrome, "0|0|0|0|1")
    choose(chrome, "pick-run", 1)
    wait_for(chrome, "1|0|0|0|1")


def test_another_backbone_stays_at_the_checkpoint_or_goes_to_its_reported_one(view, fake_study, tmp_path):
    first, second = fake_study.viewer.runs
    maps = tuple(replace(part, epoch=part.epoch + 2) for part in second.maps)
    shifted = replace(second, epochs=tuple(epoch + 2 for epoch in second.epochs), maps=maps)
    study = replace(fake_study, viewer=replace(fake_study.viewer, runs=(first, shifted)))
    page = write_report(assemble(study), tmp_path / "report.html", tmp_path / "report")
    chrome = view(page, start=3)
    choose(chrome, "pick-epoch", 1)
    wait_for(chrome, "0|0|0|0|1")
    choose(chrome, "pick-run", 1)
    wait_for(chrome, "1|0|0|0|0")
    assert facts(chrome)["Checkpoint"].startswith("epoch 4")
    choose(chrome, "pick-epoch", 3)
    wait_for(chrome, "1|0|0|0|3")
    choose(chrome, "pick-run", 0)
    wait_for(chrome, "0|0|0|0|3")
    assert facts(chrome)["Checkpoint"].startswith("epoch 8")


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_is_wider_than_the_window(view, study_page, width):
    chrome = view(study_page, width, start=3)
    chrome.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    widest, room = chrome.execute_script("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert widest <= room <= width
    if width == 390:
        # the headline needs no scrolling at all: its rows are cards with the columns' names
        cells = "[...document.querySelectorAll('.whole td')]"
        right = f"return Math.max(...{cells}.map((cell) => cell.getBoundingClientRect().right))"
        assert chrome.execute_script(right) <= width
        name = "return getComputedStyle(document.querySelectorAll('.whole td')[3], '::before').content"
        assert chrome.execute_script(name) == '"AUC"'
    # other tables scroll inside; letters of the drawings stay readable
    letters = (
        "return Math.min(...[...document.querySelectorAll('.chart text')].map((t) => t.getBoundingClientRect().height))"
    )
    assert chrome.execute_script(letters) >= 8


def test_without_scripts_the_pictures_are_there(view, run_page):
    chrome = view(run_page, scripts=False)
    chrome.execute_cdp_cmd("DOM.enable", {})
    root = chrome.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]

    def heights(selector):
        found = chrome.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": root, "selector": selector})["nodeIds"]
        return [chrome.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": node})["model"]["height"] for node in found]

    pictures = heights(".stills img")
    assert len(pictures) == 4 * 3
    assert min(pictures) > 50
    assert min(heights("noscript p")) > 10


def test_print_shows_the_state_and_no_controls(view, run_page):
    chrome = view(run_page)
    press(chrome, "step-on")
    wait_for(chrome, "0|0|0|0|1")
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect().height)"
    for hidden in ("nav", ".controls", ".steps", ".slider", "summary"):
        assert set(chrome.execute_script(shown, hidden)) == {0}, hidden
    assert chrome.execute_script(shown, "#viewer-canvas")[0] > 100
    assert facts(chrome)["Checkpoint"] == "epoch 4, transfer learning"
    printed = chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    assert base64.b64decode(printed["data"])[:5] == b"%PDF-"


def read_table(chrome) -> list[list[str]]:
    """Fields of the rows that are seen, from top to bottom."""
    rows = "[...document.querySelectorAll('.sorts tbody tr')].filter((row) => row.getBoundingClientRect().height)"
    return chrome.execute_script(f"return {rows}.map((row) => [...row.cells].map((cell) => cell.textContent))")


def told(chrome) -> str:
    return chrome.execute_script("return document.querySelector('.filter [role=status]').textContent")


@pytest.fixture
def weights_page(fake_sources, tmp_path):
    """A page with a table that sorts."""
    contents = Contents("Weights", "sources", "weights", "test", (), sources=(fake_sources,))
    return write_report(assemble(contents), tmp_path / "report.html", tmp_path / "report")


def test_a_table_sorts_by_the_keyboard_with_what_is_undefined_last(view, weights_page):
    chrome = view(weights_page, start=None)
    assert told(chrome) == "4 of 4 rows, as measured"
    names = ["imagenet", HOSTILE, "seen", "raw-pixels"]

    def first_column():
        return [next(name for name in names if row[0].startswith(name)) for row in read_table(chrome)]

    def heading(name):
        heads = [head.text.split(" ")[0] for head in chrome.find_elements("css selector", ".sorts thead th")]
        return chrome.find_elements("css selector", ".sorts thead th")[heads.index(name)]

    assert first_column() == names
    button = heading("probe").find_element("css selector", "button")
    button.send_keys("\ue007")
    assert first_column() == ["seen", "imagenet", HOSTILE, "raw-pixels"]
    assert heading("probe").get_attribute("aria-sort") == "descending"
    assert told(chrome) == "4 of 4 rows, sorted by probe AUC, descending"
    button.send_keys(" ")
    assert first_column() == ["raw-pixels", HOSTILE, "imagenet", "seen"]
    assert heading("probe").get_attribute("aria-sort") == "ascending"
    # −0.4 and −0.3 are known; the others stay last either way
    logme = heading("LogME").find_element("css selector", "button")
    logme.click()
    assert first_column()[:2] == ["seen", "imagenet"]
    logme.click()
    assert first_column()[:2] == ["imagenet", "seen"]
    assert heading("probe").get_attribute("aria-sort") is None
    heading("candidate").find_element("css selector", "button").click()
    assert heading("candidate").get_attribute("aria-sort") == "ascending"
    assert first_column()[1:] == ["imagenet", "raw-pixels", "seen"]


def test_a_table_filters_by_every_word(view, weights_page):
    chrome = view(weights_page, start=None)
    field = chrome.find_element("css selector", ".filter input")
    assert chrome.execute_script("return arguments[0].labels[0].textContent", field).strip() == "Only rows with"
    field.send_keys("resnet50v2 IMAGENET, tf")
    assert [row[1] for row in read_table(chrome)] == ["ResNet50V2"]
    assert told(chrome) == "1 of 4 rows, as measured"
    field.clear()
    field.send_keys("nothing like it")
    assert read_table(chrome) == []
    field.clear()
    field.send_keys(" ")
    assert len(read_table(chrome)) == 4
    assert chrome.execute_script("return document.querySelectorAll('.sorts b').length") == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_sorting_table_fits_and_is_whole_without_scripts(view, weights_page, width):
    chrome = view(weights_page, width, start=None)
    widest, room = chrome.execute_script("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert widest <= room <= width
    chrome = view(weights_page, width, scripts=False)
    chrome.execute_cdp_cmd("DOM.enable", {})
    root = chrome.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    found = {
        name: chrome.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": root, "selector": name})["nodeIds"]
        for name in (".sorts tbody tr", ".filter", ".sorts button")
    }
    assert {name: len(nodes) for name, nodes in found.items()} == {
        ".sorts tbody tr": 4,
        ".filter": 0,
        ".sorts button": 0,
    }
