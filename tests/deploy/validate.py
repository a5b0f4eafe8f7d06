"""Validates manifests against the schemas of a Kubernetes version: validate.py VERSION FILE…

Unknown fields are errors. Prints how many objects passed; kinds of other groups than Kubernetes' own have no schema here
and are an error too, unless their group is named by --without GROUP.
"""

import sys

import kubernetes_validate
import yaml


def main() -> int:
    version, *rest = sys.argv[1:]
    without = {rest[at + 1] for at, word in enumerate(rest) if word == "--without"}
    files = [word for at, word in enumerate(rest) if word != "--without" and (at == 0 or rest[at - 1] != "--without")]
    passed = failed = 0
    for file in files:
        with open(file, encoding="utf-8") as text:
            documents = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one is not None]
        objects = [item for one in documents for item in (one["items"] if one["kind"] == "List" else [one])]
        for one in objects:
            if one["apiVersion"].partition("/")[0] in without:
                continue
            try:
                kubernetes_validate.validate(one, version, strict=True)
                passed += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the object did not pass
                failed += 1
                print(f"{file}: {one['kind']}/{one['metadata'].get('name')}: {error}", file=sys.stderr)
    print(passed)
    return 1 if failed or not passed else 0


sys.exit(main())
