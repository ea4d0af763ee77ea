"""Access tokens that were not made by the server, or not like this: each is 401."""
import base64
import hashlib
import hmac
import json
import time

import pytest

from answers import problem


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64_json(value):
    return b64(json.dumps(value, separators=(",", ":")).encode())


class Forge:
    """Takes a good token apart and signs variations of it, with the server's own key unless told otherwise."""

    def __init__(self, otad, token):
        self.key = (otad.var / "keys/jwt.key").read_bytes()
        header, claims, _ = token.split(".")
        self.header, self.claims = (json.loads(base64.urlsafe_b64decode(p + "==")) for p in (header, claims))

    def make(self, header=None, claims=None, key=None, digest=hashlib.sha256, without=()):
        claims = {k: v for k, v in {**self.claims, **(claims or {})}.items() if k not in without}
        text = b64_json({**self.header, **(header or {})}) + "." + b64_json(claims)
        return text + "." + b64(hmac.new(key or self.key, text.encode(), digest).digest())


@pytest.fixture
def forge(otad, user):
    return Forge(otad, user.token)


def ask(client, token):
    return client.get("/auth/me", headers={"Authorization": f"Bearer {token}"})


def refused(client, token):
    answer = ask(client, token)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_forge_makes_good_tokens(client, forge):
    assert ask(client, forge.make()).status_code == 200


def test_claims_are_those_of_the_contract(forge):
    assert set(forge.claims) == {"iss", "aud", "sub", "iat", "exp", "jti", "role", "sid"}
    assert forge.header["alg"] == "HS256" and "kid" in forge.header
    assert forge.claims["exp"] - forge.claims["iat"] == 900


@pytest.mark.parametrize("header", [
    {"alg": "none"}, {"alg": "None"}, {"alg": "HS512"}, {"alg": "HS384"}, {"alg": "RS256"}, {"alg": "hs256"},
    {"kid": "00000000"}, {"kid": "../../etc/passwd"}, {"crit": ["exp"]}, {"jku": "https://example.org/keys"},
    {"jwk": {"kty": "oct", "k": "AAAA"}}, {"x5u": "https://example.org"}])
def test_other_headers(client, forge, header):
    refused(client, forge.make(header=header))


def test_no_algorithm_and_no_signature(client, forge):
    text = b64_json({"alg": "none", "typ": "JWT"}) + "." + b64_json(forge.claims)
    for token in (text + ".", text, text + ".AAAA"):
        refused(client, token)


def test_another_digest(client, forge):
    refused(client, forge.make(header={"alg": "HS512"}, digest=hashlib.sha512))
    refused(client, forge.make(digest=hashlib.sha512))


def test_another_key(client, forge):
    refused(client, forge.make(key=b"another key of thirty-two bytes!"))


@pytest.mark.parametrize("claims", [
    {"exp": 1}, {"iss": "somebody"}, {"aud": "somebody"}, {"aud": ["otad"]}, {"sub": 1}, {"sub": "0"}, {"sub": "-1"},
    {"sub": "1 or 1=1"}, {"sub": ""}, {"role": "root"}, {"role": ""}, {"exp": "9999999999"}, {"exp": None}, {"sid": "x"},
    {"iat": 99999999999, "exp": 99999999999 + 900}])
def test_other_claims(client, forge, claims):
    refused(client, forge.make(claims=claims))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp", "jti", "role", "sid"])
def test_missing_claims(client, forge, claim):
    refused(client, forge.make(without=[claim]))


def test_expired(client, forge):
    now = int(time.time())
    refused(client, forge.make(claims={"iat": now - 1000, "exp": now - 100}))


def test_other_spellings(client, forge):
    token = forge.make()
    header, claims, signature = token.split(".")
    spellings = [header + "=." + claims + "." + signature, f"{header}.{claims}.{signature}=", token + "x", token + ".",
                 token + ".x", "." + token, f"{header}.{claims}.{signature[:-1]}", f"{header}..{signature}",
                 "a" * 8192, token + "A" * 8192]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
    if last % 4 == 0:  # the two lowest bits are not part of the signature, and must be zero
        spellings.append(token[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last + 1])
    for spelling in spellings:
        refused(client, spelling)


def test_every_flipped_character(client, forge):
    token = forge.make()
    for i in range(0, len(token), 7):
        if token[i] != ".":
            refused(client, token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1:])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dTpw", "bearer", "Token x"])
def test_no_token_at_all(client, header):
    answer = client.get("/auth/me", headers={} if header is None else {"Authorization": header})
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_role_changed_in_the_token(client, forge):
    header, _, signature = forge.make().split(".")
    refused(client, header + "." + b64_json({**forge.claims, "role": "operator"}) + "." + signature)
