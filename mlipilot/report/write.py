"""Writing a run's report: `report*.html`, `report.md`, `figures/`, `export/`, sealed by a manifest."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from mlipilot.audit.files import sha256_bytes, write_atomic
from mlipilot.audit.leftovers import is_of_reports
from mlipilot.audit.manifest import MANIFEST, is_finished, manifest_text, read_manifest
from mlipilot.audit.reports import note_report
from mlipilot.audit.rights import check_may_write
from mlipilot.campaign.spec import load_locked
from mlipilot.errors import InputError
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.report.export import CARD, Export, export_incumbent, model_name
from mlipilot.report.figures import Picture, draw_all, draw_run
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.ranking import RunView, load_run
from mlipilot.report.run_section import lineages_section
from mlipilot.report.view import LineageView


def write_report(run: RunPaths, lineage: LineagePaths | None = None, output: Path | None = None) -> Path:
    """Write the report of a run as it stands now, finished or not; return the path of `report.html`.

    It shows one lineage in full: `lineage`, else the best one, whose model is exported in any case. Where
    there are several, `report.html` begins with all of them, and each has a page of its own beside it.

    Replaces an earlier report. With `output` all of it lies there, and the run is only read. Raises
    InputError for a directory that is no run, or an `output` that holds something else, LedgerError for a
    ledger whose chain is broken, if it is that of `lineage` or there is no other, OSError (a full disk).
    """
    load_locked(run.spec)  # before anything is written: what is no run stays as it is
    place = RunPaths(_checked(output, run) if output else run.root)
    check_may_write(place.root, place.figures, place.export, place.report_lock, place.reports)
    place.root.mkdir(parents=True, exist_ok=True)
    with FileLock(place.report_lock):  # lineages of one run may end at the same time
        found = load_run(run)
        best = found.best or found.lineages[0]
        shown = found.find(lineage.number) if lineage is not None else best
        earlier = _take_seal_off(place, best.spec.name)
        export = export_incumbent(best, place.export)
        figures, pages = _pages(place, found, shown, export)
        written = [path for path in (export.model, export.card, *export.members) if path is not None]
        written += _write_pictures(place.figures, figures)
        for path, text in pages.items():
            write_atomic(path, text)
            written.append(path)
        for path in earlier - set(written):
            path.unlink(missing_ok=True)
        seal = manifest_text(place.root, written)
        if place.root == run.root:  # first the record: of a report that is sealed there is one
            heads = {view.lineage.number: view.records[-1].hash for view in found.lineages if view.records}
            note_report(run, sha256_bytes(seal.encode()), heads)
        write_atomic(place.root / MANIFEST, seal)
    return place.report_html


def _checked(output: Path, run: RunPaths) -> Path:
    """A folder of its own for a report; raises InputError for one in which it would be in others' way."""
    folder = output.resolve()
    if run.root.resolve() in (folder, *folder.parents):
        mend = "name a folder outside; without --output the report is written into the run itself"
        raise InputError("this is the run or a part of it", file=output, mend=mend)
    try:
        sealed = list(read_manifest(folder)) if is_finished(folder) else []
    except ValueError:
        sealed = [".."]  # a damaged manifest, of who knows what
    if RunPaths(folder).spec.exists() or not all(map(is_of_reports, sealed)):
        mend = "name one for the report alone"
        raise InputError("this folder holds something else", file=output, mend=mend)
    return folder


def _pages(
    place: RunPaths, found: RunView, shown: LineageView, export: Export
) -> tuple[list[Picture], dict[Path, str]]:
    """The figures of the run's page, and the text of every page."""
    if not found.several:
        figures = draw_all(shown)
        said = context(shown, figures, export)
        return figures, {place.report_html: render_html(said), place.report_md: render_markdown(said)}
    section, page = lineages_section(found), place.lineage_html
    drawn = {view.lineage.number: draw_all(view) for view in found.lineages}
    exports = {view.lineage.number: _export_of(view, found, export) for view in found.lineages}
    pages = {
        page(number): render_html(context(found.find(number), figures, exports[number], section))
        for number, figures in drawn.items()
    }
    number = shown.lineage.number
    figures = [*draw_run(found), *drawn[number]]
    said = context(shown, figures, exports[number], section, whole_run=True)
    return figures, pages | {place.report_html: render_html(said), place.report_md: render_markdown(said)}


def _export_of(view: LineageView, found: RunView, export: Export) -> Export:
    """What a lineage's page says of the exported model, which is that of the best."""
    if found.best is None or view is found.best:
        return export
    return Export(
        missing=f"the run's exported model is that of lineage {found.best.lineage.number}, the best"
    )


def _take_seal_off(run: RunPaths, campaign: str) -> set[Path]:
    """Remove the manifest, so that a kill leaves an unsealed report, not one that looks tampered with.

    Returns the files of earlier reports: only what reports write, so that a forged manifest removes nothing
    else. What an interrupted one exported stands in no manifest.
    """
    earlier = {run.export / CARD, *run.export.glob(model_name(campaign, "*"))}
    if is_finished(run.root):
        with suppress(ValueError):  # a damaged manifest names nothing that may be removed
            earlier |= {run.root / name for name in read_manifest(run.root) if is_of_reports(name)}
        (run.root / MANIFEST).unlink()
    return earlier


def _write_pictures(directory: Path, pictures: list[Picture]) -> list[Path]:
    directory.mkdir(exist_ok=True)
    written = []
    for picture in pictures:
        if picture.light:
            path = directory / f"{picture.name}.png"
            write_atomic(path, picture.light)
            written.append(path)
    return written
