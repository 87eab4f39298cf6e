#!/usr/bin/python3
"""Checks the structure of the house; one `ok` or `not ok` line per rule, faults below it.

The rules are those of src/README.md: who may include whom, which rooms know no PostgreSQL, how long a
file may get, and that the README says what the code does. Python's standard library and g++ only.
"""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# room: the rooms that it may include, besides itself.
ALLOWED = {
    "core": set(),
    "wire": {"core"},
    "net": set(),
    "pg": set(),
    "hub": {"pg", "core"},
    "store": {"pg", "wire", "core"},
    "xa": {"pg", "core"},
    "worker": {"server", "store", "net", "wire", "xa", "hub", "pg", "core"},
    "server": {"store", "net", "wire", "hub", "pg", "core"},
    "api": {"store", "wire", "xa", "hub", "pg", "core"},
    "": {"api", "worker", "server", "hub", "pg"},  # src/dtm_pg.cpp: _PG_init, above all rooms
}
COMMON = {"crash_point.hpp"}         # every room may include them; they include none but the door
PURE = ("core", "wire", "net")       # never see a PostgreSQL header
THE_DOOR = "src/pg/postgres.hpp"     # the only file that names postgres.h

MAX_LINES = 500
# People copy it into databases of others: one file on purpose.
MAY_BE_LONG = {"src/script/dtm_pg_barrier.sql"}
MAX_COLUMNS = {".cpp": 100, ".hpp": 100, ".sql": 100, "": 120}  # "" is everything else
CODE = (".cpp", ".hpp", ".py", ".sh", ".sql", ".proto")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def listed_files():
    """What git tracks or would track; everything but build products where there is no git."""
    try:
        names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                               cwd=ROOT, capture_output=True, text=True, check=True
                               ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        names = []
    if not names:
        for top, directories, files in os.walk(ROOT):
            directories[:] = [d for d in directories if d not in ("build", ".git", "results",
                                                                "__pycache__")]
            names += [os.path.relpath(os.path.join(top, f), ROOT) for f in files]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(ROOT, n)))


