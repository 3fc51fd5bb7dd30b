"""The reference of every module, from its docstrings: `make docs` has it written into `build/docs`."""

import pkgutil
import sys
from pathlib import Path

import pdoc

import projner


def main(folder: str) -> None:
    # What is imported when it is asked for is documented, too.
    for name in projner.__all__:
        getattr(projner, name)
    found = pkgutil.walk_packages(projner.__path__, "projner.")
    modules = [module.name for module in found if not module.name.endswith("__main__")]
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("projner", *modules, output_directory=Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
