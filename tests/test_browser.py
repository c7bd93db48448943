"""The lessons with widgets in a real JupyterLab and a real Chromium.

Each notebook is copied to a temporary folder, opened and run from top to bottom; the inspector's
controls are then used as a reader would, by mouse and keys. Screenshots go to runs/test_browser/.
Skipped where playwright or Chromium is missing (Debian: apt-get install chromium; elsewhere:
playwright install chromium; or name one in the environment variable CHROMIUM).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "runs" / "test_browser"
SECONDS = 1000  # Playwright counts in milliseconds
SLOW = 60 * SECONDS  # for what is quick on a quiet machine
RUN = 400 * SECONDS  # for a whole lesson


def find_chromium(playwright) -> str | None:
    """The browser named in CHROMIUM, one on the path, or the one that Playwright installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    own = playwright.chromium.executable_path
    found = [
        os.environ.get("CHROMIUM"),
        *map(shutil.which, names),
        own if Path(own).exists() else "",
    ]
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def browser():
    with sync_api.sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            pytest.skip("no Chromium: install one, or name it in the environment variable CHROMIUM")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"], timeout=2 * SLOW
        )
        yield browser
        browser.close()


def settings(folder: Path, plugin: str, **values) -> None:
    package, name = plugin.split(":")
    path = folder / package / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def without_skipped(notebook: str) -> str:
    """A notebook less the cells that nbdev_test skips too: long runs, GPU cells, exercise stubs."""
    content = json.loads(notebook)
    skipped = re.compile(r"#\|\s*(eval:\s*false|notest|slow|cuda)\b")
    content["cells"] = [c for c in content["cells"] if not skipped.match("".join(c["source"]))]
    return json.dumps(content)


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser):
    """The address of a JupyterLab that sees copies of the notebooks and nothing of the user's."""
    folder = tmp_path_factory.mktemp("lab")
    notebooks = folder / "nbs"
    notebooks.mkdir()
    for helper in (ROOT / "nbs").glob("*.py"):
        (notebooks / helper.name).write_text(helper.read_text("utf-8"), "utf-8")
    for lesson in (ROOT / "nbs").glob("*.ipynb"):
        (notebooks / lesson.name).write_text(without_skipped(lesson.read_text("utf-8")), "utf-8")
    settings(
        folder / "settings",
        "@jupyterlab/apputils-extension:notification",
        fetchNews="false",
        checkForUpdates=False,
    )
    settings(folder / "settings", "@jupyterlab/notebook-extension:tracker", windowingMode="none")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LESSON_SHORT": "1"}
    env.pop("MPLBACKEND", None)  # the lessons' test sets it: a browser shows the pictures
    places = dict(
        JUPYTER_CONFIG_DIR="config",
        JUPYTER_DATA_DIR="data",
        JUPYTER_RUNTIME_DIR="runtime",
        JUPYTERLAB_SETTINGS_DIR="settings",
        JUPYTERLAB_WORKSPACES_DIR="workspaces",
        IPYTHONDIR="ipython",
    )
    env |= {name: str(folder / place) for name, place in places.items()}
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=t",
        "--allow-root",
        f"--ServerApp.root_dir={notebooks}",
    ]
    log = folder / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(f"{address}/api?token=t", server, log)
        yield address
    finally:
        server.terminate()  # and it ends its kernels
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for_server(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def page(browser, lab, request):
    """A fresh page that collects script errors; a screenshot of its last state is kept."""
    page = browser.new_page(viewport=dict(width=1500, height=1000))
    page.set_default_timeout(SLOW)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
    yield page
    shot(page, re.sub(r"\W+", "_", request.node.name).strip("_"))
    key = {"Authorization": "token t"}
    for kernel in page.request.get(f"{lab}/api/kernels", headers=key).json():
        page.request.delete(f"{lab}/api/kernels/{kernel['id']}", headers=key)
    page.close()


def shot(target, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    target.screenshot(path=SHOTS / f"{name}.png")


PROMPTS = """() => {
  const cells = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell")];
  const prompts = cells.map((cell) => cell.querySelector(".jp-InputPrompt").textContent);
  const failed = document.querySelector('.jp-Notebook [data-mime-type$="error"], .jp-Dialog');
"""
STARTED = PROMPTS + "return prompts.some((p) => /[*\\d]/.test(p)); }"
FINISHED = PROMPTS + "return failed || prompts.every((p) => /\\d/.test(p)); }"


def run_lesson(page, lab: str, name: str) -> None:
    """Opens a notebook, forgets its stored outputs, runs all cells and waits for the last."""
    page.goto(f"{lab}/lab/workspaces/{name[:2]}/tree/{name}.ipynb?token=t&reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=2 * SLOW)
    choose(page, "Edit", "Clear Outputs of All Cells")
    for what in ("Code", "Outputs"):  # the solutions are folded; what is folded has no prompt
        choose(page, "View", f"Expand All {what}")
    for _ in range(3):  # on a very slow machine a menu can close before its item is clicked
        choose(page, "Run", "Run All Cells")
        try:
            page.wait_for_function(STARTED)
            break
        except sync_api.TimeoutError:
            continue
    page.wait_for_function(FINISHED, timeout=RUN)
    failed = page.locator('.jp-Notebook [data-mime-type$="error"], .jp-Dialog')
    assert failed.count() == 0, failed.first.inner_text()[-2000:]


def choose(page, menu: str, item: str) -> None:
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def count_pictures(page) -> int:
    """The pictures among a lesson's outputs; each has loaded and fits into its cell."""
    pictures = page.locator(".jp-RenderedImage img")
    sizes = pictures.evaluate_all(
        """all => Promise.all(all.map(async (i) => {
          await i.decode();
          return [i.naturalWidth, i.clientWidth, i.closest(".jp-Cell").clientWidth];
        }))"""
    )
    for natural, shown, cell in sizes:
        assert natural > 20 and 20 < shown <= cell, (natural, shown, cell)
    return len(sizes)


def test_lesson(page, lab):
    """A lesson runs in the browser, its pictures are there, and no script fails."""
    run_lesson(page, lab, "04_flow")
    assert count_pictures(page) >= 3
    assert not page.faults, page.faults


def test_scripts(page):
    """Each script of the widgets is a module that Chromium accepts, with something to render."""
    scripts = sorted((ROOT / "fusion_nb" / "static").glob("*.js"))
    assert len(scripts) >= 5
    page.goto("about:blank")
    for script in scripts:
        parts = page.evaluate(
            """async (text) => {
              const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
              const given = (await import(url)).default;
              return Object.keys(typeof given === "function" ? given() : given);
            }""",
            script.read_text("utf-8"),
        )
        assert "render" in parts, script.name
    assert not page.faults, page.faults


def test_inspector(page, lab):
    """Lesson 11: every control of its widgets, by mouse and by keys."""
    run_lesson(page, lab, "11_inspector")
    assert count_pictures(page) >= 8
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    inspectors = page.get_by_role("group", name="clip inspector")
    look_through_frames(page, inspectors.first)
    change_views(inspectors.first)
    choose_cases(inspectors.nth(1))
    resize(page, inspectors.nth(1))
    print(f"a step of the slider takes {measure_steps(page, inspectors.last):.0f} ms")
    move_wipe(page.get_by_role("group", name="wipe between lost and truth").first)
    explore_matches(page.get_by_role("group", name="match explorer").first)
    pick_exemplar(page.get_by_role("group", name="exemplar picker").first)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells  # no key went to the notebook
    assert not page.faults, page.faults


def shows(box, case: int, frame: int, pictures: int | None = None) -> None:
    """Waits until all pictures of a frame are on screen."""
    expected = re.compile(rf"^{case} {frame} " + str(pictures or r"\d+") + "$")
    expect(box.locator(".fnb-feed")).to_have_attribute("data-shown", expected, timeout=SLOW)


def frame_slider(box):
    return box.get_by_role("slider", name="frame", exact=True)


def frame_of(box) -> int:
    return int(float(frame_slider(box).get_attribute("aria-valuenow")))


def look_through_frames(page, box) -> None:
    """The frame slider by keys, play and pause, the curves by mouse and by keys."""
    slider, curves = frame_slider(box), box.get_by_role("slider", name="frame, by its curves")
    last = int(float(slider.get_attribute("aria-valuemax")))
    box.get_by_label("View").select_option("side by side")
    slider.press("Home")
    shows(box, 0, 0, 4)
    before = box.get_by_role("img", name="prediction").get_attribute("src")
    for frame in (1, 2, 3):
        slider.press("ArrowRight")
        shows(box, 0, frame, 4)
    expect(box.locator(".widget-readout").first).to_have_text("3")
    expect(box.get_by_text(f"of {last}", exact=True)).to_be_visible()
    assert box.get_by_role("img", name="prediction").get_attribute("src") != before
    shot(box, "inspector_side_by_side")

    chart = box.locator(".chart").first
    width = chart.bounding_box()["width"]
    chart.click(position=dict(x=40 + (width - 48) * 18 / last, y=50))  # the axis ends 8 short
    shows(box, 0, 18)
    assert frame_of(box) == 18
    cursor = box.locator(".chart i").nth(1).evaluate("e => parseFloat(e.style.left)")
    assert abs(cursor - (40 + (width - 48) * 18 / last)) < 2
    assert "frame 18" in curves.get_attribute("aria-valuetext")
    for key, frame in (("End", last), ("ArrowLeft", last - 1), ("Home", 0)):
        curves.press(key)
        shows(box, 0, frame)

    play = box.get_by_role("button", name="play or pause")
    play.click()
    page.wait_for_function(
        "slider => slider.ariaValueNow >= 3", arg=slider.element_handle(), timeout=SLOW
    )
    play.click()
    expect(box.locator(".widget-play .fa-play")).to_be_visible()
    page.wait_for_timeout(1000)  # what was on its way has come
    still = frame_of(box)
    page.wait_for_timeout(1000)
    assert frame_of(box) == still


def change_views(box) -> None:
    """One view alone, and the wipe by keys and mouse."""
    frame = frame_of(box)
    box.get_by_label("View").select_option("error")
    shows(box, 0, frame, 1)
    expect(box.locator(".fnb-card:visible")).to_have_count(1)
    shot(box, "inspector_alone")
    box.get_by_label("View").select_option("wipe")
    box.get_by_label("Left").select_option("faded")
    box.get_by_label("Right").select_option("error")
    expect(box.get_by_role("img", name="faded", exact=True)).to_be_visible()
    expect(box.get_by_role("img", name="error", exact=True)).to_be_visible()
    move_wipe(box)
    shot(box, "inspector_wipe")
    before = box.locator(".fnb-wipe img").first.get_attribute("src")
    frame_slider(box).press("ArrowRight")
    expect(box.locator(".fnb-wipe img").first).not_to_have_attribute("src", before)
    box.get_by_label("View").select_option("side by side")
    shows(box, 0, frame + 1, 4)


def move_wipe(box) -> None:
    """The divider follows the keys and the mouse; both pictures have one size."""
    slider = box.get_by_role("slider", name="wipe position")
    slider.press("Home")
    expect(slider).to_have_value("0")
    slider.press("ArrowRight")
    expect(slider).to_have_value("1")
    place = slider.bounding_box()
    slider.click(position=dict(x=place["width"] * 0.7, y=place["height"] * 0.3))
    expect(slider).to_have_value("70")
    line = slider.evaluate(
        "e => e.parentElement.querySelector('i').offsetLeft / e.parentElement.clientWidth"
    )
    assert abs(line - 0.7) < 0.02
    under, over = slider.evaluate(
        """e => [...e.parentElement.querySelectorAll("img")].map(
          (i) => [i.naturalWidth, i.naturalHeight, i.clientWidth, i.clientHeight])"""
    )
    assert under == over
    assert abs(under[2] / under[3] - under[0] / under[1]) < 0.02  # not distorted


def choose_cases(box) -> None:
    """Another checkpoint keeps the frame; another clip may have other views and fewer frames."""
    frame, cards = frame_of(box), box.locator(".fnb-card")
    shows(box, 0, frame, 9)
    shot(box, "inspector_of_the_system")
    box.get_by_label("Checkpoint").select_option("match")
    shows(box, 1, frame, 3)
    expect(cards).to_have_count(3)
    box.get_by_label("Clip").select_option("synthetic")
    shows(box, 2, 11, 9)  # it has twelve frames
    expect(frame_slider(box)).to_have_attribute("aria-valuemax", "11.0")
    expect(box).not_to_have_class(re.compile("fnb-busy"))
    box.get_by_label("Clip").select_option("demo")
    shows(box, 0, 11, 9)
    expect(box.get_by_label("Checkpoint")).to_have_value("fusion")


def resize(page, box) -> None:
    """In a narrow window nothing sticks out, and the curves are drawn again."""
    wide = box.locator("svg").first.get_attribute("width")
    page.set_viewport_size(dict(width=820, height=1800))
    expect(box.locator("svg").first).not_to_have_attribute("width", wide)
    assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
    for width in box.locator("img:visible").evaluate_all("all => all.map((i) => i.clientWidth)"):
        assert width >= 120
    shot(box, "inspector_narrow")
    page.set_viewport_size(dict(width=1500, height=1000))


def measure_steps(page, box, count: int = 20) -> float:
    """The median time, in milliseconds, from a key to the pictures of the next frame."""
    frame_slider(box).press("Home")
    shows(box, 0, 0, 9)
    page.wait_for_timeout(1000)
    return page.evaluate(
        """async ([box, count]) => {
          const [handle, feed] = [".noUi-handle", ".fnb-feed"].map((s) => box.querySelector(s));
          const key = { key: "ArrowRight", bubbles: true, cancelable: true };
          const times = [];
          for (let frame = 1; frame <= count; frame++) {
            const start = performance.now();
            handle.dispatchEvent(new KeyboardEvent("keydown", key));
            while (feed.dataset.shown.split(" ")[1] !== `${frame}`)
              await new Promise((done) => setTimeout(done, 1));
            await Promise.all([...box.querySelectorAll(".fnb-views img")].map((i) => i.decode()));
            times.push(performance.now() - start);
            await new Promise((done) => setTimeout(done, 100));
          }
          return times.sort((a, b) => a - b)[count / 2];
        }""",
        [box.element_handle(), count],
    )


def explore_matches(box) -> None:
    """A click and the arrow keys move the pixel; the map and the text follow."""
    told, heat = box.get_by_role("status"), box.get_by_role("img", name=re.compile("similarity"))
    source = box.get_by_role("application")
    before = heat.get_attribute("src")
    source.click(position=dict(x=30, y=40))
    expect(told).to_have_text(re.compile(r"pixel \(\d+, \d+\): best match at \(\d+, \d+\), simil"))
    expect(heat).not_to_have_attribute("src", before)
    text = told.inner_text()
    source.press("ArrowDown")
    expect(told).not_to_have_text(text)
    shot(box, "explorer")


def pick_exemplar(box) -> None:
    """Another button, by mouse and by keys: another colouring."""
    status, result = box.get_by_role("status"), box.get_by_role("img", name="coloured")
    box.get_by_role("button", name="first frame").click()
    expect(status).to_have_text("coloured after first frame")
    before = result.get_attribute("src")
    box.get_by_role("button", name="coffee").press("Enter")
    expect(status).to_have_text("coloured after coffee")
    expect(result).not_to_have_attribute("src", before)
    shot(box, "picker")
    expect(box.get_by_role("button", name="coffee")).to_have_class(re.compile("mod-active"))


def open_studio(page, lab, folder: Path):
    """Run a notebook with one cell, a studio of the demo film; return its canvas."""
    film = str(ROOT / "data" / "demo" / "gray.mp4")
    source = f"from fusion_nb.studio import Studio\nStudio({film!r}, {str(folder)!r})"
    cell = dict(cell_type="code", source=source, metadata={}, outputs=[], execution_count=None)
    kernel = dict(name="python3", display_name="python3")
    content = dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=4)
    key = {"Authorization": "token t"}
    body = dict(type="notebook", format="json", content=content)
    page.request.put(f"{lab}/api/contents/studio_page.ipynb", headers=key, data=body)
    run_lesson(page, lab, "studio_page")
    canvas = page.get_by_role("application", name=re.compile("^frame: drag"))
    canvas.wait_for()
    return canvas


def test_studio(page, lab, tmp_path):
    """Strokes by mouse and finger, eraser, undo, zoom, preview, export, a correction, all again."""
    canvas = open_studio(page, lab, tmp_path)
    for n, color in enumerate(["wood", "sky", "grass", "skin", "grey"]):
        page.get_by_role("button", name=color, exact=True).click()
        if n < 4:
            paint(page, canvas, 0.2 + 0.12 * n)
        else:
            paint_by_touch(page, canvas)
        expect(page.get_by_text(re.compile(f"{n + 1} strokes?, saved"))).to_be_visible(timeout=SLOW)
    shot(page, "studio_painted")
    page.get_by_role("button", name="erase", exact=True).click()
    paint(page, canvas, 0.2 + 0.12 * 4)
    expect(page.get_by_text("4 strokes, saved")).to_be_visible(timeout=SLOW)
    canvas.press("Control+z")
    expect(page.get_by_text("5 strokes, saved")).to_be_visible(timeout=SLOW)
    width = canvas.bounding_box()["width"]
    canvas.press("+")
    assert canvas.bounding_box()["width"] > 1.4 * width
    canvas.press("0")
    page.get_by_role("button", name="wipe", exact=True).click()
    move_wipe(page.get_by_role("group", name="studio"))
    page.get_by_role("button", name="preview", exact=True).click()
    expect(page.get_by_role("slider", name="preview")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="stop", exact=True).click()
    page.get_by_role("button", name="frame", exact=True).click()
    page.get_by_role("button", name="export", exact=True).click()
    expect(page.get_by_text(re.compile("written: "))).to_be_visible(timeout=RUN)
    page.get_by_role("slider", name="frame", exact=True).press("End")
    expect(page.get_by_text("no stroke on this frame")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="red", exact=True).click()
    paint(page, canvas, 0.5)
    expect(page.get_by_text("1 stroke, saved")).to_be_visible(timeout=SLOW)
    shot(page, "studio_corrected")
    stored = json.loads((tmp_path / "project.json").read_text())["exemplars"]
    assert [len(entry["strokes"]) for entry in stored.values()] == [5, 1]
    open_studio(page, lab, tmp_path)
    expect(page.get_by_text("5 strokes on this frame")).to_be_visible(timeout=SLOW)
    assert not page.faults, page.faults


def paint(page, canvas, height: float) -> None:
    """Draw a stroke across the canvas at a fraction of its height."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    y = box["y"] + height * box["height"]
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], y, steps=4)
    page.mouse.up()


def paint_by_touch(page, canvas) -> None:
    """Draw a stroke up the canvas with a finger; the page stays where it is."""
    canvas.scroll_into_view_if_needed()
    box, touch = canvas.bounding_box(), page.context.new_cdp_session(page)
    for kind, height in [("touchStart", 0.8), *(("touchMove", 0.8 - 0.1 * n) for n in range(1, 6))]:
        point = dict(x=box["x"] + 0.4 * box["width"], y=box["y"] + height * box["height"])
        touch.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[point]))
    touch.send("Input.dispatchTouchEvent", dict(type="touchEnd", touchPoints=[]))
    assert canvas.bounding_box() == box


def test_site(browser, tmp_path):
    """The site builds without a warning; a lesson, the API, the glossary and the search work."""
    site = tmp_path / "site"
    command = [sys.executable, str(ROOT / "tools" / "site.py"), str(site)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    page = browser.new_page(viewport=dict(width=1400, height=1000))
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((site / "04_flow.html").as_uri())
    assert page.locator(".cell_output img").count() >= 5
    assert "#| export" not in page.content()
    assert page.locator("details.hide").count() >= 3  # the solutions are folded
    shot(page, "site_lesson")
    page.goto((site / "api" / "flow.html").as_uri())
    expect(page.locator("dt", has_text="warp(").first).to_contain_text("flow")
    shot(page, "site_api")
    page.goto((site / "index.html").as_uri())
    expect(page.locator("dl.glossary dt#term-exemplar-flow")).to_have_count(1)
    shot(page, "site_index")
    page.goto((site / "search.html").as_uri() + "?q=exemplar+flow")
    expect(page.locator("#search-results li").first).to_be_visible()
    shot(page, "site_search")
    assert not faults
