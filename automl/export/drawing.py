"""A drawing of a network's two cells, or of a user's model's widths, as one SVG file for light and for dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from automl.candidate import Candidate, Cell, Genotype, UserModel
from automl.export.methods import method_words, stage_summaries

FAMILIES: Mapping[str, str] = {"skip": "skip", "max": "pool", "avg": "pool", "sep": "separable", "dil": "dilated"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2933; }
  .title { font-weight: 600; font-size: 15px; } .note { fill: #52606d; font-size: 12px; }
  .end { text-anchor: end; }
  .box { fill: #ffffff; stroke: #7b8794; } .edge { fill: none; stroke: #9aa5b1; stroke-width: 1.5; }
  .paper { fill: #fbfcfd; }
  .skip { fill: #e4e7eb; } .pool { fill: #fce9c8; } .separable { fill: #d3e8fb; } .dilated { fill: #e2dcf7; }
  .dense { fill: #d3f0dd; } .full { fill: #e4e7eb; } .kept { fill: #4c86e0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb; } .note { fill: #9aa5b1; } .paper { fill: #16191d; }
    .box { fill: #20252b; stroke: #616e7c; } .edge { stroke: #616e7c; }
    .skip { fill: #353c44; } .pool { fill: #5c4516; } .separable { fill: #173f63; } .dilated { fill: #3c3168; }
    .dense { fill: #1b4a2e; } .full { fill: #353c44; }
  }
"""
BOX_WIDTH, LINE_HEIGHT, COLUMN_GAP, ROW_GAP, MARGIN = 164, 26, 56, 22, 24
GROUP_NAME, GROUP_WIDTH, GROUP_FIGURES, NAME_LETTERS = 230, 420, 110, 30
INPUTS = ("A: cell before last", "B: last cell")
SOURCES = "AB0123456789"  # how a state is called beside the operations that read it


@dataclass(frozen=True)
class Box:
    """A rectangle of text lines; `ports` are the operations that enter it: (name, source state), one a line."""

    state: int
    title: str
    ports: tuple[tuple[str, int], ...]
    left: float
    top: float

    @property
    def height(self) -> float:
        """Return the height in pixels."""
        return LINE_HEIGHT * (1 + len(self.ports))

    def port(self, line: int) -> tuple[float, float]:
        """Return where the edge of the operation on this line enters."""
        return self.left, self.top + LINE_HEIGHT * (line + 1.5)

    def exit(self) -> tuple[float, float]:
        """Return where edges leave."""
        return self.left + BOX_WIDTH, self.top + LINE_HEIGHT / 2


def draw_cells(candidate: Candidate) -> str:
    """Return the normal and the reduction cell as an SVG document; nodes that reach no output are left out.

    A user's model has no cells: drawn is the width of each of its groups of channels, before and after.
    """
    genotype = candidate.genotype
    if isinstance(genotype, UserModel):
        return _draw_groups(candidate, genotype)
    panels, top, width = [], float(MARGIN), 0.0
    for title, cell in (("Normal cell", genotype.normal), ("Reduction cell", genotype.reduction)):
        boxes = place_boxes(cell, top + 30)
        panels.append(f'<text class="title" x="{MARGIN}" y="{top + 12:g}">{title}</text>' + _draw_boxes(boxes, cell))
        top = max(box.top + box.height for box in boxes) + 40
        width = max(width, *(box.left + BOX_WIDTH + MARGIN for box in boxes))
    note = _note(describe_stages(candidate), top)
    return _document(width, top + MARGIN, "The cells of the network", "".join(panels) + note)


def _document(width: float, height: float, label: str, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{label}"><style>{STYLE}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{content}</svg>\n'
    )


def _note(words: str, top: float) -> str:
    return f'<text class="note" x="{MARGIN}" y="{top:g}">{escape(words)}</text>'


