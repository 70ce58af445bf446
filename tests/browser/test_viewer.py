"""The viewer in a real browser: it works without a script, fits, and can be read."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from flow.http_system import NDJSON, HttpSystem, event, http_system

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: scripts/test installs it"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]
WIDTHS = (390, 1360)


@contextmanager
def serving(system: HttpSystem) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, system.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with http_system(tmp_path_factory.mktemp("viewer")) as system:
        outcomes = ("success", "failure", "denied", "unknown")
        lines = [
            event(
                f"e{number}",
                timestamp=f"2026-03-04T05:06:{number % 60:02d}Z",
                outcome=outcomes[number % 4],
                actor="bo*b" if number == 7 else "a-very-long-actor-name@a-very-long-company-name.example",
                resource={"type": "document", "id": f"{number}/<b>bold</b>"},
            )
            for number in range(120)
        ]
        system.post("\n".join(json.dumps(line) for line in lines).encode(), media=NDJSON)
        system.settle()
        with serving(system) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1360, "height": 900})
    yield context.new_page()
    context.close()


def test_the_newest_events_come_first_and_links_lead_on(page: Any, base: str) -> None:
    page.goto(base)
    assert page.locator("tbody tr").count() == 50
    seen = set()
    for _ in range(3):
        seen |= set(page.locator("td[data-label=Resource] a").all_inner_texts())
        following = page.locator("a[rel=next]")
        if following.count():
            following.click()
    assert len(seen) == 120
    assert page.locator("a[rel=next]").count() == 0


def test_the_form_finds_and_leaves_a_tidy_address(page: Any, base: str) -> None:
    page.goto(base)
    page.get_by_label("Actor").fill("a-very*")
    page.get_by_label("Outcome").select_option("denied")
    page.get_by_role("button", name="Find").click()
    assert page.url == f"{base}/?actor=a-very*&outcome=denied"
    assert set(page.locator("td[data-label=Outcome] a").all_inner_texts()) == {"denied"}
    page.locator(".chips a", has_text="outcome").click()
    assert page.url == f"{base}/?actor=a-very*"


def test_a_cell_narrows_to_its_own_value_even_with_a_star_in_it(page: Any, base: str) -> None:
    page.goto(f"{base}/?id=e7")
    page.locator("td[data-label=Actor] a").click()
    assert page.locator("tbody tr").count() == 1
    page.goto(f"{base}/?actor=bo%5C*b")
    assert page.locator("tbody tr").count() == 1


def test_what_events_hold_is_text_and_never_markup(page: Any, base: str) -> None:
    page.goto(base)
    assert page.locator("td b").count() == 0
    assert "<b>bold</b>" in page.locator("td[data-label=Resource]").first.inner_text()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/?actor=nobody", "No event matches"),
        ("/?limit=0", "This question has no answer"),
        ("/?actor=a*b", "a star may only end"),
    ],
)
def test_emptiness_and_errors_are_sentences(page: Any, base: str, path: str, sentence: str) -> None:
    page.goto(base + path)
    assert sentence in page.locator("main").inner_text()


def test_the_equivalent_api_call_is_a_link(page: Any, base: str) -> None:
    page.goto(f"{base}/?actor=a-very*&order=asc")
    assert page.locator("footer a").get_attribute("href") == "/events?actor=a-very*&order=asc"


@pytest.mark.parametrize("look", [(scheme, width) for scheme in ("light", "dark") for width in WIDTHS])
@pytest.mark.parametrize("path", ["/", "/?actor=nobody&q=x", "/?limit=0", "/docs", "/docs/errors"])
def test_pages_fit_ask_no_other_host_and_break_no_policy(
    browser: Any, base: str, tmp_path: Path, look: tuple[str, int], path: str
) -> None:
    scheme, width = look
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(base + path)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.screenshot(path=tmp_path / "page.png")
    context.close()
    assert overflow <= 0
    assert all(url.startswith(base) for url in asked)
    assert not [text for text in said if "400" not in text]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: Any, base: str, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{base}/?outcome!=x&q=document")
    page.goto(base)
    ratios = page.evaluate(CONTRAST)
    context.close()
    assert len(ratios) > 20
    assert min(ratio for _, ratio in ratios) >= 4.5, sorted(ratios, key=lambda each: each[1])[:5]


CONTRAST = """() => {
  const parse = text => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("a, span, small, th, label, p, h1, h2, code, button, time, abbr")) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
    const [front, back] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    found.push([node.className + " " + node.innerText.slice(0, 20), ratio]);
  }
  return found;
}"""
