"""Reads settings.ini, the one list of dependencies and console scripts."""

import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
settings = config["DEFAULT"]

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    license="Apache-2.0",
    python_requires=f">={settings['min_python']}",
    packages=find_packages(include=["fusion_nb", "fusion_nb.*"]),
    install_requires=shlex.split(settings["requirements"]),
    extras_require={"dev": shlex.split(settings["dev_requirements"])},
    entry_points={"console_scripts": settings["console_scripts"].split()},
)
