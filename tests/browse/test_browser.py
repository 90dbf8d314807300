"""The catalog in a real browser: finding names, following links, and safety from hostile names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests import writers
from tests.browse.served import ALPINE, Place, Site, browsing
from tests.effort import pairs

ESCAPED = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>\\u202e\\x1b[31m"


def text_of(cell: WebElement) -> str:
    """The text of a cell; of a digest, all of it, although the page shows the beginning and a button."""
    digests = cell.find_elements(By.CSS_SELECTOR, "[data-copy]")
    return str(digests[0].get_attribute("data-copy")) if digests else cell.text


def cells(browser: Chrome, column: str) -> list[str]:
    return [text_of(each) for each in browser.find_elements(By.CSS_SELECTOR, f"td.col-{column}")]


def column(browser: Chrome, number: int) -> list[str]:
    """The cells of a column of the first table of a page of ocicat's own."""
    return [text_of(each) for each in browser.find_elements(By.CSS_SELECTOR, f"table td:nth-child({number})")]


def waits_for(browser: Chrome, found: Callable[[], list[str]], expected: list[str]) -> None:
    """Wait until the page shows this, because a page appears some time after a key or a click."""
    waiting = WebDriverWait(browser, 60, ignored_exceptions=(StaleElementReferenceException,))
    with contextlib.suppress(TimeoutException):
        waiting.until(lambda _: found() == expected)
    assert found() == expected


def shows(browser: Chrome, column: str, expected: list[str]) -> None:
    """Wait until the cells of the page are these."""
    waits_for(browser, lambda: cells(browser, column), expected)


def headings(browser: Chrome) -> list[str]:
    return [each.text.partition(" (")[0] for each in browser.find_elements(By.CSS_SELECTOR, "h1, h2, h3")]


def link(browser: Chrome, text: str) -> WebElement:
    """The first link in a cell with this text, or to this digest."""
    links = browser.find_elements(By.CSS_SELECTOR, "td a")
    return next(each for each in links if text in (each.text, each.get_attribute("data-copy")))


def row_of(browser: Chrome, text: str) -> list[WebElement]:
    """Return the cells of the first row that has a cell with this text."""
    for row in browser.find_elements(By.CSS_SELECTOR, "table.rows-and-columns tbody tr"):
        found = row.find_elements(By.TAG_NAME, "td")
        if text in [cell.text for cell in found]:
            return found
    raise AssertionError(f"no row with {text!r} in {browser.find_element(By.TAG_NAME, 'body').text}")


def test_from_a_part_of_a_name_to_an_image_its_layers_and_a_store(browser: Chrome, site: Site, shown: Place) -> None:
    browser.get(site.url)
    browser.find_element(By.ID, "text").send_keys("ALP 3.16\n")
    waits_for(browser, lambda: column(browser, 2), ["builds/alpine", "mirror/alpine"])
    assert column(browser, 4) == [shown.digests["3.16"]] * 2
    link(browser, f"{ALPINE}:3.16").click()
    waits_for(
        browser,
        lambda: headings(browser),
        [f"{ALPINE}:3.16", "Names", "Where it is", "Layers", "Labels", "History"],
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, ".bar span")) == 3
    assert [each.text for each in browser.find_elements(By.CSS_SELECTOR, "ol.timeline li a")] == [
        f"{ALPINE}:3.16", "builds/alpine", f"{ALPINE}:3.16", "mirror/alpine",
    ]  # fmt: skip
    browser.find_element(By.CSS_SELECTOR, "#layers ~ .table-wrapper td a").click()
    shows(browser, "relation", ["is a blob in", "is a blob in", "is a layer of"])
    assert row_of(browser, "is a layer of")[2].text == f"{ALPINE}:3.16"
    link(browser, "mirror/alpine").click()
    waits_for(browser, lambda: headings(browser), ["mirror/alpine", "Names", "Latest changes"])
    assert f"{shown.root}/mirror/alpine" in browser.find_element(By.TAG_NAME, "dl").text
    assert column(browser, 2)[:2] == ["3.16", "3.17"]


def test_an_image_index_leads_to_its_manifests_and_back(browser: Chrome, site: Site, shown: Place) -> None:
    browser.get(f"{site.url}-/image?ref=acme/app:1.0")
    link(browser, shown.digests["child"]).click()
    waits_for(browser, lambda: headings(browser)[:1], [shown.digests["child"]])
    assert "In image indexes" in headings(browser)
    link(browser, shown.digests["index"]).click()
    waits_for(browser, lambda: headings(browser)[:1], ["docker.io/acme/app:1.0"])
    browser.get(site.url)
    browser.find_element(By.ID, "digest").send_keys(shown.digests["index"] + "\n")
    shows(browser, "relation", ["is named", "is a blob in", "is a index"] + ["has the manifest"] * 2)


