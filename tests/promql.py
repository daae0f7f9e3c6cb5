"""PromQL taken apart: what a query reads and what is done to it, for lints of rules and panels."""

from collections.abc import Mapping

import promql_parser
from promql_parser import AggregateExpr, Call, Expr, MatrixSelector, VectorSelector

from burnmeter import catalog


def filled(query: str, values: Mapping[str, str]) -> str:
    """A query of a panel with its variables in place, the longest names first."""
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(f"${{{name}:raw}}", values[name]).replace(f"${name}", values[name])
    return query


def nodes(query: str) -> list[Expr]:
    """Every part of a query, from the outside in."""
    found: list[Expr] = []

    def visit(node: Expr) -> bool:
        found.append(node)
        if isinstance(node, MatrixSelector):  # Which the library takes for the end.
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def selectors(query: str) -> list[VectorSelector]:
    """What is read."""
    return [node for node in nodes(query) if isinstance(node, VectorSelector)]


def matchers(selector: VectorSelector) -> dict[str, str]:
    """Label -> what it must be, whatever the comparison."""
    return {one.name: one.value for one in selector.matchers.matchers}


def name_of(selector: VectorSelector) -> str:
    """The metric, or the pattern that its name must fit."""
    return selector.name or matchers(selector)["__name__"]


def exported() -> set[str]:
    """Every series that an agent exports: of a histogram its three."""
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    found = catalog.metrics()
    return {name + part for name, one in found.items() for part in parts.get(one.kind, ("",))}


def done(node: Expr) -> str:
    """The operator or function of a part: `sum`, `rate`; nothing of others."""
    if isinstance(node, AggregateExpr):
        return str(node.op).lower()
    return node.func.name if isinstance(node, Call) else ""
