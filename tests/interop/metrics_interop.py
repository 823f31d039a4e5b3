#!/usr/bin/env python3
"""The metrics of a running agent against Prometheus' own OpenMetrics parser.

    metrics_interop.py PATH-OF-THE-PROGRAM

Runs the agent on a few lines, with an archive in a folder, a Splunk that is a TLS
server of this script and a Datadog that nobody runs; reads /metrics until all of
that shows, and parses it with prometheus_client's strict parser. Needs the packages
of requirements.txt; loopback only.
"""

import datetime
import http.server
import ipaddress
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client.openmetrics.parser import text_string_to_metric_families

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# A second that no default would hit.
CERTIFICATE_ENDS = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)


class Hec(http.server.BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(b'{"text":"HEC is healthy","code":17}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'{"text":"Success","code":0}')

    def log_message(self, *_):
        pass


def certificate(folder):
    """A self-signed certificate for 127.0.0.1: its PEM file, and the key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))
        .not_valid_after(CERTIFICATE_ENDS)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
    )
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def tls_server(folder):
    pem, key = certificate(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hec)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], pem


def wait_for(what, look):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"timed out waiting for {what}")


def port_of(log):
    for line in log.read_text().splitlines():
        if line.startswith("{") and "the admin port is open" in line:
            return int(json.loads(line)["address"].rsplit(":", 1)[1])
    return None


def families(port):
    # A proxy of the environment is not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        assert reply.headers["Content-Type"] == CONTENT_TYPE, reply.headers["Content-Type"]
        text = reply.read().decode("utf-8")
    return text, {family.name: family for family in text_string_to_metric_families(text)}


def value(all_families, family, sample=None, **labels):
    for one in all_families[family].samples if family in all_families else []:
        if one.name == (sample or family) and labels.items() <= one.labels.items():
            return one.value
    return None


def run(program, folder):
    port, ca = tls_server(folder)
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))  # bound, never listening
    keys = folder / "keys"
    subprocess.run([program, "keygen", keys], check=True, capture_output=True)
    (folder / "token").write_text("11111111-2222-4333-8444-555555555555")
    (folder / "logs").mkdir()
    lines = "".join(f"D 2026-11-22 10:00:0{n}.000 UTC 19 main.cpp:38] round {n}\n" for n in range(9))
    (folder / "logs" / "plain.log").write_text(lines)
    config = {
        "origin": "wa/interop",
        "sources": [{"type": "file", "include": [f"{folder}/logs/*.log"], "partial_wait": "100ms"}],
        "redact": {"token_key": {"file": f"{keys}/token.key"}},
        "journal": {"path": f"{folder}/journal", "key": {"file": f"{keys}/journal.key"}},
        "seal": {
            "signing_key": {"file": f"{keys}/signing.key"},
            "recipients": [{"rsa": f"{keys}/archive.pub.pem"}],
            "batch": {"max_age": "1s"},
        },
        "sinks": [
            {"name": "archive", "type": "archive", "url": f"file://{folder}/archive"},
            {
                "name": "splunk",
                "type": "splunk_hec",
                "url": f"https://127.0.0.1:{port}",
                "token": {"file": f"{folder}/token"},
                "tls": {"ca": str(ca)},
            },
            {
                "name": "datadog",
                "type": "datadog",
                "url": f"http://127.0.0.1:{nobody.getsockname()[1]}",
                "api_key": {"file": f"{folder}/token"},
            },
        ],
        "admin": {"listen": "127.0.0.1:0"},
        "log": {"level": "info", "format": "json"},
    }
    (folder / "sealtail.yaml").write_text(json.dumps(config))
    log = folder / "agent.log"
    with log.open("w") as out:
        agent = subprocess.Popen([program, "run", "-c", folder / "sealtail.yaml"], stderr=out)
    try:
        admin = wait_for("the admin port", lambda: port_of(log))

        def all_there():
            text, found = families(admin)
            shows = (
                value(found, "sealtail_sink_delivered_leaves", "sealtail_sink_delivered_leaves_total")
                and value(found, "sealtail_sink_state", sink="splunk", state="ok") == 1
                and value(found, "sealtail_sink_lag", sink="splunk") == 0
                and value(found, "sealtail_sink_certificate_expiry_timestamp_seconds")
                and value(found, "sealtail_sink_breaker", sink="datadog", state="open") == 1
                and value(found, "sealtail_sink_lag_seconds", sink="datadog")
            )
            return (text, found) if shows else None

        return wait_for("all metrics", all_there)
    finally:
        agent.terminate()
        try:
            agent.wait(timeout=2)  # Datadog is away: it would wait for that one.
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def main():
    with tempfile.TemporaryDirectory() as folder:
        text, found = run(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(folder))
    for name, family in found.items():
        assert name.startswith("sealtail_"), name
        assert family.documentation, name
        assert family.type in ("counter", "gauge", "info"), (name, family.type)
        unit = next((u for u in ("bytes", "seconds") if name.endswith(f"_{u}")), "")
        assert family.unit == unit, (name, family.unit)
        for sample in family.samples:
            assert sample.value >= 0, sample
            assert sample.labels.keys() <= {"sink", "type", "state", "event", "class", "version"}, sample
    for name in ("sealtail_sink_state", "sealtail_sink_breaker"):
        for sink in ("splunk", "datadog"):
            states = [s.value for s in found[name].samples if s.labels["sink"] == sink]
            assert sorted(states)[-2:] == [0, 1] and sum(states) == 1, (name, sink, states)
    ends = value(found, "sealtail_sink_certificate_expiry_timestamp_seconds", sink="splunk")
    assert ends == CERTIFICATE_ENDS.timestamp(), ends
    assert value(found, "sealtail_build", "sealtail_build_info") == 1
    assert value(found, "sealtail_sink_lag", sink="datadog") > 9
    documented = (pathlib.Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    samples = {sample.name for family in found.values() for sample in family.samples}
    missing = [name for name in samples if f"`{name}`" not in documented]
    assert not missing, missing
    print(f"{len(found)} families, {len(text.splitlines())} lines: the stock parser agrees")


if __name__ == "__main__":
    main()
