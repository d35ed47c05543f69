"""Text of files: UTF-8 text and Markdown as they are, the visible text of HTML, the text of the pages of a PDF."""

from __future__ import annotations

import re
import threading
from pathlib import PurePath

from llmspell.errors import LimitExceeded, MalformedData, ValidationError

TEXT = frozenset({
    ".txt", ".text", ".md", ".markdown", ".mdx", ".rst", ".adoc", ".org", ".tex", ".log", ".csv", ".tsv",
    ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".xml", ".py", ".pyi", ".lua", ".js",
    ".mjs", ".ts", ".tsx", ".jsx", ".go", ".rs", ".java", ".kt", ".c", ".h", ".cpp", ".hpp", ".cc", ".cs",
    ".rb", ".php", ".swift", ".scala", ".sh", ".bash", ".sql", ".css", ".proto", ".srt", ".vtt",
})  # fmt: skip
HTML = frozenset((".html", ".htm", ".xhtml"))
BLOCKS = (
    "p,div,section,article,header,footer,main,aside,nav,li,ul,ol,dl,dt,dd,h1,h2,h3,h4,h5,h6,tr,table,pre,blockquote,"
    "br,td,th"
)
PDF = frozenset((".pdf",))
READABLE = TEXT | HTML | PDF
MAX_PDF_PAGES = 5000
_pdf_lock = threading.Lock()  # PDFium is not safe to use from two threads


def is_readable(name: str) -> bool:
    """Tell whether a file of this name is read when its folder is."""
    return PurePath(name).suffix.lower() in READABLE


def read_text(source: str, raw: bytes) -> str:
    """Return the text of a file. Raises ValidationError naming the file for what is no text."""
    suffix = PurePath(source).suffix.lower()
    if suffix in PDF or raw[:5] == b"%PDF-":
        return _pdf(source, raw)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedData(f"{source} is not UTF-8 text", details={"path": source, "offset": error.start}) from error
    if "\0" in text:
        raise MalformedData(
            f"{source} is not text: it holds NUL bytes", details={"path": source, "offset": text.index("\0")}
        )
    return html_text(text) if suffix in HTML else text


def html_text(text: str) -> str:
    """Return the visible text of a page, a line per block."""
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(text)
    page.strip_tags(["script", "style", "noscript", "template", "svg"])
    if page.body is None:
        return ""
    for block in page.body.css(BLOCKS):
        block.insert_after("\n")
        if block.tag != "br":
            block.insert_before("\n")
    lines = (" ".join(line.split()) for line in page.body.text(separator="").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _pdf(source: str, raw: bytes) -> str:
    import pypdfium2

    with _pdf_lock:
        try:
            document = pypdfium2.PdfDocument(raw)
        except pypdfium2.PdfiumError as error:
            raise ValidationError(f"{source} is no readable PDF: {error}", details={"path": source}) from error
        try:
            pages = len(document)
            if pages > MAX_PDF_PAGES:
                raise LimitExceeded(
                    f"{source} has {pages} pages, at most {MAX_PDF_PAGES} are read",
                    details={"resource": "pdf_pages", "limit": MAX_PDF_PAGES, "used": pages},
                )
            return "\n\n".join(_page(document, number) for number in range(pages))
        except pypdfium2.PdfiumError as error:
            raise ValidationError(f"{source} is no readable PDF: {error}", details={"path": source}) from error
        finally:
            document.close()


def _page(document: object, number: int) -> str:
    page = document[number]  # type: ignore[index]  # the library has no types
    try:
        text = page.get_textpage()
        try:
            return str(text.get_text_bounded())
        finally:
            text.close()
    finally:
        page.close()
