"""Prints line coverage per file and crate; fails below 95 % of core, 90 % of the rest."""
import json
import sys
from collections import defaultdict

LEAST = {"core": 95.0}
LEAST_OF_OTHERS = 90.0


def main() -> int:
    """Reads llvm-cov's JSON export, named on the command line."""
    with open(sys.argv[1], encoding="utf-8") as report:
        files = json.load(report)["data"][0]["files"]
    crates: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in sorted(files, key=lambda file: file["filename"]):
        parts = file["filename"].split("/crates/")
        if len(parts) < 2:
            continue
        lines = file["summary"]["lines"]
        print(f"{lines['percent']:6.1f} %  {lines['covered']:5}/{lines['count']:<5} {parts[-1]}")
        total = crates[parts[-1].split("/")[0]]
        total[0] += lines["covered"]
        total[1] += lines["count"]
    failed = False
    print("crates:")
    rest = [0, 0]
    for crate, (covered, count) in crates.items():
        print(f"{100 * covered / count:6.1f} %  {covered:5}/{count:<5} {crate}")
        if crate in LEAST:
            failed |= 100 * covered / count < LEAST[crate]
        else:
            rest[0] += covered
            rest[1] += count
    percent = 100 * rest[0] / max(rest[1], 1)
    print(f"{percent:6.1f} %  {rest[0]:5}/{rest[1]:<5} all but core")
    failed |= percent < LEAST_OF_OTHERS
    if failed or not crates:
        print("too little: 95 % of core and 90 % of the rest are wanted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
