"""llmspell: sandboxed Lua spells that orchestrate language models. Public names load lazily; importing costs nothing."""

__version__ = "0.1.0"
