from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from router.control.console.assets import FILES, VERSION

ROOT = Path(__file__).parents[4]


def test_evidence_is_verified_by_the_script_that_strangers_have() -> None:
    """Byte for byte that of the offline page; after a change there: cp verifier/web/verify.js router/control/console/static/"""
    assert FILES["verify.js"] == (ROOT / "verifier/web/verify.js").read_bytes()


def test_files_are_kept_by_their_digest_and_no_others_are_there(client: TestClient) -> None:
    """For good under the present digest, not at all under another; no way leads out of the folder."""
    kept = client.get(f"/console/static/{VERSION}/console.css")
    assert (kept.status_code, kept.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
    assert client.get("/console/static/0000/console.css").headers["cache-control"] == "no-store"
    for name in ("nothing.css", "..%2Fhtml.py", "%2e%2e%2fhtml.py"):
        assert client.get(f"/console/static/{VERSION}/{name}").status_code == 404


def test_nothing_of_it_comes_from_elsewhere() -> None:
    """No address of another host, no style and no script within a page."""
    texts = {name: content.decode() for name, content in FILES.items() if name != "verify.js"}
    texts |= {path.name: path.read_text() for path in (ROOT / "router/control/console/templates").iterdir()}
    for name, text in texts.items():
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), name
        assert "https://" not in text, name
        for inline in (" style=", " onclick=", "<style", "<script>", "innerHTML =") if name != "fragment.js" else ():
            assert inline not in text, (name, inline)
        assert "|safe" not in text, name


def test_a_page_is_made_in_the_theme_that_was_chosen_and_in_no_other(client: TestClient) -> None:
    """By a cookie, so that no script runs before the first paint; what nobody could have chosen is not written into a page."""
    for chosen, written in (("dark", ' data-theme="dark"'), ("light", ' data-theme="light"'), ('"><b>', ""), ("", "")):
        cookie = {"cookie": f"lockgate-theme={chosen}"} if chosen else {}
        told = client.get("/console/nowhere", headers={"accept": "text/html", **cookie})
        assert f'<html lang="en"{written}>' in told.text, chosen
    assert "theme.js" not in told.text
