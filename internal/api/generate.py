"""Generate the models of the SDK from the contract.

python internal/api/generate.py            write src/sandlot/models/_generated.py
python internal/api/generate.py --check    fail if that file is not what would be written
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

yaml: Any = importlib.import_module("yaml")  # it has no types

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "internal" / "api" / "openapi.yaml"
GENERATED = ROOT / "src" / "sandlot" / "models" / "_generated.py"

OPTIONS = (
    "--input-file-type=openapi",
    "--openapi-scopes=schemas",
    "--output-model-type=pydantic_v2.BaseModel",
    "--base-class=sandlot.models._base.Model",
    "--target-python-version=3.11",
    "--enum-field-as-literal=all",
    "--use-union-operator",
    "--use-standard-collections",
    "--use-schema-description",
    "--use-field-description",
    "--use-annotated",
    "--field-constraints",
    "--use-double-quotes",
    "--use-unique-items-as-set",
    "--disable-timestamp",
    # Annotations that are texts are compiled one by one at import, which takes thrice as long.
    "--disable-future-imports",
    "--formatters=builtin",
    "--custom-file-header",
    "# Generated from internal/api/openapi.yaml by `make generate`. Do not edit.",
)


def simplified(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without what texts must look like, and what depends on what.

    The generator would make classes of some of it, of which everybody would have to unwrap the
    text. The server checks all of it where it uses it, and says in words what is wrong.
    """
    for rule in ("pattern", "minLength", "maxLength"):
        if not isinstance(schema.get(rule), dict):  # that is a property of this name
            _ = schema.pop(rule, None)
    for rule in ("propertyNames", "allOf", "oneOf", "not", "if", "then"):
        _ = schema.pop(rule, None)
    if schema.get("type") == "boolean":
        _ = schema.pop("const", None)
    return schema


def generate() -> str:
    """Run the generator; return the source of the models."""
    text = json.dumps(yaml.safe_load(CONTRACT.read_text()))
    document = json.loads(text, object_hook=simplified)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "openapi.json"
        _ = source.write_text(json.dumps(document))
        output = Path(directory) / "_generated.py"
        _ = subprocess.run(
            [
                sys.executable,
                "-m",
                "datamodel_code_generator",
                f"--input={source}",
                f"--output={output}",
                *OPTIONS,
            ],
            check=True,
            cwd=ROOT,
        )
        code = output.read_text()
    for action in (["check", "--fix-only", "--quiet"], ["format"]):
        code = subprocess.run(
            [sys.executable, "-m", "ruff", *action, f"--stdin-filename={GENERATED}", "-"],
            input=code,
            check=True,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
    return code


def main() -> int:
    """Write the models, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--check", action="store_true")
    check: bool = parser.parse_args().check
    wanted = generate()
    if not check:
        _ = GENERATED.write_text(wanted)
        return 0
    found = GENERATED.read_text() if GENERATED.exists() else ""
    diff = list(
        difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), "committed", "generated", lineterm=""
        )
    )
    if diff:
        print(*diff, "", f"{GENERATED.relative_to(ROOT)} is stale: run `make generate`", sep="\n")
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())
