#!/usr/bin/env python3
"""Checks the recipe of a service's image, and an image: check-image.py [--architecture arm64] relay|gateway [ARCHIVE]

The Dockerfile and the archive that image.sh writes must both be the image that `image` describes: one static program, no shell,
not root. Reports everything that is wrong, and ends with 1. Shares no code with write-image.py.
"""
import argparse
import gzip
import hashlib
import io
import json
import pathlib
import re
import struct
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
SECOND = 10**9
PROGRAMS = ["relay", "gateway"]
LABELS = ["description", "licenses", "revision", "title", "version"]
MACHINES = {"arm64": 183, "amd64": 62}
wrong = []


def image(program):
    """The configuration that the image of a program must have."""
    return {
        "User": "65532:65532",
        "Entrypoint": [f"/{program}"],
        "Cmd": ["run"],
        "ExposedPorts": {"8080/tcp": {}},
        "StopSignal": "SIGTERM",
        "Healthcheck": {
            "Test": ["CMD", f"/{program}", "health"],
            "Interval": 30 * SECOND, "Timeout": 5 * SECOND, "StartPeriod": 30 * SECOND, "Retries": 3,
        },
    }


def check(holds, message):
    if not holds:
        wrong.append(message)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


# The program


def check_program(name, data, architecture):
    """A static ELF program of the architecture: it names no interpreter and no shared library."""
    if data[:6] != b"\x7fELF\x02\x01":
        return check(False, f"/{name} is no 64-bit ELF program")
    kind, machine = struct.unpack_from("<HH", data, 16)
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    check(kind in (2, 3), f"/{name} is no program")
    check(machine == MACHINES[architecture], f"/{name} is not built for {architecture}")
    segments = [struct.unpack_from("<IIQQQQ", data, start + i * size) for i in range(count)]
    check(any(kind == 1 for kind, *_ in segments), f"/{name} has nothing to load")
    check(all(kind != 3 for kind, *_ in segments), f"/{name} is not static: it needs an interpreter")
    for kind, _, offset, _, _, length in segments:
        if kind == 2:
            entries = struct.iter_unpack("<qQ", data[offset:offset + length - length % 16])
            check(all(tag != 1 for tag, _ in entries), f"/{name} is not static: it needs a shared library")


# The archive


def read_tar(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [(entry, archive.extractfile(entry).read() if entry.isfile() else None) for entry in archive]


def check_archive(program, path, architecture):
    entries = read_tar(path.read_bytes())
    files = {entry.name: content for entry, content in entries}
    check(len(files) == len(entries), "the archive has a file twice")
    named = {"oci-layout", "index.json", "manifest.json"}

    def blob(descriptor):
        """The content of a descriptor, after a check of its digest and size."""
        name = "blobs/" + descriptor["digest"].replace(":", "/")
        named.add(name)
        content = files.get(name, b"")
        check(digest(content) == descriptor["digest"], f"{name} has another digest")
        check(len(content) == descriptor["size"], f"{name} has another size than its descriptor says")
        return content, name

    check(json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}, "oci-layout is not version 1.0.0")
    (listed,) = json.loads(files["index.json"])["manifests"]
    check(listed["platform"] == {"os": "linux", "architecture": architecture}, f"the index is not for {architecture}")
    manifest = json.loads(blob(listed)[0])
    config, config_name = blob(manifest["config"])
    config = json.loads(config)
    (layer,) = manifest["layers"]
    layer, layer_name = blob(layer)
    unpacked = gzip.decompress(layer)
    (docker,) = json.loads(files["manifest.json"])
    check((docker["Config"], docker["Layers"]) == (config_name, [layer_name]), "manifest.json, for docker, is another image")
    check(set(files) == named, f"the archive has files that no index names: {sorted(set(files) ^ named)}")

    check(config["rootfs"]["diff_ids"] == [digest(unpacked)], "the configuration names another layer")
    check((config["os"], config["architecture"]) == ("linux", architecture), f"the configuration is not for {architecture}")
    says = dict(config["config"])
    labels = says.pop("Labels")
    check_configuration(program, "the image", says, labels)

    entries = read_tar(unpacked)
    check([e.name for e, _ in entries] in ([program], [program, "ca.pem"]), f"the image has other files: {[e.name for e, _ in entries]}")
    for entry, content in entries:
        mode = 0o755 if entry.name == program else 0o644
        owner = (entry.uid, entry.gid, entry.mode)
        check(entry.isfile() and owner == (0, 0, mode), f"/{entry.name} must be a file of root with mode {mode:o}")
        if entry.name == program:
            check_program(program, content or b"", architecture)
        else:
            check_certificates(content or b"")


