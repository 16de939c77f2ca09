"""Policy sets as one signed archive that OPA pulls and puts to work as a whole."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from control_plane.adapters.opa.relocation import QUESTION, ROOT, RelocatedSet, canonical_json
from control_plane.adapters.opa.signing import SIGNATURES, BundleKey

NAME: Final = "setpoint"
"""What OPA calls the bundle."""

BETWEEN: Final = "+"
_GZIP_LEVEL: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """An archive, and the revision that OPA names with every ruling: the revisions of the sets in it, newest first."""

    revision: str
    body: bytes

    @property
    def etag(self) -> str:
        """The same for the same content under the same key."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


def bundle_revision(sets: Sequence[RelocatedSet]) -> str:
    """What a bundle of these sets is called."""
    return BETWEEN.join(each.revision for each in sets)


def revisions_in(revision: str) -> tuple[str, ...]:
    """The policy revisions that a bundle holds, by its own revision."""
    return tuple(part for part in revision.split(BETWEEN) if part)


def build(sets: Sequence[RelocatedSet], key: BundleKey) -> Bundle:
    """The bundle of these sets, newest first: the same bytes for the same sets and key."""
    revision = bundle_revision(sets)
    files = dict([QUESTION])
    for each in sets:
        files |= each.files
    files[".manifest"] = canonical_json({"revision": revision, "roots": [ROOT], "rego_version": 1})
    files = {SIGNATURES: key.signatures(files), **files}
    return Bundle(revision=revision, body=_archive(files))


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=_GZIP_LEVEL, mtime=0)
