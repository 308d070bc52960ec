#!/usr/bin/env python3
"""Draws the pictures of the pages as SVG, beside this file. Needs nothing but Python."""

import json
from pathlib import Path

HERE = Path(__file__).parent

INK, QUIET, PAPER = "#1b1f24", "#57606a", "#ffffff"
L1, L2, MEMORY, REGISTERS = "#ffd8a8", "#b2f2bb", "#d0ebff", "#ffc9c9"


class Drawing:
    """An SVG that grows by shapes; units are pixels at a width of 720."""

    def __init__(self, height, title):
        self.height, self.title, self.parts = height, title, []

    def box(self, x, y, w, h, fill=PAPER, stroke=INK, width=1.5, radius=4):
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" fill="{fill}" stroke="{stroke}" stroke-width="{width}"/>'
        )

    def text(self, x, y, text, size=15, anchor="start", colour=INK, weight="normal", mono=False):
        family = "ui-monospace, Menlo, Consolas, monospace" if mono else "system-ui, Helvetica, Arial, sans-serif"
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" font-family="{family}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">{text}</text>'
        )

    def arrow(self, x0, y0, x1, y1, colour=INK):
        self.parts.append(
            f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{colour}" stroke-width="1.5" marker-end="url(#head)"/>'
        )

    def line(self, x0, y0, x1, y1, colour=INK, dash=""):
        self.parts.append(
            f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{colour}" stroke-width="1.2" stroke-dasharray="{dash}"/>'
        )

    def write(self, name):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {self.height}" role="img" aria-label="{self.title}">'
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>'
            f'<rect width="720" height="{self.height}" fill="{PAPER}"/>'
        )
        (HERE / name).write_text(head + "\n".join(self.parts) + "</svg>\n")


def house():
    d = Drawing(576, "The floors of the crate: a floor imports from those below it alone")
    floors = [
        ("ways in", ["examples", "benches", "tests", "fuzz"]),
        ("other languages", ["capi (C)", "python/"]),
        ("training", ["siamese", "checkpoint"]),
        ("networks, samples", ["nn", "optim", "pairs", "samples", "data", "check"]),
        ("batch: cuts, checks, adds up", ["rows", "pairwise", "anchors", "neighbours", "mining", "hvp"]),
        ("kernel: loops over lanes", ["rows", "pairwise", "anchors", "neighbours", "mining", "hvp", "gemm", "layers", "optim"]),
        ("ground", ["loss", "similar", "parallel", "memory"]),
        ("lanes", ["simd"]),
    ]
    y = 16
    for name, rooms in floors:
        wings = name.startswith(("batch", "kernel"))
        d.box(12, y, 696, 58, fill="#e7f5ff" if wings else "#f6f8fa", stroke="#8c959f")
        d.text(24, y + 20, name, 13, colour=QUIET)
        width = 672 / 9
        for i, room in enumerate(rooms):
            d.box(24 + i * width, y + 27, width - 6, 25)
            d.text(24 + i * width + (width - 6) / 2, y + 44, room, 11, "middle")
        y += 67
    d.text(16, y + 14, "A wing has one name on every floor: batch/pairwise cuts and adds up what kernel/pairwise computes.", 13, colour=QUIET)
    d.write("house.svg")


