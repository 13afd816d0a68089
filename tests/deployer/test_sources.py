"""Apps out of folders, git repositories and archives: the same content, and nothing else."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import socket
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from deployer import Deployer, apps
from deployer.api import Call
from deployer.apps import archive, bundle, reference, sources
from deployer.apps.sources import Fetch, Sources
from deployer.errors import FileError, InterruptedOperation
from deployer.lifecycle.create import Wish
from deployer.paths import Workspace
from tests.commands.conftest import Workspace as CommandLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployer.apps.manifest import App

APP = """\
name = "shop"
version = "1.4.0"

[[services]]
name = "web"
command = ["sleep", "600"]
"""
PERSON = {
    f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        env={**os.environ, **PERSON},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A work tree with the app in its folder `app`, on the branch main, tagged v1."""
    folder = tmp_path / "repository"
    app = folder / "app"
    (app / "bin").mkdir(parents=True)
    (app / "app.toml").write_text(APP)
    (app / "bin" / "run").write_text("#!/bin/sh\n")
    (app / "bin" / "run").chmod(0o755)
    (app / "start").symlink_to("bin/run")
    (app / ".gitignore").write_text("*.log\n")
    # what a repository may want of its archives must not make them differ from a checkout
    (folder / ".gitattributes").write_text(
        "bin export-ignore\n*.txt export-subst\n*.crlf eol=crlf\n"
    )
    (app / "version.txt").write_text("$Format:%H$\n")
    (app / "page.crlf").write_bytes(b"one\r\ntwo\r\n")
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "-a", "v1", "-m", "v1")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "workspace").mkdir()
    return Workspace(tmp_path / "workspace", tmp_path / "workspace" / ".deployer")


def change(repository: Path, text: str) -> str:
    """A new commit on main."""
    (repository / "app" / "version.txt").write_text(text)
    git(repository, "commit", "-q", "-a", "-m", text)
    return git(repository, "rev-parse", "HEAD")


def always(workspace: Workspace) -> Sources:
    return Sources(workspace, Fetch.ALWAYS)


def found(workspace: Workspace, text: str) -> App:
    return apps.find(workspace, text, always(workspace))


def commit_of(app: App) -> str:
    commit = app.source.commit
    assert commit
    return commit


def packed(folder: Path, target: Path, top: str = ".") -> None:
    with tarfile.open(target, "w:gz", format=tarfile.GNU_FORMAT) as out:
        out.add(folder, top)


# ---- one content, one digest


def test_the_same_content_has_one_digest_wherever_it_comes_from(
    workspace: Workspace, repository: Path
) -> None:
    (workspace.root / "app").symlink_to(repository / "app")
    packed(repository / "app", workspace.root / "flat.tar.gz")
    packed(repository / "app", workspace.root / "topped.tgz", "shop-1.4.0")
    commit = git(repository, "rev-parse", "HEAD")
    bare = workspace.root / "bare.git"
    git(repository, "clone", "-q", "--bare", ".", str(bare))
    texts = [
        *("./app", "flat.tar.gz", "./topped.tgz"),
        *(f"../repository#{ref}:app" for ref in ("main", "v1", commit, commit[:10], "HEAD", "")),
        *(f"file://{repository}#main:app", f"file://{repository}#:app", "./bare.git#main:app/"),
    ]

    digests = {
        text: bundle.scan((app := found(workspace, text)).folder, app.shown).digest
        for text in texts
    }

    assert set(digests.values()) == {digests["./app"]}, digests