def check_certificates(content):
    kinds = set(re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----", content))
    check(kinds == {b"CERTIFICATE"}, f"/ca.pem must hold certificates and nothing else: {sorted(kinds)}")


def check_configuration(program, where, says, labels):
    expected = image(program)
    for name in sorted(set(expected) | set(says)):
        check(says.get(name) == expected.get(name), f"{where}: {name} is {says.get(name)!r}, not {expected.get(name)!r}")
    names = sorted(name.removeprefix("org.opencontainers.image.") for name in labels)
    check(names == LABELS and all(labels.values()), f"{where}: the labels are {labels}")
    check(labels.get("org.opencontainers.image.title") == f"events-{program}", f"{where}: the title is not events-{program}")


# The Dockerfile


def stages(text):
    """The instructions of each stage, from its FROM on, by the stage's name. The last stage has the name None."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    found, stage = {}, []  # what comes before the first FROM belongs to no stage
    for line in filter(str.strip, lines):
        instruction, _, rest = line.strip().partition(" ")
        if instruction.upper() == "FROM":
            rest, _, name = rest.strip().partition(" AS ")
            stage = found.setdefault(name.strip() or None, [])
        stage.append((instruction.upper(), rest.strip()))
    return found


def check_dockerfile(program, path):
    found = stages(path.read_text())
    base = re.sub(r"--\S+\s+", "", found["build"][0][1])
    check(re.search(r":[0-9][\w.-]*$|@sha256:", base), f"{path.name}: pin {base} by its tag")
    check(set(found) == {"build", "service", None, *PROGRAMS}, f"{path.name}: the stages are {sorted(map(str, found))}")
    check(found[None] == [("FROM", "$PROGRAM")], f"{path.name}: the last stage must be the stage of PROGRAM, and nothing else")
    check(found["service"][0] == ("FROM", "scratch"), f"{path.name}: the stage service must be FROM scratch, which has no shell")
    check(found[program][0] == ("FROM", "service"), f"{path.name}: the stage {program} must be FROM service")
    final = found["service"][1:] + found[program][1:]
    for instruction, rest in final:
        check(instruction not in ("RUN", "ADD", "SHELL", "ENV", "VOLUME", "ONBUILD"), f"{path.name}: an image has {instruction}")
        check(instruction != "COPY" or rest == "--from=build /image/ /", f"{path.name}: an image copies {rest}")
    words = {name: [rest for instruction, rest in final if instruction == name] for name in dict(final)}
    once = {name: rest[-1] for name, rest in words.items()}
    labels = dict(re.findall(r'([\w.]+)="([^"]*)"', " ".join(words.get("LABEL", []))))
    check_configuration(program, path.name, configuration(once), labels)


def configuration(once):
    """The configuration that docker would write for these instructions."""
    says = {"User": once.get("USER"), "StopSignal": once.get("STOPSIGNAL")}
    says["ExposedPorts"] = {f"{port}/tcp": {} for port in once.get("EXPOSE", "").split()}
    for name in ("Entrypoint", "Cmd"):
        # The form without brackets needs a shell.
        value = once.get(name.upper(), "")
        says[name] = json.loads(value) if value.startswith("[") else value
    options, _, command = once.get("HEALTHCHECK", "").partition(" CMD ")
    options = dict(re.findall(r"--([\w-]+)=(\d+)", options))
    says["Healthcheck"] = {
        "Test": ["CMD", *json.loads(command)] if command.startswith("[") else command,
        "Interval": int(options.get("interval", 0)) * SECOND,
        "Timeout": int(options.get("timeout", 0)) * SECOND,
        "StartPeriod": int(options.get("start-period", 0)) * SECOND,
        "Retries": int(options.get("retries", 0)),
    }
    return says


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("archive", nargs="?", type=pathlib.Path)
    parser.add_argument("--architecture", choices=MACHINES, default="arm64")
    parser.add_argument("--dockerfile", type=pathlib.Path, default=HERE / "Dockerfile")
    given = parser.parse_args()
    try:
        check_dockerfile(given.program, given.dockerfile)
    except (KeyError, ValueError, IndexError) as error:
        check(False, f"{given.dockerfile.name} cannot be read: {type(error).__name__} {error}")
    if given.archive:
        try:
            check_archive(given.program, given.archive, given.architecture)
        except (KeyError, ValueError, OSError, tarfile.TarError, struct.error) as error:
            check(False, f"{given.archive} is no image: {type(error).__name__} {error}")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