def anatomy():
    d = Drawing(640, "How all pairs of a batch are cut: batch, task, block, strip, group, register tile")
    d.text(16, 26, "batch: B x B pairs", 15, weight="bold")
    d.text(16, 46, "the half above the diagonal", 13, colour=QUIET)
    d.box(16, 56, 208, 208, fill=MEMORY)
    for i in range(4):
        for j in range(4):
            fill = "#f6f8fa" if j < i else (L2 if (i, j) == (1, 2) else MEMORY)
            d.box(16 + 52 * j, 56 + 52 * i, 52, 52, fill=fill, width=1)
    d.text(16, 284, "rows, packed once: memory, L3", 13, colour=QUIET)
    d.arrow(172, 134, 270, 134)

    d.text(276, 26, "block: 128 x 128 rows", 15, weight="bold")
    d.text(276, 46, "slopes (72 KiB) and rows: L2", 13, colour=QUIET)
    d.box(276, 56, 208, 208, fill=L2)
    for i in range(4):
        d.box(276 + 52 * i, 56, 52, 208, fill=L2, width=1)
    d.box(328, 108, 52, 52, fill=L1, width=2)
    d.text(276, 284, "panels of 32 columns", 13, colour=QUIET)
    d.arrow(380, 134, 520, 134)

    d.text(526, 26, "strip: rows x a panel", 15, weight="bold")
    d.text(526, 46, "distances: L1", 13, colour=QUIET)
    d.box(526, 56, 112, 208, fill=L1)
    for i in range(1, 4):
        d.line(526, 56 + 52 * i, 638, 56 + 52 * i)
    d.text(582, 86, "group", 13, "middle")
    d.text(582, 138, "group", 13, "middle")
    d.text(646, 84, "256", 13)
    d.text(646, 100, "pairs", 13)
    d.text(526, 284, "a group: one call of the loss", 13, colour=QUIET)
    d.arrow(582, 294, 582, 340)

    d.box(420, 346, 288, 176, fill=REGISTERS)
    d.text(432, 370, "register tile", 15, weight="bold")
    d.text(432, 392, "8 rows x 2 vectors of 32 registers", 13)
    d.text(432, 410, "(4, 5 or 6 rows of 16 registers)", 13)
    for i in range(4):
        for j in range(2):
            d.box(440 + 128 * j, 424 + 22 * i, 120, 18, width=1)
    d.arrow(420, 434, 330, 434)

    d.box(16, 346, 300, 176, fill=L1)
    d.text(28, 370, "depth, in chunks of 128", 15, weight="bold")
    d.text(28, 394, "x: one element, broadcast", 13)
    d.text(28, 412, "y: two vectors of a panel (16 KiB: L1)", 13)
    for i in range(8):
        d.box(30 + 34 * i, 430, 30, 30, width=1, fill=REGISTERS if i == 2 else PAPER)
    d.text(28, 486, "sums of a chunk are added to those before:", 13)
    d.text(28, 504, "fewer roundings than one long sum", 13)

    for i, (name, colour) in enumerate([("memory, L3", MEMORY), ("L2", L2), ("L1", L1), ("registers", REGISTERS)]):
        d.box(16 + 170 * i, 552, 26, 20, fill=colour, width=1)
        d.text(50 + 170 * i, 567, name, 14)
    d.text(16, 604, "Block sizes and their ties stand in src/kernel/blocking.rs.", 13, colour=QUIET)
    d.text(16, 624, "The picture shows f32 with vectors of 16 elements; of 8, a panel has 16 columns.", 13, colour=QUIET)
    d.write("anatomy.svg")


def layouts():
    d = Drawing(500, "Three layouts of the same four rows: as given, packed in panels, centered in blocks")
    rows = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [4, 5, 5]]
    center = [4, 5, 6]
    classes = ["a", "b", "a", "b"]
    order = [0, 2, 1, 3]

    def matrix(x, y, table, fill, labels=None):
        for i, row in enumerate(table):
            if labels:
                d.text(x - 10, y + 22 + 34 * i, labels[i], 13, "end", QUIET)
            for j, v in enumerate(row):
                d.box(x + 44 * j, y + 34 * i, 40, 30, fill=fill, width=1)
                d.text(x + 44 * j + 20, y + 21 + 34 * i, v, 15, "middle", mono=True)

    d.text(16, 26, "1  as given", 16, weight="bold")
    d.text(16, 46, "Mat, row by row", 13, colour=QUIET)
    matrix(84, 58, rows, PAPER, [f"z{i}, {c}" for i, c in enumerate(classes)])
    d.text(16, 216, "differences read", 13, colour=QUIET)
    d.text(16, 234, "these, untouched", 13, colour=QUIET)

    d.text(256, 26, "2  packed: panels", 16, weight="bold")
    d.text(256, 46, "less the center (4, 5, 6), by class; columns in lanes", 13, colour=QUIET)
    packed = [[rows[r][k] - center[k] for r in order] for k in range(3)]
    matrix(330, 58, packed, L1, ["k = 0", "k = 1", "k = 2"])
    for i, r in enumerate(order):
        d.text(350 + 44 * i, 178, f"z{r}", 13, "middle", QUIET)
    d.text(256, 204, "A tile reads a row of this as a vector: the same", 13)
    d.text(256, 222, "element of as many rows as a panel has columns.", 13)
    d.text(256, 240, "norms |z - c|²:", 13)
    norms = [sum((rows[r][k] - center[k]) ** 2 for k in range(3)) for r in order]
    d.text(360, 240, "  ".join(map(str, norms)), 13, mono=True)

    d.text(16, 290, "3  centered: a block in panels of columns", 16, weight="bold")
    d.text(16, 310, "the first two columns of all rows, then what is left: what a product of slopes and rows reads", 13, colour=QUIET)
    flat = [[rows[r][k] - center[k] for k in (0, 1)] for r in order]
    last = [[rows[r][2] - center[2]] for r in order]
    matrix(84, 324, flat, L2, [f"z{r}" for r in order])
    matrix(212, 324, last, L2)
    d.text(290, 350, "memory:", 13)
    d.text(356, 350, " ".join(f"{v}" for row in flat for v in row) + " | " + " ".join(str(v) for row in last for v in row), 14, mono=True)
    d.text(290, 378, "Rows of 512 elements would otherwise lie 2048 bytes", 13)
    d.text(290, 396, "apart, in a few sets of the cache.", 13)
    d.text(290, 424, "The gradient's sums have this layout, too.", 13)
    d.text(16, 484, "Here a panel is four rows or two columns wide; in truth two vectors.", 13, colour=QUIET)
    d.write("layouts.svg")


