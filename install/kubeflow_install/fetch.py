"""Bring the pinned programs and the pinned distribution: whole and as pinned, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import stat
import tarfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from kubeflow_install.ground import InstallError, Runner, data, machine, versions

SILENCE = 60
"""Seconds that a server may stay silent."""


def tool_path(name: str) -> Path:
    """Where a pinned program is, or will be."""
    return (
        data()
        / "tools"
        / f"{name}-{versions()[name]['version']}"
        / (f"{name}.exe" if machine().startswith("windows/") else name)
    )


def pinned(name: str) -> tuple[str, str, str]:
    """Where a program comes from on this machine, and its checksum: URL, algorithm, hexadecimal
    digest.

    Raises:
        InstallError: if there is no file for this machine, or no confirmed checksum.
    """
    pin = versions()[name]
    file = pin["files"].get(machine())
    if not file:
        raise InstallError(
            f"{name} {pin['version']} is not pinned for {machine()} in install/versions.json; take"
            f" one of {', '.join(pin['files'])}."
        )
    for algorithm in ("sha256", "sha512"):
        if file.get(algorithm):
            return file["url"], algorithm, file[algorithm]
    page = pin.get("page", file["url"])
    raise InstallError(
        f"{name} {pin['version']} for {machine()} has no confirmed checksum in"
        " install/versions.json, and without one nothing is installed; "
        f'write the one of {page} there, as "sha256" beside the url.'
    )


def tool(name: str, runner: Runner) -> None:
    """Bring a pinned program, unless it is there.

    Raises:
        InstallError: if it cannot be brought whole, or is another file than the pinned one.
    """
    url, algorithm, digest = pinned(name)
    place = tool_path(name)
    if runner.dry:
        print(f"download {url}  ({algorithm} {digest})  to {place}")
        return
    if place.is_file():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    archive = place.parent / urllib.parse.unquote(url.rsplit("/", 1)[1] + ".part")
    _download(url, archive, algorithm, digest, runner)
    part = place.with_name(place.name + ".new")
    _unpack(url, archive, place.name, part)
    part.chmod(part.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    os.replace(part, place)
    archive.unlink(missing_ok=True)


def _download(url: str, to: Path, algorithm: str, digest: str, runner: Runner) -> None:
    split = urllib.parse.urlsplit(url)
    if split.scheme != "https" and split.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise InstallError(
            f"{url} in install/versions.json is not https; write an https address there."
        )
    runner.say(f"  downloading {url}")
    seen = hashlib.new(algorithm)
    try:
        with urllib.request.urlopen(url, timeout=SILENCE) as answer, to.open("wb") as file:
            while True:
                block = answer.read(1 << 20)
                if not block:
                    break
                seen.update(block)
                file.write(block)
            length = answer.headers.get("Content-Length")
            if length and file.tell() != int(length):
                raise http.client.IncompleteRead(b"", int(length) - file.tell())
    except (OSError, http.client.HTTPException) as error:
        to.unlink(missing_ok=True)
        raise InstallError(
            f"the download of {url} broke off ({error or type(error).__name__}); see to the"
            " network, then give the same command again."
        ) from None
    if seen.hexdigest() != digest:
        to.unlink(missing_ok=True)
        raise InstallError(
            f"{url} is not the file that install/versions.json pins: its {algorithm} is"
            f" {seen.hexdigest()} and should be {digest}; nothing of it was kept. Try again, and if"
            " it stays so, tell the course's authors and do not install it."
        )


def _unpack(url: str, archive: Path, member: str, to: Path) -> None:
    if url.endswith(".tar.gz"):
        with tarfile.open(archive) as tar, to.open("wb") as file:
            shutil.copyfileobj(tar.extractfile(member), file)
    elif url.endswith(".zip"):
        with (
            zipfile.ZipFile(archive) as packed,
            packed.open(member) as inside,
            to.open("wb") as file,
        ):
            shutil.copyfileobj(inside, file)
    else:
        shutil.copyfile(archive, to)


def distribution_path() -> Path:
    """Where the pinned kubeflow/community-distribution is, or will be."""
    return data() / "distribution" / versions()["distribution"]["commit"]


def distribution(runner: Runner) -> None:
    """Bring the pinned commit of the distribution, unless it is there. git checks every object
    against its hash. What its layers of Pipelines take from Argo, over the network and by a tag,
    they then take by the tag's commit.

    Raises:
        InstallError: if it cannot be brought, or names another Argo than the pinned one.
    """
    pin, place = versions()["distribution"], distribution_path()
    if place.is_dir() and not runner.dry:
        return
    part = place.with_name(f"{place.name}.part")
    if not runner.dry:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    runner.run("git", "init", "--quiet", part)
    # Windows would end lines and shorten paths its own way
    plain = ("-c", "core.autocrlf=false", "-c", "core.longpaths=true")
    runner.run(
        "git", "-C", part, "fetch", "--quiet", "--depth", "1", pin["repository"], pin["commit"]
    )
    runner.run("git", "-C", part, *plain, "checkout", "--quiet", "--detach", pin["commit"])
    if not runner.dry:
        pin_argo(part)
        os.replace(part, place)


def pin_argo(folder: Path) -> None:
    """Name Argo's bases by commit in every kustomization of the folder: a tag can be moved.

    Raises:
        InstallError: if one of them names another version than the pinned one.
    """
    pin = versions()["argo"]
    base = re.compile(rf"({re.escape(pin['address'])}\S*\?ref=)(\S+)")
    for file in sorted(folder.rglob("kustomization.yaml")):
        text = file.read_bytes().decode("utf-8")
        other = {version for _, version in base.findall(text)} - {pin["version"]}
        if other:
            raise InstallError(
                f"{file.relative_to(folder)} of the distribution takes Argo {min(other)}, and"
                f" install/versions.json pins {pin['version']}; write that version and its commit"
                " there."
            )
        by_commit = base.sub(rf"\g<1>{pin['commit']}", text)
        if by_commit != text:
            file.write_bytes(by_commit.encode("utf-8"))
