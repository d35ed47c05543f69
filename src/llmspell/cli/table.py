"""The one table of commands and options. Parsing, help and completion read it; it imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ("text", "json", "jsonl", "yaml", "pretty")


class Option:
    """One option. meta: name of its value, None for a switch. many: may be repeated. also: further names."""

    __slots__ = ("also", "choices", "long", "many", "meta", "short", "text")

    def __init__(
        self,
        long: str,
        text: str,
        *,
        meta: str | None = None,
        short: str | None = None,
        many: bool = False,
        choices: tuple[str, ...] = (),
        also: tuple[str, ...] = (),
    ) -> None:
        self.long = long
        self.text = text
        self.meta = meta
        self.short = short
        self.many = many
        self.choices = choices
        self.also = also

    @property
    def key(self) -> str:
        """Name of the value in a parsed call."""
        return self.long[2:].replace("-", "_")

    def names(self) -> Iterator[str]:
        """Yield every spelling."""
        yield self.long
        yield from self.also
        if self.short:
            yield self.short


class Command:
    """One command. args: usage behind the name. least, most: number of arguments (None: any). rest: takes `-- ARGS`."""

    __slots__ = ("args", "complete", "handler", "least", "most", "name", "options", "rest", "summary")

    def __init__(
        self,
        name: str,
        handler: str,
        summary: str,
        *options: Option,
        args: str = "",
        least: int = 0,
        most: int | None = 0,
        rest: bool = False,
        complete: str = "",
    ) -> None:
        self.name = name
        self.handler = handler
        self.summary = summary
        self.options = options
        self.args = args
        self.least = least
        self.most = most
        self.rest = rest
        self.complete = complete


GLOBALS = (
    Option("--config", "Extra configuration file", meta="FILE", short="-c"),
    Option("--profile", "Profiles, a comma list; later wins", meta="SPEC", short="-p"),
    Option("--set", "One configuration value, KEY=VALUE", meta="KEY=VALUE", many=True),
    Option("--output", "Form of output: text, json, jsonl, yaml, pretty", meta="FMT", also=("--format",)),
    Option("--trace", "Diagnostics: off, error, warn, info, debug, trace", meta="LEVEL"),
    Option("--verbose", "More diagnostics", short="-v", many=True),
    Option("--quiet", "Fewer diagnostics", short="-q", many=True),
    Option("--color", "auto, always or never", meta="WHEN", choices=("auto", "always", "never")),
    Option("--home", "Folder of all data; default ~/.llmspell", meta="DIR"),
    Option("--offline", "Refuse every connection but loopback"),
    Option("--help", "Show help", short="-h"),
    Option("--version", "Show the version", short="-V"),
)

_SANDBOX = Option("--sandbox", "Sandbox profile", meta="PROFILE", choices=("safe", "standard", "full"))
_TENANT = Option("--tenant", "Whose it is: nothing of anybody else is seen", meta="ID")
_RAG_PROFILE = Option("--rag-profile", "development, production, or a profile's name", meta="NAME")
_RUN = (
    Option("--engine", "Script engine", meta="NAME"),
    _SANDBOX,
    Option("--allow-path", "Allow a folder for this run", meta="PATH", many=True),
    Option("--allow-env", "Allow reading a variable", meta="NAME", many=True),
    Option("--allow-host", "Allow a host", meta="HOST", many=True),
    Option("--time-limit", "Wall time: 30, 500ms, 2m", meta="TIME"),
    Option("--memory-limit", "Memory of the Lua state: 64m", meta="BYTES"),
    Option("--instruction-limit", "Virtual machine instructions", meta="N"),
    Option("--output-limit", "Bytes written: 1m", meta="BYTES"),
    Option("--max-cost", "Money of the whole run", meta="USD"),
    Option("--max-tokens", "Tokens of the whole run", meta="N"),
    Option("--print-result", "Print the first returned value as JSON"),
    Option("--stream", "Write at once; jsonl: events"),
    Option("--seed", "Seed of math.random", meta="N"),
    Option("--check", "Compile only"),
    _RAG_PROFILE,
    _TENANT,
)
_CATEGORY = Option("--category", "Only this category", meta="NAME")
_FILE = Option("--file", "File to edit", meta="FILE")
_PROJECT = Option("--project", "Edit the project file")
_COLLECTION = Option("--collection", "Collection", meta="NAME")
_PLACE = (_COLLECTION, Option("--scope", "Scope", meta="SCOPE"), Option("--tenant", "Tenant", meta="ID"))
_FILTER = Option("--filter", "k=v or JSON", meta="FILTER", many=True)
_STRATEGIES = (
    "sliding_window",
    "sentence",
    "recursive",
    "markdown",
    "code",
    "paragraph",
    "fixed",
    "none",
    "sliding",
    "semantic",
)

GROUPS = {
    "tool": "List, inspect, call and test tools",
    "config": "Show, check and change the configuration",
    "provider": "Model services",
    "rag": "Retrieval: ingest and search documents",
    "tenant": "Tenants: make, limit, suspend, count",
    "audit": "The audit trail of access decisions",
}

COMMANDS = (
    Command(
        "run", "run:run", "Run a script", *_RUN, args="SCRIPT [-- ARGS]", least=1, most=None, rest=True, complete="file"
    ),
    Command("exec", "run:execute", "Run Lua code", *_RUN, args="CODE [-- ARGS]", least=1, most=None, rest=True),
    Command(
        "repl",
        "repl:repl",
        "Interactive Lua",
        _SANDBOX,
        _RAG_PROFILE,
        _TENANT,
        Option("--history", "History file", meta="FILE"),
        Option("--no-history", "Keep no history"),
        Option("--load", "Run a file first", meta="FILE"),
        Option("--no-banner", "Start without a banner"),
        Option("--keep-going", "Without a terminal: go on after an error"),
    ),
    Command(
        "tool list",
        "tool_static:list_tools",
        "List tools",
        _CATEGORY,
        Option("--aliases", "Show other names"),
        Option("--source", "Where tools come from", meta="SOURCE", choices=("builtin", "plugin", "all")),
    ),
    Command(
        "tool info",
        "tool_static:info",
        "Describe a tool",
        Option("--show-schema", "Show the parameter schema"),
        args="NAME",
        least=1,
        most=1,
        complete="tool",
    ),
    Command(
        "tool search",
        "tool_static:search",
        "Find tools by words",
        _CATEGORY,
        Option("--limit", "Results", meta="N"),
        args="WORDS...",
        least=1,
        most=None,
    ),
    Command(
        "tool invoke",
        "tool:invoke",
        "Call a tool",
        _SANDBOX,
        Option("--params", "Parameters: JSON, @FILE or -", meta="JSON"),
        Option("--param", "One parameter, k=v", meta="K=V", many=True),
        Option("--timeout", "Seconds", meta="S"),
        Option("--stream", "Write at once"),
        args="NAME",
        least=1,
        most=1,
        complete="tool",
    ),
    Command(
        "tool test",
        "tool:test",
        "Run a tool's own tests, offline",
        Option("--all", "Every tool"),
        Option("--detailed", "Show every case"),
        args="[NAME]",
        most=1,
        complete="tool",
    ),
    Command(
        "config init",
        "config_edit:init",
        "Write a commented configuration file",
        Option("--output", "File to write", meta="FILE", short="-o"),
        Option("--force", "Replace the file", short="-f"),
        Option("--minimal", "Only the keys most people set"),
        Option("--interactive", "Ask for the most important values"),
        args="[FILE]",
        most=1,
        complete="file",
    ),
    Command(
        "config show",
        "config:show",
        "Show effective values",
        Option("--format", "toml, json or yaml", meta="FMT", choices=("toml", "json", "yaml")),
        Option("--origin", "Show where values come from"),
        Option("--defaults", "Show the built-in defaults"),
        Option("--show-secrets", "Show secrets; needs a terminal or --yes"),
        Option("--yes", "Do not ask"),
        args="[SECTION|KEY]",
        most=1,
        complete="key",
    ),
    Command(
        "config validate",
        "config:validate",
        "Check files and values",
        Option("--strict", "Warnings fail"),
        args="[FILE]",
        most=1,
        complete="file",
    ),
    Command(
        "config get",
        "config:get",
        "Show one value",
        Option("--show-secrets", "Show secrets"),
        Option("--yes", "Do not ask"),
        args="KEY",
        least=1,
        most=1,
        complete="key",
    ),
    Command(
        "config set",
        "config_edit:assign",
        "Set a key in a file",
        _FILE,
        _PROJECT,
        args="KEY VALUE",
        least=2,
        most=2,
        complete="key",
    ),
    Command(
        "config unset",
        "config_edit:unset",
        "Remove a key from a file",
        _FILE,
        _PROJECT,
        args="KEY",
        least=1,
        most=1,
        complete="key",
    ),
    Command(
        "config list-profiles",
        "profile_list:list_profiles",
        "List profiles",
        Option("--detailed", "Show what they extend and are for"),
    ),
    Command("config schema", "config:schema", "JSON Schema of the configuration"),
    Command("config env", "config:env", "Environment variables", Option("--set-only", "Only those that are set")),
    Command("provider list", "provider:list_providers", "List model services", Option("--all", "Every known one")),
    Command(
        "provider test",
        "provider:test",
        "Make the smallest real call",
        Option("--model", "Model", meta="NAME"),
        Option("--timeout", "Seconds", meta="S"),
        args="[NAME]",
        most=1,
        complete="provider",
    ),
    Command(
        "provider models",
        "provider:models",
        "List models",
        Option("--refresh", "Ask the service again"),
        args="NAME",
        least=1,
        most=1,
        complete="provider",
    ),
    Command(
        "rag ingest",
        "rag_ingest:ingest",
        "Add documents",
        *_PLACE,
        Option("--chunk-size", "Tokens of a chunk", meta="N"),
        Option("--overlap", "Tokens shared by neighbours", meta="N"),
        Option("--strategy", "Where cuts are made", meta="NAME", choices=_STRATEGIES),
        Option("--metadata", "k=v", meta="K=V", many=True),
        Option("--glob", "Files in folders", meta="PATTERN", many=True),
        Option("--recursive", "Go into folders"),
        Option("--ttl", "Time to keep: 30m, 2h", meta="TIME"),
        args="PATH|URL|-...",
        least=1,
        most=None,
        complete="file",
    ),
    Command(
        "rag search",
        "rag:search",
        "Search documents",
        *_PLACE,
        Option("--top-k", "Results", meta="N", short="-k", also=("--limit",)),
        Option("--mode", "Kind of search", meta="MODE", choices=("hybrid", "vector", "keyword")),
        Option("--threshold", "Least similarity", meta="SCORE"),
        _FILTER,
        args="QUERY",
        least=1,
        most=1,
    ),
    Command("rag stats", "rag:stats", "Vectors, documents, bytes", *_PLACE),
    Command("rag collections", "rag:collections", "List collections"),
    Command(
        "rag delete",
        "rag:delete",
        "Remove documents, or a collection",
        *_PLACE,
        Option("--source", "Documents of this source", meta="SOURCE"),
        _FILTER,
        args="[ID...]",
        most=None,
    ),
    Command(
        "rag export",
        "rag:export",
        "Write documents with their vectors to a file",
        *_PLACE,
        args="FILE",
        least=1,
        most=1,
        complete="file",
    ),
    Command(
        "rag import",
        "rag:import_file",
        "Read what was exported",
        *_PLACE,
        Option("--reembed", "Make new vectors where the collection has another embedder"),
        args="FILE",
        least=1,
        most=1,
        complete="file",
    ),
    Command(
        "rag reindex",
        "rag:reindex",
        "Embed a collection anew",
        _COLLECTION,
        Option("--embedder", "Another embedder", meta="NAME"),
        Option("--model", "Its model", meta="NAME"),
        Option("--dimensions", "Length of its vectors", meta="N"),
    ),
    Command(
        "tenant list",
        "tenant:list_tenants",
        "List tenants",
        Option("--active", "Only active ones"),
        Option("--suspended", "Only those that are not"),
    ),
    Command(
        "tenant create",
        "tenant:create",
        "Make a tenant",
        Option("--name", "Name for people", meta="TEXT"),
        Option("--limit", "A limit, such as max_vectors=100000", meta="K=V", many=True),
        Option("--metadata", "k=v", meta="K=V", many=True),
        args="ID",
        least=1,
        most=1,
    ),
    Command("tenant show", "tenant:show", "Show a tenant with its limits", args="ID", least=1, most=1),
    Command("tenant suspend", "tenant:suspend", "Refuse every operation, keep the data", args="ID", least=1, most=1),
    Command("tenant resume", "tenant:resume", "Let a suspended tenant work again", args="ID", least=1, most=1),
    Command(
        "tenant delete",
        "tenant:delete",
        "Remove a tenant and its data",
        Option("--keep-data", "Leave the data, out of reach"),
        Option("--yes", "Do not ask"),
        args="ID",
        least=1,
        most=1,
    ),
    Command(
        "tenant usage",
        "tenant:usage",
        "Usage and costs of a month",
        Option("--period", "Month, such as 2026-01", meta="MONTH"),
        args="[ID]",
        most=1,
    ),
    Command(
        "audit list",
        "audit:list_events",
        "Show events, newest first",
        Option("--principal", "Who asked", meta="NAME"),
        Option("--tenant", "Tenant", meta="ID"),
        Option("--event", "Kind of event, such as AccessDenied", meta="NAME"),
        Option("--since", "From this time on", meta="TIME"),
        Option("--until", "Before this time", meta="TIME"),
        Option("--limit", "Events", meta="N"),
    ),
    Command("audit verify", "audit:verify", "Find any edit or gap"),
    Command("doctor", "doctor:doctor", "Check this installation", Option("--network", "Also call the providers")),
    Command("completion", "completion:script", "Completion script of a shell", args="bash|zsh|fish", least=1, most=1),
    Command("version", "version:version", "Version of everything"),
)

ALIASES = {"info": "doctor"}
RESERVED = ("template", "memory", "context", "model", "web", "lsp", "mcp", "serve")


def find(name: str) -> Command | None:
    """Return the command of that full name."""
    return next((command for command in COMMANDS if command.name == name), None)


def subcommands(group: str) -> list[Command]:
    """Return the commands of a group."""
    return [command for command in COMMANDS if command.name.startswith(f"{group} ")]


def top_level() -> dict[str, str]:
    """Return the words that may come first, with their summaries."""
    words = {command.name: command.summary for command in COMMANDS if " " not in command.name}
    return dict(sorted({**words, **GROUPS}.items()))
