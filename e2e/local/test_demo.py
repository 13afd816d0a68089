"""The demo application, for a person at a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.support import fetch, listens, post, private_folder, services, until, workers

if TYPE_CHECKING:
    from e2e.support import Site


def test_an_entry_survives_stop_and_run_and_its_words_are_counted(site: Site) -> None:
    demo = site.environment()
    url = demo("deploy").data["urls"][0]
    assert "<h1>Guestbook</h1>" in fetch(url)

    post(url, name="Ada", text="three words <b>here</b>")

    until("the worker counts words", lambda: "3 words" in fetch(url))
    assert demo("stop").data["state"] == "released"
    assert not listens(demo.shown["settings"]["port"])
    assert demo("run").data["state"] == "running"
    page = fetch(url)
    assert "three words &lt;b&gt;here&lt;/b&gt;" in page
    assert "Ada" in page


def test_destroy_leaves_nothing_but_the_history_and_the_file(site: Site) -> None:
    demo = site.environment()
    deployed = demo("deploy").data
    uuid, port = deployed["uuid"], deployed["settings"]["port"]
    assert services(uuid)
    assert private_folder(uuid).is_dir()
    file = demo.file.read_text(encoding="utf-8")

    assert demo("destroy", "--yes").data["state"] == "destroyed"

    assert services(uuid) == []
    assert workers(uuid) == []
    assert not listens(port)
    assert not private_folder(uuid).exists()
    assert not list(private_folder(uuid).parent.glob(f"ansible/{uuid[:8]}-*"))
    assert demo.file.read_text(encoding="utf-8") == file
    left = {
        str(path.relative_to(site.root)) for path in site.root.rglob("*") if not path.is_dir()
    } - {str(path.relative_to(site.root)) for path in demo.folder.glob("logs/*.jsonl")}
    assert left - {".deployer/state.db-wal", ".deployer/state.db-shm"} == {
        "environments/demo.toml",
        ".deployer/.gitignore",
        ".deployer/state.db",
    }
    assert [path.name for path in demo.folder.iterdir()] == ["logs"]
    assert [o["verb"] for o in demo.operations] == ["create", "deploy", "destroy"]
