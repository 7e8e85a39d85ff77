"""Prints what an installation of tenancy with the extras named on the command line requires.

The one list is pyproject.toml; this flattens it so that the environment can be made before the
package itself is built (and rebuilt without touching the environment).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
OWN_EXTRAS = re.compile(r"tenancy\[([\w,]+)\]")


def requirements(extras: list[str]) -> list[str]:
    """Every requirement of the build, the package and the extras, each once, sorted."""
    data = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    found = {*data["build-system"]["requires"], *data["project"]["dependencies"]}
    pending, seen = list(extras), set()
    while pending:
        extra = pending.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in data["project"]["optional-dependencies"][extra]:
            own = OWN_EXTRAS.fullmatch(requirement)
            if own:
                pending.extend(own.group(1).split(","))
            else:
                found.add(requirement)
    return sorted(found, key=str.lower)


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