def tournament():
    d = Drawing(330, "The order of blocks: in each round every block meets one other")
    n = 6
    circle = n - 1
    rounds = []
    for r in range(n + 1):
        pairs = []
        for k in range(n // 2):
            if r == 0:
                pairs.append((k, k))
            elif r == 1:
                pairs.append((n // 2 + k, n // 2 + k))
            elif k == 0:
                pairs.append((r - 2, circle))
            else:
                pairs.append(tuple(sorted(((r - 2 + k) % circle, (r - 2 + circle - k) % circle))))
        rounds.append(pairs)
    colours = ["#d0ebff", "#b2f2bb", "#ffd8a8", "#ffc9c9", "#e5dbff", "#fff3bf", "#c5f6fa"]
    d.text(16, 26, "Pairs of six blocks: the number is the round", 16, weight="bold")
    for i in range(n):
        d.text(30, 72 + 40 * i, i, 13, "middle", QUIET)
        d.text(64 + 40 * i, 46, i, 13, "middle", QUIET)
    for r, pairs in enumerate(rounds):
        for i, j in pairs:
            i, j = min(i, j), max(i, j)
            d.box(46 + 40 * j, 52 + 40 * i, 36, 32, fill=colours[r], width=1)
            d.text(64 + 40 * j, 73 + 40 * i, r, 14, "middle")
    x = 318
    for line, text in enumerate(
        [
            "A task adds to the gradients of both of its blocks.",
            "Tasks of one round share no block, so they run at once.",
            "A block's tasks run in the order of the rounds, however",
            "many threads there are: its sum is formed in one order,",
            "and results do not depend on threads.",
            "",
            "No thread waits for a round to end: a task starts as soon",
            "as the tasks before it that need its blocks are done.",
        ]
    ):
        d.text(x, 76 + 21 * line, text, 13)
    d.text(16, 318, "batch/pairwise/tournament.rs; parallel/split.rs, run_in_order", 13, colour=QUIET)
    d.write("tournament.svg")


def peers():
    """From peers.json: what docs/performance.md has of other libraries."""
    work = json.loads((HERE / "peers.json").read_text())
    bars = sorted(work["milliseconds"].items(), key=lambda bar: bar[1])
    d = Drawing(74 + 34 * len(bars), f"{work['work']}: milliseconds, shorter is better")
    d.text(16, 26, f"{work['work']}: milliseconds", 16, weight="bold")
    d.text(16, 46, work["machine"], 13, colour=QUIET)
    most = max(min(value, work["cut_at"]) for _, value in bars)
    for i, (name, value) in enumerate(bars):
        y, length = 60 + 34 * i, 380 * min(value, most) / most
        d.text(232, y + 18, name, 14, "end", weight="bold" if name == "drlim" else "normal")
        d.box(242, y, max(length, 2), 24, fill=L2 if name == "drlim" else MEMORY, width=1)
        cut = value > most
        d.text(252 + length, y + 18, f"{value:,}".replace(",", " ") + (" (cut)" if cut else ""), 14)
    d.write("peers.svg")


if __name__ == "__main__":
    peers()
    house()
    anatomy()
    layouts()
    tournament()
