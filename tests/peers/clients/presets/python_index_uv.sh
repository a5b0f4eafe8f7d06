# uv installs from an index of one's own.
UV_INDEX_URL=https://pypi.example.com/simple/ "$VENV/uv" pip install --no-cache --no-config --quiet --python "$VENV/python" --no-deps --target installed acme-notes
test -f installed/acme_notes.py
