"""The part of Kustomize that deploy/kubernetes uses. What it does not know is an error, so nothing is passed over.

Generated names get no hash: `kubectl kustomize` adds one, and everything that refers to them follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Manifest = dict[str, Any]
KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "components", "images", "replicas", "configMapGenerator", "patches",
}  # fmt: skip
CLUSTER_WIDE = {"Namespace"}


@dataclass(slots=True)
class _Build:
    manifests: list[Manifest] = field(default_factory=list)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)


def build(directory: Path) -> list[Manifest]:
    """Every manifest that `kubectl kustomize` would print, in no particular order."""
    made = _Build()
    namespace = _add(made, directory)
    made.manifests += [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        for name, data in made.maps.items()
    ]
    for manifest in made.manifests:
        if namespace and manifest["kind"] not in CLUSTER_WIDE:
            manifest["metadata"]["namespace"] = namespace
    return made.manifests


def _add(made: _Build, directory: Path) -> str | None:
    path = directory / "kustomization.yaml"
    wanted: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(wanted) <= KNOWN, f"{path}: {set(wanted) - KNOWN}"
    for name in wanted.get("resources", []):
        if (directory / name).is_dir():
            assert _add(made, directory / name) is None, f"{name} has a namespace of its own"
        else:
            made.manifests += read(directory / name)
    for item in wanted.get("configMapGenerator", []):
        _generate(made.maps, item, directory)
    for name in wanted.get("components", []):
        assert _add(made, directory / name) is None
    for patch in wanted.get("patches", []):
        _patch(made.manifests, patch, path)
    _transform(made.manifests, wanted)
    return wanted.get("namespace")


def _generate(maps: dict[str, dict[str, str]], item: Manifest, directory: Path) -> None:
    assert set(item) <= {"name", "behavior", "envs", "files", "literals"}, item
    merged = item.get("behavior") == "merge"
    assert merged == (item["name"] in maps), item
    maps[item["name"]] = maps.get(item["name"], {}) | dict(_pairs(item, directory))


def _transform(manifests: list[Manifest], wanted: Manifest) -> None:
    counts = {item["name"]: item["count"] for item in wanted.get("replicas", [])}
    for manifest in manifests:
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"] in counts:
            manifest["spec"]["replicas"] = counts[manifest["metadata"]["name"]]
    images = {item["name"]: f"{item['newName']}:{item['newTag']}" for item in wanted.get("images", [])}
    for container in containers(manifests):
        container["image"] = images.get(container["image"], container["image"])


def read(path: Path) -> list[Manifest]:
    """The documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def containers(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Every container of every pod template, those that run first included."""
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            spec = manifest["spec"]["template"]["spec"]
            yield from [*spec.get("initContainers", []), *spec["containers"]]


def _pairs(item: Manifest, directory: Path) -> Iterator[tuple[str, str]]:
    for name in item.get("files", []):
        yield name, (directory / name).read_text(encoding="utf-8")
    lines: list[str] = []
    for name in item.get("envs", []):
        lines += (directory / name).read_text(encoding="utf-8").splitlines()
    for line in [*lines, *item.get("literals", [])]:
        key, _, value = line.partition("=")
        yield key, value


def _patch(manifests: list[Manifest], patch: Manifest, path: Path) -> None:
    target = patch["target"]
    assert set(target) <= {"kind", "name"}, target
    found = [
        manifest
        for manifest in manifests
        if manifest["kind"] == target["kind"] and re.fullmatch(target.get("name", ".*"), manifest["metadata"]["name"])
    ]
    assert found, f"{path}: {target} is nothing"
    for manifest in found:
        for step in yaml.safe_load(patch["patch"]):
            *way, last = step["path"].strip("/").split("/")
            place: Any = manifest
            for part in way:
                place = place[int(part)] if isinstance(place, list) else place[part]
            if step["op"] == "remove":
                del place[last]
            else:
                assert step["op"] == "add", step
                assert last == "-", "only appending is known"
                place.append(step["value"])
