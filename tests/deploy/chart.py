"""Works on a chart with Helm's own engine: chart.py lint CHART VALUES | chart.py render CHART VALUES, VALUES as JSON.

`render` prints the manifests as one YAML text; a value that the schema refuses is an error, as with `helm template`.
"""

import json
import sys

from helm_python import chart


def main() -> int:
    command, path, values = sys.argv[1:]
    values = json.loads(values)
    if command == "lint":
        print(json.dumps(chart.lint(path, values, strict=True, kube_version="v1.29.0")))
        return 0
    with chart.Chart.load(path) as loaded:
        loaded.validate_schema(loaded.merge_values(values))
        for name, text in sorted(loaded.render(values, name="egress", namespace="egress").items()):
            if name.endswith(".yaml") and text.strip():
                print(f"---\n# {name}\n{text}")
    return 0


sys.exit(main())
