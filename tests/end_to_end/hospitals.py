"""Hospitals in one process, each with its executor, policy and audit log: all of a node but the transport."""

import threading

import yaml
from flwr.supercore.task_identity import TaskIdentity

from client.node.activity import Activity
from client.node.executor import Executor, answer
from client.node.home import SiteHome
from client.node.taking import Source, Taken
from common.audit import read
from common.configuration import load_run, to_yaml
from server.identity import identity
from server.initial import initial_model
from server.rounds import Federation
from simulations.local_grid import LocalGrid


class Hospitals:
    """Sites of a data folder behind their executors; called as Flower calls a ClientApp."""

    def __init__(self, data, folder, names=("MCS", "TUH")):
        self.folder, self.names, self._executors = folder, names, {}
        for name in names:
            settings = {"site": name, "federation": "f", "address": "a:1", "data": str(data / name), "code": "x"}
            home = SiteHome(folder / name)
            home.folder.mkdir(parents=True, exist_ok=True)
            home.settings_file.write_text(yaml.safe_dump(settings))
            source = Source("127.0.0.1:9", b"s" * 32, threading.Event())
            self._executors[name] = Executor(home, Activity(home.activity_file), source)

    def __call__(self, message, context):
        return answer(self._executors[context.node_config["site"]], Taken(message, str(TaskIdentity.run_id), "bundle"))

    def home(self, name):
        return self._executors[name].home

    def allow(self, name, **policy):
        """Write a policy into a site's ``site.yaml``."""
        file = self.home(name).settings_file
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"policy": policy}))

    def forget(self, name):
        """Take away a site's policy, ledger and audit log; prepared images stay."""
        home = self.home(name)
        self.allow(name)
        for item in (home.audit, home.folder / "privacy-ledger.jsonl"):
            item.unlink(missing_ok=True)

    def refusals(self, name):
        """What a site's audit log says that it refused: message type and error."""
        return [
            (entry.details["request"], entry.details["error"])
            for entry in read(self.home(name).audit)
            if entry.event == "refused"
        ]

    def federation(self, folder, *overrides):
        """A run that may begin: its federation and its first model."""
        settings = ["training.threads=1", f"sites=[{','.join(self.names)}]", "federation.rounds=1", *overrides]
        config = load_run("tiny", settings)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(to_yaml(config))
        model = initial_model(config)
        grid = LocalGrid(self, {name: {"site": name} for name in self.names})
        trained = frozenset(name for name, _ in model.named_parameters())
        return Federation(grid, config, folder, trained, identity=identity(folder)), dict(model.state_dict())
