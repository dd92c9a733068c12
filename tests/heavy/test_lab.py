"""`make lab` in earnest: the real JupyterLab opens the course on its first notebook."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address and token of a JupyterLab that `make lab` started, and the page that it opened in
    the browser.
    """
    folder = tmp_path_factory.mktemp("browser")
    browser = folder / "browser"
    browser.write_text(
        f'#!/bin/sh\ncp "${{1#file://}}" {folder}/page && mv {folder}/page {folder}/opened\n'
    )
    browser.chmod(0o755)
    words = "--ServerApp.port=0" + (" --allow-root" if os.geteuid() == 0 else "")
    process = subprocess.Popen(
        ["make", "lab", f"LAB_ARGS={words}"],
        cwd=ROOT,
        env=os.environ | {"BROWSER": f"{browser} %s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", line):
                break
        else:
            pytest.fail(f"make lab ended without an address:\n{''.join(printed)}")
        for _ in range(300):
            if (folder / "opened").exists():
                break
            time.sleep(0.1)
        yield *found.groups(), (folder / "opened").read_text()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def get(address: str, token: str) -> bytes:
    request = urllib.request.Request(address, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_lab_opens_on_the_first_notebook(lab):
    address, _, opened = lab
    assert f"{address.replace('127.0.0.1', 'localhost')}/lab/tree/00-start-here.ipynb" in opened


def test_lab_serves_its_page(lab):
    address, token, _ = lab
    assert b"jupyter-config-data" in get(f"{address}/lab/tree/00-start-here.ipynb", token)


def test_lab_has_every_notebook(lab):
    address, token, _ = lab
    listed = {
        entry["name"] for entry in json.loads(get(f"{address}/api/contents/", token))["content"]
    }
    assert {path.name for path in (ROOT / "tutorials").glob("[0-9]*.ipynb")} <= listed


def test_lab_asks_for_its_token(lab):
    address, _, _ = lab
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{address}/api/contents/", "wrong")
    assert refused.value.code == 403
