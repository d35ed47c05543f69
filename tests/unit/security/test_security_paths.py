"""Attacks on the file sandbox: every form of path against every operation, and the races."""

from __future__ import annotations

import os
import socket
import threading
from types import SimpleNamespace as NS

import pytest

from llmspell.errors import AlreadyExists, ConfigurationError, NotFound, PathDenied, StorageFailure
from llmspell.security import Security

DENIED = ("$LLMSPELL_HOME/secrets.json", "**/.ssh/**", "**/.env", "**/*.pem", "**/id_rsa*")


def settings(*, allowed=None, scripts=(".",), profile="standard", **runtime):
    files = {
        "enabled": True,
        "allowed_paths": allowed,
        "denied_paths": DENIED,
        "max_file_size": 1_000_000,
        "atomic_writes": True,
        "max_depth": 10,
        "allowed_extensions": (),
        "blocked_extensions": ("exe", "so"),
        "follow_symlinks": True,
    }
    access = {"allow_file_access": True, "allowed_paths": scripts, "env_allow": ("PATH", "LC_*", "LLMSPELL_PUBLIC_*")}
    return NS(
        runtime=NS(security=NS(**(access | runtime))),
        tools=NS(file_operations=NS(**files)),
        engines=NS(lua=NS(sandbox=profile)),
    )


@pytest.fixture
def world(tmp_path):
    """A root with files and links in it, and secrets all around it."""
    root = tmp_path / "root"
    for folder in ("root/sub/deep", "rootfoo", "outside", "home/artifacts", "root/.ssh"):
        (tmp_path / folder).mkdir(parents=True)
    (root / "file.txt").write_text("inside")
    (root / "sub" / "note.txt").write_text("note")
    (root / ".ssh" / "config").write_text("SECRET")
    (root / ".env").write_text("SECRET")
    (root / "key.pem").write_text("SECRET")
    (root / "tool.exe").write_text("SECRET")
    for place in ("rootfoo/secret.txt", "outside/secret.txt", "secret.txt", "home/secrets.json"):
        (tmp_path / place).write_text("SECRET")
    (root / "link_file").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "link_dir").symlink_to(tmp_path / "outside")
    (root / "link_up").symlink_to("..")
    (root / "link_abs").symlink_to("/")
    (root / "link_chain").symlink_to("link_dir")
    (root / "link_dangling").symlink_to(tmp_path / "outside" / "absent")
    (root / "link_loop").symlink_to("link_loop")
    (root / "link_in").symlink_to("sub/note.txt")
    (root / "link_proc").symlink_to("/proc/self/root")
    os.mkfifo(root / "fifo")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(root / "sock"))
    sock.close()
    return tmp_path


@pytest.fixture
def security(world):
    return Security(settings(allowed=(".",)), home=world / "home", cwd=world / "root", environ={})


ATTACKS = [
    "../secret.txt",
    "..",
    "../",
    "../..",
    "../rootfoo/secret.txt",
    "../root/../secret.txt",
    "sub/../../secret.txt",
    "./../secret.txt",
    ".//..//secret.txt",
    "sub/deep/../../../outside/secret.txt",
    "sub/./deep/./../../../secret.txt",
    "nowhere/../../secret.txt",
    "../absent.txt",
    "../outside/absent/deeper",
    "/etc/passwd",
    "//etc/passwd",
    "///etc///passwd",
    "/etc/../etc/passwd",
    "/",
    "//",
    "/.",
    "/..",
    "/etc",
    "/etc/shadow",
    "/root/.bashrc",
    "/proc/self/environ",
    "/proc/self/mem",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd/../secret.txt",
    "/proc/1/environ",
    "/proc/self/fd/0",
    "/dev/fd/0",
    "/dev/stdin",
    "/dev/null",
    "/dev/zero",
    "/dev/mem",
    "/dev/tty",
    "/sys/kernel/notes",
    "/var/log/syslog",
    "/nonexistent/file",
    "/tmp/../etc/passwd",
    "link_file",
    "./link_file",
    "link_dir/secret.txt",
    "link_dir",
    "link_dir/",
    "link_dir/.",
    "link_dir/absent.txt",
    "link_dir/../secret.txt",
    "link_up/secret.txt",
    "link_up/rootfoo/secret.txt",
    "link_abs/etc/passwd",
    "link_abs",
    "link_chain/secret.txt",
    "link_chain",
    "link_dangling",
    "link_proc/etc/passwd",
    "sub/../link_dir/secret.txt",
    ".ssh/config",
    ".ssh",
    ".ssh/absent",
    "sub/../.ssh/config",
    ".env",
    "sub/../.env",
    "sub/.env",
    "key.pem",
    "absent.pem",
    "id_rsa.pub",
    "",
    "a\0b",
    "file.txt\0",
    "\0/etc/passwd",
    "x/" * 70 + "y",
    "a" * 300,
    "b/" * 2500,
    "\udcff\ud800",
]