def test_a_search_without_a_result_or_a_page_without_a_thing_says_so(browser: Chrome, site: Site) -> None:
    browser.get(f"{site.url}-/find?text=no+such")
    assert "no entry has all of 'no', 'such'" in browser.find_element(By.TAG_NAME, "body").text
    browser.get(f"{site.url}-/image?ref=no/such")
    assert "no image docker.io/no/such:latest" in browser.find_element(By.TAG_NAME, "body").text
    browser.get(f"{site.url}-/store?name=no+such")
    assert "No store has this name" in browser.find_element(By.TAG_NAME, "body").text


def test_the_first_page_shows_the_state(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    tiles = [" ".join(each.text.split()) for each in browser.find_elements(By.CSS_SELECTOR, ".tiles li")]
    assert tiles == ["4 stores", "6 entries", "1 problems"]
    assert "No daemon follows the layouts" in browser.find_element(By.TAG_NAME, "body").text


def test_a_column_sorts_by_its_exact_value(browser: Chrome, site: Site) -> None:
    """Sizes are shown in units, so their order is that of the bytes."""
    sql = "SELECT 1024 AS size UNION ALL SELECT 900 UNION ALL SELECT 2000000 UNION ALL SELECT 3000"
    browser.get(f"{site.url}catalog?{urlencode({'sql': sql})}")
    browser.find_element(By.CSS_SELECTOR, "th.col-size button").click()
    assert cells(browser, "size") == ["900 B", "1.0 KiB", "2.9 KiB", "1.9 MiB"]
    browser.find_element(By.CSS_SELECTOR, "th.col-size button").click()
    assert cells(browser, "size") == ["1.9 MiB", "2.9 KiB", "1.0 KiB", "900 B"]


def test_a_report_says_nothing_of_custom_sql(browser: Chrome, site: Site) -> None:
    browser.get(f"{site.url}catalog/report-usage")
    assert headings(browser) == ["Report: usage"]
    assert "ustom SQL" not in browser.find_element(By.TAG_NAME, "body").text


ENDLESS = "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT count(*) FROM a"
PAGES = (
    "", "-/find?text=a", "-/image?ref=alpine:3.15", "-/image?ref=acme/app:1.0", "-/store?name=odd", "-/plots", "catalog",
    "catalog/images", "catalog/report-usage", "catalog/where-is?digest=sha256:", "catalog?sql=select+*+from+blobs",
    "no/such", "-/find?text=nosuch", "-/image?ref=nosuch", "catalog/images?_next=x", "catalog?sql=delete+from+images",
    "catalog?sql=select+nosuch", f"catalog?sql={quote_plus(ENDLESS)}&_timelimit=100", "catalog/nosuch",
)  # fmt: skip


WIDTHS = 390, 1100


def test_no_page_is_wider_than_its_window_and_text_can_be_read(browser: Chrome, site: Site) -> None:
    """Wide tables and plots scroll by themselves. Text has a contrast of at least 4.5 with what is behind it (WCAG 2 AA).

    A page is loaded once for both colour schemes and all widths, because it follows those of the system and of the window while it is
    shown. The short run looks at each width and at each scheme, because neither depends on the other.
    """
    try:
        for path in PAGES:
            browser.get(site.url + path)
            for width, scheme in pairs(WIDTHS, ("light", "dark")):
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                where = path, width, scheme
                assert browser.execute_script("return window.innerWidth") == width, where
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width, where
                assert browser.execute_script(PALE) == [], where
                colour = browser.execute_script("return getComputedStyle(document.body).color")
                is_light = sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 127
                assert is_light == (scheme == "dark"), (*where, colour)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


PALE = """
const rgb = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
const behind = each => { for (; each; each = each.parentElement) { const c = rgb(getComputedStyle(each).backgroundColor); if (c[3] > 0.5) return c; }
  return rgb(getComputedStyle(document.documentElement).colorScheme ? getComputedStyle(document.body).backgroundColor : "rgb(255,255,255)"); };
const found = [];
for (const each of document.querySelectorAll("h1, h2, h3, p, td, th, dt, dd, li, a, label, code, pre, strong, summary")) {
  const box = each.getBoundingClientRect();
  if (!each.textContent.trim() || !box.width || each.closest("svg, .cm-editor, header, footer")) continue;
  const [a, b] = [light(rgb(getComputedStyle(each).color)), light(behind(each))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${each.tagName} ${each.className}: ${ratio.toFixed(1)} ${each.textContent.trim().slice(0, 30)}`);
}
return found.slice(0, 5);
"""


def test_a_facet_narrows_a_view(browser: Chrome, site: Site) -> None:
    browser.get(f"{site.url}catalog/images")
    facet = browser.find_element(By.CSS_SELECTOR, "[data-column=store]")
    next(each for each in facet.find_elements(By.TAG_NAME, "a") if each.text == "builds/app").click()
    shows(browser, "name", ["docker.io/acme/app:1.0"])


@pytest.mark.parametrize(
    "path",
    ["catalog/images", "catalog/annotations", "catalog/labels", "catalog/find-name?text=script", "-/find?text=script",
     "-/store?name=odd", "-/image?ref=ODD", "-/plots", ""],
)  # fmt: skip
def test_a_hostile_name_is_shown_and_does_nothing(browser: Chrome, site: Site, shown: Place, path: str) -> None:
    browser.get(site.url + path.replace("ODD", shown.digests["odd"]))
    if path not in ("-/plots", ""):
        assert ESCAPED in browser.find_element(By.TAG_NAME, "body").text
    assert browser.execute_script("return window.taken") is None
    assert browser.find_elements(By.CSS_SELECTOR, "img[src=x]") == []


def test_a_hostile_digest_page_and_a_hostile_question_do_nothing(browser: Chrome, site: Site, shown: Place) -> None:
    for path in (
        f"catalog/where-is?digest={shown.digests['odd']}",
        "catalog/find-name?text=%3Cscript%3Ewindow.taken=1%3C/script%3E",
        "catalog?sql=select+%22%3Cscript%3Ewindow.taken=1%3C/script%3E%22+from+nothing",
    ):
        browser.get(site.url + path)
        assert browser.execute_script("return window.taken") is None, path


def test_the_policy_blocks_foreign_scripts_and_pages_need_none(browser: Chrome, site: Site) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    for path in (
        "",
        "catalog",
        "catalog/images",
        "catalog/report-usage",
        "catalog/where-is",
        "-/plots",
        "-/find",
        "-/store?name=odd",
    ):
        browser.get(site.url + path)
        script = "return performance.getEntriesByType('resource').map(each => each.name)"
        loaded = browser.execute_script(script)
        assert loaded, path
        assert all(each.startswith(site.url) for each in loaded), loaded
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    script = """const done = arguments[0], made = document.createElement('script');
    made.onload = () => done('loaded'); made.src = 'http://localhost:9/x.js';
    document.addEventListener('securitypolicyviolation', () => done('stopped')); document.body.append(made)"""
    assert browser.execute_async_script(script) == "stopped"
    browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_the_plots_show_every_store_and_what_it_shares(browser: Chrome, site: Site) -> None:
    browser.get(f"{site.url}-/plots")
    growth, sharing = browser.find_elements(By.CSS_SELECTOR, "svg.plot.wide")
    assert growth.is_displayed()
    assert "6" in [each.text for each in growth.find_elements(By.TAG_NAME, "text")]
    labels = [each.text for each in sharing.find_elements(By.TAG_NAME, "text")]
    assert {"builds/alpine", "mirror/alpine", "builds/app", "odd"} <= set(labels)
    second = sharing.find_elements(By.CSS_SELECTOR, "g rect.second")
    assert sorted(each.size["width"] > 0 for each in second) == [False, False, True, True]


def test_new_entries_and_history_are_on_the_next_page(browser: Chrome, own: Place) -> None:
    with browsing(own.db) as site:
        browser.get(f"{site.url}catalog/tag-history?name=alpine:3.17")
        shows(browser, "digest", [own.digests["3.17"]])
        layout = f"{own.root}/mirror/alpine"
        moved = writers.make_image(layout, "moved")
        index = writers.read_index(layout)
        entry = writers.name_entry(moved, "containerd", ALPINE, "3.17")
        other = writers.name_entry(moved, "containerd", ALPINE, "3.15")
        writers.write_index(layout, writers.empty_index(index["manifests"][0], entry, other))
        own.read()
        browser.refresh()
        shows(browser, "digest", [own.digests["3.17"], moved["digest"]])
        assert [bool(each.strip()) for each in cells(browser, "until")] == [True, False]
        # two stores have another image of this name: the page says so, and each row of the search leads to its own
        assert "Stores have different images with this name" in site.get("/-/image?ref=alpine:3.15").text
        assert "Stores have different images with this name" not in site.get("/-/image?ref=alpine:3.16").text
        rows = site.get("/-/find?text=alpine+3.15").text
        for digest in (own.digests["3.15"], moved["digest"]):
            assert f'?ref={quote(digest)}">docker.io/library/alpine:3.15</a>' in rows
        browser.find_element(By.NAME, "name").clear()
        browser.find_element(By.NAME, "name").send_keys("3.15\n")
        shows(browser, "store", ["builds/alpine", "mirror/alpine"])