def test_what_the_users_git_is_told_to_run_does_not_run(
    workspace: Workspace, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[core]\nhooksPath = {hook.parent}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    change(repository, "as a person does it")
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()

    assert found(workspace, "../repository#main:app").manifest.name == "shop"

    assert not (tmp_path / "ran").exists()


def test_what_git_lfs_keeps_elsewhere_is_refused(workspace: Workspace, repository: Path) -> None:
    change(repository, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")

    with pytest.raises(FileError, match=r"app/version\.txt is kept by git-lfs"):
        found(workspace, "../repository#main:app")


# ---- which commit


def test_a_branch_is_settled_once_and_the_next_operation_asks_again(
    workspace: Workspace, repository: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    operation = always(workspace)
    text = "../repository#main:app"
    assert commit_of(apps.find(workspace, text, operation)) == first

    second = change(repository, "two")

    assert commit_of(apps.find(workspace, text, operation)) == first
    assert commit_of(apps.find(workspace, text)) == first  # a reading command asks nobody
    assert commit_of(apps.find(workspace, text, Sources(workspace, Fetch.MISSING))) == first
    app = found(workspace, text)
    assert commit_of(app) == second
    assert (app.folder / "version.txt").read_text() == "two"


def test_nothing_is_fetched_for_a_reading_command(workspace: Workspace, repository: Path) -> None:
    with pytest.raises(FileError, match=r"was not fetched yet.*validate"):
        apps.find(workspace, "../repository#main:app")
    assert not workspace.state_dir.exists()


def test_a_commit_that_is_there_needs_no_repository(
    workspace: Workspace, repository: Path, tmp_path: Path
) -> None:
    place = f"file://{repository}"
    commit = commit_of(found(workspace, f"{place}#main:app"))
    repository.rename(tmp_path / "moved")

    assert commit_of(found(workspace, f"{place}#{commit}:app")) == commit
    assert commit_of(apps.find(workspace, f"{place}#main:app")) == commit
    with pytest.raises(FileError, match=r"can't be read: .*does not (appear|exist).*try: git"):
        found(workspace, f"{place}#main:app")


def test_no_branch_takes_the_name_of_a_commit(workspace: Workspace, repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    change(repository, "two")
    git(repository, "update-ref", f"refs/heads/{first}", "HEAD")

    assert commit_of(found(workspace, f"../repository#{first}:app")) == first


def test_a_commit_on_no_branch_is_asked_for_by_its_name(
    workspace: Workspace, repository: Path
) -> None:
    lost = change(repository, "lost")
    git(repository, "reset", "-q", "--hard", "v1")

    assert commit_of(found(workspace, f"../repository#{lost}:app")) == lost


def test_a_shallow_checkout_is_a_repository_too(
    workspace: Workspace, repository: Path, tmp_path: Path
) -> None:
    change(repository, "two")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    for text in ("three", "four"):
        commit = change(tmp_path / "shallow", text)

        assert commit_of(found(workspace, "../shallow#main:app")) == commit


def test_a_branch_that_became_a_folder_of_branches_is_followed(
    workspace: Workspace, repository: Path
) -> None:
    git(repository, "branch", "next")
    found(workspace, "../repository#next:app")
    git(repository, "branch", "-m", "next", "next/one")

    assert found(workspace, "../repository#next/one:app").manifest.name == "shop"
    with pytest.raises(FileError, match="no branch, tag or commit 'next'"):
        found(workspace, "../repository#next:app")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#mian:app", "no branch, tag or commit 'mian' \\(did you mean 'main'"),
        ("#" + "0" * 40, "no branch, tag or commit '000"),
        ("#main:ap", "no folder 'ap' at [0-9a-f]{12} \\(did you mean 'app'"),
        ("#main", "repository#main is no application.* write ../repository#main:FOLDER"),
        ("#main:../app", "stays inside"),
        ("#-u", "can't be a branch"),
        ("#a..b", "can't be a branch"),
        ("#--upload-pack=touch x", "can't be a branch"),
    ],
)
def test_a_reference_to_what_is_not_there_is_refused(
    workspace: Workspace, repository: Path, text: str, message: str
) -> None:
    with pytest.raises(FileError, match=message):
        found(workspace, f"../repository{text}")
    assert repository.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ext::sh -c touch% ran#main", "doesn't come over ext::"),
        ("http://example.org/x.git", "doesn't come over http://"),
        ("git://example.org/x.git", "doesn't come over git://"),
        ("fd::17#main", "doesn't come over fd::"),
        ("https://example.org/x.tar.gz", "download it"),
        ("https://hidden@example.org/x.git", "password or token"),
        ("https://user:hidden@example.org/x.git", "password or token"),
        ("ssh://git:hidden@example.org/x.git", "password or token"),
        ("ssh://-oProxyCommand=id/x", "names no host"),
        ("https://[::1/x.git", "malformed"),
        ("-oProxyCommand=id@example.org:x#main", "there is no folder"),
        ("--upload-pack=id#main", "there is no folder"),
        ("../nothing#main", "there is no folder"),
        ("nothing.tar.gz", "there is no file"),
        ("https://example.org/\nx", "control character"),
    ],
)
def test_a_source_that_runs_programs_or_shows_secrets_is_refused(
    workspace: Workspace, text: str, message: str
) -> None:
    with pytest.raises(FileError, match=message) as refusal:
        found(workspace, text)

    assert "hidden" not in str(refusal.value.to_dict())
    assert not workspace.state_dir.exists()


