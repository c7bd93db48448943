"""Reads settings.ini, the one list of dependencies and console scripts."""

import shlex
import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
WEIGHTS = ("config.json", "model.safetensors", "README.md")

config = ConfigParser(delimiters=["="])
config.read(HERE / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


def requirements(extra: str) -> list[str]:
    """Return the packages of an extra."""
    return shlex.split(settings[f"{extra}_requirements"])


class BuildWithWeights(build_py):
    """Adds the shipped weights to what is installed, one folder for each preset."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the clone's own checkpoints/ is used
            return
        for preset in sorted(p for p in (HERE / "checkpoints").iterdir() if p.is_dir()):
            target = Path(self.build_lib) / "fusion_nb" / "presets" / preset.name
            target.mkdir(parents=True, exist_ok=True)
            for name in WEIGHTS:
                shutil.copy2(preset / name, target / name)


setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    license="Apache-2.0",
    python_requires=f">={settings['min_python']}",
    packages=find_packages(include=["fusion_nb", "fusion_nb.*"]),
    package_data={"fusion_nb": ["py.typed", "static/*"]},
    install_requires=shlex.split(settings["requirements"]),
    extras_require={
        "lessons": requirements("lessons"),
        "shards": requirements("shards"),
        "studio": requirements("studio"),
        "site": requirements("site"),
        "dev": sum(map(requirements, ("lessons", "shards", "studio", "site", "dev")), []),
    },
    entry_points={"console_scripts": settings["console_scripts"].split()},
    cmdclass={"build_py": BuildWithWeights},
)
