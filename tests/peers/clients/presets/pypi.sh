# twine uploads a wheel, as PyPI documents it: the user is `__token__`, the token stands in TWINE_PASSWORD.
"$VENV/python" - <<'WHEEL'
import zipfile

with zipfile.ZipFile("acme_notes-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("acme_notes.py", "")
    wheel.writestr("acme_notes-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme-notes\nVersion: 1.0\n")
    wheel.writestr("acme_notes-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("acme_notes-1.0.dist-info/RECORD", "")
WHEEL
"$VENV/python" -m twine upload --non-interactive --disable-progress-bar acme_notes-1.0-py3-none-any.whl