def test_without_git_that_is_said(
    workspace: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(FileError, match="git is not installed"):
        found(workspace, "../repository#main:app")


def test_a_fetch_ends_when_the_operation_does(workspace: Workspace) -> None:
    calls = 0

    def interrupted() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise InterruptedOperation("Interrupted")

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        text = f"https://127.0.0.1:{silent.getsockname()[1]}/x.git#main"
        began = time.monotonic()
        with pytest.raises(InterruptedOperation):
            Sources(workspace, Fetch.ALWAYS, check=interrupted).find(text)

    assert time.monotonic() - began < 10
    names = [child.name() for child in psutil.Process().children(recursive=True)]
    assert not [name for name in names if name.startswith("git")]


# ---- the cache


def _lock(clone: Path) -> None:
    (clone / "refs" / "heads" / "main.lock").touch()


def _lose_objects(clone: Path) -> None:
    shutil.rmtree(clone / "objects")


def _cut_short(clone: Path) -> None:
    for path in (clone / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"")


@pytest.mark.parametrize("harm", [_lock, _lose_objects, _cut_short])
def test_what_a_killed_git_left_behind_is_made_anew(
    workspace: Workspace, repository: Path, harm: Callable[[Path], None]
) -> None:
    text = "../repository#main:app"
    found(workspace, text)
    (clone,) = (workspace.state_dir / "sources").glob("*.git")
    harm(clone)
    second = change(repository, "two")

    assert commit_of(found(workspace, text)) == second


def test_the_last_used_are_kept_and_all_that_is_in_use(
    workspace: Workspace, repository: Path
) -> None:
    held = found(workspace, "../repository#main:app")
    os.utime(held.folder.parent, (0, 0))
    for number in range(sources.KEPT + 2):
        (repository / "app" / "version.txt").write_text(str(number))
        packed(repository / "app", workspace.root / "x.tgz")
        newest = found(workspace, "x.tgz")
        del newest

    cache = workspace.state_dir / "sources"
    folders = [path for path in cache.iterdir() if path.is_dir() and path.suffix != ".git"]
    assert held.folder.parent in folders
    assert len(folders) == sources.KEPT + 1
    assert len(list(cache.glob("*.git"))) == 1
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_change_of_an_archive_is_seen(workspace: Workspace, repository: Path) -> None:
    packed(repository / "app", workspace.root / "x.tgz")
    found(workspace, "x.tgz")
    (repository / "app" / "version.txt").write_text("two")
    packed(repository / "app", workspace.root / "x.tgz")

    assert (apps.find(workspace, "x.tgz").folder / "version.txt").read_text() == "two"


# ---- hostile archives


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


SYM, LNK, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
HOSTILE = {
    "absolute": ([member("/tmp/x")], "'/tmp/x' has an absolute path"),
    "parent": ([member("../x")], "'../x' has '..' in its path"),
    "parent inside": ([member("a/../../x")], "has '..' in its path"),
    "absolute link": ([member("l", SYM, "/etc/passwd")], "'l' is a link to outside"),
    "link up": ([member("a/l", SYM, "../../x")], "'a/l' is a link to outside"),
    "link through a link": (
        [member("b", SYM, "."), member("l", SYM, "b/../../x")],
        "'l' is a link to outside",
    ),
    "behind a link": ([member("l", SYM, "a"), member("l/x")], "'l/x' lies behind a link"),
    "folder over a link": ([member("l", SYM, "a"), member("l", DIR)], "'l' lies behind a link"),
    "below a file": ([member("a"), member("a/x")], "lies in what is no folder"),
    "file over a folder": ([member("a/x"), member("a")], "'a' is a folder too"),
    "hard link out": ([member("h", LNK, "../../secret")], "'h' is a hard link to no file"),
    "absolute hard link": ([member("h", LNK, "/etc/passwd")], "'h' is a hard link to no file"),
    "hard link to a link": (
        [member("l", SYM, "a"), member("h", LNK, "l")],
        "'h' is a hard link to no file",
    ),
    "hard link behind a link": (
        [member("a/x"), member("l", SYM, "a"), member("h", LNK, "l/x")],
        "'h' is a hard link to no file",
    ),
    "character device": ([member("d", tarfile.CHRTYPE)], "'d' is a device"),
    "block device": ([member("d", tarfile.BLKTYPE)], "'d' is a device"),
    "pipe": ([member("p", tarfile.FIFOTYPE)], "'p' is a pipe"),
    "unknown kind": ([member("u", b"Z")], "more than 2 GB|neither a file"),
    "far too large": ([member("a", size=3 * 10**9)], "'a' makes it more than 2 GB"),
    "impossible name": ([member("a" * 300)], "has an impossible path: File name too long"),
}


def hostile(path: Path, members: list[tarfile.TarInfo]) -> None:
    """Headers alone, in an order and with values that no library would write."""
    good = member("app.toml", size=len(APP))
    raw = good.tobuf() + APP.encode().ljust(512, b"\0")
    raw += b"".join(info.tobuf(tarfile.GNU_FORMAT) for info in members)
    path.write_bytes(gzip.compress(raw + b"\0" * 1024, 1))


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_member_is_refused_by_its_name(workspace: Workspace, case: str) -> None:
    members, message = HOSTILE[case]
    secret = workspace.root.parent / "secret"
    secret.write_text("untouched")
    hostile(workspace.root / "x.tar.gz", members)
    before = sorted(workspace.root.parent.iterdir())

    with pytest.raises(FileError, match=message):
        found(workspace, "x.tar.gz")

    assert secret.read_text() == "untouched"
    assert sorted(workspace.root.parent.iterdir()) == before
    left = [path.name for path in (workspace.state_dir / "sources").iterdir()]
    assert left == [".gitignore"]


def test_members_of_one_path_never_write_through_a_link(workspace: Workspace) -> None:
    with tarfile.open(workspace.root / "x.tgz", "w:gz") as out:
        for name, text in (("a", b"first"), ("app.toml", APP.encode()), ("a", b"again")):
            info = member(name, size=len(text))
            out.addfile(info, io.BytesIO(text))
            if text == b"first":
                out.addfile(member("hard", LNK, "a"))
                out.addfile(member("hard", LNK, "./hard"))
                out.addfile(member("soft", SYM, "a"))
        out.addfile(member("soft", size=3), io.BytesIO(b"new"))

    folder = found(workspace, "x.tgz").folder

    texts = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "app.toml"}
    assert texts == {"a": b"again", "hard": b"first", "soft": b"new"}
    assert not (folder / "soft").is_symlink()


