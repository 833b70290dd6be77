"""JSON columns as values: what repeats (keys, nodes, cells, plans) is decoded once and shared.

The candidates of 20,000 trials would take two seconds to parse and 80 MB to hold one by one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from automl.candidate import Candidate, Cell, Edge, Genotype, candidate_from_json

_NODE = r'\[\["\w+", \d+\], \["\w+", \d+\]\]'
_CELL = rf'(\{{"nodes": \[(?:{_NODE}(?:, {_NODE})*)?\], "concat": \[[\d, ]*\]\}})'
_FLAT = r"(\{[^{}]*\})"  # an object without another one, and without a brace in its texts
_OF_CELLS = re.compile(
    rf'\{{"genotype": \{{"normal": {_CELL}, "reduction": {_CELL}, "cells": (\d+), "width": (\d+)\}}, '
    rf'"pruning": {_FLAT}, "quantization": {_FLAT}, "distillation": {_FLAT}, "training": {_FLAT}\}}'
)
_NODES = re.compile(_NODE)
_PLANS = ("pruning", "quantization", "distillation", "training")


class Documents:
    """Decodes the JSON texts of one reading."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._texts: dict[str, Any] = {}  # of cells, nodes and plans, none of which reads like another
        self._edges: dict[Edge, Edge] = {}

    def mapping(self, text: str) -> dict[str, Any]:
        """Return a flat document; its keys are shared."""
        name = self._names.setdefault
        return {name(key, key): value for key, value in json.loads(text).items()}

    def candidate(self, text: str) -> Candidate:
        """Return a candidate that shares its parts with all that have the same.

        One of cells is taken apart where it is written as `json.dumps` writes it; any other text is parsed whole.
        """
        found = _OF_CELLS.fullmatch(text)
        if found is None:
            return candidate_from_json(json.loads(text))
        normal, reduction, cells, width, *plans = found.groups()
        known = self._texts.get
        parts = [known(plan) for plan in plans]
        if None in parts:
            parts = self._learn(text, plans)
        genotype = Genotype(
            known(normal) or self._cell(normal), known(reduction) or self._cell(reduction), int(cells), int(width)
        )
        return Candidate(genotype, *parts)

    def _learn(self, text: str, plans: list[str]) -> list[Any]:
        candidate = candidate_from_json(json.loads(text))
        return [
            self._texts.setdefault(plan, getattr(candidate, name)) for plan, name in zip(plans, _PLANS, strict=True)
        ]

    def _cell(self, text: str) -> Cell:
        nodes, concat = _NODES.findall(text), text[text.rindex("[") : -1]
        known = self._texts.get
        self._texts[text] = cell = Cell(
            tuple([known(node) or self._node(node) for node in nodes]), known(concat) or self._concat(concat)
        )
        return cell

    def _node(self, text: str) -> tuple[Edge, Edge]:
        first, second = (self._edges.setdefault(edge, edge) for edge in (Edge(*said) for said in json.loads(text)))
        self._texts[text] = node = (first, second)
        return node

    def _concat(self, text: str) -> tuple[int, ...]:
        self._texts[text] = concat = tuple(json.loads(text))
        return concat
