#!/usr/bin/env python3
"""Writes a service's container image as an OCI archive:

    write-image.py relay|gateway BINARY ARCHIVE --architecture arm64 --version V --revision R

The image has one layer with one program, and with --ca the certificates /ca.pem. Dates and owners are fixed, so the same input
gives the same bytes. The archive also has the index of `docker save`, so that `docker load` reads it.

The Dockerfile says the same in docker's words; check-image.py compares the two.
"""
import argparse
import gzip
import hashlib
import io
import json
import pathlib
import tarfile

DATE = 315532800  # 1980-01-01, the date of the Lambda's zip
SECOND = 10**9
PROGRAMS = {
    "relay": "Passes changes from the outbox in PostgreSQL to Redis and SQS",
    "gateway": "Delivers events to clients over WebSocket and Server-Sent Events",
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("archive", type=pathlib.Path)
    parser.add_argument("--architecture", choices=["arm64", "amd64"], required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--ca", type=pathlib.Path)
    return parser.parse_args()


def tar(files):
    """A tar of these files: name, mode and content of each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, DATE
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def packed(content):
    """Compressed with a header that is the same in every version of Python."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def descriptor(media, content):
    return {"mediaType": f"application/vnd.oci.image.{media}", "digest": digest(content), "size": len(content)}


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def blob(content):
    return "blobs/" + digest(content).replace(":", "/")


def main():
    given = arguments()
    program = given.program
    files = [(program, 0o755, given.binary.read_bytes())]
    if given.ca:
        files.append(("ca.pem", 0o644, given.ca.read_bytes()))
    unpacked = tar(files)
    layer = packed(unpacked)

    created = "1980-01-01T00:00:00Z"
    platform = {"os": "linux", "architecture": given.architecture}
    config = compact(platform | {
        "created": created,
        "config": {
            "User": "65532:65532",
            "Entrypoint": [f"/{program}"],
            "Cmd": ["run"],
            "ExposedPorts": {"8080/tcp": {}},
            "StopSignal": "SIGTERM",
            # Docker's; ECS uses the check of its task definition.
            "Healthcheck": {
                "Test": ["CMD", f"/{program}", "health"],
                "Interval": 30 * SECOND, "Timeout": 5 * SECOND, "StartPeriod": 30 * SECOND, "Retries": 3,
            },
            "Labels": {
                "org.opencontainers.image.title": f"events-{program}",
                "org.opencontainers.image.description": PROGRAMS[program],
                "org.opencontainers.image.licenses": "MIT",
                "org.opencontainers.image.version": given.version,
                "org.opencontainers.image.revision": given.revision,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(unpacked)]},
        "history": [{"created": created, "created_by": "infra/image/image.sh"}],
    })
    manifest = compact({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar+gzip", layer)],
    })
    index = compact({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            descriptor("manifest.v1+json", manifest)
            | {"platform": platform, "annotations": {"org.opencontainers.image.ref.name": given.version}}
        ],
    })
    # What `docker load` reads.
    docker = compact([{"Config": blob(config), "RepoTags": [f"events-{program}:{given.version}"], "Layers": [blob(layer)]}])

    blobs = sorted((blob(content), 0o644, content) for content in (config, manifest, layer))
    roots = [("index.json", 0o644, index), ("manifest.json", 0o644, docker)]
    given.archive.write_bytes(tar([("oci-layout", 0o644, compact({"imageLayoutVersion": "1.0.0"})), *roots, *blobs]))
    print(f"  size     {len(layer):,} bytes ({len(unpacked):,} unpacked)\n  digest   {digest(manifest)}")


if __name__ == "__main__":
    main()
