"""Further instances of otad beside a system's own, on its services, each killed, stopped and continued by tests.

    second = Instance(system, "second")             # its name is application_name of its sessions in PostgreSQL
    second.request("GET", f"/rollouts/{id}", account)

Owner: the test; end() ends it however it stands.
"""
import os
import pathlib
import signal
import subprocess

import httpx

from devices import wait_for
from ports import free_ports
from system import PROGRAM, ROOT


class Instance:
    def __init__(self, system, name="second", scripts=None, **settings):
        http, https = free_ports(2)
        self.system, self.name, self.url = system, name, f"http://localhost:{http}"
        self.log_path = system.var / f"log/{name}.log"
        self.scripts = scripts
        environment = {"OTAD_PUBLIC_URL": system.url, **system.environment(), "OTAD_HTTP_PORT": str(http),
                       "OTAD_HTTPS_PORT": str(https), "PGAPPNAME": name, **settings}
        if scripts:
            environment["OTAD_SCRIPTS"] = str(scripts)
        self.environment = environment
        self.start()

    def start(self):
        self.process = subprocess.Popen([PROGRAM, "serve"], env=self.environment, cwd=ROOT,
                                        stderr=open(self.log_path, "a"))
        wait_for(self.ready, 30)

    def ready(self):
        assert self.process.poll() is None, self.log()[-2000:]
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def request(self, method, path, account, body=None, **headers):
        headers = {"Authorization": f"Bearer {account.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return httpx.request(method, self.url + path, headers=headers, json=body, timeout=30)

    def get(self, path, token):
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def processes(self):
        """The one that watches, then the one that serves."""
        parent = self.process.pid
        found = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, found)]

    def signal(self, number):
        for pid in self.processes():
            os.kill(pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def ask_to_stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)

    def end(self):
        self.ask_to_stop()
        assert self.process.wait(40) in (0, -signal.SIGKILL), self.log()[-2000:]