OPERATIONS = {
    "read": lambda s, p: s.open(p, "rb"),
    "write": lambda s, p: s.open(p, "wb"),
    "append": lambda s, p: s.open(p, "ab"),
    "create": lambda s, p: s.open(p, "xb"),
    "replace": lambda s, p: s.replace(p, b"owned"),
    "stat": lambda s, p: s.stat(p),
    "exists": lambda s, p: s.exists(p),
    "scan": lambda s, p: s.scan(p),
    "mkdir": lambda s, p: s.mkdir(p, parents=True, exist_ok=True),
    "remove": lambda s, p: s.remove(p, recursive=True),
    "rename_from": lambda s, p: s.rename(p, "stolen.txt"),
    "rename_to": lambda s, p: s.rename("sub/note.txt", p),
    "resolve": lambda s, p: s.resolve(p, "read"),
    "resolve_write": lambda s, p: s.resolve(p, "write"),
}


def snapshot(folder):
    return sorted(
        (str(path), path.read_bytes() if path.is_file() and not path.is_symlink() else None)
        for path in folder.rglob("*")
        if not path.is_fifo() and not path.is_socket()
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_path_attack_reaches_anything(security, world, operation):
    before = snapshot(world)
    for path in ATTACKS:
        with pytest.raises(PathDenied) as caught:
            OPERATIONS[operation](security, path)
        assert caught.value.code == "path_denied"
        assert "SECRET" not in str(caught.value)
        assert str(world / "outside") not in str(caught.value)
    assert snapshot(world) == before


def test_the_table_of_attacks_is_large_enough():
    assert len(set(ATTACKS)) >= 60


def test_the_same_attacks_succeed_without_the_guard(world):
    reached = 0
    for path in (path for path in ATTACKS if not path.startswith(("/dev", "/proc"))):
        try:
            reached += b"SECRET" in (world / "root" / path).read_bytes()
        except (OSError, ValueError):
            continue
    assert reached >= 10


def test_refusals_do_not_tell_whether_the_target_exists(security, world):
    pairs = [("../secret.txt", "../absentt.txt"), ("/etc/passwd", "/etc/passwx"), (".ssh/config", ".ssh/absent")]
    for there, absent in pairs:
        messages = []
        for path in (there, absent):
            with pytest.raises(PathDenied) as caught:
                security.open(path)
            messages.append(str(caught.value).replace(path, "PATH"))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("path", ["fifo", "sock", "link_loop"])
@pytest.mark.parametrize("mode", ["rb", "wb", "ab", "r+b"])
def test_special_files_are_refused_without_waiting(security, path, mode):
    with pytest.raises(PathDenied):
        security.open(path, mode)


def test_devices_are_refused_where_every_path_is_allowed(world):
    security = Security(settings(allowed=("*",), profile="full"), home=world, cwd=world, environ={})
    for path in ("/dev/zero", "/dev/null", "/proc/self/mem", "/proc/self/environ", "/proc/1/environ"):
        with pytest.raises(PathDenied):
            security.open(path)
    assert security.read("/etc/passwd")


def test_the_star_needs_the_profile_full(world):
    security = Security(settings(allowed=("*",)), home=world, cwd=world, environ={})
    with pytest.raises(ConfigurationError, match="full"):
        security.read("x")


def test_what_stays_inside_works(security, world):
    root = world / "root"
    assert security.read("file.txt") == b"inside"
    assert security.read("sub/../file.txt") == b"inside"
    assert security.read(str(root / "sub" / "note.txt")) == b"note"
    assert security.read("link_in") == b"note"
    assert security.read("../root/file.txt") == b"inside"
    assert security.resolve("link_in", "read") == root / "sub" / "note.txt"
    assert security.mkdir("a/b/c", parents=True)
    assert security.replace("a/b/c/new.txt", b"1")
    assert not security.replace("a/b/c/new.txt", b"22")
    security.rename("a/b/c/new.txt", "moved.txt")
    assert security.read("moved.txt") == b"22"
    with pytest.raises(AlreadyExists):
        security.rename("moved.txt", "file.txt", overwrite=False)
    assert security.remove("a", recursive=True) == 3
    with pytest.raises(NotFound):
        security.read("a/b/c/new.txt")
    assert [name for name, _ in security.scan("sub")] == ["deep", "note.txt"]


def test_deleting_a_link_keeps_its_target(security, world):
    assert security.remove("link_in") == 1
    assert (world / "root/sub/note.txt").read_text() == "note"
    (world / "root/sub/out").symlink_to(world / "outside")
    security.remove("sub", recursive=True)
    assert (world / "outside/secret.txt").read_text() == "SECRET"


def test_the_root_itself_cannot_be_removed_or_renamed(security, world):
    for path in (".", str(world / "root"), "sub/.."):
        with pytest.raises(PathDenied):
            security.remove(path, recursive=True)
        with pytest.raises(PathDenied):
            security.rename(path, "sub/x")
    assert (world / "root/file.txt").exists()


def test_a_replaced_file_keeps_its_mode(security, world):
    target = world / "root/file.txt"
    target.chmod(0o640)
    security.replace("file.txt", b"new")
    assert target.stat().st_mode & 0o7777 == 0o640
    with pytest.raises(PathDenied, match="set-uid"):
        security.replace("file.txt", b"new", mode=0o4755)
    assert not [name for name in os.listdir(world / "root") if name.endswith(".tmp")]


def test_extensions_bind_tools_but_not_scripts(security):
    with pytest.raises(PathDenied, match="extension 'exe'"):
        security.read("tool.exe")
    with pytest.raises(PathDenied):
        security.replace("x.SO", b"")
    with pytest.raises(PathDenied):
        security.replace("x.exe. ", b"")
    assert security.script.read("tool.exe") == b"SECRET"


def test_a_twin_of_a_root_by_text_is_outside(world):
    security = Security(settings(allowed=(str(world / "root"),)), home=world, cwd=world / "root", environ={})
    with pytest.raises(PathDenied):
        security.read(str(world / "rootfoo/secret.txt"))


def test_scripts_do_not_get_the_temporary_folder_of_tools(world):
    security = Security(settings(), home=world / "home", cwd=world / "root", environ={"TMPDIR": str(world / "outside")})
    assert security.read(str(world / "outside/secret.txt")) == b"SECRET"
    with pytest.raises(PathDenied):
        security.script.read(str(world / "outside/secret.txt"))


def test_extra_roots_and_grants_open_a_folder_and_no_more(security, world):
    with pytest.raises(PathDenied):
        security.script.read(str(world / "outside/secret.txt"))
    assert security.script.read(str(world / "outside/secret.txt"), extra_roots=[world / "outside"]) == b"SECRET"
    assert not security.grantable(world / "outside")
    assert security.grantable("sub")
    assert not security.grantable(".ssh")
    security.grant(world / "outside")
    assert security.script.read("../outside/secret.txt") == b"SECRET"
    with pytest.raises(PathDenied):
        security.read(str(world / "secret.txt"))


def test_switching_file_access_off_refuses_everything(world):
    security = Security(settings(allow_file_access=False), home=world, cwd=world / "root", environ={})
    for access in (security, security.script):
        with pytest.raises(PathDenied, match="switched off"):
            access.read("file.txt")


def test_links_can_be_forbidden_altogether(world):
    config = settings(allowed=(".",))
    config.tools.file_operations.follow_symlinks = False
    security = Security(config, home=world, cwd=world / "root", environ={})
    assert security.read("sub/../file.txt") == b"inside"
    with pytest.raises(PathDenied, match="links"):
        security.read("link_in")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another owner's hard link")
def test_a_hard_link_to_another_owners_file_is_refused(security, world):
    foreign = world / "outside/foreign.txt"
    foreign.write_text("SECRET")
    os.chown(foreign, 12345, 12345)
    os.link(foreign, world / "root/hard.txt")
    with pytest.raises(PathDenied, match="owner"):
        security.read("hard.txt")
    with pytest.raises(PathDenied, match="owner"):
        security.replace("hard.txt", b"x")


def test_swapping_a_folder_for_a_link_never_leads_outside(security, world):
    root = world / "root"
    (root / "flip").mkdir()
    (root / "flip/secret.txt").write_text("inside")
    (root / "evil").symlink_to(world / "outside")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            (root / "flip").rename(root / "kept")
            (root / "evil").rename(root / "flip")
            (root / "flip").rename(root / "evil")
            (root / "kept").rename(root / "flip")

    racer = threading.Thread(target=swap)
    racer.start()
    seen = {"ok": 0, "refused": 0}
    try:
        for index in range(4000):
            try:
                if index % 4:
                    assert security.read("flip/secret.txt") == b"inside"
                else:
                    security.replace("flip/secret.txt", b"inside")
                seen["ok"] += 1
            except (PathDenied, NotFound, StorageFailure):
                seen["refused"] += 1
    finally:
        stop.set()
        racer.join()
    assert (world / "outside/secret.txt").read_text() == "SECRET"
    assert os.listdir(world / "outside") == ["secret.txt"]
    assert seen["ok"] > 100


def test_environment_names_need_the_list_and_never_a_secret_shape(world):
    environ = {"PATH": "/bin", "LC_ALL": "C", "OPENAI_API_KEY": "k", "LLMSPELL_PUBLIC_TOKEN": "t", "HOME2": "h"}
    config = settings()
    config.runtime.security.env_allow = ("PATH", "LC_*", "LLMSPELL_PUBLIC_*", "OPENAI_*")
    security = Security(config, home=world, cwd=world, environ=environ)
    assert security.env("PATH") == "/bin"
    assert security.env("LC_ALL") == "C"
    for name in ("OPENAI_API_KEY", "LLMSPELL_PUBLIC_TOKEN", "HOME2", "path", "PATH\n", ""):
        assert security.env(name) is None
