"""From records to sections: each function tells one part of the run, and says so when its records are missing."""

from __future__ import annotations

from collections import Counter

from tailor.records import GraphSummary, Interval, Stages, Verdict, WidthsRecord
from tailor.report.document import Block, Code, Facts, Picture, Section, Table
from tailor.report.figures import course_figure, scatter_figure, widths_figure
from tailor.report.folder import RunRecords
from tailor.report.style import page_svg
from tailor.report.wording import calls_counted, change, duration, latency, moments_left_out, percent, points, seconds

__all__ = ["conditions", "method", "pins", "search", "stages", "training", "verification", "widths"]

_LONG = 24  # rows above which a table starts closed


def _absent(title: str, file: str) -> Section:
    return Section(title=title, lead=f"Not reached: the run folder has no {file}.")


def _without_data(run: RunRecords) -> bool:
    return run.config is not None and run.config.data is None


def _score_named(run: RunRecords) -> str:
    """What the search's scores are."""
    fitness = run.config.method_options.get("fitness") if run.config is not None else None
    return "importance kept" if fitness == "kept-importance" else "held-out top-1"


def verification(run: RunRecords) -> Section:
    """What the fresh process measured, with every interval that the verdict rests on."""
    title, verdict = "Verification", run.verdict
    if verdict is None:
        return _absent(title, "verdict.json")
    dense, pruned, ratio = verdict.dense, verdict.pruned, verdict.ratio
    rows = [
        ("limit", f"{duration(verdict.limit_ns)} ({verdict.budget.text})"),
        ("dense network", _interval(dense)),
        ("pruned network", _interval(pruned)),
        ("pruned / dense", f"{percent(ratio.value)}, 95 % interval {100 * ratio.low:.1f} to {percent(ratio.high)}"),
        ("A/A resolution", f"{percent(verdict.resolution, 2)}: two copies of one network differ by this much"),
        ("fresh instances", f"{verdict.instances} of each network, timed in interleaved rounds"),
        *_counted(verdict),
        *_state(verdict),
        ("saved = recorded", "yes, the saved network gives the outputs recorded" if verdict.equivalent else "NO"),
        ("target", str(verdict.target)),
    ]
    lead = "Measured again from the saved file, in a fresh process, dense and pruned side by side."
    return Section(title=title, lead=lead, blocks=(Facts(rows=tuple(rows)),))


def _state(verdict: Verdict) -> list[tuple[str, str]]:
    if not verdict.host_noise:
        return []
    told = f"moves a session's ratios by {percent(verdict.host_noise)}, as the profile saw it; the intervals hold it"
    return [("host's state", told)]


def _counted(verdict: Verdict) -> list[tuple[str, str]]:
    if verdict.statistic is None:
        return []
    told = f"{calls_counted(verdict.statistic)} of each instance's{moments_left_out(verdict.statistic)}"
    return [("calls counted", told)]


def _interval(found: Interval) -> str:
    low, high = (latency(edge, like=found.value) for edge in (found.low, found.high))
    return f"{duration(found.value)}, 95 % interval {low} to {high}"


def stages(run: RunRecords) -> Section:
    """Accuracy after each step of the line, so that the step that cost it is seen."""
    title = "Accuracy at each stage"
    if _without_data(run):
        return Section(title=title, lead="Unknown: the run had no data.")
    if run.stages is None:
        return _absent(title, "stages.json")
    table = Table(headers=("stage", ">top-1", ">against dense"), rows=tuple(_stage_rows(run.stages)))
    return Section(title=title, lead="Top-1 on the test split, which no choice was made on.", blocks=(table,))


def _stage_rows(record: Stages) -> list[tuple[str, str, str]]:
    named = (
        ("cut, weights inherited", record.cut),
        ("BatchNorm recalibrated", record.recalibrated),
        ("fine-tuned", record.fine_tuned),
    )
    return [("dense", percent(record.dense, 2), "")] + [
        (name, "skipped", "") if value is None else (name, percent(value, 2), points(record.dense, value))
        for name, value in named
    ]


