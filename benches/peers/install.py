"""Makes the Python environment of a comparison: install.py FOLDER [REQUIREMENTS].

Every package of requirements.txt, or of the file named, is installed separately. A package that is not available for this Python and this
machine is reported with the reason, and the comparison continues without it; only numpy is required.
"""

import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")

# Time limit for one package in seconds.
LIMIT_S = 600

# Needed by the comparison itself.
NEEDED = "numpy"


def normal(name):
    return name.lower().replace("_", "-")


def installed(folder):
    """Versions by normalised name."""
    packages = folder.glob("lib/python*/site-packages")
    found = distributions(path=[str(path) for path in packages])
    return {normal(package.metadata["Name"]): package.version for package in found}


def main():
    folder = Path(sys.argv[1])
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, symlinks=True)
    requirements = Path(sys.argv[2]) if len(sys.argv) > 2 else REQUIREMENTS
    lines = (line.split("#")[0].strip() for line in requirements.read_text().splitlines())
    there = installed(folder)
    for requirement in filter(None, lines):
        name, version = requirement.split("==")
        if there.get(normal(name)) == version:
            continue
        print(f"installing {requirement}", file=sys.stderr)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            outcome = subprocess.run([*pip, "--only-binary=:all:", requirement], stderr=subprocess.PIPE, text=True,
                                     timeout=LIMIT_S)
            failed, reason = outcome.returncode != 0, outcome.stderr.strip()
        except subprocess.TimeoutExpired:
            failed, reason = True, f"not done after {LIMIT_S} s"
        if failed:
            print(f"LEFT OUT: {requirement} cannot be installed here:\n{reason}", file=sys.stderr)
            if name == NEEDED:
                sys.exit(1)


if __name__ == "__main__":
    main()
