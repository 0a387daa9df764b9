"""FP32 graphs beside those of the bundle in the making, to run any mixture of both with the runtime's own loop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openvino as ov
from tqdm import tqdm

from edge_app.model.bundle import Bundle
from edge_app.model.manifest import Manifest, Role
from edge_app.model.vlm import VisionLanguageModel
from export.bundle import save_role


@dataclass(frozen=True)
class _Mixture(Bundle):
    """A bundle whose graphs lie in different folders."""

    folders: Mapping[Role, Path]

    def role_path(self, role: Role) -> Path:
        return self.folders[role] / f"{role}.xml"


class Workbench:
    """Models of mixed precision from the FP32 graphs and those in the bundle's folder.

    Graphs go through files, since that is how the runtime reads them, and since OpenVINO maps what it reads: a dozen
    variants of a large graph never lie in memory at once.
    """

    def __init__(self, work: Path, manifest: Manifest, fp32: Mapping[Role, ov.Model], scratch: Path) -> None:
        self._work, self._manifest, self.scratch = work, manifest, scratch
        self._fp32 = scratch / "fp32"
        self._fp32.mkdir()
        for role, model in tqdm(fp32.items(), desc="saving FP32 to compare with", unit="graph"):
            save_role(model, self._fp32, role, "fp32")

    def fp32(self) -> VisionLanguageModel:
        """FP32 throughout."""
        return self._mixed({})

    def chosen(self, fp32: Collection[Role] = ()) -> VisionLanguageModel:
        """The bundle as it is now, but for the roles that are to be in FP32."""
        return self._mixed({role: self._work for role in self._manifest.roles if role not in fp32})

    def one_chosen(self, role: Role) -> VisionLanguageModel:
        """The bundle's graph of one role, FP32 for all others."""
        return self._mixed({role: self._work})

    @contextmanager
    def trial(self, role: Role, model: ov.Model) -> Iterator[VisionLanguageModel]:
        """`model` for one role, FP32 for all others; its file is removed at the end."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            save_role(model, Path(folder), role, "int8")
            yield self._mixed({role: Path(folder)})

    def _mixed(self, places: Mapping[Role, Path]) -> VisionLanguageModel:
        folders = {role: places.get(role, self._fp32) for role in self._manifest.roles}
        return VisionLanguageModel(_Mixture(self._work, self._manifest, "", folders))


@contextmanager
def workbench(work: Path, manifest: Manifest, fp32: Mapping[Role, ov.Model]) -> Iterator[Workbench]:
    """A workbench with its files in a folder inside `work`, which is removed at the end."""
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=work))
    try:
        yield Workbench(work, manifest, fp32, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
