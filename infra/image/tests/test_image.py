"""Tests of image.sh, write-image.py and check-image.py with small programs made here. infra/check.sh runs them."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent.parent
ARM64, X86_64 = 183, 62
LOAD, DYNAMIC, INTERPRETER = 1, 2, 3
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def program(machine=ARM64, segments=(LOAD,), kind=2, tags=()):
    """An ELF program that has these segments and dynamic entries, and does nothing."""
    dynamic = b"".join(struct.pack("<qQ", tag, 0) for tag in (*tags, 0))
    offset = 64 + 56 * len(segments)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    table = (struct.pack("<IIQQQQQQ", s, 5, offset, 0, 0, len(dynamic), len(dynamic), 8) for s in segments)
    return header + b"".join(table) + dynamic


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def blob(content):
    return "blobs/" + digest(content).replace(":", "/")


class RelayImage(unittest.TestCase):
    name, other = "relay", "gateway"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, content, called="file"):
        path = self.folder / called
        path.write_bytes(content)
        return path

    def run_python(self, script, *arguments):
        done = subprocess.run([sys.executable, HERE / script, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def image(self, binary=None, called="image.tar", architecture="arm64", ca=None):
        path = self.folder / called
        options = ["--architecture", architecture, "--version", "1.2.3", "--revision", "abc"]
        options += ["--ca", self.file(ca, "ca")] if ca else []
        code, said = self.run_python("write-image.py", self.name, self.file(binary or program(), "binary"), path, *options)
        self.assertEqual(code, 0, said)
        return path

    def accepted(self, path, architecture="arm64"):
        self.assertEqual(self.run_python("check-image.py", "--architecture", architecture, self.name, path), (0, ""))

    def refused(self, path, because, *options):
        code, said = self.run_python("check-image.py", *options, self.name, path)
        self.assertEqual(code, 1, said)
        self.assertIn(because, said)
        self.assertNotIn("Traceback", said)

    def changed(self, config=None, files=None):
        """An image with correct digests, after a change of its configuration or of its layer's files."""
        with tarfile.open(self.image()) as archive:
            content = {entry.name: archive.extractfile(entry).read() for entry in archive}
        index = json.loads(content["index.json"])
        manifest = json.loads(content.pop("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))
        settings = json.loads(content.pop("blobs/" + manifest["config"]["digest"].replace(":", "/")))
        layer = content.pop("blobs/" + manifest["layers"][0]["digest"].replace(":", "/"))
        if files:
            unpacked = io.BytesIO()
            with tarfile.open(fileobj=unpacked, mode="w") as archive:
                for entry, data in files:
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
            settings["rootfs"]["diff_ids"] = [digest(unpacked.getvalue())]
            layer = gzip.compress(unpacked.getvalue())
        settings["config"] |= config or {}
        settings = json.dumps(settings).encode()
        manifest["config"] |= {"digest": digest(settings), "size": len(settings)}
        manifest["layers"][0] |= {"digest": digest(layer), "size": len(layer)}
        manifest = json.dumps(manifest).encode()
        index["manifests"][0] |= {"digest": digest(manifest), "size": len(manifest)}
        content |= {blob(data): data for data in (settings, layer, manifest)}
        content["index.json"] = json.dumps(index).encode()
        content["manifest.json"] = json.dumps([{"Config": blob(settings), "RepoTags": [], "Layers": [blob(layer)]}]).encode()
        return self.archive(content)

    def archive(self, content):
        path = self.folder / "changed.tar"
        with tarfile.open(path, mode="w") as archive:
            for called, data in content.items():
                entry = tarfile.TarInfo(called)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return path

    def test_an_image_passes_its_check(self):
        self.accepted(self.image())
        self.accepted(self.image(program(X86_64), architecture="amd64"), "amd64")
        self.accepted(self.image(program(kind=3, segments=(LOAD, DYNAMIC), tags=(5, 6))))
        self.accepted(self.image(ca=CERTIFICATE * 2))
        self.accepted(self.changed())

    def test_the_same_input_gives_the_same_bytes(self):
        first = self.image(called="first.tar").read_bytes()
        os.utime(self.folder / "binary", (1, 1))
        (self.folder / "binary").chmod(0o600)
        self.assertEqual(first, self.image(called="second.tar").read_bytes())

    def test_only_a_static_program_of_the_architecture_is_accepted(self):
        for binary, because in [
            (program(X86_64), "not built for arm64"),
            (program(segments=(LOAD, INTERPRETER)), "needs an interpreter"),
            (program(segments=(LOAD, DYNAMIC), tags=(1,)), "needs a shared library"),
            (program(kind=1), "no program"),
            (program(segments=()), "nothing to load"),
            (b"#!/bin/sh\nexit 0\n", "no 64-bit ELF"),
        ]:
            with self.subTest(because):
                self.refused(self.image(binary), because)

    def test_another_user_command_or_field_is_refused(self):
        for config, because in [
            ({"User": "0:0"}, "User is '0:0'"),
            ({"User": ""}, "User is ''"),
            ({"Entrypoint": ["/bin/sh", "-c"]}, "Entrypoint is"),
            ({"Cmd": ["migrate"]}, "Cmd is"),
            ({"Env": ["REDIS_URL=rediss://:p@h"]}, "Env is"),
            ({"Healthcheck": None}, "Healthcheck is"),
            ({"Labels": {}}, "labels"),
            ({"Entrypoint": [f"/{self.other}"]}, "Entrypoint is"),
        ]:
            with self.subTest(because):
                self.refused(self.changed(config), because)

    def test_the_image_has_no_other_file(self):
        def entry(called, mode=0o755, **fields):
            made = tarfile.TarInfo(called)
            made.mode = mode
            for field, value in fields.items():
                setattr(made, field, value)
            return made

        service = (entry(self.name), program())
        for files, because in [
            ([service, (entry("bin/sh"), b"")], "other files"),
            ([(entry(self.name, 0o4755), program())], "mode 755"),
            ([(entry(self.name, uid=65532), program())], "file of root"),
            ([(entry(self.other), program())], "other files"),
            ([service, (entry("ca.pem", 0o644), b"-----BEGIN PRIVATE KEY-----\n" + CERTIFICATE)], "certificates and nothing else"),
            ([service, (entry("ca.pem", 0o644), b"")], "certificates and nothing else"),
        ]:
            with self.subTest(because):
                self.refused(self.changed(files=files), because)

    def test_an_archive_that_contradicts_itself_is_refused(self):
        with tarfile.open(self.image()) as archive:
            content = {entry.name: archive.extractfile(entry).read() for entry in archive}
        layer = max((called for called in content if called.startswith("blobs/")), key=lambda called: content[called][:2] == b"\x1f\x8b")
        other = gzip.compress(gzip.decompress(content[layer]), compresslevel=1, mtime=7)
        self.refused(self.archive(content | {layer: other}), "another digest")
        self.refused(self.archive(content | {"shell": b""}), "no index names")
        docker = json.loads(content["manifest.json"])
        docker[0]["Layers"] = []
        self.refused(self.archive(content | {"manifest.json": json.dumps(docker).encode()}), "another image")
        del content["index.json"]
        self.refused(self.archive(content), "is no image")
        self.refused(self.file(b"not a tar"), "is no image")
        self.refused(self.image(), "not for amd64", "--architecture", "amd64")

    def test_the_dockerfile_describes_the_same_image(self):
        text = (HERE / "Dockerfile").read_text()
        self.assertEqual(self.run_python("check-image.py", self.name), (0, ""))
        for old, new, because in [
            ("FROM scratch", "FROM alpine:3", "FROM scratch"),
            (f"FROM service AS {self.name}", f"FROM alpine:3 AS {self.name}", "must be FROM service"),
            (f"FROM service AS {self.name}\n", f"FROM service AS {self.name}\nUSER root\n", "User is 'root'"),
            ("FROM $PROGRAM", "FROM $PROGRAM\nUSER root", "the last stage"),
            ("FROM $PROGRAM", "FROM service", "the last stage"),
            ("FROM $PROGRAM", "FROM scratch AS shell\nRUN true\nFROM $PROGRAM", "the stages are"),
            (f'title="events-{self.name}"', 'title="events"', "the title is not"),
            ("rust:1.95.0-bookworm", "rust", "pin rust"),
            ("rust:1.95.0-bookworm", "rust:latest", "pin rust:latest"),
            ("USER 65532:65532", "USER root", "User is 'root'"),
            ("USER 65532:65532\n", "", "User is None"),
            (f'ENTRYPOINT ["/{self.name}"]', f"ENTRYPOINT /{self.name}", f"Entrypoint is '/{self.name}'"),
            (f'CMD ["/{self.name}", "health"]', f"CMD /{self.name} health", "Healthcheck is"),
            ('CMD ["run"]', 'CMD ["migrate"]', "Cmd is ['migrate']"),
            (f'--retries=3 CMD ["/{self.name}"', f'--retries=1 CMD ["/{self.name}"', "Healthcheck is"),
            ("EXPOSE 8080", "EXPOSE 22", "ExposedPorts is"),
            ("COPY --from=build /image/ /", "COPY --from=build /image/ /bin/ /", "copies"),
            ("EXPOSE 8080", "EXPOSE 8080\nENV REDIS_URL=rediss://:p@h", "has ENV"),
            ('.licenses="MIT"', '.licenses=""', "labels"),
        ]:
            with self.subTest(new):
                self.assertIn(old, text)
                path = self.file(text.replace(old, new).encode(), "Dockerfile")
                code, said = self.run_python("check-image.py", self.name, "--dockerfile", path)
                self.assertEqual(code, 1)
                self.assertIn(because, said)

    def test_both_recipes_write_the_same_labels(self):
        with tarfile.open(self.image()) as archive:
            blobs = (archive.extractfile(entry).read() for entry in archive if entry.name.startswith("blobs/"))
            configs = [json.loads(blob) for blob in blobs if blob.startswith(b'{"architecture"')]
        labels = configs[0]["config"]["Labels"]
        text = (HERE / "Dockerfile").read_text()
        self.assertEqual(labels["org.opencontainers.image.title"], f"events-{self.name}")
        for label in ("title", "description", "licenses"):
            self.assertIn(f'org.opencontainers.image.{label}="{labels[f"org.opencontainers.image.{label}"]}"', text)

    def test_image_sh_packs_a_given_program(self):
        image = self.folder / "image.tar"
        environment = os.environ | {"BINARY": str(self.file(program(X86_64), "binary")), "IMAGE": str(image)}

        def run(*arguments):
            return subprocess.run(["sh", HERE / "image.sh", *arguments], env=environment, capture_output=True, text=True)

        done = run(self.name, "x86-64")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.accepted(image, "amd64")
        for arguments, because in [
            ((self.name, "arm64"), "not built for arm64"),
            ((self.name, "mips"), f"make {self.name}-image: ARCH is 'mips'; it accepts arm64 or x86-64"),
            (("bootstrap", "arm64"), "must be relay or gateway"),
            ((), "must be relay or gateway"),
        ]:
            done = run(*arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(because, done.stderr)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["binary", "image.tar"])


class GatewayImage(RelayImage):
    name, other = "gateway", "relay"


if __name__ == "__main__":
    unittest.main()
