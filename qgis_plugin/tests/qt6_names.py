"""Print the number of Qt names in some sources that PyQt6 has; fail with those that it has not.

Usage: qt6_names.py FILE... Only attribute chains that start at a name imported from qgis.PyQt are looked at.
"""

import ast
import importlib
import sys
from pathlib import Path

MOVED = {("QtWidgets", "QAction"): "QtGui"}
"""qgis.PyQt puts QAction into QtWidgets for Qt 6 too."""


def chain_of(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, parts[::-1]) if isinstance(node, ast.Name) else (None, [])


def imported(tree):
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis.PyQt."):
            module = node.module.split(".")[-1]
            for alias in node.names:
                home = importlib.import_module("PyQt6." + MOVED.get((module, alias.name), module))
                found[alias.asname or alias.name] = getattr(home, alias.name)
    return found


def main():
    count, missing = 0, []
    for path in sys.argv[1:]:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        try:
            names = imported(tree)
        except AttributeError as error:
            missing.append(f"{path}: {error}")
            continue
        count += len(names)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            root, parts = chain_of(node)
            if root not in names:
                continue
            value = names[root]
            for part in parts:
                if not hasattr(value, part):
                    missing.append(f"{path}:{node.lineno}: {root}.{'.'.join(parts)}")
                    break
                value = getattr(value, part)
            count += 1
    print(count, "names")
    print("\n".join(sorted(set(missing))))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
