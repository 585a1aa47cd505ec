"""Bearer tokens: who calls. Their names, never the tokens, show in limits and logs."""

from __future__ import annotations

import hashlib
import re
import secrets

from paceline.base.errors import ConfigError, Unauthorised
from paceline.serve.policy import AdminPolicy, AuthPolicy

_SENDABLE = re.compile(r"[\x21-\x7e]+")


class Tokens:
    """Knows callers by their bearer token.

    Tokens are kept and compared as keyed digests under a key of this process. A caller cannot foresee a single
    bit of the digest of a guess, so how long the look-up takes tells nothing about how near the guess was, and one
    look-up serves any number of tokens.
    """

    def __init__(
        self, policy: AuthPolicy | AdminPolicy, *, group: str = "auth", name: str = "default"
    ) -> None:
        """`name` is that of the policy's single token, `group` where the policy stands in the settings.

        Raises ConfigError for tokens that no header can carry and for two names of one token.
        """
        self._keyed = hashlib.blake2b(digest_size=16, key=secrets.token_bytes(32))
        self._names: dict[bytes, str] = {}
        if policy.token:
            self._add(name, policy.token, f"{group}.token")
        if isinstance(policy, AuthPolicy):
            for each, token in policy.tokens.items():
                self._add(each, token, f"{group}.tokens.{each}")

    def _add(self, name: str, token: str, setting: str) -> None:
        if not _SENDABLE.fullmatch(token):
            raise ConfigError(
                f"{setting} is empty or has spaces or characters outside ASCII, which no header can carry; "
                "use letters, digits and punctuation",
                param=setting,
            )
        digest = self._digest(b"Bearer " + token.encode())
        if digest in self._names or name in self._names.values():
            raise ConfigError(
                f"{setting} has the token or the name of {self._names.get(digest, name)!r}; give each caller its own",
                param=setting,
            )
        self._names[digest] = name

    @property
    def required(self) -> bool:
        """Whether there is any token; without one everybody may call."""
        return bool(self._names)

    def authorise(self, header: bytes | None) -> str:
        """The name of the caller with this `Authorization` header, "" when the door is open; raises Unauthorised."""
        if not self._names:
            return ""
        if header is None:
            raise Unauthorised(
                "no token was sent; send the header `Authorization: Bearer <token>` or `Api-Key: <token>`"
            )
        name = self._names.get(self._digest(header))
        if name is not None:
            return name
        if header[:7].lower() != b"bearer ":
            raise Unauthorised("the Authorization header is not of the form `Bearer <token>`")
        name = self._names.get(self._digest(b"Bearer " + header[7:].strip()))
        if name is None:
            raise Unauthorised("the token is not known here; check it, or ask who runs this server for one")
        return name

    def _digest(self, header: bytes) -> bytes:
        digest = self._keyed.copy()
        digest.update(header)
        return digest.digest()
