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
        while True:
            try:
                session = self.idle.pop()
            except IndexError:
                session = Session(self.url())
                session.begin(timeout)
                break
            if session.begin(timeout):
                break  # else the server was started anew since
        rows = session.run(sql, timeout)
        assert rows is not None, session.complaint(timeout)
        self.idle.append(session)
        return rows

    def close(self):
        while self.idle:
            self.idle.pop().close()


class Session:
    def __init__(self, url):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", url], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)

    def begin(self, timeout):
        """Whether there is a connection."""
        return self.run("discard all", timeout) is not None

    def run(self, sql, timeout):
        """None: psql has ended."""
        end = f"--{secrets.token_hex(8)}"
        guard = threading.Timer(timeout, self.process.kill)
        guard.start()
        try:
            self.process.stdin.write(f"{sql}\n;\n\\echo {end}\n")
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

    def complaint(self, timeout):
        status = self.process.wait()
        self.errors.seek(0)
        return f"psql ended with {status} (-9: after {timeout} s): {self.errors.read()}"

    def close(self):
        try:
            self.process.communicate()
        except BrokenPipeError:
            pass  # it has ended before
