"""Checks manifests on stdin against the schemas of Kubernetes, strictly: a field that is not known is a complaint.

A JSON object goes to stdout: the manifests, and the complaints about each in each of the versions that are named.
"""

import json
import sys

import kubernetes_validate
import yaml

manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
complaints = []
for version in sys.argv[1:]:
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            complaints.append(f"{version}: {manifest['kind']}: {error.message}")
json.dump({"manifests": manifests, "complaints": complaints}, sys.stdout)
