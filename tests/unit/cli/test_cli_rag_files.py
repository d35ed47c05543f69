"""The rag commands over real files and a real store."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from llmspell.cli.entry import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(home, capsys):
    def run(*words, code=0):
        assert main(["rag", *words, "--output", "json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def pdf(text):
    """A PDF of one page, the smallest that readers accept."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    found, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(found)
    return found + b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        start,
    )


@pytest.fixture
def library(home):
    folder = home / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "owl.md").write_text("# Owls\n\nOwls hunt at night.\n\n# Food\n\nThey eat mice.\n")
    (folder / "bee.html").write_text("<html><script>no()</script><p>Bees <b>dance</b>.</p></html>")
    (folder / "deep" / "bat.pdf").write_bytes(pdf("Bats hear echoes"))
    (folder / "picture.bin").write_bytes(b"\0\xff")
    return folder


def test_ingest_reads_text_markup_and_pdf_and_names_what_it_skips(call, library):
    done = call("ingest", "docs", "--recursive", "--strategy", "markdown", "--metadata", "lang=en")
    assert (done["documents"], done["chunks"], done["vectors"], done["unchanged"]) == (3, 4, 4, 0)
    assert [item["source"] for item in done["skipped"]] == ["docs/picture.bin"]
    assert done["embedder"] == "builtin"
    again = call("ingest", "docs", "--recursive", "--strategy", "markdown", "--metadata", "lang=en")
    assert (again["documents"], again["unchanged"], again["chunks"]) == (3, 3, 0)
    for query, source in (("echoes", "docs/deep/bat.pdf"), ("dance", "docs/bee.html"), ("mice", "docs/owl.md")):
        hit = call("search", query, "-k", "1")["results"][0]
        assert (hit["source"], hit["metadata"]["lang"]) == (source, "en")
        assert set(hit) == {"id", "score", "text", "source", "metadata"}
    assert call("search", "no()", "--mode", "keyword", "--filter", "lang=en")["results"] == []
    assert call("search", "owls", "--filter", '{"lang": {"ne": "en"}}')["results"] == []


def test_a_folder_is_not_gone_into_unasked_and_patterns_choose(call, library):
    assert call("ingest", "docs", "--glob", "*.md")["documents"] == 1
    assert call("ingest", "docs", "--glob", "*.pdf", "--recursive", "--collection", "pdf")["documents"] == 1
    assert [item["name"] for item in call("collections")["collections"]] == ["default", "pdf"]


def test_places_are_apart(call, home):
    (home / "a.txt").write_text("the owl of acme")
    call("ingest", "a.txt", "--tenant", "acme")
    call("ingest", "a.txt", "--scope", "user:ann")
    assert call("search", "owl")["results"] == []
    assert len(call("search", "owl", "--tenant", "acme")["results"]) == 1
    assert len(call("search", "owl", "--scope", "user:ann")["results"]) == 1
    found = call("stats")
    assert {item["scope"]: item["documents"] for item in found["scopes"]} == {"tenant:acme": 1, "user:ann": 1}
    assert call("stats", "--tenant", "acme")["total_documents"] == 1
    assert found["dimensions"] == 384


def test_standard_input_is_a_document(call, monkeypatch):
    class Stream:
        def __init__(self, raw):
            import io

            self.buffer = io.BytesIO(raw)

    monkeypatch.setattr(sys, "stdin", Stream("gr\u00fc\u00dfe von der Eule".encode()))
    assert call("ingest", "-")["documents"] == 1
    assert call("search", "eule")["results"][0]["id"] == "stdin"
    monkeypatch.setattr(sys, "stdin", Stream(b"\xff\xfe"))
    assert call("ingest", "-", code=1)["skipped"][0]["source"] == "stdin"


def test_documents_and_collections_are_deleted(call, library):
    call("ingest", "docs", "--recursive")
    assert call("delete", "docs/owl.md")["documents"] == 1
    assert call("delete", "docs/owl.md", code=4)["error"]["details"]["code"] == "not_found"
    assert call("delete", "--source", "docs/bee.html")["documents"] == 1
    assert call("delete", "--filter", "lang=de")["documents"] == 0
    assert call("delete", "--collection", "default")["vectors"] == 1
    assert call("collections")["count"] == 0
    assert call("delete", "--collection", "default", code=4)["status"] == "error"
    for words in ([], ["--tenant", "x"], ["--collection", "c", "--scope", "user:a"]):
        call("delete", *words, code=2)


def test_an_export_is_read_back_and_a_collection_is_embedded_anew(call, library, home):
    call("ingest", "docs", "--recursive")
    assert call("export", "out.jsonl")["documents"] == 3
    assert call("import", "out.jsonl", "--collection", "copy")["documents"] == 3
    before = call("search", "owls hunt", "--collection", "copy")["results"]
    assert before == call("search", "owls hunt")["results"]
    done = call("reindex", "--collection", "copy", "--dimensions", "128")
    assert (done["documents"], done["dimensions"]) == (3, 128)
    assert (
        call("import", "out.jsonl", "--collection", "copy", code=1)["error"]["details"]["code"] == "embedder_mismatch"
    )
    assert call("import", "out.jsonl", "--collection", "copy", "--reembed")["documents"] == 3
    call("export", "x", "--collection", "absent", code=4)
    call("import", "absent", code=4)


@pytest.mark.parametrize("strategy", ["sentence", "code", "none"])
def test_cutting_is_chosen(call, home, strategy):
    (home / "a.txt").write_text("One sentence of some words. " * 100)
    done = call("ingest", "a.txt", "--strategy", strategy, "--chunk-size", "40", "--overlap", "0")
    assert (done["chunks"] == 1) == (strategy == "none")


def test_mistakes_have_codes(call, home):
    (home / "a.txt").write_text("text")
    call("ingest", "a.txt", "--strategy", "other", code=2)
    call("ingest", "absent", code=4)
    call("ingest", "a.txt", "absent", code=4)
    assert call("collections")["count"] == 0
    call("ingest", "a.txt", "--scope", "tenant:", code=2)
    call("search", "q", "--scope", "user:a", "--tenant", "b", code=2)
    call("search", "q", "--collection", "", code=2)
    call("search", "q", "--filter", '{"a": {"near": 1}}', code=2)
    call("search", " ", code=2)


def terminal(words, home):
    """Start a command whose standard error is a terminal; give the process and the reading end."""
    mine, theirs = pty.openpty()
    environ = {**os.environ, "LLMSPELL_HOME": str(home / "home"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "llmspell", *words], stderr=theirs, stdout=subprocess.PIPE, env=environ, cwd=home
    )
    os.close(theirs)
    return process, mine


def test_an_interrupted_ingestion_keeps_what_is_stored_and_goes_on(home):
    big = home / "big"
    big.mkdir()
    for number in range(16):
        (big / f"{number:02}.txt").write_text(f"Document {number} tells of owls and bees. " * 20_000)
    process, screen = terminal(["rag", "ingest", "big"], home)
    shown = b""
    until = time.monotonic() + 60
    while not re.search(rb"[1-9]\d* chunks, ", shown) and time.monotonic() < until:
        shown += os.read(screen, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            more = os.read(screen, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
    process.communicate()
    os.close(screen)
    assert process.returncode == 130
    assert b"tokens/s" in shown
    assert b"the same command goes on" in shown
    environ = {**os.environ, "LLMSPELL_HOME": str(home / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", "rag", "ingest", "big", "--output", "json"],
        check=True, capture_output=True, env=environ, cwd=home,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["documents"] == 16
    assert 0 < found["unchanged"] < 16
    assert done.stderr == b""