def is_script(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.read(2) == b"#!"


FILES = listed_files()
SOURCES = [f for f in FILES if f.startswith("src/") and f.endswith((".cpp", ".hpp"))]
WRITTEN = [f for f in FILES if f.startswith(("src/", "tests/", "sql/")) and
           (f.endswith(CODE) or is_script(f))]


def room(path):
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else ""


def includes(path):
    """(line number, name) of every #include "…"."""
    for number, line in enumerate(read(path).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
        if found:
            yield number, found.group(1)


def rooms_are_known():
    for path in SOURCES:
        if room(path) not in ALLOWED:
            yield f"{path}: no such room; give it its place in tests/tidy/check.py"


def include_direction():
    for path in SOURCES:
        here = room(path)
        for number, name in includes(path):
            there = name.split("/")[0]
            ours = os.path.exists(os.path.join(ROOT, "src", name))
            if name in COMMON:
                continue
            if ours and there != here and there not in ALLOWED.get(here, set()):
                yield f"{path}:{number}: {here or 'src'} must not include {there} ({name})"
            if name.startswith("..") or (not ours and os.path.exists(os.path.join(
                    ROOT, os.path.dirname(path), name))):
                yield f"{path}:{number}: name included files from src/ on: {name}"


def postgres_through_one_door():
    for path in SOURCES:
        for number, name in includes(path):
            if name == "postgres.h" and path != THE_DOOR:
                yield f"{path}:{number}: postgres.h is included by {THE_DOOR} only"


def pure_rooms_know_no_postgres():
    """Asks the compiler, which sees what is included by what is included."""
    files = [f for f in SOURCES if room(f) in PURE]
    if not files:
        yield "no files in " + ", ".join(PURE)
        return
    server = subprocess.run([os.environ.get("PG_CONFIG", "pg_config"), "--includedir-server"],
                            check=True, capture_output=True, text=True).stdout.strip()
    run = subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-Isrc", "-isystem", server,
                          "-M", *files],
                         cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        yield "g++ -M failed: " + run.stderr.strip()
        return
    for rule in run.stdout.replace("\\\n", " ").splitlines():
        target, _, dependencies = rule.partition(":")
        for name in dependencies.split():
            if os.path.realpath(name).startswith(os.path.realpath(server) + os.sep):
                yield f"{dependencies.split()[0]} reaches {name}"
                break


def headers_are_guarded():
    for path in SOURCES:
        if path.endswith(".hpp") and "#pragma once" not in read(path):
            yield f"{path}: no #pragma once"


def files_are_short():
    for path in WRITTEN:
        lines = read(path).count("\n")
        if lines > MAX_LINES and path not in MAY_BE_LONG:
            yield f"{path}: {lines} lines, at most {MAX_LINES}: split it by noun"


def lines_are_clean():
    for path in WRITTEN:
        text = read(path)
        limit = MAX_COLUMNS.get(os.path.splitext(path)[1], MAX_COLUMNS[""])
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line:
                yield f"{path}:{number}: tab"
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end"
            if len(line) > limit and 'R"' not in line:  # bytes of the wire stay on one line
                yield f"{path}:{number}: {len(line)} columns, at most {limit}"
        if text and not text.endswith("\n"):
            yield f"{path}: the last line does not end"


def regress_files_are_paired():
    for path in FILES:
        folder, name = os.path.split(path)
        stem, kind = os.path.splitext(name)
        if folder == "sql" and kind == ".sql" and not os.path.exists(
                os.path.join(ROOT, "expected", stem + ".out")):
            yield f"{path}: no expected/{stem}.out"
        if folder == "expected" and kind == ".out":
            base = re.sub(r"_\d$", "", stem)  # x_1.out is an alternative of x.out
            if not any(os.path.exists(os.path.join(ROOT, "sql", s + ".sql")) for s in (stem, base)):
                yield f"{path}: no sql/{stem}.sql"


def versions_agree():
    [version] = re.findall(r"^default_version = '([^']+)'", read("dtm_pg.control"), re.MULTILINE)
    meta = json.loads(read("META.json"))
    for place, found in (("META.json", meta["version"]),
                         ("META.json, provides", meta["provides"]["dtm_pg"]["version"])):
        if found != version:
            yield f"{place}: {found}, dtm_pg.control says {version}"
    if f"## [{version}]" not in read("CHANGELOG.md"):
        yield f"CHANGELOG.md: no section for {version}"


def anchors(text):
    """The anchors that GitHub makes of headings."""
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[`*]", "", heading).strip().lower()
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def links_resolve():
    for path in (f for f in FILES if f.endswith(".md")):
        text = re.sub(r"```.*?```", "", read(path), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(ROOT, file)):
                yield f"{path}: {target}: no such file"
            elif anchor and anchor not in set(anchors(read(file))):
                yield f"{path}: {target}: no such heading"


def orders_are_described():
    """Every verb that is recorded is in the last comment on dtm.event.verb."""
    comments = re.findall(r"COMMENT ON COLUMN dtm\.event\.verb IS(.*?);",
                          "".join(read(f) for f in FILES if re.match(r"src/schema/\d.*\.sql$", f)), re.DOTALL)
    described = set(re.findall(r"\w+", comments[-1]))
    for path in SOURCES:
        text = read(path)
        for verb in (re.findall(r'record_event\([^,;]+,\s*"(\w+)"', text) +
                     re.findall(r'recorded\([^";]*,\s*"(\w+)"', text)):
            if verb not in described:
                yield f"{path}: {verb} is not in the comment on dtm.event.verb"


def settings_in_readme():
    """{name: (default, unit)} of the README's table of settings."""
    rows = {}
    for line in read("README.md").splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) >= 4 and re.fullmatch(r"`dtm\.\w+`", cells[0]):
            rows[cells[0].strip("`")] = (cells[1].strip("`"), cells[2].strip("`"), cells[3])
    return rows


WHEN = {"postmaster": "server start", "sighup": "reload", "superuser": "session (superuser)",
        "user": "session"}


def settings_agree(psql):
    """Compares the README with pg_settings of a running server. `psql` runs a query, returns text."""
    # boot_val is in the unit of the setting; coalesce: an empty string is no NULL for psql -At.
    server = {}
    for line in psql("select name, coalesce(boot_val, ''), coalesce(unit, ''), context "
                     "from pg_settings where name like 'dtm.%' order by name").splitlines():
        name, default, unit, context = line.split("|")
        server[name] = (default or "''", unit, WHEN.get(context, context))
    readme = settings_in_readme()
    for name in sorted(server.keys() - readme.keys()):
        yield f"README.md lacks {name}"
    for name in sorted(readme.keys() - server.keys()):
        yield f"README.md has {name}, the server does not"
    for name in sorted(server.keys() & readme.keys()):
        if server[name] != readme[name]:
            yield f"{name}: README.md says {readme[name]}, the server {server[name]}"


def functions_agree(psql):
    """Compares the functions that the README names in its table with those of the extension, which
    must exist in the database that `psql` talks to."""
    server = set(psql("select distinct proname from pg_proc where proname ~ '^dtm_' and "
                      "pronamespace <> 'dtm'::regnamespace").splitlines())
    table = "\n".join(l for l in read("README.md").splitlines() if l.startswith("| `dtm_"))
    readme = set(re.findall(r"`(dtm_\w+)\(", table))
    for name in sorted(server - readme):
        yield f"README.md lacks {name}"
    for name in sorted(readme - server):
        yield f"README.md has {name}, the extension does not"


RULES = [rooms_are_known, include_direction, postgres_through_one_door,
         pure_rooms_know_no_postgres, headers_are_guarded, files_are_short, lines_are_clean,
         regress_files_are_paired, versions_agree, links_resolve, orders_are_described]


def report(name, faults):
    """Prints the TAP line of a rule; returns whether it held."""
    try:
        faults = list(faults)
    except Exception as error:  # a rule that cannot be checked does not hold
        faults = [f"{type(error).__name__}: {error}"]
    print(("not ok" if faults else "ok") + " - " + name.replace("_", " "), flush=True)
    for fault in faults:
        print("    " + fault)
    return not faults


def main():
    return 0 if all([report(rule.__name__, rule()) for rule in RULES]) else 1


if __name__ == "__main__":
    sys.exit(main())
