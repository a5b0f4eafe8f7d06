#!/usr/bin/env python3
"""What the journeys need around Claviger, on one machine: an API that checks its key, and an issuer of tokens.

  standin.py api HOST PORT FILE   an HTTPS API named HOST on 127.0.0.1:PORT, which answers to whoever sends one of the
                                  headers in FILE (`name: value`, one a line, perhaps with ` # whose`; read at each
                                  request). ca.pem is its root. HOST may be several, as a.test,b.test. Asked as a model
                                  (`/chat/completions`), as a registry (`/NAME`, of registry.npmjs.org) or as a git server
                                  (`/OWNER/NAME.git`, out of the folder `repositories`), it answers as one
  standin.py certificate HOST     makes HOST.pem and HOST.key, under the same root
  standin.py issuer               makes issuer.key and jwks.json: the keys of a cluster or CI system
  standin.py token FILE           prints a token of the claims in FILE (JSON), signed by issuer.key, good for 10 minutes

Needs Python 3.8 and openssl, and nothing else. For trying things out only.
"""

import base64
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def certificate(host):
    """HOST.pem and HOST.key under ca.pem, which the first call makes."""
    if not os.path.exists("ca.pem"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=stand-in root", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", "ca.pem")
    request = openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + host,
                      "-keyout", host + ".key")
    with tempfile.NamedTemporaryFile("w") as extensions:
        names = ",".join("DNS:" + name for name in host.split(","))
        extensions.write("subjectAltName=%s\nbasicConstraints=CA:FALSE\n" % names)
        extensions.flush()
        openssl("x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                "-extfile", extensions.name, "-out", host + ".pem", stdin=request)


def api(host, port, keys):
    class Api(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with open(keys) as file:
                wanted = [line.strip().partition(" # ") for line in file if line.strip()]
            found = [whose for header, _, whose in wanted if self.has(*header.split(": ", 1))]
            known = bool(found)
            status = 200 if known else 401
            said = {"api": host, "request": "%s %s" % (self.command, self.path), "body": len(body)}
            if known and found[0]:
                said["key of"] = found[0]
            if known and ".git/" in self.path:
                return self.git(body)
            if known and host == "registry.npmjs.org" and self.command == "GET":
                return self.package(self.path)
            if self.command == "POST" and self.path.endswith("/chat/completions"):
                message = {"role": "assistant", "content": "Hello from %s." % host}
                said = {"id": "1", "object": "chat.completion", "created": int(time.time()), "model": "stand-in",
                        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            self.say(status, "application/json", json.dumps(said if known else {"error": "wrong key"}).encode() + b"\n")

        def say(self, status, kind, text):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def git(self, body):
            path, _, query = self.path.partition("?")
            asked = {"GIT_PROJECT_ROOT": os.path.abspath("repositories"), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "x",
                     "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                     "CONTENT_TYPE": self.headers.get("content-type", ""), "CONTENT_LENGTH": str(len(body)),
                     "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                     "GIT_PROTOCOL": self.headers.get("git-protocol", "")}
            done = subprocess.run(["git", "-c", "safe.directory=*", "http-backend"], input=body, capture_output=True,
                                  env={**os.environ, **asked})
            head, _, text = done.stdout.partition(b"\r\n\r\n")
            head = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self.say(int(head.get("Status", "200").split()[0]), head.get("Content-Type", "text/plain"), text)

        def package(self, path):
            name = path.split("/")[1]
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for inside, text in [("package.json", json.dumps({"name": name, "version": "1.0.0"})), ("index.js", "")]:
                    entry = tarfile.TarInfo("package/" + inside)
                    entry.size = len(text)
                    archive.addfile(entry, io.BytesIO(text.encode()))
            if path.endswith(".tgz"):
                return self.say(200, "application/octet-stream", file.getvalue())
            dist = {"tarball": "https://%s/%s/-/%s-1.0.0.tgz" % (host, name, name)}
            version = {"name": name, "version": "1.0.0", "dist": dist}
            said = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            self.say(200, "application/json", json.dumps(said).encode())

        def has(self, name, value):
            return self.headers.get(name) == value

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        # The handshake is the connection's own business, not the one that accepts.
        def finish_request(self, request, address):
            super().finish_request(self.context.wrap_socket(request, server_side=True), address)

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", int(port)), Api)
    certificate(host)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(host + ".pem", host + ".key")
    print("standin: %s answers on 127.0.0.1:%s" % (host, port), flush=True)
    server.serve_forever()


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def issuer():
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "issuer.key")
    modulus = openssl("rsa", "-in", "issuer.key", "-noout", "-modulus").decode().strip().partition("=")[2]
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "e": "AQAB", "n": encoded(bytes.fromhex(modulus))}
    with open("jwks.json", "w") as file:
        json.dump({"keys": [key]}, file)


def token(file):
    with open(file) as claims:
        claims = json.load(claims)
    now = int(time.time())
    claims = {"iat": now, "nbf": now, "exp": now + 600, **claims}
    parts = [{"alg": "RS256", "typ": "JWT", "kid": "k1"}, claims]
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    print(signed + "." + encoded(openssl("dgst", "-sha256", "-sign", "issuer.key", stdin=signed.encode())))


if __name__ == "__main__":
    commands = {"api": (api, 3), "certificate": (certificate, 1), "issuer": (issuer, 0), "token": (token, 1)}
    command, count = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != 2 + count:
        sys.exit(__doc__)
    command(*sys.argv[2:])
