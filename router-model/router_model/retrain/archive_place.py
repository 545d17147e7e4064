"""Where an archive lies: a directory, or a bucket of S3 and its like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from router_model.retrain.log import LogError, is_bucket


class Place(Protocol):
    """Files of an archive, by their paths in it."""

    def tenants(self) -> list[str]:
        """Folders `tenant=…`, as they are called."""

    def files(self, folder: str, begin: str) -> Iterator[tuple[str, int]]:
        """Path and size of the Parquet files in the days of a folder whose names begin so, in order."""

    def read(self, path: str) -> bytes:
        """A file. Raises `LogError`."""

    def find(self, path: str) -> bytes | None:
        """A file that need not be there. Raises `LogError`."""

    def shown(self, path: str) -> str:
        """Where a file is, for a message."""


def open_place(where: str) -> Place:
    """Raises `LogError` for an address that is none, and without the client of S3."""
    return _Bucket(where) if is_bucket(where) else _Directory(Path(where))


class _Directory:
    def __init__(self, path: Path) -> None:
        self.path = path

    def tenants(self) -> list[str]:
        return sorted(folder.name for folder in self.path.glob("tenant=*"))

    def files(self, folder: str, begin: str) -> Iterator[tuple[str, int]]:
        for file in sorted((self.path / folder).glob(f"day=*/{begin}*.parquet")):
            yield str(file.relative_to(self.path)), file.stat().st_size

    def read(self, path: str) -> bytes:
        try:
            return (self.path / path).read_bytes()
        except OSError as error:
            raise LogError(f"{self.shown(path)}: {error.strerror}") from error

    def find(self, path: str) -> bytes | None:
        return self.read(path) if (self.path / path).exists() else None

    def shown(self, path: str) -> str:
        return str(self.path / path)


class _Bucket:
    """Keys, region and endpoint as every program of AWS has them: `AWS_*`, the files under `~/.aws`, a role."""

    def __init__(self, where: str) -> None:
        parts = urlsplit(where)
        if not parts.netloc or "@" in parts.netloc:
            raise LogError("s3://…: expected s3://bucket/prefix; keys come from the environment")
        try:
            import boto3
            import botocore.exceptions as errors
            from botocore.config import Config
        except ImportError as error:
            raise LogError("s3://…: reading a bucket needs boto3 (pip install boto3)") from error
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self._errors = (errors.ClientError, errors.BotoCoreError)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        # An endpoint that is not AWS's mostly has no names of hosts for its buckets, and no regions.
        options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if endpoint else {}
        with self._explain(""):
            session = boto3.Session()
            region = session.region_name or ("us-east-1" if endpoint else None)
            config = Config(retries={"max_attempts": 5, "mode": "standard"}, **options)
            self.client = session.client("s3", region_name=region, config=config)

    def tenants(self) -> list[str]:
        found = [folder for page in self._pages("", "/") for folder in page.get("CommonPrefixes", [])]
        names = [folder["Prefix"].rstrip("/").rsplit("/", 1)[-1] for folder in found]
        return sorted(name for name in names if name.startswith("tenant="))

    def files(self, folder: str, begin: str) -> Iterator[tuple[str, int]]:
        for page in self._pages(f"{folder}/", ""):
            for item in page.get("Contents", []):
                path = item["Key"][len(self._key("")) :]
                _, *days, name = path.split("/")
                if (
                    len(days) == 1
                    and days[0].startswith("day=")
                    and name.startswith(begin)
                    and path.endswith(".parquet")
                ):
                    yield path, int(item["Size"])

    def read(self, path: str) -> bytes:
        with self._explain(path):
            return bytes(self.client.get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read())

    def find(self, path: str) -> bytes | None:
        found = (item["Key"] for page in self._pages(path, "") for item in page.get("Contents", []))
        return self.read(path) if self._key(path) in found else None

    def shown(self, path: str) -> str:
        return f"s3://{self.bucket}/{self._key(path)}"

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _pages(self, path: str, delimiter: str) -> Iterator[dict[str, Any]]:
        with self._explain(path):
            pages = self.client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.bucket, Prefix=self._key(path), Delimiter=delimiter)

    @contextmanager
    def _explain(self, path: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise LogError(f"{self.shown(path)}: {_words(error)}") from error


WORDS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "it is not there (any more)",
    "AccessDenied": "access is denied: needed are s3:ListBucket on the bucket, and s3:GetObject below the prefix",
    "InvalidAccessKeyId": "the access key is not known there (AWS_ACCESS_KEY_ID, or the profile)",
    "SignatureDoesNotMatch": "the secret key is not the one of the access key (AWS_SECRET_ACCESS_KEY, or the profile)",
    "ExpiredToken": "the session of the credentials has expired: get new ones",
    "InvalidToken": "the session token is not valid (AWS_SESSION_TOKEN)",
    "RequestTimeTooSkewed": "this machine's clock is too far from the bucket's: set it (NTP)",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION",
    "NoCredentialsError": "no credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role)",
    "NoRegionError": "the region of the bucket is not known: set AWS_REGION",
    "EndpointConnectionError": "nothing answers there (AWS_ENDPOINT_URL, DNS, or a proxy)",
    "SlowDown": "it is too busy, and was tried several times: run again",
}
"""By the code of an answer, or the class of an error."""


def _words(error: Exception) -> str:
    code = getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__
    return f"{WORDS[code]} ({code})" if code in WORDS else str(error)
