"""psql, as a process that stays: to start one and its connection takes 50 ms, and many tests ask again and again."""
import secrets
import subprocess
import tempfile
import threading

PSQL = "/usr/lib/postgresql/15/bin/psql"  # what Debian has in the path is slow to find it


class Psql:
    """Runs statements for several threads at once, each in a session as good as new. url(): of the database."""

    def __init__(self, url):
        self.url, self.idle = url, []

    def run(self, sql, timeout=60):
        """The rows as text, columns split by |. What fails is an AssertionError with the server's words."""
        used = bool(self.idle)
        session = self.idle.pop() if used else Session(self.url())
        rows = session.run(sql, timeout)
        if rows is None and used and session.disconnected():
            return self.run(sql, timeout)  # the server was started anew since
        assert rows is not None, session.complaint()
        self.idle.append(session)
        return rows

    def close(self):
        while self.idle:
            self.idle.pop().close()


class Session:
    LOST = 2  # psql's status for a connection that broke

    def __init__(self, url):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", url], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)

    def run(self, sql, timeout):
        """None: psql has ended."""
        end = f"--{secrets.token_hex(8)}"
        guard = threading.Timer(timeout, self.process.kill)
        guard.start()
        try:
            self.process.stdin.write(f"{sql}\n;\ndiscard all;\n\\echo {end}\n")
            self.process.stdin.flush()
            lines = []
            while (line := self.process.stdout.readline()) != f"{end}\n":
                if not line:
                    return None
                lines.append(line)
            return "".join(lines).rstrip("\n")
        except BrokenPipeError:
            return None
        finally:
            guard.cancel()

    def disconnected(self):
        return self.process.wait() == self.LOST

    def complaint(self):
        status = self.process.wait()
        self.errors.seek(0)
        return f"psql ended with {status}: {self.errors.read()}"

    def close(self):
        self.process.communicate()
