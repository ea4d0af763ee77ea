"""An otad whose calls of the C library can be made to fail, one at a time (tests/lib/faults.c)."""
import json
import mmap
import os
import pathlib
import signal
import struct
import subprocess

from devices import wait_for
from system import BUILD, PROGRAM, ROOT, linked_with

ROW = struct.Struct("<16sQQQii64s")


class Faults:
    """The table that the preloaded library shares with this process."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)

    def rows(self):
        """Name: (offset, calls, at, fired), as far as the program has named its rows."""
        found = {}
        for offset in range(0, 4096 - ROW.size, ROW.size):
            name, calls, at, fired, _, _, _ = ROW.unpack_from(self.map, offset)
            if name[0] == 0:
                break
            found[name.rstrip(b"\0").decode()] = (offset, calls, at, fired)
        return found

    def arm(self, name, number, error):
        """The number-th call from now fails with this errno; 0: none."""
        offset = self.rows()[name][0]
        ROW.pack_into(self.map, offset, name.encode(), 0, number, 0, error, 0, b"")

    def calls(self, name):
        return self.rows()[name][1]

    def caller(self, name):
        """The program or library whose call failed."""
        return ROW.unpack_from(self.map, self.rows()[name][0])[-1].rstrip(b"\0").decode()

    def fired(self, name):
        return self.rows()[name][3] != 0


class FaultyOtad:
    """Takes the place of the otad that conf/up runs for `system`: same ports, same services."""

    def __init__(self, system, command=()):
        self.system = system
        self.faults = Faults(system.var / "faults")
        environment = system.environment()
        system.service("otad", "stop")
        runtime = linked_with(PROGRAM, "libasan")
        environment["LD_PRELOAD"] = ":".join(filter(None, [runtime, str(BUILD / "otad_faults.so")]))
        environment["OTAD_FAULTS"] = str(self.faults.path)
        self.process = subprocess.Popen([*command, PROGRAM, "serve"], env=environment, cwd=ROOT,
                                        stderr=open(system.var / "log/faulty.log", "a"))
        wait_for(self.ready, 60)

    def ready(self):
        assert self.process.poll() is None, f"otad ended with {self.process.returncode}"
        return self.system.ready()

    @property
    def pid(self):
        """Of the process that serves; None while there is none."""
        try:
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def descriptors(self):
        """How many of what kind the serving process has open."""
        kinds = {}
        place = pathlib.Path(f"/proc/{self.pid}/fd")
        for entry in place.iterdir():
            try:
                kind = os.readlink(entry).split(":")[0]
            except OSError:
                continue
            kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def crashes(self):
        """What the supervising process said of those that ended."""
        lines = (self.system.var / "log/faulty.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if '"server crashed"' in line]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.system.service("otad", "start")