def test_too_many_entries_and_too_long_headers_are_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 50)
    hostile(workspace.root / "many.tgz", [member(f"a{number}") for number in range(60)])
    long = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=archive.MAX_HEADER + 1)
    hostile(workspace.root / "long.tgz", [long])
    hostile(workspace.root / "endless.tgz", [member("h", tarfile.XHDTYPE)] * 5000)

    with pytest.raises(FileError, match="'a49' is one of more than 50 entries"):
        found(workspace, "many.tgz")
    with pytest.raises(FileError, match="a header in it is far too long"):
        found(workspace, "long.tgz")
    with pytest.raises(FileError, match=r"endless.tgz can't be unpacked"):
        found(workspace, "endless.tgz")


def test_a_stream_that_goes_on_for_ever_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 10**6)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    # nothing but zeros after the end of the archive
    (workspace.root / "x.tgz").write_bytes(gzip.compress(bytes(5 * 10**6), 1))

    with pytest.raises(FileError, match="holds more than"):
        found(workspace, "x.tgz")


@pytest.mark.parametrize("harm", ["cut", "checksum", "header", "zip", "empty", "folder", "text"])
def test_a_damaged_archive_is_refused(workspace: Workspace, repository: Path, harm: str) -> None:
    path = workspace.root / "x.tar.gz"
    noise = random.Random(1).randbytes(50_000)
    (repository / "app" / "noise").write_bytes(noise)
    packed(repository / "app", path)
    whole = path.read_bytes()
    plain = bytearray(gzip.decompress(whole))
    plain[plain.index(b"ustar", 1024) - 100] ^= 0x55
    path.unlink()
    match harm:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "checksum":
            path.write_bytes(whole[:-8] + b"\0" * 8)
        case "header":
            path.write_bytes(gzip.compress(bytes(plain), 1))
        case "zip":
            path.write_bytes(b"PK\3\4" + bytes(100))
        case "empty":
            path.write_bytes(b"")
        case "folder":
            os.mkfifo(path)
        case "text":
            path.write_bytes(gzip.compress(b"hello " * 1000))

    with pytest.raises(FileError, match=r"x\.tar\.gz (can't be unpacked|is no file)"):
        found(workspace, "x.tar.gz")


