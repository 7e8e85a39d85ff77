"""The archives that cpp/cmake/deps.cmake pins, byte for byte, made from Debian's source packages.

    python .ci/pinned_sources.py DIRECTORY

For machines that reach a Debian mirror and nothing else. Debian keeps the archives of upstream's
tags; that of Abseil only bears another name for its top directory. Each result must have the hash
that is pinned, else nothing is left in DIRECTORY and the exit status is 1.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE = "trixie"
# archive: Debian's source package, its archive, top directory there and upstream
SOURCES = {
    "abseil-cpp-20240722.0.tar.gz": (
        "abseil",
        "abseil_20240722.0.orig.tar.gz",
        (b"abseil-20240722.0/", b"abseil-cpp-20240722.0/"),
    ),
    "json-3.11.3.tar.gz": ("nlohmann-json3", "nlohmann-json3_3.11.3.orig.tar.gz", None),
    "Catch2-3.7.1.tar.gz": ("catch2", "catch2_3.7.1.orig.tar.gz", None),
}
BLOCK = 512
RECORD = 20 * BLOCK  # tar pads its output to this


def pins() -> dict[str, str]:
    """Archive -> SHA-256, as the build pins them."""
    text = (ROOT / "cpp" / "cmake" / "deps.cmake").read_text(encoding="utf-8")
    return dict(re.findall(r"ARCHIVE (\S+)\s+URL \S+\s+SHA256 ([0-9a-f]{64})", text))


def download(work: Path) -> None:
    """Debian's files, into `work`; what this machine installs from stays as it is."""
    for place in ("parts", "lists/partial", "cache/archives/partial"):
        (work / place).mkdir(parents=True)
    mirror = re.search(r"https?://\S+/debian/?(?=\s)", _configured_sources())
    if mirror is None:
        raise SystemExit("no Debian mirror is configured: give the archives yourself")
    entry = f"deb-src [signed-by={KEYRING}] {mirror[0]} {SUITE} main\n"
    (work / "sources.list").write_text(entry, encoding="utf-8")
    options = [
        *("-o", f"Dir::Etc::sourcelist={work}/sources.list"),
        *("-o", f"Dir::Etc::sourceparts={work}/parts"),
        *("-o", f"Dir::State::lists={work}/lists"),
        *("-o", f"Dir::Cache={work}/cache"),
        *("-o", "APT::Sandbox::User=root"),
    ]
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    packages = [package for package, _, _ in SOURCES.values()]
    command = ["apt-get", *options, "-qq", "--tar-only", "--download-only", "source", *packages]
    subprocess.run(command, check=True, cwd=work)


def _configured_sources() -> str:
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    return "\n".join(p.read_text(encoding="utf-8") for p in places if p.is_file())


def with_top(archive: bytes, old: bytes, new: bytes) -> bytes:
    """A tag's archive as git makes it, with another top directory."""
    data, out, at = gzip.decompress(archive), bytearray(), 0
    while any(data[at : at + BLOCK]):
        header = bytearray(data[at : at + BLOCK])
        size = int(header[124:136].split(b"\0")[0] or b"0", 8)
        end = at + BLOCK + -(-size // BLOCK) * BLOCK
        if chr(header[156]) in "0125":  # files, links, directories: not the comment in front
            _rename(header, old, new)
        out += header + data[at + BLOCK : end]
        at = end
    out += b"\0" * (2 * BLOCK)
    out += b"\0" * (-len(out) % RECORD)
    # The program, because zlib's own bytes differ from gzip's.
    return subprocess.run(["gzip", "-nc6"], input=out, stdout=subprocess.PIPE, check=True).stdout


def _rename(header: bytearray, old: bytes, new: bytes) -> None:
    name, prefix = header[0:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    path = bytes(prefix + b"/" + name if prefix else name)
    if not path.startswith(old):
        raise SystemExit(f"not below {old.decode()}: {path.decode()}")
    path = new + path[len(old) :]
    prefix, name = bytearray(), bytearray(path)
    if len(path) > 100:  # split at the last slash that git finds
        cut = path.rstrip(b"/").rfind(b"/", 0, 155)
        prefix, name = bytearray(path[:cut]), bytearray(path[cut + 1 :])
    header[0:100], header[345:500] = name.ljust(100, b"\0"), prefix.ljust(155, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%07o\0" % sum(header)


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    wanted = pins()
    if set(wanted) != set(SOURCES):
        raise SystemExit(f"deps.cmake pins {sorted(wanted)}, this knows {sorted(SOURCES)}")
    with tempfile.TemporaryDirectory() as work:
        download(Path(work))
        made = {}
        for name, (_, file, tops) in SOURCES.items():
            content = (Path(work) / file).read_bytes()
            made[name] = with_top(content, *tops) if tops else content
            found = hashlib.sha256(made[name]).hexdigest()
            if found != wanted[name]:
                raise SystemExit(f"{name}: SHA-256 {found}, pinned is {wanted[name]}")
    for name, content in made.items():
        (target / name).write_bytes(content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
