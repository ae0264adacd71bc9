"""Writing a run's report: `report.html`, `report.md`, `figures/`, `export/`, sealed by the run's manifest."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import MANIFEST, is_finished, read_manifest, write_manifest
from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.report.data import load_lineage
from mlipilot.report.export import Export, export_incumbent
from mlipilot.report.figures import Picture, draw_all
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context


def write_report(run: RunPaths, lineage: LineagePaths) -> Path:
    """Write the report of a lineage as it stands now, finished or not; return the path of `report.html`.

    Replaces an earlier report. Raises InputError for a directory that is no run, LedgerError for a ledger
    whose chain is broken, OSError (a full disk).
    """
    view = load_lineage(run, lineage)
    earlier = _take_seal_off(run.root)
    export = export_incumbent(view, run.export)
    pictures = draw_all(view)
    said = context(view, pictures, export)
    written = [*_export_files(export), *_write_pictures(run.figures, pictures)]
    for path, text in ((run.report_html, render_html(said)), (run.report_md, render_markdown(said))):
        write_atomic(path, text)
        written.append(path)
    for path in earlier - set(written):
        path.unlink(missing_ok=True)
    write_manifest(run.root, written)
    return run.report_html


def _take_seal_off(root: Path) -> set[Path]:
    """Remove the manifest, so that a kill leaves an unsealed report, not one that looks tampered with.

    Returns the files of the earlier report.
    """
    if not is_finished(root):
        return set()
    earlier: set[Path] = set()
    with suppress(ValueError):  # a damaged manifest names nothing that may be removed
        earlier = {root / name for name in read_manifest(root) if _is_ours(name)}
    (root / MANIFEST).unlink()
    return earlier


def _is_ours(name: str) -> bool:
    """Whether an entry is a file that only reports write, so that a forged manifest removes no other."""
    folder, _, file = name.partition("/")
    return folder in ("figures", "export") and file != "" and "/" not in file and file != ".."


def _write_pictures(directory: Path, pictures: list[Picture]) -> list[Path]:
    directory.mkdir(exist_ok=True)
    written = []
    for picture in pictures:
        if picture.light:
            path = directory / f"{picture.name}.png"
            write_atomic(path, picture.light)
            written.append(path)
    return written


def _export_files(export: Export) -> list[Path]:
    return [path for path in (export.model, export.card) if path is not None]
