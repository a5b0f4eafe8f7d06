# twine uploads a wheel, as PyPI documents it: the user is `__token__`, the token stands in TWINE_PASSWORD.
"$VENV/python" "$(dirname "$0")/wheel.py"
"$VENV/python" -m twine upload --non-interactive --disable-progress-bar acme_notes-1.0-py3-none-any.whl