def training(run: RunRecords) -> Section:
    """The course of fine-tuning, epoch by epoch."""
    title, record = "Fine-tuning", run.training
    if record is None:
        if _without_data(run):
            return Section(title=title, lead="Skipped: the run had no data. Train the network with a loop of your own.")
        if run.stages is not None and run.stages.fine_tuned is None:
            return Section(title=title, lead="Skipped: the recipe trains nothing.")
        return _absent(title, "training.json")
    rows = tuple(
        (
            str(epoch.epoch),
            f"{epoch.learning_rate:.2g}",
            f"{epoch.loss:.4f}",
            percent(epoch.heldout_accuracy, 2),
            seconds(epoch.seconds),
        )
        for epoch in record.history
    )
    teacher = "with the dense network as teacher" if record.distilled else "on the labels alone"
    total = seconds(sum(epoch.seconds for epoch in record.history))
    lead = f"{len(rows)} epoch{'s' * (len(rows) != 1)} {teacher}, in {record.precision}, {total}."
    table = Table(
        headers=("epoch", ">learning rate", ">loss", ">held-out top-1", ">time"),
        rows=rows,
        folded=f"All {len(rows)} epochs" if len(rows) > _LONG else None,
    )
    return Section(title=title, lead=lead, blocks=(table,) if rows else ())


def widths(run: RunRecords) -> Section:
    """Channels per group before and after."""
    title, graph, record = "Widths", run.graph, run.widths
    if graph is None or record is None:
        return _absent(title, "graph.json" if graph is None else "widths.json")
    rows, bars = [], []
    for group in graph.groups:
        per_unit, kept = group.channels_per_unit, record.pruned.get(group.name, group.width)
        before, after = group.width * per_unit, kept * per_unit
        note = "pinned" if group.pinned else "residual stream" if group.residual else ""
        moved = change(before, after) if after != before else ""
        rows.append((group.name, str(before), str(after), moved, percent(group.share), note))
        bars.append(kept / group.width)
    table = Table(
        headers=("group", ">dense", ">kept", ">change", ">MACs share", "note"),
        rows=tuple(rows),
        bars=tuple(bars),
        folded=f"All {len(rows)} groups" if len(rows) > _LONG else None,
    )
    caption = "Channels of each group: dense in grey, kept in blue."
    picture = Picture(svg=page_svg(widths_figure(graph.groups, record.pruned), "widths", caption), caption=caption)
    return Section(title=title, lead=_cut_sentence(graph, record), blocks=(picture, table))


def _cut_sentence(graph: GraphSummary, record: WidthsRecord) -> str:
    pinned = sum(1 for group in graph.groups if group.pinned)
    cut = sum(1 for group in graph.groups if record.pruned.get(group.name, group.width) < group.width)
    whole = len(graph.groups) - pinned - cut
    parts = [f"Cut {cut} of {len(graph.groups)} groups"]
    parts += [f"{whole} kept whole"] if whole else []
    parts += [f"{pinned} pinned"] if pinned else []
    return "; ".join(parts) + "."


def pins(run: RunRecords) -> Section:
    """Groups that could not be cut, by reason."""
    title = "Pinned, and why"
    if run.graph is None:
        return _absent(title, "graph.json")
    pinned = [group for group in run.graph.groups if group.pinned]
    form = "" if run.graph.form == "module" else f" The code holds channel counts, so the {run.graph.form} was cut."
    if not pinned:
        return Section(title=title, lead=f"Nothing is pinned: every group of channels could be cut.{form}")
    reasons = Counter(group.pinned or "" for group in pinned)
    rows = tuple(
        (reason, str(number), ", ".join(group.name for group in pinned if group.pinned == reason))
        for reason, number in reasons.most_common()
    )
    lead = f"{len(pinned)} of {len(run.graph.groups)} groups keep their dense width.{form}"
    return Section(title=title, lead=lead, blocks=(Table(headers=("reason", ">groups", "which"), rows=rows),))


