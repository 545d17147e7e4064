"""Redis by its address: one server, a Cluster, or the master that Sentinels name; with TLS and credentials.

    redis://[user:password@]host[:6379][/db]
    redis-cluster://[user:password@]host:6379,host:6379
    redis-sentinel://[user:password@]host:26379,host:26379/name

`rediss…` is the same over TLS. Options: `?ssl_ca_certs=…&ssl_certfile=…&ssl_keyfile=…&sentinel_password=…`.
Credentials that the address lacks are taken from REDIS_USERNAME and REDIS_PASSWORD.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    import redis

SCHEME = re.compile(r"(rediss?)(?:-(cluster|sentinel))?")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?")
OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "sentinel_username", "sentinel_password")
TIMEOUT_S = 30
RETRIES = 4


class AddressError(ValueError):
    """Not an address; the message holds no part of it that could be secret."""


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis is. Its text has no credentials."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    """Number of the database, or what Sentinels call the master."""
    secrets: dict[str, str] = field(repr=False)
    options: dict[str, str] = field(repr=False)

    def __str__(self) -> str:
        """Without credentials and options."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts}{f'/{self.path}' if self.path else ''}"

    def connect(self) -> Any:
        """A client that answers. Raises `redis.RedisError` or `OSError`."""
        import redis
        from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
        from redis.cluster import ClusterNode
        from redis.retry import Retry
        from redis.sentinel import Sentinel

        common: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        common |= {name: value for name, value in self.options.items() if name.startswith("ssl_")}
        if self.scheme.startswith("rediss"):
            common["ssl"] = True
        whole = common | self.secrets
        if self.scheme.endswith("-cluster"):
            return redis.RedisCluster(startup_nodes=[ClusterNode(*host) for host in self.hosts], **whole)
        whole["retry"] = Retry(ExponentialWithJitterBackoff(cap=2, base=0.1), RETRIES)
        if self.scheme.endswith("-sentinel"):
            # Finding the master is tried again as a whole.
            own: dict[str, Any] = common | {"retry": Retry(NoBackoff(), 0)}
            own |= {k.removeprefix("sentinel_"): v for k, v in self.options.items() if k.startswith("sentinel_")}
            return Sentinel(list(self.hosts), sentinel_kwargs=own, **whole).master_for(self.path)
        [(host, port)] = self.hosts
        client = redis.Redis(host=host, port=port, db=int(self.path or 0), **whole)
        if _in_cluster(client):
            client.close()
            return replace(self, scheme=f"{self.scheme}-cluster", path="").connect()
        return client


def _in_cluster(client: redis.Redis) -> bool:
    import redis

    try:
        found: Any = client.info("cluster")
    except redis.exceptions.ResponseError:  # an account that may not ask
        return False
    return bool(int(found.get("cluster_enabled", 0)))


def is_redis(where: str) -> bool:
    """Whether a text means to be such an address."""
    return SCHEME.fullmatch(where.partition("://")[0]) is not None and "://" in where


def parse_redis(url: str) -> RedisAddress:
    """Takes an address apart. Raises `AddressError`."""
    scheme, _, rest = url.partition("://")
    kind = SCHEME.fullmatch(scheme)
    if kind is None:
        raise AddressError(f"{scheme}: no such kind of address")
    rest, _, query = rest.partition("?")
    credentials, _, place = rest.rpartition("@")
    listed, _, path = place.partition("/")
    usual = 26379 if kind[2] == "sentinel" else 6379
    found = [HOST.fullmatch(host) for host in listed.split(",")]
    options = dict(parse_qsl(query))
    if not all(found) or (kind[2] is None and len(found) > 1) or (kind[2] is None and not path.isdecimal() and path):
        raise AddressError(
            f"not an address: expected {scheme}://[user:password@]host[:port]{_more(kind[2])}, "
            "special characters of a password as %40 and the like"
        )
    if kind[2] == "sentinel" and not path:
        raise AddressError(f"{scheme}: name the master that the Sentinels watch: {scheme}://host:26379/name")
    if kind[2] == "cluster" and path not in ("", "0"):
        raise AddressError(f"{scheme}: a cluster has one database only")
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise AddressError(f"{scheme}: no option {', '.join(unknown)}; there are {', '.join(OPTIONS)}")
    user, _, password = credentials.partition(":")
    secrets = {
        "username": unquote(user) or os.environ.get("REDIS_USERNAME", ""),
        "password": unquote(password) or os.environ.get("REDIS_PASSWORD", ""),
    }
    hosts = tuple((host[1].strip("[]"), int(host[2] or usual)) for host in found if host)
    return RedisAddress(
        scheme, hosts, "" if kind[2] == "cluster" else path, {k: v for k, v in secrets.items() if v}, options
    )


def _more(kind: str | None) -> str:
    return {"cluster": ",host:port", "sentinel": ",host:port/name", None: "[/db]"}[kind]
