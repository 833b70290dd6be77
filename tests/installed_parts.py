"""Packages of plugins, laid out as an installer does it, for tests that need no wheel of their own."""

from __future__ import annotations

from pathlib import Path


def install_parts(folder: Path, package: str, entry_points: dict[str, dict[str, str]], module: str) -> None:
    """Write a package of one module and its metadata into a folder that is, or will be, on the path.

    Args:
        folder: that stands for site-packages.
        package: the distribution's name; the module is called like it.
        entry_points: group -> name -> place, `{module}` standing for the module.
        module: its text.
    """
    (folder / f"{package}.py").write_text(module)
    info = folder / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = []
    for group, places in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {place.format(module=package)}" for name, place in places.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