def search(run: RunRecords) -> Section:
    """How the structure was found: the course of the scores, and what latency they were paid with."""
    title, summary, trials = "Search", run.search, run.trials
    if not trials:
        return _absent(title, "trials.jsonl")
    scored = [trial for trial in trials if trial.score is not None]
    lead = f"{len(trials)} structures tried, {len(scored)} of them within the latency limit and scored."
    blocks: list[Block] = []
    if scored:
        limit, best = (summary.limit_ns, summary.best) if summary else (None, None)
        named = _score_named(run)
        course = f"Score of each structure ({named}) in the order tried, and the best so far."
        scatter = "Every scored structure by latency and score; the line is the search's limit."
        blocks.append(Picture(svg=page_svg(course_figure(trials, named), "course", course), caption=course))
        figure = scatter_figure(trials, limit, best, named)
        blocks.append(Picture(svg=page_svg(figure, "scatter", scatter), caption=scatter))
    if summary is not None:
        blocks.append(Facts(rows=_search_facts(run, summary.best)))
    return Section(title=title, lead=lead, blocks=tuple(blocks))


def _search_facts(run: RunRecords, best: int) -> tuple[tuple[str, str], ...]:
    summary = run.search
    if summary is None:
        return ()
    rows = [
        ("time", f"{seconds(summary.seconds)}, {seconds(summary.seconds / max(1, summary.structures))} a structure"),
        ("limit", duration(summary.limit_ns)),
    ]
    if (anchor := run.anchor) is not None:
        which = "measured at the limit" if anchor.search == 1 else f"too slow at the end of search {anchor.search - 1}"
        known = f"{anchor.structures} structures {which}, up to {percent(anchor.spread, 1)} from that"
        if anchor.tried:
            rows.append(("of these before", f"{anchor.tried} structures, {seconds(anchor.seconds)}, in vain"))
        rows.append(("predictions times", f"{anchor.factor:.3f}, by {known}"))
    rows.append(("chosen", f"structure {best}"))
    winner = next((trial for trial in run.trials if trial.number == best), None)
    if winner is not None:
        rows.append(("its latency", f"{duration(winner.latency.ns)} ({winner.latency.source})"))
        if winner.score is not None:
            rows.append(("its score", f"{percent(winner.score, 2)} {_score_named(run)}"))
    if summary.best_measured_ns is not None:
        rows.append(("measured after", duration(summary.best_measured_ns)))
    return tuple(rows)


def method(run: RunRecords) -> Section:
    """The exact command and every resolved option."""
    title, config = "How to do it again", run.config
    if config is None:
        return _absent(title, "config.json")
    rows = [
        ("model", config.model),
        ("weights", config.weights or "not given"),
        ("data", config.data or "none"),
        ("input", " x ".join(str(size) for size in config.input_shape)),
        ("target", str(config.target)),
        ("budget", config.budget.text),
        ("method", config.method),
        ("training", config.recipe),
        ("protocol", config.protocol),
        ("seed", str(config.seed)),
        ("tailor", config.tailor_version),
    ]
    chosen = [("method", name, value) for name, value in config.method_options.items()]
    chosen += [("training", name, value) for name, value in config.recipe_options.items()]
    options = Table(headers=("of the", "option", "value"), rows=tuple(chosen), folded=f"All {len(chosen)} options")
    lead = "The command as it was typed, and what every option was resolved to."
    if not config.command:
        lead = "Started from Python; what every option was resolved to."
    command = (Code(text=config.command),) if config.command else ()
    return Section(title=title, lead=lead, blocks=(*command, Facts(rows=tuple(rows)), *((options,) if chosen else ())))


def conditions(run: RunRecords) -> Section:
    """Hardware and software that the numbers belong to."""
    title = "Conditions"
    environment = run.verdict.environment if run.verdict else run.environment
    if environment is None:
        return _absent(title, "environment.json")
    rows = tuple((name.replace("_", " "), value) for name, value in sorted(environment.facts.items()))
    lead = "Latencies hold for this hardware and software only."
    return Section(title=title, lead=lead, blocks=(Facts(rows=rows),))
