"""Nothing that is not public is reached: by spelling, by name, by redirect, by changing answers of the resolver."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from bad_server import redirect, running

from llmspell.errors import ConfigurationError, NetworkDenied, NetworkError
from llmspell.net.address import is_denied

LITERALS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "0", "0.0.0.0", "127.0.0.1.", "127.255.255.254", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]",
    "[ff02::1]", "[100::1]", "[2001::1]", "[2001:db8::1]", "169.254.169.254", "169.254.169.254.",
    "[::ffff:169.254.169.254]", "100.100.100.200", "100.64.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "localhost", "LOCALHOST", "localhost.",
    "foo.localhost", "printer.local", "db.internal", "nas.home.arpa", "metadata", "metadata.google.internal",
    "metadata.google.internal.", "metadata.azure.com", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "ⓛocalhost",
    "user@127.0.0.1", "user:pass@example.com", "example.com@127.0.0.1", "127.0.0.1\\@example.com",
    "example.com%00.evil.com", "%31%32%37.0.0.1", "ex ample.com", "example.com\r\nHost: x", "exa\tmple.com",
    "a..b", "-", "",
]  # fmt: skip
URLS = [
    "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "data:text/plain,x", "javascript:1",
    "//127.0.0.1/", "http:127.0.0.1", "http:/127.0.0.1/", "http:///127.0.0.1/", "127.0.0.1", "", "http://",
    "https://:443/", "http://example.com:0/", "http://example.com:99999/", "http://example.com/%0d%0aX: y",
    "http://example.com/%00", "http://example.com/a b", "http://[::1", "jar:http://127.0.0.1!/",
    "http://example.com/" + "a" * 9000,
]  # fmt: skip


def forms(port):
    return [f"http://{host}:{port}/x" for host in LITERALS] + URLS


async def never(host, port):
    raise AssertionError(f"{host} was resolved")


async def to_loopback(host, port):
    return ["127.0.0.1"]


async def test_no_spelling_of_a_local_address_is_reached(make_client, server):
    client = make_client(resolver=never)
    for url in forms(server.port):
        with pytest.raises(NetworkDenied) as caught:
            await client.request("GET", url)
        assert caught.value.code in ("url_denied", "host_denied", "address_denied"), url
        assert caught.value.details["violation"] == "network_access"
        assert "pass@" not in str(caught.value)
    assert server.hits == []
    assert len(forms(1)) >= 80


async def test_the_canary_is_reached_without_the_guard(client, server):
    assert (await client.request("GET", server.url())).body == b"canary"
    assert len(server.hits) == 1


async def test_no_redirect_leads_to_a_local_address(make_client, server):
    # The redirector lives on 127.0.0.2, which alone is admitted; the canary on 127.0.0.1 is not.
    client = make_client(resolver=never, allow_private=("127.0.0.2/32",))
    async with running("127.0.0.2") as redirector:
        for url in forms(server.port):
            target = url.encode().decode("latin-1")
            if "\r" in url or not url.startswith(("http", "//", "file", "ftp", "gopher")):
                continue  # a line break ends the header, and other texts are paths on the same host
            redirector.on("/start", redirect(target))
            with pytest.raises((NetworkDenied, NetworkError)):
                await client.request("GET", redirector.url("/start", host="127.0.0.2"))
        assert len(redirector.hits) > 70
    assert server.hits == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "gopher://x/", "ftp://x/", "http://u:p@x/", "//169.254.169.254/"]
)
async def test_a_redirect_to_a_refused_address_raises(make_client, server, target):
    client = make_client(allow_loopback=True)
    server.on("/start", redirect(target))
    with pytest.raises(NetworkDenied):
        await client.request("GET", server.url("/start"))


async def test_a_name_is_judged_by_every_address_it_has(make_client, server):
    for answers in (
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["93.184.216.34", "fe80::1%lo"],
    ):

        async def resolve(host, port, answers=answers):
            return answers

        with pytest.raises(NetworkDenied) as caught:
            await make_client(resolver=resolve).request("GET", server.url(host="public.example"))
        assert caught.value.code == "address_denied"
        assert "127.0.0.1" not in str(caught.value)
    assert server.hits == []


async def test_a_rebinding_name_never_reaches_loopback(make_client, server):
    asked = []

    async def rebind(host, port):
        asked.append(host)
        return ["192.0.0.8"] if len(asked) == 1 else ["127.0.0.1"]

    # The first answer is admitted and pinned; the connection may fail, but it does not go elsewhere.
    client = make_client(resolver=rebind, allow_private=("192.0.0.8/32",), connect_timeout=0.2)
    for _ in range(3):
        with pytest.raises((NetworkDenied, NetworkError, TimeoutError)):
            await client.request("GET", server.url(host="rebind.example"), timeout=0.5)
    assert server.hits == []
    assert len(asked) == 3


async def test_each_hop_resolves_once_and_keeps_the_name(make_client, server):
    asked = []

    async def resolve(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    client = make_client(resolver=resolve, allow_private=("127.0.0.0/8",))
    response = await client.request("GET", server.url("/x", host="public.example"))
    assert response.status == 200
    assert server.hits[0][2]["host"] == f"public.example:{server.port}"
    assert asked == ["public.example"]


async def test_a_block_admitted_for_one_call_is_not_open_to_the_next(make_client, server):
    client = make_client(resolver=to_loopback)
    url = server.url(host="inside.example")
    assert (await client.request("GET", url, allow_private=["127.0.0.0/8"])).status == 200
    with pytest.raises(NetworkDenied):
        await client.request("GET", url)
    assert len(server.hits) == 1


async def test_host_lists_match_whole_labels_and_block_wins(make_client):
    client = make_client(
        resolver=never, allowed_hosts=("example.com", "*.example.org:8443"), blocked_hosts=("bad.example.org",)
    )
    for url in ("http://notexample.com/", "http://www.example.com/", "http://example.org:8443/", "http://a.example.org/",
                "http://example.com.evil.net/", "https://bad.example.org:8443/", "http://93.184.216.34/"):  # fmt: skip
        with pytest.raises(NetworkDenied) as caught:
            client.check(url)
        assert caught.value.code == "host_denied", url
    client.check("http://example.com./")
    client.check("http://EXAMPLE.com:8080/")
    client.check("https://a.b.example.org:8443/")
    with pytest.raises(ConfigurationError):
        make_client(allowed_hosts=("*ample.com",))


async def test_networks_in_the_lists_judge_addresses(make_client):
    async def resolve(host, port):
        return ["93.184.216.34"]

    client = make_client(resolver=resolve, blocked_hosts=("93.184.0.0/16",))
    with pytest.raises(NetworkDenied):
        await client.request("GET", "http://public.example/")
    with pytest.raises(NetworkDenied):
        client.check("http://93.184.216.34/")
    client = make_client(resolver=resolve, allowed_hosts=("8.8.8.0/24",))
    with pytest.raises(NetworkDenied):
        await client.request("GET", "http://public.example/")
    client.check("http://8.8.8.8/")


@pytest.mark.parametrize("port", [22, 25, 53, 445, 2375, 3306, 5432, 6379, 9200, 11211, 27017])
async def test_ports_of_other_services_are_refused(client, port):
    with pytest.raises(NetworkDenied) as caught:
        await client.request("GET", f"http://127.0.0.1:{port}/")
    assert caught.value.code == "port_denied"


async def test_offline_refuses_before_any_name_is_resolved(make_client, server):
    client = make_client(resolver=never, offline=True, allow_loopback=True)
    with pytest.raises(NetworkError) as caught:
        await client.request("GET", "http://example.com/")
    assert caught.value.code == "offline"
    with pytest.raises(NetworkDenied):
        await client.request("GET", "http://10.0.0.1/")
    assert (await client.request("GET", server.url())).status == 200


async def test_switching_network_access_off_refuses_everything(make_client, server):
    client = make_client(resolver=never, enabled=False, allow_loopback=True)
    for url in (server.url(), "https://example.com/"):
        with pytest.raises(NetworkDenied, match="switched off"):
            await client.request("GET", url)
    assert server.hits == []


async def test_a_proxy_must_be_trusted_and_names_are_still_judged(make_client, server):
    with pytest.raises(ConfigurationError, match="proxy_trusted"):
        make_client(proxy=server.url())
    client = make_client(proxy=server.url(), proxy_trusted=True, resolver=never)
    assert (await client.request("GET", "http://public.example/page")).status == 200
    assert server.hits[0][1] == "http://public.example/page"
    for url in ("http://localhost/", "http://10.0.0.1/", "http://metadata.google.internal/"):
        with pytest.raises(NetworkDenied):
            await client.request("GET", url)
    client = make_client(
        proxy="env", proxy_trusted=True, environ={"http_proxy": server.url(), "NO_PROXY": ".direct.example"}
    )
    assert (await client.request("GET", "http://public.example/page")).status == 200


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_public_addresses_are_admitted(text):
    assert not is_denied(ip_address(text))
