"""Accounts of a running otad, logged in for as long as a test needs them."""
import secrets
import time

import httpx

PASSWORD = "correct horse battery staple"


class Login(httpx.Auth):
    """Bearer token of an account; logs in again before it expires."""

    def __init__(self, url, email, password):
        self.url, self.email, self.password = url, email, password
        self.expires, self.answer = 0, None

    @property
    def token(self):
        if time.monotonic() > self.expires:
            answer = httpx.post(f"{self.url}/auth/login", json={"email": self.email, "password": self.password},
                                timeout=30)
            assert answer.status_code == 200, answer.text
            self.answer = answer.json()
            self.expires = time.monotonic() + self.answer["expires_in"] / 2
        return self.answer["access_token"]

    def auth_flow(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


class Account:
    """email, password, id, token, and `client`: httpx.Client that sends the token."""

    def __init__(self, system, role="user", email=None):
        self.email = email or f"{role}-{secrets.token_hex(6)}@example.org"
        self.password = PASSWORD
        answer = httpx.post(f"{system.url}/auth/register", json={"email": self.email, "password": self.password},
                            timeout=30)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["user"]["id"]
        # The first account of an installation is operator: here it is what the test asked for.
        system.psql(f"update users set role = '{role}' where id = {int(self.id)}")
        self.login = Login(system.url, self.email, self.password)
        self.client = httpx.Client(base_url=system.url, auth=self.login, timeout=30)

    @property
    def token(self):
        return self.login.token

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}
