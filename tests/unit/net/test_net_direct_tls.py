"""The short road over TLS: who the server is, is checked before a byte of a request is sent."""

import asyncio
import shutil
import ssl
import subprocess

import pytest

from llmspell.errors import NetworkError
from llmspell.net import ProviderPolicy
from llmspell.net.direct import DirectPool
from llmspell.net.url import read_url

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="certificates are made with the openssl program"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def openssl(folder, *words):
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """An authority, and certificates it signed: `good` for localhost, `other` for another name."""
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for name, who in (("good", "DNS:localhost"), ("other", "DNS:other.example")):
        openssl(folder, "req", *key[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={who}\nauthorityKeyIdentifier=keyid\n")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.fixture
async def serving(papers):
    """Start a TLS server with a certificate; it notes the names asked for, its connections and its requests."""
    servers = []

    async def start(name, **settings):
        seen = {"names": [], "connections": 0, "requests": 0}

        async def serve(reader, writer):
            seen["connections"] += 1
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    seen["requests"] += 1
                    writer.write(OK)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            finally:
                writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
        context.sni_callback = lambda _, asked, __: seen["names"].append(asked)
        for setting, value in settings.items():
            setattr(context, setting, value)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        seen["port"] = server.sockets[0].getsockname()[1]
        return seen

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def trusted(papers, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(papers / "ca.pem"))


@pytest.fixture
def pool():
    return DirectPool(ProviderPolicy(), user_agent="test/1")


async def ask(pool, seen, host="localhost"):
    target = read_url(f"https://{host}:{seen['port']}/v1")
    return await pool.send("POST", target, {"authorization": "Bearer k"}, b"", timeout_s=5)


async def refused(pool, seen, host="localhost"):
    with pytest.raises(NetworkError) as caught:
        await ask(pool, seen, host)
    assert (caught.value.code, seen["requests"]) == ("tls", 0)
    return caught.value.message


async def test_a_trusted_server_is_asked_by_its_name_and_its_connection_kept(pool, serving, trusted):
    seen = await serving("good")
    for _ in range(2):
        assert (await ask(pool, seen)).body == b"ok"
    pool.close()
    assert (seen["names"], seen["connections"], seen["requests"]) == (["localhost"], 1, 2)


async def test_a_certificate_of_an_unknown_authority_is_refused(pool, serving):
    assert "certificate" in (await refused(pool, await serving("good"))).lower()


async def test_a_certificate_for_another_name_is_refused(pool, serving, trusted):
    await refused(pool, await serving("other"))


async def test_a_certificate_for_a_name_does_not_cover_its_address(pool, serving, trusted):
    await refused(pool, await serving("good"), "127.0.0.1")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # the server is outdated on purpose
async def test_an_outdated_version_of_tls_is_refused(pool, serving, trusted):
    seen = await serving("good", minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(NetworkError):
        await ask(pool, seen)
    assert (seen["connections"], seen["requests"]) == (0, 0)


async def test_a_server_without_tls_is_refused(pool, trusted):
    got = []

    async def serve(reader, writer):
        got.append(await reader.read(4096))
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with pytest.raises(NetworkError) as caught:
        await ask(pool, {"port": server.sockets[0].getsockname()[1]})
    server.close()
    await server.wait_closed()
    assert caught.value.code == "tls"
    assert b"Bearer" not in got[0]
