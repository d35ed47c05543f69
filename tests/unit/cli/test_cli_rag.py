"""`rag ingest` and `rag search`: what they hand to the service and what they write."""

import json

import pytest

from llmspell.app import App
from llmspell.cli.entry import main


class Service:
    """Stands for the retrieval service; keeps what it was asked."""

    def __init__(self):
        self.calls = []

    def build_indexes(self):
        self.built = True

    async def ingest(self, docs, **options):
        self.calls.append((docs, options))
        return {
            "documents_processed": len(docs),
            "documents_unchanged": 0,
            "chunks_created": len(docs),
            "vectors_created": len(docs),
            "errors": [],
            "duration_ms": 1,
        }

    async def search(self, query, **options):
        self.calls.append((query, options))
        item = {"id": "a#0", "content": "text", "score": 0.5, "source": "a", "metadata": {"k": 1}}
        return {"results": [item], "exhausted": True, "duration_ms": 2, "warnings": []}

    def close(self):
        self.calls.append("closed")


@pytest.fixture
def service(monkeypatch, tmp_path):
    found = Service()
    monkeypatch.setattr(App, "rag", found)
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return found


def test_files_of_folders_become_documents(service, tmp_path, capsys):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "a.md").write_text("one")
    (tmp_path / "d" / "b.txt").write_text("two")
    (tmp_path / "d" / ".hidden.md").write_text("no")
    (tmp_path / "d" / "sub" / "c.md").write_text("three")
    (tmp_path / "d" / "bad.md").write_bytes(b"\xff\xfe\x00")
    words = ["rag", "ingest", "d", "--glob", "*.md", "--recursive", "--collection", "c", "--chunk-size", "100"]
    assert main([*words, "--metadata", "lang=en", "--ttl", "2m", "--output", "json"]) == 0
    assert service.built
    docs, options = service.calls[0]
    assert [doc["content"] for doc in docs] == ["one", "three"]
    assert docs[0] == {
        "id": "d/a.md", "content": "one", "source": "d/a.md", "metadata": {"source": "d/a.md", "lang": "en"},
        "ttl_seconds": 120.0,
    }  # fmt: skip
    assert options == {"collection": "c", "chunking": {"chunk_size": 100}, "on_error": "skip"}
    found = json.loads(capsys.readouterr().out)
    assert (found["documents"], found["skipped"]) == (2, [{"source": "d/bad.md", "reason": "not UTF-8 text"}])


def test_search_hands_on_options_and_shows_results(service, capsys):
    words = ["rag", "search", "what", "-k", "3", "--mode", "vector", "--filter", "k=1", "--filter", '{"lang": "en"}']
    assert main([*words, "--threshold", "0.2", "--output", "json"]) == 0
    query, options = service.calls[0]
    assert query == "what"
    assert options == {"k": 3, "mode": "vector", "filters": {"k": 1, "lang": "en"}, "threshold": 0.2}
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == [{"id": "a#0", "score": 0.5, "text": "text", "source": "a", "metadata": {"k": 1}}]
    assert found["exhausted"] is True


def test_defaults_come_from_the_configuration(service):
    assert main(["rag", "search", "q", "--set", "rag.retrieval.top_k=4"]) == 0
    assert service.calls[0][1] == {"k": 4, "mode": "hybrid"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ingest", "absent.txt"], 4),
        (["search", "q", "-k", "0"], 2),
        (["search", "q", "--filter", "broken"], 2),
        (["search", "q", "--set", "rag.enabled=false"], 3),
        (["ingest", "x", "--metadata", "broken"], 2),
    ],
)
def test_mistakes_have_their_codes(service, words, code, capsys):
    assert main(["rag", *words]) == code
    assert not any(isinstance(call, tuple) for call in service.calls)
