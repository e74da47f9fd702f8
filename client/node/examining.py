"""The process that looks at a site's data when its node starts: everything once, then only what has changed.

It is a process of its own so that the node, which stays for months, does not keep what this needs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from client.node.home import SiteHome, read_settings
from client.node.readiness import Readiness, read_readiness
from client.site import Site
from common.atomic import write_text
from common.code import code_digest
from common.command import guarded
from common.configuration import TaskConfig, load_task
from common.data.manifest import MANIFEST, examine_manifest
from common.errors import MemoryLimitError
from common.offline import switch_off
from common.processes import die_with_parent


def state_of(site: Site, task: TaskConfig) -> str:
    """SHA-256 over everything that a finding may depend on: program, settings, manifest, and files by size and time.

    Raises:
        ManifestError, MissingColumnError, EmptySiteError: no row of the manifest can be read.
    """
    manifest, _ = examine_manifest(site.data, site.name)
    sha = hashlib.sha256()
    sha.update(json.dumps([code_digest(), str(site.data), asdict(task)], sort_keys=True).encode())
    sha.update((site.data / MANIFEST).read_bytes())
    for file in sorted({view.file for breast in manifest.breasts for view in breast.views}):
        try:
            seen = file.stat()
            sha.update(f"{file}|{seen.st_size}|{seen.st_mtime_ns}\n".encode())
        except OSError:
            sha.update(f"{file}|cannot be read\n".encode())
    return sha.hexdigest()


def examine_if_changed(home: SiteHome) -> Readiness:
    """What preflight finds at the site; the last answer if nothing has changed since.

    The settings are the product's defaults: which runs will come is not known yet.

    Raises:
        XaiFederationError: the examination cannot be made, by name.
    """
    settings = read_settings(home)
    site = Site(settings.site, home.data(settings), home.folder.resolve(), settings.cache_gb)
    task = load_task(None)
    now, before = state_of(site, task), read_readiness(home)
    last = before if before is not None and before.state == now else None
    if last is not None and not settings.policy.gpus:
        return last
    from client.node import limits  # with PyTorch, which takes seconds to load

    limits.apply(settings.policy)  # a GPU that is not there shows now, not in the executor's log
    if last is not None:
        return last
    from client.compute import is_out_of_memory
    from client.preflight.check import check
    from client.preflight.finding import Severity

    try:
        result = check(site, task)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            "there is not enough memory to try two steps of training", do="raise memory_gb of the policy"
        ) from error
    found = result.inventory
    counts = ", ".join(f"{severity.value}s {result.count(severity)}" for severity in Severity)
    lines = [
        f"{found.patients} patients, {found.breasts} breasts, {found.images} of {found.listed_images} images usable; "
        f"preflight: {counts}",
        *(
            f"  {item.severity.value.upper():8} {item.headline} ({item.code})"
            for item in result.findings
            if item.severity is not Severity.NOTE
        ),
    ]
    stopping = {item.code: item.count for item in result.findings if item.severity is Severity.ERROR}
    readiness = Readiness(now, lines, stopping, str(result.report))
    write_text(home.readiness_file, json.dumps(asdict(readiness), indent=1))
    return readiness


def main() -> None:
    """Entry point of the process; the supervisor starts it."""
    parser = argparse.ArgumentParser(prog="python -m client.node.examining")
    parser.add_argument("state", type=Path)
    arguments = parser.parse_args()
    switch_off()
    die_with_parent()

    def work() -> str:
        examine_if_changed(SiteHome(arguments.state))
        return ""

    try:
        guarded(work, "stopped; images looked at so far are kept", progress_aside=True)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


if __name__ == "__main__":
    main()
