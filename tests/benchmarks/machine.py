"""What a machine is, as far as its figures depend on it."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def describe() -> dict[str, Any]:
    """Return what figures of this machine are to be read with."""
    return {
        "cores": os.cpu_count(),
        "cpu": _model(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "boots": "qemu-system, -accel tcg",
        "load_before": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "airflow": version("apache-airflow-core"),
        "commit": _commit(),
    }


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _commit() -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
