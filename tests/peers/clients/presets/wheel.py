"""Writes a wheel of one empty module into the current folder."""

import zipfile

with zipfile.ZipFile("acme_notes-1.0-py3-none-any.whl", "w") as wheel:
    info = "acme_notes-1.0.dist-info"
    wheel.writestr("acme_notes.py", "")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: acme-notes\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", f"acme_notes.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
