"""Blobs as objects in an S3 bucket."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from workers.errors import BlobNotFound, StorageUnavailable
from workers.storage import CHUNK_BYTES, UPLOAD_HEADERS, BlobStat, UploadLink, checked_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

    from workers.settings import Settings

NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
TIMEOUTS = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"max_attempts": 4, "mode": "standard"},
    signature_version="s3v4",
    # Other servers than Amazon's may not know the newer default checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class S3BlobStore:
    """Blobs as objects of one bucket; `public_client` signs links with the endpoint that callers can reach."""

    def __init__(self, client: S3Client, bucket: str, *, public_client: S3Client | None = None) -> None:
        self._client = client
        self._public_client = public_client or client
        self._bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> S3BlobStore:
        """Connect as the settings say."""

        def client(endpoint_url: str | None) -> S3Client:
            secret = settings.s3_secret_access_key
            return boto3.client(
                "s3",
                endpoint_url=endpoint_url,
                region_name=settings.s3_region,
                aws_access_key_id=settings.s3_access_key_id,
                aws_secret_access_key=secret.get_secret_value() if secret else None,
                config=TIMEOUTS,
            )

        public = settings.s3_public_endpoint_url
        return cls(
            client(settings.s3_endpoint_url),
            settings.s3_bucket or "",
            public_client=client(public) if public else None,
        )

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobStat:
        """Store a file whole, in parts when it is large."""
        with _translated():
            extra = {"ContentType": content_type}
            self._client.upload_file(str(path), self._bucket, checked_key(key), ExtraArgs=extra)
            size = path.stat().st_size
        return self._whole(key, size)

    def put_bytes(self, key: str, content: bytes, *, content_type: str) -> BlobStat:
        """Store bytes whole."""
        with _translated():
            self._client.put_object(Bucket=self._bucket, Key=checked_key(key), Body=content, ContentType=content_type)
        return self._whole(key, len(content))

    def _whole(self, key: str, size: int) -> BlobStat:
        """The blob that was just stored, if all of it is there; half a blob is removed."""
        try:
            stored = self.stat(key)
        except BlobNotFound as error:
            raise StorageUnavailable("Storage does not hold what was sent.") from error
        if stored.size != size:
            self.delete(key)
            raise StorageUnavailable("Storage kept a part of what was sent.")
        return stored

    def get_to_file(self, key: str, path: Path) -> None:
        """Copy a blob into a file. Raises: BlobNotFound."""
        with _translated():
            self._client.download_file(self._bucket, checked_key(key), str(path))

    def get_bytes(self, key: str) -> bytes:
        """Read a small blob. Raises: BlobNotFound."""
        with _translated():
            return self._client.get_object(Bucket=self._bucket, Key=checked_key(key))["Body"].read()

    def open_range(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read `length` bytes from `start` in chunks. Raises: BlobNotFound."""
        if length == 0:
            return iter(())
        end = "" if length is None else str(start + length - 1)
        span: dict[str, Any] = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        with _translated():
            body = self._client.get_object(Bucket=self._bucket, Key=checked_key(key), **span)["Body"]
        return _chunks(body)

    def stat(self, key: str) -> BlobStat:
        """Look a blob up. Raises: BlobNotFound."""
        with _translated():
            head = self._client.head_object(Bucket=self._bucket, Key=checked_key(key))
        return BlobStat(key, head["ContentLength"], head["ETag"].strip('"'), head["LastModified"].timestamp())

    def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is no error."""
        with _translated():
            self._client.delete_object(Bucket=self._bucket, Key=checked_key(key))

    def list_prefix(self, prefix: str) -> Iterator[BlobStat]:
        """List the blobs whose key begins with `prefix`."""
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for item in page.get("Contents", []):
                    modified_at = item["LastModified"].timestamp()
                    yield BlobStat(item["Key"], item["Size"], item.get("ETag", "").strip('"'), modified_at)

    def signed_url(self, key: str, *, expires_s: int, filename: str) -> str:
        """Make a presigned link."""
        parameters = {
            "Bucket": self._bucket,
            "Key": checked_key(key),
            "ResponseContentDisposition": f'attachment; filename="{filename}"',
        }
        with _translated():
            return self._public_client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=expires_s)

    def signed_upload(self, key: str, *, expires_s: int, size: int) -> UploadLink:
        """Make a presigned link for a PUT of exactly `size` bytes: the length is signed."""
        parameters = {
            "Bucket": self._bucket,
            "Key": checked_key(key),
            "ContentLength": size,
            "ContentType": UPLOAD_HEADERS["Content-Type"],
        }
        with _translated():
            url = self._public_client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=expires_s)
        return UploadLink(url, UPLOAD_HEADERS)

    def sweep_drafts(self, *, before: float) -> int:
        """Abort uploads in parts that were begun before a time in unix seconds and never ended; returns how many."""
        swept = 0
        with _translated():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket)
            for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
                if upload["Initiated"].timestamp() < before:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    swept += 1
        return swept

    def ping(self) -> None:
        """Prove that blobs can be written."""
        with _translated():
            self._client.put_object(Bucket=self._bucket, Key="ping", Body=b"ping", ContentType="text/plain")


def _chunks(body: StreamingBody) -> Iterator[bytes]:
    with _translated():
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        finally:
            body.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in NOT_FOUND:
            raise BlobNotFound from error
        raise StorageUnavailable from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StorageUnavailable from error