# ---- what is recorded


def test_a_folder_of_a_work_tree_has_its_commit_and_whether_it_differs(
    workspace: Workspace, repository: Path
) -> None:
    def source() -> tuple[Any, Any]:
        record = apps.find(workspace, "../repository/app").source.to_record()
        return record["commit"], record["dirty"]

    commit = git(repository, "rev-parse", "HEAD")
    (repository / "elsewhere").write_text("not of the app")
    assert source() == (commit, False)
    (repository / "app" / "new").write_text("")
    assert source() == (commit, True)
    git(repository, "add", "app/new")
    git(repository, "commit", "-q", "-m", "two")
    assert source() == (git(repository, "rev-parse", "HEAD"), False)
    (repository / ".gitignore").write_text("app\n")
    git(repository, "rm", "-q", "-r", "--cached", "app")
    git(repository, "commit", "-q", "-a", "-m", "three")
    assert source()[1] is True  # git says nothing of it any more
    shutil.rmtree(repository / ".git")
    assert source() == (None, None)


def test_a_release_keeps_its_source_and_taking_down_needs_none(
    tmp_path: Path, repository: Path
) -> None:
    line = CommandLine(tmp_path / "workspace")
    line.root.mkdir()
    deployer = Deployer.open(line.root)
    text = reference.from_here(f"{repository}#main:app", line.root)
    deployer.create("demo", Wish(app=text), Call())
    for verb in ("provision", "configure"):
        deployer.run_verb("demo", verb)
    commit = change(repository, "two")
    deployer.run_verb("demo", "release")
    source = {"kind": "git", "reference": text, "commit": commit, "dirty": False}

    try:
        assert deployer.show("demo").source == source
        assert f"commit          {commit[:12]}\n" in line("show", "demo").out
        made = line("history", "demo", "-n", "1", "--output", "json").data["operations"][0]
        assert made["release"]["source"] == source
        detail = line("history", "demo", "--operation", made["id"]).out
        assert f"1: shop 1.4.0 from {text} at {commit[:12]}" in detail
        change(repository, "three")
        assert deployer.check("demo") == []  # nothing is fetched to look
    finally:
        repository.rename(tmp_path / "moved")
        shutil.rmtree(line.root / ".deployer" / "sources")
        ended = deployer.run_verb("demo", "destroy")
    assert ended.state == "destroyed"


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("guestbook", "guestbook"),
        ("./app", "../here/app"),
        ("x.tgz", "../here/x.tgz"),
        ("../repository#main:app", "../repository#main:app"),
        ("https://example.org/x.git#main:a/b", "https://example.org/x.git#main:a/b"),
        ("git@example.org:x/y.git", "git@example.org:x/y.git"),
        ("../workspace/app#v1", "./app#v1"),
    ],
)
def test_what_is_named_from_here_is_written_as_seen_from_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, written: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert reference.from_here(typed, tmp_path / "workspace") == written
