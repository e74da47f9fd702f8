"""The import graph: who may import whom, and no circles."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "common": set(),
    "configs": set(),
    "client": {"common"},
    "server": {"common"},
    "simulations": {"common", "client", "server", "configs"},
}


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for package in ALLOWED for file in sorted((ROOT / package).rglob("*.py"))}


def imports(name):
    """Modules of ours that a module imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} uses a relative import"
            candidates = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        for candidate in candidates:
            if candidate in FILES and candidate != name:
                found.add(candidate)
    # `from package import module` names the package too; the package itself is only meant if nothing inside it was.
    return {module for module in found if not any(other.startswith(f"{module}.") for other in found)}


def test_every_package_is_seen():
    assert {name.split(".")[0] for name in FILES} == set(ALLOWED)


def test_packages_import_only_what_they_may():
    for name in FILES:
        package = name.split(".")[0]
        foreign = {module.split(".")[0] for module in imports(name)} - {package}
        assert foreign <= ALLOWED[package], f"{name} imports {foreign - ALLOWED[package]}"


def test_there_are_no_circles():
    TopologicalSorter({name: imports(name) for name in FILES}).prepare()  # raises CycleError


def test_there_are_no_circles_between_folders_either():
    """Two modules may be innocent while their folders need each other; a folder and the one inside it are one house."""
    folders = {}
    for name, file in FILES.items():
        home = name if file.name == "__init__.py" else name.rpartition(".")[0]
        needed = {other if FILES[other].name == "__init__.py" else other.rpartition(".")[0] for other in imports(name)}
        apart = {
            other for other in needed if not f"{home}.".startswith(f"{other}.") and not other.startswith(f"{home}.")
        }
        folders.setdefault(home, set()).update(apart)
    TopologicalSorter(folders).prepare()
