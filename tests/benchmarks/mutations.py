"""Small faults that can be put into Python code: where, and what becomes of the text there.

Docstrings, annotations, texts of errors and all strings are left alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: (r"<", "<=", ">="), ast.LtE: (r"<=", "<", ">"), ast.Gt: (r">", ">=", "<="),
    ast.GtE: (r">=", ">", "<"), ast.Eq: (r"==", "!="), ast.NotEq: (r"!=", "=="),
    ast.Is: (r"\bis\b", "is not"), ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"), ast.NotIn: (r"\bnot\s+in\b", "in"),
}  # fmt: skip
OPERATORS = {
    ast.Add: (r"\+", "-"), ast.Sub: (r"-", "+"), ast.Mult: (r"\*", "/"), ast.Div: (r"/", "*"),
    ast.FloorDiv: (r"//", "*"), ast.Mod: (r"%", "*"), ast.Pow: (r"\*\*", "*"),
    ast.BitAnd: (r"&", "|"), ast.BitOr: (r"\|", "&"), ast.BitXor: (r"\^", "&"),
    ast.LShift: (r"<<", ">>"), ast.RShift: (r">>", "<<"),
    ast.And: (r"\band\b", "or"), ast.Or: (r"\bor\b", "and"),
}  # fmt: skip
"""An operator as it is written, and what it may become."""
NAMES = ["min max", "minimum maximum", "argmin argmax", "any all", "floor ceil"]
TWINS = {a: b for pair in map(str.split, NAMES) for a, b in (pair, pair[::-1])}


@dataclass(frozen=True)
class Mutation:
    """A fault: what stands at some bytes of a module of agecli, and what it becomes."""

    module: str
    source: bytes
    start: int
    end: int
    after: str

    def apply(self) -> bytes:
        """Return the module's text with the fault."""
        return self.source[: self.start] + self.after.encode() + self.source[self.end :]

    def __str__(self) -> str:
        source = self.source
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        before = source[first:last].decode()
        after = (
            f"{source[first : self.start].decode()}{self.after}{source[self.end : last].decode()}"
        )
        line = source.count(b"\n", 0, self.start) + 1
        texts = (re.sub(r"\s+", " ", text).strip() for text in (before, after))
        return f"agecli/{self.module}.py:{line}: {'  ->  '.join(texts)}"


class Places(ast.NodeVisitor):
    """Finds the mutations of a module: the bytes, and their replacements."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.found: list[tuple[int, int, tuple[str, ...]]] = []
        self.visit(ast.parse(source))

    def _start(self, node: ast.AST) -> int:
        return self.lines[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.AST) -> int:
        return self.lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.AST) -> str:
        return self.source[self._start(node) : self._end(node)].decode()

    def _replace(self, node: ast.AST, *after: str) -> None:
        self.found.append((self._start(node), self._end(node), after))

    def _replace_between(self, left: ast.AST, right: ast.AST, operator: tuple[str, ...]) -> None:
        pattern, *after = operator
        start = self._end(left)
        match = re.search(pattern.encode(), self.source[start : self._start(right)])
        self.found.append((start + match.start(), start + match.end(), tuple(after)))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Skip strings, with all that is formatted into them."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Visit the value, not the annotation."""
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visit the defaults and the body, not annotations."""
        defaults = (value for value in node.args.defaults + node.args.kw_defaults if value)
        for child in (*node.decorator_list, *defaults, *node.body):
            self.visit(child)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Remove it; its text is left alone."""
        self._replace(node, "pass")

    visit_Continue = visit_Break = visit_Delete = visit_Raise

    def visit_Expr(self, node: ast.Expr) -> None:
        """Remove it, unless it is a docstring."""
        if not isinstance(node.value, ast.Constant):
            self._replace(node, "pass")
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Remove it where it changes something that there is."""
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._replace(node, "pass")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Remove it, or change its operator."""
        self._replace(node, "pass")
        if type(node.op) in OPERATORS:
            self._replace_between(node.target, node.value, OPERATORS[type(node.op)])
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        """Return nothing."""
        if node.value and self._text(node.value) != "None":
            self._replace(node.value, "None")
            self.visit(node.value)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        """Turn its condition round, unless that has an operator of its own."""
        if self._text(node.test) == "TYPE_CHECKING":
            return
        if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            self._replace(node.test, f"not ({self._text(node.test)})")
        self.generic_visit(node)

    visit_IfExp = visit_If

    def visit_Compare(self, node: ast.Compare) -> None:
        """Change the comparison."""
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            self._replace_between(left, right, COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Change the operator."""
        if type(node.op) in OPERATORS:
            self._replace_between(node.left, node.right, OPERATORS[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Change `and` to `or`, and `or` to `and`."""
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._replace_between(left, right, OPERATORS[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Remove the sign or the `not`."""
        self._replace(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Add to a number, take from it or double it, and turn a truth value round."""
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1), f"({value - 1})")
        elif isinstance(value, float):
            self._replace(node, repr(value * 2 or 1.0))

    def visit_Slice(self, node: ast.Slice) -> None:
        """Remove a bound."""
        for bound in (node.lower, node.upper):
            if bound:
                self._replace(bound, "")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Swap the least and the most, or the first two arguments where their order counts."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else self._text(node.func)
        if name in TWINS:
            end = self._end(node.func)
            self.found.append((end - len(name), end, (TWINS[name],)))
        texts = [self._text(argument) for argument in node.args[:2]]
        if (
            name not in TWINS
            and len(set(texts)) == 2
            and not any(text.startswith("*") for text in texts)
        ):
            start, end = self._end(node.args[0]), self._start(node.args[1])
            between = self.source[start:end].decode()
            swapped = f"{texts[1]}{between}{texts[0]}"
            self.found.append((self._start(node.args[0]), self._end(node.args[1]), (swapped,)))
        self.generic_visit(node)
