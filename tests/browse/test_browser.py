"""The catalog in a real browser: finding names, following links, and safety from hostile names."""

from __future__ import annotations

import contextlib

import pytest
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests import writers
from tests.browse.served import ALPINE, Place, Site, browsing

ESCAPED = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>\\u202e\\x1b[31m"


def cells(browser: Chrome, column: str) -> list[str]:
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, f"td.col-{column}")]


def shows(browser: Chrome, column: str, expected: list[str]) -> None:
    """Wait until the cells of the page are these, because a page appears some time after a key or a click."""
    waiting = WebDriverWait(browser, 20, ignored_exceptions=(StaleElementReferenceException,))
    with contextlib.suppress(TimeoutException):
        waiting.until(lambda _: cells(browser, column) == expected)
    assert cells(browser, column) == expected


def link(browser: Chrome, text: str) -> WebElement:
    return next(each for each in browser.find_elements(By.CSS_SELECTOR, "td a") if each.text == text)


def row_of(browser: Chrome, text: str) -> list[WebElement]:
    """Return the cells of the first row that has a cell with this text."""
    for row in browser.find_elements(By.CSS_SELECTOR, "table.rows-and-columns tbody tr"):
        found = row.find_elements(By.TAG_NAME, "td")
        if text in [cell.text for cell in found]:
            return found
    raise AssertionError(f"no row with {text!r} in {browser.find_element(By.TAG_NAME, 'body').text}")


def test_from_a_name_to_its_digest_its_layers_and_their_stores(browser: Chrome, site: Site, shown: Place) -> None:
    browser.get(site.url)
    browser.find_element(By.ID, "text").send_keys("alpine:3.16\n")
    shows(browser, "store", ["builds/alpine", "mirror/alpine"])
    assert set(cells(browser, "name")) == {f"{ALPINE}:3.16"}
    link(browser, shown.digests["3.16"]).click()
    shows(
        browser,
        "relation",
        ["is named"] * 2 + ["is a blob in"] * 2 + ["is a manifest", "has the config"] + ["has the layer"] * 3,
    )
    row_of(browser, "has the layer")[3].find_element(By.TAG_NAME, "a").click()
    shows(browser, "relation", ["is a blob in", "is a blob in", "is a layer of"])
    assert row_of(browser, "is a layer of")[2].text == f"{ALPINE}:3.16"
    link(browser, "mirror/alpine").click()
    shows(browser, "path", [f"{shown.root}/mirror/alpine"])
    link(browser, "mirror/alpine").click()
    assert sorted(cells(browser, "tag")) == ["3.16", "3.17"]


def test_an_image_index_leads_to_its_manifests_and_back(browser: Chrome, site: Site, shown: Place) -> None:
    browser.get(site.url)
    browser.find_element(By.ID, "digest").send_keys(shown.digests["index"] + "\n")
    assert row_of(browser, "linux/amd64")[3].text == shown.digests["child"]
    link(browser, shown.digests["child"]).click()
    assert row_of(browser, "is a manifest of")[3].text == shown.digests["index"]
    assert row_of(browser, "is a manifest of")[2].text == "docker.io/acme/app:1.0"


def test_a_facet_narrows_a_view(browser: Chrome, site: Site) -> None:
    browser.get(f"{site.url}catalog/images")
    facet = browser.find_element(By.CSS_SELECTOR, "[data-column=store]")
    next(each for each in facet.find_elements(By.TAG_NAME, "a") if each.text == "builds/app").click()
    shows(browser, "name", ["docker.io/acme/app:1.0"])


@pytest.mark.parametrize(
    "path", ["catalog/images", "catalog/annotations", "catalog/labels", "catalog/find-name?text=script", "-/plots", ""]
)
def test_a_hostile_name_is_shown_and_does_nothing(browser: Chrome, site: Site, path: str) -> None:
    browser.get(site.url + path)
    if path.startswith("catalog"):
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
    for path in ("", "catalog", "catalog/images", "catalog/report-usage", "catalog/where-is", "-/plots"):
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
    growth, sharing = browser.find_elements(By.CSS_SELECTOR, "svg.plot")
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
        writers.write_index(layout, writers.empty_index(index["manifests"][0], entry))
        own.read()
        browser.refresh()
        shows(browser, "digest", [own.digests["3.17"], moved["digest"]])
        assert [bool(each.strip()) for each in cells(browser, "until")] == [True, False]
        browser.find_element(By.NAME, "name").clear()
        browser.find_element(By.NAME, "name").send_keys("3.15\n")
        shows(browser, "store", ["builds/alpine"])
