# pip installs from an index of one's own.
"$VENV/python" -m pip install --no-input --disable-pip-version-check --no-cache-dir --retries 0 --no-deps --target installed --index-url https://pypi.example.com/simple/ acme-notes
test -f installed/acme_notes.py
