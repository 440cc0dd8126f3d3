"""Says what a JSON Schema has against YAML files: `schema.py SCHEMA FILE…`.

A JSON object goes to stdout, with a list of complaints for each file.
"""

import json
import sys

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

schema_file, *files = sys.argv[1:]
with open(schema_file, encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)


def complaints(path):
    # YAML 1.2, as editors and crosslink read it: `off` is a text.
    with open(path, encoding="utf-8") as file:
        config = YAML(typ="safe", pure=True).load(file)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(config)]


json.dump({path: complaints(path) for path in files}, sys.stdout)
