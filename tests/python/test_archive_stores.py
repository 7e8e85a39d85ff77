"""Archives in object stores: S3 and Google Cloud Storage, as servers on this machine speak them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from archive_support import FORMATS, codes, filled, in_log, log_of
from server_support import free_port, wait_for
from tenancy.audit import Archive, check_archive, read_archive
from tenancy.errors import Conflict, StoreDamaged, StoreError
from tenancy.stores.archive_place import TakenError


@contextmanager
def running(port: int, *command: str) -> Iterator[None]:
    """A server of its own, until the end of the block."""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-m", *command], stdout=quiet, stderr=quiet)
    try:
        wait_for(port, server)
        yield
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """Options for a server that speaks S3, with the bucket `bucket`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running(port, "moto.server", "-H", "127.0.0.1", "-p", str(port)):
        logging.getLogger("aiobotocore").setLevel(logging.WARNING)
        bucket = urllib.request.Request(f"{address}/bucket", method="PUT")
        urllib.request.urlopen(bucket, timeout=30).close()
        yield {
            "key": "a-key-of-the-test",
            "secret": "a-secret-of-the-test",
            "client_kwargs": {"endpoint_url": address, "region_name": "us-east-1"},
        }


@pytest.fixture(scope="module")
def gcs() -> Iterator[dict[str, Any]]:
    """Options for a server that speaks the JSON API of Google Cloud Storage, with `bucket`."""
    # Read when gcsfs is imported: it would ask Google's other interface (gRPC) first.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    port = free_port()
    command = ("gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}")
    with running(port, *command, "--in-memory", "--default-bucket=bucket"):
        yield {"token": "anon", "endpoint_url": f"http://127.0.0.1:{port}", "project": "test"}


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    scheme = str(request.param)
    return scheme, request.getfixturevalue({"s3": "s3", "gs": "gcs"}[scheme])


@pytest.mark.parametrize("form", FORMATS)
def test_a_part_is_written_once_checked_and_read(
    tmp_path: Path, store: tuple[str, dict[str, Any]], form: str
) -> None:
    scheme, options = store
    url = f"{scheme}://bucket/plain/{form}"
    with filled(tmp_path) as t:
        parts = t.audit.archive(url, format=form, storage_options=options)
        assert codes(url, t.audit.public_key, storage_options=options) == []
        archive = Archive(url, format=form, storage_options=options)
        assert archive.write(log_of(t), "access", 0, parts[1].records) == parts[1]
        assert {e.id for e in read_archive(url, storage_options=options)} == in_log(t).keys()
        files = fsspec.filesystem(scheme, **options)
        files.pipe_file(f"bucket/plain/{form}/{parts[1].name}", b"another's")
        assert codes(url, t.audit.public_key, storage_options=options) == ["part_changed"]
        with pytest.raises(StoreDamaged):
            archive.write(log_of(t), "access", 0, parts[1].records)
        files.rm_file(f"bucket/plain/{form}/{parts[1].manifest}")
        with pytest.raises(Conflict):
            archive.write(log_of(t), "access", 0, parts[1].records)
        assert files.cat_file(f"bucket/plain/{form}/{parts[1].name}") == b"another's"


def test_two_that_write_the_same_part_at_once_make_one(
    tmp_path: Path, s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looked before the first wrote: the store itself refuses it. (The server that
    speaks Google's interface takes the same condition and does not look at it.)"""
    url = "s3://bucket/race"
    with filled(tmp_path) as t:
        part = Archive(url, storage_options=s3).write(log_of(t), "access", 0, 3)
        late = Archive(url, storage_options=s3)
        monkeypatch.setattr(late.place._files, "exists", lambda path: False)
        source = tmp_path / "another"
        source.write_bytes(b"another's")
        with pytest.raises(TakenError):
            late.place.put(part.name, source)
        assert codes(url, t.audit.public_key, storage_options=s3) == []


def stored(s3: dict[str, Any], path: str) -> Any:
    files = fsspec.filesystem("s3", **s3)
    files.invalidate_cache()
    return files.info(path)


def test_the_storage_class_arrives_and_manifests_stay_readable(
    tmp_path: Path, s3: dict[str, Any]
) -> None:
    options = {**s3, "s3_additional_kwargs": {"StorageClass": "GLACIER"}}
    with filled(tmp_path) as t:
        parts = t.audit.archive("s3://bucket/cold", storage_options=options)
        key = t.audit.public_key
        for part in parts:
            assert stored(s3, f"bucket/cold/{part.name}")["StorageClass"] == "GLACIER"
            assert stored(s3, f"bucket/cold/{part.manifest}")["StorageClass"] == "STANDARD"
        archive = Archive("s3://bucket/cold", storage_options=options)
        log = log_of(t)
        assert archive.write(log, "access", 0, parts[1].records) == parts[1], "without restoring"
    report = check_archive("s3://bucket/cold", storage_options=options, public_key=key)
    assert report.status == 3
    assert {finding["code"] for finding in report.findings} == {"cold"}
    with pytest.raises(StoreError, match="cannot be read at once"):
        list(read_archive("s3://bucket/cold", storage_options=options))


def test_an_s3_that_is_down_or_refuses_says_no_secret(tmp_path: Path, s3: dict[str, Any]) -> None:
    with filled(tmp_path) as t:
        with pytest.raises(StoreError) as caught:
            t.audit.archive("s3://no-such-bucket/x", storage_options=s3)
        assert s3["secret"] not in str(caught.value) + repr(caught.value.__cause__)
        down = {
            **s3,
            "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
            "config_kwargs": {"retries": {"max_attempts": 1}},
            "skip_instance_cache": True,
        }
        with pytest.raises(StoreError) as caught:
            t.audit.archive("s3://bucket/x", storage_options=down)
        assert s3["secret"] not in str(caught.value)
        assert caught.value.remedy


def test_a_google_store_that_is_down_or_has_no_such_bucket(
    tmp_path: Path, gcs: dict[str, Any]
) -> None:
    with filled(tmp_path) as t, pytest.raises(StoreError, match="no-such-bucket"):
        t.audit.archive("gs://no-such-bucket/x", storage_options=gcs)
