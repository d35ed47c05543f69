"""Reading files and folders: forms of text, what is refused, and that scripts read only what they may."""

import io

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.errors import MalformedData, NotFound, PathDenied, ValidationError
from llmspell.rag.folders import expanded
from llmspell.rag.readers import read_text

PAGE = b"<html><head><title>t</title><script>no()</script></head><body><h1>Head</h1><p>one <b>bo</b>ld</p><p>two</p></body></html>"


def a_pdf(text):
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start)
    return out.getvalue()


def test_the_visible_text_of_a_page_is_read():
    assert read_text("a.html", PAGE) == "Head\n\none bold\n\ntwo"


def test_the_text_of_a_pdf_is_read():
    assert "Hello paper" in read_text("a.pdf", a_pdf("Hello paper"))


def test_plain_text_is_read_without_its_mark():
    assert read_text("a.md", "\ufeff# Gr\u00fc\u00dfe".encode()) == "# Gr\u00fc\u00dfe"


@pytest.mark.parametrize(
    ("name", "raw"), [("a.txt", b"\xff\xfe"), ("a.txt", b"a\0b"), ("a.pdf", b"%PDF-junk"), ("b.txt", b"%PDF-1.4")]
)
def test_what_is_no_text_is_refused_with_its_name(name, raw):
    with pytest.raises(ValidationError, match=name):
        read_text(name, raw)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "open"
    (root / "in" / "deep").mkdir(parents=True)
    (root / "in" / "a.md").write_text("alpha")
    (root / "in" / "b.html").write_bytes(PAGE)
    (root / "in" / "deep" / "c.txt").write_text("gamma")
    (root / "in" / "x.bin").write_bytes(b"\0\1")
    (root / "in" / ".hidden.md").write_text("hidden")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "in" / "link.txt").symlink_to(tmp_path / "secret.txt")
    return root


def access(root, tmp_path):
    sets = [f'runtime.security.allowed_paths=["{root}"]', "runtime.security.allow_file_access=true"]
    app = App(load(sets=sets, environ={}, cwd=root, home=tmp_path / "h").config, home=tmp_path / "h", cwd=root)
    return app.security.script


def test_a_folder_gives_its_readable_files_by_name(folder, tmp_path):
    found = expanded([{"path": "in", "metadata": {"k": 1}}], access(folder, tmp_path))
    assert [doc["id"] for doc in found] == ["in/a.md", "in/b.html", "in/deep/c.txt"]
    assert found[0] == {
        "id": "in/a.md",
        "content": "alpha",
        "source": "in/a.md",
        "metadata": {"k": 1, "source": "in/a.md"},
    }


def test_patterns_and_depth_choose(folder, tmp_path):
    files = access(folder, tmp_path)
    assert [doc["id"] for doc in expanded([{"path": "in", "glob": "*.txt"}], files)] == ["in/deep/c.txt"]
    assert [doc["id"] for doc in expanded([{"path": "in", "recursive": False}], files)] == ["in/a.md", "in/b.html"]
    with pytest.raises(MalformedData, match=r"x\.bin"):
        expanded([{"path": "in", "glob": ["*.md", "*.bin"]}], files)


def test_a_folder_without_readable_files_says_what_was_looked_for(folder, tmp_path):
    with pytest.raises(ValidationError, match=r"\*\.rtf"):
        expanded([{"path": "in", "glob": "*.rtf"}], access(folder, tmp_path))


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "in/link.txt", "in/../../secret.txt"])
def test_nothing_outside_is_read(folder, tmp_path, path):
    with pytest.raises(PathDenied):
        expanded([{"path": path}], access(folder, tmp_path))


def test_a_file_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(NotFound, match="none"):
        expanded([{"path": "in/none.md"}], access(folder, tmp_path))


def test_other_documents_pass_unchanged(folder, tmp_path):
    assert expanded(["text", {"content": "x"}], access(folder, tmp_path)) == ["text", {"content": "x"}]
