"""What people upload does not run, whatever a script of the page might be made to do with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.steps import Visit

EVIL = b"postMessage('ran');"
# Tell what comes of a worker: its first word, the directive that forbids it, or its end.
_START = """([address, type]) => new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) =>
        resolve(event.effectiveDirective), { once: true });
    const worker = new Worker(address, { type });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = () => resolve("failed");
})"""
_IMPORT = """(address) => new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) =>
        resolve(event.effectiveDirective), { once: true });
    import(address).then(() => resolve("ran"), () => {});
})"""


@pytest.fixture
def page(chromium: Browser, visit: Visit) -> Iterator[Page]:
    """Return the page as it is where browsers know no Trusted Types, with an uploaded script."""
    visit.put("evil.js", EVIL)
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/files/*/", _without_trusted_types)
    page.goto(f"{visit.url}files/{visit.folder}/")
    yield page
    context.close()


def _without_trusted_types(route: Route) -> None:
    response = route.fetch()
    policy = response.headers["content-security-policy"]
    kept = [one for one in policy.split(";") if "trusted-types" not in one]
    assert len(kept) == len(policy.split(";")) - 2
    route.fulfill(
        response=response, headers={**response.headers, "content-security-policy": ";".join(kept)}
    )


@pytest.mark.parametrize("kind", ["classic", "module"])
def test_nothing_but_the_pages_own_worker_starts(page: Page, visit: Visit, kind: str) -> None:
    own = page.evaluate(_START, ["/static/hasher.js", kind])
    assert own == {"ready": True}
    for address in (
        f"/files/{visit.folder}/evil.js",
        "/static/page.js",
        "data:text/javascript,postMessage('ran')",
        f"/static/../files/{visit.folder}/evil.js",
    ):
        assert page.evaluate(_START, [address, kind]) == "worker-src"
    blob = f"URL.createObjectURL(new Blob([{EVIL.decode()!r}], {{ type: 'text/javascript' }}))"
    assert page.evaluate(_START, [page.evaluate(blob), kind]) == "worker-src"


def test_an_uploaded_script_cannot_be_imported(page: Page, visit: Visit) -> None:
    found = page.evaluate(_IMPORT, f"/files/{visit.folder}/evil.js")
    assert found.startswith("script-src")


def test_scripts_can_name_no_other_code(chromium: Browser, visit: Visit) -> None:
    """Where browsers know Trusted Types, the address of a worker is no mere text."""
    visit.put("evil.js", EVIL)
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{visit.url}files/{visit.folder}/")
        for attempt in (
            f"new Worker('/files/{visit.folder}/evil.js')",
            "trustedTypes.createPolicy('mine', { createScriptURL: (address) => address })",
        ):
            script = f"() => {{ try {{ {attempt} }} catch (error) {{ return error.name }} }}"
            assert page.evaluate(script) == "TypeError"
