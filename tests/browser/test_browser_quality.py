"""What holds for every view of the page: accessible, quick, quiet, at home at every width, one place for its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from studio_page import Studio, file

from tests import uploads

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Route

SERIOUS = ("serious", "critical")
FIRST_RENDER_MS = 1000
TRIES = 4  # another process may have the processor at that moment
WIDTHS = (360, 820, 1440)
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
VISIBLE_TEXT = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    const isTyped = parent.closest('noscript, code, textarea, .card-prompt, .panel-prompt');
    if (!isTyped) found.push(walker.currentNode.textContent);
  }
  for (const node of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    for (const name of ['aria-label', 'title', 'placeholder']) {
      if (node.hasAttribute(name)) found.push(node.getAttribute(name));
    }
  }
  return found.filter((text) => /[A-Za-z]{2}/.test(text));
}"""


def assert_accessible(studio: Studio, view: str) -> None:
    """Axe-core has no serious finding."""
    findings = [
        f"{view}: {finding['id']}: {node['html'][:160]}: {node['failureSummary'][:300]}"
        for finding in Axe().run(studio.page).response["violations"]
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]
    assert findings == [], "\n".join(findings)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible(chromium: Browser, paced_url: str, scheme: str) -> None:
    """Nothing serious on the empty page, a request, a video in the making, a result with open folds, a question."""
    with Studio.opened(chromium, paced_url, color_scheme=scheme, reduced_motion="reduce") as studio:
        assert_accessible(studio, "empty")
        studio.choose(sound=file("beats.wav", uploads.beats(5.0, at=(0.5, 1.2))))
        studio.button("Listen first").click()
        expect(studio.page.locator(".workspace:visible .pin")).to_have_count(12)
        studio.page.get_by_text("Seed, guidance and strength").click()
        assert_accessible(studio, "request")
        studio.submit("steps=3 step_ms=400")
        expect(studio.page.locator(".stage-row").nth(1)).to_contain_text("of 3")
        assert_accessible(studio, "progress")
        studio.wait_for_result()
        for fold in studio.page.locator(".result-panel summary").all():
            fold.click()
        studio.button("Make a link").click()
        expect(studio.page.get_by_label("Link", exact=True)).to_be_visible()
        assert_accessible(studio, "result")
        studio.button("Delete this video").click()
        assert_accessible(studio, "question")


def test_first_render_takes_less_than_a_second(studio: Studio) -> None:
    """The page is drawn at once; the best of a few tries counts, because the machine may be busy."""
    times = []
    for _ in range(TRIES):
        studio.page.goto("about:blank")
        studio.page.goto(studio.url)
        studio.wait(f"{FIRST_PAINT} > 0")
        times.append(studio.page.evaluate(FIRST_PAINT))
        if times[-1] < FIRST_RENDER_MS:
            break

    assert min(times) < FIRST_RENDER_MS


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_from_phone_to_desktop(
    chromium: Browser, paced_url: str, tmp_path: Path, width: int, scheme: str
) -> None:
    """Nothing is wider than the window, on each view; screenshots are left to be looked at."""
    with Studio.opened(chromium, paced_url, viewport={"width": width, "height": 860}, color_scheme=scheme) as studio:

        def look(view: str) -> None:
            studio.page.screenshot(path=tmp_path / f"{view}-{width}-{scheme}.png", full_page=True)
            overhang = studio.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overhang <= 0, f"{view}: {overhang} px too wide"

        look("empty")
        studio.choose(sound=file("beats.wav", uploads.beats(5.0, at=(0.5, 1.2))))
        look("request")
        studio.submit("steps=1 averyveryverylongwordthatnobodywouldbreakbyitselfifthepagedidnotdoit" * 2)
        studio.wait_for_result()
        look("result")


def test_whole_request_is_made_by_keyboard(studio: Studio) -> None:
    """An example, the two seconds, a keyframe and the button are reached by Tab, and worked by keys alone."""
    keyboard = studio.page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            if studio.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab never reached {selector}")

    tab_to("[data-example=hammer]")
    keyboard.press("Enter")
    expect(studio.page.locator("#prompt")).to_have_value("hammering")
    tab_to("#prompt")
    keyboard.press("Control+A")
    keyboard.type("steps=1")
    keyboard.press("Control+Enter")
    studio.wait_for_result()
    studio.page.evaluate("document.activeElement.blur()")
    keyboard.press("ArrowRight")

    expect(studio.page.locator(".workspace:visible .readout")).to_contain_text("01 / 47")


def test_all_words_come_from_one_place(studio: Studio) -> None:
    """With text.js marked, no sentence of the page is without a mark."""

    def mark(route: Route) -> None:
        script = route.fetch().text().replace("export const TEXT =", "const PLAIN =", 1)
        marking = """
const marked = (value) => typeof value === "string" ? `~${value}~`
  : typeof value === "function" ? (...given) => `~${value(...given)}~`
  : Object.fromEntries(Object.entries(value).map(([name, each]) => [name, marked(each)]));
export const TEXT = marked(PLAIN);
"""
        route.fulfill(body=script + marking, content_type="text/javascript")

    studio.page.route("**/js/text.js", mark)
    studio.page.goto("about:blank")
    studio.page.goto(studio.url)
    studio.choose()
    studio.page.fill("#prompt", "steps=1")
    studio.page.locator(".submit button").click()
    studio.wait_for_result()
    own = ("steps=1", "curl", "Python", "TypeScript", "keyvid-mini", "video_")
    unmarked = [
        text for text in studio.page.evaluate(VISIBLE_TEXT) if "~" not in text and not any(word in text for word in own)
    ]

    assert unmarked == []


def test_reduced_motion_is_respected(chromium: Browser, paced_url: str) -> None:
    """Nothing is animated for those who do not want it."""
    with Studio.opened(chromium, paced_url, reduced_motion="reduce") as studio:
        studio.choose()
        studio.submit("steps=10 step_ms=100")
        studio.wait("document.querySelector('.screen').dataset.status === 'in_progress'")

        assert studio.page.evaluate("document.getAnimations().length") == 0
