"""A provider is known by its certificate, as the ID token's signature is not looked at."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.http.access.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.process import run_command, served
from tests.server.certificates import make_pair


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_provider_that_no_trusted_certificate_vouches_for_is_told_nothing(
    tmp_path: Path, trusted: bool
) -> None:
    pair, provider = make_pair(tmp_path), Provider()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.chain, pair.key)
    (tmp_path / "secret").write_text(CLIENT_SECRET, encoding="utf-8")
    at = TestServer(provider.app(), scheme="https")
    await at.start_server(ssl=context)
    provider.issuer = f"https://127.0.0.1:{at.port}"
    run_command(tmp_path, "user", "add", "anna", "--no-password", "--admin")
    run_command(tmp_path, "user", "sso", "link", "anna", provider.issuer, provider.subject)
    options = (
        "--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT_ID,
        "--oidc-client-secret-file", "secret",
    )  # fmt: skip
    wrapper = ("env", f"SSL_CERT_FILE={pair.chain}") if trusted else ()
    connector = TCPConnector(ssl=pair.client_context())
    with served(tmp_path, *options, wrapper=wrapper) as server:
        provider.redirect_uri = f"{server.url}login/oidc"
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as browser:

            async def go(url: str, **headers: str) -> tuple[int, str, str]:
                async with browser.get(
                    URL(url, encoded=True), headers=headers, allow_redirects=False
                ) as answer:
                    cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
                    return answer.status, answer.headers.get("Location", ""), cookie

            status, location, begun = await go(f"{server.url}login/oidc/begin")
            if not trusted:
                assert status == 503
                assert provider.asked == []
            else:
                _, back, _ = await go(location)
                status, location, session = await go(back, Cookie=begun)
                assert (status, location) == (303, "/files/")
                assert (await go(f"{server.url}stats", Cookie=session))[0] == 200
    await at.close()
    log = server.log.read_text()
    assert ("CERTIFICATE_VERIFY_FAILED" in log) != trusted
    # Its codes are in no log.
    assert "code=" not in log
