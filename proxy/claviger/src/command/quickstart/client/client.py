"""An app that knows nothing of Claviger: client.py METHOD URL VIA, standard library only.

An http URL is asked through the Unix socket VIA. For an https URL, VIA is the root certificate to
trust, and the host is this machine, whatever its name.
"""

import http.client
import socket
import ssl
import sys
from urllib.parse import urlsplit

method, url, via = sys.argv[1:]
parts = urlsplit(url)
connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
if parts.scheme == "https":
    plain = socket.create_connection(("127.0.0.1", parts.port), timeout=10)
    context = ssl.create_default_context(cafile=via)
    connection.sock = context.wrap_socket(plain, server_hostname=parts.hostname)
else:
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(via)

connection.request(method, parts.path)
answer = connection.getresponse()
print(f"HTTP/1.1 {answer.status} {answer.reason}")
for name, value in answer.getheaders():
    print(f"{name}: {value}")
print()
print(answer.read().decode(), end="")
