"""Downloads: whole and as pinned, or not at all."""

import json
import re

import pytest

from tests.install.conftest import ARGO, ROOT

PINS = json.loads((ROOT / "install/versions.json").read_text())


def test_a_file_with_another_checksum_is_not_kept_and_not_run(machine):
    machine.downloads.files["/kind"] += b"# one line more\n"
    done = machine.run("up", "demo")
    assert done.code == 2
    assert "is not the file that install/versions.json pins" in done.err
    assert "do not install it" in done.err
    assert not [name for name in machine.kept if name.endswith("kind")]
    assert not machine.called("kind")


def test_a_download_that_is_cut_off_is_not_kept_and_the_next_up_brings_it(machine):
    machine.downloads.cut = {"/kubectl"}
    done = machine.run("up", "demo")
    assert done.code == 2
    assert "broke off" in done.err
    assert "give the same command again" in done.err
    assert not [name for name in machine.kept if name.endswith("kubectl") or name.endswith(".part")]
    machine.downloads.cut = set()
    machine.downloads.asked.clear()
    assert machine.run("up", "demo").code == 0
    assert "/kind" not in machine.downloads.asked  # was whole before


def test_an_address_that_is_neither_https_nor_this_machine_is_refused(machine):
    for file in machine.pins["kind"]["files"].values():
        file["url"] = "http://192.0.2.1/kind"
    machine.pin()
    done = machine.run("up", "demo")
    assert done.code == 2
    assert "is not https" in done.err


@pytest.mark.parametrize("name", ["kind", "kubectl", "kustomize"])
def test_what_is_pinned_has_a_checksum_for_both_processors_and_a_word_on_where_it_was_found(name):
    pin = PINS[name]
    assert pin["confirmed"]
    for system in ("linux/amd64", "linux/arm64"):
        assert re.fullmatch(r"[0-9a-f]{64}", pin["files"][system]["sha256"])
    for file in pin["files"].values():
        assert file["url"].startswith("https://")
        assert pin["version"] in file["url"].replace("%2F", "/")
        assert re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{128}", file.get("sha256") or file["sha512"])


def test_the_node_and_the_distribution_are_pinned_by_content():
    assert re.fullmatch(r"kindest/node:v[\d.]+@sha256:[0-9a-f]{64}", PINS["node"]["image"])
    assert re.fullmatch(r"[0-9a-f]{40}", PINS["distribution"]["commit"])
    assert re.fullmatch(r"[0-9a-f]{40}", PINS["argo"]["commit"])


def test_argos_bases_are_taken_by_commit_and_not_by_a_tag(machine):
    assert machine.run("up", "demo").code == 0
    commit = machine.pins["distribution"]["commit"]
    text = (machine.data / "distribution" / commit / ARGO).read_text()
    assert f"workflow-controller-rbac?ref={PINS['argo']['commit']}\n" in text
    assert PINS["argo"]["version"] not in text
    assert "- ../../base\n" in text


def test_a_distribution_that_takes_another_argo_is_refused_and_not_kept(machine):
    machine.pins["argo"]["version"] = "v3.7.4"
    machine.pin()
    done = machine.run("up", "demo")
    assert done.code == 2
    assert "takes Argo v3.7.3, and install/versions.json pins v3.7.4" in done.err
    assert not (machine.data / "distribution" / machine.pins["distribution"]["commit"]).exists()