def _draw_groups(candidate: Candidate, model: UserModel) -> str:
    """Return one bar a group of channels: its length the full width, its filling what is kept."""
    widest, rows, top = max(model.widths, default=1), [], float(MARGIN)
    for name, full, kept in zip(model.groups, model.widths, candidate.pruning.kept_widths, strict=True):
        words = f"{kept} of {full}" if kept < full else str(full)
        full_px, kept_px = (GROUP_WIDTH * channels / widest for channels in (full, kept))
        left = MARGIN + GROUP_NAME
        rows.append(
            f'<text x="{MARGIN}" y="{top + 15:g}">{escape(_shortened(name))}</text>'
            f'<rect class="full" x="{left}" y="{top + 3:g}" width="{full_px:g}" height="{LINE_HEIGHT - 9}" rx="3"/>'
            f'<rect class="kept" x="{left}" y="{top + 3:g}" width="{kept_px:g}" height="{LINE_HEIGHT - 9}" rx="3"/>'
            f'<text class="note" x="{left + full_px + 8:g}" y="{top + 15:g}">{words}</text>'
        )
        top += LINE_HEIGHT
    rows.append(_note(f"{model.name}: channels of each group, {len(model.groups)} groups", top + 18))
    width = MARGIN + GROUP_NAME + GROUP_WIDTH + GROUP_FIGURES
    return _document(width, top + 18 + MARGIN, "The groups of channels", "".join(rows))


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - NAME_LETTERS :]}"


def describe_stages(candidate: Candidate) -> str:
    """Return depth, kept widths and precisions of the stages and the methods that are not plain, as one line."""
    genotype = candidate.genotype
    parts = [
        f"{stage.kept}{f' of {stage.full}' if stage.kept != stage.full else ''} channels "
        f"w{stage.pair[0]}a{stage.pair[1]}"
        for stage in stage_summaries(candidate)
    ]
    name = f"{genotype.cells} cells" if isinstance(genotype, Genotype) else genotype.name
    return "; ".join([f"{name}; stages: {', '.join(parts)}", *method_words(candidate)])


def place_boxes(cell: Cell, top: float) -> list[Box]:
    """Return the boxes of inputs, reachable nodes and output, in columns by their distance from the inputs."""
    alive = cell.reachable_nodes()
    depth = {0: 0, 1: 0}
    for index in alive:
        depth[index + 2] = 1 + max(depth[edge.source] for edge in cell.nodes[index])
    titles = {0: INPUTS[0], 1: INPUTS[1]} | {index + 2: f"node {index}" for index in alive}
    boxes: list[Box] = []
    for column in range(max(depth.values()) + 1):
        y = top
        for state in sorted(state for state in depth if depth[state] == column):
            ports = tuple((edge.operation, edge.source) for edge in cell.nodes[state - 2]) if state > 1 else ()
            boxes.append(Box(state, titles[state], ports, _column_left(column), y))
            y += boxes[-1].height + ROW_GAP
    output = Box(-1, "concatenate", (), _column_left(max(depth.values()) + 1), top)
    return [*boxes, output]


def _column_left(column: int) -> float:
    return MARGIN + column * (BOX_WIDTH + COLUMN_GAP)


def _draw_boxes(boxes: list[Box], cell: Cell) -> str:
    by_state = {box.state: box for box in boxes}
    ends = [(by_state[source], box.port(line)) for box in boxes for line, (_, source) in enumerate(box.ports)]
    output = by_state[-1]
    ends += [(by_state[state], (output.left, output.top + LINE_HEIGHT / 2)) for state in cell.concat]
    edges = "".join(_curve(source.exit(), end) for source, end in ends)
    return edges + "".join(_draw_box(box) for box in boxes)


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    bend = max((end[0] - start[0]) / 2, COLUMN_GAP / 2)
    (x, y), (to_x, to_y) = start, end
    path = f"M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"
    return f'<path class="edge" d="{path}"/>'


def _draw_box(box: Box) -> str:
    rows = [
        f'<rect class="box" x="{box.left:g}" y="{box.top:g}" width="{BOX_WIDTH}" height="{box.height:g}" rx="5"/>',
        f'<text x="{box.left + 10:g}" y="{box.top + 18:g}">{escape(box.title)}</text>',
    ]
    for line, (operation, source) in enumerate(box.ports):
        y = box.top + LINE_HEIGHT * (line + 1)
        family = FAMILIES.get(operation.split("_")[0], "dense")
        label = escape(operation.replace("_", " "))
        rows.append(
            f'<rect class="{family}" x="{box.left + 2:g}" y="{y + 1:g}" width="{BOX_WIDTH - 4}" '
            f'height="{LINE_HEIGHT - 4}" rx="3"/><text x="{box.left + 10:g}" y="{y + 17:g}">{label}</text>'
            f'<text class="note end" x="{box.left + BOX_WIDTH - 10:g}" y="{y + 17:g}">of {SOURCES[source]}</text>'
        )
    return "".join(rows)
