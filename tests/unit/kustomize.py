"""A reader of the part of kustomize that the base uses, since its binary is in no Python package.

What it does not know it refuses, so that no manifest is tested as something that kustomize would not
make of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

CLUSTER_WIDE = frozenset({"Namespace"})
WORKLOADS = frozenset({"Deployment", "StatefulSet", "Job"})
KNOWN = frozenset(
    {"apiVersion", "kind", "namespace", "labels", "resources", "configMapGenerator", "images"},
)


@dataclass
class Rendered:
    """The objects as `kubectl apply -k` would send them, and the files that they were read from."""

    objects: list[Object] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)

    def of_kind(self, *kinds: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object:
        """The only object of that kind and name; `ValueError` if there is none or another."""
        (found,) = (thing for thing in self.of_kind(kind) if thing["metadata"]["name"] == name)
        return found


def render(folder: Path) -> Rendered:
    """Render a folder with a `kustomization.yaml`. `ValueError` for a key that this reader does not know."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    _refuse_others(kustomization, KNOWN)
    rendered = Rendered(files={folder / "kustomization.yaml"})
    for name in kustomization["resources"]:
        rendered.files.add(folder / name)
        rendered.objects += yaml.safe_load_all((folder / name).read_text())
    for generator in kustomization.get("configMapGenerator", []):
        _generate(folder, generator, rendered)
    for thing in rendered.objects:
        if thing["kind"] not in CLUSTER_WIDE:
            thing["metadata"]["namespace"] = kustomization["namespace"]
    for entry in kustomization.get("labels", []):
        _refuse_others(entry, {"pairs", "includeSelectors"})
        for thing in rendered.objects:
            _label(thing, entry["pairs"], selectors=entry.get("includeSelectors", False))
    for image in kustomization.get("images", []):
        _refuse_others(image, {"name", "newTag"})
        for container in containers(rendered.objects):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['name']}:{image['newTag']}"
    return rendered


def containers(objects: list[Object]) -> Iterator[Object]:
    """Every container of every workload, those that run first included."""
    for thing in objects:
        if thing["kind"] in WORKLOADS:
            pod = thing["spec"]["template"]["spec"]
            yield from (*pod.get("initContainers", []), *pod["containers"])


def _refuse_others(mapping: Object, known: frozenset[str] | set[str]) -> None:
    if unknown := set(mapping) - known:
        raise ValueError(f"this reader of kustomize does not know {sorted(unknown)}")


def _generate(folder: Path, generator: Object, rendered: Rendered) -> None:
    """A ConfigMap of files; its name ends in a hash of them, and so do all references to it.

    kustomize's own hash is another one. Only that there is one matters here.
    """
    _refuse_others(generator, {"name", "files"})
    paths = [folder / name for name in generator["files"]]
    rendered.files.update(paths)
    data = {path.name: path.read_text() for path in paths}
    name = generator["name"]
    full = f"{name}-{hashlib.sha256(json.dumps(data).encode()).hexdigest()[:10]}"
    for thing in rendered.objects:
        _rename(thing, name, full)
    rendered.objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": full}, "data": data})


def _rename(node: Any, name: str, full: str) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"configMap", "configMapRef", "configMapKeyRef"} and value.get("name") == name:
                value["name"] = full
            else:
                _rename(value, name, full)
    elif isinstance(node, list):
        for value in node:
            _rename(value, name, full)


def _label(thing: Object, pairs: dict[str, str], *, selectors: bool) -> None:
    thing["metadata"].setdefault("labels", {}).update(pairs)
    if not selectors:
        return
    spec = thing.get("spec", {})
    if thing["kind"] in WORKLOADS:
        spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
        for spread in spec["template"]["spec"].get("topologySpreadConstraints", []):
            spread["labelSelector"]["matchLabels"].update(pairs)
    if thing["kind"] == "Service":
        spec["selector"].update(pairs)
    elif "matchLabels" in spec.get("selector", {}):
        spec["selector"]["matchLabels"].update(pairs)
