"""A coordinator and two hospitals as processes on loopback, and looks at the processes below them."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from client.node.examining import state_of
from client.node.home import SiteHome
from client.node.readiness import Readiness
from client.site import Site
from common.atomic import write_text
from common.configuration import load_task
from server.federation.control import Control
from server.federation.home import FederationHome
from server.federation.status import read_status


def examined(home, data):
    """As if the node had looked at its data before: tests/client/node/test_readiness.py tests the looking."""
    state = state_of(Site(home.folder.name, data.resolve(), home.folder), load_task(None))
    found = Readiness(state, ["examined before"], {}, "preflight.html")
    write_text(home.readiness_file, json.dumps(asdict(found)))


class Deployed:
    """Folders and processes of a coordinator and two hospitals."""

    def __init__(self, folder, phantom):
        self.folder, self.phantom = folder, phantom
        self.home = FederationHome(folder / "federation")
        self.processes = {}

    def call(self, module, *arguments, status=0, timeout=900):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=timeout)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout + result.stderr

    def launch(self, name, module, *arguments):
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", module, *map(str, arguments)]
            self.processes[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def node(self, name):
        self.launch(name, "client.cli", "--site", name)

    def enrol(self, name):
        shown = self.call("client.cli", "enrol", self.home.kits / f"{name}.kit.yaml", "--site", name,
                          "--data", self.phantom / name)  # fmt: skip
        fingerprint = re.search(r"SHA256:\S+", shown)[0]
        self.call("server.cli", "enrol", f"sites/{name}/{name}.request.yaml", "--fingerprint", fingerprint)
        examined(SiteHome(self.folder / "sites" / name), self.phantom / name)

    def wait(self, condition, what, seconds=400):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for: {what}\n{self.logs()}"
            time.sleep(0.3)

    def logs(self):
        return "\n".join(f"== {log}\n{log.read_text()[-2000:]}" for log in self.folder.rglob("*.log"))

    def online(self):
        status = read_status(self.home)
        return {site.site for site in status.sites if site.status == "online"} if status else set()

    def control(self):
        return Control(int(read_status(self.home).control.rpartition(":")[2]), self.home.authority)

    def stop(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(120)


def children(pid):
    """Process ids of everything below a process, by the kernel's own book-keeping."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def named(pid, words):
    return next(
        child for child in children(pid) if words in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    )


def peak_memory(pid):
    """Most memory that a process ever held, bytes; 0 when it has gone."""
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
    except (OSError, TypeError):
        return 0
