"""python -m tests.torture.guided [seconds] [loader]

As `fuzz`, but atheris (libFuzzer) makes the files: it sees which lines of ours a file reaches and goes on from those
that reach new ones. Each loader has its share of the time, in a process of its own. Where atheris is not installed
(`pip install atheris`), nothing is done and the output says so.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "180"
    if importlib.util.find_spec("atheris") is None:
        print("guided fuzz: skipped, atheris is not installed (pip install atheris).")
    elif len(sys.argv) > 2:
        one(sys.argv[2], int(seconds))
    else:
        sys.exit(every(float(seconds)))


def every(seconds: float) -> int:
    """All loaders in turn; 1 where one of them raised."""
    from tests.torture.fuzz import loaders

    found = 0
    names = list(loaders())
    for name in names:
        share = str(max(1, round(seconds / len(names))))
        done = subprocess.run([sys.executable, "-m", __spec__.name, share, name], capture_output=True, text=True)
        tried = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")]
        print(f"{name}: {tried[-1].split()[-1] if tried else 'no'} files, exit code {done.returncode}", flush=True)
        if done.returncode:
            found += 1
            print(done.stderr[-2500:], flush=True)
    print(f"guided fuzz: {len(names)} loaders, {found} findings.")
    return 1 if found else 0


def one(name: str, seconds: int) -> None:
    """Fuzz one loader; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["ear_teacher"]):
        from tests.torture.fuzz import loaders, try_one
    loader = loaders()[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(loader.sound):
            Path(folder, str(number)).write_bytes(content)
        bounds = [f"-max_total_time={seconds}", "-rss_limit_mb=6000", "-timeout=10", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *bounds, f"-artifact_prefix={folder}/", folder], lambda data: try_one(loader, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
