"""What the commands about bundles share."""

from __future__ import annotations

from pathlib import Path

import click

from router.bundle.archive import read_folder, unpack
from router.bundle.signature import ALGORITHMS
from router.errors import BundleError

algorithm_option = click.option("--algorithm", type=click.Choice(ALGORITHMS), help="What is usual for such a key when left out.")
key_id_option = click.option("--key-id", default="default", show_default=True, help="The key's name, as `policy.bundle.keys` has it.")
scope_option = click.option("--scope", default="", help="What the signature is for; the key's `scope` must be the same.")
bundle_argument = click.argument("bundle", type=click.Path(exists=True, path_type=Path))


def read_file(path: Path) -> bytes:
    """Raises BundleError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error


def files_of(bundle: Path) -> dict[str, bytes]:
    """Of an archive, or of a folder into which one was unpacked. Raises BundleError."""
    return read_folder(bundle, str(bundle)) if bundle.is_dir() else unpack(read_file(bundle), str(bundle))
